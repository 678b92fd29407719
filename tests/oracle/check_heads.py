"""Classifier heads against transformers and, for DINOv2's own (hub/classifiers.py: class tokens of the last or the last four layers, mean of
the last layer's patches), against that formula over transformers' hidden states. Logits of ref, float64, to 1e-9."""
import pathlib, subprocess, sys, tempfile

import numpy as np
import torch
from transformers import Dinov2Config, Dinov2ForImageClassification, Dinov2WithRegistersConfig, Dinov2WithRegistersForImageClassification, ViTConfig, ViTForImageClassification

import oracle

FAILED = []
# sdpa: the eager softmax of transformers computes in float32
GEOMETRY = dict(hidden_size=128, num_hidden_layers=5, num_attention_heads=2, image_size=56, num_labels=13, attn_implementation="sdpa")


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn(p.shape, generator=g) * (p[0].numel() ** -0.5 if p.ndim > 1 else 0.3) + (1.0 if p.ndim == 1 and name.endswith("weight") else 0.0))
    return model.eval()


def logits(directory, checkpoint, head=None):
    (directory / "c.yaml").write_text(f"""version: 1
name: heads
model: {{checkpoint: {checkpoint}{', head: ' + str(head) if head else ''}}}
data: {{analysis: {{scenes: {{seed: 3, count: 2, size: 56}}}}}}
states: [fp32]
analyze: {{recipes: []}}
""")
    subprocess.run([oracle.vitscope(), "capture", str(directory / "c.yaml"), "--taps", "logits", "--images", "2", "--backend", "ref", "--out", str(directory / "cap")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return np.load(directory / "cap/logits.npy").reshape(2, -1)


def check(name, got, want):
    error = float(np.abs(got - want).max() / np.abs(want).max())
    ok = got.shape == want.shape and error <= 1e-9
    print(("ok      " if ok else "FAILED  ") + f"{name}: {got.shape[1]} classes, largest difference {error:.2g} of the largest logit")
    if not ok:
        FAILED.append(name)


pixels = oracle.normalise(oracle.scenes(3, 2, size=56)[0]).double()
with tempfile.TemporaryDirectory() as d, torch.no_grad():
    d = pathlib.Path(d)
    models = {"hf dinov2": Dinov2ForImageClassification(Dinov2Config(patch_size=14, **GEOMETRY)),
              "hf dinov2_with_registers": Dinov2WithRegistersForImageClassification(Dinov2WithRegistersConfig(patch_size=14, num_register_tokens=4, **GEOMETRY)),
              "hf vit": ViTForImageClassification(ViTConfig(patch_size=14, intermediate_size=512, **GEOMETRY))}
    for seed, (name, model) in enumerate(models.items()):
        folder = d / name.replace(" ", "_")
        randomise(model, seed).save_pretrained(folder)
        want = model.double()(pixels).logits.numpy()
        check(name, logits(d, folder), want)
        model.float()

    model = models["hf dinov2"].double()  # its own classifier in the file gives way to model.head
    body = model.dinov2
    hidden = body(pixels, output_hidden_states=True).hidden_states
    normed = [body.layernorm(h) for h in hidden[1:]]
    model.float()
    for layers in (1, 4):
        features = torch.cat([z[:, 0] for z in normed[-layers:]] + [normed[-1][:, 1:].mean(dim=1)], dim=1)
        linear = torch.nn.Linear(features.shape[1], 17).requires_grad_(False)
        torch.save(linear.state_dict(), d / f"linear{layers}.pth")
        check(f"dinov2 linear head of {layers} layer(s)", logits(d, d / "hf_dinov2", d / f"linear{layers}.pth"), linear.double()(features).numpy())
sys.exit(bool(FAILED))
