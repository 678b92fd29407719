"""Forward, and forward with statistics, beside PyTorch and its hooks: same machine, one after the other: vitscope, PyTorch, vitscope (both passes printed).

PyTorch's hooks take max, median, per-token and per-channel max of every linear's output; vitscope takes every statistic of
study.md section 5 on input and output of every layer. Run: PYTHON tests/bench/forward_vs_torch.py BENCH_FORWARD [THREADS]"""
import statistics, subprocess, sys, tempfile, time

import safetensors.torch
import timm
import torch

bench, threads = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2
torch.set_num_threads(threads)


def seconds(f, repeats=5):
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def vitscope(path, size, images):
    """Seconds an image: forward, forward with statistics."""
    out = subprocess.run([bench, path, str(size), str(images), str(threads)], check=True, capture_output=True, text=True).stdout.split()
    return float(out[1]), float(out[3])


def pytorch(model, size, images):
    """Seconds an image: forward as one batch, one at a time, as one batch with hooks."""
    x = torch.randn(images, 3, size, size)

    def hook(_, args, y):
        a = y.abs()
        a.max(), a.median(), a.amax(-1), a.amax((0, 1))

    batch = seconds(lambda: model(x)) / images
    single = seconds(lambda: [model(x[i:i + 1]) for i in range(images)]) / images
    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, torch.nn.Linear)]
    hooked = seconds(lambda: model(x), 3) / images
    for h in handles:
        h.remove()
    return batch, single, hooked


@torch.no_grad()
def run(name, model, size, images):
    with tempfile.TemporaryDirectory() as d:
        safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, f"{d}/m.safetensors")
        before = vitscope(f"{d}/m.safetensors", size, images)
        torch_forward, single, torch_hooks = pytorch(model, size, images)
        after = vitscope(f"{d}/m.safetensors", size, images)
    ours, ours_stats = ((x + y) / 2 for x, y in zip(before, after))
    best = min(torch_forward, single)
    print(f"{name}: ms an image, {threads} threads, {images} images\n"
          f"  PyTorch {torch.__version__} forward {1e3 * torch_forward:.1f} (one at a time {1e3 * single:.1f}), with hooks {1e3 * torch_hooks:.1f} (+{100 * (torch_hooks / torch_forward - 1):.0f} %)\n"
          f"  vitscope forward {1e3 * ours:.1f} ({1e3 * before[0]:.1f} before PyTorch, {1e3 * after[0]:.1f} after) = {best / ours:.2f}x PyTorch's better; with statistics {1e3 * ours_stats:.1f} (+{100 * (ours_stats / ours - 1):.0f} %)", flush=True)


torch.manual_seed(0)
run("ViT-Ti/14, 224 px", timm.models.vision_transformer.VisionTransformer(img_size=224, patch_size=14, embed_dim=192, depth=12, num_heads=3, num_classes=0, init_values=1.0).eval(), 224, 16)
run("ViT-S/14, 518 px", timm.create_model("vit_small_patch14_dinov2", pretrained=False, img_size=518).eval(), 518, 4)
