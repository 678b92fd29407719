/* Batch files (docs/study.md 10): defaults, and runs that are laid upon them. */
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"
#include "util/util.h"

/* Far above any use: names are compared each with each, and every run holds its own copy of the defaults. */
enum { MAX_RUNS = 256, MAX_VALUES = 200000 };

void vs_batch_release(vs_batch *b) {
    for (size_t i = 0; i < b->run_count; i++) vs_config_free(b->runs[i]);
    free(b->runs);
    vs_config_free(b->file);
    *b = (vs_batch){ 0 };
}

/* The shape of the file, before its runs are read. */
static vs_status check_shape(const vs_reader *r, const vs_yaml_node *defaults, const vs_yaml_node *runs) {
    if (defaults && defaults->kind != VS_NODE_MAP) return vs_read_fail(r, defaults->mark, "defaults must be a map");
    const vs_yaml_node *name = vs_yaml_get(defaults, "name");
    if (name) return vs_read_fail(r, name->mark, "defaults.name: the name belongs to each run");
    if (runs->kind != VS_NODE_LIST) return vs_read_fail(r, runs->mark, "runs must be a list");
    if (runs->count == 0) return vs_read_fail(r, runs->mark, "runs is empty");
    if (runs->count > MAX_RUNS) return vs_read_fail(r, runs->items[MAX_RUNS]->mark, "runs has more than %d items", MAX_RUNS);
    for (size_t i = 0; i < runs->count; i++) {
        if (runs->items[i]->kind != VS_NODE_MAP) return vs_read_fail(r, runs->items[i]->mark, "a run must be a map");
        if (!vs_yaml_get(runs->items[i], "name")) return vs_read_fail(r, runs->items[i]->mark, "the run's name is missing");
    }
    if (vs_yaml_size(runs) + runs->count * (defaults ? vs_yaml_size(defaults) : 0) > MAX_VALUES)
        return vs_read_fail(r, runs->mark, "too many values in runs and defaults");
    return VS_OK;
}

/* Two runs of one name would write into one folder. Called with the run's own place of its name. */
static vs_status check_name(const vs_batch *b, const vs_config *run, vs_error *err) {
    for (size_t i = 0; i < b->run_count; i++)
        if (strcmp(b->runs[i]->name, run->name) == 0)
            return vs_config_fail(run, vs_config_mark(run, "name"), err, "two runs are called '%s'", run->name);
    return VS_OK;
}

static vs_status add_run(vs_batch *b, const vs_yaml_node *item, const vs_override *overrides, size_t override_count,
                         vs_error *err) {
    const vs_yaml_node *file = b->file->root, *version = vs_yaml_get(file, "version"), *defaults = vs_yaml_get(file, "defaults");
    vs_yaml_node *tree = NULL, *copy = NULL;
    vs_config *run = NULL;
    vs_status status = vs_yaml_merge(&tree, defaults ? defaults : item, defaults ? item : NULL, err);
    if (status == VS_OK && !vs_yaml_get(tree, "version")) {
        status = vs_yaml_merge(&copy, version, NULL, err);
        if (status == VS_OK && (status = vs_yaml_set(tree, "version", version->mark, copy, err)) != VS_OK) vs_yaml_free(copy);
    }
    if (status != VS_OK) {
        vs_yaml_free(tree);
        return status;
    }
    status = vs_config_from_tree(&run, tree, b->file->path, true, overrides, override_count, err);
    if (status == VS_OK) status = check_name(b, run, err);
    if (status == VS_OK)
        b->runs[b->run_count++] = run;
    else
        vs_config_free(run);
    return status;
}

static vs_status read_batch(vs_batch *b, const vs_override *overrides, size_t override_count, vs_error *err) {
    const vs_reader r = { .config = b->file, .err = err };
    const vs_yaml_node *root = b->file->root;
    vs_status status = vs_read_map(&r, vs_batch_fields, root, root->mark, "", b->file);
    const vs_yaml_node *runs = vs_yaml_get(root, "runs");
    if (status == VS_OK) status = check_shape(&r, vs_yaml_get(root, "defaults"), runs);
    if (status != VS_OK) return status;
    b->runs = vs_calloc(runs->count, sizeof(vs_config *));
    if (!b->runs) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", b->file->path);
    for (size_t i = 0; i < runs->count && status == VS_OK; i++)
        status = add_run(b, runs->items[i], overrides, override_count, err);
    return status;
}

static vs_status read_single(vs_batch *b, vs_yaml_node *root, const char *label, const vs_override *overrides,
                             size_t override_count, vs_error *err) {
    b->runs = vs_calloc(1, sizeof(vs_config *));
    if (!b->runs) {
        vs_yaml_free(root);
        return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
    }
    vs_status status = vs_config_from_tree(&b->runs[0], root, label, false, overrides, override_count, err);
    if (status == VS_OK) b->run_count = 1;
    return status;
}

vs_status vs_batch_parse(vs_batch *out, const char *text, size_t size, const char *label, const vs_override *overrides,
                         size_t override_count, vs_error *err) {
    vs_yaml_node *root = NULL;
    *out = (vs_batch){ 0 };
    vs_status status = vs_yaml_parse(&root, text, size, label, err);
    if (status == VS_OK && !vs_config_is_batch(root)) {
        status = read_single(out, root, label, overrides, override_count, err);
    } else if (status == VS_OK) {
        status = vs_config_hold_tree(&out->file, root, label, err);
        if (status == VS_OK) status = read_batch(out, overrides, override_count, err);
    }
    if (status != VS_OK) vs_batch_release(out);
    return status;
}

vs_status vs_batch_load(vs_batch *out, const char *path, const vs_override *overrides, size_t override_count, vs_error *err) {
    char *text = NULL;
    size_t size = 0;
    *out = (vs_batch){ 0 };
    vs_status status = vs_config_read_file(path, &text, &size, err);
    if (status == VS_OK) status = vs_batch_parse(out, text, size, path, overrides, override_count, err);
    free(text);
    return status;
}
