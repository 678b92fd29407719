#include <stdlib.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_batch b = { 0 }; /* one run or several */
    vs_error err = { 0 };
    if (vs_batch_parse(&b, (const char *)bytes, size, "fuzz.yaml", NULL, 0, &err) != VS_OK) return 0;
    for (size_t i = 0; i < b.run_count; i++)
        if (vs_config_check_built(b.runs[i], &err) == VS_OK) free(vs_config_dump_json(b.runs[i]));
    vs_batch_release(&b);
    return 0;
}
