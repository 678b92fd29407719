# Readers of files: kinds that are no checkpoints, image formats, folders of images.
vs_test(test_foreign LABEL unit SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/test_foreign.c LINK vs_io vs_util)
vs_test(test_photos LABEL unit SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/test_photos.c LINK vs_io vs_util)
