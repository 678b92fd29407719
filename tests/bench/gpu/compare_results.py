"""Are the results of two backends the same study? local decibels within 0.02, layers ranked alike (Spearman of local at least 0.999, of
output 0.99), mIoU of fp32 and sq within 0.15 points and of the others within 2. Prints the worst of each.

Run: PYTHON tests/bench/gpu/compare_results.py FOLDER FOLDER"""
import json, math, pathlib, sys


def load(folder):
    return json.loads(next(pathlib.Path(folder).rglob("results.json")).read_text())


def ranks(values):
    """Equal values share the mean of their places."""
    order, out = sorted(range(len(values)), key=values.__getitem__), [0.0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and values[order[last + 1]] == values[order[first]]:
            last += 1
        for i in order[first:last + 1]:
            out[i] = (first + last) / 2
        first = last + 1
    return out


def spearman(a, b):
    x, y = ranks(a), ranks(b)
    mean = (len(x) - 1) / 2
    spread = math.sqrt(sum((v - mean) ** 2 for v in x) * sum((v - mean) ** 2 for v in y))
    return sum((p - mean) * (q - mean) for p, q in zip(x, y)) / spread if spread else 1.0


def column(results, recipe, group, mode):
    """Value of each layer that has one."""
    cells = {l["layer"]: l["sqnr"][recipe][group] for l in results["layers"]}
    return {k: v[mode] for k, v in cells.items() if isinstance(v, dict) and isinstance(v.get(mode), (int, float))}


def compare_columns(a, b, group, limit, least):
    good, (recipes, modes) = True, (a["layers"][0]["sqnr"], ("weight", "activation", "both", "weight_tensor", "input_tensor"))
    for recipe in recipes:
        for mode in modes:
            x, y = column(a, recipe, group, mode), column(b, recipe, group, mode)
            layers = sorted(x.keys() & y.keys())
            if x.keys() != y.keys():
                good = False
                print(f"  {recipe} {group}.{mode}: values for different layers")
            if len(layers) < 2:
                continue
            worst, where = max((abs(x[k] - y[k]), k) for k in layers)
            rho = spearman([x[k] for k in layers], [y[k] for k in layers])
            held = worst <= limit and rho >= least
            good &= held
            print(f"  {recipe} {group}.{mode}: {len(layers)} layers, worst {worst:.4f} dB at {where}, Spearman {rho:.5f}{'' if held else '  NOT HELD'}")
    return good


def compare_tasks(a, b):
    good = True
    for state in (a.get("task") or {}):
        x, y = a["task"][state].get("miou"), b["task"][state].get("miou")
        if x is None or y is None:
            continue
        held = abs(x - y) <= (0.15 if state in ("fp32", "sq") else 2)
        good &= held
        print(f"  {state}: mIoU {x:.3f} and {y:.3f}{'' if held else '  NOT HELD'}")
    return good


def main():
    a, b = load(sys.argv[1]), load(sys.argv[2])
    good = compare_columns(a, b, "local", 0.02, 0.999)
    good &= compare_columns(a, b, "output", math.inf, 0.99)
    good &= compare_tasks(a, b)
    print("the same study" if good else "NOT the same study")
    sys.exit(not good)


main()
