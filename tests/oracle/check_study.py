"""An independent implementation of the study in PyTorch (fake quantization, float64) held against `vitscope run`.

Columns: local.*, weight_tensor, input_tensor, cumulative, output_sqnr, maxima, medians, mIoU, planted units.
Run: PYTHON tests/oracle/check_study.py   (prints the worst difference of each column; exits 1 outside the bounds below)"""
import json, math, subprocess, sys, tempfile

import numpy as np
import torch

import oracle

CALIBRATION, ANALYSIS, EVALUATION = 4, 1, 1
# backend ref and this script both compute in float64: they differ where a code sits on a tie, which is rare
BOUNDS = {"local": 1e-3, "tensor": 1e-6, "cumulative": 0.01, "output": 0.01, "max": 1e-8, "median": 0.005, "mean": 1e-8, "miou": 0.01}
LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def grid_asym(lo, hi):
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    s = float(np.float32((hi - lo) / 255)) or 1.0
    return s, min(max(round_half_even(-lo / s), 0), 255)


def round_half_even(x):
    return float(np.rint(x))


def fq_asym(x, g):
    s, z = g
    return (torch.clamp(torch.round(x / s) + z, 0, 255) - z) * s


def fq_sym(x, m):
    s = float(np.float32(m / 127)) or 1.0
    return torch.clamp(torch.round(x / s), -127, 127) * s


def fq_rows(w):
    s = (w.abs().amax(1, keepdim=True) / 127).to(torch.float32).double()
    s[s == 0] = 1.0
    return torch.clamp(torch.round(w / s), -127, 127) * s


def db(x, y):
    n = float(((x - y) ** 2).sum())
    return math.inf if n == 0 else 10 * math.log10(float((x ** 2).sum()) / n)


class Study:
    def __init__(self, model, head):
        self.m, self.head, self.heads = model, head, model.blocks[0].attn.num_heads

    def attend(self, q, k, v):
        t, c = q.shape
        d = c // self.heads
        q, k, v = (x.reshape(t, self.heads, d).transpose(0, 1) for x in (q, k, v))
        return (torch.softmax(q @ k.transpose(1, 2) * d ** -0.5, -1) @ v).transpose(0, 1).reshape(t, c)

    def embed(self, pixels):
        x = self.m.patch_embed(pixels)
        return self.m._pos_embed(x)[0]

    def block(self, i, x, quant=None):
        """quant(name, x, w, b) -> y for linears; operand(name, x) -> x. Returns the new stream and every tensor."""
        b = self.m.blocks[i]
        seen = {}

        def linear(name, x, layer):
            seen[name + ".in"] = x
            y = quant.linear(i, name, x, layer) if quant else x @ layer.weight.T + layer.bias
            seen[name] = y
            return y

        q, k, v = linear("attn.qkv", b.norm1(x), b.attn.qkv).split(x.shape[1], 1)
        ops = {"attn.q": q, "attn.k": k, "attn.v": v}
        seen.update({n + ".in": o for n, o in ops.items()})
        if quant:
            ops = {n: quant.operand(i, n, o) for n, o in ops.items()}
        seen.update(ops)
        a = self.attend(*ops.values())
        seen["attended"] = a
        x = x + b.ls1.gamma * linear("attn.proj", a, b.attn.proj)
        h = linear("mlp.fc1", b.norm2(x), b.mlp.fc1)
        x = x + b.ls2.gamma * linear("mlp.fc2", torch.nn.functional.gelu(h), b.mlp.fc2)
        return x, seen

    def logits(self, x):
        z = self.m.norm(x)
        h = int(math.isqrt(z.shape[0] - 1))
        return self.head[2](self.head[1](z[1:].T.reshape(1, -1, h, h)))[0]


class Ranges:
    def __init__(self):
        self.lo, self.hi = {}, {}

    def see(self, key, x):
        lo, hi = x.amin(0), x.amax(0)
        self.lo[key] = lo if key not in self.lo else torch.minimum(self.lo[key], lo)
        self.hi[key] = hi if key not in self.hi else torch.maximum(self.hi[key], hi)


class Quant:
    def __init__(self, study, ranges, alpha=None, weights=True, acts=True):
        self.s, self.r, self.alpha, self.weights, self.acts = study, ranges, alpha, weights, acts

    def factors(self, i, name, layer):
        if self.alpha is None:
            return None
        a = torch.maximum(self.r.lo[i, name].abs(), self.r.hi[i, name].abs()).clamp(min=1e-5)
        w = layer.weight.abs().amax(0).clamp(min=1e-5)
        return (a ** self.alpha / w ** (1 - self.alpha)).clamp(min=1e-5).to(torch.float32).double()

    def parts(self, i, name, x, layer):
        s = self.factors(i, name, layer)
        lo, hi = self.r.lo[i, name], self.r.hi[i, name]
        w = layer.weight
        if s is not None:
            x, w, lo, hi = x / s, w * s, lo / s, hi / s
        return x, fq_asym(x, grid_asym(float(lo.min()), float(hi.max()))), w, fq_rows(w)

    def linear(self, i, name, x, layer):
        x, xq, w, wq = self.parts(i, name, x, layer)
        return (xq if self.acts else x) @ (wq if self.weights else w).T + layer.bias

    def operand(self, i, name, x):
        if not self.acts:
            return x
        m = torch.maximum(self.r.lo[i, name].abs(), self.r.hi[i, name].abs())
        if name != "attn.v":
            return fq_sym(x, float(m.max()))
        d = x.shape[1] // self.s.heads
        return torch.cat([fq_sym(x[:, h * d:(h + 1) * d], float(m[h * d:(h + 1) * d].max())) for h in range(self.s.heads)], 1)


def plant_spike(study, images, blocks, ratio):
    units = {}
    for i in blocks:
        top, sq, tokens = None, 0, 0
        gelu_top = 0.0
        for p in images:
            x = study.embed(p[None])
            for j in range(i + 1):
                x, seen = study.block(j, x)
            h, g = seen["mlp.fc1"], seen["mlp.fc2.in"]
            top = h.amax(0) if top is None else torch.maximum(top, h.amax(0))
            gelu_top = max(gelu_top, float(g.max()))
            sq, tokens = sq + (g ** 2).sum(0), tokens + g.shape[0]
        mlp = study.m.blocks[i].mlp
        score = sq / tokens * (mlp.fc2.weight ** 2).sum(0)
        score[top < 1] = math.inf
        u = int(score.argmin())
        g = ratio * gelu_top / float(torch.nn.functional.gelu(top[u]))
        for t in (mlp.fc1.weight.data[u], mlp.fc1.bias.data[u]):
            t.copy_((t * g).to(torch.float32))
        mlp.fc2.weight.data[:, u] = (mlp.fc2.weight.data[:, u] / g).to(torch.float32).double()
        units[i] = u
    return units


def miou(predictions, labels, classes=11):
    p, l = np.concatenate(predictions), np.concatenate(labels)
    inter = np.bincount(l[p == l], minlength=classes)
    union = np.bincount(p, minlength=classes) + np.bincount(l, minlength=classes) - inter
    return 100 * np.mean(inter[union > 0] / union[union > 0])


@torch.no_grad()
def reference():
    study = Study(*oracle.load(str(oracle.ROOT / "data/vit_ti14_scenes.safetensors")))
    calibration = oracle.normalise(oracle.scenes(2, CALIBRATION)[0]).double()
    analysis = oracle.normalise(oracle.scenes(3, ANALYSIS)[0]).double()
    rgb, labels = oracle.scenes(1, EVALUATION)
    evaluation = oracle.normalise(rgb).double()
    depth = len(study.m.blocks)
    result = {"units": plant_spike(study, calibration, (8, 11), 256)}
    ranges = Ranges()
    for p in calibration:
        x = study.embed(p[None])
        for i in range(depth):
            x, seen = study.block(i, x)
            for name in (*LINEARS, "attn.q", "attn.k", "attn.v"):
                ranges.see((i, name), seen[name + ".in"])
    recipes = {"ptq": Quant(study, ranges), "sq": Quant(study, ranges, 0.5)}
    keep = {}

    def add(key, a, b):
        keep.setdefault(key, []).append((float((a ** 2).sum()), float(((a - b) ** 2).sum())))

    magnitudes = {}
    for p in analysis:
        x = study.embed(p[None])
        streams = {r: x for r in recipes}
        for i in range(depth):
            x, seen = study.block(i, x)
            for name in (*LINEARS, "attn.q", "attn.k", "attn.v"):
                layer = f"blocks.{i}.{name}"
                magnitudes.setdefault((layer, "out"), []).append(seen[name].abs().flatten())
                magnitudes.setdefault((layer, "in"), []).append(seen[name + ".in"].abs().flatten())
            for r, quant in recipes.items():
                for name in LINEARS:
                    layer = f"blocks.{i}.{name}"
                    mod = study.m.blocks[i].get_submodule(name)
                    xs, xq, ws, wq = quant.parts(i, name, seen[name + ".in"], mod)
                    y = seen[name]
                    add((r, layer, "local.weight"), y, xs @ wq.T + mod.bias)
                    add((r, layer, "local.activation"), y, xq @ ws.T + mod.bias)
                    add((r, layer, "local.both"), y, xq @ wq.T + mod.bias)
                    add((r, layer, "local.input_tensor"), xs, xq)
                    keep[r, layer, "local.weight_tensor"] = [(float((ws ** 2).sum()), float(((ws - wq) ** 2).sum()))]
                for name in ("attn.q", "attn.k", "attn.v"):
                    ops = {n: seen[n] for n in ("attn.q", "attn.k", "attn.v")}
                    ops[name] = quant.operand(i, name, ops[name])
                    add((r, f"blocks.{i}.{name}", "local.activation"), seen["attended"], study.attend(*ops.values()))
                    add((r, f"blocks.{i}.{name}", "local.input_tensor"), seen[name], ops[name])
                streams[r], run = study.block(i, streams[r], quant)
                for name in LINEARS:
                    add((r, f"blocks.{i}.{name}", "cumulative"), seen[name], run[name])
                add((r, f"blocks.{i}.attn.q", "cumulative"), seen["attended"], run["attended"])
        for r in recipes:
            add((r, "output", "output"), study.logits(x), study.logits(streams[r]))
    result["sqnr"] = {k: math.inf if sum(n for _, n in v) == 0 else 10 * math.log10(sum(s for s, _ in v) / sum(n for _, n in v)) for k, v in keep.items()}
    result["dist"] = {}
    for k, v in magnitudes.items():
        a = torch.cat(v)
        result["dist"][k] = {"max": float(a.max()), "median": float(np.median(a.numpy())), "mean": float(a.mean())}
    maps = {s: [] for s in ("fp32", "ptq", "sq", "weights")}
    quants = {"fp32": None, **recipes, "weights": Quant(study, ranges, acts=False)}
    for p in evaluation:
        for s, quant in quants.items():
            x = study.embed(p[None])
            for i in range(depth):
                x, _ = study.block(i, x, quant)
            up = torch.nn.functional.interpolate(study.logits(x)[None], size=(224, 224), mode="bilinear", align_corners=False)[0]
            maps[s].append(up.argmax(0).numpy().reshape(-1))
    flat = [l.reshape(-1) for l in labels]
    result["miou"] = {s: miou(m, flat) for s, m in maps.items()}
    return result


def main():
    want = reference()
    worst = {}

    def compare(kind, name, a, b, relative=False):
        difference = 0.0 if a == b else abs(a - b) / (abs(b) if relative else 1)
        if not difference <= worst.get(kind, ("", -1.0))[1]:
            worst[kind] = (name, difference)

    with tempfile.TemporaryDirectory() as d:
        config = f"{d}/c.yaml"
        open(config, "w").write(f"""version: 1
name: c
model: {{checkpoint: {oracle.ROOT}/data/vit_ti14_scenes.safetensors, plant: [{{kind: spike, blocks: [8, 11], ratio: 256}}]}}
data:
  calibration: {{scenes: {{seed: 2, count: {CALIBRATION}}}}}
  analysis: {{scenes: {{seed: 3, count: {ANALYSIS}}}}}
  evaluation: {{scenes: {{seed: 1, count: {EVALUATION}}}}}
states: [fp32, sq, ptq, weights]
""")
        subprocess.run([oracle.vitscope(), "run", config, "--out", d, "--backend", "ref"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        got = json.load(open(f"{d}/c/results.json"))
    units = {p["block"]: p["channels"][0] for p in got["planted"]}
    print("planted units", units, "reference", want["units"])
    for row in got["layers"]:
        for r in ("ptq", "sq"):
            q = row["sqnr"][r]
            for column, v in q["local"].items():
                key = (r, row["layer"], "local." + column)
                if key in want["sqnr"]:
                    kind = "tensor" if "tensor" in column else "local"
                    compare(kind, f"{key}", float(v), want["sqnr"][key])
            key = (r, row["layer"], "cumulative")
            if key in want["sqnr"]:
                compare("cumulative", f"{key}", float(q["cumulative"]), want["sqnr"][key])
        for tensor in ("out", "in"):
            for column in ("max", "median", "mean"):
                compare(column, f"{row['layer']} {tensor}", row["states"]["fp32"][tensor][column], want["dist"][row["layer"], tensor][column], relative=True)
    for r in ("ptq", "sq"):
        compare("output", r, got["output_sqnr"][r]["pooled"], want["sqnr"][r, "output", "output"])
    for s, v in want["miou"].items():
        compare("miou", s, got["task"][s]["miou"], v)
    good = units == want["units"]
    for kind, (name, difference) in worst.items():
        print(f"{kind:11s} worst difference {difference:.3g} (bound {BOUNDS[kind]}) at {name}")
        good &= difference <= BOUNDS[kind]
    sys.exit(0 if good else 1)


main()
