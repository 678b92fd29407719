/* An ordered set of images (docs/study.md 2): scenes made on the fly or files, preprocessed for the model. */
#ifndef VS_IMAGESET_H
#define VS_IMAGESET_H

#include "images/dataset.h"
#include "images/window.h"

typedef struct vs_imageset {
    const vs_set_config *config; /* borrowed */
    const vs_preprocess_config *preprocess;
    size_t patch; /* sizes must be multiples of it */
    size_t count; /* what the model is given: images, or the windows cut from them */
    size_t images;
    vs_filelist files;        /* empty for scenes */
    char *labels;             /* folder of label maps, or NULL */
    char **label_paths;       /* [images] where there are labels: each image's own */
    size_t *name_at;          /* [images]: where in its path an image's name begins; NULL for scenes */
    size_t *order;            /* [images]: indices into the scenes or files, after offset, count and sample */
    vs_window *windows;       /* [count] with preprocess.mmseg or tiles, image after image; else NULL */
    vs_image_size *sizes;     /* [images] with windows */
    const int64_t *class_ids; /* borrowed, [class_count]: what plain label maps call the model's classes; NULL: by their index */
    size_t class_count;
    struct vs_image_notes *notes; /* borrowed: told what files say that stops nothing; NULL: nobody is */
} vs_imageset;

/* One image, ready. */
typedef struct vs_sample {
    vs_image image;  /* RGB after resize and crop, or a window with its padding: what the model is given */
    float *pixels;   /* [3, height, width], normalised */
    uint8_t *labels; /* [height, width] or NULL; 255 is ignored; windows have none */
} vs_sample;

/* Whether images are turned as their EXIF orientation asks. */
bool vs_preprocess_turns(const vs_preprocess_config *preprocess);
/* `what` ("calibration") stands in messages. An empty set is an error. */
VS_NODISCARD vs_status vs_imageset_open(vs_imageset *set, const vs_config *config, const vs_set_config *of, const char *what,
                                        size_t patch, vs_error *err);
/* The same without a look into any image: which images and label maps there are, in order; the set gives no samples. */
VS_NODISCARD vs_status vs_imageset_list(vs_imageset *set, const vs_config *config, const vs_set_config *of, const char *what,
                                        vs_error *err);
void vs_imageset_release(vs_imageset *set);
/* The caller releases the sample; it may be reused for the next call after a release. */
VS_NODISCARD vs_status vs_imageset_get(const vs_imageset *set, size_t index, vs_sample *sample, vs_error *err);
void vs_sample_release(vs_sample *sample);
/* Path of image `image`, NULL for scenes; borrowed. */
const char *vs_imageset_path(const vs_imageset *set, size_t image);
/* "scene 3" or the file's base name (where two images share it: its path below the folder that all images have in common), with
 * the origin of a window that is not the only one: "a.jpg (171,0)"; new string. */
char *vs_imageset_name(const vs_imageset *set, size_t index);
/* The same of image `image`. */
char *vs_imageset_image_name(const vs_imageset *set, size_t image);
/* Image `image` as it was decoded. */
VS_NODISCARD vs_status vs_imageset_image(const vs_imageset *set, size_t image, vs_image *out, vs_error *err);
/* Its classes, of the image's own size (VS_ERR_SHAPE: the file has another); *labels is new, NULL where the set has none. */
VS_NODISCARD vs_status vs_imageset_labels(const vs_imageset *set, size_t image, size_t width, size_t height, uint8_t **labels,
                                          vs_error *err);
/* SHA-256 of the decoded RGB bytes of image `image`. */
VS_NODISCARD vs_status vs_imageset_hash(const vs_imageset *set, size_t image, uint8_t digest[32], vs_error *err);
/* VS_ERR_CONFIG naming the first analysis image that is also a calibration image, by content. */
VS_NODISCARD vs_status vs_imageset_check_overlap(const vs_config *config, const vs_imageset *calibration,
                                                 const vs_imageset *analysis, vs_error *err);

#endif
