"""Holds a finished `vitscope run` to study_reference.py: same configuration (from run.json), worst difference of every column.

Run: PYTHON tests/oracle/compare_study.py RUN_DIR [--reference ref.json] [--save ref.json]     (exits 1 on a miss)

dB columns differ by an absolute amount, shares and percents likewise, others relative to the reference's value. The limits are
study.md section 4's for a run on cpu (local 0.01 dB, output 0.1, cumulative 0.5) and tight for a run on ref, where only codes
at a tie and the 0.2 % histogram of medians and percentiles may differ."""
import argparse, json, math, pathlib, sys

import torch

import oracle
import study_reference

#           column ends with          kind        ref     cpu
LIMITS = ((("local",),               "absolute", 1e-6,  0.01),
          (("cumulative",),          "absolute", 1e-3,  0.5),
          (("output_sqnr",),         "absolute", 1e-3,  0.1),
          (("clipped", "zeroed", "qzeroed", "structure", "share"), "absolute", 1e-4, 5e-3),
          (("task",),                "absolute", 1e-2,  1.0),
          (("median", "p99", "p999", "ratio"), "relative", 2.5e-3, 1e-2),
          (("median_shift",),        "absolute", 5e-3,  1e-2),
          (("",),                    "relative", 1e-6,  1e-2))


def limit_of(column, backend):
    for words, kind, ref, cpu in LIMITS:
        if any(column.endswith(w) or f".{w}." in f".{column}" for w in words):
            return kind, ref if backend == "ref" else cpu
    raise AssertionError


def leaves(tree, path=(), place=""):
    """(column, place, value): layers, lists and planted blocks are places, the rest of the path is the column."""
    if isinstance(tree, dict):
        for k, v in tree.items():
            yield from leaves(v, path + (k,), place)
    elif isinstance(tree, list):
        for i, v in enumerate(tree):
            name = v.get("layer", i) if isinstance(v, dict) else i
            yield from leaves(v, path, f"{place}/{name}")
    else:
        yield ".".join(path), place, tree


def number(v):
    return {"inf": math.inf, "-inf": -math.inf}.get(v, v) if isinstance(v, str) else v


def compare(want, got, backend):
    theirs = {(c, p): v for c, p, v in leaves(got)}
    table, words, missing = {}, {}, 0
    for column, place, a in leaves(want):
        if (column, place) not in theirs:
            missing += 1
            print(f"missing: {column} {place}")
            continue
        b = theirs[column, place]
        a, b = number(a), number(b)
        if isinstance(a, (str, bool)) or a is None or b is None or isinstance(b, (str, bool)) or column.endswith("argmax.channel"):
            w = words.setdefault(column, [0, 0])
            w[0] += a != b
            w[1] += 1
            continue
        kind, limit = limit_of(column, backend)
        d = 0.0 if a == b else abs(a - b) / (abs(a) if kind == "relative" and a else 1.0)
        if column not in table or not d <= table[column][0]:
            table[column] = (d, place, a, b, kind, limit)
    return table, words, missing


def main():
    a = argparse.ArgumentParser()
    a.add_argument("run")
    a.add_argument("--reference", help="JSON that study_reference.py made before")
    a.add_argument("--save", help="keep the reference here")
    o = a.parse_args()
    run = json.loads((pathlib.Path(o.run) / "run.json").read_text())
    got = json.loads((pathlib.Path(o.run) / "results.json").read_text())
    if o.reference:
        want = json.loads(pathlib.Path(o.reference).read_text())
    else:
        dtype = torch.float64 if run["arithmetic"] == "f64" else torch.float32
        checkpoint = pathlib.Path(run["checkpoint"]["path"])
        checkpoint = checkpoint if checkpoint.is_absolute() else oracle.ROOT / checkpoint
        want = study_reference.plain(study_reference.study(run["config"], checkpoint, dtype, lambda s: print(s, file=sys.stderr, flush=True)))
    if o.save:
        pathlib.Path(o.save).write_text(json.dumps(want))
    table, words, missing = compare(want, got, run["backend"])
    good = missing == 0
    for column, (d, place, x, y, kind, limit) in sorted(table.items()):
        good &= d <= limit
        print(f"{'ok  ' if d <= limit else 'MISS'} {column:44s} {kind} {d:8.2e} (limit {limit:.0e}) at {place or '-'}: {x} here, {y} there")
    for column, (bad, count) in sorted(words.items()):
        print(f"     {column:44s} {count - bad} of {count} equal")
    print(f"{run['name']} on {run['backend']}: {'agrees' if good else 'DIFFERS'}, {len(table)} columns, {missing} values missing")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
