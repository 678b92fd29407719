vs_test(test_runs LABEL unit SOURCES test_runs.c LINK vs_folder PkgConfig::JANSSON)
target_include_directories(test_runs PRIVATE ${PROJECT_SOURCE_DIR}/analyzer/cli)
