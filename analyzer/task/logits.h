/* What a class map is made of, on the host: one image's logits, or mask logits with their queries' classes. */
#ifndef VS_LOGITS_H
#define VS_LOGITS_H

#include "task/slide.h"

/* Whether pixels are scored by masks and their queries' classes: maps are made of these, not of the scores. */
bool vs_logits_are_masks(const vs_graph *graph);
/* Image `image` of a session after vs_forward_head: *out is new, one block for the caller to free. Synced. */
VS_NODISCARD vs_status vs_logits_download(void **out, const vs_backend *backend, const vs_model *model, const vs_session *session,
                                          size_t images, size_t image, vs_error *err);
/* How vs_slide_map reads such a block: of a window whose patch grid is h x w. */
vs_window_logits vs_logits_of_window(const void *block, vs_scalar scalar, const vs_model *model, vs_window window, size_t h,
                                     size_t w);

#endif
