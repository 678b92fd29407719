/* The shortest list that a test allows, as far as bisection and single steps find it (fp16.md section 4, item 4). Knows no models. */
#ifndef VS_HALF_SHRINK_H
#define VS_HALF_SHRINK_H

#include <stdbool.h>
#include <stddef.h>

#include "vitscope/status.h"

/* Whether the list without the entries that are off still serves. `single`: only one is off that a list which serves has, so the
 * caller may want to know what its loss costs. */
typedef vs_status (*vs_shrink_fn)(void *context, const bool *on, bool single, bool *serves, vs_error *err);

/* Turns entries of on [count] off: the longest prefix that can go, then the longest suffix (both by bisection), then entries one by
 * one from the last, again and again until none can go. What stays is 1-minimal; `on` serves as it comes in. */
VS_NODISCARD vs_status vs_shrink(bool *on, size_t count, vs_shrink_fn serves, void *context, vs_error *err);

#endif
