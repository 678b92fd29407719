/* The model on real half kernels (vitscope/half_ops.h), to compare the half machine with: weights and everything between two
 * operations are halves in the backend's memory. Operations are one or taken apart as a policy says; rows are not counted. */
#ifndef VS_HALF_REAL_H
#define VS_HALF_REAL_H

#include "half/half.h"
#include "vitscope/half_ops.h"

/* Weights, stored once. */
struct vs_half_real {
    const vs_half_weights *from;
    const void **params;   /* [graph->param_count]: halves; NULL: absent, or of no kernel */
    vs_half_mat constants; /* [1, constants of the rows] */
    void *memory;          /* of all of them, on the backend */
};

/* VS_ERR_BACKEND for a backend without half kernels, VS_ERR_CONFIG for a format other than fp16 and for a model that this
 * does not run, with what it is. */
VS_NODISCARD vs_status vs_half_real_check(const vs_model *model, const vs_backend *backend, vs_half_format format, vs_error *err);
/* A policy that keeps something in float32, or has a softmax, tables or probabilities of its own, is not run. */
bool vs_half_real_runs(const vs_policy_config *policy);

/* From the emulation's stored weights, which must outlive them. */
VS_NODISCARD vs_status vs_half_real_create(vs_half_real **out, const vs_half_weights *weights, vs_error *err);
void vs_half_real_free(vs_half_real *real);

/* Reals of session scratch that a pass takes. */
size_t vs_half_real_scratch(const vs_graph *graph, size_t patches, size_t images);
/* How many results `seen` gets of an image: the stream after each block, then the output. */
size_t vs_half_real_seen(const vs_graph *graph);
/* model->real and model->policy at work on pixels as of vs_forward. With `seen` [images][vs_half_real_seen] the float model
 * `floats` runs beside it block by block in stream 0 and workspace 0; error sums against it are there after sync, and the
 * session's output is the float model's. With NULL for both the session's output is that of the half kernels, in float32. */
VS_NODISCARD vs_status vs_half_real_forward(vs_session *session, const vs_half_model *model, const float *pixels,
                                            const vs_weights *floats, vs_error_sums *const *seen, vs_error *err);

#endif
