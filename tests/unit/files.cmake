# Readers of files: kinds that are no checkpoints, image formats, folders of images.
vs_test(test_foreign LABEL unit SOURCES test_foreign.c LINK vs_util vs_io)
vs_test(test_photos LABEL unit SOURCES test_photos.c LINK vs_util vs_io vs_images)
