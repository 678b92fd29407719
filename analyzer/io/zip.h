/* A ZIP archive: its directory, with the places of all entries' bytes. Nothing is unpacked. */
#ifndef VS_ZIP_H
#define VS_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "io/source.h"

typedef struct vs_zip_entry {
    char *name;
    size_t at, size; /* its bytes in the archive */
    size_t begin;    /* of its local header in the archive */
    unsigned method; /* 0: stored; anything else: compressed, and bytes are that */
} vs_zip_entry;

typedef struct vs_zip {
    vs_zip_entry *entries; /* by name, no two alike */
    size_t count;
} vs_zip;

/* Reads the central directory (ZIP64 or not; sizes come from there, since local headers that stream hold none). Every entry lies
 * in the archive, before the directory, and shares no byte with another. Checksums are not verified. VS_ERR_FORMAT names the
 * entry and the offset; VS_ERR_UNSUPPORTED: encrypted or split. */
VS_NODISCARD vs_status vs_zip_read(vs_zip *zip, const vs_source *source, vs_error *err);
/* VS_ERR_UNSUPPORTED, naming the entry, if any is compressed. */
VS_NODISCARD vs_status vs_zip_check_stored(const vs_zip *zip, const char *label, vs_error *err);
void vs_zip_release(vs_zip *zip);
const vs_zip_entry *vs_zip_find(const vs_zip *zip, const char *name); /* NULL if absent */

#endif
