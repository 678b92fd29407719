"""Every kind of planting on backend ref against the independent implementation: what was chosen, and the planted model's taps.

Run: PYTHON tests/oracle/check_plant.py   (exits 1 on a miss)"""
import json, pathlib, subprocess, sys, tempfile

import numpy as np
import torch
import yaml

import oracle
import study_reference

CONFIG = """version: 1
name: p
model:
  checkpoint: {checkpoint}
  heads: {heads}
  plant:
  - {{kind: spike, blocks: [0], units: 2, ratio: 64}}
  - {{kind: norm1, blocks: [0, 1], gain: 90}}
  - {{kind: norm2, units: 3, gain: 70}}
  - {{kind: value, blocks: [1], units: 2, gain: 300}}
  - {{kind: hidden, blocks: [1], gain: 100}}
  - {{kind: key, gain: 700}}
  - {{kind: residual, gain: 50}}
  - {{kind: value, gain: 80}}
data:
  calibration: {{scenes: {{seed: 2, count: 3, size: {size}}}}}
  analysis: {{scenes: {{seed: 3, count: 1, size: {size}}}}}
states: [fp32]
analyze: {{recipes: []}}
"""
LIMIT = 1e-9  # of a tap's largest value, as in check_taps.py


def run(command, config, directory):
    subprocess.run([oracle.vitscope(), command, str(config), "--backend", "ref", "--out", directory], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@torch.no_grad()
def check(checkpoint, heads, size):
    good = True
    with tempfile.TemporaryDirectory() as d:
        config = pathlib.Path(d) / "p.yaml"
        config.write_text(CONFIG.format(checkpoint=checkpoint, heads=heads, size=size))
        model = study_reference.Model(checkpoint, torch.float64, heads)
        images = list(oracle.normalise(oracle.scenes(2, 3, size)[0]).double().split(1))
        want = study_reference.plant(model, images, yaml.safe_load(config.read_text())["model"]["plant"])
        run("run", config, f"{d}/r")
        got = json.loads((pathlib.Path(d) / "r/p/results.json").read_text())["planted"]
        good &= len(want) == len(got)
        for a, b in zip(want, got):
            same = all(a[k] == b[k] for k in ("kind", "layer", "block", "channels")) and np.allclose(a["gain"], b["gain"], rtol=1e-9, atol=0)
            if not same:
                print(f"chosen differently: {a} and {b}")
            good &= same
        run("capture", config, f"{d}/c")
        taps = {}
        taps["logits"] = model.run(oracle.normalise(oracle.scenes(3, 1, size)[0]).double(), see=taps.__setitem__)
        worst, count = ("", 0.0), 0
        for name, a in taps.items():
            path = pathlib.Path(d) / f"c/{name}.npy"
            if not path.exists():
                continue
            a = a[0].numpy()
            error = np.abs(a - np.load(path)[0].reshape(a.shape)).max() / np.abs(a).max()
            worst, count = max(worst, (name, np.inf if np.isnan(error) else error), key=lambda w: w[1]), count + 1
        print(f"{pathlib.Path(checkpoint).name}: {len(want)} plantings, {count} taps, worst {worst[1]:.2e} at {worst[0]}")
        return good and count > 7 * model.depth and worst[1] <= LIMIT


oracle.exact_positions()
sys.exit(0 if all([check(str(oracle.ROOT / "data/vit_ti14_scenes.safetensors"), 3, 112),
                   check(str(oracle.ROOT / "tests/golden/data/vit_random.safetensors"), 2, 64)]) else 1)
