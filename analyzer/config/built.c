/* What the parser knows but the program cannot do yet. Shrinks as the program grows. */
#include "config.h"
#include "node.h"

static vs_status unbuilt(const vs_config *c, vs_mark at, vs_error *err, const char *what, const char *value) {
    char place[1024];
    return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: %s %s is not built yet", vs_config_place(c, at, place, sizeof place), what,
                   value);
}

/* Where `key` of an item of a list stands; the item itself if it is not written there. */
static vs_mark item_mark(const vs_node *list, size_t i, const char *key, vs_mark item) {
    const vs_node *n = list && list->kind == VS_NODE_LIST && i < list->count ? list->items[i] : NULL;
    const vs_node *value = vs_node_get(n, key);
    if (!value && n && n->kind == VS_NODE_MAP && n->count == 1) value = vs_node_get(n->items[0], key); /* {sq: {scope: ...}} */
    return value ? value->mark : item;
}

vs_status vs_config_check_built(const vs_config *c, vs_error *err) {
    const struct {
        bool asked;
        const char *key;
    } values[] = {
        { c->data.evaluation.protocol != NULL, "data.evaluation.protocol" },
    };
    static const char *const sections[] = { "fp16", "defaults" };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (vs_node_get(c->root, sections[i])) return unbuilt(c, vs_config_mark(c, sections[i]), err, "the section", sections[i]);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (values[i].asked) return unbuilt(c, vs_config_mark(c, values[i].key), err, "this value of", values[i].key);
    for (size_t i = 0; i < c->state_count; i++) {
        const vs_state_config *s = &c->states[i];
        if (s->kind == VS_STATE_SQPH || s->kind == VS_STATE_FP16)
            return unbuilt(c, s->mark, err, "state", vs_state_kind_name(s->kind));
    }
    for (size_t i = 0; i < c->model.plant_count; i++) {
        const vs_plant_config *p = &c->model.plants[i];
        if (p->kind != VS_PLANT_SPIKE && p->kind != VS_PLANT_HIDDEN)
            return unbuilt(c, item_mark(vs_node_get(vs_node_get(c->root, "model"), "plant"), i, "kind", p->mark), err,
                           "planting kind", vs_plant_kind_name(p->kind));
    }
    return VS_OK;
}
