/* Whether the float model itself stays finite: where it does not, half precision has nothing to be compared with. */
#ifndef VS_HALF_FINITE_H
#define VS_HALF_FINITE_H

#include "run/pool.h"

/* Runs the float model on the first `images` of the set. `words` is empty where every tensor is finite, else says which is the
 * first that is not, and of which image. */
VS_NODISCARD vs_status vs_half_check_float(char *words, size_t size, const vs_runner *runner, const vs_imageset *set,
                                           size_t images, vs_error *err);

#endif
