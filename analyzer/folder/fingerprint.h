/* Everything that decides a run's results, as a list of named values: equal lists, equal results. A run takes it from the files
 * themselves, before it reads them and after, and writes it into run.json; --resume takes it again and compares. */
#ifndef VS_FINGERPRINT_H
#define VS_FINGERPRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "vitscope/backend.h"

typedef struct vs_fingerprint_part {
    char *name;  /* in words: "configuration", "file data/model.safetensors" */
    char *value; /* SHA-256 in hex, or words */
} vs_fingerprint_part;

typedef struct vs_fingerprint {
    vs_fingerprint_part *parts;
    size_t count, capacity;
} vs_fingerprint;

/* What the command line adds. Sessions count only on a device: on the host, results depend neither on threads nor on the batch.
 */
typedef struct vs_fingerprint_options {
    const char *backend;
    vs_arithmetic arithmetic;
    size_t threads, batch, memory;
} vs_fingerprint_options;

/* Parts: "configuration" (all resolved values), "subject" (name, model, data and recipe.p: what two diagnoses of one folder must
 * agree in), "program" (version and SHA-256 of the executable), "backend", "arithmetic", "instruction set", "library" (of
 * products), "sessions", then "file <path>" of each file of the model (checkpoint, index, shards, JSON files beside them, head)
 * and "images of data.<set>" (paths and contents of all images and label maps, in order; a list file counts by what it lists).
 * Fails where a file of the model cannot be read. */
VS_NODISCARD vs_status vs_fingerprint_make(vs_fingerprint *out, const vs_config *config, const vs_fingerprint_options *options,
                                           vs_error *err);
void vs_fingerprint_release(vs_fingerprint *fingerprint);
/* {"configuration": "...", ...}; NULL: no memory. */
json_t *vs_fingerprint_json(const vs_fingerprint *fingerprint);
/* Whether `was` (of vs_fingerprint_json) is the same; if not, what differs, in words, goes into `why`. With `subject`, the
 * configuration may differ outside the subject. */
bool vs_fingerprint_equals(const vs_fingerprint *now, json_t *was, bool subject, char *why, size_t size);

/* Runs of a batch share what they read. `seen` (an object, empty at first) collects what each file and set was; VS_ERR_IO where
 * one is another than an earlier run saw. */
VS_NODISCARD vs_status vs_fingerprint_agree(json_t *seen, const vs_fingerprint *now, const vs_config *config, vs_error *err);

#endif
