"""Holds the results of configs/fp16_table.yaml against the table of docs/fp16-reference.md 5, which was measured on real half kernels.

usage: fp16_table.py OUT/fp16_table     (standard library only; exit code 1 where a cell is off)

A cell of at least 85 or at most 5 points is firm: within 0.5, class count and first bad row equal where the table has them.
Others sit at an edge: within 4."""
import json
import pathlib
import sys

# run, policy: mIoU, classes, first bad row ("-": none; None: the table does not say)
RESIDUAL = {
    "v3": {1: [(86.28, 11, "-"), (86.28, 11, "-")], 4: [(86.28, None, "-"), (48.64, 11, "norm.square")],
           8: [(86.28, None, "-"), (8.96, 11, "norm.square")], 64: [(86.28, None, "-"), (0.04, 1, None)],
           256: [(86.28, None, "-"), (0.04, 1, None)], 1024: [(22.6, 11, "blocks.11.ls2"), (0.04, 1, None)],
           4096: [(2.99, 1, "blocks.11.ls2"), (0.04, 1, None)]},
    "v2": {1: [(87.35, 11, "-"), (87.35, 11, "-")], 4: [(87.35, None, "-"), (87.35, None, "-")],
           8: [(87.35, None, "-"), (63.24, 11, "norm.square")], 64: [(87.35, None, "-"), (2.2, 3, "blocks.11.norm1.square")],
           256: [(87.35, None, "-"), (0.44, 1, None)], 1024: [(87.35, None, "-"), (0.44, 1, None)],
           4096: [(3.37, 6, None), (0.44, 1, None)]},
}
KEY = {"fused": [87.33, 87.30, 87.26, 86.95, 86.18], "attention.after": [87.29, 87.16, 9.52, 2.99, 2.99],
       "attention.before": [87.32, 87.17, 86.58, 84.65, 79.18], "attention.both": [87.24, 87.12, 86.56, 84.52, 78.31]}


def expected():
    for model, rows in RESIDUAL.items():
        for gain, cells in rows.items():
            for policy, cell in zip(("fused", "decomposed"), cells):
                yield f"{model}_g{gain}", policy, *cell
    for policy, cells in KEY.items():
        for gain, miou in zip((1024, 2048, 4096, 8192, 16384), cells):
            yield f"v2_key{gain}", policy, miou, None, "blocks.7.attn.scores" if (policy, gain) == ("attention.after", 4096) else None


def check(root):
    wrong = 0
    for run, policy, miou, classes, first in expected():
        p = json.loads((root / run / "results.json").read_text())["fp16"]["policies"][policy]
        firm = miou >= 85 or miou <= 5
        got_first = p["first_bad"]["row"] if p["first_bad"] else "-"
        over = sum(1 for row in p["rows"] if row["inf"] or row["cast_inf"])
        good = abs(p["task"]["miou"] - miou) <= (0.5 if firm else 4)
        good &= not firm or classes in (None, p["classes_predicted"])
        good &= first in (None, got_first)
        wrong += not good
        print(f"{run:12} {policy:17} mIoU {p['task']['miou']:6.2f} ({miou:6.2f}{' firm' if firm else ' edge'})  "
              f"classes {p['classes_predicted']:2} ({classes or '?'})  first bad {got_first} ({first or '?'}), {over} rows overflow"
              f"{'' if good else '   OFF'}")
    print(f"{wrong} cells are off")
    return wrong


if __name__ == "__main__":
    sys.exit(1 if check(pathlib.Path(sys.argv[1])) else 0)
