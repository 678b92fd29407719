"""lightly-train's own linear segmentation models against the program: logits of `ref` at the head's resolution within 5e-6.

lightly-train needs a python of its own: python3 -m venv ~/.cache/vitscope/lightly && ~/.cache/vitscope/lightly/bin/pip install lightly-train
Run: ~/.cache/vitscope/lightly/bin/python tests/oracle/check_lightly.py   (exits 1 on a miss)"""
import os, pathlib, subprocess, sys, tempfile, warnings

import numpy as np
import torch
from PIL import Image

warnings.filterwarnings("ignore")
from lightly_train._task_models.linear_semantic_segmentation.task_model import LinearSemanticSegmentation


LIMIT, MEAN, STD = 5e-6, np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def vitscope():
    root = pathlib.Path(__file__).resolve().parents[2]
    return os.environ.get("VITSCOPE", str(root / "build/release/analyzer/cli/vitscope"))


def make(backbone, patch):
    torch.manual_seed(1)
    m = LinearSemanticSegmentation(model_name=f"{backbone}-linear", classes={i: str(i) for i in range(11)}, class_ignore_index=None, backbone_freeze=False, image_size=(16 * patch, 16 * patch),
                                   image_normalize={"mean": tuple(MEAN / 255), "std": tuple(STD / 255)}, load_weights=False)
    with torch.no_grad():
        for name, p in m.named_parameters():
            p.copy_(torch.randn_like(p) * p[0].numel() ** -0.5 if p.ndim > 1 else 0.3 * torch.randn_like(p) + ("norm" in name and name.endswith("weight")))
    return m.eval()


def check(backbone, patch, size, directory):
    m, d = make(backbone, patch), pathlib.Path(directory)
    (d / "images").mkdir(parents=True)
    torch.save({"train_model": {"model." + k: v for k, v in m.state_dict().items()}, "model_class_path": "x", "model_init_args": {"model_name": backbone}, "license_info": ""}, d / "model.pt")
    subprocess.run([vitscope(), "scenes", str(d / "scenes"), "--count", "1", "--seed", "3", "--size", str(max(size))], check=True, stdout=subprocess.DEVNULL)
    image = np.array(Image.open(d / "scenes/images/scene_0000.png"))[: size[0], : size[1]]
    Image.fromarray(image).save(d / "images/a.png")
    (d / "c.yaml").write_text("version: 1\nname: x\nmodel: {checkpoint: model.pt}\ndata: {analysis: {images: images}}\nanalyze: {recipes: []}\n")
    subprocess.run([vitscope(), "capture", str(d / "c.yaml"), "--taps", "logits", "--backend", "ref", "--out", str(d / "out")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    x = torch.from_numpy(((image - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)[None].double()
    with torch.no_grad():
        m = m.double()
        want = m.head(m.backbone.forward_features(x)["features"].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)[0].numpy()
    got = np.load(d / "out/logits.npy")[0]
    error = np.abs(got - want).max() / np.abs(want).max()
    print(f"{backbone:14s} {size[0]}x{size[1]}: logits {want.shape}, off by {error:.2e}{'' if error <= LIMIT else '   MISS'}")
    return bool(error <= LIMIT)


def main():
    good = True
    for backbone, patch, size in (("dinov3/vitt16", 16, (224, 224)), ("dinov3/vitt16", 16, (224, 320)), ("dinov3/vits16", 16, (224, 224)), ("dinov3/vitt16plus", 16, (224, 224))):
        with tempfile.TemporaryDirectory() as directory:
            good &= check(backbone, patch, size, directory)
    print("all agree" if good else "MISSES, see above")
    sys.exit(0 if good else 1)


main()
