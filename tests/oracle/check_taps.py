"""Every tap of `vitscope capture --backend ref` against timm in float64: max|a-b| / max|a| must be at most 1e-9.

Run: PYTHON tests/oracle/check_taps.py   (exits 1 on a miss; prints the worst tap of each case)"""
import pathlib, subprocess, sys, tempfile

import numpy as np

import oracle


def check(name, checkpoint, size, heads, backend, limit, directory):
    model, head = oracle.load(checkpoint, heads=heads)
    rgb, _ = oracle.scenes(3, 1, max(size))
    want = oracle.taps(model, head, oracle.normalise(rgb[:, : size[0], : size[1]]).double())
    images = pathlib.Path(directory) / f"{name}_images"
    images.mkdir(exist_ok=True)
    from PIL import Image
    Image.fromarray(rgb[0, : size[0], : size[1]]).save(images / "a.png")
    config = pathlib.Path(directory) / f"{name}.yaml"
    config.write_text(f"version: 1\nname: {name}\nmodel: {{checkpoint: {checkpoint}, heads: {heads}}}\ndata: {{analysis: {{images: {images}}}}}\nanalyze: {{recipes: []}}\n")
    out = pathlib.Path(directory) / f"{name}_{backend}"
    subprocess.run([oracle.vitscope(), "capture", str(config), "--backend", backend, "--out", str(out)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    worst = ("", 0.0)
    for tap, a in want.items():
        b = np.load(out / f"{tap}.npy")[0].reshape(a.shape)
        error = np.abs(a - b).max() / np.abs(a).max()
        error = np.inf if np.isnan(error) else error
        if error > worst[1]:
            worst = (tap, error)
    print(f"{name:28s} {backend:4s} {len(want)} taps, worst {worst[1]:.2e} at {worst[0]}")
    return worst[1] <= limit


def main():
    oracle.exact_positions()
    good = True
    with tempfile.TemporaryDirectory() as d:
        oracle.random_vit(f"{d}/plain.safetensors", width=192, depth=12, heads=3, patch=16, grid=14, classes=100)
        oracle.random_vit(f"{d}/scaled.safetensors", width=192, depth=4, heads=3, patch=14, grid=16, classes=0, layer_scale=True)
        demo = str(oracle.ROOT / "data/vit_ti14_scenes.safetensors")
        for case in (("vit_ti14", demo, (224, 224), 3), ("vit_ti14_280x224", demo, (280, 224), 3), ("timm_vit_random", f"{d}/plain.safetensors", (224, 224), 3),
                     ("timm_vit_random_224x320", f"{d}/plain.safetensors", (224, 320), 3), ("timm_dinov2_random_378", f"{d}/scaled.safetensors", (378, 378), 3)):
            good &= check(*case, "ref", 1e-9, d)
            good &= check(*case, "cpu", 1e-4, d)
    sys.exit(0 if good else 1)


main()
