/* Segmentation data sets: how their folders are called and what the values of their label maps mean (docs/vit-models.md 6.3). */
#ifndef VS_DATASET_H
#define VS_DATASET_H

#include "config/config.h"
#include "images/filelist.h"

/* The images of a set and, in *labels, the folder of their label maps (NULL: none; the caller frees it). Where `images` is the
 * folder that the data set is published as, its validation part is taken. Folders of labels, of any set, hold no images. */
VS_NODISCARD vs_status vs_dataset_list(const vs_config *config, const vs_set_config *of, vs_filelist *files, char **labels,
                                       vs_error *err);
/* Values of a label map, in place, to classes from 0, 255 ignored. ADE20K: mmseg's reduce_zero_label. */
void vs_dataset_classes_of(vs_label_protocol protocol, uint8_t *labels, size_t count);
/* A data set's classes, 0 where any number will do. */
size_t vs_dataset_class_count(vs_label_protocol protocol);
const char *vs_dataset_name(vs_label_protocol protocol);

#endif
