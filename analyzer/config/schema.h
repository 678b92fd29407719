/* The one table behind parser, defaults, dump and docs/config.md. */
#ifndef VS_SCHEMA_H
#define VS_SCHEMA_H

#include "config/config.h"
#include "config/node.h"

typedef enum vs_field_type {
    VS_FIELD_TEXT,
    VS_FIELD_NAME,
    VS_FIELD_PATH,         /* char *; a path is made relative to the file's folder */
    VS_FIELD_NONE_OR_PATH, /* the word none, kept as it is, or a path */
    VS_FIELD_INT,          /* int64_t */
    VS_FIELD_UINT,         /* uint64_t */
    VS_FIELD_NUMBER,       /* double */
    VS_FIELD_BOOL,
    VS_FIELD_ENUM,        /* an enum counted from 0 in the order of `names` */
    VS_FIELD_FLAGS,       /* a list of names; bools one after the other */
    VS_FIELD_TRIPLE,      /* double[3] */
    VS_FIELD_STRINGS,     /* vs_string_list: one or a list */
    VS_FIELD_MAP,         /* `fields` relative to the same base plus `offset` */
    VS_FIELD_NONE_OR_MAP, /* the word none, or a map */
    VS_FIELD_OBSERVER,
    VS_FIELD_STATES,
    VS_FIELD_PLANTS,
    VS_FIELD_POLICIES,
    VS_FIELD_BLOCKS,
    VS_FIELD_PUBLISHED,
    VS_FIELD_IGNORED /* known, read by later parts of the program, not built yet */
} vs_field_type;

typedef struct vs_field {
    const char *key;
    vs_field_type type;
    size_t offset;
    double min, max;               /* numbers */
    const char *const *names;      /* enum, flags; ends with NULL */
    const struct vs_field *fields; /* maps; ends with a NULL key */
    size_t present;                /* maps: offset + 1 of a bool that says the key was written; 0: none */
    size_t mark;                   /* offset + 1 of a vs_mark; 0: none */
    bool required;
    const char *fallback; /* default as YAML; NULL: nothing */
    const char *doc;
} vs_field;

extern const vs_field vs_config_fields[]; /* relative to vs_config */
extern const vs_field vs_batch_fields[];  /* relative to vs_config: of a batch file, which has only version and name */
extern const vs_field vs_plant_fields[];  /* relative to vs_plant_config */
extern const vs_field vs_state_fields[];  /* relative to vs_state_config */
extern const vs_field vs_policy_fields[]; /* relative to vs_policy_config */
/* Whether a key of an item of model.plant means something to its kind. */
bool vs_plant_has(vs_plant_kind kind, const char *key);
extern const char *const vs_state_names[], *const vs_plant_names[];
/* The named policies of docs/fp16-reference.md 3; the last has no name. */
extern const vs_policy_config vs_named_policies[];

enum { VS_MAX_FIELDS = 31 }; /* keys of one map, at most */

typedef struct vs_reader {
    const vs_config *config; /* being read: its path and overrides, for messages */
    vs_error *err;
} vs_reader;

/* load.c: what vs_config_parse does after parsing. `root` is taken in any case; `batch`: it is a run of a batch file. */
VS_NODISCARD vs_status vs_config_from_tree(vs_config **out, vs_yaml_node *root, const char *label, bool batch,
                                           const vs_override *overrides, size_t override_count, vs_error *err);
/* A configuration that has only a path and takes `root` in any case. */
VS_NODISCARD vs_status vs_config_hold_tree(vs_config **out, vs_yaml_node *root, const char *label, vs_error *err);
/* The bytes of a configuration file. */
VS_NODISCARD vs_status vs_config_read_file(const char *path, char **text, size_t *size, vs_error *err);
bool vs_config_is_batch(const vs_yaml_node *root);

/* read.c: reads `map` (NULL: nothing written) by `fields` into base, defaults included. */
VS_NODISCARD vs_status vs_read_map(const vs_reader *r, const vs_field *fields, const vs_yaml_node *map, vs_mark at,
                                   const char *where, void *base);
void vs_release_fields(const vs_field *fields, void *base);
vs_status vs_read_fail(const vs_reader *r, vs_mark at, const char *format, ...) VS_PRINTF(3, 4);

#endif
