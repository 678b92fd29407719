/* What jansson leaves to its callers. */
#ifndef VS_JSON_TEXT_H
#define VS_JSON_TEXT_H

#include <jansson.h>

/* The text of a value, for free(); flags as json_dumps has them. NULL: no value or no memory. json_dumps itself loses a key, and
 * says nothing, where its growing buffer finds no memory for it; here the size is known before. */
char *vs_json_text(const json_t *value, size_t flags);
/* `text` as a string. JSON is UTF-8, a file's name need not be: then what is not ASCII becomes '?'. NULL: no memory. */
json_t *vs_json_string(const char *text);

#endif
