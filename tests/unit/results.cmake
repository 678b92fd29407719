vs_test(test_reports LABEL unit SOURCES test_reports.c LINK vs_results PkgConfig::JANSSON)
