vs_test(test_runs LABEL unit SOURCES test_runs.c ${PROJECT_SOURCE_DIR}/analyzer/cli/file_names.c LINK vs_runs PkgConfig::JANSSON)
target_include_directories(test_runs PRIVATE ${PROJECT_SOURCE_DIR}/analyzer/cli)
