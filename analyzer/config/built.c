/* What the parser knows but the program cannot do yet. */
#include "config/config.h"
#include "config/node.h"

static vs_status unbuilt(const vs_config *c, vs_mark at, vs_error *err, const char *what, const char *value) {
    char place[1024];
    return vs_fail(err, VS_ERR_CONFIG, "%s: %s %s is not built yet", vs_config_place(c, at, place, sizeof place), what, value);
}

vs_status vs_config_check_built(const vs_config *c, vs_error *err) {
    for (size_t i = 0; i < c->state_count; i++) {
        const vs_state_config *s = &c->states[i];
        if (s->kind == VS_STATE_SQPH) return unbuilt(c, s->mark, err, "state", vs_state_kind_name(s->kind));
    }
    return VS_OK;
}
