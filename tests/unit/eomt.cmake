vs_test(test_eomt LABEL unit SOURCES test_eomt.c LINK vs_util vs_vit)
