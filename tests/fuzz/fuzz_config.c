#include <stdlib.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_config *c = NULL;
    vs_error err = { 0 };
    if (vs_config_parse(&c, (const char *)bytes, size, "fuzz.yaml", NULL, 0, &err) != VS_OK) return 0;
    if (vs_config_check_built(c, &err) == VS_OK) free(vs_config_dump_json(c));
    vs_config_free(c);
    return 0;
}
