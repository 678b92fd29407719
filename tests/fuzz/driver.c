/* Replays files through a fuzz target, each whole, then with every prefix and some single-byte changes. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void replay(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) exit(2);
    static uint8_t bytes[1 << 16], changed[1 << 16];
    const size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    (void)LLVMFuzzerTestOneInput(bytes, size);
    const size_t step = size / 200 + 1;
    for (size_t n = 0; n < size; n += step) (void)LLVMFuzzerTestOneInput(bytes, n);
    for (size_t i = 0; i < size; i += step)
        for (unsigned k = 0; k < 3; k++) {
            static const uint8_t masks[] = { 0x01, 0x80, 0xff };
            memcpy(changed, bytes, size);
            changed[i] ^= masks[k];
            (void)LLVMFuzzerTestOneInput(changed, size);
        }
}

int main(int argc, char **argv) {
    size_t files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
            char path[4096];
            if (e->d_name[0] == '.') continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            replay(path);
            files++;
        }
        if (d) closedir(d);
    }
    printf("%zu files\n", files);
    return files == 0; /* an empty corpus tests nothing */
}
