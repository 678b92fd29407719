"""A DINOv3 ViT-B/16 with a linear segmentation head and random weights, in the names and types of the demo model beside it, for
bench_half: the speed of a half-precision run does not depend on what the weights are.

Run: PYTHON tests/bench/gpu/half_model.py OUT.safetensors [--like data/vit_ti16_dinov3_scenes.safetensors]"""
import argparse, json, struct

import numpy as np

WIDTH, LIKE = 768, 192  # ViT-B, ViT-Ti; the depth is the same

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--like", default="data/vit_ti16_dinov3_scenes.safetensors")
args = parser.parse_args()

with open(args.like, "rb") as f:
    header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
rng = np.random.default_rng(1)
out, data, offset = {}, [], 0
for name, entry in header.items():
    if name == "__metadata__":
        out[name] = entry
        continue
    shape = [d * WIDTH // LIKE if d % LIKE == 0 else d for d in entry["shape"]]
    dtype = np.float16 if entry["dtype"] == "F16" else np.float32
    values = rng.standard_normal(shape) * 0.02
    if name.endswith(("norm1.weight", "norm2.weight", "norm.weight", "bn.weight", "running_var")):
        values = np.ones(shape)
    elif "gamma" in name:
        values = np.full(shape, 0.1)
    raw = values.astype(dtype).tobytes()
    out[name] = {"dtype": entry["dtype"], "shape": shape, "data_offsets": [offset, offset + len(raw)]}
    data.append(raw)
    offset += len(raw)
text = json.dumps(out).encode()
text += b" " * (-len(text) % 8)
with open(args.out, "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + b"".join(data))
