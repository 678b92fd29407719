"""Codes of the cpu backend against ONNX Runtime's QuantizeLinear on equal float inputs, ties and saturation included."""
import os, pathlib, subprocess, sys, tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import oracle

TOOL = os.environ.get("VS_CODES", str(oracle.ROOT / "build/release/tests/oracle/vs_codes"))


def session(kind):
    zero = TensorProto.UINT8 if kind == "u8" else TensorProto.INT8
    graph = helper.make_graph([helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])], "q",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None]), helper.make_tensor_value_info("s", TensorProto.FLOAT, []), helper.make_tensor_value_info("z", zero, [])],
                              [helper.make_tensor_value_info("y", zero, [None])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def main():
    rng = np.random.default_rng(3)
    total = different = 0
    with tempfile.TemporaryDirectory() as d:
        for kind in ("u8", "s8"):
            onnx_quantize = session(kind)
            for _ in range(40):
                scale = np.float32(np.exp(rng.normal() * 4))
                zero = int(rng.integers(0, 256)) if kind == "u8" else 0
                x = (rng.normal(size=50000) * 150 * scale).astype(np.float32)
                x[::3] = (np.arange(x[::3].size) % 700 - 350 + 0.5).astype(np.float32) * scale
                x.tofile(f"{d}/x")
                subprocess.run([TOOL, "cpu", kind, repr(float(scale)), str(zero), f"{d}/x", f"{d}/y"], check=True, stdout=subprocess.DEVNULL)
                got = np.fromfile(f"{d}/y", dtype=np.uint8 if kind == "u8" else np.int8)
                want = onnx_quantize.run(None, {"x": x, "s": np.array(scale), "z": np.array(zero, dtype=got.dtype)})[0]
                if kind == "s8":
                    want = np.maximum(want, -127)  # weights use -127..127
                total += x.size
                different += int((got != want).sum())
    print(f"{total} codes, {different} differ from ONNX Runtime {onnxruntime.__version__}")
    sys.exit(different != 0)


main()
