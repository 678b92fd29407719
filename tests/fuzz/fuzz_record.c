/* run.json of a folder: it leads to removals. */
#include <string.h>

#include "folder/run_merge.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
    json_t *record = json_loadb((const char *)bytes, size, 0, NULL);
    vs_names names = { 0 };
    char why[64], backend[] = "backend", cpu[] = "cpu";
    vs_fingerprint_part part = { backend, cpu };
    const vs_fingerprint now = { .parts = &part, .count = 1 };
    vs_run_part of;
    vs_run_folder folder = { .record = record };
    if (record && vs_run_outputs(record, &names, NULL) == VS_OK)
        for (size_t i = 0; i < names.count; i++) {
            if (names.items[i][0] == '/' || strncmp(names.items[i], "../", 3) == 0 || strstr(names.items[i], "/../"))
                __builtin_trap();
            (void)vs_run_folder_sum(&folder, names.items[i], &of);
        }
    for (vs_run_part p = VS_PART_RUN; p < VS_PART_COUNT; p++)
        (void)vs_fingerprint_equals(&now, json_object_get(vs_run_document(record, p), "fingerprint"), p == VS_PART_RUN, why,
                                    sizeof why);
    vs_names_free(&names);
    json_decref(record);
    return 0;
}
