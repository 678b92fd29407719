/* What the diagnosis knows of rows by their names (docs/fp16-reference.md 4): their class, and which of them move together. */
#ifndef VS_HALF_CLASSES_H
#define VS_HALF_CLASSES_H

#include "half/half.h"

typedef enum vs_half_class {
    VS_CLASS_NORM,
    VS_CLASS_SCORES,
    VS_CLASS_SOFTMAX,
    VS_CLASS_GELU,
    VS_CLASS_RESIDUAL,
    VS_CLASS_LINEAR,
    VS_CLASS_COUNT
} vs_half_class;

extern const char *const vs_half_class_names[VS_CLASS_COUNT];

/* By the name of a row: "blocks.3.norm1.square" is VS_CLASS_NORM. */
vs_half_class vs_half_class_of(const char *row);
/* The name of the unit that the row moves with: a whole norm ("blocks.3.norm1"), a whole GELU or SiLU with its gate, a block's
 * scores; any other row is a unit of its own. */
void vs_half_unit_of(const char *row, char *text, size_t size);

#endif
