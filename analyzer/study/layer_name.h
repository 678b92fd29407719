/* Which layers a pattern names: in our names, or in those of the user's checkpoint. */
#ifndef VS_LAYER_NAME_H
#define VS_LAYER_NAME_H

#include "config/config.h"
#include "vitscope/vit.h"

/* True if the glob `pattern` fits the point's own name ("blocks.3.attn.qkv") or the name of its module in the user's file
 * ("encoder.layer.3.attention.attention.query"); `suffix` (".in", "") stands behind either. Modules query, key and value, whose
 * rows follow each other in qkv, name the layer qkv and the operands that they give; a module qkv names the layer alone. */
bool vs_layer_matches(const vs_model *model, const vs_point *point, const char *suffix, const char *pattern);
/* One of several patterns does. */
bool vs_layer_listed(const vs_model *model, const vs_point *point, const vs_string_list *patterns);
/* What a pattern that fits nothing may have meant: the nearest of the `count` points' names, or "*.NAME" where it is the end of
 * one; "" where nothing is near. */
void vs_layer_suggest(const vs_model *model, const vs_point *const *points, size_t count, const char *pattern, char *text,
                      size_t size);

#endif
