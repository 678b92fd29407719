/* Checks shared by tests. */
#ifndef VS_CHECK_H
#define VS_CHECK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/cmocka_all.h"
#include "vitscope/status.h"

/* The call failed with this code and its message holds each part. */
static inline void check_error(vs_status got, const vs_error *err, vs_status want, const char *part) {
    if (got != want || !strstr(err->message, part))
        print_error("status %d, message '%s'; wanted %d, '%s'\n", (int)got, err->message, (int)want, part);
    assert_int_equal(got, want);
    assert_non_null(strstr(err->message, part));
}

static inline void check_close(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.17g, wanted %.17g within %g", got, want, tolerance);
}

/* A fresh folder; the caller's buffer holds its path. */
static inline void make_temp_dir(char *path, size_t size) {
    const char *base = getenv("TMPDIR");
    snprintf(path, size, "%s/vitscope-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

#endif
