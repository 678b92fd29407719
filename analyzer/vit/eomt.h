/* EoMT's head in a file (docs/vit-models.md 5.6). What it computes: build_eomt.c. */
#ifndef VS_EOMT_H
#define VS_EOMT_H

#include "vit/read.h"

/* Finds the head by its class head's module, "model.class_head" in *class_head, and fills the head's part of the arch, whose
 * backbone is known. *found false: there is none. VS_ERR_SHAPE: it is another
 * backbone's. */
VS_NODISCARD vs_status vs_eomt_detect(vs_arch *arch, const vs_ledger *file, char *class_head, size_t size, bool *found,
                                      vs_error *err);
/* A linear, or another parameter, of the head at a class head's module. */
VS_NODISCARD vs_status vs_eomt_read_linear(const vs_reader *reader, const char *class_head, size_t node, vs_error *err);
VS_NODISCARD vs_status vs_eomt_read_param(const vs_reader *reader, const char *class_head, size_t param, vs_error *err);

#endif
