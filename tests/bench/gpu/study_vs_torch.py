"""The output sweep of one mode and the local study beside PyTorch with hooks: same GPU, same weights, same images, float32 with TF32
off, in one chain: vitscope, PyTorch, vitscope. Prints seconds and ratios (above 1: vitscope is faster) and how far the decibels are apart.

Run: PYTHON tests/bench/gpu/study_vs_torch.py VITSCOPE [--models B] [--images 16] [--batch 8] [--backend cuda] [--size 518] [--parts sweep,study]

Timed are the stages `output` and `analysis` of vitscope (decoding the images included) and the loops in PyTorch with the images already on
the device; both have calibrated before. The sweep: ptq, mode activation, every linear alone, output compared; PyTorch runs the whole model
for every layer. The study: states fp32, ptq, sq with statistics of input and output of every linear and of q, k, v; recipes ptq and sq with
local weight, activation, both, input_tensor of every linear and of q, k, v (also behind proj). PyTorch's statistics are fewer than
those of docs/study.md 5: max and its place, median, mean, share below step/2, energy of every channel; no percentiles, and `zeroed` by a batch's own
maximum, which saves it the second pass."""
import argparse, json, math, pathlib, subprocess, tempfile, time

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image

from model_vs_torch import SHAPES, ViT, wait

KINDS = {"attn.qkv": lambda b: b.attn.qkv, "attn.proj": lambda b: b.attn.proj, "mlp.fc1": lambda b: b.mlp.fc1, "mlp.fc2": lambda b: b.mlp.fc2}
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
LIMIT_LOCAL, LIMIT_OUTPUT = 0.02, 0.1


# ---------------------------------------------------------------- images

def write_images(folder, count, size, seed):
    """Smooth colour fields with some noise: not constant, no two alike."""
    g = np.random.default_rng(seed)
    folder.mkdir()
    paths = []
    for i in range(count):
        coarse = g.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((size, size), Image.BILINEAR), np.int16) + g.integers(-12, 13, (size, size, 3))
        paths.append(folder / f"{i:04d}.png")
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def pixels_of(paths):
    x = np.stack([np.asarray(Image.open(p), np.float32) for p in paths])
    return torch.from_numpy((x - np.float32(MEAN)) / np.float32(STD)).permute(0, 3, 1, 2).contiguous()


# ---------------------------------------------------------------- docs/study.md 3

def grid_of(lo, hi):
    lo, hi = min(0.0, lo), max(0.0, hi)
    s = float(np.float32((hi - lo) / 255)) or 1.0
    return s, min(max(round(-lo / s), 0), 255)


def on_grid(x, grid):
    return torch.fake_quantize_per_tensor_affine(x, grid[0], grid[1], 0, 255)


def weight_codes(w):
    s = (w.abs().amax(1).double() / 127).float()
    return torch.fake_quantize_per_channel_affine(w, s, torch.zeros_like(s, dtype=torch.int32), 0, -127, 127)


class Study:
    def __init__(self, model):
        self.model = model
        self.names = {f"blocks.{b}.{k}": of(block) for b, block in enumerate(model.blocks) for k, of in KINDS.items()}
        self.lo, self.hi, self.operands = {}, {}, {}

    def hooks(self, make):
        return [m.register_forward_hook(make(n)) for n, m in self.names.items()]

    @staticmethod
    def remove(handles):
        for h in handles:
            h.remove()

    # ------------------------------------------------------------ ranges

    def calibrate(self, batches):
        def make(name):
            def look(_, args, y):
                a, b = args[0].amin((0, 1)), args[0].amax((0, 1))
                self.lo[name], self.hi[name] = (torch.minimum(self.lo[name], a), torch.maximum(self.hi[name], b)) if name in self.lo else (a, b)
                if name.endswith("qkv"):
                    top = y.abs().amax((0, 1))
                    self.operands[name] = torch.maximum(self.operands[name], top) if name in self.operands else top
            return look
        handles = self.hooks(make)
        for x in batches:
            self.model(x)
        self.remove(handles)
        self.recipes = {"ptq": {}, "sq": {}}
        for name, m in self.names.items():
            peak, w = torch.maximum(self.lo[name].abs(), self.hi[name].abs()), m.weight
            s = (peak.double().clamp_min(1e-5).sqrt() / w.double().abs().amax(0).clamp_min(1e-5).sqrt()).clamp_min(1e-5).float()
            for recipe, factor in (("ptq", None), ("sq", s)):
                ranges = [r if factor is None else r / factor for r in (self.lo[name], self.hi[name])]
                weight = w if factor is None else w * factor
                self.recipes[recipe][name] = {"s": factor, "grid": grid_of(ranges[0].min().item(), ranges[1].max().item()),
                                              "w": weight, "wq": weight_codes(weight)}
        for name, top in self.operands.items():
            heads = self.model.blocks[0].attn.heads
            q, k, v = top.chunk(3)
            self.operands[name] = [q.max().expand(heads), k.max().expand(heads), v.reshape(heads, -1).amax(1)]
            self.operands[name] = [(x.double() / 127).float().contiguous() for x in self.operands[name]]

    def operand(self, block, which, x):
        """x [B, heads, T, D]"""
        s = self.operands[f"blocks.{block}.attn.qkv"][which]
        return torch.fake_quantize_per_channel_affine(x, s, torch.zeros_like(s, dtype=torch.int32), 1, -127, 127)

    # ------------------------------------------------------------ one image set through the model

    @staticmethod
    def statistics(x, kept):
        a = x.abs()
        top = a.max()
        kept.append((top, a.argmax(), a.flatten().median(), a.mean(), (a < top / 254).sum(), x.pow(2).sum((0, 1), dtype=torch.float64)))

    @staticmethod
    def sums(x, y):
        return (x.pow(2).sum((1, 2), dtype=torch.float64), (x - y).pow(2).sum((1, 2), dtype=torch.float64))

    def split(self, y):
        b, t, c3 = y.shape
        heads = self.model.blocks[0].attn.heads
        return y.reshape(b, t, 3, heads, c3 // 3 // heads).permute(2, 0, 3, 1, 4)

    @staticmethod
    def attend(q, k, v):
        b, h, t, d = q.shape
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, h * d)

    def float_pass(self, x, out):
        kept, floats = [], {}

        def make(name):
            m, bias = self.names[name], self.names[name].bias
            def look(_, args, y):
                z = args[0]
                floats[name] = y
                self.statistics(z, kept)
                self.statistics(y, kept)
                for recipe, table in self.recipes.items():
                    r = table[name]
                    zs = z if r["s"] is None else z / r["s"]
                    zq = on_grid(zs, r["grid"])
                    key = (name, recipe)
                    out.setdefault(key + ("input_tensor",), []).append(self.sums(zs, zq))
                    for mode, a, w in (("weight", zs, r["wq"]), ("activation", zq, r["w"]), ("both", zq, r["wq"])):
                        out.setdefault(key + (mode,), []).append(self.sums(y, F.linear(a, w, bias)))
                if name.endswith("qkv"):
                    block = int(name.split(".")[1])
                    qkv = self.split(y)
                    attended, proj = self.attend(*qkv), self.model.blocks[block].attn.proj
                    projected = F.linear(attended, proj.weight, proj.bias)
                    for which in range(3):
                        changed = list(qkv)
                        changed[which] = self.operand(block, which, qkv[which])
                        self.statistics(qkv[which].transpose(1, 2).flatten(2), kept)
                        got = self.attend(*changed)
                        out.setdefault((name[:-3] + "qkv"[which], "ptq", "activation"), []).append(self.sums(attended, got))
                        out.setdefault((name[:-3] + "qkv"[which], "ptq", "proj"), []).append(self.sums(projected, F.linear(got, proj.weight, proj.bias)))
            return look
        handles = self.hooks(make)
        output = self.model(x)
        self.remove(handles)
        return output, floats, kept

    def state_pass(self, x, recipe, floats, reference, out):
        table, kept = self.recipes[recipe], []

        def before(name):
            r = table[name]
            def change(_, args):
                z = args[0] if r["s"] is None else args[0] / r["s"]
                self.statistics(z, kept)
                zq = on_grid(z, r["grid"])
                kept.append(((zq == 0).sum(), (z > r["grid"][0] * (255 - r["grid"][1])).sum()))
                return (zq,)
            return change

        def after(name):
            def look(_, args, y):
                self.statistics(y, kept)
                out.setdefault((name, recipe, "cumulative"), []).append(self.sums(floats[name], y))
            return look
        handles = [m.register_forward_pre_hook(before(n)) for n, m in self.names.items()] + self.hooks(after)
        for n, m in self.names.items():
            m.own, m.weight = m.weight, torch.nn.Parameter(table[n]["wq"], requires_grad=False)
        for b, block in enumerate(self.model.blocks):
            turn = iter(range(3))
            def quantize(o, b=b, count=[0]):
                which = count[0] % 3
                count[0] += 1
                z = self.operand(b, which, o)
                self.statistics(o, kept)
                self.statistics(z, kept)
                return z
            block.attn.operand = quantize
        y = self.model(x)
        for n, m in self.names.items():
            m.weight = m.own
        for block in self.model.blocks:
            block.attn.operand = None
        self.remove(handles)
        out.setdefault(("output", recipe), []).append(self.sums(reference, y))
        return kept

    def study(self, batches):
        out, kept = {}, []
        for x in batches:
            reference, floats, k = self.float_pass(x, out)
            kept.append(k)
            for recipe in self.recipes:
                kept.append(self.state_pass(x, recipe, floats, reference, out))
        [[[v.cpu() for v in row] for row in k] for k in kept]
        return decibels(out)

    def sweep(self, batches):
        out = {}
        for x in batches:
            reference = self.model(x)
            for name, m in self.names.items():
                grid = self.recipes["ptq"][name]["grid"]
                h = m.register_forward_pre_hook(lambda _, args, grid=grid: (on_grid(args[0], grid),))
                out.setdefault((name, "ptq", "output"), []).append(self.sums(reference, self.model(x)))
                h.remove()
        return decibels(out)


def decibels(out):
    db = {}
    for key, parts in out.items():
        signal, noise = (float(torch.cat([p[i] for p in parts]).sum()) for i in (0, 1))
        db[key] = 10 * math.log10(signal / noise) if noise else math.inf
    return db


# ---------------------------------------------------------------- vitscope

def config_of(part, folder):
    linears = '"blocks.*.{attn.qkv,attn.proj,mlp.fc1,mlp.fc2}"'
    return f"""version: 1
name: {part}
model: {{checkpoint: {folder}/model.safetensors}}
data:
  calibration: {{images: {folder}/calibration}}
  analysis: {{images: {folder}/analysis}}
  preprocess: {{resize: none, crop: none}}
""" + ("""states: [fp32, ptq, sq]
analyze: {recipes: [ptq, sq], output: false, cumulative: true}
""" if part == "study" else f"""states: [fp32]
analyze: {{recipes: [ptq], modes: [activation], output: true, cumulative: false, layers: [{linears}]}}
""")


def vitscope(args, part, folder):
    config = folder / f"{part}.yaml"
    config.write_text(config_of(part, folder))
    command = [args.vitscope, "run", str(config), "--backend", args.backend, "--out", str(folder / "out"), *args.extra.split()]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    run = json.loads((folder / "out" / part / "run.json").read_text())
    results = json.loads((folder / "out" / part / "results.json").read_text())
    return run, {row["layer"]: row["sqnr"] for row in results["layers"]}


def furthest(theirs, rows):
    """(local, output): largest difference in dB over what both have."""
    worst = {"local": 0.0, "output": 0.0}
    for key, db in theirs.items():
        if len(key) != 3 or key[2] in ("proj", "cumulative"):
            continue
        group = "output" if key[2] == "output" else "local"
        mine = rows[key[0]][key[1]][group]["activation" if group == "output" else key[2]]
        worst[group] = max(worst[group], abs(float(mine) - db))
    return worst


def timed(f, device):
    wait(device)
    start = time.perf_counter()
    result = f()
    wait(device)
    return time.perf_counter() - start, result


@torch.no_grad()
def compare(name, args, device):
    torch.manual_seed(0)
    model = ViT(*SHAPES[name], args.size).eval()
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
        calibration = pixels_of(write_images(folder / "calibration", args.batch, args.size, 1)).to(device).split(args.batch)
        batches = pixels_of(write_images(folder / "analysis", args.images, args.size, 2)).to(device).split(args.batch)
        study = Study(model.to(device))
        study.calibrate(calibration)
        parts = args.parts.split(",")
        before = {p: vitscope(args, p, folder) for p in parts}
        for part in parts:
            work = study.study if part == "study" else study.sweep
            if part == "study":
                work(batches)  # warm
            theirs, db = timed(lambda: work(batches), device)
            stage = "analysis" if part == "study" else "output"
            after = vitscope(args, part, folder)
            ours = [run["seconds"][stage] for run, _ in (before[part], after)]
            print(f"ViT-{name}/14, {args.size} px, {args.images} images, {part}: vitscope {ours[0]:.3f} s and again {ours[1]:.3f} s, "
                  f"PyTorch in batches of {args.batch} {theirs:.3f} s, ratio {theirs / (sum(ours) / 2):.2f}")
            worst = furthest(db, after[1])
            memory = after[0].get("device_peak_bytes")
            print(f"  decibels apart: local {worst['local']:.4f}, output {worst['output']:.4f}"
                  + (f"; device memory of vitscope at its peak {memory / 2**30:.2f} GiB" if memory else ""), flush=True)
            if not (worst["local"] <= LIMIT_LOCAL and worst["output"] <= LIMIT_OUTPUT):
                raise SystemExit("the two measure different things")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vitscope")
    parser.add_argument("--models", default="B")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--size", type=int, default=518)
    parser.add_argument("--parts", default="sweep,study")
    parser.add_argument("--extra", default="", help="more arguments for vitscope run")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device = "cuda" if args.backend == "cuda" else "cpu"
    print(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name() if device == 'cuda' else 'the processor'}", flush=True)
    for name in args.models.split(","):
        compare(name, args, device)


if __name__ == "__main__":
    main()
