/* EoMT (docs/vit-models.md 5.6): queries pass through the last blocks with the tokens. Of the final-normed rows, a query gives a
 * class and, by a small MLP, the vector whose product with an upscaled patch is that pixel's mask logit. */
#ifndef VS_EOMT_H
#define VS_EOMT_H

#include "vit/read.h"
#include "vit/session.h"

/* Finds the head by its class head's module, "model.class_head" in *class_head, and fills the head's part of the arch, whose
 * backbone is known. *found false: there is none. VS_ERR_SHAPE: it is another
 * backbone's. */
VS_NODISCARD vs_status vs_eomt_detect(vs_arch *arch, const vs_ledger *file, char *class_head, size_t size, bool *found,
                                      vs_error *err);
VS_NODISCARD vs_status vs_eomt_read(const vs_reader *reader, const char *class_head, vs_error *err);

/* After the block before the joint ones (or the embedding): the queries in front of each image's tokens. Other models: nothing.
 */
void vs_eomt_join(vs_session *session, const vs_weights *weights, size_t stream);
/* Reals of the head's room for a session, whose places `take` gives. */
void vs_eomt_plan(vs_session *session, void *planner, vs_mat (*take)(void *planner, size_t rows, size_t cols));
/* The head, from session->normed. */
VS_NODISCARD vs_status vs_eomt_forward(vs_session *session, const vs_weights *weights, vs_tapper tapper, vs_error *err);

#endif
