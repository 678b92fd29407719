/* opencv's resize, mmcv's sizes, and sizes read from headers. The oracle goes over many more (tests/oracle/check_resize_cv.py).
 */
#include "io/image.h"
#include "io/image_codec.h"
#include "support/check.h"
#include "unit/resize_cv_golden.h"
#include "util/util.h"

static void resizes_equal_opencv(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_image in, out;
    assert_int_equal(vs_image_create(&in, CV_GOLDEN_W, CV_GOLDEN_H, 3, &err), VS_OK);
    memcpy(in.pixels, cv_input, sizeof cv_input);
    for (size_t i = 0; i < sizeof cv_cases / sizeof *cv_cases; i++) {
        const cv_case *c = &cv_cases[i];
        assert_int_equal(vs_image_resize_cv(&in, c->width, c->height, &out, &err), VS_OK);
        assert_memory_equal(out.pixels, c->pixels, c->width * c->height * 3);
        vs_image_release(&out);
    }
    check_error(vs_image_resize_cv(&in, 0, 5, &out, &err), &err, VS_ERR_SHAPE, "cannot resize an image of 18x14 to 0x5");
    vs_image_release(&in);
}

static void sizes_equal_mmcv(void **state) {
    (void)state;
    static const size_t cases[][6] = { /* width, height, long, short, and what rescale_size gives */
                                       { 683, 512, 2048, 512, 683, 512 },   { 500, 375, 99999999, 512, 683, 512 },
                                       { 1000, 200, 2048, 512, 2048, 410 }, { 333, 777, 99999999, 640, 640, 1493 },
                                       { 201, 333, 2048, 512, 512, 848 },   { 3, 1000, 99999999, 17, 17, 5667 }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t *c = cases[i];
        size_t w = 0, h = 0;
        vs_error err = { 0 };
        assert_int_equal(vs_image_keep_ratio(c[0], c[1], c[2], c[3], &w, &h, &err), VS_OK);
        assert_int_equal(w, c[4]);
        assert_int_equal(h, c[5]);
    }
    size_t w = 0, h = 0;
    vs_error err = { 0 };
    check_error(vs_image_keep_ratio(3, 30000, 99999999, 512, &w, &h, &err), &err, VS_ERR_SHAPE, "beyond the limits");
    err = (vs_error){ 0 };
    check_error(vs_image_keep_ratio(0, 3, 2048, 512, &w, &h, &err), &err, VS_ERR_SHAPE, "empty");
}

static vs_status size_of(const void *bytes, size_t size, size_t *w, size_t *h, vs_error *err) {
    const vs_source source = vs_source_of_memory(bytes, size, "x");
    vs_image_header header;
    *err = (vs_error){ 0 };
    vs_status status = vs_image_header_read(&source, &header, err);
    *w = header.width;
    *h = header.height;
    return status;
}

static void sizes_stand_in_headers(void **state) {
    (void)state;
    size_t w = 0, h = 0;
    vs_error err = { 0 };
    static const uint8_t jpeg[] = { 0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc2, 0, 8, 8, 1, 44, 2, 88, 3, 0 };
    assert_int_equal(size_of(jpeg, sizeof jpeg, &w, &h, &err), VS_OK);
    assert_int_equal(w, 600);
    assert_int_equal(h, 300);
    check_error(size_of(jpeg, 14, &w, &h, &err), &err, VS_ERR_FORMAT, "x: broken JPEG: no frame header");
    static const uint8_t scan[] = { 0xff, 0xd8, 0xff, 0xda, 0, 2 };
    check_error(size_of(scan, sizeof scan, &w, &h, &err), &err, VS_ERR_FORMAT, "no frame header");
    uint8_t png[] = { 0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0, 0, 1, 0, 0, 0, 0, 7 };
    assert_int_equal(size_of(png, sizeof png, &w, &h, &err), VS_OK);
    assert_int_equal(w, 256);
    assert_int_equal(h, 7);
    png[16] = 0x7f;
    check_error(size_of(png, sizeof png, &w, &h, &err), &err, VS_ERR_FORMAT, "larger than the limit");
    png[16] = 0;
    png[18] = 0;
    check_error(size_of(png, sizeof png, &w, &h, &err), &err, VS_ERR_FORMAT, "empty");
    check_error(size_of("GIF89a, which is neither of them", 32, &w, &h, &err), &err, VS_ERR_FORMAT, "neither PNG nor JPEG");
    check_error(size_of("", 0, &w, &h, &err), &err, VS_ERR_FORMAT, "neither PNG nor JPEG");
    err = (vs_error){ 0 };
    check_error(vs_image_read_size("/nonexistent.png", false, &w, &h, &err), &err, VS_ERR_NOTFOUND, "/nonexistent.png");
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(resizes_equal_opencv), cmocka_unit_test(sizes_equal_mmcv),
                                        cmocka_unit_test(sizes_stand_in_headers) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
