/* The tensors of a file under the names that a model gives them, and what became of each: the one place that records it.
 *
 * Wrappers that training code puts around modules (torch.compile, FSDP, activation checkpointing, DDP) stand anywhere in a name
 * and change nothing: "blocks.0._orig_mod.norm1.weight" is looked for as "blocks.0.norm1.weight". */
#ifndef VS_LEDGER_H
#define VS_LEDGER_H

#include "io/tensorfile.h"

typedef struct vs_ledger_row {
    const vs_tensor_entry *tensor; /* its name is the file's own */
    const char *name;              /* without wrappers */
    bool used;                     /* in the model or its head */
    const char *reason;            /* why it is left out, where that is known; a literal */
} vs_ledger_row;

typedef struct vs_ledger {
    const vs_tensorfile *file;
    vs_ledger_row *rows; /* in file order */
    size_t count;
    vs_ledger_row **by_name; /* sorted by name: all names with one beginning follow each other */
    char *text;              /* of names */
} vs_ledger;

/* Of tensors that differ in wrappers alone one, without any where there is one, has the short name; the others keep their full
 * ones. Release in any case. */
VS_NODISCARD vs_status vs_ledger_make(vs_ledger *out, const vs_tensorfile *file, vs_error *err);
void vs_ledger_release(vs_ledger *ledger);

/* NULL: there is none of that name. */
vs_ledger_row *vs_ledger_find(const vs_ledger *ledger, const char *name);
const vs_tensor_entry *vs_ledger_tensor(const vs_ledger *ledger, const char *name);
/* The first in by_name whose name is not less than `name`; count where there is none. */
size_t vs_ledger_from(const vs_ledger *ledger, const char *name);

/* A name without wrappers, in `out` of strlen(name) + 1 bytes, which may be `name` itself. */
void vs_strip_wrappers(const char *name, char *out);
bool vs_begins(const char *name, const char *prefix);
/* Whether any whole component of a dotted name, its first or its last one, is one of `words`: "teacher lora_* *_adapter". */
bool vs_has_component(const char *name, const char *words);
bool vs_first_component(const char *name, const char *words);
bool vs_last_component(const char *name, const char *words);

#endif
