"""Every layout against the library that defines it.

1. The tensors as loaded are the library's, bit for bit (SHA-256 of their float32 bytes).
2. Every tap of `vitscope capture --backend ref` at three sizes, one not square: 1e-9 (max|a-b| / max|a|) where the script computes the library's
   position formula in float64, 5e-6 against the untouched library, which resamples positions in float32.

Run: PYTHON tests/oracle/check_layouts.py [--full] [NAME...]   (exits 1 on a miss)
--full: S, B and L at their true size, giant with true widths and 2 blocks, at 224 px."""
import json, pathlib, subprocess, sys, tempfile, time, warnings

import numpy as np
from PIL import Image

warnings.filterwarnings("ignore")
import layouts
import oracle

EXACT, UNTOUCHED = 1e-9, 5e-6


def inspected(case, path):
    start = time.perf_counter()
    run = subprocess.run([oracle.vitscope(), "inspect", "--json", str(path)], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if run.returncode:
        print(f"{case.name:20s} {run.stderr.strip()}")
        return False
    found = json.loads(run.stdout)
    print(f"{case.name:20s} {found['layout']}, {found['arch']}, {found['parameters']} parameters, head {found['head']}, {found['positions']}; inspected in {seconds:.3f} s")
    return found["layout"] == case.layout and not found["missing"]


def same_taps(case, path, size, directory):
    directory = pathlib.Path(directory) / f"{case.name}_{size[0]}x{size[1]}"
    (directory / "images").mkdir(parents=True)
    rgb, _ = oracle.scenes(3, 1, max(size))
    image = rgb[0, : size[0], : size[1]]
    Image.fromarray(image).save(directory / "images/a.png")
    heads = "" if case.save_as == "folder" else f", heads: {case.heads}"
    (directory / "c.yaml").write_text(f"version: 1\nname: x\nmodel: {{checkpoint: {path}{heads}}}\ndata: {{analysis: {{images: {directory}/images}}}}\nanalyze: {{recipes: []}}\n")
    subprocess.run([oracle.vitscope(), "capture", str(directory / "c.yaml"), "--backend", "ref", "--out", str(directory / "out")], check=True, stdout=subprocess.DEVNULL)
    pixels = oracle.normalise(image[None])
    good = True
    for exact, limit in ((True, EXACT), (False, UNTOUCHED)):
        want = case.taps(pixels, exact)
        error, tap = oracle.worst_of(want, directory / "out")
        print(f"{case.name:20s} {size[0]}x{size[1]}: {len(want)} taps against the {'formula in float64' if exact else 'untouched library'}, worst {error:.2e} at {tap}{'' if error <= limit else '   MISS'}")
        good &= bool(error <= limit)
    subprocess.run(["rm", "-r", str(directory)], check=True)
    return good


def captured(case, path, directory, name, plant):
    """norm and what w3 of block 1 reads, with and without planting."""
    (directory / f"{name}.yaml").write_text(f"version: 1\nname: x\nmodel: {{checkpoint: {path}, heads: {case.heads}, plant: [{plant}]}}\n"
                                            "data: {calibration: {scenes: {seed: 2, count: 2, size: 224}}, analysis: {scenes: {seed: 3, count: 1, size: 224}}}\nanalyze: {recipes: []}\n")
    subprocess.run([oracle.vitscope(), "capture", str(directory / f"{name}.yaml"), "--backend", "ref", "--out", str(directory / name), "--taps", "norm,blocks.1.mlp.w3.in"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return np.load(directory / name / "norm.npy"), np.load(directory / name / "blocks.1.mlp.w3.in.npy")


def planted(case, path, directory):
    """A unit planted in SwiGLU changes nothing but float32 roundings of its weights, and is there."""
    directory = pathlib.Path(directory) / "plant"
    directory.mkdir()
    plain, before = captured(case, path, directory, "plain", "")
    good = True
    for kind in ("{kind: spike, blocks: [1], ratio: 64}", "{kind: hidden, blocks: [1], gain: 48}"):
        after, spiked = captured(case, path, directory, kind[7:10], kind)
        moved, grown = np.abs(plain - after).max() / np.abs(plain).max(), np.abs(spiked).max() / np.abs(before).max()
        print(f"{case.name:20s} planted {kind}: tokens moved by {moved:.1e}, largest input of w3 grew {grown:.3g} times")
        good &= bool(moved <= 1e-6) and bool(grown >= 10)
    return good


def check(case, directory, full):
    path = case.save(directory)
    good = inspected(case, path)
    good &= oracle.same_tensors(case, path)
    p = case.patch
    g = 224 // p
    for size in ((224, 224),) if full else ((224, 224), ((g + 4) * p, (g + 4) * p), (g * p, (g + 6) * p)):
        good &= same_taps(case, path, size, directory)
    if case.name == "timm_swiglu":
        good &= planted(case, path, directory)
    return good


def main():
    full = "--full" in sys.argv
    names = [a for a in sys.argv[1:] if not a.startswith("--")]
    good = True
    for make in layouts.cases(full):
        case = make()
        if names and case.name not in names:
            continue
        with tempfile.TemporaryDirectory() as d:
            good &= check(case, d, full)
    print("all agree" if good else "MISSES, see above")
    sys.exit(0 if good else 1)


main()
