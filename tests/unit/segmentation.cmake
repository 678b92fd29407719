vs_test(test_resize_cv LABEL unit SOURCES test_resize_cv.c LINK vs_io)
vs_test(test_window LABEL unit SOURCES test_window.c LINK vs_sens)
vs_test(test_head LABEL unit SOURCES test_head.c LINK vs_vit)
