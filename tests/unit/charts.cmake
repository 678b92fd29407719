vs_test(test_charts LABEL unit SOURCES test_charts.c LINK vs_util vs_io vs_backend vs_render vs_charts)
