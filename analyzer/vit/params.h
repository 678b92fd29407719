/* A model's parameters from a file: every parameter of the graph has a name there, or the file is not this model's. */
#ifndef VS_PARAMS_H
#define VS_PARAMS_H

#include "vit/layout.h"
#include "vit/read.h"

typedef struct vs_readers {
    vs_reader backbone, head; /* of one model */
    const vs_layout *layout;
} vs_readers;

/* Fills params and sources of the model, whose graph is there. */
VS_NODISCARD vs_status vs_params_read(const vs_readers *readers, vs_error *err);

#endif
