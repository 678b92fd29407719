/* Half operations in plain loops, for backends whose reals are float32 in host memory: what a GPU's are compared with, and what
 * the model on half kernels is tested with where there is no GPU. */
#ifndef VS_TESTS_HOST_HALF_H
#define VS_TESTS_HOST_HALF_H

#include "vitscope/half_ops.h"

extern const vs_half_ops vs_host_half_ops;

float vs_host_from_half(uint16_t bits);
uint16_t vs_host_to_half(float x); /* half to even */

#endif
