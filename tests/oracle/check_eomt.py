"""lightly-train's own EoMT module in float64 against `vitscope capture --backend ref`: class logits, mask logits and the stream
after every block, max|a-b| / max|a| at most 1e-9; on cpu 1e-4. The checkpoint is in the form that lightly-train exports.

Run: ~/.cache/vitscope/lightly/bin/python tests/oracle/check_eomt.py   (a virtual environment with lightly-train from PyPI;
VITSCOPE=path of the program)"""
import json, os, pathlib, subprocess, sys, tempfile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from lightly_train._task_models.dinov2_eomt_semantic_segmentation.task_model import DINOv2EoMTSemanticSegmentation
from lightly_train._task_models.dinov3_eomt_semantic_segmentation.task_model import DINOv3EoMTSemanticSegmentation

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def exact_positions():
    """The module resamples positions in float32; in float64 the comparison is of formulas, not of rounding."""
    plain = F.interpolate

    def interpolate(x, *args, **kwargs):
        return plain(x.double() if kwargs.get("mode") == "bicubic" else x, *args, **kwargs)

    torch.nn.functional.interpolate = interpolate


def make_model(cls, name, classes, image_size, queries, joint, seed):
    model = cls(model_name=name, classes=classes, class_ignore_index=None, image_size=(image_size, image_size), image_normalize=IMAGENET,
                num_queries=queries, num_joint_blocks=joint, load_weights=False)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, p in model.named_parameters():  # large enough that every term matters
            scale = 0.3 if p.ndim == 1 or key.startswith("queries") or key.endswith(("cls_token", "pos_embed", "tokens")) else p[0].numel() ** -0.5
            center = 1.0 if p.ndim == 1 and key.endswith("weight") and "norm" in key else 0.5 if key.endswith("gamma") else 0.0
            scale *= 8 if key.startswith("class_head") else 2 if key.startswith("mask_head") else 1  # queries of a mind of their own
            p.copy_(torch.randn(p.shape, generator=g) * scale + center)
        for key, mask in model.named_buffers():  # DINOv3's keys have no bias
            if key.endswith("bias_mask"):
                mask.fill_(1)
                mask[len(mask) // 3: 2 * len(mask) // 3] = 0
    if getattr(model.backbone, "rope_embed", None) is not None:
        model.backbone.rope_embed.dtype = torch.float64  # angles from the file's periods without rounding
    return model.eval()


def save(model, path):
    """As train_task.py exports: keys as the training module has them."""
    torch.save({"model_class_path": model.class_path, "model_init_args": model.init_args,
                "train_model": {f"model.{k}": v for k, v in model.state_dict().items()}, "license_info": ""}, path)


@torch.no_grad()
def taps(model, pixels):
    out = {}
    handles = []
    for i, b in enumerate(model.backbone.blocks):
        handles.append(b.mlp.register_forward_hook(lambda _, a, r, i=i: out.__setitem__(f"blocks.{i}.mlp.fc2", r[0].numpy().copy())))
        handles.append(b.attn.qkv.register_forward_hook(lambda _, a, r, i=i: out.__setitem__(f"blocks.{i}.attn.qkv", r[0].numpy().copy())))
    for i in (0, 2, 4):
        handles.append(model.mask_head[i].register_forward_hook(lambda _, a, r, i=i: out.__setitem__(f"head.mask_head.{i}", r[0].numpy().copy())))
    handles.append(model.backbone.norm.register_forward_hook(lambda _, a, r: out.__setitem__("norm", r[0].numpy().copy())))
    masks, classes = model.forward_train(pixels, return_logits_per_layer=False)
    for h in handles:
        h.remove()
    out["masks"], out["head.class_head"] = masks[-1][0].numpy().copy(), classes[-1][0].numpy().copy()
    scores = model.to_per_pixel_logits_semantic(masks[-1], classes[-1])[0, :-1]
    out["logits"] = scores.numpy().copy()
    return out


def vitscope():
    return os.environ.get("VITSCOPE", str(ROOT / "build/release/analyzer/cli/vitscope"))


def run(*args):
    done = subprocess.run([vitscope(), *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{args}: {done.stderr}")
    return done.stdout


def check(name, model, checkpoint, heads, size, backend, limit, directory):
    rgb = np.random.default_rng(5).integers(0, 256, (*size, 3), dtype=np.uint8)
    pixels = torch.from_numpy(((rgb.astype(np.float64) - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)[None].double()
    want = taps(model.double(), pixels)
    images = directory / f"{name}_{size[0]}x{size[1]}"
    images.mkdir(exist_ok=True)
    Image.fromarray(rgb).save(images / "a.png")
    config = directory / f"{name}.yaml"
    config.write_text(f"version: 1\nname: {name}\nmodel: {{checkpoint: {checkpoint}, heads: {heads}}}\ndata: {{analysis: {{images: {images}}}}}\nanalyze: {{recipes: []}}\n")
    out = directory / f"{name}_{size[0]}x{size[1]}_{backend}"
    run("capture", config, "--backend", backend, "--out", out)
    worst = ("", 0.0)
    for tap, a in want.items():
        b = np.load(out / f"{tap}.npy")[0]
        if b.shape != a.shape:
            raise SystemExit(f"{name}: {tap} has shape {b.shape}, the oracle {a.shape}")
        error = np.abs(a - b).max() / np.abs(a).max()
        error = np.inf if np.isnan(error) else error
        worst = (tap, error) if error > worst[1] else worst
    print(f"{name:20s} {size[0]}x{size[1]} {backend:4s} {len(want)} taps, worst {worst[1]:.2e} at {worst[0]}")
    return worst[1] <= limit


def check_maps(name, model, checkpoint, heads, directory):
    """predict() on images that take several tiles, against the program's evaluation: lightly-train's map is the label map, so
    that every pixel counts; in float64 there, as random masks leave pixels whose scores are alike but for rounding."""
    images, labels = directory / f"{name}_photos", directory / f"{name}_labels"
    images.mkdir()
    labels.mkdir()
    seen = set()
    for i, (h, w) in enumerate(((150, 230), (301, 120), (97, 97))):
        coarse = np.random.default_rng(i).integers(0, 256, (h // 12 + 1, w // 12 + 1, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((w, h), Image.BILINEAR)
        image.save(images / f"{i}.png")
        ids = model.double().predict(torch.from_numpy(np.array(image)).permute(2, 0, 1)).numpy().astype(np.uint8)
        Image.fromarray(ids).save(labels / f"{i}.png")
        seen |= set(np.unique(ids).tolist())
    config = directory / f"{name}_maps.yaml"
    config.write_text(f"version: 1\nname: {name}\nmodel: {{checkpoint: {checkpoint}, heads: {heads}}}\nanalyze: {{recipes: []}}\nstates: [fp32]\n"
                      f"data: {{evaluation: {{images: {images}, labels: {labels}}}, preprocess: {{tiles: {{short: {min(model.image_size)}}}}}}}\n")
    out = directory / f"{name}_maps"
    run("run", config, "--backend", "cpu", "--out", out)
    task = json.loads(next(out.rglob("results.json")).read_text())["task"]["fp32"]
    print(f"{name:20s} maps of 3 images, {len(seen)} classes: {task['aacc']:.3f} % of the pixels as lightly-train has them")
    return len(seen) > 1 and task["aacc"] >= 99.9


def main():
    exact_positions()
    good = True
    with tempfile.TemporaryDirectory() as d:
        d = pathlib.Path(d)
        v2, v3 = DINOv2EoMTSemanticSegmentation, DINOv3EoMTSemanticSegmentation
        odd = {2 * i + 1: f"c{i}" for i in range(11)}
        for name, cls, kind, heads, classes, image_size, queries, joint, sizes in (
                ("dinov2_test", v2, "dinov2/_vittest14-eomt", 2, {3: "c3", 7: "c7", 0: "c0", 9: "c9", 4: "c4"}, 56, 7, 2, ((224, 224), (56, 98))),
                ("dinov2_vits14", v2, "dinov2/vits14-notpretrained-eomt", 6, odd, 84, 20, 3, ((84, 84), (70, 112))),
                ("dinov3_vitt16", v3, "dinov3/vitt16-notpretrained-eomt", 3, odd, 64, 20, 3, ((96, 96), (64, 112))),
                ("dinov3_vitt16_joint12", v3, "dinov3/vitt16-notpretrained-eomt", 3, odd, 64, 9, 12, ((64, 80),))):
            model = make_model(cls, kind, classes, image_size, queries, joint, 12 if "vits14" in name else 11)
            save(model, d / f"{name}.pt")
            if heads != 2:  # heads of so narrow a model are known from the configuration alone
                print(*(line for line in run("inspect", d / f"{name}.pt").splitlines() if " head  " in line))
            for size in sizes:
                good &= check(name, model, d / f"{name}.pt", heads, size, "ref", 1e-9, d)
                good &= check(name, model, d / f"{name}.pt", heads, size, "cpu", 1e-4, d)
            good &= check_maps(name, model, d / f"{name}.pt", heads, d)
    sys.exit(0 if good else 1)


main()
