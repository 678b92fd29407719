/* config.json and preprocessor_config.json, of transformers and of timm. */
#include <stdlib.h>

#include "util/util.h"
#include "vit/layout.h"
#include "vitscope/vit.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_layout_config config;
    vs_error err = { 0 };
    char *text = vs_format("%.*s", (int)(size < 1 << 20 ? size : 1 << 20), size ? (const char *)bytes : "");
    if (text && vs_layout_config_read(&config, text, "config.json", &err) == VS_OK && config.heads > 1 << 20) abort();
    for (int which = 0; text && which < 2; which++) {
        vs_input in;
        err = (vs_error){ 0 };
        if (vs_input_parse(&in, which ? NULL : text, which ? text : NULL, "config.json", &err) != VS_OK || !in.from) continue;
        for (size_t i = 0; i < 3; i++)
            if (!(in.std[i] > 0)) abort();
    }
    free(text);
    return 0;
}
