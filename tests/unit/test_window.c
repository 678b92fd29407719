/* Windows, padding, averaged logits, label maps. The oracle compares with mmseg itself (tests/oracle/check_protocol.py). */
#include "images/dataset.h"
#include "support/check.h"
#include "task/slide.h"
#include "util/util.h"

static vs_preprocess_config slide(int64_t crop, int64_t stride) {
    return (
        vs_preprocess_config){ .mean = { 10, 20, 30 },
                               .std = { 1, 2, 4 },
                               .mmseg = { .set = true, .short_side = crop, .long_side = 4096, .crop = crop, .stride = stride } };
}

static void windows_are_shifted_back(void **state) {
    (void)state;
    static const struct {
        size_t w, h;
        int64_t crop, stride;
        size_t count, last_x, last_y, width, height;
    } cases[] = {
        { 960, 640, 640, 320, 2, 320, 0, 640, 640 }, /* docs/vit-models.md 6.2 */
        { 683, 512, 512, 341, 2, 171, 0, 512, 512 }, { 512, 512, 512, 341, 1, 0, 0, 512, 512 },
        { 513, 512, 512, 341, 2, 1, 0, 512, 512 },   { 853, 512, 512, 341, 2, 341, 0, 512, 512 },
        { 854, 512, 512, 341, 3, 342, 0, 512, 512 }, { 300, 200, 512, 341, 1, 0, 0, 300, 200 },
        { 700, 200, 512, 341, 2, 188, 0, 512, 200 }, { 600, 601, 512, 341, 4, 88, 89, 512, 512 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const vs_preprocess_config p = slide(cases[i].crop, cases[i].stride);
        vs_window windows[8];
        const size_t n = vs_windows_of(&p, (vs_image_size){ 1, 1, cases[i].w, cases[i].h }, 3, windows, 8);
        assert_int_equal(n, cases[i].count);
        const vs_window *last = &windows[n - 1];
        assert_int_equal(last->x, cases[i].last_x);
        assert_int_equal(last->y, cases[i].last_y);
        assert_int_equal(last->width, cases[i].width);
        assert_int_equal(last->height, cases[i].height);
        assert_int_equal(last->image, 3);
        assert_int_equal(last->index + 1, n);
    }
    vs_preprocess_config whole = slide(0, 0);
    whole.mmseg.mode = VS_TEST_WHOLE;
    vs_window one;
    assert_int_equal(vs_windows_of(&whole, (vs_image_size){ 1, 1, 900, 70 }, 0, &one, 1), 1);
    assert_int_equal(one.width, 900);
    assert_int_equal(one.height, 70);
}

static void crops_are_padded_in_the_centre(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_image image, shown;
    float *pixels = NULL;
    const vs_preprocess_config p = slide(20, 10);
    assert_int_equal(vs_image_create(&image, 40, 20, 3, &err), VS_OK);
    for (size_t i = 0; i < 40 * 20 * 3; i++) image.pixels[i] = (uint8_t)(i % 251);
    const vs_window w = { .x = 7, .y = 0, .width = 25, .height = 20 }; /* 25 to 28: 1 left, 2 right; 20 to 28: 4 and 4 */
    assert_int_equal(vs_window_cut(&p, &image, &w, 14, &shown, &pixels, &err), VS_OK);
    assert_int_equal(shown.width, 28);
    assert_int_equal(shown.height, 28);
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < 28; y++)
            for (size_t x = 0; x < 28; x++) {
                const bool inside = x >= 1 && x < 26 && y >= 4 && y < 24;
                const unsigned byte = inside ? image.pixels[3 * ((y - 4) * 40 + x - 1 + 7) + c] : 10 * ((unsigned)c + 1);
                assert_int_equal(shown.pixels[3 * (y * 28 + x) + c], byte);
                check_close((double)pixels[c * 784 + y * 28 + x], inside ? (byte - p.mean[c]) / p.std[c] : 0, 1e-5);
            }
    free(pixels);
    vs_image_release(&shown);
    vs_image_release(&image);
}

/* torch's bilinear value of one class at (y, x) of a grid stretched to height x width. */
static double bilinear(const double *grid, size_t h, size_t w, size_t classes, size_t k, size_t height, size_t width, size_t y,
                       size_t x) {
    const double sy = fmax(((double)y + 0.5) * (double)h / (double)height - 0.5, 0),
                 sx = fmax(((double)x + 0.5) * (double)w / (double)width - 0.5, 0);
    const size_t y0 = (size_t)sy, x0 = (size_t)sx, y1 = y0 + 1 < h ? y0 + 1 : y0, x1 = x0 + 1 < w ? x0 + 1 : x0;
    const double ty = sy - (double)y0, tx = sx - (double)x0;
    return (1 - ty) * ((1 - tx) * grid[(y0 * w + x0) * classes + k] + tx * grid[(y0 * w + x1) * classes + k]) +
           ty * ((1 - tx) * grid[(y1 * w + x0) * classes + k] + tx * grid[(y1 * w + x1) * classes + k]);
}

/* Against the whole thing done at once: 2 x 2 overlapping windows of 20 on 33 x 27, then to 50 x 31. */
static void maps_come_from_averaged_logits(void **state) {
    (void)state;
    enum { K = 5, W = 33, H = 27, OUT_W = 50, OUT_H = 31, GRID = 2 };
    const vs_preprocess_config p = slide(20, 13);
    vs_window windows[4];
    vs_window_logits logits[4];
    static double values[4][GRID * GRID * K], sum[H * W * K];
    static uint16_t map[OUT_H * OUT_W];
    vs_error err = { 0 };
    vs_rng rng = { 8 };
    const vs_image_size size = { OUT_W, OUT_H, W, H };
    assert_int_equal(vs_windows_of(&p, size, 0, windows, 4), 4);
    memset(sum, 0, sizeof sum);
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < GRID * GRID * K; j++) values[i][j] = vs_rng_normal(&rng);
        logits[i] =
            (vs_window_logits){ .window = windows[i], .logits = values[i], .scalar = VS_SCALAR_F64, .h = GRID, .w = GRID };
    }
    for (size_t y = 0; y < H; y++)
        for (size_t x = 0; x < W; x++) {
            double seen = 0;
            for (size_t i = 0; i < 4; i++) {
                const vs_window *w = &windows[i];
                if (y < w->y || y >= w->y + w->height || x < w->x || x >= w->x + w->width) continue;
                seen++;
                for (size_t k = 0; k < K; k++)
                    sum[(y * W + x) * K + k] += bilinear(values[i], GRID, GRID, K, k, w->height, w->width, y - w->y, x - w->x);
            }
            assert_true(seen > 0);
            for (size_t k = 0; k < K; k++) sum[(y * W + x) * K + k] /= seen;
        }
    for (size_t threads = 1; threads <= 40; threads += 13) {
        memset(map, 0xff, sizeof map);
        assert_int_equal(vs_slide_map(logits, 4, K, size, threads, map, &err), VS_OK);
        for (size_t y = 0; y < OUT_H; y++)
            for (size_t x = 0; x < OUT_W; x++) {
                double pixel[K];
                for (size_t k = 0; k < K; k++) pixel[k] = bilinear(sum, H, W, K, k, OUT_H, OUT_W, y, x);
                assert_int_equal(map[y * OUT_W + x], vs_argmax(pixel, K));
            }
    }
}

static void the_largest_class_wins(void **state) {
    (void)state;
    const double ties[] = { 1, 3, 3, 2 }, nan[] = { 1, (double)NAN, 5, (double)NAN };
    assert_int_equal(vs_argmax(ties, 4), 1);
    assert_int_equal(vs_argmax(nan, 4), 1);
}

static void label_values_follow_the_protocol(void **state) {
    (void)state;
    uint8_t plain[] = { 0, 1, 150, 255 }, ade[] = { 0, 1, 150, 255, 254 };
    vs_dataset_classes_of(VS_LABELS_VOC, plain, 4);
    assert_int_equal(plain[0], 0);
    assert_int_equal(plain[3], 255);
    vs_dataset_classes_of(VS_LABELS_ADE20K, ade, 5);
    const uint8_t want[] = { 255, 0, 149, 255, 253 };
    assert_memory_equal(ade, want, sizeof want);
    assert_int_equal(vs_dataset_class_count(VS_LABELS_ADE20K), 150);
    assert_int_equal(vs_dataset_class_count(VS_LABELS_VOC), 21);
    assert_int_equal(vs_dataset_class_count(VS_LABELS_PLAIN), 0);
}

static void write_text(const char *dir, const char *name, const char *text) {
    char path[512];
    vs_error err = { 0 };
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(vs_write_file(path, text, strlen(text), &err), VS_OK);
}

static void published_folders_are_known(void **state) {
    (void)state;
    char dir[256], command[300];
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    static const char *const folders[] = { "images/validation", "annotations/validation", "JPEGImages", "SegmentationClass",
                                           "ImageSets/Segmentation" };
    for (size_t i = 0; i < 5; i++) {
        char *path = vs_path_join(dir, folders[i]);
        assert_int_equal(vs_make_dirs(path, &err), VS_OK);
        free(path);
    }
    write_text(dir, "images/validation/ADE_val_00000002.jpg", "x");
    write_text(dir, "images/validation/ADE_val_00000001.jpg", "x");
    write_text(dir, "JPEGImages/2007_000033.jpg", "x");
    write_text(dir, "JPEGImages/2007_000042.jpg", "x");
    write_text(dir, "ImageSets/Segmentation/val.txt", "2007_000042\r\n\n2007_000033\n");
    static const vs_config config;
    vs_set_config set = { .images = dir, .protocol = VS_LABELS_ADE20K };
    vs_filelist files;
    char *labels = NULL;
    assert_int_equal(vs_dataset_list(&config, &set, &files, &labels, &err), VS_OK);
    assert_int_equal(files.count, 2);
    assert_non_null(strstr(files.paths[0], "images/validation/ADE_val_00000001.jpg"));
    assert_non_null(strstr(labels, "annotations/validation"));
    vs_filelist_release(&files);
    free(labels);
    set.protocol = VS_LABELS_VOC;
    assert_int_equal(vs_dataset_list(&config, &set, &files, &labels, &err), VS_OK);
    assert_int_equal(files.count, 2);
    assert_non_null(strstr(files.paths[1], "JPEGImages/2007_000042.jpg"));
    assert_non_null(strstr(labels, "SegmentationClass"));
    vs_filelist_release(&files);
    free(labels);
    write_text(dir, "ImageSets/Segmentation/val.txt", "\n");
    check_error(vs_dataset_list(&config, &set, &files, &labels, &err), &err, VS_ERR_FORMAT, "val.txt: no images listed");
    err = (vs_error){ 0 };
    char missing[] = "/nonexistent/ade";
    set = (vs_set_config){ .images = missing, .protocol = VS_LABELS_ADE20K };
    check_error(vs_dataset_list(&config, &set, &files, &labels, &err), &err, VS_ERR_NOTFOUND,
                "published as ADEChallengeData2016");
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

/* lightly-train: start int(j (side - overlap / (count - 1))). */
static void tiles_overlap_evenly(void **state) {
    (void)state;
    static const struct {
        size_t w, h, scaled_w, scaled_h, count, starts[4];
    } cases[] = { { 230, 150, 128, 84, 2, { 0, 44 } },
                  { 84, 300, 84, 300, 4, { 0, 72, 144, 216 } },
                  { 97, 97, 84, 84, 1, { 0 } },
                  { 100, 209, 84, 175, 3, { 0, 45, 91 } },
                  { 168, 84, 168, 84, 2, { 0, 84 } } };
    const vs_preprocess_config p = { .tiles = { .set = true, .short_side = 84 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_image_size size = { cases[i].w, cases[i].h, 0, 0 };
        vs_window tiles[4];
        vs_error err = { 0 };
        assert_int_equal(vs_window_scaled_size(&p, &size, &err), VS_OK);
        assert_true(size.scaled_width == cases[i].scaled_w && size.scaled_height == cases[i].scaled_h);
        assert_int_equal(vs_windows_of(&p, size, 0, tiles, 4), cases[i].count);
        for (size_t k = 0; k < cases[i].count; k++) {
            const bool tall = size.scaled_height > size.scaled_width;
            assert_int_equal(tall ? tiles[k].y : tiles[k].x, cases[i].starts[k]);
            assert_true((tall ? tiles[k].x : tiles[k].y) == 0 && tiles[k].width == 84 && tiles[k].height == 84);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_overlap_evenly),           cmocka_unit_test(windows_are_shifted_back),
        cmocka_unit_test(crops_are_padded_in_the_centre), cmocka_unit_test(maps_come_from_averaged_logits),
        cmocka_unit_test(the_largest_class_wins),         cmocka_unit_test(label_values_follow_the_protocol),
        cmocka_unit_test(published_folders_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
