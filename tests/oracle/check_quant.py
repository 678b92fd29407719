"""quant.json is enough: codes and SQNR made in numpy from it alone, with captured inputs and the checkpoint's weights, against the program's own.

Codes must be equal (both divide in float32 and round half to even); SQNR within 1e-6 dB (sums in float64, in another order)."""
import json, os, pathlib, subprocess, sys, tempfile

import numpy as np
import safetensors.torch

import oracle

CODES = os.environ.get("VS_CODES", str(oracle.ROOT / "build/release/tests/oracle/vs_codes"))
CONFIG = """version: 1
name: q
model: {{checkpoint: {root}/data/vit_ti14_scenes.safetensors}}
data:
  calibration: {{scenes: {{seed: 2, count: 4, size: 224}}}}
  analysis: {{scenes: {{seed: 3, count: 1, size: 224}}}}
states: [fp32, ptq, {{sq: {{name: soft, alpha: 0.4}}}}, {{sq: {{name: hard, alpha: 0.7}}}}, weights, acts]
analyze: {{recipes: [ptq, soft, hard]}}
"""


def sqnr(x, y):
    x, y = x.astype(np.float64), y.astype(np.float64)
    return 10 * np.log10((x**2).sum() / ((x - y) ** 2).sum())


def codes(x, scale, zero, qmin, qmax):
    return np.clip(np.rint(x / scale) + np.float32(zero), qmin, qmax)


def input_codes(x, site):
    """x [tokens, channels] float32; one grid, or one a head."""
    scales, zeros = np.atleast_1d(site["scale"]).astype(np.float32), np.atleast_1d(site["zero_point"])
    parts = np.split(x, len(scales), axis=1)
    q = [codes(p, s, z, site["qmin"], site["qmax"]) for p, s, z in zip(parts, scales, zeros)]
    back = [(c - np.float32(z)) * s for c, s, z in zip(q, scales, zeros)]
    return np.concatenate(q, 1), np.concatenate(back, 1)


def tool_codes(d, kind, scale, zero, x):
    x.astype(np.float32).tofile(f"{d}/x")
    subprocess.run([CODES, "cpu", kind, repr(float(np.float32(scale))), str(zero), f"{d}/x", f"{d}/y"], check=True)
    return np.fromfile(f"{d}/y", dtype=np.uint8 if kind == "u8" else np.int8).reshape(x.shape)


def main():
    with tempfile.TemporaryDirectory() as d:
        config = pathlib.Path(d) / "q.yaml"
        config.write_text(CONFIG.format(root=oracle.ROOT))
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([oracle.vitscope(), "run", str(config), "--out", d], **quiet)
        subprocess.run([oracle.vitscope(), "capture", str(config), "--taps", "blocks.{0,5,11}.*.in", "--out", f"{d}/taps"], **quiet)
        quant = json.load(open(f"{d}/q/quant.json"))
        results = {r["layer"]: r for r in json.load(open(f"{d}/q/results.json"))["layers"]}
        weights = safetensors.torch.load_file(str(oracle.ROOT / "data/vit_ti14_scenes.safetensors"))
        worst, compared, different = 0.0, 0, 0
        assert not quant["states"]["weights"]["sites"] and not quant["states"]["acts"]["weights"]
        assert quant["states"]["acts"]["sites"] == quant["states"]["ptq"]["sites"]
        for state in ("ptq", "soft", "hard"):
            q = quant["states"][state]
            for tap in sorted(pathlib.Path(f"{d}/taps").glob("*.in.npy")):
                layer = tap.name[: -len(".in.npy")]
                x, local = np.load(tap)[0], results[layer]["sqnr"][state]["local"]
                factors = np.load(f"{d}/q/{q['smooth'][layer]}") if layer in q["smooth"] else np.float32(1)
                x = x / factors
                site = q["sites"][layer]
                c, y = input_codes(x, site)
                worst = max(worst, abs(sqnr(x, y) - local["input_tensor"]))
                if site["scheme"] == "per_tensor_asym":
                    compared += c.size
                    different += int((tool_codes(d, "u8", site["scale"], site["zero_point"], x) != c).sum())
                if layer not in q["weights"]:
                    continue
                w = weights[f"backbone.{layer}.weight"].float().numpy() * factors
                scales = np.array(q["weights"][layer]["scales"], dtype=np.float32)[:, None]
                c = codes(w, scales, 0, -127, 127)
                worst = max(worst, abs(sqnr(w, c * scales) - local["weight_tensor"]))
                for row in (0, len(w) - 1):
                    compared += w.shape[1]
                    different += int((tool_codes(d, "s8", scales[row, 0], 0, w[row]) != c[row]).sum())
    print(f"quant.json: worst SQNR difference {worst:.1e} dB; {compared} codes, {different} differ")
    sys.exit(not (worst <= 1e-6 and compared > 100000 and different == 0))


main()
