/* The one thing of EXIF that we need. Inside io only. */
#ifndef VS_EXIF_H
#define VS_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* The Orientation (tag 0x0112) of the first directory of a TIFF structure, with or without "Exif\0\0" in front: 1 to 8; 1
 * (upright) where there is none or the bytes are broken, as OpenCV takes it. */
unsigned vs_exif_orientation(const uint8_t *bytes, size_t size);

#endif
