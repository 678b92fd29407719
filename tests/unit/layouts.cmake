vs_test(test_layouts LABEL unit SOURCES test_layouts.c LINK vs_util vs_io vs_vit)
vs_test(test_dinov3 LABEL unit SOURCES test_dinov3.c LINK vs_util vs_vit)
