# Allocation failures: the module's own calls are wrapped, jansson is given the same ones.
vs_test(test_config_memory LABEL unit SOURCES test_config_memory.c LINK vs_config PkgConfig::JANSSON)
target_link_options(test_config_memory PRIVATE -Wl,--wrap=calloc,--wrap=realloc,--wrap=free)
