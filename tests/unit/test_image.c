#include "images/filelist.h"
#include "io/image.h"
#include "io/npy.h"
#include "support/check.h"
#include "unit/resize_golden.h"
#include "util/util.h"

static void make_image(vs_image *image, size_t w, size_t h, size_t channels, uint64_t seed) {
    vs_error err = { 0 };
    vs_rng rng = { seed };
    assert_int_equal(vs_image_create(image, w, h, channels, &err), VS_OK);
    for (size_t i = 0; i < w * h * channels; i++) image->pixels[i] = (uint8_t)vs_rng_next(&rng);
}

static void png_round_trip(void **state) {
    (void)state;
    char dir[256], path[300];
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/a.png", dir);
    for (size_t channels = 1; channels <= 3; channels += 2) {
        vs_image in, out;
        make_image(&in, 17, 9, channels, 4);
        assert_int_equal(vs_png_write(path, &in, &err), VS_OK);
        assert_int_equal(channels == 3 ? vs_image_read(&out, path, &err) : vs_label_read(&out, path, &err), VS_OK);
        assert_int_equal(out.width, 17);
        assert_memory_equal(in.pixels, out.pixels, 17 * 9 * channels);
        vs_image_release(&in);
        vs_image_release(&out);
    }
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

static void broken_images_are_refused(void **state) {
    (void)state;
    char dir[256], path[300], *bytes = NULL;
    size_t size = 0;
    vs_image image;
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/a.png", dir);
    make_image(&image, 40, 40, 3, 4);
    assert_int_equal(vs_png_write(path, &image, &err), VS_OK);
    vs_image_release(&image);
    assert_int_equal(vs_read_file(path, 1 << 20, &bytes, &size, &err), VS_OK);
    unlink(path);
    rmdir(dir);
    check_error(vs_image_decode(&image, bytes, size / 2, "half.png", &err), &err, VS_ERR_FORMAT,
                "half.png: broken PNG near byte");
    err = (vs_error){ 0 };
    bytes[16] = 0x7f; /* width 0x7f000028 */
    check_error(vs_image_decode(&image, bytes, size, "wide.png", &err), &err, VS_ERR_FORMAT, "wide.png");
    err = (vs_error){ 0 };
    check_error(vs_image_decode(&image, "GIF89a", 6, "x.gif", &err), &err, VS_ERR_FORMAT, "neither PNG nor JPEG");
    err = (vs_error){ 0 };
    const uint8_t jpeg[] = { 0xff, 0xd8, 0xff, 0xe0, 0, 16, 'J', 'F' };
    check_error(vs_image_decode(&image, jpeg, sizeof jpeg, "x.jpg", &err), &err, VS_ERR_FORMAT, "x.jpg: broken JPEG");
    err = (vs_error){ 0 };
    const uint8_t whole[] = { 0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0, 0xff, 0xd9 };
    check_error(vs_label_decode(&image, whole, sizeof whole, "x.jpg", &err), &err, VS_ERR_FORMAT, "must be a PNG");
    free(bytes);
}

static void resizes_equal_pil_and_torch(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof resize_cases / sizeof *resize_cases; i++) {
        const resize_case *c = &resize_cases[i];
        vs_error err = { 0 };
        vs_image in = { GOLDEN_W, GOLDEN_H, 3, NULL }, out;
        in.pixels = malloc(sizeof resize_input);
        memcpy(in.pixels, resize_input, sizeof resize_input);
        assert_int_equal(vs_image_resize(&in, c->width, c->height, c->bicubic ? VS_FILTER_BICUBIC : VS_FILTER_BILINEAR,
                                         c->antialias, &out, &err),
                         VS_OK);
        size_t ties = 0; /* torch sums in another order: a value half-way between two integers may fall to the other side */
        for (size_t k = 0; k < c->width * c->height * 3; k++) {
            const int off = abs(out.pixels[k] - c->pixels[k]);
            if (off > (c->antialias ? 0 : 1)) fail_msg("case %zu, byte %zu: %d, wanted %d", i, k, out.pixels[k], c->pixels[k]);
            ties += off != 0;
        }
        assert_true(ties * 100 <= c->width * c->height * 3);
        vs_image_release(&in);
        vs_image_release(&out);
    }
}

static void crops_are_centred(void **state) {
    (void)state;
    vs_image in, out;
    vs_error err = { 0 };
    make_image(&in, 7, 5, 3, 1);
    assert_int_equal(vs_image_crop_center(&in, 3, 3, &out, &err), VS_OK);
    assert_memory_equal(out.pixels, in.pixels + (1 * 7 + 2) * 3, 9);
    vs_image_release(&out);
    check_error(vs_image_crop_center(&in, 8, 3, &out, &err), &err, VS_ERR_SHAPE, "smaller than the crop");
    vs_image_release(&in);
}

static void lists_and_folders(void **state) {
    (void)state;
    char dir[256], path[300];
    vs_error err = { 0 };
    vs_filelist list;
    make_temp_dir(dir, sizeof dir);
    static const char *const names[] = { "b.PNG", "a.jpg", "c.txt" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        const char *text = i == 2 ? "# list\n  b.PNG \n\na.jpg\nb.PNG" : "x";
        assert_int_equal(vs_write_file(path, text, strlen(text), &err), VS_OK);
    }
    assert_int_equal(vs_filelist_make(&list, dir, NULL, 0, &err), VS_OK);
    assert_int_equal(list.count, 2);
    assert_non_null(strstr(list.paths[0], "/a.jpg"));
    vs_filelist_release(&list);
    assert_int_equal(vs_filelist_make(&list, path, NULL, 0, &err), VS_OK); /* the list: sorted, once each */
    assert_int_equal(list.count, 2);
    vs_filelist_release(&list);
    snprintf(path, sizeof path, "%s/*.jpg", dir);
    assert_int_equal(vs_filelist_make(&list, path, NULL, 0, &err), VS_OK);
    assert_int_equal(list.count, 1);
    vs_filelist_release(&list);
    snprintf(path, sizeof path, "%s/*.bmp", dir);
    check_error(vs_filelist_make(&list, path, NULL, 0, &err), &err, VS_ERR_NOTFOUND, "no PNG, JPEG or WebP");
    err = (vs_error){ 0 };
    check_error(vs_filelist_make(&list, "/nonexistent/images", NULL, 0, &err), &err, VS_ERR_NOTFOUND, "/nonexistent/images");
    char *label = NULL;
    assert_int_equal(vs_label_path("labels", "x/y/photo.one.jpg", &label, &err), VS_OK);
    assert_string_equal(label, "labels/photo.one.png");
    free(label);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void npy_header(void **state) {
    (void)state;
    vs_error err = { 0 };
    FILE *f = tmpfile();
    const size_t shape[] = { 2, 3 };
    char text[256] = "";
    assert_int_equal(vs_npy_write_header(f, VS_NPY_F32, 2, shape, &err), VS_OK);
    const size_t size = (size_t)ftell(f);
    assert_int_equal(size % 64, 0);
    rewind(f);
    assert_int_equal(fread(text, 1, size, f), size);
    assert_non_null(strstr(text + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,3), }"));
    assert_int_equal(text[size - 1], '\n');
    fclose(f);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(png_round_trip),
                                        cmocka_unit_test(broken_images_are_refused),
                                        cmocka_unit_test(resizes_equal_pil_and_torch),
                                        cmocka_unit_test(crops_are_centred),
                                        cmocka_unit_test(lists_and_folders),
                                        cmocka_unit_test(npy_header) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
