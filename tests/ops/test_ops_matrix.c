#include "ops/harness.h"

#include "support/cmocka_all.h"
#include "support/host_half.h"

/* test_ops_matrix [BACKEND] */
int main(int argc, char **argv) {
    ops_context context = { 0 };
    vs_error err = { 0 };
    if (vs_backend_open(&context.ref, "ref", &err) != VS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const vs_status status = vs_backend_open(&context.dut, argc > 1 ? argv[1] : "cpu", &err);
    if (status != VS_OK) {
        printf("skipped: %s\n", err.message);
        vs_backend_close(context.ref);
        return status == VS_ERR_BACKEND ? 77 : 1;
    }
    if (!context.dut->half && context.dut->host_memory && context.dut->scalar == VS_SCALAR_F32)
        context.dut->half = &vs_host_half_ops;
#define CASE(name) cmocka_unit_test_prestate(name, &context)
    const struct CMUnitTest tests[] = {
        CASE(test_linear),
        CASE(test_layernorm),
        CASE(test_attention),
        CASE(test_attention_steps),
        CASE(test_rope),
        CASE(test_gelu),
        CASE(test_gelu_tanh),
        CASE(test_silu_mul),
        CASE(test_unfold_depthwise),
        CASE(test_softmax_scores),
        CASE(test_elementwise),
        CASE(test_patchify_tokens_copy),
        CASE(test_linear_i8),
        CASE(test_nonfinite_forward),
        CASE(test_round_half),
        CASE(test_single_operations),
        CASE(test_row_sums),
        CASE(test_half_elements),
        CASE(test_half_linear),
        CASE(test_half_attention),
        CASE(test_half_rows),
        CASE(test_fake_quant),
        CASE(test_fake_quant_rows),
        CASE(test_fake_quant_tokens),
        CASE(test_quantize_u8),
        CASE(test_ties_and_nonfinite),
        CASE(test_grid_round_trip),
        CASE(test_minmax),
        CASE(test_range_histogram),
        CASE(test_error_sums),
        CASE(test_abs_stats),
        CASE(test_images_equal_separate_calls),
        CASE(test_shared_counters),
        CASE(test_counts),
        CASE(test_tall_and_wide),
        CASE(test_nonfinite_statistics),
        CASE(test_histogram_bins),
        CASE(test_exp_full_range),
        CASE(test_gelu_full_range),
        CASE(test_gelu_tanh_full_range),
        CASE(test_silu_mul_tails),
        CASE(test_softmax_properties),
        CASE(test_layernorm_shift),
        CASE(test_in_place),
        CASE(test_threads_equal_bits),
        CASE(test_position_in_memory),
        CASE(test_empty),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    print_worst(&context);
    vs_backend_close(context.dut);
    vs_backend_close(context.ref);
    return failed;
}
