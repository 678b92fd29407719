#!/usr/bin/env python3
"""Levels of noise of half kernels and of their emulation, from the results of configs/fp16_real.yaml.

    real_half.py FOLDER [dB]

Every block's output of every run and policy: SQNR emulated and real; the worst difference. Fails above 1.5 dB, where one side
alone is finite, and where nothing was compared. The output's difference is shown: few tokens decide its noise, so it scatters."""
import json
import math
import pathlib
import sys


def number(value):  # "-inf" where something was not finite
    return float("nan") if value is None else float(value)


def difference(a, b):
    return 0.0 if a == b else float("inf") if math.isnan(a) or math.isnan(b) else abs(a - b)


def text(value):
    return f"{value:6.2f}"


def main():
    folder = pathlib.Path(sys.argv[1])
    limit = float(sys.argv[2]) if len(sys.argv) > 2 else 1.5
    worst, where, compared = 0.0, "", 0
    for path in sorted(folder.glob("*/results.json")):
        policies = json.loads(path.read_text())["fp16"]["policies"]
        for name, policy in policies.items():
            real = policy.get("real")
            if not real:
                continue
            pairs = [(number(row["emulated"]), number(row["sqnr"]), row["row"]) for row in real["blocks"]]
            print(f"{path.parent.name} {name}")
            print("  emulated", " ".join(text(a) for a, _, _ in pairs), "| output", text(number(policy["sqnr"])))
            print("  real    ", " ".join(text(b) for _, b, _ in pairs), "| output", text(number(real["sqnr"])))
            task, other = policy.get("task"), real.get("task")
            most = max(difference(a, b) for a, b, _ in pairs)
            row = next(r for a, b, r in pairs if difference(a, b) == most)
            line = f"  at most {most:.2f} dB apart, at {row}; output {number(real['output_difference_db']):.2f}"
            if task and other and task["miou"] is not None:
                line += f"; mIoU {task['miou']:.2f} emulated, {other['miou']:.2f} real"
            print(line)
            compared += len(pairs)
            if not most <= worst:
                worst, where = most, f"{path.parent.name} {name} {row}"
    where = where or "nowhere"
    print(f"{compared} block outputs compared; at most {worst:.2f} dB apart ({where}), allowed {limit}")
    return 0 if compared and worst <= limit else 1


sys.exit(main())
