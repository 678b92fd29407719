/* float32 on the host's processor. */
#ifndef VS_CPU_BACKEND_H
#define VS_CPU_BACKEND_H

#include "vitscope/backend.h"

/* VS_ISA=scalar|avx2|avx512 forces an instruction set; one that the processor lacks is VS_ERR_BACKEND. */
VS_NODISCARD vs_status vs_cpu_open(vs_backend **out, vs_error *err);

#endif
