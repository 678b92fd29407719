/* What can be known to be wrong before anything is computed. */
#ifndef VS_CHECK_H
#define VS_CHECK_H

#include "study/study.h"

/* Every image of a set as the model will be given it: a multiple of the patch, and large enough for the crop, by the sizes in the
 * files' headers. VS_ERR_CONFIG naming key, file and what would fit. `what`: "analysis". */
VS_NODISCARD vs_status vs_check_sizes(const vs_config *config, const vs_imageset *set, const char *what, vs_error *err);
/* Labels of the evaluation set, if it has any: a head that they can be held against; a file for every image; the first pair's
 * size and kind; and somewhere in the set a pixel of one of the head's classes. A first map with some pixels of other classes is
 * told through `progress`. */
VS_NODISCARD vs_status vs_check_labels(const vs_config *config, const vs_arch *arch, const vs_imageset *set,
                                       const vs_progress *progress, vs_error *err);
/* Calibration for what is quantized or planted, the surfaces' image. */
VS_NODISCARD vs_status vs_check_plan(const vs_study *study, vs_error *err);
/* Every pattern of analyze.layers and surfaces.layers names a layer; surfaces are of analyzed ones. VS_ERR_NOTFOUND. */
VS_NODISCARD vs_status vs_check_layers(const vs_study *study, vs_error *err);

#endif
