/* run.json: how the results came about. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "study/run_json.h"
#include "util/util.h"
#include "json/json_text.h"

/* SHA-256 over the names of a set in order: the same list gives the same sum. */
static void hash_names(const vs_imageset *set, char hex[65]) {
    vs_sha256 sha;
    uint8_t digest[32];
    vs_sha256_init(&sha);
    for (size_t i = 0; i < set->count; i++) {
        char *name = vs_imageset_name(set, i);
        if (name) vs_sha256_update(&sha, name, strlen(name) + 1);
        free(name);
    }
    vs_sha256_final(&sha, digest);
    vs_hex(digest, sizeof digest, hex);
}

static json_t *describe_set(const vs_imageset *set) {
    if (set->count == 0) return json_null();
    char hex[65];
    hash_names(set, hex);
    json_t *o = json_pack("{s:I, s:s}", "images", (json_int_t)set->count, "list_sha256", hex);
    if (o && set->config->scenes.set) json_object_set_new(o, "scenes_seed", json_integer((json_int_t)set->config->scenes.seed));
    return o;
}

/* The file, and what of it is the model. */
static json_t *describe_checkpoint(const vs_study *s) {
    const vs_model *m = s->model;
    json_t *left = json_array();
    for (size_t i = 0; i < m->tensor_count; i++)
        if (!m->tensors[i].used)
            json_array_append_new(left, json_pack("{s:s, s:s}", "name", m->tensors[i].name, "reason",
                                                  m->tensors[i].reason ? m->tensors[i].reason : ""));
    const vs_linear head = vs_model_linear(m, vs_graph_find(m->graph, VS_KIND_HEAD, -1));
    json_t *o = json_pack("{s:o, s:s, s:s, s:s, s:I, s:b, s:s, s:o}", "path", vs_json_string(m->path), "sha256", m->sha256,
                          "layout", m->arch.layout ? m->arch.layout : "", "prefix", m->prefix ? m->prefix : "", "heads",
                          (json_int_t)m->arch.heads, "heads_guessed", (int)m->arch.heads_guessed, "head",
                          head.out && head.source->count ? head.source->fqn[0] : "", "left_out", left);
    const char *from = s->config->data.preprocess.normalize_from;
    if (o && from) json_object_set_new(o, "normalize_from", json_string(from));
    return o;
}

static json_t *describe_stages(const vs_study *s) {
    json_t *o = json_object();
    for (size_t i = 0; o && i < s->stage_count; i++) json_object_set_new(o, s->stages[i].stage, json_real(s->stages[i].seconds));
    return o;
}

/* Of the file as it lies there. */
static vs_status hash_results(const char *dir, char hex[65], vs_error *err) {
    char *path = vs_path_join(dir, "results.json");
    vs_status status = path ? vs_file_sha256(path, hex, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    free(path);
    return status;
}

vs_status vs_study_describe(json_t **out, const vs_study *s, vs_run_part command, const vs_fingerprint *inputs, const char *dir,
                            size_t peak_bytes, vs_error *err) {
    char config_sha[65], results_sha[65];
    static const char *const whole[] = { "" };
    *out = NULL;
    vs_status status = vs_config_digest(s->config, whole, 1, config_sha, err);
    if (status == VS_OK) status = hash_results(dir, results_sha, err);
    if (status != VS_OK) return status;
    char *dump = vs_config_dump_json(s->config);
    json_t *config = dump ? json_loads(dump, 0, NULL) : NULL, *prints = vs_fingerprint_json(inputs);
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:s, s:s, s:o, s:{s:o, s:o, s:o}, s:o, s:I}", "vitscope", VS_VERSION,
        "name", s->config->name, "command", vs_run_part_name(command), "backend", s->backend->name, "arithmetic",
        s->backend->arithmetic, "isa", s->backend->isa, "library", s->backend->library ? s->backend->library : "none", "threads",
        (json_int_t)s->options.threads, "batch", (json_int_t)s->options.batch, "config", config ? config : json_null(),
        "config_sha256", config_sha, "results_sha256", results_sha, "checkpoint", describe_checkpoint(s), "sets", "calibration",
        describe_set(&s->calibration_set), "analysis", describe_set(&s->analysis_set), "evaluation",
        describe_set(&s->evaluation_set), "seconds", describe_stages(s), "peak_bytes", (json_int_t)peak_bytes);
    const vs_memory_use device = s->backend->ops->memory_use(s->backend);
    if (root && device.peak) json_object_set_new(root, "device_peak_bytes", json_integer((json_int_t)device.peak));
    if (!root || !config || !prints || json_object_set(root, "fingerprint", prints) != 0)
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for run.json");
    free(dump);
    json_decref(prints);
    if (status != VS_OK) {
        json_decref(root);
        return status;
    }
    *out = root;
    return VS_OK;
}
