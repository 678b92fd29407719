"""Small studies on backend ref, held column by column to the independent implementation (compare_study.py): the default recipe with
a planting, then recipes that cover every scheme, bit widths, observers, probabilities, patch_embed, head and both scopes.

Run: PYTHON tests/oracle/check_study.py [NAME...]"""
import pathlib, subprocess, sys, tempfile

import oracle

HEAD = """version: 1
name: {name}
model: {{checkpoint: {root}/data/vit_ti14_scenes.safetensors, plant: [{{kind: spike, blocks: [8, 11], ratio: 256}}]}}
data:
  calibration: {{scenes: {{seed: 2, count: {calibration}, size: {size}}}}}
  analysis: {{scenes: {{seed: 3, count: {analysis}, size: {size}}}}}
"""
SMALL = dict(calibration=2, analysis=1, size=112)
CASES = {
    "default": (dict(calibration=4, analysis=2, size=224),
                "  evaluation: {scenes: {seed: 1, count: 2, size: 224}}\nstates: [fp32, sq, ptq, weights, acts]\n"),
    "symmetric": (SMALL, "recipe: {weights: per_tensor, inputs: per_tensor_sym, qk: per_head_sym, v: per_tensor_sym, patch_embed: true, head: true}\n"),
    "tokens": (SMALL, "recipe: {inputs: per_token, qk: per_tensor_asym, v: none, p: u8, head: true}\nstates: [fp32, ptq, sq, acts]\n"),
    "bits": (SMALL, "recipe: {bits: {weights: 4, inputs: 5, qk: 6, v: 3}, patch_embed: true}\n"
                    "states: [fp32, {sq: {name: a3, alpha: 0.3}}, {sq: {name: a8, alpha: 0.8}}, ptq]\nanalyze: {recipes: [ptq, a3, a8]}\n"),
    "percentile": (SMALL, "recipe: {observer: {percentile: 99.9}, patch_embed: true, head: true, p: u8}\n"),
    "percentile_sym": (SMALL, "recipe: {observer: {percentile: 99.5}, inputs: per_tensor_sym, qk: per_head_sym, bits: {inputs: 6}}\n"),
    "mse": (SMALL, "recipe: {observer: mse, bits: {inputs: 4, qk: 4, v: 4}}\nstates: [fp32, ptq, {sq: {alpha: 0.6}}, weights]\n"),
    "mse_sym": (SMALL, "recipe: {observer: mse, inputs: per_tensor_sym, qk: per_tensor_asym, bits: {inputs: 3, qk: 3}, head: true}\n"),
    "norm": (SMALL, "recipe: {qk: none, patch_embed: true, head: true}\nstates: [fp32, ptq, {sq: {scope: norm}}, {sq: {name: all}}]\nanalyze: {recipes: [ptq, sq, all]}\n"),
}


def check(name):
    numbers, rest = CASES[name]
    with tempfile.TemporaryDirectory() as d:
        config = pathlib.Path(d) / "c.yaml"
        config.write_text(HEAD.format(root=oracle.ROOT, name=name, **numbers) + rest)
        subprocess.run([oracle.vitscope(), "run", str(config), "--out", d, "--backend", "ref"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return subprocess.run([sys.executable, str(oracle.ROOT / "tests/oracle/compare_study.py"), f"{d}/{name}"]).returncode


sys.exit(max([check(name) for name in sys.argv[1:] or CASES]))
