vs_test(test_charts LABEL unit SOURCES test_charts.c LINK vs_charts vs_io)
