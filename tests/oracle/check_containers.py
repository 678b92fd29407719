"""Containers against the libraries that write them: every tensor's name, type, shape and bytes as torch and safetensors have them.

    VS_TENSORS=build/release/tests/oracle/vs_tensors python check_containers.py [--large]

--large also loads a .pth of DINOv2 ViT-L's size (1.2 GB, float32) and prints peak memory and seconds beside torch.load."""
import argparse, collections, hashlib, json, logging, os, pathlib, subprocess, sys, tempfile

import numpy as np
import safetensors.torch
import torch
from huggingface_hub import save_torch_state_dict

ROOT = pathlib.Path(__file__).resolve().parents[2]
TENSORS = os.environ.get("VS_TENSORS", str(ROOT / "build/release/tests/oracle/vs_tensors"))
TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32",
         torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL", torch.complex64: "C64", torch.uint16: "U16",
         torch.float8_e4m3fn: "F8_E4M3"}
checks = 0


def flatten(value, name=""):
    """The rule of tensorfile.h, written again: dicts, lists and tuples joined by dots."""
    if isinstance(value, torch.Tensor):
        yield name or "tensor", value
    elif isinstance(value, (dict, list, tuple)):
        for k, v in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flatten(v, f"{name}.{k}" if name else str(k))


def line(name, tensor):
    flat = tensor.detach().contiguous().reshape(-1)
    digest = hashlib.sha256(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"").hexdigest()
    return f"{name}\t{TYPES[tensor.dtype]}\t{'x'.join(map(str, tensor.shape))}\t{digest}"


def run(*args):
    return subprocess.run([TENSORS, *map(str, args)], capture_output=True, text=True)


def expect(what, path, wanted, ordered=True):
    global checks
    got = run(path)
    lines = got.stdout.splitlines()
    if got.returncode or (lines if ordered else sorted(lines)) != (wanted if ordered else sorted(wanted)):
        difference = [pair for pair in zip(lines, wanted) if pair[0] != pair[1]][:3]
        sys.exit(f"{what}: {got.stderr.strip()} {len(lines)} tensors, {len(wanted)} wanted; first differences {difference}")
    checks += len(wanted)
    print(f"{what}: {len(wanted)} tensors equal")


def refused(what, path, part):
    got = run(path)
    if got.returncode <= 0 or part not in got.stderr or got.stderr.count("\n") != 1:
        sys.exit(f"{what}: exit code {got.returncode}, '{got.stderr.strip()}'; wanted one line with '{part}'")
    print(f"{what}: {got.stderr.strip().replace(str(pathlib.Path(path).parent) + '/', '')}")


class Stranger:
    def __init__(self, held):
        self.held = held


class Hostile:
    def __reduce__(self):
        return os.system, (f"touch {MARK}",)


def examples():
    g = torch.Generator().manual_seed(1)
    base = torch.randn(6, 8, generator=g)
    module = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7))
    every = {str(t).split(".")[1]: (torch.randn(3, 5, generator=g) * 9).to(t) for t in TYPES}
    views = {"all": base, "row": base[2], "transposed": base.t(), "columns": base[:, ::3], "expanded": base[0].expand(4, 8), "tail": base[4:],
             "channels_last": torch.randn(2, 3, 4, 5, generator=g).to(memory_format=torch.channels_last), "scalar": torch.tensor(2.5),
             "empty": torch.zeros(0, 3), "empty_strided": torch.zeros(4, 0, 3).transpose(0, 2), "one": base[:, :1].t(), "again": base,
             "unfolded": torch.arange(10.0).as_strided((4, 3), (2, 1))}
    nested = {"state_dict": module.state_dict(), "teacher": {"backbone": collections.OrderedDict(a=base)}, "list": [base[0], (base[1],)],
              "epoch": 7, "meta": {"version": "0.30", "mIoU": 0.1, "CLASSES": ("wall", "sky"), "seen": True, "nothing": None},
              "lr": np.float64(0.5), "args": argparse.Namespace(lr=1), 3: {4: base[3]}}
    parameters = {"p": torch.nn.Parameter(base), "q": torch.nn.Parameter(torch.randn(3, generator=g).half(), requires_grad=False)}
    attribute = torch.nn.Parameter(torch.randn(2, 2, generator=g))
    attribute.note = "kept by torch with the tensor's state"
    return {"types": every, "views": views, "nested": nested, "module": module.state_dict(), "parameters": parameters,
            "attribute": {"x": attribute}, "lone tensor": base[1:, 2:], "optimizer": {
                "model": module.state_dict(), "optimizer": torch.optim.AdamW(module.parameters()).state_dict()}}


def check_torch(folder):
    for name, value in examples().items():
        wanted = [line(k, v) for k, v in flatten(value)]
        for label, options in {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}, "protocol 4": {"pickle_protocol": 4},
                               "legacy protocol 5": {"_use_new_zipfile_serialization": False, "pickle_protocol": 5}}.items():
            path = folder / f"{name} {label}.pth"
            torch.save(value, path, **options)
            expect(f"torch {label}, {name}", path, wanted)
    meta = dict(x.split("\t") for x in run("--meta", folder / "nested zip.pth").stdout.splitlines())
    wanted = {"epoch": "7", "meta.version": "0.30", "meta.mIoU": "0.1", "meta.CLASSES.0": "wall", "meta.CLASSES.1": "sky", "meta.seen": "true"}
    if meta != wanted:
        sys.exit(f"metadata: {meta}, wanted {wanted}")


def check_safetensors(folder):
    state = {f"blocks.{i}.w": torch.randn(40, 30) for i in range(9)} | {"norm.bias": torch.randn(30).bfloat16()}
    wanted = [line(k, v) for k, v in state.items()]
    safetensors.torch.save_file(state, folder / "one.safetensors")
    expect("safetensors", folder / "one.safetensors", wanted, ordered=False)
    for safe, stem in ((True, "model.safetensors"), (False, "pytorch_model.bin")):
        hub = folder / f"hub{safe}"
        hub.mkdir()
        (hub / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
        save_torch_state_dict(state, hub, max_shard_size=10_000, safe_serialization=safe)
        index = hub / f"{stem}.index.json"
        files = list(dict.fromkeys(json.loads(index.read_text())["weight_map"].values()))
        expect(f"folder of {len(files)} shards, {stem}", hub, wanted, ordered=False)
        expect(f"index of {len(files)} shards, {stem}", index, wanted, ordered=False)
        digest = hashlib.sha256(b"".join((hub / f).read_bytes() for f in files)).hexdigest()
        if run("--hash", hub).stdout.strip() != digest:
            sys.exit("SHA-256 of shards differs")
        (hub / files[1]).unlink()
        refused("missing shard", index, files[1])
    lone = folder / "lone"
    lone.mkdir()
    torch.save(state, lone / "pytorch_model.bin")
    expect("folder, pytorch_model.bin", lone, wanted)


def check_refusals(folder):
    weights = {"w": torch.zeros(2)}
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(folder / "script.pt"))
    refused("TorchScript", folder / "script.pt", "TorchScript")
    torch.save(weights, folder / "plain.pth")
    import gzip, shutil, tarfile, zipfile
    with zipfile.ZipFile(folder / "plain.pth") as a, zipfile.ZipFile(folder / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as b:
        for n in a.namelist():
            b.writestr(n, a.read(n))
    refused("deflated entries", folder / "deflated.pth", "compressed (method 8)")
    with zipfile.ZipFile(folder / "plain.pth") as a, zipfile.ZipFile(folder / "stored.pth", "w", zipfile.ZIP_STORED) as b:
        for n in a.namelist():
            b.writestr(n, a.read(n))
    expect("stored by another writer, unaligned", folder / "stored.pth", [line("w", weights["w"])])
    with tarfile.open(folder / "old.tar", "w") as t:
        t.add(folder / "plain.pth", "storages")
    refused("tar", folder / "old.tar", "tar archive")
    (folder / "plain.pth.gz").write_bytes(gzip.compress((folder / "plain.pth").read_bytes()))
    refused("gzip", folder / "plain.pth.gz", "gzip")
    np.savez(folder / "arrays.npz", w=np.zeros(2))
    refused("npz", folder / "arrays.npz", ".npz")
    for legacy in (False, True):
        def save(value, name):
            torch.save(value, folder / name, _use_new_zipfile_serialization=not legacy)
            return folder / name
        refused("whole model", save(torch.nn.Linear(2, 2), "model.pth"), "torch.nn.modules.linear.Linear")
        expect("a stranger beside the weights", save({**weights, "ema": Stranger(torch.zeros(3))}, "stranger.pth"), [line("w", weights["w"])])
        refused("sparse tensor", save({"s": torch.eye(3).to_sparse()}, "sparse.pth"), "_rebuild_sparse_tensor")
        expect("os.system beside the weights", save({**weights, "x": Hostile()}, "hostile.pth"), [line("w", weights["w"])])
        refused("os.system alone", save({"x": Hostile()}, "hostile alone.pth"), "posix.system")
        refused("os.system for all", save(Hostile(), "hostile root.pth"), "posix.system")
        cycle = {**weights}
        cycle["self"] = cycle
        refused("a dict in itself", save(cycle, "cycle.pth"), "holds itself")
        deep = weights
        for _ in range(300):
            deep = {"d": deep}
        sys.setrecursionlimit(10000)
        refused("deep nesting", save(deep, "deep.pth"), "256 deep")
        laugh = weights
        for _ in range(40):
            laugh = {"a": laugh, "b": laugh}
        refused("dicts that double", save(laugh, "laugh.pth"), "more than 131072 tensors")
    if os.path.exists(MARK):
        sys.exit("os.system ran")


RUNNER = """import resource, subprocess, sys, time
start = time.monotonic()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, time.monotonic() - start)"""


def measure(code, *args):
    """(peak resident bytes, seconds) of a child: of a small process's child, since a fork counts with its parent's memory."""
    got = subprocess.run([sys.executable, "-c", RUNNER, *code, *map(str, args)], capture_output=True, text=True, check=True).stdout.split()
    return int(got[0]), float(got[1])


def check_large(folder):
    path = folder / "vitl14.pth"
    c, state = 1024, collections.OrderedDict(cls_token=torch.zeros(1, 1, 1024), pos_embed=torch.randn(1, 1370, 1024))
    for i in range(24):
        for k, s in {"attn.qkv": (3 * c, c), "attn.proj": (c, c), "mlp.fc1": (4 * c, c), "mlp.fc2": (c, 4 * c)}.items():
            state[f"blocks.{i}.{k}.weight"], state[f"blocks.{i}.{k}.bias"] = torch.randn(s), torch.randn(s[0])
    torch.save(state, path)
    size = path.stat().st_size
    del state
    _, base = measure([sys.executable, "-c", "import torch"])
    rows = {}
    for name, args in {"open": [TENSORS, "--meta"], "all weights as float32": [TENSORS, "--sum"], "SHA-256 of the file": [TENSORS, "--hash"]}.items():
        rows[name] = measure(args, path)
    load = f"import torch; s = torch.load({str(path)!r}, weights_only=True); print(sum(float(v.flatten()[-1]) for v in s.values()))"
    peak, seconds = measure([sys.executable, "-c", load])
    rows["torch.load, without the import"] = peak, seconds - base
    print(f"{path.name}: {size / 1e9:.3f} GB")
    for name, (peak, seconds) in rows.items():
        print(f"  {name}: peak {peak / size:.3f} of the file, {seconds:.3f} s")
    if not rows["all weights as float32"][0] <= 1.1 * size:
        sys.exit("peak memory is above the file's size + 10 %")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        logging.disable(logging.WARNING)  # the hub's advice against what is tested here
        MARK = folder / "executed"
        check_torch(folder)
        check_safetensors(folder)
        check_refusals(folder)
        if "--large" in sys.argv[1:]:
            check_large(folder)
    print(f"{checks} tensors compared, byte for byte")
