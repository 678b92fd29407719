vs_test(test_half LABEL unit SOURCES test_half.c LINK vs_backend_common)
add_test(NAME test_half_all COMMAND test_half all)
set_tests_properties(test_half_all PROPERTIES LABELS full TIMEOUT 600)
vs_test(test_half_diag LABEL unit SOURCES test_half_diag.c LINK vs_util vs_half vs_diagnose)
