"""Every plain Vision Transformer that timm 1.0.31 knows, small, in a folder as timm writes it: right, refused, or wrong.

Width 128, two heads, two blocks, 3x3 patches, random weights; `capture --taps norm` on ref against forward_features. Right: above 95 dB. Refused:
inspect or capture exits with 1 and names a reason. Anything else is wrong. Tags are counted: a model has as many as timm publishes weights of it.

Run: PYTHON tests/oracle/check_timm_tags.py [NAME...]   (exits 1 where one is wrong, or where fewer tags are right than were)"""
import collections, fnmatch, json, pathlib, subprocess, sys, tempfile, warnings

import numpy as np
import safetensors.torch
import timm
import torch
from PIL import Image

import oracle

warnings.filterwarnings("ignore")
torch.set_num_threads(1)

MODULES = ["vision_transformer", "eva", "deit", "beit", "cait", "vision_transformer_relpos", "naflexvit", "vision_transformer_sam"]
RIGHT_TAGS = 119
# words that a refusal must have, by the model's name: the first pattern that fits
REASONS = [("*rope_mixed_ape*", "rope.freqs"), ("*rope_ape*", "rotary positions on top of learned ones"), ("eva02_enormous*", "attn.q_bias"), ("cait*", "attn.proj_l"), ("samvit*", "rel_pos_h"),
           ("vit_*relpos*", "rel_pos"), ("*siglip_gap*", "cls_token"), ("vit_*siglip*", "pools by attention"), ("vit_*_clip_*", "a norm before block 0"), ("vit_*_patch16_gap_*", "cls_token"),
           ("vit_dlittle*", "lambda_k1"), ("naflexvit*", "none is called"), ("vit_*_patch16_rope_224", "without learned positions")]


def randomize(model):
    """Weights large enough that every term matters."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=draw)
            if p.ndim == 1:
                p.copy_(1 + 0.2 * r if name.endswith("weight") else 0.3 * r)
            elif p.ndim == 2:
                p.copy_(r * p.shape[1] ** -0.5)
            else:
                p.copy_(r * (0.05 if p.ndim == 4 and p.shape[1] == 3 else 0.5))
    return model.eval()


def patch_of(name):
    with torch.device("meta"):
        embed = getattr(timm.create_model(name), "patch_embed", None)
    size = getattr(embed, "patch_size", 16)
    return size[0] if isinstance(size, tuple) else size


def write_study(d, name, model, side):
    (d / "hub").mkdir()
    (d / "images").mkdir()
    small = np.random.default_rng(3).integers(0, 256, (max(side // 8, 1), max(side // 8, 1), 3), dtype=np.uint8)
    Image.fromarray(small).resize((side, side), Image.BICUBIC).save(d / "images/p.png")
    safetensors.torch.save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, d / "hub/model.safetensors")
    (d / "hub/config.json").write_text(json.dumps({
        "architecture": name, "num_classes": 5, "model_args": {"embed_dim": 128, "num_heads": 2, "depth": 2, "img_size": side},
        "pretrained_cfg": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "input_size": [3, side, side]}}))
    (d / "s.yaml").write_text("version: 1\nname: s\nmodel: {checkpoint: hub}\ndata: {analysis: {images: images}}\nanalyze: {recipes: []}\n")


def run(*args, cwd):
    r = subprocess.run([oracle.vitscope(), *args], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return r.returncode, r.stderr.strip().splitlines()[-1] if r.returncode and r.stderr.strip() else ""


def refusal(name, code, words):
    wanted = next((reason for pattern, reason in REASONS if fnmatch.fnmatch(name, pattern)), "")
    if code != 1 or not words or wanted not in words:
        return f"WRONG: exit code {code}, '{words}', wanted '{wanted}'"
    return "refused: " + words.split("safetensors: ")[-1]


@torch.no_grad()
def judge(name, d):
    try:
        side = 3 * patch_of(name)
        model = randomize(timm.create_model(name, embed_dim=128, num_heads=2, depth=2, img_size=side, num_classes=5))
    except Exception as error:  # not every model takes these arguments
        return f"not made: {str(error)[:80]}"
    write_study(d, name, model, side)
    for args in (["inspect", "hub"], ["capture", "s.yaml", "--taps", "norm", "--out", "o", "--backend", "ref"]):
        code, words = run(*args, cwd=d)
        if code:
            return refusal(name, code, words)
    want = model.forward_features(oracle.normalise(np.asarray(Image.open(d / "images/p.png"))[None]))[0].numpy().astype(np.float64)
    got = np.load(d / "o/norm.npy").astype(np.float64)
    if want.size != got.size:
        return f"WRONG: {got.size} values, timm {want.size}"
    db = 10 * np.log10((want**2).sum() / max(((want.ravel() - got.ravel()) ** 2).sum(), 1e-300))
    return f"right: {db:.1f} dB" if db > 95 else f"WRONG: {db:.1f} dB"


def main():
    tags, models = collections.Counter(), collections.Counter()
    for module in MODULES:
        for name in timm.list_models(module=module):
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            with tempfile.TemporaryDirectory() as d:
                verdict = judge(name, pathlib.Path(d))
            kind = verdict.split(":")[0]
            models[kind] += 1
            tags[kind] += sum(t.split(".")[0] == name for t in set(timm.list_pretrained(name + ".*") + timm.list_pretrained(name)))
            print(f"{name:52s} {verdict}", flush=True)
    print("models:", dict(models), "tags:", dict(tags))
    sys.exit(1 if models["WRONG"] or (not sys.argv[1:] and tags["right"] < RIGHT_TAGS) else 0)


main()
