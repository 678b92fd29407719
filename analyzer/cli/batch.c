/* A batch: runs one after the other, what they share computed once, a table of them all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "results/table.h"
#include "util/util.h"

typedef struct batch {
    const vs_command_line *line;
    const vs_batch *file;
    char *dir;       /* <out>/<batch> */
    vs_lock lock;    /* of dir, whose tables are written after every run */
    size_t *pending; /* runs still to do, in order */
    size_t pending_count;
    vs_cli_shared shared; /* of the pending runs */
    vs_cli_plans plans;   /* of --dry-run */
    vs_names said;        /* notes of its runs */
    vs_table table;
    size_t failures;
} batch;

static char *run_folder(const batch *b, size_t run) { return vs_path_join(b->dir, b->file->runs[run]->name); }

/* fp32 runs first, whether it is listed or not. */
static const char *float_name(const vs_config *c) {
    for (size_t i = 0; i < c->state_count; i++)
        if (c->states[i].kind == VS_STATE_FP32) return c->states[i].name;
    return vs_state_kind_name(VS_STATE_FP32);
}

static vs_status make_table(batch *b, vs_error *err) {
    vs_table *t = &b->table;
    vs_status status = vs_table_create(t, b->file->file->name, b->file->run_count, err);
    if (strcmp(b->line->backend, "ref") == 0) t->digits = 17;
    for (size_t i = 0; i < b->file->run_count && status == VS_OK; i++) {
        const vs_config *c = b->file->runs[i];
        t->rows[i].run = c->name;
        status = vs_table_add_column(t, float_name(c), err);
        for (size_t k = 0; k < c->state_count && status == VS_OK; k++) status = vs_table_add_column(t, c->states[k].name, err);
        for (size_t k = 0; k < c->published_count && status == VS_OK; k++) {
            vs_cell *cell = &t->rows[i].cells[vs_table_column(t, c->published[k].state)];
            cell->has_published = true;
            cell->published = c->published[k].value;
        }
    }
    return status;
}

/* Runs that are already there go into the table, the others are planned. */
static vs_status plan(batch *b, vs_error *err) {
    const size_t count = b->file->run_count;
    vs_config **configs = vs_calloc(count, sizeof(vs_config *));
    b->pending = vs_calloc(count, sizeof *b->pending);
    vs_status status = configs && b->pending ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a batch");
    for (size_t i = 0; i < count && status == VS_OK; i++) {
        char *dir = run_folder(b, i);
        bool complete = false;
        if (!dir) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
        if (dir && b->line->resume && !b->line->dry_run)
            status = vs_cli_is_complete(b->line, b->file->runs[i], dir, &complete, err);
        complete = status == VS_OK && complete && vs_table_read(&b->table, i, dir, NULL) == VS_OK;
        free(dir);
        if (status != VS_OK || complete) continue;
        configs[b->pending_count] = b->file->runs[i];
        b->pending[b->pending_count++] = i;
    }
    b->shared.inputs = json_object();
    if (status == VS_OK && !b->shared.inputs) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a batch");
    if (status == VS_OK) status = vs_cache_create(&b->shared.cache, configs, b->pending_count, err);
    free(configs);
    return status;
}

static vs_status run_into_table(batch *b, size_t run, vs_error *err) {
    char *dir = run_folder(b, run);
    vs_status status = dir ? vs_cli_run_config(b->line, b->file->runs[run], b->dir, &b->shared, false, err)
                           : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK && !b->line->dry_run) status = vs_table_read(&b->table, run, dir, err);
    free(dir);
    return status;
}

/* A failed run is told and stands in the table; only an interruption stops the others. */
static vs_status run_pending(batch *b, size_t index, vs_error *err) {
    const size_t run = b->pending[index];
    vs_error own = { 0 };
    if (!b->line->quiet) printf("[%zu/%zu] %s\n", run + 1, b->file->run_count, b->file->runs[run]->name);
    fflush(stdout);
    vs_cache_begin(b->shared.cache, index);
    vs_status status = run_into_table(b, run, &own);
    if (status == VS_ERR_INTERRUPTED) return vs_fail(err, status, "%s", own.message);
    if (status != VS_OK) {
        vs_table_row *row = &b->table.rows[run];
        row->fate = VS_RUN_FAILED;
        row->error = vs_strdup(own.message);
        vs_error_prefix(&own, "run '%s': ", row->run);
        (void)vs_cli_fail(status, &own);
        b->failures++;
    }
    return VS_OK;
}

static vs_status print_table(const batch *b, vs_error *err) {
    char *text = NULL;
    vs_status status = vs_table_text(&b->table, vs_cli_columns(STDOUT_FILENO), &text, err);
    if (status == VS_OK) {
        putchar('\n');
        vs_cli_put(text);
        printf("\nResults: %s\n", b->dir);
        vs_cli_paragraph("table.txt, table.csv, table.json; a folder each run");
        putchar('\n');
    }
    fflush(stdout);
    free(text);
    return status;
}

/* The table is written after every run: what is there remains, whatever happens to the next. */
static vs_status run_all(batch *b, vs_error *err) {
    vs_status status = make_table(b, err);
    const bool writes = !b->line->dry_run;
    if (status == VS_OK && writes) status = vs_make_dirs(b->dir, err);
    if (status == VS_OK && writes) status = vs_lock_take(&b->lock, b->dir, err);
    if (status == VS_OK && writes) status = vs_folder_remove_temporaries(b->dir, err);
    if (status == VS_OK) status = plan(b, err);
    if (status == VS_OK && writes) status = vs_table_write(&b->table, vs_cli_columns(STDOUT_FILENO), b->dir, err);
    for (size_t i = 0; i < b->pending_count && status == VS_OK; i++) {
        status = run_pending(b, i, err);
        if (status == VS_OK && writes) status = vs_table_write(&b->table, vs_cli_columns(STDOUT_FILENO), b->dir, err);
    }
    if (!writes && status == VS_OK) vs_cli_print_plans(&b->plans, b->pending_count, b->dir);
    if (!writes || b->line->quiet) return status;
    if (status == VS_OK || status == VS_ERR_INTERRUPTED) {
        vs_status printed = print_table(b, err);
        if (status == VS_OK) status = printed;
    }
    return status;
}

int vs_cli_run_batch(const vs_command_line *line, const vs_batch *file) {
    vs_error err = { 0 };
    batch b = { .line = line, .file = file, .lock = { .fd = -1 }, .dir = vs_path_join(line->out, file->file->name) };
    b.shared.plans = &b.plans;
    b.shared.said = &b.said;
    vs_status status = b.dir ? run_all(&b, &err) : vs_fail(&err, VS_ERR_NOMEM, "no memory for a path");
    const int code = status != VS_OK ? vs_cli_fail(status, &err) : b.failures ? 1 : 0;
    vs_lock_release(&b.lock);
    json_decref(b.shared.inputs);
    vs_cache_free(b.shared.cache);
    vs_table_release(&b.table);
    vs_names_free(&b.said);
    free(b.pending);
    free(b.dir);
    return code;
}
