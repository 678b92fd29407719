"""Forward, capture and a quantized state beside PyTorch: same GPU, same weights, same images, float32 with TF32 off, in one chain:
vitscope, PyTorch, vitscope. Random weights, 518 px, ViT-S/B/L, batch 1 and 8. Prints milliseconds a batch and ratios (above 1: vitscope
is faster), and how far the normed tokens of the two are apart.

Run: PYTHON tests/bench/gpu/model_vs_torch.py BENCH_MODEL [--models S,B,L] [--batches 1,8] [--repeats 20] [--backend cuda] [--size 518]

PyTorch's forward is timed twice, with the images on the device and with their copy from the host; vitscope's has the copy in it. PyTorch's
hooks take max, median, per-token and per-channel max of every linear's output; vitscope takes every statistic of docs/study.md 5 on
input and output of every linear and on q, k, v, each image apart. PyTorch's quantized forward fake-quantizes the input of every linear
(per tensor) and q, k, v, with weights quantized before."""
import argparse, json, statistics, subprocess, tempfile, time

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
SHAPES = {"Ti": (192, 12, 3), "S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16)}
PATCH = 14


class Scale(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gamma = torch.nn.Parameter(torch.rand(c) * 0.2 + 0.1)

    def forward(self, x):
        return x * self.gamma


class Attention(torch.nn.Module):
    def __init__(self, c, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, torch.nn.Linear(c, 3 * c), torch.nn.Linear(c, c)
        self.operand = None

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if self.operand:
            q, k, v = (self.operand(o) for o in (q, k, v))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c))


class Mlp(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(c, 4 * c), torch.nn.Linear(4 * c, c)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(torch.nn.Module):
    def __init__(self, c, heads):
        super().__init__()
        self.norm1, self.attn, self.ls1 = torch.nn.LayerNorm(c, eps=1e-6), Attention(c, heads), Scale(c)
        self.norm2, self.mlp, self.ls2 = torch.nn.LayerNorm(c, eps=1e-6), Mlp(c), Scale(c)

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class ViT(torch.nn.Module):
    """timm's names, so that its state dict is a checkpoint."""

    def __init__(self, c, depth, heads, size):
        super().__init__()
        grid = size // PATCH
        self.cls_token = torch.nn.Parameter(torch.randn(1, 1, c) * 0.02)
        self.pos_embed = torch.nn.Parameter(torch.randn(1, 1 + grid * grid, c) * 0.02)
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Conv2d(3, c, PATCH, PATCH)
        self.blocks = torch.nn.ModuleList(Block(c, heads) for _ in range(depth))
        self.norm = torch.nn.LayerNorm(c, eps=1e-6)

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def milliseconds(f, repeats, device):
    times = []
    for i in range(repeats + 2):
        wait(device)
        start = time.perf_counter()
        f()
        wait(device)
        if i >= 2:
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def linears(model):
    return [m for m in model.modules() if isinstance(m, torch.nn.Linear)]


def hooked(model, run):
    """One forward whose hooks' results come to the host at the end, as vitscope's do."""
    kept = []

    def hook(_, args, y):
        a = y.abs()
        kept.extend((a.max(), a.flatten().median(), a.amax(-1), a.amax((0, 1))))

    handles = [m.register_forward_hook(hook) for m in linears(model)]

    def work():
        kept.clear()
        run()
        return [k.cpu() for k in kept]

    return work, handles


def quantize(model, run):
    """Ranges from one forward; then weights in place and inputs and operands on their grids."""
    ranges = {}

    def watch(m, args):
        ranges[m] = (min(0.0, args[0].min().item()), max(0.0, args[0].max().item()))

    handles = [m.register_forward_pre_hook(watch) for m in linears(model)]
    run()
    for h in handles:
        h.remove()
    for m in linears(model):
        s = m.weight.data.abs().amax(1, keepdim=True) / 127
        m.weight.data = torch.clamp(torch.round(m.weight.data / s), -127, 127) * s
        lo, hi = ranges[m]
        step = max((hi - lo) / 255, 1e-12)
        m.register_forward_pre_hook(
            lambda _, args, step=step, zero=round(-lo / step): (torch.fake_quantize_per_tensor_affine(args[0], step, zero, 0, 255),))
    for block in model.blocks:
        block.attn.operand = lambda o: torch.fake_quantize_per_tensor_affine(o, 4.0 / 127, 0, -127, 127)


def vitscope(args, paths, batch):
    command = [args.bench, args.backend, paths["model"], str(args.size), str(batch), str(args.repeats), paths["pixels"], paths["tokens"]]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


@torch.no_grad()
def pytorch(model, pixels, args, device):
    on_device = pixels.to(device)
    out = {"tokens": model(on_device).float().cpu().numpy()}
    run = lambda: model(on_device)
    out["forward"] = milliseconds(run, args.repeats, device)
    out["with copy"] = milliseconds(lambda: model(pixels.to(device)), args.repeats, device)
    work, handles = hooked(model, run)
    out["capture"] = milliseconds(work, args.repeats, device)
    for h in handles:
        h.remove()
    quantize(model, run)
    out["quantized"] = milliseconds(run, args.repeats, device)
    return out


def compare(name, batch, args, device, folder):
    torch.manual_seed(0)
    model = ViT(*SHAPES[name], args.size).eval()
    pixels = torch.randn(batch, 3, args.size, args.size)
    paths = {"model": f"{folder}/model.safetensors", "pixels": f"{folder}/pixels.raw", "tokens": f"{folder}/tokens.raw"}
    safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, paths["model"])
    pixels.numpy().tofile(paths["pixels"])
    before = vitscope(args, paths, batch)
    theirs = pytorch(model.to(device), pixels, args, device)
    after = vitscope(args, paths, batch)
    tokens = np.fromfile(paths["tokens"], np.float32).reshape(theirs["tokens"].shape)
    apart = np.linalg.norm(tokens.astype(np.float64) - theirs["tokens"]) / np.linalg.norm(theirs["tokens"])
    print(f"ViT-{name}/14, {args.size} px, batch {batch}: normed tokens {apart:.2e} apart (relative L2)")
    print(f"  {'ms a batch':<12} {'vitscope':>9} {'and again':>9} {'PyTorch':>9} {'ratio':>6}")
    for what in ("forward", "capture", "quantized"):
        ours = (before[what] + after[what]) / 2
        print(f"  {what:<12} {before[what]:9.2f} {after[what]:9.2f} {theirs[what]:9.2f} {theirs[what] / ours:6.2f}")
    print(f"  PyTorch's forward with the copy of the images: {theirs['with copy']:.2f}", flush=True)
    if not apart <= 1e-4:
        raise SystemExit("the two are different models")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--models", default="S,B,L")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--size", type=int, default=518)
    args = parser.parse_args()
    device = "cuda" if args.backend == "cuda" else "cpu"
    print(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name() if device == 'cuda' else 'the processor'}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models.split(","):
            for batch in args.batches.split(","):
                compare(name, int(batch), args, device, folder)


if __name__ == "__main__":
    main()
