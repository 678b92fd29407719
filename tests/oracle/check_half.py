"""The half machine's rows for every architecture against an emulation in PyTorch: each operation in float32, rounded to half where
docs/fp16-reference.md 2 says so, beside the same operations in float64. Small random models of SwiGLU (packed, and in two modules with
rotary positions), norms of their own for prefix tokens, classifiers, heads on four blocks, EoMT, and none.

Held against `vitscope fp16`: names and order of rows, SQNR of block outputs and of the output within 1 dB, of other rows within LOOSE
dB, largest values within 5 %. Two emulations differ in the last bits of sums, so in which way values near a tie round, and all behind
it is another draw of the same noise; a row of few numbers (and class scores, which hang on EoMT's few queries) knows its level only
roughly. Where sums agree to the bit (cpu, strict: the same float32 library functions) so do the levels.

Run: python tests/oracle/check_half.py [MODEL...]   (VITSCOPE=path of the program, BACKENDS="ref cpu")"""
import collections, json, math, os, pathlib, subprocess, sys, tempfile

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F

import oracle

C, HEADS, DEPTH, PATCH, GRID, F_HIDDEN = 128, 2, 5, 16, 4, 256
CLOSE, LOOSE, FEW = 1.0, 3.0, 6.0  # dB; the last for rows of fewer than 1000 numbers
IMAGES = 3
PLAIN = dict(norm="fused", attention="fused", scale="after", gelu="fused", softmax="float", tables="float", probs="exp")
POLICIES = {"fused": PLAIN, "strict": PLAIN | dict(norm="decomposed", attention="decomposed", gelu="decomposed"),
            "softmax_half": PLAIN | dict(attention="decomposed", softmax="half", tables="half"), "probs": PLAIN | dict(probs="softmax")}


def half(x):
    return x.half().float()


class Emulation:
    """One pass. `rows`: name -> what the row gives. float64 and nothing rounded where `exact`."""

    def __init__(self, model, policy, exact):
        self.m, self.p, self.exact, self.rows = model, policy, exact, collections.OrderedDict()
        self.type = torch.float64 if exact else torch.float32
        self.h = (lambda x: x) if exact else half
        self.w = {k: self.h(v.to(self.type)) for k, v in model.tensors.items()}

    def row(self, name, x):
        self.rows[name] = x = self.h(x)
        return x

    def one(self, value):
        return self.h(torch.tensor(value, dtype=self.type))

    def linear(self, name, module, x, rows=slice(None)):
        bias = self.w.get(module + ".bias")
        return self.row(name, x @ self.w[module + ".weight"].flatten(1)[rows].T + (0 if bias is None else bias[rows]))

    def norm(self, name, module, x, eps):
        g, b = self.w[module + ".weight"], self.w[module + ".bias"]
        if self.p["norm"] == "fused":
            return self.row(name + ".out", F.layer_norm(x, (x.shape[-1],), g, b, eps))
        mean = self.row(name + ".mean", x.mean(-1, keepdim=True))
        c = self.row(name + ".center", x - mean)
        square = self.row(name + ".square", c * c)
        s = self.row(name + ".var", square.mean(-1, keepdim=True))
        s = self.row(name + ".eps", s + self.one(eps))
        s = self.row(name + ".std", s.sqrt())
        c = self.row(name + ".div", c / s)
        c = self.row(name + ".mul", c * g)
        return self.row(name + ".out", c + b)

    def gelu(self, name, x):
        if self.p["gelu"] == "fused":
            return self.row(name, F.gelu(x))
        e = self.row(name + ".div", x / self.one(math.sqrt(2)))
        e = self.row(name + ".erf", torch.erf(e))
        e = self.row(name + ".one", e + 1)
        e = self.row(name + ".mul", x * e)
        return self.row(name + ".out", e * 0.5)

    def gelu_tanh(self, name, x):
        if self.p["gelu"] == "fused":
            return self.row(name, F.gelu(x, approximate="tanh"))
        e = self.row(name + ".square", x * x)
        e = self.row(name + ".cube", x * e)
        e = self.row(name + ".kappa", e * self.one(0.044715))
        e = self.row(name + ".sum", x + e)
        e = self.row(name + ".inner", e * self.one(math.sqrt(2 / math.pi)))
        e = self.row(name + ".tanh", torch.tanh(e))
        e = self.row(name + ".one", e + 1)
        e = self.row(name + ".mul", x * e)
        return self.row(name + ".out", e * 0.5)

    def rotate(self, name, x, prefix):
        sin, cos = (self.h(t.to(self.type)) if self.p["tables"] == "half" else t.to(self.type) for t in self.m.rotation())
        head = x[prefix:].reshape(-1, HEADS, C // HEADS)
        a, b = head.chunk(2, -1)
        out = head * cos[:, None] + torch.cat([-b, a], -1) * sin[:, None]
        return self.row(name, torch.cat([x[:prefix], out.reshape(-1, C)]))

    def attention(self, at, x, prefix):
        qkv = self.linear(at + "attn.qkv", at + "attn.qkv", x)
        q, k, v = qkv.chunk(3, -1)
        if self.m.rope:
            q, k = self.rotate(at + "rope.q", q, prefix), self.rotate(at + "rope.k", k, prefix)
        q, k, v = (t.reshape(-1, HEADS, C // HEADS).transpose(0, 1) for t in (q, k, v))
        scale = (C // HEADS) ** -0.5
        if self.p["attention"] == "fused":
            s = q @ k.transpose(1, 2) * scale
            e = torch.exp(s - s.amax(-1, keepdim=True))
            total = e.sum(-1, keepdim=True)
            out = self.h(e / total) @ v if self.p["probs"] == "softmax" else self.h(e) @ v / total
        else:
            s = self.row(at + "attn.scores", q @ k.transpose(1, 2))
            s = self.row(at + "attn.scale", s * self.one(scale))
            if self.p["softmax"] == "half":
                e = self.row(at + "attn.softmax.exp", torch.exp(self.row(at + "attn.softmax.sub", s - s.amax(-1, keepdim=True))))
                out = self.row(at + "attn.softmax.out", e / e.sum(-1, keepdim=True)) @ v
            else:
                out = self.row(at + "attn.softmax", s.softmax(-1)) @ v
        return self.row(at + "attn.pv", out.transpose(0, 1).reshape(-1, C))

    def feed_forward(self, at, x):
        if self.m.ffn in ("gelu", "gelu_tanh"):
            gelu = self.gelu if self.m.ffn == "gelu" else self.gelu_tanh
            return self.linear(at + "mlp.fc2", at + "mlp.fc2", gelu(at + "mlp.gelu", self.linear(at + "mlp.fc1", at + "mlp.fc1", x)))
        if self.m.ffn == "packed":
            a, b = self.linear(at + "mlp.w12", at + "mlp.w12", x).chunk(2, -1)
        else:
            a, b = self.linear(at + "mlp.w1", at + "mlp.w1", x), self.linear(at + "mlp.w2", at + "mlp.w2", x)
        if self.p["gelu"] == "fused":
            s = self.row(at + "mlp.silu", F.silu(a))
        else:
            s = self.row(at + "mlp.silu.mul", a * self.row(at + "mlp.silu.sigmoid", torch.sigmoid(a)))
        return self.linear(at + "mlp.w3", at + "mlp.w3", self.row(at + "mlp.gate", s * b))

    def add(self, at, index, x, branch):
        if f"{at}ls{index}.gamma" in self.w:
            branch = self.row(f"{at}ls{index}", branch * self.w[f"{at}ls{index}.gamma"])
        return self.row(f"{at}add{index}", x + branch)

    def final_norm(self, at, x, prefix):
        if not self.m.split:
            return self.norm(at + "norm", "norm", x, self.m.eps)
        return torch.cat([self.norm(at + "cls_norm", "cls_norm", x[:prefix], self.m.eps), self.norm(at + "norm", "norm", x[prefix:], self.m.eps)])

    def upscale(self, x):
        side = GRID
        for u in range(2):
            at = f"head.upscale.{u}."
            image = x.T.reshape(1, C, side, side)
            side *= 2
            flat = lambda t: t[0].reshape(C, side * side).T
            y = self.row(at + "conv1", flat(F.conv_transpose2d(image, self.w[at + "conv1.weight"], self.w[at + "conv1.bias"], stride=2)))
            y = self.gelu(at + "act", y)
            y = self.row(at + "conv2", flat(F.conv2d(y.T.reshape(1, C, side, side), self.w[at + "conv2.weight"], padding=1, groups=C)))
            x = self.norm(at + "norm", at + "norm", y, 1e-5)
        return x

    def eomt(self, z, prefix):
        q = z[:self.m.queries]
        classes = self.linear("head.class_head", "head.class_head", q)
        for i in (0, 2, 4):
            q = self.linear(f"head.mask_head.{i}", f"head.mask_head.{i}", q)
            q = self.gelu(f"head.mask_head.{i + 1}.gelu", q) if i < 4 else q
        pixels = self.upscale(z[self.m.queries + prefix:])
        masks = self.row("head.einsum", pixels @ q.T)
        scores = torch.sigmoid(masks.double()) @ classes.double().softmax(-1)  # behind a resize, so outside
        self.rows["head.scores"] = scores[:, :-1]

    def run(self, pixels):
        m, w = self.m, self.w
        x = pixels.to(self.type)
        x = self.h(x).reshape(3, GRID, PATCH, GRID, PATCH).permute(1, 3, 0, 2, 4).reshape(GRID * GRID, -1)
        x = self.linear("patch_embed.proj", "patch_embed.proj", x)
        front = [w["cls_token"].reshape(1, C)] + ([w[m.registers].reshape(-1, C)] if m.registers else [])
        prefix = sum(len(t) for t in front)
        x = self.row("tokens", torch.cat(front + [x]))
        if not m.rope:
            pos = torch.zeros(len(x), C, dtype=self.type)
            stored = w["pos_embed"].reshape(-1, C)
            pos[0], pos[prefix:] = stored[0], stored[1:]
            x = self.row("pos_add", x + pos)
        maps = []
        for i in range(DEPTH):
            at = f"blocks.{i}."
            if m.head == "eomt" and i == DEPTH - 2:
                x, prefix = self.row("head.queries", torch.cat([w["head.queries.weight"], x])), prefix + m.queries
            x = self.add(at, 1, x, self.linear(at + "attn.proj", at + "attn.proj", self.attention(at, self.norm(at + "norm1", at + "norm1", x, m.eps), prefix)))
            x = self.add(at, 2, x, self.feed_forward(at, self.norm(at + "norm2", at + "norm2", x, m.eps)))
            if m.maps > 1 and DEPTH - m.maps <= i < DEPTH - 1:
                maps.append(self.final_norm(at, x, prefix))
        z = self.final_norm("", x, prefix)
        maps.append(z)
        if m.head == "none" and m.split:
            self.row("norm.cat", z)
        elif m.head == "segmentation":
            f = torch.cat([t[prefix:] for t in maps], -1)
            scale = w["head.bn.weight"] / torch.sqrt(w["head.bn.running_var"] + 1e-5)
            f = self.row("head.bn", f * scale + (w["head.bn.bias"] - w["head.bn.running_mean"] * scale))
            self.linear("head.conv_seg", "head.conv_seg", f)
        elif m.head == "classifier":
            f = torch.cat([t[0] for t in maps] + ([self.row("head.mean", z[prefix:].mean(0))] if m.mean else []))
            self.linear("head.fc", "head.fc", f[None])
        elif m.head == "eomt":
            self.eomt(z, prefix - m.queries)
        return self.rows


class Model:
    def __init__(self, name, ffn="gelu", rope=False, split=False, registers=0, head="none", maps=1, mean=False, seed=1):
        self.name, self.ffn, self.rope, self.split, self.head, self.maps, self.mean = name, ffn, rope, split, head, maps, mean
        self.registers = ("storage_tokens" if rope else "register_tokens") if registers else None
        self.eps, self.queries = 1e-5 if rope else 1e-6, 7 if head == "eomt" else 0
        self.tensors, self.g = {}, torch.Generator().manual_seed(seed)
        t = self.tensors
        t["cls_token"] = self.random(1, 1, C)
        if registers:
            t[self.registers] = self.random(1, registers, C)
        if not rope:
            t["pos_embed"] = self.random(1, 1 + GRID * GRID, C)
        self.layer("patch_embed.proj", C, 3 * PATCH * PATCH, shape=(C, 3, PATCH, PATCH))
        for i in range(DEPTH):
            at = f"blocks.{i}."
            self.gains(at + "norm1"), self.gains(at + "norm2"), self.layer(at + "attn.qkv", 3 * C, C), self.layer(at + "attn.proj", C, C)
            if ffn in ("gelu", "gelu_tanh"):
                self.layer(at + "mlp.fc1", F_HIDDEN, C), self.layer(at + "mlp.fc2", C, F_HIDDEN)
            else:
                if ffn == "packed":
                    self.layer(at + "mlp.w12", 2 * F_HIDDEN, C)
                else:
                    self.layer(at + "mlp.w1", F_HIDDEN, C), self.layer(at + "mlp.w2", F_HIDDEN, C)
                self.layer(at + "mlp.w3", C, F_HIDDEN)
            for k in (1, 2):
                t[f"{at}ls{k}.gamma"] = 0.5 + self.random(C) * 0.2
        self.gains("norm")
        if split:
            self.gains("cls_norm")
        self.make_head()

    def random(self, *shape):
        return torch.randn(shape, generator=self.g) * 0.5

    def layer(self, name, out, into, shape=None, bias=True, scale=1.0):
        self.tensors[name + ".weight"] = torch.randn((out, into), generator=self.g).reshape(shape or (out, into)) * into ** -0.5 * scale
        if bias:
            self.tensors[name + ".bias"] = self.random(out) * 0.5

    def gains(self, name, width=C):
        self.tensors[name + ".weight"], self.tensors[name + ".bias"] = 1 + self.random(width) * 0.5, self.random(width)

    def make_head(self):
        width = (self.maps + self.mean) * C
        if self.head == "segmentation":
            self.gains("head.bn", width)
            self.tensors["head.bn.running_mean"], self.tensors["head.bn.running_var"] = self.random(width), 0.5 + self.random(width).abs()
            self.layer("head.conv_seg", 9, width)
        elif self.head == "classifier":
            self.layer("head.fc", 11, width)
        elif self.head == "eomt":
            self.tensors["head.queries.weight"] = self.random(self.queries, C)
            self.layer("head.class_head", 6, C, scale=4)
            for i in (0, 2, 4):
                self.layer(f"head.mask_head.{i}", C, C, scale=2)
            for u in range(2):
                self.layer(f"head.upscale.{u}.conv1", C, 4 * C, shape=(C, C, 2, 2), scale=2)
                self.layer(f"head.upscale.{u}.conv2", C, 9, shape=(C, 1, 3, 3), bias=False)
                self.gains(f"head.upscale.{u}.norm")

    def rotation(self):
        """sin, cos [N, D] of docs/vit-models.md 2.5."""
        d = C // HEADS
        periods = self.periods().double()
        at = 2 * (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID - 1
        grid = torch.stack(torch.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2, 1)
        angle = (2 * math.pi * grid / periods).reshape(GRID * GRID, d // 2).repeat(1, 2)
        return angle.sin(), angle.cos()

    def periods(self):
        n = C // HEADS // 4
        return (100.0 ** (torch.arange(n, dtype=torch.float64) / n)).float()

    def save(self, folder):
        """A hub checkpoint, and a head file beside it or within."""
        body = {k: v for k, v in self.tensors.items() if not k.startswith("head.")}
        head = {k[5:]: v for k, v in self.tensors.items() if k.startswith("head.")}
        body["mask_token"] = torch.zeros(1, C)
        if self.rope:
            body["rope_embed.periods"] = self.periods()
        if self.ffn == "gelu_tanh":  # what a config.json beside it says
            folder = folder / f"{self.name}_model"
            folder.mkdir(exist_ok=True)
            (folder / "config.json").write_text(json.dumps({"model_type": "dinov2", "hidden_act": "gelu_pytorch_tanh"}))
        path, other = folder / f"{self.name}.safetensors", None
        if self.head == "eomt":
            body = {"model.backbone." + k: v for k, v in body.items()} | {"model." + k: v for k, v in head.items()}
        elif self.head == "classifier":
            head = {k.removeprefix("fc."): v for k, v in head.items()}
        if self.head in ("segmentation", "classifier"):
            if self.head == "segmentation":
                head["conv_seg.weight"] = head["conv_seg.weight"][:, :, None, None]
                head = {"decode_head." + k: v for k, v in head.items()}
            other = folder / f"{self.name}_head.pth"
            torch.save({k: v.contiguous() for k, v in head.items()}, other)
        safetensors.torch.save_file({k: v.contiguous() for k, v in body.items()}, path, metadata={"model_init_args.num_joint_blocks": "2"} if self.head == "eomt" else None)
        return path, other


def vitscope_rows(model, folder, backend):
    path, head = model.save(folder)
    config = folder / f"{model.name}.yaml"
    policies = ", ".join("{name: " + name + "".join(f", {k}: {v}" for k, v in p.items()) + "}" for name, p in POLICIES.items())
    config.write_text(f"version: 1\nname: {model.name}\nmodel: {{checkpoint: {path}, heads: {HEADS}{f', head: {head}' if head else ''}}}\n"
                      f"data: {{analysis: {{scenes: {{seed: 3, count: {IMAGES}, size: {GRID * PATCH}}}}}}}\nstates: [fp32]\nanalyze: {{recipes: []}}\n"
                      f"fp16: {{policies: [{policies}]}}\n")
    out = folder / f"{model.name}_{backend}"
    done = subprocess.run([oracle.vitscope(), "fp16", str(config), "--backend", backend, "--out", str(out)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{model.name}: {done.stderr}")
    return json.loads(next(out.rglob("results.json")).read_text())["fp16"]["policies"]


def noise(name, x, y, rope):
    """Signal and noise of a row's parts as docs/fp16-reference.md 4 counts them: scores without their rows' means, keys without their mean
    over tokens, q, k and v apart."""
    x, y = x.double(), y.double()
    if name.endswith((".attn.scores", ".attn.scale", ".softmax.sub")):
        x, y = (t - t.mean(-1, keepdim=True) for t in (x, y))
    pairs = list(zip(x.chunk(3, -1), y.chunk(3, -1))) if name.endswith(".attn.qkv") else [(x, y)]
    if len(pairs) == 3 and not rope:
        pairs[1] = tuple(t - t.mean(0, keepdim=True) for t in pairs[1])
    return np.array([[float((a * a).sum()), float(((a - b) ** 2).sum())] for a, b in pairs])


def level(sums):
    """SQNR in dB, the worst part's."""
    return min(math.inf if n == 0 else 10 * math.log10(s / n) for s, n in sums)


@torch.no_grad()
def check(model, folder, backend):
    pixels = oracle.normalise(oracle.scenes(3, IMAGES, size=GRID * PATCH)[0])
    got, good = vitscope_rows(model, folder, backend), True
    for name, policy in POLICIES.items():
        pairs = [(Emulation(model, policy, True).run(p), Emulation(model, policy, False).run(p)) for p in pixels]
        rows, wanted = got[name]["rows"], list(pairs[0][0])
        names = [r["row"] for r in rows]
        if names != wanted:
            print(f"FAILED  {model.name} {name}: rows {next(p for p in zip(names + ['(end)'], wanted + ['(end)']) if p[0] != p[1])}")
            good = False
            continue
        worst = {CLOSE: (0, ""), LOOSE: (0, ""), FEW: (0, "")}
        for r in rows:
            row = r["row"]
            want = level(sum(noise(row, x[row], y[row], model.rope) for x, y in pairs))
            count = sum(x[row].numel() for x, _ in pairs)
            limit = FEW if count < 1000 else CLOSE if row.endswith("add2") or (row == wanted[-1] and row != "head.scores") else LOOSE
            have = math.inf if r["sqnr"] is None else r["sqnr"]
            worst[limit] = max(worst[limit], (0 if want == have else abs(want - have), row))
            largest = max(float(y[row].abs().max()) for _, y in pairs)
            if row != "head.scores" and not abs(r["max"] - largest) <= 0.05 * largest:
                print(f"FAILED  {model.name} {name} {row}: largest {r['max']}, {largest} expected")
                good = False
        fine = all(off <= limit for limit, (off, _) in worst.items())
        good &= fine
        print(("ok      " if fine else "FAILED  ") + f"{model.name} {backend} {name}: {len(rows)} rows, output {got[name]['sqnr']:.1f} dB; furthest "
              + ", ".join(f"{off:.2f} dB at {row}" for off, row in worst.values()))
    return good


def main():
    cases = [Model("plain"), Model("tanh", ffn="gelu_tanh"), Model("giant", ffn="packed", registers=4), Model("v3_swiglu", ffn="apart", rope=True, registers=4),
             Model("v3_split", rope=True, registers=4, split=True), Model("v3_split_seg", rope=True, registers=4, split=True, head="segmentation"),
             Model("linear", head="segmentation"), Model("ms", head="segmentation", maps=4), Model("class_hub1", head="classifier", mean=True),
             Model("class_hub4", ffn="packed", registers=4, head="classifier", maps=4, mean=True), Model("v3_split_class", rope=True, registers=4, split=True, head="classifier"),
             Model("eomt", head="eomt"), Model("v3_eomt", rope=True, registers=4, ffn="apart", head="eomt")]
    wanted, backends = sys.argv[1:], os.environ.get("BACKENDS", "ref cpu").split()
    with tempfile.TemporaryDirectory() as d:
        good = [check(m, pathlib.Path(d), b) for m in cases if not wanted or m.name in wanted for b in backends]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
