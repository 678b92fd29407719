# Graphs without a model: what is refused, and where values stand. Allocations fail in test_graph, which wraps them.
vs_test(test_graph LABEL unit SOURCES test_graph.c LINK vs_util vs_vit)
target_link_options(test_graph PRIVATE -Wl,--wrap=calloc,--wrap=realloc,--wrap=free)
vs_test(test_arena LABEL unit SOURCES test_arena.c LINK vs_util vs_vit)
