"""An independent implementation of the study (docs/study.md 3 to 8, every recipe) in PyTorch.

It shares no code with the engine: own forward pass, own calibration, SmoothQuant, states, planting, distributions with
exact order statistics, mIoU. Reads the same configuration files (scenes only) and gives a tree with the keys of results.json.

Run: PYTHON tests/oracle/study_reference.py CONFIG.yaml [--dtype float32] [--calibration N] [--images N] [--evaluation N] > ref.json
     PYTHON tests/oracle/study_reference.py --self-check      (its forward pass against timm in float64)"""
import argparse, collections, json, math, pathlib, sys

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
import yaml

import oracle

KINDS = ("attn.qkv", "attn.q", "attn.k", "attn.v", "attn.p", "attn.proj", "mlp.fc1", "mlp.fc2")
OPERANDS = KINDS[1:5]
RECIPE = {"weights": "per_channel", "inputs": "per_tensor_asym", "qk": "per_tensor_sym", "v": "per_head_sym", "p": "none",
          "patch_embed": False, "head": False, "bits": {}, "observer": "minmax"}
BITS = {"weights": 8, "inputs": 8, "qk": 8, "v": 8}
BINS = 8192  # of the observers' histograms; docs/study.md 3 asks for 4096 at least, of |x| too
Grid = collections.namedtuple("Grid", "scale zero qmin qmax lo hi step")  # scale, lo, hi: scalars or one a channel
Token = collections.namedtuple("Token", "qmax")  # a scale a token, from the token itself


# ---------------------------------------------------------------- model: weights as the file has them, a functional forward

class Model:
    def __init__(self, path, dtype, heads=None, recipe=None):
        self.recipe = {**RECIPE, **(recipe or {})}
        self.bits = {**BITS, **self.recipe["bits"]}
        state = {k: v.float() for k, v in safetensors.torch.load_file(path).items()}
        prefix = next(k for k in state if k.endswith("patch_embed.proj.weight"))[: -len("patch_embed.proj.weight")]
        self.t = {k[len(prefix):] if k.startswith(prefix) else k: v.to(dtype) for k, v in state.items()}
        self.dtype = dtype
        self.width, _, self.patch, _ = self.t["patch_embed.proj.weight"].shape
        self.depth = 1 + max(int(k.split(".")[1]) for k in self.t if k.startswith("blocks."))
        self.heads = heads or {192: 3, 384: 6, 768: 12, 1024: 16}.get(self.width, self.width // 64)
        self.head_name = "head.conv_seg" if "conv_seg.weight" in self.t else "head.fc" if "head.weight" in self.t else None
        self.rows = ["patch_embed.proj"] * self.recipe["patch_embed"] + [f"blocks.{b}.{k}" for b in range(self.depth) for k in KINDS if self.has(k)]
        self.rows += [self.head_name] * (self.recipe["head"] and self.head_name is not None)
        self.linears = [n for n in self.rows if not n.endswith(OPERANDS)]

    def has(self, kind):
        """Does the recipe quantize this kind of a block's tensors?"""
        option = {"attn.q": "qk", "attn.k": "qk", "attn.v": "v", "attn.p": "p"}.get(kind)
        return option is None or self.recipe[option] != "none"

    def tensor(self, name):
        """A linear's weight [out, in] under the study's name."""
        return self.t[{"head.conv_seg": "conv_seg", "head.fc": "head"}.get(name, name) + ".weight"].flatten(1)

    def bias(self, name):
        return self.t.get({"head.conv_seg": "conv_seg", "head.fc": "head"}.get(name, name) + ".bias")

    def weights(self):
        """Everything that a state may replace: linears, and the blocks' norms as (gain, bias)."""
        linears = [f"blocks.{b}.{k}" for b in range(self.depth) for k in KINDS if k not in OPERANDS] + ["patch_embed.proj"]
        norms = [f"blocks.{b}.norm{i}" for b in range(self.depth) for i in (1, 2)]
        return {**{n: self.tensor(n) for n in linears + [self.head_name] * (self.head_name is not None)},
                **{n: (self.t[n + ".weight"], self.t[n + ".bias"]) for n in norms}}

    def norm(self, x, gain_bias):
        return F.layer_norm(x, (self.width,), *gain_bias, 1e-6)

    def positions(self, h, w):
        pos, p = self.t["pos_embed"], 1
        g = math.isqrt(pos.shape[1] - p)
        if (h, w) == (g, g):
            return pos
        grid = pos[:, p:].reshape(1, g, g, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(h, w), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
        return torch.cat([pos[:, :p], grid], 1)

    def linear(self, name, x, weights, site, see):
        y = F.linear(site(name, x), weights[name], self.bias(name))
        see(name, y)
        return y

    def embed(self, pixels, weights=None, site=lambda n, x: x, see=lambda n, x: None):
        patches = F.unfold(pixels, self.patch, stride=self.patch).transpose(1, 2)
        x = self.linear("patch_embed.proj", patches, weights or self.weights(), site, see)
        x = torch.cat([self.t["cls_token"].expand(len(x), -1, -1), x], 1)
        return x + self.positions(pixels.shape[2] // self.patch, pixels.shape[3] // self.patch)

    def split(self, x):
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def probabilities(self, q, k):
        return torch.softmax(self.split(q) @ self.split(k).transpose(-1, -2) * (self.width // self.heads) ** -0.5, -1)

    def apply(self, p, v):
        return (p @ self.split(v)).transpose(1, 2).flatten(2)

    def block(self, b, x, weights, site, see):
        """`site(name, x)` gives what the layer reads for what arrives; `see(name, x)` is shown every output."""
        def linear(name, x):
            return self.linear(f"blocks.{b}.{name}", x, weights, site, see)

        def operand(name, x):
            x = site(f"blocks.{b}.{name}", x)
            see(f"blocks.{b}.{name}", x)
            return x

        gamma = lambda n: self.t.get(f"blocks.{b}.{n}.gamma", torch.ones((), dtype=self.dtype))
        q, k, v = linear("attn.qkv", self.norm(x, weights[f"blocks.{b}.norm1"])).split(self.width, -1)
        p = self.probabilities(operand("attn.q", q), operand("attn.k", k))
        a = self.apply(operand("attn.p", p), operand("attn.v", v))
        see(f"blocks.{b}.attention", a)
        x = x + gamma("ls1") * linear("attn.proj", a)
        h = linear("mlp.fc1", self.norm(x, weights[f"blocks.{b}.norm2"]))
        return x + gamma("ls2") * linear("mlp.fc2", F.gelu(h))

    def head(self, x, grid, weights, site, see):
        t = self.t
        z = self.norm(x, (t["norm.weight"], t["norm.bias"]))
        if self.head_name == "head.conv_seg":
            f = F.batch_norm(z[:, 1:].transpose(1, 2), t["bn.running_mean"], t["bn.running_var"], t["bn.weight"], t["bn.bias"], False, eps=1e-5)
            y = self.linear(self.head_name, f.transpose(1, 2), weights, site, see)
            return y.transpose(1, 2).reshape(len(y), -1, *grid)
        return self.linear(self.head_name, z[:, 0], weights, site, see) if self.head_name else z

    def run(self, pixels, weights=None, site=lambda n, x: x, see=lambda n, x: None):
        weights = weights or self.weights()
        x = self.embed(pixels, weights, site, see)
        for b in range(self.depth):
            x = self.block(b, x, weights, site, see)
        return self.head(x, (pixels.shape[2] // self.patch, pixels.shape[3] // self.patch), weights, site, see)


# ---------------------------------------------------------------- docs/study.md 3: grids, calibration, states

def f32(x):
    return np.float32(x).item()


def asymmetric(lo, hi, bits=8):
    top = 2 ** bits - 1
    lo, hi = min(0.0, lo), max(0.0, hi)
    s = f32((hi - lo) / top) or 1.0
    return Grid(s, min(max(round(-lo / s), 0), top), 0, top, lo, hi, s)


def symmetric(absmax, bits=8, wide=False):
    """absmax: a float, or a float64 tensor with one value a channel (or row)."""
    top = 2 ** (bits - 1) - 1
    s = torch.as_tensor(absmax, dtype=torch.float64) / top
    s = s.float().double()
    s = torch.where(s > 0, s, torch.ones_like(s))
    return Grid(s, 0, -top - wide, top, -torch.as_tensor(absmax), torch.as_tensor(absmax), s.max().item())


def put_on(grid, x):
    if isinstance(grid, Token):
        s = (x.abs().amax(-1, keepdim=True).double() / grid.qmax).float()
        s = torch.where(s > 0, s, torch.ones_like(s)).to(x.dtype)
        return torch.clamp(torch.round(x / s), -grid.qmax - 1, grid.qmax) * s
    s = torch.as_tensor(grid.scale, dtype=torch.float64).to(x.dtype)
    return (torch.clamp(torch.round(x / s) + grid.zero, grid.qmin, grid.qmax) - grid.zero) * s


def quantized_weight(w, scheme, bits):
    top = 2 ** (bits - 1) - 1
    s = w.abs().amax(1, keepdim=True)
    s = ((s if scheme == "per_channel" else s.amax().expand_as(s)).double() / top).float()
    s = torch.where(s > 0, s, torch.ones_like(s)).to(w.dtype)
    return torch.clamp(torch.round(w / s), -top, top) * s


def channel_ranges(model, images, prepare=lambda n, x: x):
    """Per layer the smallest and largest value of every channel of `prepare`d inputs, in the float model."""
    lo, hi = {}, {}

    def site(name, x):
        if x.ndim != 4:  # probabilities need no range
            y = prepare(name, x)
            a, b = (y.flatten(0, -2).amin(0).double(), y.flatten(0, -2).amax(0).double())
            lo[name] = torch.minimum(lo[name], a) if name in lo else a
            hi[name] = torch.maximum(hi[name], b) if name in hi else b
        return x

    for p in images:
        model.run(p, site=site)
    return lo, hi


class Scheme:
    """What the recipe says of one tensor: `kind` asym, sym, wide, token or unit; `parts` equal groups of its channels."""

    def __init__(self, model, name):
        r, short = model.recipe, name.split(".", 2)[-1]
        self.parts, self.bits = 1, model.bits["inputs"]
        self.kind = {"per_tensor_asym": "asym", "per_tensor_sym": "wide", "per_token": "token"}[r["inputs"]]
        if short in ("attn.q", "attn.k"):
            self.kind, self.bits = "asym" if r["qk"].endswith("asym") else "sym", model.bits["qk"]
            self.parts = model.heads if r["qk"].startswith("per_head") else 1
        elif short == "attn.v":
            self.kind, self.bits, self.parts = "sym", model.bits["v"], model.heads if r["v"].startswith("per_head") else 1
        elif short == "attn.p":
            self.kind = "unit"

    def grid(self, ranges, channels):
        """ranges: (lo, hi) of every part."""
        if self.kind == "unit":
            return Grid(f32(1 / 255), 0, 0, 255, 0.0, 1.0, f32(1 / 255))
        if self.kind == "token":
            return Token(2 ** (self.bits - 1) - 1)
        if self.kind == "asym":
            return asymmetric(*ranges[0], self.bits)
        peak = torch.tensor([max(abs(a), abs(b)) for a, b in ranges], dtype=torch.float64)
        return symmetric(peak.repeat_interleave(channels // self.parts), self.bits, self.kind == "wide")


def histograms(model, images, prepare, schemes, spans):
    """Counts of `prepare`d inputs, BINS equal bins over each part's span."""
    counts = {n: np.zeros((len(s), BINS), np.int64) for n, s in spans.items()}

    def site(name, x):
        if name in counts:
            for i, (part, (lo, hi)) in enumerate(zip(prepare(name, x).flatten(0, -2).double().numpy().T.reshape(len(spans[name]), -1), spans[name])):
                if hi > lo:
                    counts[name][i] += np.bincount(np.clip(np.floor((part - lo) * (BINS / (hi - lo))), 0, BINS - 1).astype(int), minlength=BINS)
        return x

    for p in images:
        model.run(p, site=site)
    return counts


def binned_quantile(counts, lo, width, p):
    """Rank p(n-1), interpolated; the values of a bin lie evenly spread in it."""
    ends = np.cumsum(counts)

    def value(rank):
        i = int(np.searchsorted(ends, rank, side="right"))
        return lo + width * (i + (rank - (ends[i] - counts[i]) + 0.5) / counts[i])

    at = p * (ends[-1] - 1)
    low, part = value(math.floor(at)), at - math.floor(at)
    return low + part * (value(math.floor(at) + 1) - low) if part > 0 else low


def observed(scheme, observer, exact, span, counts):
    """The range that percentile or mse gives in place of the exact one."""
    lo, hi = span
    if not hi > lo:
        return exact
    width = (hi - lo) / BINS
    if observer != "mse":
        p = observer["percentile"]
        if scheme.kind == "asym":
            return tuple(binned_quantile(counts, lo, width, q / 100) for q in ((100 - p) / 2, 100 - (100 - p) / 2))
        a = binned_quantile(counts[BINS // 2:] + counts[: BINS // 2][::-1], 0.0, width, p / 100)
        return -a, a
    centres, best = lo + width * (np.arange(BINS) + 0.5), None
    for k in range(100, 29, -1):
        r = (exact[0] * k / 100, exact[1] * k / 100)
        g = asymmetric(*r, scheme.bits) if scheme.kind == "asym" else symmetric(max(abs(r[0]), abs(r[1])), scheme.bits, scheme.kind == "wide")
        error = (counts * (centres - put_on(g, torch.from_numpy(centres)).numpy()) ** 2).sum()
        if best is None or error < best[0]:
            best = error, r
    return best[1]


def grids_for(model, ranges, images, prepare):
    """ranges: of what the quantizers read."""
    schemes = {n: Scheme(model, n) for n in model.rows}
    exact, spans = {}, {}
    for n, s in schemes.items():
        if s.kind in ("asym", "sym", "wide"):
            lo, hi = ranges[0][n].reshape(s.parts, -1).amin(1).tolist(), ranges[1][n].reshape(s.parts, -1).amax(1).tolist()
            exact[n] = list(zip(lo, hi))
            spans[n] = exact[n] if s.kind == "asym" else [(-max(abs(a), abs(b)), max(abs(a), abs(b))) for a, b in exact[n]]
    if model.recipe["observer"] != "minmax":
        counts = histograms(model, images, prepare, schemes, spans)
        for n in exact:
            exact[n] = [observed(schemes[n], model.recipe["observer"], *a) for a in zip(exact[n], spans[n], counts[n])]
    return {n: s.grid(exact.get(n), len(ranges[0].get(n, ()))) for n, s in schemes.items()}


class State:
    """kind: fp32, ptq, sq, weights or acts."""

    def __init__(self, model, kind, ranges, images, alpha=0.5, scope="all"):
        base = model.weights()
        self.smooth, self.folded = {}, set()
        self.ws = {n: base[n] for n in model.linears}
        norms = {}
        if kind == "sq":
            lo, hi = ranges
            for n in model.linears:
                if scope == "norm" and not n.endswith(("attn.qkv", "mlp.fc1")):
                    continue
                a = torch.maximum(lo[n].abs(), hi[n].abs()).clamp_min(1e-5)
                w = base[n].double().abs().amax(0).clamp_min(1e-5)
                s = self.smooth[n] = (a ** alpha / w ** (1 - alpha)).clamp_min(1e-5).float().to(model.dtype)
                self.ws[n] = (base[n] * s).float().to(model.dtype)
                if scope == "norm":
                    self.folded.add(n)
                    norm = n.rsplit(".", 2)[0] + (".norm1" if n.endswith("qkv") else ".norm2")
                    norms[norm] = tuple((v.float() / s.float()).to(model.dtype) for v in base[norm])
        self.wq = {n: quantized_weight(w, model.recipe["weights"], model.bits["weights"]) for n, w in self.ws.items()}
        self.weights = {**base, **self.wq, **norms} if kind in ("ptq", "sq", "weights") else base
        self.grids = {}
        if kind in ("ptq", "sq", "acts"):
            read = channel_ranges(model, images, self.divide) if kind == "sq" else ranges
            self.grids = grids_for(model, read, images, self.divide)

    def divide(self, name, x):
        return x / self.smooth[name] if name in self.smooth else x

    def arrived(self, name, x):
        """What the quantizer reads in a run of the whole state: a folded norm has divided already."""
        return x if name in self.folded or not self.grids else self.divide(name, x)

    def quantize(self, name, x):
        return put_on(self.grids[name], x) if name in self.grids else x

    def endless(self, name, x):
        """The quantizer's steps without its ends; None where it has none."""
        grid = self.grids[name]
        if isinstance(grid, Token) or name.endswith("attn.p"):
            return None
        return put_on(grid._replace(qmin=-2**23, qmax=2**23), x)


# ---------------------------------------------------------------- docs/study.md 8: planting

ROWS = {"spike": "mlp.fc2", "hidden": "mlp.fc2", "norm1": "attn.qkv", "norm2": "mlp.fc1", "value": "attn.proj", "key": "attn.k"}


def largest(score, count):
    """Indices of the largest, the lower index first on ties."""
    return torch.argsort(-score, stable=True)[:count].tolist()


def choose(model, b, p, seen):
    """(what is chosen, the gain of each) of a block whose tensors over the calibration images are `seen`."""
    t, kind, units = model.t, p["kind"], p.get("units", 1)
    gain = float(p.get("gain", 256))
    if kind in ("norm1", "norm2"):
        picked = largest(t[f"blocks.{b}.{kind}.weight"].abs().double(), units)
    elif kind == "value":
        picked = largest(torch.cat(seen["attn.v"]).abs().amax(0), units)
    elif kind == "key":
        picked = list(range(model.heads))
    else:
        h = torch.cat(seen["mlp.fc1"]).double()
        top, g = h.amax(0), F.gelu(h)
        if kind == "hidden":
            picked = largest(top, units)
        else:
            energy = (g ** 2).mean(0) * (t[f"blocks.{b}.mlp.fc2.weight"].double() ** 2).sum(0)
            picked = largest(torch.where(top >= 1, -energy, -math.inf), units)
            return picked, [p.get("ratio", 256) * g.max().item() / F.gelu(top[u]).item() for u in picked]
    return picked, [gain] * len(picked)


def plant_block(model, b, p, seen):
    t, C, D = model.t, model.width, model.width // model.heads

    def put(name, index, change):
        t[name][index] = change(t[name][index].double()).float().to(t[name].dtype)

    picked, gains = choose(model, b, p, seen)
    for c, g in zip(picked, gains):
        if p["kind"] == "key":
            q = torch.cat(seen["attn.q"]).double().mean(0)[c * D : (c + 1) * D]
            bias = f"blocks.{b}.attn.qkv.bias"
            t.setdefault(bias, torch.zeros(3 * C, dtype=t["norm.weight"].dtype))
            put(bias, slice(C + c * D, C + (c + 1) * D), lambda w: w + g * q / q.norm())
            continue
        source, row, reader = {"spike": ("mlp.fc1", c, "mlp.fc2"), "hidden": ("mlp.fc1", c, "mlp.fc2"), "norm1": ("norm1", c, "attn.qkv"),
                               "norm2": ("norm2", c, "mlp.fc1"), "value": ("attn.qkv", 2 * C + c, "attn.proj")}[p["kind"]]
        for name in ("weight", "bias"):
            put(f"blocks.{b}.{source}.{name}", row, lambda w: w * g)
        put(f"blocks.{b}.{reader}.weight", (slice(None), c), lambda w: w / g)
    return {"kind": p["kind"], "layer": f"blocks.{b}.{ROWS[p['kind']]}", "block": b, "channels": picked, "gain": gains}


def plant_residual(model, g):
    names = ["patch_embed.proj.weight", "patch_embed.proj.bias", "cls_token", "reg_token", "pos_embed"]
    for b in range(model.depth):
        for scale, last in (("ls1", "attn.proj"), ("ls2", "mlp.fc2")):
            gamma = f"blocks.{b}.{scale}.gamma"
            names += [gamma] if gamma in model.t else [f"blocks.{b}.{last}.weight", f"blocks.{b}.{last}.bias"]
    for n in names:
        if n in model.t:
            model.t[n] = (model.t[n].double() * g).float().to(model.t[n].dtype)
    return {"kind": "residual", "layer": "embed", "block": None, "channels": [], "gain": [float(g)]}


def plant(model, images, plan):
    """Block by block, in the model as planted so far."""
    done = []
    for p in plan:
        if p["kind"] == "residual":
            done.append(plant_residual(model, p.get("gain", 256)))
            continue
        streams = [model.embed(x) for x in images]
        for b in range(model.depth):
            if b in (p.get("blocks") or range(model.depth)):
                seen = collections.defaultdict(list)
                for x in streams:
                    model.block(b, x, model.weights(), lambda n, y: y, lambda n, y: seen[n.split(".", 2)[-1]].append(y.flatten(0, 1)))
                done.append(plant_block(model, b, p, seen))
            streams = [model.block(b, x, model.weights(), lambda n, y: y, lambda n, y: None) for x in streams]
    return done


# ---------------------------------------------------------------- docs/study.md 4 and 5: SQNR and distributions

def db(signal, noise):
    return math.inf if noise == 0 else 10 * math.log10(signal / noise) if math.isfinite(noise) else -math.inf


class Sqnr:
    def __init__(self):
        self.parts = []

    def add(self, x, y):
        x, y = x.double(), y.double()
        self.parts.append(((x ** 2).sum().item(), ((x - y) ** 2).sum().item()))

    def pooled(self):
        return db(sum(p[0] for p in self.parts), sum(p[1] for p in self.parts)) if self.parts else None

    def spread(self):
        v = [db(*p) for p in self.parts]
        return {"mean": float(np.mean(v)), "std": float(np.std(v)) if np.isfinite(v).all() else 0.0, "min": min(v)} if v else None


def rows_of(x):
    """One image's [tokens, channels]; probabilities: query by (head, key)."""
    return (x[0].transpose(0, 1).flatten(1) if x.ndim == 4 else x[0]).numpy().copy()


def distribution(x, grid_w, first):
    """x: [images, tokens, channels] signed; first: the token of the first row."""
    images, tokens, channels = x.shape
    a = np.abs(x.astype(np.float64))
    flat = a.reshape(-1)
    at = int(flat.argmax())
    top = flat[at]
    i, t, c = at // (tokens * channels), at // channels % tokens, at % channels
    median, p99, p999 = np.quantile(flat, [0.5, 0.99, 0.999])
    energy = (a ** 2).sum((0, 1))
    best = np.argsort(-energy, kind="stable")[:4]
    structure = float((a[:, :, c] > top / 2).mean())
    t += first
    return {"max": top, "median": median, "mean": flat.mean(), "p99": p99, "p999": p999, "ratio": top / median if median > 0 else math.inf,
            "step": top / 127, "zeroed": float((flat < top / 254).mean()),
            "argmax": {"image": i, "token": "cls" if t == 0 else f"patch({(t - 1) // grid_w},{(t - 1) % grid_w})", "channel": c},
            "structure": structure, "shape": "ridge" if structure >= 0.5 else "spike" if structure < 0.05 else "mixed",
            "top_channels": [{"channel": int(k), "share": energy[k] / energy.sum()} for k in best]}


def quantizer_columns(x, grid):
    if grid is None:
        return {"qstep": None, "qzeroed": None, "clipped": None}
    t = torch.from_numpy(x)
    if isinstance(grid, Token):
        return {"qstep": t.abs().max().item() / grid.qmax, "qzeroed": (put_on(grid, t) == 0).double().mean().item(), "clipped": 0.0}
    return {"qstep": grid.step, "qzeroed": (put_on(grid, t) == 0).double().mean().item(), "clipped": ((t < grid.lo) | (t > grid.hi)).double().mean().item()}


def compared(name):
    """Where a row's local and cumulative are taken: operands at the attention output."""
    return name[: -len("attn.q")] + "attention" if name.endswith(OPERANDS) else name


def local_sqnr(model, state, name, x, y, operands, sums):
    """One layer quantized alone on one image: x its float input, y its float output (operands: the attention output)."""
    kind = name.split(".", 2)[-1]
    if kind in OPERANDS:
        q = list(operands)
        i = OPERANDS.index(kind)
        q[i] = state.quantize(name, q[i])
        sums["input_tensor"].add(operands[i], q[i])
        out = model.apply(q[3] if kind == "attn.p" else model.probabilities(q[0], q[1]), q[2])
        sums["activation"].add(y, out)
        sums["both"].add(y, out)
        q[i] = state.endless(name, operands[i])
        if q[i] is not None:
            sums["unclipped"].add(y, model.apply(model.probabilities(q[0], q[1]), q[2]))
        return
    xs = state.divide(name, x)
    xq, bias = state.quantize(name, xs), model.bias(name)
    sums["input_tensor"].add(xs, xq)
    sums["weight"].add(y, F.linear(xs, state.wq[name], bias))
    sums["activation"].add(y, F.linear(xq, state.ws[name], bias))
    sums["both"].add(y, F.linear(xq, state.wq[name], bias))
    xe = state.endless(name, xs)
    if xe is not None:
        sums["unclipped"].add(y, F.linear(xe, state.ws[name], bias))


# ---------------------------------------------------------------- docs/study.md 6

RANKINGS = {"weights": lambda r, p: r["sqnr"][p]["local"]["weight"], "activations": lambda r, p: r["sqnr"][p]["local"]["activation"],
            "outliers": lambda r, p: -r["states"]["fp32"]["out"]["ratio"], "outliers_in": lambda r, p: -r["states"]["fp32"]["in"]["ratio"],
            "cumulative": lambda r, p: r["sqnr"][p]["cumulative"]}


def rankings(rows, recipe):
    out = {}
    for mode, value in RANKINGS.items():
        have = [r for r in rows if value(r, recipe) is not None]
        out[mode] = [r["layer"] for r in sorted(have, key=lambda r: value(r, recipe))]
    return out


def conclusions(rows, recipe):
    order = rankings(rows, recipe)
    rank = lambda mode, layer: order[mode].index(layer) + 1 if layer in order[mode] else None
    gaps = sorted(((r["sqnr"][recipe]["local"]["weight"] - r["sqnr"][recipe]["local"]["activation"], i) for i, r in enumerate(rows)
                   if r["sqnr"][recipe]["local"]["weight"] is not None), key=lambda g: (-g[0], g[1]))[:10]
    blind = [{"layer": rows[i]["layer"], "gap": g, "weights": rank("weights", rows[i]["layer"]), "activations": rank("activations", rows[i]["layer"]),
              "output": None, "flagged": g > 12} for g, i in gaps]
    loud = [r["layer"] for r in rows if r["layer"] in order["outliers"][:10] + order["outliers_in"][:10] and r["layer"] not in order["activations"][:10]]
    harmless = [{"layer": n, "outliers": rank("outliers", n), "outliers_in": rank("outliers_in", n), "activations": rank("activations", n), "output": None} for n in loud]
    return {"rankings": order, "blind_spot": blind, "harmless": harmless}


# ---------------------------------------------------------------- docs/study.md 7

def task(model, states, pixels, labels):
    classes = model.t["conv_seg.weight"].shape[0]
    count = {s: np.zeros((classes, classes), np.int64) for s in states}
    same = dict.fromkeys(states, 0)
    for p, label in zip(pixels, labels):
        maps = {}
        for s, state in states.items():
            logits = model.run(p, state.weights, lambda n, x, st=state: st.quantize(n, st.arrived(n, x)))
            maps[s] = F.interpolate(logits, size=p.shape[2:], mode="bilinear", align_corners=False).argmax(1)[0].numpy()
            np.add.at(count[s], (label.reshape(-1), maps[s].reshape(-1)), 1)
            same[s] += (maps[s] == maps["fp32"]).mean()
    out = {}
    for s, c in count.items():
        hit, label, guess = np.diag(c).astype(float), c.sum(1), c.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou, acc = hit / (label + guess - hit) * 100, hit / label * 100
        out[s] = {"miou": np.nanmean(iou), "aacc": hit.sum() / c.sum() * 100, "macc": np.nanmean(acc), "agreement": same[s] / len(pixels) * 100,
                  "iou": [None if np.isnan(v) else v for v in iou]}
    return out


# ---------------------------------------------------------------- the study

def state_entry(entry):
    """`ptq` or `{sq: {...}}` -> (kind, options)."""
    return (entry, {}) if isinstance(entry, str) else next((k, v or {}) for k, v in entry.items())


@torch.no_grad()
def study(config, checkpoint, dtype=torch.float64, say=lambda s: None):
    data, analyze = config["data"], config.get("analyze") or {}

    def scenes(which, limit=None):
        s = data[which]["scenes"]
        rgb, labels = oracle.scenes(s["seed"], min(s["count"], limit or s["count"]), s["size"])
        return list(oracle.normalise(rgb).to(dtype).split(1)), labels

    model = Model(checkpoint, dtype, config["model"].get("heads"), config.get("recipe"))
    calibration, _ = scenes("calibration")
    say("planting")
    planted = plant(model, calibration, config["model"].get("plant") or [])
    say("calibration")
    ranges = channel_ranges(model, calibration)
    states = {"fp32": State(model, "fp32", ranges, calibration)}
    for entry in config["states"]:
        kind, options = state_entry(entry)
        if kind != "fp32":
            states[options.get("name", kind)] = State(model, kind, ranges, calibration, options.get("alpha", 0.5), options.get("scope", "all"))
    recipes = {n: states.get(n) or State(model, n, ranges, calibration) for n in analyze.get("recipes", ["ptq", "sq"])}

    say("analysis")
    pixels, _ = scenes("analysis", analyze.get("images", 8))
    grid_w = pixels[0].shape[3] // model.patch
    names = model.rows
    columns = ("weight", "activation", "both", "input_tensor", "unclipped")
    local = {(n, r): {c: Sqnr() for c in columns} for n in names for r in recipes}
    cumulative = {(n, s): Sqnr() for n in names for s in states}
    output = {s: Sqnr() for s in states}
    dist = {(n, s): {} for n in names for s in states}
    reference = []  # per image: what the float model's layers gave
    for s, state in states.items():
        kept = collections.defaultdict(list)
        for image, p in enumerate(pixels):
            raw, out = {}, {}

            def site(name, x):
                raw[name] = x
                y = state.arrived(name, x)
                if name in names:
                    kept[name, "in"].append(rows_of(y))
                return state.quantize(name, y)

            logits = model.run(p, state.weights, site, out.__setitem__)
            for n in names:
                kept[n, "out"].append(rows_of(out[n]))
            if s == "fp32":
                reference.append(({compared(n): out[compared(n)] for n in names}, logits))
                for n in names:
                    b = n.rsplit(".", 1)[0]
                    operands = [raw[f"{b}.{k}"] for k in "qkvp"] if compared(n) != n else None
                    for r, recipe in recipes.items():
                        local_sqnr(model, recipe, n, raw[n], out[compared(n)], operands, local[n, r])
            for n in names:
                cumulative[n, s].add(reference[image][0][compared(n)], out[compared(n)])
            output[s].add(reference[image][1], logits)
        for n in names:
            for side in ("in", "out"):
                x = np.stack(kept.pop((n, side)))
                dist[n, s][side] = distribution(x, grid_w, 0 if n.startswith("blocks") else 1)
                if side == "in":
                    dist[n, s][side].update(quantizer_columns(x, state.grids.get(n)))
        say(f"  {s}")

    rows = []
    for n in names:
        row = {"layer": n, "sqnr": {}, "states": {}}
        for r, recipe in recipes.items():
            values = {c: local[n, r][c].pooled() for c in columns}
            tensor = Sqnr()
            if n in recipe.wq:
                tensor.add(recipe.ws[n], recipe.wq[n])
            spread = {f"local.{c}": local[n, r][c].spread() for c in columns}
            row["sqnr"][r] = {"local": {**values, "weight_tensor": tensor.pooled()}, "cumulative": cumulative[n, r].pooled() if r in states else None,
                              "per_image": {**spread, "cumulative": cumulative[n, r].spread() if r in states else None}}
        base = dist[n, "fp32"]["out"]["median"]
        for s in states:
            row["states"][s] = {**dist[n, s], "median_shift": dist[n, s]["out"]["median"] / base - 1}
        rows.append(row)
    result = {"layers": rows, "output_sqnr": {s: {**o.spread(), "pooled": o.pooled()} for s, o in output.items()}, "planted": planted}
    if "ptq" in recipes:
        result.update(conclusions(rows, "ptq"))
    if "sq" in recipes:
        result["sq"] = conclusions(rows, "sq")
    if data.get("evaluation"):
        say("evaluation")
        result["task"] = task(model, states, *scenes("evaluation"))
    return result


def plain(x):
    """For JSON: infinities as strings, numpy numbers as Python's."""
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, np.generic):
        x = x.item()
    return ("inf" if x > 0 else "-inf") if isinstance(x, float) and math.isinf(x) else x


@torch.no_grad()
def self_check():
    """The functional forward pass against timm's own, both in float64, native and resized position grids."""
    oracle.exact_positions()
    path = oracle.ROOT / "data/vit_ti14_scenes.safetensors"
    rgb, _ = oracle.scenes(3, 1, 280)
    worst = 0.0
    for h, w in ((224, 224), (280, 280), (224, 280)):
        pixels = oracle.normalise(rgb[:, :h, :w]).double()
        want = oracle.taps(*oracle.load(path), pixels)
        model, got = Model(path, torch.float64), {}
        got["logits"] = model.run(pixels, see=got.__setitem__)
        for name in set(want) & set(got):
            error = np.abs(want[name] - got[name][0].numpy()).max() / np.abs(want[name]).max()
            worst = max(worst, math.inf if math.isnan(error) else error)
        print(f"{h}x{w}: {len(set(want) & set(got))} taps, worst so far {worst:.2e}")
    return worst <= 1e-12


def main():
    a = argparse.ArgumentParser()
    a.add_argument("config", nargs="?")
    a.add_argument("--dtype", default="float64", choices=["float64", "float32"])
    a.add_argument("--calibration", type=int)
    a.add_argument("--images", type=int)
    a.add_argument("--evaluation", type=int)
    a.add_argument("--self-check", action="store_true")
    o = a.parse_args()
    if o.self_check:
        sys.exit(0 if self_check() else 1)
    if not o.config:
        a.error("CONFIG is needed")
    config = yaml.safe_load(open(o.config))
    for which, n in (("calibration", o.calibration), ("evaluation", o.evaluation)):
        if n:
            config["data"][which]["scenes"]["count"] = n
    if o.images:
        config.setdefault("analyze", {})["images"] = o.images
    checkpoint = pathlib.Path(o.config).parent / config["model"]["checkpoint"]
    result = study(config, checkpoint, getattr(torch, o.dtype), lambda s: print(s, file=sys.stderr, flush=True))
    json.dump(plain(result), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
