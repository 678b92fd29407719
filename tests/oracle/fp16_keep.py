"""Prints the diagnosis in results.json of every run below a folder: chain, cause, target, keep list, verification; stdlib only.

usage: fp16_keep.py OUT/BATCH"""
import json, pathlib, sys


def short(x):
    return x if isinstance(x, str) or x is None else round(x, 2)


for path in sorted(pathlib.Path(sys.argv[1]).rglob("results.json"), key=lambda p: p.stat().st_mtime):
    r = json.loads(path.read_text())
    for name, p in r.get("fp16", {}).get("policies", {}).items():
        if "cause" not in p:
            continue
        chain = " > ".join(f"{c['row']} ({c['why']} {short(c['value'])}, {c['class']})" for c in p["chain"])
        verified = p["verified"] or {"sqnr": None, "task": {"miou": None}}
        print(f"{path.parent.name} {name}: mIoU {short(p['task']['miou']) if p['task'] else None}, SQNR {short(p['sqnr'])}, {p['runs']} runs")
        print(f"  chain: {chain or '-'}")
        print(f"  cause: {', '.join(p['cause']['classes']) or '-'} ({short(p['cause']['sqnr'])} dB; wide {short(p['wide'])}, lin {short(p['lin'])},"
              f" target {short(p['target'])}): {p['cause']['words']}")
        print(f"  keep ({'reaches' if p['keep_reaches'] else 'MISSES'}, {short(p['keep_sqnr'])} dB, MACs {p['macs_share']:.3f}), verified"
              f" {short(verified['sqnr'])} dB mIoU {short(verified['task']['miou'])} (float {short(r['task']['fp32']['miou']) if r['task'].get('fp32') else None}):")
        for k in p["keep"]:
            without = k["without"] or {"sqnr": None, "task": None}
            task = without["task"]
            print(f"    {k['row']}: {k['why']}; without it {short(without['sqnr'])} dB, mIoU {short(task['miou']) if task else None}")
