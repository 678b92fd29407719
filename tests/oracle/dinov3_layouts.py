"""DINOv3 models of every layout with seeded random weights, built by the libraries that define them, saved as they save them.

DINOv3's hub code is no package: DINOV3 names a checkout of it (default ~/.cache/vitscope/dinov3); without one its cases are skipped, loudly."""
import hashlib, os, pathlib, sys

import safetensors.torch
import torch
import torch.nn.functional as F

from layouts import randomize

HUB = os.environ.get("DINOV3", os.path.expanduser("~/.cache/vitscope/dinov3"))


def hub():
    """DINOv3's DinoVisionTransformer, or None."""
    if not pathlib.Path(HUB, "dinov3/models/vision_transformer.py").exists():
        return None
    if HUB not in sys.path:
        sys.path.insert(0, HUB)
    from dinov3.models.vision_transformer import DinoVisionTransformer
    return DinoVisionTransformer


def sha(tensors):
    return hashlib.sha256(torch.cat([t.detach().float().reshape(t.shape[0], -1) for t in tensors]).numpy().tobytes()).hexdigest()


def tables(periods, h, w):
    """sin, cos [h*w, D] in float64 of float32 periods (docs/vit-models.md 2.5)."""
    y, x = (2 * (torch.arange(n, dtype=torch.float64) + 0.5) / n - 1 for n in (h, w))
    at = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2, 1)
    angle = (2 * torch.pi * at / periods.double()).reshape(h * w, -1).repeat(1, 2)
    return angle.sin(), angle.cos()


def computed(head_width, theta=100.0):
    return (theta ** (torch.arange(head_width // 4, dtype=torch.float64) / (head_width // 4))).float()


class Model:
    """patch, heads, width; where the modules are; which periods the library uses; how its rotation is replaced."""

    def __init__(self, name, layout, model, heads, width, block, parts, outside, qkv_bias, rotate, run, periods=None, save=None, rope=None, head=None):
        self.name, self.layout, self.model, self.heads, self.block, self.parts, self.outside = name, layout, model, heads, block, parts, outside
        self.qkv_bias, self.rotate, self.run, self.save, self.rope, self.head = qkv_bias, rotate, run, save, rope, head
        self.periods = computed(width // heads) if periods is None else periods

    def depth(self):
        return len(self.model.get_submodule(self.block))

    def get(self, i, path):
        return self.model.get_submodule(f"{self.block}.{i}.{path}")

    def canonical(self):
        """canonical name -> sha256 of the float32 bytes."""
        out = {"rope_embed.periods": sha([self.periods.reshape(1, -1)])}
        for name, path in self.outside.items():
            at = self.model
            for part in path.split("."):
                at = getattr(at, part)
            if isinstance(at, torch.nn.Module):
                out.update({f"{name}.weight": sha([at.weight]), f"{name}.bias": sha([at.bias])})
            elif at.numel():
                out[name] = sha([at])
        for i in range(self.depth()):
            at = f"blocks.{i}."
            for name, paths in self.parts.items():
                mods = [self.get(i, p) for p in paths]
                out[f"{at}{name}.weight"] = sha([m.weight for m in mods])
                if name != "attn.qkv":
                    out[f"{at}{name}.bias"] = sha([m.bias for m in mods])
            bias = self.qkv_bias(self, i)
            if bias is not None:
                out[f"{at}attn.qkv.bias"] = sha([bias])
            block = self.model.get_submodule(f"{self.block}.{i}")
            for k, names in (("ls1", ("ls1", "layer_scale1", "gamma_1")), ("ls2", ("ls2", "layer_scale2", "gamma_2"))):
                s = next(getattr(block, n) for n in names if hasattr(block, n))
                out[f"{at}{k}.gamma"] = sha([getattr(s, "gamma", getattr(s, "lambda1", s))])
        return out

    @torch.no_grad()
    def taps(self, pixels, exact):
        """Every tap in float64; exact: the rotation from `tables`, else the library's own (float32)."""
        model, out, got, handles, rotated = self.model.double(), {}, {}, [], []
        h, w = pixels.shape[2] // 16, pixels.shape[3] // 16

        def keep(store, key):
            return lambda _, a, r: store.__setitem__(key, (r[0] if isinstance(r, tuple) else r)[0].clone())

        for i in range(self.depth()):
            base = model.get_submodule(f"{self.block}.{i}")
            if i == 0:
                handles.append(base.register_forward_pre_hook(lambda _, a: out.__setitem__("embed", a[0][0].clone())))
            handles.append(base.register_forward_hook(keep(out, f"blocks.{i}")))
            for name, paths in self.parts.items():
                for k, p in enumerate(paths):
                    if not name.startswith("norm") and not (name == "attn.qkv" and self.layout == "timm_dinov3"):
                        handles.append(self.get(i, p).register_forward_hook(keep(got, (f"blocks.{i}.{name}", k))))
        attention = F.scaled_dot_product_attention

        def watched(q, k, v, *a, **kw):
            rotated.append((q, k, v))
            return attention(q, k, v, *a, **kw)

        F.scaled_dot_product_attention = watched
        undo = self.rotate(self, tables(self.periods, h, w)) if exact else lambda: None
        try:
            out["norm"] = self.run(model, pixels.double())[0].clone()
        finally:
            F.scaled_dot_product_attention = attention
            undo()
            for handle in handles:
                handle.remove()
        for name in {n for n, _ in got}:
            out[name] = torch.cat([got[n, k] for n, k in sorted(got) if n == name], -1)
        for i, operands in enumerate(rotated):
            for n, x in zip("qkv", operands):
                out[f"blocks.{i}.attn.{n}"] = x[0].transpose(0, 1).reshape(x.shape[2], -1)
        if self.head:
            patches = out["norm"][-h * w:]
            out["logits"] = self.head(patches).T.reshape(-1, h, w)
        return {k: v.numpy() for k, v in out.items()}


def swap(owner, name, function):
    had, old = name in vars(owner), vars(owner).get(name)
    setattr(owner, name, function)
    return lambda: setattr(owner, name, old) if had else delattr(owner, name)


# ---- how each is saved

def as_safetensors(model, path):
    safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors"), None


def as_pth(wrap=lambda state: state):
    def save(model, path):
        torch.save(wrap(model.state_dict()), path.with_suffix(".pth"))
        return path.with_suffix(".pth"), None
    return save


def as_folder(model, path):
    model.save_pretrained(path)
    return path, None


def as_folder_in_memory_names(model, path):
    """A state dict as newer transformers name it, beside its config.json."""
    path.mkdir()
    model.config.save_pretrained(path)
    safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path / "model.safetensors")
    return path, None


# ---- the libraries

BLOCK = {"norm1": ["norm1"], "attn.qkv": ["attn.qkv"], "attn.proj": ["attn.proj"], "norm2": ["norm2"]}
MLP = {"mlp.fc1": ["mlp.fc1"], "mlp.fc2": ["mlp.fc2"]}
OUTSIDE = {"cls_token": "cls_token", "patch_embed.proj": "patch_embed.proj", "norm": "norm"}


def make_hub(name, ffn="mlp", ratio=4, width=128, heads=2, depth=3, bias=True, mask="intended", untied=False, save=as_safetensors, head=None, rope=None):
    m = hub()(img_size=224, patch_size=16, pos_embed_rope_base=100, pos_embed_rope_normalize_coords="separate", pos_embed_rope_rescale_coords=2, pos_embed_rope_dtype="fp32",
              embed_dim=width, depth=depth, num_heads=heads, ffn_ratio=ratio, qkv_bias=bias, layerscale_init=1e-5, norm_layer="layernormbf16", ffn_layer=ffn,
              ffn_bias=True, proj_bias=True, n_storage_tokens=4, mask_k_bias=True, untie_cls_and_patch_norms=untied, untie_global_and_local_cls_norm=untied)
    m.init_weights()
    randomize(m, 11)
    with torch.no_grad():
        m.rope_embed.periods.copy_(m.rope_embed.periods.bfloat16())
        for b in m.blocks if bias and mask == "random" else []:
            b.attn.qkv.bias_mask.copy_(torch.tensor([0, 0.5, 1, -2])[torch.randint(4, b.attn.qkv.bias_mask.shape)])  # exact products
    parts = {**BLOCK, **(MLP if ffn == "mlp" else {"mlp.w12": ["mlp.w1", "mlp.w2"], "mlp.w3": ["mlp.w3"]})}
    out = {**OUTSIDE, "register_tokens": "storage_tokens", **({"cls_norm": "cls_norm"} if untied else {})}

    def masked(l, i):
        qkv = l.get(i, "attn.qkv")
        return None if qkv.bias is None else (qkv.bias.float() * qkv.bias_mask.float()).reshape(1, -1)

    def run(m, x):
        patches, cls, extra = m.get_intermediate_layers(x, n=1, return_class_token=True, return_extra_tokens=True)[0]
        return torch.cat([cls[:, None], extra, patches], 1)

    periods = None if rope == "computed" else m.rope_embed.periods.clone()
    if rope == "computed":
        save_as, kept = save, m.rope_embed.periods.clone()

        def save(model, path):
            done = save_as(model, path)  # the file has the rounded ones
            model.rope_embed.periods.copy_(computed(width // heads))
            assert not torch.equal(kept, model.rope_embed.periods)
            return done

    return Model(name, "dinov3_hub", m, heads, width, "blocks", parts, out, masked, lambda l, t: swap(l.model.rope_embed, "forward", lambda H, W: t), run, periods=periods, save=save, rope=rope, head=head)


def make_hf(name, gated=False, key_bias=False, width=128, heads=2, depth=3, hidden=512, registers=4, theta=100.0, save=as_folder, eps=1e-5):
    import transformers as tf
    m = tf.DINOv3ViTModel(tf.DINOv3ViTConfig(hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=hidden, num_register_tokens=registers, key_bias=key_bias,
                                             use_gated_mlp=gated, hidden_act="silu" if gated else "gelu", rope_theta=theta, layer_norm_eps=eps))
    randomize(m, 12)
    at = "attention."
    parts = {"norm1": ["norm1"], "attn.qkv": [at + "q_proj", at + "k_proj", at + "v_proj"], "attn.proj": [at + "o_proj"], "norm2": ["norm2"],
             **({"mlp.w12": ["mlp.gate_proj", "mlp.up_proj"], "mlp.w3": ["mlp.down_proj"]} if gated else {"mlp.fc1": ["mlp.up_proj"], "mlp.fc2": ["mlp.down_proj"]})}
    out = {"cls_token": "embeddings.cls_token", "register_tokens": "embeddings.register_tokens", "patch_embed.proj": "embeddings.patch_embeddings", "norm": "norm"}

    def bias(l, i):
        mods = [l.get(i, p) for p in parts["attn.qkv"]]
        return torch.cat([torch.zeros(width) if p.bias is None else p.bias.float() for p in mods]).reshape(1, -1)

    return Model(name, "hf_dinov3", m, heads, width, "model.layer", parts, out, bias, lambda l, t: swap(l.model.rope_embeddings, "forward", lambda x: (t[1], t[0])),
                 lambda m, x: m(x).last_hidden_state, periods=computed(width // heads, theta), save=save)


def make_timm(name, base="vit_small_patch16_dinov3", width=128, heads=2, depth=3, **kw):
    import timm
    m = timm.create_model(base, embed_dim=width, depth=depth, num_heads=heads, **kw)
    randomize(m, 13)
    gated = hasattr(m.blocks[0].mlp, "fc1_g")
    parts = {**BLOCK, **({"mlp.w12": ["mlp.fc1_g", "mlp.fc1_x"], "mlp.w3": ["mlp.fc2"]} if gated else MLP)}

    def bias(l, i):
        a = l.get(i, "attn")
        return None if a.q_bias is None else torch.cat([a.q_bias.float(), torch.zeros(width), a.v_bias.float()]).reshape(1, -1)

    return Model(name, "timm_dinov3", m, heads, width, "blocks", parts, {**OUTSIDE, "register_tokens": "reg_token"}, bias,
                 lambda l, t: swap(l.model.rope, "get_embed", lambda *a, **k: torch.cat(t, -1)), lambda m, x: m.forward_features(x), save=as_safetensors)


def make_demo(path):
    """The demo model as a case of timm's, with its BatchNorm and classifier."""
    state = {k: v.float() for k, v in safetensors.torch.load_file(path).items()}
    case = make_timm("demo", width=192, heads=3, depth=12)
    case.model.load_state_dict({k[len("backbone."):]: v for k, v in state.items() if k.startswith("backbone.")})
    bn, conv = torch.nn.BatchNorm1d(192).eval(), torch.nn.Linear(192, state["conv_seg.weight"].shape[0])
    bn.load_state_dict({k[3:]: v for k, v in state.items() if k.startswith("bn.")}, strict=False)
    conv.load_state_dict({k[9:]: v.flatten(1) if v.ndim == 4 else v for k, v in state.items() if k.startswith("conv_seg.")})
    case.head = lambda x: conv.double()(bn.double()(x))
    return case


# ---- heads

def linear_head(width, classes=7):
    torch.manual_seed(5)
    return torch.nn.Linear(width, classes)


def lightly(wrapper):
    """lightly-train's task file of a linear segmentation model."""
    def make(state):
        head = linear_head(state["norm.weight"].shape[0])
        task = {f"model.backbone.{wrapper}" + k: v for k, v in state.items()} | {"model.head." + k: v.data for k, v in head.state_dict().items()}
        task["criterion.weight"] = torch.ones(7)
        return {"train_model": task, "model_class_path": "lightly_train._task_models.x.Y", "model_init_args": {"model_name": "dinov3/vitb16"}, "license_info": ""}
    return make


def head_file(model, path, bare=False):
    """The hub's backbone and DINOv3's own linear segmentation head in a file beside it."""
    backbone, _ = as_pth()(model, path)
    width = model.norm.weight.shape[0]
    head, bn = linear_head(width), batch_norm(width)
    at = "" if bare else "segmentation_model.1."
    state = {f"{at}conv.weight": head.weight.data[:, :, None, None], f"{at}conv.bias": head.bias.data, **{f"{at}batchnorm_layer." + k: v for k, v in bn.state_dict().items()}}
    torch.save(state if bare else {"model": state, "optimizer": {"state": {}, "param_groups": []}}, path.with_suffix(".head.pth"))
    return backbone, path.with_suffix(".head.pth")


def batch_norm(width):
    torch.manual_seed(6)
    bn = torch.nn.BatchNorm1d(width).eval()
    with torch.no_grad():
        for v in (bn.weight, bn.bias, bn.running_mean):
            v.copy_(torch.randn_like(v))
        bn.running_var.copy_(torch.rand_like(bn.running_var) + 0.5)
    return bn


def with_linear(width):
    return lambda x: linear_head(width).double()(x)


def with_batch_norm(width):
    return lambda x: linear_head(width).double()(batch_norm(width).double()(x))


def cases(full=False):
    """[how to make it]: each is made when its turn comes."""
    hubs = [lambda: make_hub("hub"), lambda: make_hub("hub_mask", mask="random"), lambda: make_hub("hub_no_bias", bias=False, heads=1),
            lambda: make_hub("hub_swiglu", ffn="swiglu", ratio=6, width=192, heads=3), lambda: make_hub("hub_untied", untied=True, ffn="swiglu64", ratio=3, bias=False),
            lambda: make_hub("hub_computed", rope="computed"), lambda: make_hub("lightly", save=as_pth(lightly("")), head=with_linear(128)),
            lambda: make_hub("lightly_wrapped", save=as_pth(lightly("_model.")), head=with_linear(128)),
            lambda: make_hub("hub_head", save=head_file, head=with_batch_norm(128)),
            lambda: make_hub("hub_bare_head", save=lambda m, p: head_file(m, p, bare=True), head=with_batch_norm(128)),
            lambda: make_hub("hub_teacher", save=as_pth(lambda s: {"teacher": {"backbone." + k: v for k, v in s.items()}, "iteration": 3}))]
    rest = [lambda: make_hf("hf"), lambda: make_hf("hf_gated", gated=True), lambda: make_hf("hf_key_bias", key_bias=True, theta=50.0, eps=1e-6),
            lambda: make_hf("hf_no_registers", registers=0), lambda: make_hf("hf_in_memory", save=as_folder_in_memory_names),
            lambda: make_timm("timm"), lambda: make_timm("timm_qkvb", "vit_small_patch16_dinov3_qkvb"), lambda: make_timm("timm_plus", "vit_small_plus_patch16_dinov3"),
            lambda: make_timm("timm_plus_qkvb", "vit_small_plus_patch16_dinov3_qkvb", width=192, heads=3)]
    if full:
        hubs = [lambda: make_hub("full_hub_h", ffn="swiglu", ratio=6, width=1280, heads=20, depth=2), lambda: make_hub("full_hub_7b", ffn="swiglu64", ratio=3, width=4096, heads=32, depth=2, bias=False, untied=True)]
        rest = [lambda: make_hf("full_hf_h", gated=True, width=1280, heads=20, depth=2, hidden=5120)]
    if not hub():
        print(f"SKIPPED: {len(hubs)} cases of DINOv3's hub code: no checkout of it at {HUB} (set DINOV3)")
    return (hubs if hub() else []) + rest
