vs_test(test_variant LABEL unit SOURCES test_variant.c LINK vs_util vs_quant)
