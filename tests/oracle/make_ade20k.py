"""Stand-ins for the DINOv2 segmentation study: a synthetic folder in ADE20K's format and checkpoints in the published layouts (hub
backbones, mmseg heads) with seeded random weights and few blocks. They go through every step of the study; their mIoU means nothing.

    python make_ade20k.py DIR [--images 20] [--train 4] [--depth 4] [--models s,b,l] [--narrow] [--container pth|safetensors]

--narrow: every model has width 64, for quick tests. --container safetensors: the same tensors in that format under the same names."""
import argparse, pathlib

import numpy as np
import torch
from PIL import Image

WIDTHS = {"s": 384, "b": 768, "l": 1024, "g": 1536}
CLASSES = 150


def backbone(width, depth, seed, grid=37, patch=14):
    """A bare state dict with the hub's names, `mask_token` included."""
    g = torch.Generator().manual_seed(seed)

    def random(*shape, scale=None, mean=0.0):
        return torch.randn(*shape, generator=g) * (scale if scale is not None else shape[-1] ** -0.5) + mean

    hidden = 4 * width
    state = {"cls_token": random(1, 1, width, scale=0.5), "pos_embed": random(1, 1 + grid * grid, width, scale=0.5), "mask_token": torch.zeros(1, width),
             "patch_embed.proj.weight": random(width, 3, patch, patch, scale=(3 * patch * patch) ** -0.5), "patch_embed.proj.bias": random(width, scale=0.2)}
    for i in range(depth):
        for norm in ("norm1", "norm2"):
            state[f"blocks.{i}.{norm}.weight"] = random(width, scale=0.2, mean=1.0)
            state[f"blocks.{i}.{norm}.bias"] = random(width, scale=0.1)
        for name, out, fan in (("attn.qkv", 3 * width, width), ("attn.proj", width, width), ("mlp.fc1", hidden, width), ("mlp.fc2", width, hidden)):
            state[f"blocks.{i}.{name}.weight"] = random(out, fan)
            state[f"blocks.{i}.{name}.bias"] = random(out, scale=0.1)
        for ls in ("ls1", "ls2"):
            state[f"blocks.{i}.{ls}.gamma"] = random(width, scale=0.2, mean=0.5)
    state["norm.weight"], state["norm.bias"] = random(width, scale=0.2, mean=1.0), random(width, scale=0.1)
    return state


def head(channels, seed, classes=CLASSES):
    """mmcv's checkpoint of a decode head: a state dict beside `meta`."""
    g = torch.Generator().manual_seed(seed)
    state = {"decode_head.conv_seg.weight": torch.randn(classes, channels, 1, 1, generator=g) * channels ** -0.5,
             "decode_head.conv_seg.bias": torch.randn(classes, generator=g) * 0.1,
             "decode_head.bn.weight": torch.rand(channels, generator=g) + 0.5, "decode_head.bn.bias": torch.randn(channels, generator=g) * 0.1,
             "decode_head.bn.running_mean": torch.randn(channels, generator=g) * 0.1, "decode_head.bn.running_var": torch.rand(channels, generator=g) + 0.5,
             "decode_head.bn.num_batches_tracked": torch.tensor(1000)}
    return {"meta": {"mmcv_version": "1.7.2", "time": "then"}, "state_dict": state}


def save(obj, path, container):
    if container == "safetensors":
        import safetensors.torch
        safetensors.torch.save_file(obj.get("state_dict", obj), path)
    else:
        torch.save(obj, path)


def pictures(root, split, names, rng, classes=CLASSES):
    """Coloured cells with labels; sizes vary, some are smaller than the crop, some very long."""
    (root / "images" / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations" / split).mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        w, h = [(300, 200), (256, 256), (201, 333), (640, 128)][i] if i < 4 else (int(v) for v in rng.integers(120, 420, 2))
        cells = rng.integers(0, classes + 1, (-(-h // 24), -(-w // 24)))
        label = np.kron(cells, np.ones((24, 24), dtype=np.int64))[:h, :w].astype(np.uint8)
        colour = rng.integers(0, 256, (classes + 1, 3))
        rgb = np.clip(colour[label] + rng.normal(0, 12, (h, w, 3)), 0, 255).astype(np.uint8)
        if i % 5 == 4:
            Image.fromarray(np.ascontiguousarray(rgb)).save(root / "images" / split / f"{name}.png")
        else:
            Image.fromarray(np.ascontiguousarray(rgb)).save(root / "images" / split / f"{name}.jpg", quality=92)
        Image.fromarray(label, mode="L").save(root / "annotations" / split / f"{name}.png")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--train", type=int, default=4)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--models", default="s,b,l")
    parser.add_argument("--narrow", action="store_true")
    parser.add_argument("--container", choices=["pth", "safetensors"], default="pth")
    a = parser.parse_args()
    rng = np.random.default_rng(150)
    ade = a.dir / "ADEChallengeData2016"
    pictures(ade, "validation", [f"ADE_val_{i + 1:08d}" for i in range(a.images)], rng)
    pictures(ade, "training", [f"ADE_train_{i + 1:08d}" for i in range(a.train)], rng)
    models = a.dir / "checkpoints"
    models.mkdir(parents=True, exist_ok=True)
    for seed, m in enumerate(a.models.split(",")):
        width, name = 64 if a.narrow else WIDTHS[m], f"dinov2_vit{m}14"
        save(backbone(width, a.depth, seed), models / f"{name}_pretrain.pth", a.container)
        save(head(width, 10 + seed), models / f"{name}_ade20k_linear_head.pth", a.container)
        save(head(4 * width, 20 + seed), models / f"{name}_ade20k_ms_head.pth", a.container)


if __name__ == "__main__":
    main()
