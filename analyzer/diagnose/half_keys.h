/* How far all keys of a head lie to one side: the mean of what attention reads as K. */
#ifndef VS_HALF_KEYS_H
#define VS_HALF_KEYS_H

#include "run/pool.h"

/* *means [depth * C] over all tokens of the first `images` of the set, float model; the caller frees it, after an error too.
 * *shifted: in some block the mean's energy is above that of what differs from token to token. */
VS_NODISCARD vs_status vs_half_key_means(double **means, bool *shifted, const vs_runner *runner, const vs_imageset *set,
                                         size_t images, vs_error *err);

#endif
