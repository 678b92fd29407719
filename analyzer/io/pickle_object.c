/* What a reader asks of the objects that pickle.c made. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/pickle.h"

void vs_pickle_release(vs_pickle *p) {
    for (size_t i = 0; i < p->count; i++) free(p->objects[i].items);
    free(p->objects);
    *p = (vs_pickle){ 0 };
}

bool vs_pickle_text_is(const vs_pickle *p, uint32_t object, const char *text) {
    const vs_pickle_object *o = &p->objects[object];
    const size_t n = strlen(text);
    return o->kind == VS_PICKLE_TEXT && o->as.text.size == n && memcmp(o->as.text.bytes, text, n) == 0;
}

bool vs_pickle_global_is(const vs_pickle *p, uint32_t object, const char *module, const char *name) {
    const vs_pickle_object *o = &p->objects[object];
    return o->kind == VS_PICKLE_GLOBAL && vs_pickle_text_is(p, o->callable, module) && vs_pickle_text_is(p, o->args, name);
}

void vs_pickle_class_name(const vs_pickle *p, uint32_t object, char *text, size_t size) {
    const vs_pickle_object *o = &p->objects[object];
    if (o->kind == VS_PICKLE_CALL) o = &p->objects[o->callable];
    if (o->kind == VS_PICKLE_PERSISTENT) { /* ("module", class, file, source): old torch saved the source of modules too */
        o = &p->objects[o->args];
        if (o->kind == VS_PICKLE_TUPLE && o->count >= 2) o = &p->objects[o->items[1]];
    }
    if (o->kind != VS_PICKLE_GLOBAL) {
        snprintf(text, size, "object");
        return;
    }
    const vs_pickle_object *module = &p->objects[o->callable], *name = &p->objects[o->args];
    const size_t most = 100;
    snprintf(text, size, "%.*s.%.*s", (int)(module->as.text.size < most ? module->as.text.size : most),
             (const char *)module->as.text.bytes, (int)(name->as.text.size < most ? name->as.text.size : most),
             (const char *)name->as.text.bytes);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e) *c = '?';
}
