"""tests/cases/*/*.npy: the final-normed tokens that timm and transformers compute, in float64, of the checkpoints there.

Run: PYTHON tests/oracle/make_case_refs.py"""
import collections, json, pathlib, warnings

import numpy as np
import safetensors.torch
import timm
import torch
import transformers
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

warnings.filterwarnings("ignore")
CASES = pathlib.Path(__file__).resolve().parents[1] / "cases"
IMAGENET = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
HALF = np.full(3, 127.5), np.full(3, 127.5)


def pixels(case, normal=IMAGENET):
    rgb = np.asarray(Image.open(CASES / case / "images/p.png").convert("RGB")).astype(np.float64)
    return torch.tensor(((rgb - normal[0]) / normal[1]).astype(np.float32).transpose(2, 0, 1)[None]).double()


def flat(tree, base=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{base}{key}.")
        elif torch.is_tensor(value):
            yield base + key, value


def tensors(path):
    return dict(flat(torch.load(path, weights_only=False))) if path.suffix in (".pth", ".ckpt") else safetensors.torch.load_file(path)


def below(state, prefix, wrappers=()):
    out = {k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix)}
    for w in wrappers:
        out = {k.replace(w + ".", ""): v for k, v in out.items()}
    return collections.OrderedDict(out)


def timm_tokens(state, heads, x):
    """Of hub or timm names at the trained size, where the code bases agree."""
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    depth = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("blocks."))
    classes = state["head.weight"].shape[0] if "head.weight" in state else 0
    model = VisionTransformer(img_size=x.shape[-1], patch_size=patch, embed_dim=width, depth=depth, num_heads=heads, num_classes=classes,
                              mlp_ratio=state["blocks.0.mlp.fc1.weight"].shape[0] / width, init_values=1.0 if "blocks.0.ls1.gamma" in state else None)
    state.pop("mask_token", None)
    model.load_state_dict(state)
    return model.double().eval().forward_features(x)


def memory_tokens(kind, state, x, **config):
    """A transformers model under the names that it has in memory."""
    width = state["embeddings.cls_token"].shape[-1]
    first = "encoder.layer." if any(k.startswith("encoder.") for k in state) else "layers."
    depth = 1 + max(int(k[len(first):].split(".")[0]) for k in state if k.startswith(first))
    made = {"Dinov2": (transformers.Dinov2Config, transformers.Dinov2Model), "ViT": (transformers.ViTConfig, transformers.ViTModel), "DeiT": (transformers.DeiTConfig, transformers.DeiTModel)}
    c = made[kind][0](hidden_size=width, num_hidden_layers=depth, num_attention_heads=1, patch_size=4, image_size=x.shape[-1], **config)
    model = made[kind][1](c) if kind == "Dinov2" else made[kind][1](c, add_pooling_layer=False)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing, missing
    return model.double().eval()(x).last_hidden_state


def task_tokens(model, x):
    """Of a task model's DINOv2 backbone."""
    b = model.double().eval().backbone
    return b.layernorm(b.encoder(b.embeddings(x)).last_hidden_state)


def save(case, name, tokens):
    np.save(CASES / case / f"{name}.npy", tokens.detach().numpy()[0])
    print(f"{case}/{name}.npy {tuple(tokens.shape)}")


@torch.no_grad()
def main():
    x = pixels("05-gram-teacher")
    state = tensors(CASES / "05-gram-teacher/m.safetensors")
    save("05-gram-teacher", "teacher", timm_tokens(below(state, "teacher.backbone."), 1, x))
    save("05-gram-teacher", "student", timm_tokens(below(state, "student.backbone."), 1, x))
    state = tensors(CASES / "06-distillation-teacher/m.pth")
    save("06-distillation-teacher", "model_ema", timm_tokens(below(state, "model.model_ema.backbone."), 1, pixels("06-distillation-teacher")))
    for name, task in (("upernet", transformers.UperNetForSemanticSegmentation), ("dpt", transformers.DPTForDepthEstimation)):
        save("08-backbone-config", name, task_tokens(task.from_pretrained(CASES / "08-backbone-config" / name), pixels("08-backbone-config")))
    save("08b-backbone-config-heads", "hf", task_tokens(transformers.DepthAnythingForDepthEstimation.from_pretrained(CASES / "08b-backbone-config-heads/hf"), pixels("08b-backbone-config-heads")))
    for case in ("09-misfit-head", "10-auxiliary-head"):
        save(case, "m", timm_tokens(below(tensors(CASES / case / "m.safetensors"), "backbone."), 1, pixels(case)))
    x = pixels("12-transformers5-names")
    at = CASES / "12-transformers5-names"
    save("12-transformers5-names", "dinov2", memory_tokens("Dinov2", below(tensors(at / "dinov2.pth"), ""), x, mlp_ratio=2))
    save("12-transformers5-names", "vit_lightning", memory_tokens("ViT", below(tensors(at / "vit_lightning.ckpt"), "state_dict.model.vit."), x, intermediate_size=32))
    save("12-transformers5-names", "deit", memory_tokens("DeiT", below(tensors(at / "deit.pth"), "deit."), x, intermediate_size=32))
    for w in ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"):
        save("13-wrapped-blocks", w, timm_tokens(below(tensors(CASES / f"13-wrapped-blocks/{w}.safetensors"), "", (w,)), 1, pixels("13-wrapped-blocks")))
    state = tensors(CASES / "19-timm-folder-config/hub/model.safetensors")
    for name, normal in (("half", HALF), ("imagenet", IMAGENET)):
        save("19-timm-folder-config", name, timm_tokens(below(state, ""), 2, pixels("19-timm-folder-config", normal)))


main()
