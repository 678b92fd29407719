/* Every allocation of a load and a dump fails once: no crash, no leak, VS_ERR_NOMEM. */
#include <jansson.h>

#include "config/config.h"
#include "support/check.h"

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *block);

static long until_failure = -1; /* -1: never */
static long live;

static bool fails(void) { return until_failure >= 0 && until_failure-- == 0; }

void *__wrap_calloc(size_t count, size_t size) {
    void *block = fails() ? NULL : __real_calloc(count, size);
    live += block != NULL;
    return block;
}

void *__wrap_realloc(void *old, size_t size) {
    void *block = fails() ? NULL : __real_realloc(old, size);
    live += block && !old;
    return block;
}

void __wrap_free(void *block) {
    live -= block != NULL;
    __real_free(block);
}

static void *json_alloc(size_t size) { return calloc(1, size); }
static void json_release(void *block) { free(block); }

static const char *const text =
    "version: 1\nname: t\n"
    "model: {checkpoint: m, head: h, arch: a, plant: [{kind: spike, blocks: [1, 2]}, {kind: hidden, gain: 3}]}\n"
    "data: {calibration: {scenes: {seed: 1, count: 2}}, analysis: {images: x, labels: y, sample: {count: 3}}}\n"
    "recipe: {observer: {percentile: 99}}\nstates: [fp32, sq, {ptq: {name: p}}]\n"
    "analyze: {layers: [a, b, c, d, e, f, g, h, i], recipes: [p]}\nsurfaces: {layers: x}\n";

/* The load's status, or VS_ERR_NOMEM when it is the dump that found no memory. */
static vs_status load_and_dump(vs_error *err) {
    const vs_override overrides[] = { { "states.sq.alpha=0.6" }, { "data.evaluation.scenes={seed: 1, count: 2}" } };
    vs_config *c = NULL;
    vs_status status = vs_config_parse(&c, text, strlen(text), "d/c.yaml", overrides, 2, err);
    if (status == VS_OK) {
        char *json = vs_config_dump_json(c);
        if (!json) status = vs_fail(err, VS_ERR_NOMEM, "no dump");
        free(json);
    }
    vs_config_free(c);
    return status;
}

static const char *const batch_text =
    "version: 1\nname: b\n"
    "defaults: {model: {checkpoint: m, plant: [{kind: spike, blocks: [1, 2]}]}, states: [fp32, ptq], analyze: {layers: [a, b]}}\n"
    "runs: [{name: one, published: {ptq: 1.5}}, {name: two, model: {heads: 3}, analyze: {layers: c}}]\n";

static vs_status load_batch(vs_error *err) {
    static const char *const keys[] = { "model", "states" };
    const vs_override overrides[] = { { "states.ptq.name=p" }, { "published={p: 2}" } };
    vs_batch b = { 0 };
    char hex[65];
    vs_status status = vs_batch_parse(&b, batch_text, strlen(batch_text), "d/b.yaml", overrides, 2, err);
    if (status == VS_OK) status = vs_config_digest(b.runs[1], keys, 2, hex, err);
    vs_batch_release(&b);
    return status;
}

static void check_every_failure(vs_status (*load)(vs_error *err)) {
    json_set_alloc_funcs(json_alloc, json_release);
    long tried = 0;
    for (;; tried++) {
        vs_error err = { 0 };
        const long before = live;
        until_failure = tried;
        const vs_status status = load(&err);
        const bool reached = until_failure < 0;
        until_failure = -1;
        if (live != before) fail_msg("failure of allocation %ld leaks %ld blocks", tried, live - before);
        if (!reached) {
            assert_int_equal(status, VS_OK);
            break;
        }
        if (status != VS_ERR_NOMEM) fail_msg("failure of allocation %ld gives %d '%s'", tried, (int)status, err.message);
    }
    assert_true(tried > 200); /* the wrapping works */
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    check_every_failure(load_and_dump);
}

static void every_allocation_of_a_batch_may_fail(void **state) {
    (void)state;
    check_every_failure(load_batch);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_may_fail),
                                        cmocka_unit_test(every_allocation_of_a_batch_may_fail) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
