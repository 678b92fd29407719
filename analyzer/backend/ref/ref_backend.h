/* The reference: float64, plain loops. Every formula of the program can be read here. */
#ifndef VS_REF_BACKEND_H
#define VS_REF_BACKEND_H

#include "vitscope/backend.h"

VS_NODISCARD vs_status vs_ref_open(vs_backend **out, vs_error *err);

#endif
