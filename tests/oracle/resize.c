/* The program's own opencv resize for scripts: cases on stdin (uint32 width, height, channels, to_width, to_height, then the
 * pixels), resized pixels on stdout. */
#include <stdio.h>

#include "io/image.h"

static int fail(const vs_error *err) {
    fprintf(stderr, "vs_resize: %s\n", err->message);
    return 1;
}

int main(void) {
    uint32_t head[5];
    vs_error err = { 0 };
    while (fread(head, sizeof *head, 5, stdin) == 5) {
        vs_image in, out;
        if (vs_image_create(&in, head[0], head[1], head[2], &err) != VS_OK) return fail(&err);
        const size_t size = in.width * in.height * in.channels;
        if (fread(in.pixels, 1, size, stdin) != size) return 1;
        if (vs_image_resize_cv(&in, head[3], head[4], &out, &err) != VS_OK) return fail(&err);
        const size_t written = fwrite(out.pixels, 1, out.width * out.height * out.channels, stdout);
        if (written != out.width * out.height * out.channels) return 1;
        vs_image_release(&in);
        vs_image_release(&out);
    }
    return 0;
}
