"""Forward, forward with statistics, and memory, beside PyTorch and its hooks and against the bars of the project.

Run: PYTHON tests/bench/forward_vs_torch.py VITSCOPE [--threads N] [--models vitti14,vits14,vitb14] [--study]

Same machine, one after the other: vitscope (`bench --only forward`, random weights), PyTorch, vitscope. PyTorch's hooks take max, median,
per-token and per-channel max of every linear's output; vitscope takes every statistic of docs/study.md 5 on input and output of every
layer. Bars: forward at least 0.9 times as fast as PyTorch's better of one batch and one image at a time; statistics at most +30 %; peak
memory at most weights x (1 + recipes held) + per thread 4 [T (10 C + 3 F + L C) + heads T^2] bytes + 200 MB.
--study instead writes a checkpoint of true size and runs a whole study of it with recipes ptq and sq: its stages, and its memory
against the same bar."""
import argparse, json, pathlib, statistics, subprocess, sys, tempfile, time

import safetensors.torch
import timm
import torch

#          geometry   size images
MODELS = {"vitti14": (224, 16), "vits14": (518, 4), "vitb14": (518, 4)}
BAR_FORWARD, BAR_STATISTICS = 0.9, 30


def make(name):
    size = MODELS[name][0]
    torch.manual_seed(0)
    if name == "vitti14":
        return timm.models.vision_transformer.VisionTransformer(img_size=size, patch_size=14, embed_dim=192, depth=12, num_heads=3, num_classes=0, init_values=1.0).eval()
    return timm.create_model({"vits14": "vit_small_patch14_dinov2", "vitb14": "vit_base_patch14_dinov2"}[name], pretrained=False, img_size=size, init_values=1.0).eval()


def seconds(f, repeats):
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def vitscope(program, name, size, images, threads):
    out = subprocess.run([program, "bench", name, "--size", str(size), "--images", str(images), "--threads", str(threads), "--only", "forward", "--json"],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out)


@torch.no_grad()
def pytorch(model, size, images):
    """Seconds an image: forward as one batch, one at a time, as one batch with hooks."""
    x = torch.randn(images, 3, size, size)

    def hook(_, args, y):
        a = y.abs()
        a.max(), a.median(), a.amax(-1), a.amax((0, 1))

    batch = seconds(lambda: model(x), 3) / images
    single = seconds(lambda: [model(x[i:i + 1]) for i in range(images)], 3) / images
    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, torch.nn.Linear)]
    hooked = seconds(lambda: model(x), 3) / images
    for h in handles:
        h.remove()
    return batch, single, hooked


def verdict(good):
    return "ok" if good else "MISSED"


def megabytes(n):
    return f"{n / 1e6:.0f} MB"


def compare(program, name, threads):
    size, images = MODELS[name]
    before = vitscope(program, name, size, images, threads)
    batch, single, hooks = pytorch(make(name), size, images)
    after = vitscope(program, name, size, images, threads)
    runs = [r["seconds_an_image"] for r in (before, after)]
    ours, ours_stats = (sum(r[k] for r in runs) / 2 for k in ("forward", "with statistics"))
    ratio, overhead, peak, bound = min(batch, single) / ours, 100 * (ours_stats / ours - 1), max(before["peak_bytes"], after["peak_bytes"]), after["bound_bytes"]
    good = [ratio >= BAR_FORWARD, overhead <= BAR_STATISTICS, peak <= bound]
    print(f"{name}, {size} px: ms an image, {threads} threads, {images} images\n"
          f"  PyTorch {torch.__version__} forward {1e3 * batch:.1f} (one at a time {1e3 * single:.1f}), with hooks {1e3 * hooks:.1f} (+{100 * (hooks / batch - 1):.0f} %)\n"
          f"  vitscope forward {1e3 * ours:.1f} ({1e3 * runs[0]['forward']:.1f} before PyTorch, {1e3 * runs[1]['forward']:.1f} after) = {ratio:.2f}x PyTorch's better "
          f"(bar {BAR_FORWARD}: {verdict(good[0])})\n"
          f"  with statistics {1e3 * ours_stats:.1f} (+{overhead:.0f} %; bar +{BAR_STATISTICS} %: {verdict(good[1])})\n"
          f"  peak memory {megabytes(peak)} (bound {megabytes(bound)}: {verdict(good[2])})", flush=True)
    return all(good)


def bound_of(model, size, threads, recipes):
    c, l, heads, f = model.embed_dim, len(model.blocks), model.blocks[0].attn.num_heads, model.blocks[0].mlp.fc1.out_features
    t = (size // 14) ** 2 + model.num_prefix_tokens
    weights = 4 * sum(p.numel() for p in model.parameters())
    thread = 4 * (t * (10 * c + 3 * f + l * c) + heads * t * t)
    print(f"  bound: weights {megabytes(weights)} x {1 + recipes} + {threads} threads x {megabytes(thread)} + 200 MB")
    return weights * (1 + recipes) + threads * thread + 200e6


def study(program, name, threads):
    size, images = MODELS[name]
    model = make(name)
    with tempfile.TemporaryDirectory() as d:
        safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, f"{d}/m.safetensors")
        pathlib.Path(f"{d}/study.yaml").write_text(f"version: 1\nname: study\nmodel: {{checkpoint: m.safetensors}}\n"
                                                   f"data:\n  calibration: {{scenes: {{seed: 2, count: {images}, size: {size}}}}}\n  analysis: {{scenes: {{seed: 3, count: {images}, size: {size}}}}}\n"
                                                   f"states: [fp32, sq, ptq]\nanalyze: {{recipes: [ptq, sq]}}\n")
        subprocess.run([program, "run", f"{d}/study.yaml", "--out", f"{d}/out", "--threads", str(threads)], check=True, stdout=subprocess.DEVNULL)
        run = json.loads(pathlib.Path(f"{d}/out/study/run.json").read_text())
    print(f"{name}, {size} px: a study with recipes ptq and sq, {images} calibration and {images} analysis images, {threads} threads\n"
          f"  seconds: {', '.join(f'{k} {v:.1f}' for k, v in run['seconds'].items())}")
    bound = bound_of(model, size, threads, 2)
    good = run["peak_bytes"] <= bound
    print(f"  peak memory {megabytes(run['peak_bytes'])} (bound {megabytes(bound)}: {verdict(good)})", flush=True)
    return good


def main():
    p = argparse.ArgumentParser()
    p.add_argument("vitscope")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--models", default=",".join(MODELS))
    p.add_argument("--study", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    sys.exit(not all([(study if a.study else compare)(a.vitscope, name, a.threads) for name in a.models.split(",")]))


main()
