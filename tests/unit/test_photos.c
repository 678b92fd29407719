/* What photographs and downloads look like: warnings, EXIF orientation, WebP, bombs, folders of folders. */
#include <sys/stat.h>

#include "images/filelist.h"
#include "io/exif.h"
#include "io/image.h"
#include "support/check.h"
#include "util/util.h"

static char *path_of(const char *name) {
    char *path = vs_format("%s/tests/unit/images/%s", VS_SOURCE_DIR, name);
    assert_non_null(path);
    return path;
}

static vs_status read_image(const char *name, bool upright, vs_image *image, vs_image_info *info, vs_error *err) {
    char *path = path_of(name);
    *err = (vs_error){ 0 };
    vs_status status = vs_image_read_as(image, path, upright, info, err);
    size_t width = 0, height = 0;
    vs_error local = { 0 };
    if (status == VS_OK) { /* the header alone gives the same size */
        assert_int_equal(vs_image_read_size(path, upright, &width, &height, &local), VS_OK);
        assert_int_equal(width, image->width);
        assert_int_equal(height, image->height);
    } else {
        assert_non_null(strstr(err->message, path));
    }
    free(path);
    return status;
}

static void read_good(const char *name, bool upright, vs_image *image, vs_image_info *info) {
    vs_error err;
    if (read_image(name, upright, image, info, &err) != VS_OK) fail_msg("%s", err.message);
}

/* `name` as RGB is what `golden`, a PNG of what Pillow makes of it, holds. */
static void check_equal(const char *name, const char *golden) {
    vs_image got, wanted;
    vs_image_info info;
    read_good(name, false, &got, &info);
    read_good(golden, false, &wanted, &info);
    assert_int_equal(got.width, wanted.width);
    assert_int_equal(got.height, wanted.height);
    assert_memory_equal(got.pixels, wanted.pixels, 3 * got.width * got.height);
    vs_image_release(&got);
    vs_image_release(&wanted);
}

/* Under a PNG's name, as downloads come. */
static void other_formats_are_named(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *part;
    } cases[] = {
        { "GIF89a....", 10, "a.png: neither PNG nor JPEG nor WebP, but a GIF image" },
        { "II*\0....", 8, "but a TIFF image" },
        { "MM\0*....", 8, "but a TIFF image" },
        { "BM..........", 12, "but a BMP image" },
        { "\0\0\0\x18"
          "ftypheic....",
          16, "but a HEIF image" },
        { "\0\0\0\x18"
          "ftypavif....",
          16, "but an AVIF image" },
        { "\0\0\0\x18"
          "ftypmif1....",
          16, "but a HEIF image" },
        { "\0\0\0\x0cjP  \r\n\x87\n", 12, "but a JPEG 2000 image" },
        { "\xff\x0a..", 4, "but a JPEG XL image" },
        { "<!DOCTYPE html>", 15, "but a web page: the download failed" },
        { "version https://git-lfs", 23, "but a pointer of git-lfs" },
        { "abcdefgh", 8, "nor WebP" },
        { "", 0, "the file is empty" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_image image;
        vs_error err = { 0 };
        check_error(vs_image_decode(&image, cases[i].bytes, cases[i].size, "a.png", &err), &err, VS_ERR_FORMAT, cases[i].part);
    }
}

static void webp(void **state) {
    (void)state;
    vs_image image;
    vs_image_info info;
    vs_error err;
    check_equal("lossless.webp", "picture.png");
    check_equal("alpha.webp", "picture.png"); /* alpha is dropped, as a PNG's is */
    check_equal("lossy.webp", "lossy.png");
    check_equal("lossy_alpha.webp", "lossy_alpha.png");
    check_error(read_image("animated.webp", false, &image, &info, &err), &err, VS_ERR_UNSUPPORTED,
                "animated.webp: an animated WebP");
    char *path = path_of("lossless.webp"), *bytes = NULL;
    size_t size = 0;
    assert_int_equal(vs_read_file(path, 1000, &bytes, &size, &err), VS_OK);
    err = (vs_error){ 0 };
    check_error(vs_image_decode(&image, bytes, size - 20, "cut.webp", &err), &err, VS_ERR_FORMAT,
                "cut.webp: broken WebP: the file is truncated");
    err = (vs_error){ 0 };
    check_error(vs_image_decode(&image, bytes, 14, "cut.webp", &err), &err, VS_ERR_FORMAT,
                "cut.webp: broken WebP: no image header");
    free(bytes);
    free(path);
}

static void warnings_are_passed_on(void **state) {
    (void)state;
    static const char *const names[] = { "stray.jpg", "between.jpg" };
    for (size_t i = 0; i < 2; i++) {
        vs_image plain, odd;
        vs_image_info info;
        read_good("base.jpg", false, &plain, &info);
        assert_string_equal(info.warning, "");
        read_good(names[i], false, &odd, &info);
        assert_non_null(
            strstr(info.warning, i ? "3 extraneous bytes before marker 0xdb" : "extraneous bytes before marker 0xd9"));
        assert_memory_equal(plain.pixels, odd.pixels, 3 * 24 * 16);
        vs_image_release(&plain);
        vs_image_release(&odd);
    }
}

static void missing_ends_are_refused(void **state) {
    (void)state;
    static const char *const names[] = { "base.jpg", "progressive.jpg" };
    for (size_t i = 0; i < 2; i++) {
        char *path = path_of(names[i]), *bytes = NULL;
        size_t size = 0;
        vs_image image;
        vs_error err = { 0 };
        assert_int_equal(vs_read_file(path, 10000, &bytes, &size, &err), VS_OK);
        for (size_t cut = 4; cut < 60; cut += 19) {
            check_error(vs_image_decode(&image, bytes, size - cut, "x.jpg", &err), &err, VS_ERR_FORMAT,
                        "x.jpg: broken JPEG: the file is truncated");
            err = (vs_error){ 0 };
        }
        assert_int_equal(vs_image_decode(&image, bytes, size - 2, "x.jpg", &err),
                         VS_OK); /* the end marker alone: nothing is made up */
        vs_image_release(&image);
        free(bytes);
        free(path);
    }
}

/* Where OpenCV takes each pixel from in a stored image of 3 x 2 (tests/oracle/make_images.py prints it). */
static const struct {
    unsigned orientation;
    size_t width;
    size_t places[6];
} turns[] = {
    { 1, 3, { 0, 1, 2, 3, 4, 5 } }, { 2, 3, { 2, 1, 0, 5, 4, 3 } }, { 3, 3, { 5, 4, 3, 2, 1, 0 } },
    { 4, 3, { 3, 4, 5, 0, 1, 2 } }, { 5, 2, { 0, 3, 1, 4, 2, 5 } }, { 6, 2, { 3, 0, 4, 1, 5, 2 } },
    { 7, 2, { 5, 2, 4, 1, 3, 0 } }, { 8, 2, { 2, 5, 1, 4, 0, 3 } },
};

/* A PNG of 3 x 2 pixels, pixel i of colour (i, i, i), with an eXIf chunk behind its header. Checksums of chunks that are skipped
 * are not looked at. */
static size_t make_turned(uint8_t *out, const char *dir, unsigned orientation) {
    uint8_t pixels[18];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i / 3);
    const vs_image image = { 3, 2, 3, pixels };
    char *path = vs_path_join(dir, "o.png"), *bytes = NULL;
    size_t size = 0;
    vs_error err = { 0 };
    assert_int_equal(vs_png_write(path, &image, &err), VS_OK);
    assert_int_equal(vs_read_file(path, 1000, &bytes, &size, &err), VS_OK);
    unlink(path);
    const uint8_t exif[] = { 0, 0, 0, 26, 'e', 'X', 'I', 'f', 'M', 'M', 0, 42, 0, 0,
                             0, 8, 0, 1,  1,   18,  0,   3,   0,   0,   0, 1,  0, (uint8_t)orientation,
                             0, 0, 0, 0,  0,   0,   0,   0,   0,   0 };
    memcpy(out, bytes, 33);
    memcpy(out + 33, exif, sizeof exif);
    memcpy(out + 33 + sizeof exif, bytes + 33, size - 33);
    free(bytes);
    free(path);
    return size + sizeof exif;
}

static void orientations_equal_opencv(void **state) {
    (void)state;
    char dir[256], path[300];
    uint8_t bytes[2000];
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/turned.png", dir);
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
        vs_image image;
        vs_image_info info;
        size_t width = 0, height = 0;
        assert_int_equal(vs_write_file(path, bytes, make_turned(bytes, dir, turns[i].orientation), &err), VS_OK);
        for (unsigned upright = 0; upright < 2; upright++) {
            if (vs_image_read_as(&image, path, upright, &info, &err) != VS_OK) fail_msg("%s", err.message);
            assert_int_equal(info.orientation, turns[i].orientation);
            assert_int_equal(image.width, upright ? turns[i].width : 3);
            for (size_t k = 0; k < 6; k++) assert_int_equal(image.pixels[3 * k + 1], upright ? turns[i].places[k] : k);
            assert_int_equal(vs_image_read_size(path, upright, &width, &height, &err), VS_OK);
            assert_int_equal(width, image.width);
            assert_int_equal(height, image.height);
            vs_image_release(&image);
        }
    }
    unlink(path);
    rmdir(dir);
}

static void orientation_of_each_format(void **state) {
    (void)state;
    static const char *const names[] = { "turned.png", "turned_late.png", "turned.webp" };
    vs_image stored, upright;
    vs_image_info info;
    for (size_t i = 0; i < 3; i++) {
        read_good(names[i], false, &stored, &info);
        assert_int_equal(info.orientation, 6);
        read_good(names[i], true, &upright, &info);
        assert_int_equal(upright.width, 16);
        assert_memory_equal(upright.pixels, stored.pixels + 3 * 24 * 15, 3); /* 6: the stored lower left corner is up left */
        vs_image_release(&stored);
        vs_image_release(&upright);
    }
}

static void exif_is_bounded(void **state) {
    (void)state;
    uint8_t tiff[] = { 'I', 'I', 42, 0, 8, 0,    0, 0, 2, 0, 0, 1, 4, 0, 1, 0, 0,
                       0,   9,   0,  0, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0 };
    assert_int_equal(vs_exif_orientation(tiff, sizeof tiff), 6);
    for (size_t n = 0; n < sizeof tiff; n++) assert_int_equal(vs_exif_orientation(tiff, n), 1);
    tiff[30] = 9; /* no such orientation */
    assert_int_equal(vs_exif_orientation(tiff, sizeof tiff), 1);
    tiff[30] = 6;
    tiff[7] = 0xff; /* the directory lies far away */
    assert_int_equal(vs_exif_orientation(tiff, sizeof tiff), 1);
}

/* Few bytes, much work: refused before it is done. */
static void bombs_are_refused(void **state) {
    (void)state;
    vs_image image;
    vs_image_info info;
    vs_error err;
    check_error(read_image("scans.jpg", false, &image, &info, &err), &err, VS_ERR_FORMAT,
                "scans or more of 1200x1200 pixels, more than the limit of 536870912 pixels in all scans");
    err = (vs_error){ 0 };
    uint8_t png[33] = {
        0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0, 0, 0x40, 0, 0, 0, 0x40, 0, 8, 2
    };
    check_error(vs_image_decode(&image, png, sizeof png, "x.png", &err), &err, VS_ERR_FORMAT,
                "x.png: an image of 16384x16384 is larger than the limit of 32768 a side and 67108864 pixels");
    err = (vs_error){ 0 };
    const uint8_t webp_bytes[] = "RIFF\x20\0\0\0WEBPVP8L\x14\0\0\0\x2f\x6f\xdf\xdb\x07"; /* 8048 x 8048: 7 bytes a pixel */
    check_error(vs_image_decode(&image, webp_bytes, sizeof webp_bytes, "x.webp", &err), &err, VS_ERR_FORMAT,
                "x.webp: to decode this image of 8048x8048 takes 432 MB, more than the limit of 256");
}

/* ---- folders */

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void touch(const char *dir, const char *name) {
    vs_error err = { 0 };
    char *path = vs_path_join(dir, name),
         *folder = vs_format("%s/%.*s", dir, (int)(strlen(name) - strlen(base_name(name))), name);
    assert_true(path && folder);
    assert_int_equal(vs_make_dirs(folder, &err), VS_OK);
    assert_int_equal(vs_write_file(path, "x", 1, &err), VS_OK);
    free(path);
    free(folder);
}

static void check_list(const char *dir, const char *const *skip, size_t skip_count, const char *const *wanted, size_t count) {
    vs_filelist list;
    vs_error err = { 0 };
    if (vs_filelist_make(&list, dir, skip, skip_count, &err) != VS_OK) fail_msg("%s", err.message);
    assert_int_equal(list.count, count);
    for (size_t i = 0; i < count; i++) assert_string_equal(list.paths[i] + strlen(dir) + 1, wanted[i]);
    assert_int_equal(list.others, 2);
    assert_true(strstr(list.kinds, ".txt") && strstr(list.kinds, ".gif"));
    vs_filelist_release(&list);
}

static void folders_in_folders(void **state) {
    (void)state;
    char dir[256], command[600];
    make_temp_dir(dir, sizeof dir);
    static const char *const files[] = { "b.png",    "a/z.JPG",       "a/deep/er/w.webp", "labels/b.png",     "notes.txt",
                                         "a/x.gif",  ".hidden/h.png", "run/run.json",     "run/results.json", "run/maps/m.png",
                                         "run/p.png" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) touch(dir, files[i]);
    touch(dir, "../vitscope-test-outside/o.png");
    char *loop = vs_path_join(dir, "a/loop"), *link = vs_path_join(dir, "aa"), *labels = vs_path_join(dir, "labels"),
         *out = vs_path_join(dir, "out");
    assert_int_equal(symlink("..", loop), 0); /* leads back: read once, under its own name */
    assert_int_equal(symlink("a/deep", link), 0);
    assert_int_equal(symlink("../vitscope-test-outside", out), 0);
    const char *const skip[] = { labels, "/nonexistent" };
    const char *const all[] = { "a/deep/er/w.webp", "a/z.JPG", "b.png", "labels/b.png", "out/o.png" };
    const char *const kept[] = { "a/deep/er/w.webp", "a/z.JPG", "b.png", "out/o.png" };
    check_list(dir, NULL, 0, all, 5);
    check_list(dir, skip, 2, kept, 4);
    free(loop);
    free(link);
    free(labels);
    free(out);
    snprintf(command, sizeof command, "rm -rf %s %s/../vitscope-test-outside", dir, dir);
    assert_int_equal(system(command), 0);
}

static void other_kinds_alone(void **state) {
    (void)state;
    char dir[256], command[300];
    vs_filelist list;
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    touch(dir, "a.bmp");
    touch(dir, "README");
    check_error(vs_filelist_make(&list, dir, NULL, 0, &err), &err, VS_ERR_NOTFOUND,
                "no PNG, JPEG or WebP images there, only files");
    assert_non_null(strstr(err.message, ".bmp"));
    assert_non_null(strstr(err.message, "no ending"));
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(webp),
                                        cmocka_unit_test(other_formats_are_named),
                                        cmocka_unit_test(warnings_are_passed_on),
                                        cmocka_unit_test(missing_ends_are_refused),
                                        cmocka_unit_test(orientations_equal_opencv),
                                        cmocka_unit_test(orientation_of_each_format),
                                        cmocka_unit_test(exif_is_bounded),
                                        cmocka_unit_test(bombs_are_refused),
                                        cmocka_unit_test(folders_in_folders),
                                        cmocka_unit_test(other_kinds_alone) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
