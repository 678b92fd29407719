"""A small planted study on backend ref, held column by column to the independent implementation (compare_study.py)."""
import pathlib, subprocess, sys, tempfile

import oracle

CONFIG = """version: 1
name: c
model: {{checkpoint: {root}/data/vit_ti14_scenes.safetensors, plant: [{{kind: spike, blocks: [8, 11], ratio: 256}}]}}
data:
  calibration: {{scenes: {{seed: 2, count: 4, size: 224}}}}
  analysis: {{scenes: {{seed: 3, count: 2, size: 224}}}}
  evaluation: {{scenes: {{seed: 1, count: 2, size: 224}}}}
states: [fp32, sq, ptq, weights, acts]
"""

with tempfile.TemporaryDirectory() as d:
    config = pathlib.Path(d) / "c.yaml"
    config.write_text(CONFIG.format(root=oracle.ROOT))
    subprocess.run([oracle.vitscope(), "run", str(config), "--out", d, "--backend", "ref"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sys.exit(subprocess.run([sys.executable, str(oracle.ROOT / "tests/oracle/compare_study.py"), f"{d}/c"]).returncode)
