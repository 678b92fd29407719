vs_test(test_progress LABEL unit SOURCES test_progress.c ${PROJECT_SOURCE_DIR}/analyzer/cli/progress_line.c)
target_include_directories(test_progress PRIVATE ${PROJECT_SOURCE_DIR}/analyzer/cli)
