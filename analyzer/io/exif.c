/* EXIF 2.32 (its 4.6.2): a TIFF header, then directories of 12-byte fields. */
#include "io/exif.h"

#include <stdbool.h>
#include <string.h>

typedef struct tiff {
    const uint8_t *bytes;
    size_t size;
    bool big;
} tiff;

static uint32_t number(const tiff *t, size_t at, size_t size) {
    uint32_t v = 0;
    for (size_t i = 0; i < size; i++) v = v << 8 | t->bytes[at + (t->big ? i : size - 1 - i)];
    return v;
}

unsigned vs_exif_orientation(const uint8_t *bytes, size_t size) {
    enum { HEADER = 8, FIELD = 12, ORIENTATION = 0x0112, UPRIGHT = 1, LAST = 8 };
    if (size >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0) {
        bytes += 6;
        size -= 6;
    }
    if (size < HEADER || (memcmp(bytes, "II", 2) != 0 && memcmp(bytes, "MM", 2) != 0)) return UPRIGHT;
    const tiff t = { bytes, size, bytes[0] == 'M' };
    const size_t at = number(&t, 4, 4);
    if (number(&t, 2, 2) != 42 || at > size || size - at < 2) return UPRIGHT;
    const size_t fields = number(&t, at, 2), room = (size - at - 2) / FIELD;
    for (size_t i = 0; i < fields && i < room; i++) {
        const size_t field = at + 2 + i * FIELD;
        if (number(&t, field, 2) != ORIENTATION) continue;
        const uint32_t value = number(&t, field + 8, 2);
        return value >= UPRIGHT && value <= LAST ? value : UPRIGHT;
    }
    return UPRIGHT;
}
