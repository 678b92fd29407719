/* How the residual stream grows: norms of the float model's tokens after each block, kinds of token apart. */
#include <math.h>
#include <stdlib.h>

#include "charts/charts.h"
#include "util/util.h"

enum { CLS, REGISTERS, HIGH, LARGEST, MEDIAN, LINES };

static const double room = 1.2; /* above and below the lines */

typedef struct sheet {
    const vs_token_norms *norms;
    double *x, *y; /* [depth]; [LINES * depth] */
    vs_chart_series series[LINES];
    size_t lines;
    double low, high;
} sheet;

static double value_of(const vs_token_norms *n, size_t block, size_t line) {
    const vs_block_norms *b = &n->blocks[block];
    const double images = (double)n->images;
    return line == CLS         ? b->cls / images
           : line == REGISTERS ? b->registers / images
           : line == HIGH      ? b->high / (double)n->high
           : line == LARGEST   ? b->largest
                               : b->median / images;
}

static void fill(sheet *s, const vs_arch *arch) {
    static const char *const names[LINES] = { [CLS] = "class token",
                                              [REGISTERS] = "registers",
                                              [HIGH] = "high patches",
                                              [LARGEST] = "largest patch",
                                              [MEDIAN] = "median patch" };
    const vs_token_norms *n = s->norms;
    for (size_t k = 0; k < LINES; k++) {
        if ((k == REGISTERS && !arch->registers) || (k == HIGH && !n->high)) continue;
        double *y = s->y + k * n->block_count;
        for (size_t b = 0; b < n->block_count; b++) {
            s->x[b] = (double)b;
            y[b] = value_of(n, b, k);
            if (y[b] > 0) s->low = fmin(s->low, y[b]);
            if (isfinite(y[b])) s->high = fmax(s->high, y[b]);
        }
        s->series[s->lines++] = (vs_chart_series){ .name = names[k], .style = k, .x = s->x, .y = y, .count = n->block_count };
    }
}

static char *caption_of(const vs_results *r) {
    const vs_token_norms *n = &r->norms;
    if (!n->high)
        return vs_format("Euclidean norm of the float model's tokens after each block, means over %zu images (largest patch: of "
                         "all). After the last block no patch token is above %d times the median of its image.",
                         n->images, VS_HIGH_NORM);
    return vs_format(
        "Euclidean norm of the float model's tokens after each block, means over %zu images (largest patch: of all). "
        "High patches: the %zu of %zu that are above %d times the median of their image after the last block; the "
        "highest is %s of %s, %.3g times.",
        n->images, n->high, n->patches, VS_HIGH_NORM, n->listed[0].name, r->image_names[n->listed[0].image], n->listed[0].times);
}

static vs_status draw(vs_chart_job *job, const sheet *s, vs_error *err) {
    char *heading = vs_format("%s: norm of the residual stream through the blocks", job->results->name);
    char *caption = caption_of(job->results);
    const vs_chart_panel panel = { .series = s->series,
                                   .title = "fp32",
                                   .series_count = s->lines,
                                   .x_low = -0.3,
                                   .x_high = (double)s->norms->block_count - 0.7 };
    const vs_chart chart = { .heading = heading,
                             .caption = caption,
                             .x_label = "after block",
                             .y_label = "norm of a token",
                             .panels = &panel,
                             .panel_count = 1,
                             .columns = 1,
                             .panel_width = 560,
                             .panel_height = 300,
                             .y_low = s->low / room,
                             .y_high = s->high * room,
                             .log_y = true,
                             .legend_beside = true };
    const vs_status status =
        heading && caption ? vs_chart_emit(job, "norms", &chart, NULL, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    free(heading);
    free(caption);
    return status;
}

vs_status vs_chart_norms(vs_chart_job *job, vs_error *err) {
    const vs_token_norms *n = &job->results->norms;
    size_t cells = 0;
    if (!n->images || !n->block_count) return VS_OK;
    if (!vs_size_mul(&cells, LINES, n->block_count)) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    sheet s = { .norms = n, .x = vs_calloc(n->block_count, sizeof *s.x), .y = vs_calloc(cells, sizeof *s.y), .low = HUGE_VAL };
    vs_status status = VS_OK;
    if (s.x && s.y) {
        fill(&s, job->results->arch);
        status = draw(job, &s, err);
    } else
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    free(s.x);
    free(s.y);
    return status;
}
