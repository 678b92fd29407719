"""The real library as oracle: timm's VisionTransformer in float64, every tap of docs/study.md 1 by hooks.

Used by make_goldens.py, check_taps.py and check_study.py; run with the python that setup.sh prints."""
import os, subprocess, tempfile, pathlib

import numpy as np
import safetensors.torch
import timm.layers.pos_embed
import torch
from timm.models.vision_transformer import VisionTransformer

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def load(path, dtype=torch.float64, heads=None, img_size=224):
    """(backbone, head) of a timm-layout safetensors file; head is None, ('segmentation', bn, conv) or ('classifier',)."""
    state = {k: v.to(torch.float32) for k, v in safetensors.torch.load_file(path).items()}
    prefix = next(k for k in state if k.endswith("patch_embed.proj.weight"))[: -len("patch_embed.proj.weight")]
    body = {k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix) and not k.startswith(("bn.", "conv_seg."))}
    width, _, patch, _ = body["patch_embed.proj.weight"].shape
    depth = 1 + max(int(k.split(".")[1]) for k in body if k.startswith("blocks."))
    heads = heads or {192: 3, 384: 6, 768: 12}.get(width, width // 64)
    classes = body["head.weight"].shape[0] if "head.weight" in body else 0
    grid = round((body["pos_embed"].shape[1] - 1) ** 0.5)
    model = VisionTransformer(img_size=grid * patch, patch_size=patch, embed_dim=width, depth=depth, num_heads=heads, num_classes=classes,
                              init_values=1.0 if "blocks.0.ls1.gamma" in body else None, mlp_ratio=body["blocks.0.mlp.fc1.weight"].shape[0] / width,
                              dynamic_img_size=True)
    model.load_state_dict(body)
    model = model.eval().to(dtype)
    head = None
    if "conv_seg.weight" in state:
        bn = torch.nn.BatchNorm2d(width)
        bn.load_state_dict({k[3:]: v for k, v in state.items() if k.startswith("bn.")}, strict=False)
        conv = torch.nn.Conv2d(width, state["conv_seg.weight"].shape[0], 1)
        conv.load_state_dict({k[9:]: v for k, v in state.items() if k.startswith("conv_seg.")})
        head = ("segmentation", bn.eval().to(dtype), conv.to(dtype))
    elif classes:
        head = ("classifier",)
    return model, head


def exact_positions(enable=True):
    """timm resamples the grid in float32; in float64 the comparison is of formulas, not of rounding."""
    import torch.nn.functional as F

    def resample(posemb, new_size, old_size=None, num_prefix_tokens=1, interpolation="bicubic", antialias=True, verbose=False):
        grid = round((posemb.shape[1] - num_prefix_tokens) ** 0.5)
        if posemb.shape[1] == new_size[0] * new_size[1] + num_prefix_tokens and new_size[0] == new_size[1]:
            return posemb
        prefix, rest = posemb[:, :num_prefix_tokens], posemb[:, num_prefix_tokens:]
        rest = rest.reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
        rest = F.interpolate(rest, size=new_size, mode=interpolation, antialias=antialias)
        return torch.cat([prefix, rest.permute(0, 2, 3, 1).reshape(1, -1, posemb.shape[-1])], dim=1)

    import timm.models.vision_transformer as vt
    vt.resample_abs_pos_embed = resample


@torch.no_grad()
def taps(model, head, pixels):
    """pixels [1,3,H,W] -> dict of tap name -> numpy array, shaped as `vitscope capture` writes them without the image axis."""
    out = {}

    def keep(name):
        def hook(_, args, result):
            out[name + ".in"] = args[0][0].numpy().copy()
            out[name] = result[0].numpy().copy()
        return hook

    handles = []
    for i, b in enumerate(model.blocks):
        for path in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            handles.append(b.get_submodule(path).register_forward_hook(keep(f"blocks.{i}.{path}")))
        handles.append(b.register_forward_hook(lambda _, a, r, i=i: out.__setitem__(f"blocks.{i}", r[0].numpy().copy())))
    handles.append(model.blocks[0].register_forward_pre_hook(lambda _, a: out.__setitem__("embed", a[0][0].numpy().copy())))
    z = model.forward_features(pixels)
    out["norm"] = z[0].numpy().copy()
    for i in range(len(model.blocks)):
        q, k, v = np.split(out[f"blocks.{i}.attn.qkv"], 3, axis=1)
        out.update({f"blocks.{i}.attn.q": q, f"blocks.{i}.attn.k": k, f"blocks.{i}.attn.v": v})
    if head and head[0] == "segmentation":
        h, w = pixels.shape[2] // model.patch_embed.patch_size[0], pixels.shape[3] // model.patch_embed.patch_size[1]
        f = z[:, -h * w:].transpose(1, 2).reshape(1, -1, h, w)
        out["logits"] = head[2](head[1](f))[0].numpy().copy()
    elif head:
        out["logits"] = model.forward_head(z).numpy().copy()
    for h in handles:
        h.remove()
    return out


def vitscope():
    """The program under test: $VITSCOPE, or what a build folder holds."""
    if "VITSCOPE" in os.environ:
        return os.environ["VITSCOPE"]
    for path in (ROOT / "build/release/analyzer/cli/vitscope", ROOT / "build/lead/analyzer/cli/vitscope"):
        if path.exists():
            return str(path)
    raise SystemExit("build vitscope first: ./run build")


def scenes(seed, count, size=224, first=0):
    """uint8 [count, size, size, 3] and labels [count, size, size] from the program's own generator (its bytes are held to SHA-256 sums)."""
    from PIL import Image
    with tempfile.TemporaryDirectory() as d:
        subprocess.run([vitscope(), "scenes", d, "--count", str(first + count), "--seed", str(seed), "--size", str(size)], check=True, stdout=subprocess.DEVNULL)
        rgb = [np.array(Image.open(f"{d}/images/scene_{i:04d}.png")) for i in range(first, first + count)]
        labels = [np.array(Image.open(f"{d}/labels/scene_{i:04d}.png")) for i in range(first, first + count)]
    return np.stack(rgb), np.stack(labels)


def normalise(rgb):
    """float32 pixels as the engine makes them, [n, 3, H, W]."""
    return torch.from_numpy(((rgb.astype(np.float64) - MEAN) / STD).astype(np.float32)).permute(0, 3, 1, 2).contiguous()


def random_vit(path, width=128, depth=3, heads=2, patch=16, grid=4, classes=10, seed=7, layer_scale=False):
    """A seeded plain timm ViT in timm's own layout; weights large enough that every term matters."""
    torch.manual_seed(seed)
    m = VisionTransformer(img_size=grid * patch, patch_size=patch, embed_dim=width, depth=depth, num_heads=heads, num_classes=classes,
                          init_values=1.0 if layer_scale else None)
    for name, p in m.named_parameters():
        with torch.no_grad():
            p.copy_(torch.randn_like(p) * (0.5 if p.ndim == 1 else p[0].numel() ** -0.5 if name.endswith("weight") else 0.5) + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    safetensors.torch.save_file({k: v.contiguous() for k, v in m.state_dict().items()}, path)


def same_tensors(case, path, *more):
    """Tensors as vitscope loads them (canonical.c) against the library's own, by SHA-256."""
    program = os.environ.get("VS_CANONICAL") or str(pathlib.Path(vitscope()).parents[2] / "tests/oracle/vs_canonical")
    run = subprocess.run([program, str(path), str(case.heads), *more], capture_output=True, text=True)
    if run.returncode:
        print(f"{case.name:20s} {run.stderr.strip()}")
        return False
    got = dict(line.split() for line in run.stdout.splitlines() if not line.startswith("head."))
    want = case.canonical()
    wrong = sorted(k for k in set(got) | set(want) if got.get(k) != want.get(k))
    print(f"{case.name:20s} {len(want)} tensors, {len(wrong)} differ {wrong[:4]}")
    return not wrong


def worst_of(want, folder):
    """Largest max|a-b| / max|a| over taps, and where; NaN counts as infinite."""
    worst = (0.0, "")
    for tap, a in want.items():
        b = np.load(folder / f"{tap}.npy")[0].reshape(a.shape)
        error = np.abs(a - b).max() / np.abs(a).max()
        worst = max(worst, (np.inf if np.isnan(error) else float(error), tap))
    return worst
