#include "diagnose/half_advice.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose/half_diag.h"
#include "diagnose/half_keys.h"
#include "diagnose/half_tasks.h"
#include "edit/half_change.h"
#include "half/classes.h"
#include "util/util.h"

enum { FOLD = 1, STREAM = 2, SCALE_Q = 4, SHIFT_K = 8, CHANGES = 4 };

typedef struct trial {
    vs_fp16_results *results;
    size_t policy;
    const vs_half_model *model; /* the policy's */
    vs_adviser *adviser;
    int exponent; /* of the stream's scale */
} trial;

static const vs_model *model_of(const trial *t) { return t->adviser->prober->runner->weights->model; }

/* ---- how far the stream is scaled ---- */

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The power of the stream's factor that a row's values change by: squares 2, the stream and what follows it 1, what a norm has
 * divided 0. */
static int power_of(const char *row, bool layer_scale) {
    static const char *const twice[] = { ".square", ".var", ".eps" }, *const once[] = { ".mean", ".center", ".std" };
    static const char *const last[] = { "attn.proj", "mlp.fc2", "mlp.w3" };
    const vs_half_class is = vs_half_class_of(row);
    if (strcmp(row, "head.queries") == 0) return 1;
    if (strncmp(row, "head.", 5) == 0) return 0;
    if (is == VS_CLASS_RESIDUAL || strcmp(row, "patch_embed.proj") == 0) return 1;
    for (size_t i = 0; is == VS_CLASS_NORM && i < 3; i++) {
        if (ends_with(row, twice[i])) return 2;
        if (ends_with(row, once[i])) return 1;
    }
    for (size_t i = 0; !layer_scale && i < 3; i++)
        if (ends_with(row, last[i])) return 1;
    return 0;
}

/* The smallest k for which 2^-k leaves every row of the stream and its squares a bit of headroom: a smaller factor would only
 * bring values nearer to half's lower end. Measured where nothing overflows. */
static int choose_exponent(const trial *t) {
    const double room = log2(vs_half_largest(t->model->weights->format)) - 1;
    const double *healthy = t->results->policies[t->policy].diagnosis.healthy;
    const vs_arch *a = &model_of(t)->arch;
    char name[64];
    double least = -HUGE_VAL;
    for (size_t i = 0; i < t->adviser->prober->rows; i++) {
        vs_half_row_name(t->adviser->prober->graph_rows, t->model->policy, i, name, sizeof name);
        const int power = power_of(name, a->layer_scale);
        if (power && healthy[i] > 0) least = fmax(least, ceil((log2(healthy[i]) - room) / power));
    }
    return isfinite(least) ? -(int)least : 0;
}

/* ---- what may be tried ---- */

/* Nothing overflows, and the stream or a norm loses precision first: its numbers may be too small. */
static bool is_lost_below(const vs_fp16_policy *p) {
    for (size_t i = 0; i < p->row_count; i++)
        if (p->rows[i].inf || p->rows[i].cast_inf) return false;
    if (p->first_bad >= p->row_count) return false;
    const vs_half_class is = vs_half_class_of(p->rows[p->first_bad].name);
    return is == VS_CLASS_NORM || is == VS_CLASS_RESIDUAL;
}

/* What arithmetic permits and could matter here. */
static vs_status list_changes(const trial *t, unsigned *changes, vs_error *err) {
    const vs_policy_config *policy = t->model->policy;
    const vs_arch *a = &model_of(t)->arch;
    vs_adviser *adviser = t->adviser;
    *changes = a->layer_scale ? FOLD : 0;
    /* a stream that has room is scaled up only against what is lost at the lower end, which bfloat16 does not have */
    const bool up = t->model->weights->format == VS_HALF_FP16 && is_lost_below(&t->results->policies[t->policy]);
    if (t->exponent < 0 || (t->exponent > 0 && up)) *changes |= STREAM;
    if (policy->attention == VS_OPERATION_DECOMPOSED && policy->scale == VS_SCALE_AFTER) *changes |= SCALE_Q;
    if (a->position == VS_POSITION_ROPE) return VS_OK;
    vs_status status = VS_OK;
    if (!adviser->key_means)
        status = vs_half_key_means(&adviser->key_means, &adviser->keys_are_shifted, adviser->prober->runner, adviser->prober->set,
                                   adviser->prober->images, err);
    if (adviser->keys_are_shifted) *changes |= SHIFT_K;
    return status;
}

static void describe(const trial *t, unsigned changes, char *text, size_t size) {
    const vs_arch *a = &model_of(t)->arch;
    const bool gated = a->ffn == VS_FFN_SWIGLU;
    const size_t head = a->width / a->heads;
    char parts[CHANGES][80];
    size_t used = 0;
    snprintf(parts[0], sizeof parts[0], "fold LayerScale into attn.proj and mlp.%s", gated ? "w3" : "fc2");
    snprintf(parts[1], sizeof parts[1], "scale the residual stream by 2^%d", t->exponent);
    snprintf(parts[2], sizeof parts[2], "scale Q before the product (D^-0.5 = %.4g into W_q and b_q)", 1 / sqrt((double)head));
    snprintf(parts[3], sizeof parts[3], "undo the shift of K (b_k less the mean key)");
    text[0] = 0;
    for (size_t i = 0; i < CHANGES && used < size; i++)
        if (changes >> i & 1u) used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "; " : "", parts[i]);
}

/* ---- one try ---- */

static vs_status change_model(vs_changed_model *c, const trial *t, unsigned changes, vs_error *err) {
    vs_status status = vs_changed_model_create(c, model_of(t), err);
    if (status == VS_OK && (changes & FOLD)) status = vs_change_fold(c, err);
    if (status == VS_OK && (changes & STREAM)) status = vs_change_stream(c, t->exponent, err);
    if (status == VS_OK && (changes & SHIFT_K)) status = vs_change_keys(c, t->adviser->key_means, err);
    return status;
}

/* Under the policy, on the analysis and the evaluation images. */
static vs_status run_half(vs_fp16_advice *out, const trial *t, const vs_runner *runner, const vs_policy_config *policy,
                          vs_error *err) {
    vs_half_weights *weights = NULL;
    vs_half_probe probe = { 0 };
    vs_half_prober prober = *t->adviser->prober; /* its float outputs, the changed model's sessions */
    prober.runner = runner;
    vs_status status = vs_half_weights_create(&weights, runner->weights, t->model->weights->format, err);
    const vs_half_model model = { .weights = weights, .policy = policy, .counts_only = true };
    if (status == VS_OK) status = vs_half_probe_run(&probe, &prober, &model, err);
    t->adviser->prober->runs = prober.runs;
    out->sqnr = vs_half_probe_reaches(&probe, -HUGE_VAL) ? probe.output.pooled : -HUGE_VAL;
    out->reaches = out->sqnr >= t->results->policies[t->policy].diagnosis.target;
    if (status == VS_OK && t->adviser->evaluation) {
        status = vs_half_tasks(&out->task, NULL, runner, t->adviser->evaluation, &model, 1, 0, t->adviser->floats, err);
        out->has_task = status == VS_OK;
    }
    vs_half_probe_release(&probe);
    vs_half_weights_free(weights);
    return status;
}

static vs_fp16_advice *add_advice(vs_fp16_results *r, size_t policy) {
    if (!vs_grow((void **)&r->advice, &r->advice_capacity, r->advice_count + 1, sizeof *r->advice)) return NULL;
    vs_fp16_advice *advice = &r->advice[r->advice_count];
    *advice = (vs_fp16_advice){ .policy = policy };
    return advice;
}

/* A change that the float model's own output shows is no advice. Sound models stay above 100 dB; where scores are so large that
 * float32 itself rounds them roughly (a key shifted by thousands: 77 dB) the same holds for any other order of sums, so the bound
 * is 20 dB beyond the highest target. What it was is reported. */
static vs_status try_changes(const trial *t, unsigned changes, vs_error *err) {
    static const double UNCHANGED = 60; /* dB */
    const vs_backend *be = t->adviser->prober->runner->weights->backend;
    vs_fp16_results *r = t->results;
    vs_changed_model changed = { 0 };
    vs_weights *weights = NULL;
    vs_sqnr same = { 0 };
    vs_policy_config policy = *t->model->policy;
    vs_runner runner = *t->adviser->prober->runner;
    vs_fp16_advice *advice = add_advice(r, t->policy);
    vs_status status = advice ? change_model(&changed, t, changes, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for advice");
    if (status == VS_OK) status = vs_weights_bind(&weights, be, &changed.model, err);
    runner.weights = weights;
    if (status == VS_OK) status = vs_half_probe_float(&same, t->adviser->prober, &runner, err);
    if (changes & SCALE_Q) policy.scale = VS_SCALE_BEFORE; /* of a power of two the same numbers as weights that hold it */
    if (status == VS_OK && same.pooled >= UNCHANGED) {
        describe(t, changes, advice->what, sizeof advice->what);
        advice->float_sqnr = same.pooled;
        status = run_half(advice, t, &runner, &policy, err);
        r->advice_count++;
    }
    vs_weights_free(weights);
    vs_changed_model_release(&changed);
    return status;
}

/* `before`: the prober's runs when this policy's advice began. */
static bool may_run(const trial *t, size_t before) {
    return t->results->policies[t->policy].diagnosis.runs + t->adviser->prober->runs - before < VS_DIAG_MOST_RUNS;
}

/* Each by itself; all of them together where none is enough. */
vs_status vs_half_advise(vs_fp16_results *r, size_t policy, const vs_half_model *model, vs_adviser *adviser, vs_error *err) {
    const vs_fp16_policy *p = &r->policies[policy];
    const size_t before = adviser->prober->runs, first = r->advice_count;
    trial t = { r, policy, model, adviser, 0 };
    unsigned changes = 0;
    bool reached = false;
    if (!p->diagnosis.present || !(p->diagnosis.lin > -HUGE_VAL)) return VS_OK;
    if (p->finite && p->sqnr.pooled >= p->diagnosis.target) return VS_OK;
    t.exponent = choose_exponent(&t);
    vs_status status = list_changes(&t, &changes, err);
    for (unsigned i = 0; i < CHANGES && status == VS_OK; i++)
        if ((changes >> i & 1u) && may_run(&t, before)) status = try_changes(&t, 1u << i, err);
    for (size_t i = first; i < r->advice_count; i++) reached |= r->advice[i].reaches;
    if (status == VS_OK && !reached && r->advice_count > first + 1 && may_run(&t, before)) status = try_changes(&t, changes, err);
    r->advice_runs += adviser->prober->runs - before;
    return status;
}

void vs_adviser_release(vs_adviser *a) {
    free(a->key_means);
    *a = (vs_adviser){ 0 };
}
