"""Writes tests/golden/data: per tap its shape, sum, sum of magnitudes and 256 seeded elements, from timm in float64.

Format (JSON): {"model": file, "heads": H, "size": [h, w], "scene": {...}, "taps": {name: {"shape", "sum", "abs", "index", "value"}}}.
Image: scene 0 of seed 3, pixels (p - mean) / std rounded to float32. Run: PYTHON tests/oracle/make_goldens.py [dinov3]   (dinov3: those of the DINOv3 model alone)"""
import json, sys

import numpy as np
import torch

import dinov3_layouts
import oracle

DATA = oracle.ROOT / "tests/golden/data"


def golden(model_path, relative, size, heads):
    model, head = oracle.load(model_path, heads=heads)
    rgb, _ = oracle.scenes(3, 1, max(size))
    pixels = oracle.normalise(rgb[:, : size[0], : size[1]]).double()
    return sample(oracle.taps(model, head, pixels), relative, size, heads)


def golden_dinov3(relative, size):
    """The demo model in timm's Eva, rotation tables in float64; taps of the first and the last block."""
    case = dinov3_layouts.make_demo(oracle.ROOT / relative)
    rgb, _ = oracle.scenes(3, 1, max(size))
    taps = case.taps(oracle.normalise(rgb[:, : size[0], : size[1]]), True)
    kept = {k: v for k, v in taps.items() if k.startswith(("blocks.0.", "blocks.11.")) or k in ("embed", "blocks.0", "blocks.11", "norm", "logits")}
    return sample(kept, relative, size, case.heads)


def sample(taps, relative, size, heads):
    rng = np.random.default_rng(20261124)
    result = {}
    for name, x in sorted(taps.items()):
        flat = x.reshape(-1)
        index = np.sort(rng.choice(flat.size, min(256, flat.size), replace=False))
        result[name] = {"shape": list(x.shape), "sum": float(flat.sum()), "abs": float(np.abs(flat).sum()), "index": index.tolist(), "value": [float(v) for v in flat[index]]}
    return {"model": relative, "heads": heads, "size": list(size), "taps": result}


def main():
    DATA.mkdir(parents=True, exist_ok=True)
    for name, size in (("vit_ti16_dinov3", (224, 224)), ("vit_ti16_dinov3_96x160", (96, 160))):
        (DATA / f"{name}.json").write_text(json.dumps(golden_dinov3("data/vit_ti16_dinov3_scenes.safetensors", size), separators=(",", ":")) + "\n")
    if "dinov3" in sys.argv:
        return
    oracle.exact_positions()
    DATA.mkdir(parents=True, exist_ok=True)
    oracle.random_vit(DATA / "vit_random.safetensors", width=64, depth=2, heads=2, patch=16, grid=4, classes=10)
    demo = golden(oracle.ROOT / "data/vit_ti14_scenes.safetensors", "data/vit_ti14_scenes.safetensors", (224, 224), 3)
    for name, square, size in (("vit_ti14", demo, None), ("vit_random", None, (64, 64)), ("vit_random_96x64", None, (96, 64))):
        g = square or golden(DATA / "vit_random.safetensors", "tests/golden/data/vit_random.safetensors", size, 2)
        (DATA / f"{name}.json").write_text(json.dumps(g, separators=(",", ":")) + "\n")


main()
