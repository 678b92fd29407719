"""Prints the fp16 part of results.json of every run below a folder: mIoU, classes, first bad row, SQNR; stdlib only.

usage: fp16_table.py OUT/fp16_table"""
import json, pathlib, sys

for path in sorted(pathlib.Path(sys.argv[1]).rglob("results.json"), key=lambda p: p.stat().st_mtime):
    r = json.loads(path.read_text())
    for name, p in r.get("fp16", {}).get("policies", {}).items():
        task, bad = p["task"], p["first_bad"]
        over = sum(1 for x in p["rows"] if x["inf"] or x["cast_inf"])
        least = min(p["rows"], key=lambda x: x["headroom"] if isinstance(x["headroom"], float) else 1e9)
        print(f"{path.parent.name:12} {name:18} mIoU {task['miou']:6.2f} (float {r['task']['fp32']['miou']:.2f}) classes {p['classes_predicted']:2}"
              f" sqnr {p['sqnr'] if isinstance(p['sqnr'], str) else round(p['sqnr'], 2)!s:6} rows that overflow {over:3}"
              f" first {bad['row'] + ' (' + bad['why'] + ')' if bad else '-'}; least headroom {least['row']} {least['headroom']:.2f}")
