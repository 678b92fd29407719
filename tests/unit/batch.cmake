vs_test(test_batch LABEL unit SOURCES test_batch.c LINK vs_util vs_config)
vs_test(test_table LABEL unit SOURCES test_table.c LINK vs_util vs_results PkgConfig::JANSSON)
vs_test(test_cache LABEL unit SOURCES test_cache.c LINK vs_util vs_study)
