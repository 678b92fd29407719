vs_test(test_resize_cv LABEL unit SOURCES test_resize_cv.c LINK vs_util vs_io)
vs_test(test_window LABEL unit SOURCES test_window.c LINK vs_util vs_images vs_task)
vs_test(test_head LABEL unit SOURCES test_head.c LINK vs_util vs_vit)
