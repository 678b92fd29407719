#include "results/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/util.h"

int vs_report_digits(const vs_results *r) { return r->ref_precision ? 17 : 9; }

void vs_report_number(char *text, size_t size, double v, int digits) {
    if (isnan(v))
        snprintf(text, size, "%s", "");
    else if (isinf(v))
        snprintf(text, size, "%s", v > 0 ? "inf" : "-inf");
    else
        snprintf(text, size, "%.*g", digits, v);
}

vs_status vs_report_write(const char *dir, const char *name, const char *bytes, size_t size, vs_error *err) {
    char *path = vs_path_join(dir, name);
    vs_status status = path ? vs_write_file(path, bytes, size, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    free(path);
    return status;
}
