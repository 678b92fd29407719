"""Holds a finished `vitscope run` to study_reference.py: same configuration (from run.json), worst difference of every column.

Run: PYTHON tests/oracle/compare_study.py RUN_DIR [--reference ref.json] [--save ref.json]     (exits 1 on a miss)

dB columns, shares and percents are compared absolutely, others relative to the reference. On ref the limits are tight: only codes
at a tie and the histogram behind medians and percentiles (docs/study.md 5: 0.5 %) may differ. On cpu the two sides sum in
another order, one flipped code moves a whole-model quantized run (docs/study.md 4), so columns of such states are judged by
their median over layers; the worst is printed beside it.
"""
import argparse, json, math, pathlib, statistics, sys

import torch

import oracle
import study_reference

#           the column has one of these      kind       ref   cpu
LIMITS = ((("local", "gap"),                   "absolute", 1e-9, 0.05),
          (("cumulative",),                    "absolute", 1e-3, 1.0),
          (("output_sqnr",),                   "absolute", 1e-3, 0.5),
          (("clipped", "zeroed", "qzeroed", "structure", "share"), "absolute", 1e-4, 1e-2),
          (("task",),                          "absolute", 1e-2, 1.5),
          (("median_shift",),                  "absolute", 1e-2, 1e-2),
          (("median", "p99", "p999", "ratio"), "relative", 5e-3, 1e-2),
          (("",),                              "relative", 1e-6, 1e-3))
# numbers that are names, and ranks by max/median, whose median comes from a histogram: counted, not subtracted
WORDS = ("argmax.image", "argmax.channel", "channel", "harmless.outliers", "harmless.outliers_in")


def limit_of(column, backend):
    for words, kind, ref, cpu in LIMITS:
        if any(not w or f".{w}." in f".{column}." for w in words):
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


def is_chaotic(column, backend):
    """Statistics of a state that quantizes activations, on a backend that does not sum as the reference does."""
    return backend != "ref" and column.startswith("layers.states.") and column.split(".")[2] not in ("fp32", "weights")


def compare(want, got, backend):
    """(column -> [(difference, place, reference, run)], column -> [different, compared] for names, missing values)"""
    theirs = {(c, p): v for c, p, v in leaves(got)}
    table, words, missing = {}, {}, []
    for column, place, a in leaves(want):
        if (column, place) not in theirs:
            missing.append(f"{column} {place}")
            continue
        a, b = number(a), number(theirs[column, place])
        if a is None or b is None or any(isinstance(v, (str, bool)) for v in (a, b)) or column.endswith(WORDS):
            w = words.setdefault(column, [0, 0])
            w[0] += a != b
            w[1] += 1
            continue
        relative = limit_of(column, backend)[0] == "relative"
        d = 0.0 if a == b else abs(a - b) / (abs(a) if relative and a else 1.0)
        table.setdefault(column, []).append((d if d == d else math.inf, place, a, b))
    return table, words, missing


def report(table, words, missing, backend, verbose):
    good = not missing
    for m in missing:
        print(f"MISS no {m}")
    for column, rows in sorted(table.items()):
        kind, limit = limit_of(column, backend)
        worst = max(rows, key=lambda r: r[0])
        judged = statistics.median(r[0] for r in rows) if is_chaotic(column, backend) else worst[0]
        good &= judged <= limit
        if verbose or not judged <= limit:
            d, place, a, b = worst
            extra = f" (median {judged:.1e})" if is_chaotic(column, backend) else ""
            print(f"{'ok  ' if judged <= limit else 'MISS'} {column:46s} {kind} {d:8.2e}{extra}, limit {limit:.0e}, at {place or '-'}: {a:.9g} here, {b:.9g} there")
    for column, (bad, count) in sorted(words.items()):
        if verbose or bad:
            print(f"     {column:46s} {count - bad} of {count} equal")
    return good


def main():
    a = argparse.ArgumentParser()
    a.add_argument("run")
    a.add_argument("--reference", help="JSON that study_reference.py made before")
    a.add_argument("--save", help="keep the reference here")
    a.add_argument("-v", "--verbose", action="store_true", help="every column, not only those that differ")
    o = a.parse_args()
    run = json.loads((pathlib.Path(o.run) / "run.json").read_text())
    got = json.loads((pathlib.Path(o.run) / "results.json").read_text())
    if o.reference:
        want = json.loads(pathlib.Path(o.reference).read_text())
    else:
        dtype = torch.float64 if run["arithmetic"] == "f64" else torch.float32
        checkpoint = pathlib.Path(run["checkpoint"]["path"])
        checkpoint = checkpoint if checkpoint.exists() else oracle.ROOT / checkpoint
        want = study_reference.plain(study_reference.study(run["config"], checkpoint, dtype, lambda s: print(s, file=sys.stderr, flush=True)))
    if o.save:
        pathlib.Path(o.save).write_text(json.dumps(want))
    table, words, missing = compare(want, got, run["backend"])
    good = report(table, words, missing, run["backend"], o.verbose)
    for name in ("local", "cumulative", "output_sqnr", "task"):
        d = [r[0] for c, rows in table.items() if f".{name}." in f".{c}." and "per_image" not in c for r in rows]
        if d:
            print(f"{name}: worst {max(d):.2e} {'percent' if name == 'task' else 'dB'}, median {statistics.median(d):.2e}, {len(d)} values")
    print(f"{run['name']} on {run['backend']}: {'agrees' if good else 'DIFFERS'} in {len(table)} columns")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
