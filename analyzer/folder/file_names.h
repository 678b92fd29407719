/* Names of images as names of files. */
#ifndef VS_FILE_NAMES_H
#define VS_FILE_NAMES_H

#include "util/util.h"

/* A name for each of a few images, no two equal: its own without extension, blanks and slashes as '_'; with its extension where
 * another image has the same without; numbered where even that is not its own. */
VS_NODISCARD vs_status vs_file_names(const char *const *names, size_t count, vs_names *out, vs_error *err);

#endif
