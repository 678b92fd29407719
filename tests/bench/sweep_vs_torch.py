"""The sweep of ViT-Ti/14 (84 rows, 3 modes, 2 recipes, 4 images): vitscope's stage `output` against the plain loop in PyTorch.

Run: PYTHON tests/bench/sweep_vs_torch.py VITSCOPE [--threads N] [--calibration N] [--rows GLOB] [--save FILE | --torch FILE]

The plain loop is what a person writes: for each recipe, row and mode put the quantized weight in place and a hook that quantizes the
input (q, k, v: their columns of qkv's output), run the whole model on the four images as one batch, compare the logits. Only the loop is
timed, as only the stage is; both have calibrated before. Same machine: vitscope, PyTorch, vitscope. The values are compared, too (docs/study.md 4:
output values agree between arithmetics to 0.1 dB). --save keeps the loop's time and values, --torch takes them from there instead of running it.
Bar: at least 1.7 times faster."""
import argparse, fnmatch, json, math, pathlib, subprocess, sys, tempfile, time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))
import oracle

CHECKPOINT, IMAGES, BAR, LIMIT = oracle.ROOT / "data/vit_ti14_scenes.safetensors", 4, 1.7, 0.1
LINEARS, OPERANDS, MODES = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"), ("attn.q", "attn.k", "attn.v"), ("weight", "activation", "both")


# ---------------------------------------------------------------- docs/study.md 3, in float32

def symmetric(x, peak):
    s = (peak.double() / 127).float()
    return torch.clamp(torch.round(x / s), -127, 127) * s


def asymmetric(x, lo, hi):
    lo, hi = min(0.0, lo), max(0.0, hi)
    s = torch.tensor((hi - lo) / 255, dtype=torch.float32)
    z = min(max(round(-lo / s.item()), 0), 255)
    return (torch.clamp(torch.round(x / s) + z, 0, 255) - z) * s


def quantized_weight(w):
    return symmetric(w, w.abs().amax(1, keepdim=True))


def smooth_factors(w, peak):
    a, b = peak.double().clamp_min(1e-5), w.double().abs().amax(0).clamp_min(1e-5)
    return (a.sqrt() / b.sqrt()).clamp_min(1e-5).float()


# ---------------------------------------------------------------- model

class Model:
    def __init__(self):
        self.body, (_, self.bn, self.conv) = oracle.load(CHECKPOINT, torch.float32)
        self.width, self.heads = self.body.embed_dim, self.body.blocks[0].attn.num_heads
        self.linears = {f"blocks.{b}.{k}": block.get_submodule(k) for b, block in enumerate(self.body.blocks) for k in LINEARS}

    def logits(self, pixels):
        z = self.body.forward_features(pixels)[:, 1:]
        n = round(z.shape[1] ** 0.5)
        return self.conv(self.bn(z.transpose(1, 2).reshape(len(z), -1, n, n)))

    def rows(self):
        return [f"blocks.{b}.{k}" for b in range(len(self.body.blocks)) for k in ("attn.qkv", *OPERANDS, "attn.proj", "mlp.fc1", "mlp.fc2")]


def calibrate(model, pixels):
    """Per channel smallest and largest value of every linear's input, and of qkv's output (the operands)."""
    lo, hi = {}, {}

    def widen(name, x):
        a, b = x.amin((0, 1)), x.amax((0, 1))
        lo[name], hi[name] = (torch.minimum(lo[name], a), torch.maximum(hi[name], b)) if name in lo else (a, b)

    def hook(name):
        def look(_, args, y):
            widen(name, args[0])
            if name.endswith("qkv"):
                widen(name + ".out", y)
        return look

    handles = [m.register_forward_hook(hook(n)) for n, m in model.linears.items()]
    for p in pixels.split(8):
        model.logits(p)
    for h in handles:
        h.remove()
    return {n: (lo[n], hi[n]) for n in lo}


# ---------------------------------------------------------------- the loop

def sqnr(x, y):
    signal, noise = (x.double() ** 2).sum().item(), ((x.double() - y.double()) ** 2).sum().item()
    return 10 * math.log10(signal / noise) if noise else math.inf


def sweep_linear(model, name, ranges, recipe, pixels, reference):
    module, (lo, hi) = model.linears[name], ranges[name]
    original, s = module.weight.data, None
    weight = original
    if recipe == "sq":
        s = smooth_factors(original, torch.maximum(lo.abs(), hi.abs()))
        lo, hi, weight = lo / s, hi / s, original * s
    low, high, quantized = lo.min().item(), hi.max().item(), quantized_weight(weight)

    def prepare(quantize):
        def hook(_, args):
            x = args[0] / s if s is not None else args[0]
            return asymmetric(x, low, high) if quantize else x
        return hook

    out = {}
    for mode in MODES:
        module.weight.data = weight if mode == "activation" else quantized
        handle = module.register_forward_pre_hook(prepare(mode != "weight"))
        out[mode] = sqnr(reference, model.logits(pixels))
        handle.remove()
    module.weight.data = original
    return out


def sweep_operand(model, name, ranges, pixels, reference):
    block, kind = name.rsplit(".", 1)
    at = "qkv".index(kind) * model.width
    columns = slice(at, at + model.width)
    lo, hi = (r[columns] for r in ranges[block + ".qkv.out"])
    peak = torch.maximum(lo.abs(), hi.abs())
    d = model.width // model.heads
    peak = peak.reshape(model.heads, d).amax(1).repeat_interleave(d) if kind == "v" else peak.max()

    def hook(_, args, y):
        y = y.clone()
        y[..., columns] = symmetric(y[..., columns], peak)
        return y

    handle = model.linears[block + ".qkv"].register_forward_hook(hook)
    db = sqnr(reference, model.logits(pixels))
    handle.remove()
    return {"weight": None, "activation": db, "both": db}


@torch.no_grad()
def plain_loop(calibration, rows):
    """Seconds, and recipe -> row -> mode -> dB."""
    model = Model()
    ranges = calibrate(model, oracle.normalise(oracle.scenes(2, calibration)[0]))
    pixels = oracle.normalise(oracle.scenes(3, IMAGES)[0])
    model.logits(pixels)  # warm
    start = time.perf_counter()
    reference = model.logits(pixels)
    out = {r: {} for r in ("ptq", "sq")}
    for recipe in out:
        for name in fnmatch.filter(model.rows(), rows):
            if name in model.linears:
                out[recipe][name] = sweep_linear(model, name, ranges, recipe, pixels, reference)
            else:
                out[recipe][name] = sweep_operand(model, name, ranges, pixels, reference)
    return time.perf_counter() - start, out


# ---------------------------------------------------------------- ours

def ours(program, threads, calibration, rows):
    """Seconds of the stage (None: it is not built), and recipe -> row -> mode -> dB."""
    with tempfile.TemporaryDirectory() as d:
        pathlib.Path(f"{d}/sweep.yaml").write_text(
            f"version: 1\nname: sweep\nmodel: {{checkpoint: {CHECKPOINT}}}\n"
            f"data:\n  calibration: {{scenes: {{seed: 2, count: {calibration}, size: 224}}}}\n  analysis: {{scenes: {{seed: 3, count: {IMAGES}, size: 224}}}}\n"
            f"states: [fp32, ptq, sq]\nanalyze: {{recipes: [ptq, sq], output: true, layers: '{rows}'}}\n")
        subprocess.run([program, "run", f"{d}/sweep.yaml", "--out", d, "--threads", str(threads)], check=True, stdout=subprocess.DEVNULL)
        seconds = json.loads(pathlib.Path(f"{d}/sweep/run.json").read_text())["seconds"]
        results = json.loads(pathlib.Path(f"{d}/sweep/results.json").read_text())
    return seconds.get("output"), {r: {l["layer"]: l["sqnr"][r]["output"] for l in results["layers"]} for r in ("ptq", "sq")}


def compare(theirs, got):
    """Worst difference in dB and its place; values missing on our side."""
    worst, missing = (0.0, "nowhere"), 0
    for recipe, rows in theirs.items():
        for layer, modes in rows.items():
            for mode, want in modes.items():
                have = got[recipe][layer][mode]
                have = math.inf if have == "inf" else have
                if have is None or want is None:
                    missing += have is not want
                    continue
                d = 0.0 if have == want else abs(have - want)
                if not d <= worst[0]:
                    worst = (d, f"{recipe} {layer} {mode}: PyTorch {want:.3f}, vitscope {have:.3f}")
    return worst, missing


def main():
    p = argparse.ArgumentParser()
    p.add_argument("vitscope")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--calibration", type=int, default=64)
    p.add_argument("--rows", default="*")
    p.add_argument("--save")
    p.add_argument("--torch")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    before, values = ours(a.vitscope, a.threads, a.calibration, a.rows)
    seconds, loop = json.loads(pathlib.Path(a.torch).read_text()) if a.torch else plain_loop(a.calibration, a.rows)
    if a.save:
        pathlib.Path(a.save).write_text(json.dumps([seconds, loop]))
    rows = len(loop["ptq"])
    forwards = sum(v is not None for r in loop.values() for m in r.values() for v in m.values())
    print(f"sweep of {rows} rows, {len(MODES)} modes, {len(loop)} recipes, {IMAGES} images, {a.threads} threads: PyTorch {torch.__version__} plain loop {seconds:.1f} s")
    if before is None:
        raise SystemExit("this vitscope has no stage 'output' yet")
    after, _ = ours(a.vitscope, a.threads, a.calibration, a.rows)
    mean = (before + after) / 2
    worst, missing = compare(loop, values)
    print(f"  vitscope {mean:.1f} s ({before:.1f} before PyTorch, {after:.1f} after) = {seconds / mean:.2f}x (bar {BAR}: {'ok' if seconds / mean >= BAR else 'MISSED'})\n"
          f"  {forwards} values, {missing} missing, worst difference {worst[0]:.3g} dB (limit {LIMIT}): {worst[1]}")
    sys.exit(not (seconds / mean >= BAR and worst[0] <= LIMIT and missing == 0))


main()
