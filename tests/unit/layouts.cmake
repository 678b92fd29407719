vs_test(test_layouts LABEL unit SOURCES test_layouts.c LINK vs_vit)
