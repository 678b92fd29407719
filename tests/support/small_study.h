/* A whole study in small, and that its batch does not show in what it reports. */
#ifndef VS_SMALL_STUDY_H
#define VS_SMALL_STUDY_H

#include "results/report.h"
#include "study/study.h"
#include "support/check.h"
#include "util/util.h"

static inline void run_study(vs_study *s, const vs_config *config, const vs_study_options *options) {
    vs_error err = { 0 };
    *s = (vs_study){ 0 };
    if (vs_study_open(s, config, options, &err) != VS_OK || vs_study_run(s, &err) != VS_OK) fail_msg("%s", err.message);
}

/* Batches of two on one thread, others on two. */
static inline void run_batches_of(vs_study *s, const vs_config *config, const char *backend, size_t batch) {
    run_study(s, config, &(vs_study_options){ .backend = backend, .threads = batch == 2 ? 1 : 2, .batch = batch });
}

/* SHA-256 of results.json; folder: for the file. */
static inline void hash_results(const vs_study *s, const char *folder, char hex[65]) {
    vs_error err = { 0 };
    char *path = vs_path_join(folder, "results.json");
    assert_int_equal(vs_report_json(&s->results, folder, &err), VS_OK);
    assert_int_equal(vs_file_sha256(path, hex, &err), VS_OK);
    (void)remove(path);
    free(path);
}

/* The same bytes of results.json for batches of 1, 2 and 3. */
static inline void check_batches_do_not_show(const vs_config *config, const char *backend, const char *folder) {
    char first[65] = "", hex[65];
    for (size_t batch = 1; batch <= 3; batch++) {
        vs_study s;
        run_batches_of(&s, config, backend, batch);
        hash_results(&s, folder, batch == 1 ? first : hex);
        if (batch > 1) assert_string_equal(hex, first);
        vs_study_release(&s);
    }
}

#endif
