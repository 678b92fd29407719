"""What the answer says of a real model: DINOv2 ViT-S/14 at 224 px on photographs (real_input.py makes both out of public packages).

blocks.0.mlp.fc1 costs the most at the model's output, blocks.2.mlp.fc2 is the worst at its own; no layer dominates; a percentile observer
cuts values off and loses several dB by it. Exit code 77 (skipped) where the packages cannot be had.
Run: PYTHON tests/oracle/check_real.py [FOLDER]      FOLDER: ~/.cache/vitscope/real"""
import json, os, pathlib, re, subprocess, sys, tempfile

import oracle
import real_input

CONFIG = """version: 1
name: {name}
model: {{checkpoint: {model}}}
data:
  calibration: {{images: {photos}/cal}}
  analysis: {{images: {photos}/ana}}
  preprocess: {{resize: {{short: 224, filter: bicubic}}, crop: {{center: 224}}}}
states: [fp32, ptq]
"""
FAILED = []


def expect(ok, what):
    print(("ok      " if ok else "FAILED  ") + what)
    if not ok:
        FAILED.append(what)


def study(directory, inputs, name, rest):
    """(results, the ANSWER in one line, WHAT HAPPENS THERE likewise)"""
    config = pathlib.Path(directory) / f"{name}.yaml"
    config.write_text(CONFIG.format(name=name, model=inputs[0], photos=inputs[1]) + rest)
    subprocess.run([oracle.vitscope(), "run", str(config), "--out", directory], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = pathlib.Path(directory) / name
    summary = (folder / "summary.txt").read_text()
    part = lambda title: " ".join(re.search(rf"^{title}.*?(?=^$)", summary, re.M | re.S).group().split())
    return json.loads((folder / "results.json").read_text()), part("ANSWER"), part("WHAT HAPPENS")


try:
    inputs = real_input.make(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "vitscope/real")
except real_input.Missing as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
with tempfile.TemporaryDirectory() as d:
    results, answer, happens = study(d, inputs, "whole", "analyze: {recipes: [ptq], output: true}\n")
    print(answer)
    plain = results["output_sqnr"]["ptq"]["pooled"]
    named = re.findall(r"(blocks\.\S+|patch_embed\S+) \(([-0-9.]+) dB, \S+ %", answer)
    order = [r["layer"] for r in sorted(results["layers"], key=lambda r: r["sqnr"]["ptq"]["output"]["both"])]
    expect("the loss is spread: the first five are" in answer, "no layer dominates")
    expect(named and named[0][0] == "blocks.0.mlp.fc1", f"first at the output: {named[:1]}")
    expect([n for n, _ in named] == order[:5], "the five worst at the output are named in order")
    expect(results["rankings"]["activations"][0] == "blocks.2.mlp.fc2", "another is the worst at its own output")
    expect("WHAT HAPPENS THERE (the worst at the model's output" in happens and "blocks.0.mlp.fc1:" in happens, "its mechanism is shown")
    expect("lipp" not in answer, "min/max cuts nothing off")
    results, answer, happens = study(d, inputs, "cut", "recipe: {observer: {percentile: 99.99}}\nanalyze: {recipes: [ptq], output: true, modes: [activation, both]}\n")
    print(answer)
    lost = plain - results["output_sqnr"]["ptq"]["pooled"]
    expect(lost > 5, f"the percentile observer loses {lost:.1f} of {plain:.1f} dB")
    expect("Clipped: the percentile 99.99 observer cut off values" in answer, "and is named as the cause")
    expect("Clipping is the loss, not rounding" in happens, "with its figures")
sys.exit(1 if FAILED else 0)
