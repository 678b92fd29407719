"""The segmentation protocol against mmsegmentation 0.30 and mmcv 1.7.2 themselves: keep-ratio scaling, windows, averaged logits,
class maps, mIoU on a synthetic set in ADE20K's format; linear and ms heads on stand-ins of the hub layout."""
import json, math, os, pathlib, struct, subprocess, sys, tempfile, types, warnings

warnings.filterwarnings("ignore")


class Unbuilt(types.ModuleType):
    """mmcv's compiled operations: none of the functions used here needs one."""
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *a, **k: None


sys.modules["mmcv._ext"] = Unbuilt("mmcv._ext")

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from mmseg.core.evaluation import intersect_and_union, pre_eval_to_metrics
from mmseg.datasets.pipelines import Compose
from mmseg.models.segmentors import EncoderDecoder
from mmseg.ops import resize

import make_ade20k
import oracle

torch.set_num_threads(2)
FAILED = []


def check(ok, text):
    print(("ok      " if ok else "FAILED  ") + text)
    if not ok:
        FAILED.append(text)


class Segmentor(EncoderDecoder):
    """mmseg's own inference over any function from a padded image to a grid of logits: only the layers are ours."""
    def __init__(self, grid_logits, classes, mode, crop, stride):
        torch.nn.Module.__init__(self)
        self.grid_logits, self.num_classes, self.align_corners, self.out_channels = grid_logits, classes, False, classes
        self.test_cfg = mmcv.ConfigDict(mode=mode, crop_size=(crop, crop), stride=(stride, stride))

    def encode_decode(self, img, img_metas):
        return resize(self.grid_logits(img), size=img.shape[2:], mode="bilinear", align_corners=False)


def center_padding(x, multiple=14):
    """DINOv2's hook (dinov2/hub/utils.py)."""
    pads = []
    for size in x.shape[:1:-1]:
        extra = math.ceil(size / multiple) * multiple - size
        pads += [extra // 2, extra - extra // 2]
    return F.pad(x, pads)


# ---- windows and averaged logits

def check_slide():
    program = os.environ.get("VS_SLIDE") or str(oracle.ROOT / "build/release/tests/oracle/vs_slide")
    p = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(count, dtype):
        n = count * np.dtype(dtype).itemsize
        data = p.stdout.read(n)
        assert len(data) == n
        return np.frombuffer(data, dtype=dtype)

    rng = np.random.default_rng(1)
    worst, differing, pixels, windows_seen, ties = 0.0, 0, 0, 0, 0
    cases = [(683, 512, 512, 512, 341), (960, 640, 640, 640, 320), (300, 200, 512, 512, 341), (640, 128, 256, 256, 171), (128, 640, 256, 256, 171), (100, 100, 64, 512, 341),
             (97, 331, 120, 100, 33), (256, 256, 256, 256, 171), (257, 256, 128, 128, 85), (500, 333, 150, 0, 0), (64, 201, 90, 0, 0)]
    cases += [(int(rng.integers(60, 400)), int(rng.integers(60, 400)), int(rng.integers(60, 200)), c, int(rng.integers(c // 3, c + 1))) for c in (int(v) for v in rng.integers(40, 220, 12))]
    for w, h, short, crop, stride in cases:
        classes, long = 7, 99999999
        scaled = mmcv.imrescale(np.zeros((h, w, 3), np.uint8), (long, short))
        p.stdin.write(struct.pack("<8I", classes, w, h, short, long, crop, stride, 14))
        p.stdin.flush()
        sw, sh, count = (int(v) for v in read(3, np.uint32))
        windows = read(4 * count, np.uint32).reshape(count, 4)
        if scaled.shape[:2] != (sh, sw):
            check(False, f"{w}x{h}: scaled to {sw}x{sh}, mmcv says {scaled.shape[1]}x{scaled.shape[0]}")
        seen = []

        def grid_logits(img):
            gh, gw = math.ceil(img.shape[2] / 14), math.ceil(img.shape[3] / 14)
            g = torch.from_numpy(rng.normal(size=(1, classes, gh, gw)))
            seen.append((tuple(int(v) for v in img[0, :2, 0, 0]), img.shape[3], img.shape[2], g))
            return g

        # pixel values are coordinates, so that mmseg itself tells which window it took
        where = torch.stack(torch.meshgrid(torch.arange(sw), torch.arange(sh), indexing="xy")).double()[None]
        model = Segmentor(grid_logits, classes, "slide" if crop else "whole", crop, stride)
        meta = [dict(ori_shape=(h, w, 3), img_shape=(sh, sw, 3), flip=False)]
        averaged = model.slide_inference(where, meta, False) if crop else model.whole_inference(where, meta, False)
        taken = [(x, y, ww, hh) for (x, y), ww, hh, _ in seen]
        if taken != [tuple(int(v) for v in r) for r in windows]:
            check(False, f"{w}x{h} crop {crop} stride {stride}: windows {windows.tolist()}, mmseg takes {taken}")
        for *_, g in seen:
            p.stdin.write(g[0].permute(1, 2, 0).contiguous().numpy().tobytes())
        p.stdin.flush()
        ours = read(sh * sw * classes, np.float64).reshape(sh, sw, classes)
        ours_map = read(h * w, np.uint16).reshape(h, w)
        worst = max(worst, float(np.abs(ours - averaged[0].permute(1, 2, 0).numpy()).max()))
        final = resize(averaged, size=(h, w), mode="bilinear", align_corners=False)
        theirs = F.softmax(final, dim=1).argmax(dim=1)[0].numpy()
        differing += int((theirs != ours_map).sum())
        top = final[0].topk(2, dim=0).values
        ties += int((((top[0] - top[1]) < 1e-12).numpy() & (theirs != ours_map)).sum())
        pixels += h * w
        windows_seen += count
    p.stdin.close()
    check(p.wait() == 0, "vs_slide ended well")
    check(worst <= 1e-6, f"averaged logits of {windows_seen} windows of {len(cases)} images: largest difference {worst:.2g}")
    check(differing == ties, f"class maps: {differing} of {pixels} pixels differ, {ties} of them ties")


# ---- the whole study's protocol

class Backbone:
    """The hub's forward pass of stand-ins, in float64, with its position grid (scale factor (h + 0.1) / 37)."""
    def __init__(self, state, heads):
        self.s, self.heads = {k: v.double() for k, v in state.items()}, heads
        self.depth = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("blocks."))

    def positions(self, h, w):
        pos, n = self.s["pos_embed"], 37
        if h == w == n:
            return pos
        grid = pos[:, 1:].reshape(1, n, n, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, scale_factor=((h + 0.1) / n, (w + 0.1) / n), mode="bicubic")
        assert grid.shape[2:] == (h, w)
        return torch.cat([pos[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)

    def __call__(self, x, blocks):
        s = self.s
        y = F.conv2d(x, s["patch_embed.proj.weight"], s["patch_embed.proj.bias"], stride=14)
        h, w = y.shape[2:]
        z = torch.cat([s["cls_token"], y.flatten(2).transpose(1, 2)], dim=1) + self.positions(h, w)
        c, out = z.shape[-1], []
        norm = lambda v, n: F.layer_norm(v, (c,), s[n + ".weight"], s[n + ".bias"], 1e-6)
        for i in range(self.depth):
            b = f"blocks.{i}."
            lin = lambda v, n: F.linear(v, s[b + n + ".weight"], s[b + n + ".bias"])
            q, k, v = lin(norm(z, b + "norm1"), "attn.qkv").reshape(1, -1, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
            a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(z.shape)
            z = z + s[b + "ls1.gamma"] * lin(a, "attn.proj")
            z = z + s[b + "ls2.gamma"] * lin(F.gelu(lin(norm(z, b + "norm2"), "mlp.fc1")), "mlp.fc2")
            if i in blocks:
                out.append(norm(z, "norm")[:, 1:].transpose(1, 2).reshape(1, c, h, w))
        return out


def bn_head(state, maps):
    s = {k: v.double() for k, v in state.items()}
    f = F.batch_norm(torch.cat(maps, dim=1), s["decode_head.bn.running_mean"], s["decode_head.bn.running_var"], s["decode_head.bn.weight"], s["decode_head.bn.bias"], False, 0, 1e-5)
    return F.conv2d(f, s["decode_head.conv_seg.weight"], s["decode_head.conv_seg.bias"])


def mmseg_result(model, ade, scale):
    """Per-class areas over the set by mmseg's pipeline, inference and pre_eval. The annotations are written anew: the model's own
    classes in most cells, others in the rest, so that the IoU of random weights is a number that depends on every pixel."""
    rng = np.random.default_rng(3)
    pipeline = Compose([dict(type="LoadImageFromFile"),
                        dict(type="MultiScaleFlipAug", img_scale=scale, flip=False,
                             transforms=[dict(type="Resize", keep_ratio=True), dict(type="RandomFlip"),
                                         dict(type="Normalize", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
                                         dict(type="ImageToTensor", keys=["img"]), dict(type="Collect", keys=["img"])])])
    areas = []
    for path in sorted((ade / "images/validation").iterdir()):
        data = pipeline(dict(img_info=dict(filename=str(path)), img_prefix=None))
        meta = data["img_metas"][0].data
        pred = model.simple_test(data["img"][0][None].double(), [meta], rescale=True)[0]
        annotation = ade / "annotations/validation" / (path.stem + ".png")
        label = mmcv.imread(str(annotation), flag="unchanged", backend="pillow")
        own = np.kron(rng.random((-(-label.shape[0] // 16), -(-label.shape[1] // 16))) < 0.6, np.ones((16, 16), bool))[:label.shape[0], :label.shape[1]]
        label = np.where(own, pred + 1, label).astype(np.uint8)
        Image.fromarray(label).save(annotation)
        areas.append(intersect_and_union(pred, label, make_ade20k.CLASSES, 255, label_map=dict(), reduce_zero_label=True))
    return pre_eval_to_metrics(areas, ["mIoU"])


def check_study(directory):
    ade, models = directory / "ADEChallengeData2016", directory / "checkpoints"
    state = torch.load(models / "dinov2_vits14_pretrain.pth", weights_only=True)
    backbone = Backbone(state, 1)
    for kind, blocks, short, crop, stride in (("linear", [3], 256, 256, 171), ("ms", [0, 1, 2, 3], 320, 320, 160)):
        head = torch.load(models / f"dinov2_vits14_ade20k_{kind}_head.pth", weights_only=True)["state_dict"]
        for mode in ("slide", "whole"):
            if mode == "whole" and kind == "ms":
                continue
            model = Segmentor(lambda img: bn_head(head, backbone(center_padding(img), blocks)), make_ade20k.CLASSES, mode, crop, stride).double()
            with torch.no_grad():
                want = mmseg_result(model, ade, (99999999, short))
            window = f"mode: slide, crop: {crop}, stride: {stride}" if mode == "slide" else "mode: whole"
            (directory / "p.yaml").write_text(f"""version: 1
name: protocol
model: {{checkpoint: checkpoints/dinov2_vits14_pretrain.pth, head: checkpoints/dinov2_vits14_ade20k_{kind}_head.pth}}
data:
  evaluation: {{images: ADEChallengeData2016, protocol: ade20k}}
  preprocess: {{mmseg: {{short: {short}, {window}}}}}
states: [fp32]
""")
            for backend in ("ref", "cpu"):
                subprocess.run([oracle.vitscope(), "run", str(directory / "p.yaml"), "--out", str(directory / "out"), "--backend", backend], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                task = json.loads((directory / "out/protocol/results.json").read_text())["task"]["fp32"]
                iou = np.array([math.nan if v is None else v for v in task["iou"]])
                off = np.nanmax(np.abs(iou - 100 * want["IoU"]))
                same_absent = bool((np.isnan(iou) == np.isnan(want["IoU"])).all())
                ours = [f"{task[k]:.2f}" for k in ("miou", "aacc", "macc")]
                theirs = [f"{100 * v:.2f}" for v in (np.nanmean(want["IoU"]), want["aAcc"], np.nanmean(want["Acc"]))]
                check(ours == theirs and same_absent, f"{kind} {mode} on {backend}: mIoU, aAcc, mAcc {ours}, mmseg {theirs}; largest IoU difference {off:.2g} points")


with tempfile.TemporaryDirectory() as d:
    d = pathlib.Path(d)
    check_slide()
    sys.argv = ["make_ade20k.py", str(d), "--images", os.environ.get("VS_PROTOCOL_IMAGES", "24"), "--narrow", "--models", "s"]
    make_ade20k.main()
    check_study(d)
sys.exit(bool(FAILED))
