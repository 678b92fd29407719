"""Models of every layout with seeded random weights, built by the libraries that define them, saved as they save them.

DINOv2's hub code is no package: DINOV2 names a checkout of it (default ~/.cache/vitscope/dinov2); without one its cases are skipped, loudly."""
import functools, hashlib, json, os, pathlib, sys

import safetensors.torch
import timm.layers
import timm.models.deit
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

HUB = os.environ.get("DINOV2", os.path.expanduser("~/.cache/vitscope/dinov2"))
DEPTH = 3


def hub():
    """dinov2.models.vision_transformer, or None."""
    if not pathlib.Path(HUB, "dinov2/models/vision_transformer.py").exists():
        return None
    if HUB not in sys.path:
        sys.path.insert(0, HUB)
    import dinov2.models.vision_transformer as module
    return module


def randomize(model, seed):
    """Weights large enough that every term matters."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.ndim == 1 and "norm" in name and name.endswith("weight"):
                p.copy_(1 + 0.5 * torch.randn_like(p))
            elif p.ndim == 1 or any(s in name for s in ("token", "pos_embed", "position_embeddings")):
                p.copy_(0.5 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * p[0].numel() ** -0.5)
    return model.eval()


class Layout:
    """One library's model: where its modules are in memory, how it resizes positions, how it is run."""

    def __init__(self, name, layout, model, block, parts, outside, patch=14, heads=2, antialias=False, offset=0.0, prefix=1, save="safetensors", wrap=None, run=None, swap=None, config=None):
        self.name, self.layout, self.model, self.block, self.parts, self.outside = name, layout, model, block, parts, outside
        self.patch, self.heads, self.antialias, self.offset, self.prefix, self.save_as, self.wrap = patch, heads, antialias, offset, prefix, save, wrap
        self.run, self.swap, self.config = run, swap, config

    def modules(self, i):
        """canonical name -> the library's modules of block i, whose rows follow each other."""
        base = self.model.get_submodule(self.block(i))
        return {k: [base.get_submodule(p) for p in v] for k, v in self.parts.items()}

    def depth(self):
        i = 0
        while True:
            try:
                self.model.get_submodule(self.block(i))
            except AttributeError:
                return i
            i += 1

    def canonical(self):
        """canonical name -> sha256 of the float32 bytes."""
        out = {}

        def put(name, tensors):
            out[name] = hashlib.sha256(torch.cat([t.detach().float().reshape(t.shape[0], -1) for t in tensors]).numpy().tobytes()).hexdigest()

        for name, path in self.outside.items():
            obj = self.model
            for part in path.split("."):
                obj = getattr(obj, part)
            if isinstance(obj, torch.nn.Module):
                put(name + ".weight", [obj.weight])
                put(name + ".bias", [obj.bias])
            else:
                put(name, [obj])
        for i in range(self.depth()):
            for name, mods in self.modules(i).items():
                if name.startswith("ls"):
                    put(f"blocks.{i}.{name}.gamma", [getattr(mods[0], "gamma", getattr(mods[0], "lambda1", None))])
                else:
                    put(f"blocks.{i}.{name}.weight", [m.weight for m in mods])
                    put(f"blocks.{i}.{name}.bias", [m.bias for m in mods])
        return out

    def positions(self, h, w):
        """The position rows of an h x w grid in float64, by the formula of the code base."""
        path = self.outside["pos_embed"]
        pos = self.model.get_parameter(path).double()
        rest = pos[:, self.prefix:]
        g = round(rest.shape[1] ** 0.5)
        if h == w == g:
            return pos
        grid = rest.reshape(1, g, g, -1).permute(0, 3, 1, 2)
        size = {"scale_factor": ((h + self.offset) / g, (w + self.offset) / g)} if self.offset else {"size": (h, w)}
        grid = F.interpolate(grid, mode="bicubic", antialias=self.antialias, **size)
        assert grid.shape[-2:] == (h, w)
        return torch.cat([pos[:, : self.prefix], grid.permute(0, 2, 3, 1).reshape(1, h * w, -1)], 1)

    def save(self, directory):
        path = pathlib.Path(directory) / self.name
        if self.save_as == "folder":
            self.model.save_pretrained(path)
            return path
        state = {k: v.contiguous() for k, v in self.model.state_dict().items()}
        if self.config:
            path.with_name("config.json").write_text(json.dumps(self.config))
        if self.save_as == "pth":
            path = path.with_suffix(".pth")
            torch.save(self.wrap(state) if self.wrap else state, path)
        else:
            path = path.with_suffix(".safetensors")
            safetensors.torch.save_file(state, path)
        return path

    @torch.no_grad()
    def taps(self, pixels, exact):
        """Every tap in float64; exact: positions of self.positions, else the library's own (resampled in float32)."""
        model, out, handles = self.model.double(), {}, []
        h, w = pixels.shape[2] // self.patch, pixels.shape[3] // self.patch

        def keep(store, key):
            return lambda _, a, r: store.__setitem__(key, (r[0] if isinstance(r, tuple) else r)[0].clone())

        got = {}
        for i in range(self.depth()):
            base = model.get_submodule(self.block(i))
            if i == 0:
                handles.append(base.register_forward_pre_hook(lambda _, a: out.__setitem__("embed", a[0][0].clone())))
            handles.append(base.register_forward_hook(keep(out, f"blocks.{i}")))
            for name, mods in self.modules(i).items():
                if name.startswith(("ls", "norm")):
                    continue
                for k, m in enumerate(mods):
                    handles.append(m.register_forward_hook(keep(got, (f"blocks.{i}.{name}", k))))
                if name.startswith("mlp"):
                    handles.append(mods[0].register_forward_pre_hook(lambda _, a, key=f"blocks.{i}.{name}.in": out.__setitem__(key, a[0][0].clone())))
        handles.append(model.get_submodule(self.outside["norm"]).register_forward_hook(keep(out, "norm")))
        undo = self.swap(self, h, w) if exact else None
        self.run(model, pixels.double())
        if undo:
            undo()
        for handle in handles:
            handle.remove()
        for name in {n for n, _ in got}:
            out[name] = torch.cat([got[n, k] for n, k in sorted(got) if n == name], -1)
        return {k: v.numpy() for k, v in out.items()}


# ---- who replaces what to compute positions in float64

def set_method(owner, name, function):
    had = name in vars(owner)
    old = vars(owner).get(name)
    setattr(owner, name, function)
    return lambda: setattr(owner, name, old) if had else delattr(owner, name)


def swap_hub(l, h, w):
    return set_method(l.model, "interpolate_pos_encoding", lambda x, a, b: l.positions(h, w))


def swap_hf(l, h, w):
    owner = next(m for n, m in l.model.named_modules() if n.split(".")[-1] == "embeddings")
    return set_method(owner, "interpolate_pos_encoding", lambda e, a, b: l.positions(h, w))


def swap_timm(l, h, w):
    import timm.models.vision_transformer as vt
    undo = [set_method(m, "resample_abs_pos_embed", lambda *a, **k: l.positions(h, w)) for m in (vt, timm.models.deit)]
    return lambda: [u() for u in undo]


# ---- the libraries

HUB_PARTS = {"norm1": ["norm1"], "attn.qkv": ["attn.qkv"], "attn.proj": ["attn.proj"], "norm2": ["norm2"]}
MLP = {"mlp.fc1": ["mlp.fc1"], "mlp.fc2": ["mlp.fc2"]}
SCALES = {"ls1": ["ls1"], "ls2": ["ls2"]}
HUB_OUT = {"cls_token": "cls_token", "pos_embed": "pos_embed", "patch_embed.proj": "patch_embed.proj", "norm": "norm"}


def make_hub(name, registers=False, swiglu=False, chunks=0, width=128, depth=DEPTH, heads=2, image=224, **kw):
    module = hub()
    m = module.DinoVisionTransformer(img_size=image, patch_size=14, embed_dim=width, depth=depth, num_heads=heads, mlp_ratio=4, init_values=1.0, block_chunks=chunks,
                                     block_fn=functools.partial(module.Block, attn_class=module.MemEffAttention),
                                     ffn_layer="swiglufused" if swiglu else "mlp", num_register_tokens=4 if registers else 0,
                                     interpolate_antialias=registers, interpolate_offset=0.0 if registers else 0.1)
    parts = {**HUB_PARTS, **({"mlp.w12": ["mlp.w12"], "mlp.w3": ["mlp.w3"]} if swiglu else MLP), **SCALES}
    out = {**HUB_OUT, **({"register_tokens": "register_tokens"} if registers else {})}
    block = (lambda i: f"blocks.{i // (depth // chunks)}.{i}") if chunks else (lambda i: f"blocks.{i}")
    return Layout(name, "dinov2_chunked" if chunks else "dinov2_hub", randomize(m, 1), block, parts, out, heads=heads, antialias=registers, offset=0.0 if registers else 0.1,
                  save="pth", run=lambda m, x: m.forward_features(x), swap=swap_hub, **kw)


def make_timm(name, layout, width=128, depth=DEPTH, heads=2, patch=14, image=224, scale=True, swiglu=False, prefix=1, registers=0, distilled=False, save="safetensors", wrap=None, classes=10, act=None):
    args = dict(img_size=image, patch_size=patch, embed_dim=width, depth=depth, num_heads=heads, num_classes=classes, dynamic_img_size=True)
    if swiglu:
        args.update(mlp_ratio=2.66667 * 2, mlp_layer=timm.layers.SwiGLUPacked, act_layer=torch.nn.SiLU)
    if act:
        args.update(act_layer=act)
    if scale:
        args.update(init_values=1.0)
    if prefix == 0:
        args.update(no_embed_class=True, reg_tokens=registers)
    m = timm.models.deit.VisionTransformerDistilled(**args) if distilled else VisionTransformer(**args)
    parts = {**HUB_PARTS, **({"mlp.w12": ["mlp.fc1"], "mlp.w3": ["mlp.fc2"]} if swiglu else MLP), **(SCALES if scale else {})}
    out = {**HUB_OUT, **({"register_tokens": "reg_token"} if registers else {}), **({"dist_token": "dist_token"} if distilled else {})}
    return Layout(name, layout, randomize(m, 2), lambda i: f"blocks.{i}", parts, out, patch=patch, heads=heads, antialias=True, prefix=prefix, save=save, wrap=wrap,
                  run=lambda m, x: m.forward_features(x), swap=swap_timm, config={"architecture": "vit_base_patch16_224", "model_args": {"act_layer": act}} if act else None)


HF_ATTENTION = {"attn.qkv": ["attention.q_proj", "attention.k_proj", "attention.v_proj"], "attn.proj": ["attention.o_proj"]}
HF_OUT = {"cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings", "patch_embed.proj": "embeddings.patch_embeddings.projection", "norm": "layernorm"}


def make_hf_dinov2(name, registers=False, swiglu=False, width=128, depth=DEPTH, heads=2, image=224, classes=0, eps=1e-6, save="folder", act="gelu"):
    import transformers as tf
    config, plain, full = ((tf.Dinov2WithRegistersConfig, tf.Dinov2WithRegistersModel, tf.Dinov2WithRegistersForImageClassification) if registers
                           else (tf.Dinov2Config, tf.Dinov2Model, tf.Dinov2ForImageClassification))
    c = config(hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, patch_size=14, image_size=image, use_swiglu_ffn=swiglu, hidden_act=act, layer_norm_eps=eps, **({"num_labels": classes} if classes else {}))
    m = (full if classes else plain)(c)
    at = ("dinov2_with_registers." if registers else "dinov2.") if classes else ""
    ffn = {"mlp.w12": ["mlp.gate_proj", "mlp.up_proj"], "mlp.w3": ["mlp.down_proj"]} if swiglu else MLP
    parts = {"norm1": ["norm1"], **HF_ATTENTION, "norm2": ["norm2"], **ffn, "ls1": ["layer_scale1"], "ls2": ["layer_scale2"]}
    out = {k: at + v for k, v in HF_OUT.items()}
    if registers:
        out["register_tokens"] = at + "embeddings.register_tokens"
    return Layout(name, "hf_dinov2_with_registers" if registers else "hf_dinov2", randomize(m, 3), lambda i: f"{at}encoder.layer.{i}", parts, out, heads=heads, antialias=registers, save=save,
                  run=lambda m, x: m(x), swap=swap_hf)


def make_hf_vit(name, deit=False, width=128, depth=DEPTH, heads=2, image=224, classes=0, eps=1e-12, save="folder", act="gelu"):
    import transformers as tf
    config, plain, full = (tf.DeiTConfig, tf.DeiTModel, tf.DeiTForImageClassification) if deit else (tf.ViTConfig, tf.ViTModel, tf.ViTForImageClassification)
    c = config(hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=4 * width, patch_size=16, image_size=image, hidden_act=act, layer_norm_eps=eps, **({"num_labels": classes} if classes else {}))
    m = full(c) if classes else plain(c, add_pooling_layer=False)
    at = ("deit." if deit else "vit.") if classes else ""
    parts = {"norm1": ["layernorm_before"], **HF_ATTENTION, "norm2": ["layernorm_after"], **MLP}
    out = {k: at + v for k, v in HF_OUT.items()}
    if deit:
        out["dist_token"] = at + "embeddings.distillation_token"
    return Layout(name, "hf_deit" if deit else "hf_vit", randomize(m, 4), lambda i: f"{at}layers.{i}", parts, out, patch=16, heads=heads, prefix=2 if deit else 1, save=save,
                  run=lambda m, x: m(x, interpolate_pos_encoding=True), swap=swap_hf)


def lightly(state):
    """lightly-train's task file: a DINOv2 backbone in two wrappers, a linear head, and what is not tensors."""
    width = state["norm.weight"].shape[0]
    torch.manual_seed(5)
    task = {"model.backbone._model." + k: v for k, v in state.items()} | {"model.head.weight": torch.randn(7, width), "model.head.bias": torch.randn(7)}
    return {"train_model": task, "model_class_path": "lightly_train._task_models.x.Y", "model_init_args": {"model_name": "dinov2/vits14"}, "license_info": ""}


def training(state):
    """DINOv2's own training file: a teacher with its heads."""
    return {"teacher": {"backbone." + k: v for k, v in state.items()} | {"dino_head.mlp.0.weight": torch.zeros(3, 4)}}


def cases(full=False):
    """[(how to make it)]: each is made when its turn comes."""
    hubs = [lambda: make_hub("hub"), lambda: make_hub("hub_registers", registers=True), lambda: make_hub("hub_swiglu", swiglu=True, width=192, heads=3),
            lambda: make_hub("hub_reg_swiglu", registers=True, swiglu=True),
            lambda: make_hub("hub_chunked", chunks=2, depth=4, wrap=training), lambda: make_hub("lightly_linear", wrap=lightly)]
    rest = [lambda: make_timm("timm_dinov2", "timm_dinov2"), lambda: make_timm("timm_reg4", "timm_dinov2", prefix=0, registers=4),
            lambda: make_timm("timm_swiglu", "timm_dinov2", swiglu=True), lambda: make_timm("timm_reg4_swiglu", "timm_dinov2", prefix=0, registers=4, swiglu=True),
            lambda: make_timm("timm_vit", "timm_vit", patch=16, scale=False), lambda: make_timm("timm_deit3", "timm_deit3", patch=16, prefix=0),
            lambda: make_timm("timm_distilled", "timm_deit_distilled", patch=16, scale=False, prefix=2, distilled=True),
            lambda: make_timm("timm_wrapped", "timm_vit", patch=16, scale=False, save="pth", wrap=lambda s: {"epoch": 3, "state_dict": {"module." + k: v for k, v in s.items()}, "arch": "vit"}),
            lambda: make_hf_dinov2("hf_dinov2"), lambda: make_hf_dinov2("hf_registers", registers=True), lambda: make_hf_dinov2("hf_swiglu", swiglu=True),
            lambda: make_hf_dinov2("hf_classifier", classes=9, heads=4, eps=1e-5), lambda: make_hf_vit("hf_vit"), lambda: make_hf_vit("hf_vit_classifier", classes=9, eps=1e-7),
            lambda: make_hf_vit("hf_deit", deit=True),
            lambda: make_timm("timm_gelu_tanh", "timm_vit", patch=16, scale=False, act="gelu_tanh"), lambda: make_hf_dinov2("hf_dinov2_gelu_new", act="gelu_new"),
            *[lambda act=act: make_hf_vit("hf_" + act, act=act) for act in ("gelu_pytorch_tanh", "gelu_python_tanh", "gelu_new", "gelu_fast", "gelu_accurate")],
            # as torch.save(model.state_dict()) writes transformers 5's names
            lambda: make_hf_dinov2("memory_dinov2", save="pth"), lambda: make_hf_dinov2("memory_registers", registers=True, save="pth"),
            lambda: make_hf_dinov2("memory_swiglu", swiglu=True, save="pth"), lambda: make_hf_dinov2("memory_classifier", classes=9, save="pth"),
            lambda: make_hf_vit("memory_vit", classes=9, save="pth"), lambda: make_hf_vit("memory_deit", deit=True, save="pth")]
    if full:
        true = [("s", 384, 12, 6), ("b", 768, 12, 12), ("l", 1024, 24, 16)]
        hubs = [lambda s=s: make_hub(f"full_hub_{s[0]}", width=s[1], depth=s[2], heads=s[3], image=518) for s in true]
        hubs += [lambda: make_hub("full_hub_g", swiglu=True, width=1536, depth=2, heads=24, image=518)]
        rest = [lambda s=s: make_hf_dinov2(f"full_hf_{s[0]}", width=s[1], depth=s[2], heads=s[3], image=518) for s in true[:2]]
        rest += [lambda: make_hf_dinov2("full_hf_g", swiglu=True, width=1536, depth=2, heads=24, image=518)]
    if not hub():
        print(f"SKIPPED: {len(hubs)} cases of DINOv2's hub code: no checkout of it at {HUB} (set DINOV2)")
    return (hubs if hub() else []) + rest
