"""Our quantizer and SQNR on the tensors of a quantized ONNX model, against ONNX Runtime's own debugging tool (qdq_loss_debug).

vit_ti14 is exported, quantized by quantize_static (QDQ; linears' weights int8 symmetric per output channel, their inputs uint8 asymmetric
per tensor, MinMax over calibration scenes) and run with every tensor shown. Every linear's input (as the quantized model computes it) and
weight is then given to our backend (vs_codes):
  * scales and zero points, ours from the same ranges against those in the ONNX model;
  * codes, on our own grid where the grids are equal, and always on theirs: all must be equal;
  * SQNR, from our error sums, against compute_weight_error and compute_activation_error's qdq_err: within 0.01 dB.
Differences of definition (ONNX Runtime 1.24): its input scale is taken from a range subtracted in float32 (ours: float64), so it can differ
by one unit in the last place; its zero point is round(qmin - rmin / scale) with the scale before it is rounded to float32 (ours: after).
Both are counted, and more than that fails. Weights are symmetric in -127..127 with max|w| / 127 on both sides. Its SQNR is 20 log10 of float32 norms, per tensor over
all images, floored at the double's epsilon; ours sums in float64.

Biases stay float here: ONNX Runtime would raise a weight scale whose int32 bias does not fit (QDQDisableWeightAdjustForInt32Bias)."""
import logging, math, os, subprocess, sys, tempfile, warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, qdq_loss_debug, quantize_static

import oracle

TOOL = os.environ.get("VS_CODES", str(oracle.ROOT / "build/release/tests/oracle/vs_codes"))
CALIBRATION, ANALYSIS = 16, 4
LIMIT = 0.01  # dB, the issue's; the norms are float32


class Reader(CalibrationDataReader):
    def __init__(self, pixels):
        self.left = iter([{"pixels": p[None].numpy()} for p in pixels])

    def get_next(self):
        return next(self.left, None)


def export(path):
    model, _ = oracle.load(oracle.ROOT / "data/vit_ti14_scenes.safetensors", torch.float32)
    for b in model.blocks:
        b.attn.fused_attn = False
    torch.onnx.export(model, (torch.zeros(1, 3, 224, 224),), path, dynamo=False, input_names=["pixels"], output_names=["tokens"], opset_version=17)


def linears(path):
    """layer -> (input tensor, weight initializer, node) of every product with a constant."""
    graph = onnx.load(path).graph
    constant = {i.name for i in graph.initializer}
    return {n.name.split("/blocks/")[1].rsplit("/", 1)[0].replace("/", "."): (n.input[0], n.input[1], n.name)
            for n in graph.node if n.op_type in ("MatMul", "Gemm") and n.input[1] in constant}


def activations(model, pixels, folder):
    augmented = f"{folder}/augmented.onnx"
    qdq_loss_debug.modify_model_output_intermediate_tensors(model, augmented)
    return qdq_loss_debug.collect_activations(augmented, Reader(pixels))


def grids(path):
    """Every scale and zero point of the QDQ model: quantized tensor -> (scale, zero point)."""
    graph = onnx.load(path).graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    return {n.input[0]: (values[n.input[1]], values[n.input[2]]) for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear") and n.input[1] in values}, values


class Ours:
    def __init__(self, folder):
        self.folder = folder

    def run(self, mode, a, b, x, kind=np.uint8):
        """Codes and what vs_codes printed."""
        x.astype(np.float32, copy=False).tofile(f"{self.folder}/x")
        out = subprocess.run([TOOL, "cpu", mode, a, b, f"{self.folder}/x", f"{self.folder}/y"], check=True, capture_output=True, text=True).stdout.split()
        said = {k: float(v) for k, v in zip(out[::2], out[1::2])}
        said["db"] = 10 * math.log10(said["signal"] / said["noise"]) if said["noise"] else math.inf
        return np.fromfile(f"{self.folder}/y", dtype=kind).reshape(x.shape), said


class Tally:
    def __init__(self):
        self.tensors = self.codes = self.different = self.grids = self.far = 0
        self.worst = (0.0, "")
        self.moved = []

    def code(self, ours, theirs):
        self.codes += ours.size
        self.different += int((ours != theirs).sum())

    def db(self, name, ours, theirs):
        d = abs(ours - theirs)
        if not d <= self.worst[0]:
            self.worst = (d, name)

    def report(self, what):
        print(f"{what}: {self.tensors} tensors, {self.codes} codes, {self.different} differ; {len(self.moved)} of {self.grids} grids are not bit-equal to ours; "
              f"worst SQNR difference {self.worst[0]:.2g} dB ({self.worst[1]})")
        for line in self.moved:
            print("  " + line)
        return self.different == 0 and self.far == 0 and self.worst[0] <= LIMIT


def check_weights(ours, folder, layers, float_path, qdq_path):
    tally = Tally()
    errors = qdq_loss_debug.compute_weight_error(qdq_loss_debug.create_weight_matching(float_path, qdq_path))
    on, values = grids(qdq_path)
    weights = {i.name: numpy_helper.to_array(i) for i in onnx.load(float_path).graph.initializer}
    for layer, (_, name, _) in layers.items():
        w = np.ascontiguousarray(weights[name].T)  # ours: [out, in]
        theirs = np.ascontiguousarray(values[name + "_quantized"].T)
        codes, said = ours.run("rows", str(len(w)), f"{folder}/scales", w, np.int8)
        scales = np.fromfile(f"{folder}/scales", dtype=np.float32)
        equal = scales == on[name + "_quantized"][0]
        tally.tensors += 1
        tally.grids += len(scales)
        tally.moved += [f"{layer} row {r}: scale {scales[r]!r}, theirs {on[name + '_quantized'][0][r]!r}" for r in np.flatnonzero(~equal)]
        tally.code(codes[equal], theirs[equal])
        tally.db(layer, said["db"], errors[name])
    return tally.report("weights")


def check_inputs(ours, layers, ranges, shown, on):
    tally = Tally()
    match = qdq_loss_debug.create_activation_matching(shown, shown)
    errors = qdq_loss_debug.compute_activation_error(match)
    for layer, (name, _, _) in layers.items():
        scale, zero = (v.item() for v in on[name])
        x, y = (np.concatenate(match[name][k]) for k in ("pre_qdq", "post_qdq"))
        theirs = np.rint(y.astype(np.float64) / scale + zero).astype(np.uint8)
        codes, said = ours.run("u8", repr(scale), str(zero), x)
        lo, hi = ranges[name]
        own_codes, own = ours.run("input", repr(lo), repr(hi), x)
        same = np.float32(own["scale"]) == np.float32(scale) and own["zero"] == zero
        tally.tensors += 1
        tally.grids += 1
        tally.code(codes, theirs)
        tally.db(layer, said["db"], errors[name]["qdq_err"])
        if same:
            tally.code(own_codes, theirs)
        else:
            if not (abs(np.float32(own["scale"]) - np.float32(scale)) <= np.spacing(np.float32(scale)) and abs(own["zero"] - zero) <= 1):
                tally.far += 1
            tally.moved.append(f"{layer}: scale {np.float32(own['scale'])!r} zero {int(own['zero'])}, theirs {np.float32(scale)!r} {zero}: SQNR {own['db']:.4f} dB, theirs {errors[name]['qdq_err']:.4f}")
        if not abs(own["db"] - errors[name]["qdq_err"]) <= LIMIT:
            tally.db(layer + " on our own grid", own["db"], errors[name]["qdq_err"])
    return tally.report("inputs")


def main():
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    calibration, analysis = (oracle.normalise(oracle.scenes(seed, count)[0]) for seed, count in ((2, CALIBRATION), (3, ANALYSIS)))
    with tempfile.TemporaryDirectory() as d:
        float_path, qdq_path = f"{d}/float.onnx", f"{d}/qdq.onnx"
        export(float_path)
        layers = linears(float_path)
        quantize_static(float_path, qdq_path, Reader(calibration), quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
                        calibrate_method=CalibrationMethod.MinMax, op_types_to_quantize=["MatMul", "Gemm"], nodes_to_quantize=[node for _, _, node in layers.values()],
                        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True, "QDQDisableWeightAdjustForInt32Bias": True})
        seen = activations(float_path, calibration, d)
        ranges = {name: (float(min(v.min() for v in seen[name])), float(max(v.max() for v in seen[name]))) for name, _, _ in layers.values()}
        shown = activations(qdq_path, analysis, d)
        ours = Ours(d)
        print(f"{len(layers)} linears of vit_ti14, ONNX Runtime {onnxruntime.__version__}")
        good = check_weights(ours, d, layers, float_path, qdq_path)
        good &= check_inputs(ours, layers, ranges, shown, grids(qdq_path)[0])
    sys.exit(not (good and len(layers) == 48))


main()
