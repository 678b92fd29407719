#include <errno.h>
#include <string.h>

#include "config/schema.h"

static void write_type(FILE *out, const vs_field *f) {
    switch (f->type) {
    case VS_FIELD_TEXT: fputs("text", out); break;
    case VS_FIELD_NAME: fputs("name", out); break;
    case VS_FIELD_PATH: fputs("path", out); break;
    case VS_FIELD_NONE_OR_PATH: fputs("path, or none", out); break;
    case VS_FIELD_INT:
    case VS_FIELD_UINT: fprintf(out, "whole number, %.0f to %.0f", f->min, f->max); break;
    case VS_FIELD_NUMBER: fprintf(out, "number, %g to %g", f->min, f->max); break;
    case VS_FIELD_BOOL: fputs("true or false", out); break;
    case VS_FIELD_ENUM:
    case VS_FIELD_FLAGS:
        fputs(f->type == VS_FIELD_FLAGS ? "list of " : "", out);
        for (size_t i = 0; f->names[i]; i++) fprintf(out, "%s`%s`", i ? ", " : "", f->names[i]);
        break;
    case VS_FIELD_TRIPLE: fputs("three numbers", out); break;
    case VS_FIELD_STRINGS: fputs("text or list", out); break;
    case VS_FIELD_MAP: fputs("map", out); break;
    case VS_FIELD_NONE_OR_MAP: fputs("`none` or map", out); break;
    case VS_FIELD_OBSERVER: fputs("word or map", out); break;
    case VS_FIELD_PUBLISHED: fputs("map of numbers", out); break;
    case VS_FIELD_STATES:
    case VS_FIELD_PLANTS:
    case VS_FIELD_POLICIES:
    case VS_FIELD_BLOCKS: fputs("list", out); break;
    case VS_FIELD_IGNORED: fputs("-", out); break;
    }
}

static void write_rows(FILE *out, const vs_field *fields, const char *prefix) {
    for (const vs_field *f = fields; f->key; f++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", prefix, f->key);
        fprintf(out, "| `%s` | ", name);
        write_type(out, f);
        fprintf(out, " | %s%s%s | %s |\n", f->fallback ? "`" : "",
                f->fallback   ? f->fallback
                : f->required ? "required"
                              : "",
                f->fallback ? "`" : "", f->doc);
        if (!f->fields) continue;
        char inner[130];
        snprintf(inner, sizeof inner, "%s.", name);
        write_rows(out, f->fields, inner);
    }
}

static const char *const table_head = "| key | value | default | meaning |\n|---|---|---|---|\n";

vs_status vs_config_write_reference(FILE *out, vs_error *err) {
    fputs("# Configuration reference\n\nMade from the parser's own table by `vs_config_reference`; a test compares the two. "
          "Paths are relative to the configuration file,\n"
          "those given with `--set` to the working directory.\n"
          "Any key can be overridden with `--set a.b=value`; `--set states.sq.alpha=0.6` reaches into the state called `sq`.\n"
          "Unknown and repeated keys, wrong types and values out of range are errors that name file, line and column. `fp32` is "
          "run even if `states` leaves it out.\n\n",
          out);
    fputs(table_head, out);
    write_rows(out, vs_config_fields, "");
    fputs("\n## Items of `model.plant`\n\n", out);
    fputs(table_head, out);
    write_rows(out, vs_plant_fields, "");
    fputs("\n## Items of `states`\n\nKinds: ", out);
    for (size_t i = 0; vs_state_names[i]; i++) fprintf(out, "%s`%s`", i ? ", " : "", vs_state_names[i]);
    fputs(" (`sqph` is not built yet; `fp16` is policy `fused`). Options of a state:\n\n", out);
    fputs(table_head, out);
    write_rows(out, vs_state_fields, "");
    fputs("\n## Items of `fp16.policies`\n\n", out);
    fputs(table_head, out);
    write_rows(out, vs_policy_fields, "");
    fputs("\n## Batch files\n\nA file with `runs` describes several runs, each the map of `defaults` with its own map laid upon "
          "it: "
          "maps merge, lists and values replace.\n`--set` applies to every run. Results go to `<out>/<batch>/<run>/`, the table "
          "of all runs to `<out>/<batch>/table.{txt,csv,json}`.\n\n",
          out);
    fputs(table_head, out);
    write_rows(out, vs_batch_fields, "");
    return ferror(out) ? vs_fail(err, VS_ERR_IO, "cannot write the reference: %s", strerror(errno)) : VS_OK;
}
