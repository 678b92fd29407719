/* The generator's bytes, held to the published SHA-256 sums. */
#include "images/scenes.h"
#include "support/check.h"
#include "util/util.h"

static void hash_scenes(uint64_t seed, size_t count, const char *want_rgb, const char *want_labels) {
    enum { SIZE = 224 };
    uint8_t *rgb = malloc(SIZE * SIZE * 3), *labels = malloc(SIZE * SIZE), digest[32];
    char hex[65];
    vs_sha256 a, b;
    vs_error err = { 0 };
    vs_sha256_init(&a);
    vs_sha256_init(&b);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(vs_scene_render(seed, i, SIZE, rgb, labels, &err), VS_OK);
        vs_sha256_update(&a, rgb, SIZE * SIZE * 3);
        vs_sha256_update(&b, labels, SIZE * SIZE);
    }
    free(rgb);
    free(labels);
    vs_sha256_final(&a, digest);
    vs_hex(digest, 32, hex);
    assert_string_equal(hex, want_rgb);
    vs_sha256_final(&b, digest);
    vs_hex(digest, 32, hex);
    assert_string_equal(hex, want_labels);
}

static void analysis_scenes(void **state) {
    (void)state;
    hash_scenes(3, 8, "fa94838e67d5bf1a632f85edec11065830100325c5707e63f59ac13a21dcff76",
                "0365e449583b4f2a9c136cc3b3910bad24cde132d4227e399acc3b27147a1f8e");
}

static void calibration_scenes(void **state) {
    (void)state;
    hash_scenes(2, 64, "9fdc2daed6bb02387c8c89e581c637c5315420f3f9398934022b7193e0ab51e6",
                "776ff320645c0f38cff1f76812e5c90fcac4f6ae2d1d7309e6b0be9c3b218a0b");
}

static void evaluation_scenes(void **state) {
    (void)state;
    hash_scenes(1, 64, "0397517775a881ec2067e6f8ef66b62e7cf629382180ae5f0d7f4e016619f42b",
                "f380ff05c8f8947a4ebf48447cb554f44e32f491f7584c3a1fd54fe4f4209507");
}

static void sizes_are_checked(void **state) {
    (void)state;
    vs_error err = { 0 };
    uint8_t one = 0;
    check_error(vs_scene_render(1, 0, 16, &one, &one, &err), &err, VS_ERR_CONFIG, "32 to 4096");
}

int main(int argc, char **argv) {
    if (argc > 1) { /* all 512 validation scenes */
        hash_scenes(1, 512, "cbc3046d01717ccc08b29bdbf755a2158c9065b4f695b30d8eba1b09931b3d46",
                    "62b2fe2e416645957be0177577ec13dd48d98477e2a2717b2386359b16fde879");
        puts(argv[1]);
        return 0;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(analysis_scenes), cmocka_unit_test(calibration_scenes),
                                        cmocka_unit_test(evaluation_scenes), cmocka_unit_test(sizes_are_checked) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
