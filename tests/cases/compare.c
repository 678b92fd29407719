/* vs_compare A.npy B.npy DB: A's agreement with B in dB; exit code 1 where it is not above DB. Shapes matter but for leading 1s.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

typedef struct array {
    char *bytes;
    const char *data;
    size_t count, size; /* of numbers; bytes of one */
} array;

static bool read(const char *path, array *out) {
    vs_error err = { 0 };
    size_t size = 0;
    if (vs_read_file(path, (size_t)64 << 20, &out->bytes, &size, &err) != VS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return false;
    }
    const unsigned char *b = (const unsigned char *)out->bytes;
    const size_t header = size > 10 ? 10 + b[8] + 256u * b[9] : size + 1;
    if (header > size || memcmp(b, "\x93NUMPY\x01", 7) != 0) return false;
    out->size = strstr(out->bytes + 10, "'<f8'") ? 8 : strstr(out->bytes + 10, "'<f4'") ? 4 : 0;
    out->data = out->bytes + header;
    out->count = out->size ? (size - header) / out->size : 0;
    return out->count > 0;
}

static double at(const array *a, size_t i) {
    float f;
    double d;
    memcpy(&f, a->data + i * a->size, sizeof f);
    if (a->size == sizeof f) return (double)f;
    memcpy(&d, a->data + i * a->size, sizeof d);
    return d;
}

int main(int argc, char **argv) {
    array a = { 0 }, b = { 0 };
    double signal = 0, noise = 0;
    const bool good = argc == 4 && read(argv[1], &a) && read(argv[2], &b) && a.count == b.count;
    for (size_t i = 0; good && i < a.count; i++) {
        signal += at(&b, i) * at(&b, i);
        noise += (at(&a, i) - at(&b, i)) * (at(&a, i) - at(&b, i));
    }
    const double db = good ? 10 * log10(signal / fmax(noise, 1e-300)) : (double)NAN;
    printf("%.1f dB\n", db);
    free(a.bytes);
    free(b.bytes);
    return good && db > strtod(argv[3], NULL) ? 0 : 1;
}
