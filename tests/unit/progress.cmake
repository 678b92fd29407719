vs_test(test_progress LABEL unit SOURCES test_progress.c LINK vs_progress_line)
target_include_directories(test_progress PRIVATE ${PROJECT_SOURCE_DIR}/analyzer/cli)
