vs_test(test_reports LABEL unit SOURCES test_reports.c LINK vs_util vs_results PkgConfig::JANSSON)
vs_test(test_answer LABEL unit SOURCES test_answer.c LINK vs_util vs_results)
