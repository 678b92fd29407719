/* The library's functions take no memory and cannot fail; it uses the processor's own instructions where there are some. */
#include "util/util.h"

void vs_sha256_init(vs_sha256 *sha) { sha256_init(sha); }
void vs_sha256_update(vs_sha256 *sha, const void *bytes, size_t size) { sha256_update(sha, size, bytes); }
void vs_sha256_final(vs_sha256 *sha, uint8_t digest[32]) { sha256_digest(sha, SHA256_DIGEST_SIZE, digest); }

void vs_hex(const uint8_t *bytes, size_t size, char *text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * size] = '\0';
}
