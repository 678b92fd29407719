/* A Hugging Face config.json. */
#include <stdlib.h>

#include "layout.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_layout_config config;
    vs_error err = { 0 };
    char *text = vs_format("%.*s", (int)(size < 1 << 20 ? size : 1 << 20), size ? (const char *)bytes : "");
    if (text && vs_layout_config_read(&config, text, "config.json", &err) == VS_OK && config.heads > 1 << 20) abort();
    free(text);
    return 0;
}
