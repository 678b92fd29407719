/* From named tensors of a file to the model's own float32 arrays. */
#ifndef VS_READ_H
#define VS_READ_H

#include "vit/ledger.h"
#include "vitscope/vit.h"

/* A missing tensor is listed in the model, not an error yet, so that one message can say how many are missing. */
typedef struct vs_reader {
    vs_model *model;
    vs_ledger *file; /* notes what is read */
    const vs_model_options *options;
} vs_reader;

/* Tensor `name` of rows x cols values, once dimensions of size 1 are dropped; a new array in *out (NULL stays with
 * options.shapes_only or where it is missing). VS_ERR_FORMAT: another shape, or values that options.check_values refuses. */
VS_NODISCARD vs_status vs_read_tensor(const vs_reader *reader, const char *name, size_t rows, size_t cols, float **out,
                                      vs_error *err);
/* Whether its values can be read as they are: float32, float16, bfloat16 or float64. */
bool vs_is_float(const vs_tensor_entry *tensor);

/* Which of a layer's modules have a bias. */
typedef enum vs_bias_rule {
    VS_BIAS_ALL,
    VS_BIAS_ALL_BUT_KEY, /* the second of them has none: zeros */
    VS_BIAS_ALL_OR_NONE,
    VS_BIAS_NONE
} vs_bias_rule;

/* Where a linear of a model goes. */
typedef struct vs_linear_slot {
    vs_source *source;
    float **w, **b;
    size_t out, in;
} vs_linear_slot;

vs_linear_slot vs_linear_slot_of(vs_model *model, size_t node);
/* The layer whose rows are those of `parts` modules of equal size, one after the other. */
VS_NODISCARD vs_status vs_read_linear(const vs_reader *reader, const char *const *modules, size_t parts, vs_bias_rule rule,
                                      const vs_linear_slot *linear, vs_error *err);
/* As the file calls a module, wrappers and all, into the source of a linear. */
VS_NODISCARD vs_status vs_read_source(const vs_reader *reader, const char *module, vs_source *source, vs_error *err);

/* The module before ".weight" in the first key from number *from on that ends with `name`.weight; *from is then the next one. */
bool vs_find_module(const vs_ledger *file, size_t *from, const char *name, char *module, size_t size);

/* Class names of the file's metadata: "classes", comma-separated, or lightly-train's model_init_args.classes, whose keys are the
 * classes' numbers in label maps. */
VS_NODISCARD vs_status vs_read_class_names(vs_model *model, const vs_tensorfile *file, vs_error *err);

#endif
