/* The shortest list that a test allows, as far as bisection and single steps find it (docs/fp16-reference.md 4.4). Knows no
 * models. */
#ifndef VS_HALF_SHRINK_H
#define VS_HALF_SHRINK_H

#include <stdbool.h>
#include <stddef.h>

#include "vitscope/status.h"

typedef enum vs_shrink_answer { VS_SHRINK_FAILS, VS_SHRINK_SERVES, VS_SHRINK_UNKNOWN } vs_shrink_answer;

/* Whether the list without the entries that are off still serves; UNKNOWN where the caller has no test left to spend: they stay.
 * `reserve`: tests that the caller keeps back for later, one for each entry that is listed now. `single`: the list is one that
 * serves less one entry, so the caller may want to know what that entry's loss costs. */
typedef vs_status (*vs_shrink_fn)(void *context, const bool *on, size_t reserve, bool single, vs_shrink_answer *answer,
                                  vs_error *err);

/* Turns entries of on [count] off. Where the fixed ones alone serve, all others; else the longest prefix that can go, then the
 * longest suffix (both by bisection), then from the last those between, in groups that are halved where they cannot go.
 * `fixed` [count]: entries known to be needed. `on` serves as it comes in, and as it goes out. */
VS_NODISCARD vs_status vs_shrink(bool *on, const bool *fixed, size_t count, vs_shrink_fn serves, void *context, vs_error *err);
/* Then every entry once more by itself, from the last, again and again until none can go, so that what stays is 1-minimal;
 * *minimal is false where tests ran out before. The fixed ones come last. */
VS_NODISCARD vs_status vs_shrink_singly(bool *on, const bool *fixed, size_t count, vs_shrink_fn serves, void *context,
                                        bool *minimal, vs_error *err);

#endif
