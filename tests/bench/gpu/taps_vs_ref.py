"""Every tap of the demo model (224 px) and of a random ViT-B/14 (518 px): relative L2 error of cuda and of cpu against ref (float64).
cuda's may be at most 3 times cpu's own, tap by tap. ref takes some minutes on ViT-B; it runs while the others do.

Run: PYTHON tests/bench/gpu/taps_vs_ref.py VITSCOPE [--only ti|b] [--backends cpu,cuda]"""
import argparse, pathlib, subprocess, tempfile

import numpy as np
import safetensors.torch
import torch

from model_vs_torch import SHAPES, ViT
from study_vs_torch import write_images

LIMIT = 3.0
ROOT = pathlib.Path(__file__).resolve().parents[3]


def demo(folder):
    return f"model: {{checkpoint: {ROOT}/data/vit_ti14_scenes.safetensors}}\ndata:\n  analysis: {{scenes: {{seed: 3, count: 1, size: 224}}}}\n"


def random_b(folder):
    torch.manual_seed(0)
    model = ViT(*SHAPES["B"], 518)
    safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "b.safetensors")
    write_images(folder / "images", 1, 518, 2)
    return f"model: {{checkpoint: {folder}/b.safetensors}}\ndata:\n  analysis: {{images: {folder}/images}}\n  preprocess: {{resize: none, crop: none}}\n"


def start(vitscope, config, backend, out):
    command = [vitscope, "capture", str(config), "--taps", "*", "--backend", backend, "--out", str(out / backend)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def error(path, reference):
    x, r = np.load(path).astype(np.float64).ravel(), reference.ravel()
    return np.linalg.norm(x - r) / np.linalg.norm(r)


def compare(name, make, args):
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        config = folder / "taps.yaml"
        config.write_text("version: 1\nname: taps\n" + make(folder))
        ref = start(args.vitscope, config, "ref", folder)
        for backend in args.backends.split(","):
            if start(args.vitscope, config, backend, folder).wait():
                raise SystemExit(f"{backend} failed")
        if ref.wait():
            raise SystemExit("ref failed")
        base, other = args.backends.split(",")
        worst, furthest, count = (0.0, ""), {base: (0.0, ""), other: (0.0, "")}, 0
        for path in sorted((folder / "ref").rglob("*.npy")):
            reference = np.load(path)
            where = path.relative_to(folder / "ref")
            errors = {b: error(folder / b / where, reference) for b in (base, other)}
            for b, e in errors.items():
                furthest[b] = max(furthest[b], (e, path.stem))
            ratio = errors[other] / errors[base] if errors[base] else (0.0 if errors[other] == 0 else float("inf"))
            worst, count = max(worst, (ratio, path.stem)), count + 1
        print(f"{name}: {count} taps; largest relative L2 error " + ", ".join(f"{b} {e:.2e} at {t}" for b, (e, t) in furthest.items())
              + f"; largest ratio {worst[0]:.2f} at {worst[1]}", flush=True)
        return count > 0 and worst[0] <= LIMIT


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vitscope")
    parser.add_argument("--only", default="ti,b")
    parser.add_argument("--backends", default="cpu,cuda")
    args = parser.parse_args()
    models = {"ti": ("vit_ti14 (demo), 224 px", demo), "b": ("random ViT-B/14, 518 px", random_b)}
    good = [compare(*models[m], args) for m in args.only.split(",")]
    raise SystemExit(0 if all(good) else "a tap of cuda is further from ref than allowed")


main()
