/* What published files are called where they are published (docs/vit-models.md 1.1, 4.2). */
#include <stdio.h>
#include <string.h>

#include "vitscope/vit.h"

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool vs_published_name(const char *path, char *text, size_t size) {
    static const char *const models[] = { "dinov2_vits14", "dinov2_vitb14", "dinov2_vitl14", "dinov2_vitg14" };
    static const char *const parts[] = { "_pretrain.pth",       "_reg4_pretrain.pth",       "_ade20k_linear_head.pth",
                                         "_ade20k_ms_head.pth", "_voc2012_linear_head.pth", "_voc2012_ms_head.pth",
                                         "_linear_head.pth",    "_linear4_head.pth" };
    const char *name = base_name(path);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        const size_t n = strlen(models[m]);
        if (strncmp(name, models[m], n) != 0) continue;
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
            if (strcmp(name + n, parts[p]) == 0) {
                snprintf(text, size, "https://dl.fbaipublicfiles.com/dinov2/%s/%s", models[m], name);
                return true;
            }
    }
    return false;
}
