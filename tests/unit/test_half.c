/* Rounding to 16-bit formats is the hardware's, bit for bit: a sample of 2^24 float32 values, or all 2^32 ("all"). */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "backend/half_round.h"
#include "support/check.h"

#if defined __x86_64__ && defined __GNUC__
#include <immintrin.h>
#define HAVE_HARDWARE
#endif

static bool whole; /* every value */

enum { LANES = 8 };

#ifdef HAVE_HARDWARE
__attribute__((target("avx,f16c"))) static void convert(const float *x, float *y) {
    _mm256_storeu_ps(y, _mm256_cvtph_ps(_mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT)));
}
/* older clangs have no name for F16C; what has AVX2 has it */
static bool have_hardware(void) { return __builtin_cpu_supports("avx2"); }
#else
static void convert(const float *x, float *y) { memcpy(y, x, LANES * sizeof *x); }
static bool have_hardware(void) { return false; }
#endif

/* Steps of an odd number visit values of every exponent. */
static void fp16_is_hardware(void **state) {
    (void)state;
    if (!have_hardware()) {
        print_message("no F16C here\n");
        skip();
    }
    const uint64_t step = whole ? 1 : 257, end = (uint64_t)1 << 32;
    uint64_t wrong = 0;
    uint32_t first = 0;
    for (uint64_t i = 0; i < end; i += step * LANES) {
        float x[LANES], want[LANES];
        for (uint64_t k = 0; k < LANES; k++) x[k] = vs_half_from_bits((uint32_t)(i + k * step));
        convert(x, want);
        for (size_t k = 0; k < LANES; k++) {
            const float got = vs_round_fp16(x[k]);
            if (vs_half_bits_of(got) == vs_half_bits_of(want[k])) continue;
            if (wrong++ == 0) first = vs_half_bits_of(x[k]);
        }
    }
    if (wrong) fail_msg("%llu values differ, the first is %08x", (unsigned long long)wrong, first);
}

/* bfloat16 by the definition: of the two neighbours the nearer one, the even one in a tie. */
static void bf16_is_nearest(void **state) {
    (void)state;
    const uint64_t step = whole ? 17 : 257, end = (uint64_t)1 << 32;
    for (uint64_t i = 0; i < end; i += step) {
        const uint32_t bits = (uint32_t)i, low = bits & 0xffff0000u;
        const float x = vs_half_from_bits(bits), got = vs_round_bf16(x);
        if (isnan(x)) {
            assert_true(isnan(got));
            continue;
        }
        const double below = (double)vs_half_from_bits(low);
        const bool last = (low & 0x7fff0000u) == 0x7f7f0000u; /* the next number would be 2^128 */
        const double above = isinf(x) ? below : last ? copysign(0x1p128, below) : (double)vs_half_from_bits(low + 0x10000u);
        const double down = fabs((double)x - below), up = fabs((double)x - above);
        const double want = down < up || (down == up && (low & 0x10000u) == 0) ? below : above;
        if (!((double)got == want || (fabs(want) == 0x1p128 && isinf(got)))) fail_msg("%08x gives %a", bits, (double)got);
    }
}

static void edges(void **state) {
    (void)state;
    static const struct {
        float x, h;
    } cases[] = { { 65519.996f, 65504.0f },      { 65520.0f, INFINITY },   { -65520.0f, -INFINITY }, { 0x1p-25f, 0.0f },
                  { 0x1.000002p-25f, 0x1p-24f }, { 0x1.8p-24f, 0x1p-23f }, { 2049.0f, 2048.0f },     { 2051.0f, 2052.0f },
                  { 0x1.ffep-15f, 0x1p-14f },    { 1e-6f, 0x1.1p-20f },    { INFINITY, INFINITY } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!(vs_round_fp16(cases[i].x) == cases[i].h))
            fail_msg("h(%a) is %a", (double)cases[i].x, (double)vs_round_fp16(cases[i].x));
    assert_true(isnan(vs_round_fp16(NAN)));
    assert_true(signbit(vs_round_fp16(-0.0f)) && signbit(vs_round_fp16(-1e-9f)));
}

int main(int argc, char **argv) {
    whole = argc > 1 && strcmp(argv[1], "all") == 0;
    const struct CMUnitTest tests[] = { cmocka_unit_test(fp16_is_hardware), cmocka_unit_test(bf16_is_nearest),
                                        cmocka_unit_test(edges) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
