"""Seeds of the fuzz targets zip, pickle, torch and index, tiny files of torch.save, and of graph, one good graph each (grown_* there were found by the
fuzzer). Run with the oracles' python; the results are committed."""
import argparse, collections, io, json, pathlib, zipfile

import numpy as np
import torch

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def main():
    torch.manual_seed(1)
    base = torch.arange(12.0).reshape(3, 4)
    values = {"state": collections.OrderedDict(weight=base, bias=base[1], t=base.t(), h=base.half(), b=base.bfloat16(), n=torch.tensor(3)),
              "nested": {"state_dict": torch.nn.Linear(2, 3).state_dict(), "meta": {"epoch": 3, "miou": 0.5, "CLASSES": ("a", "b")},
                         "list": [torch.nn.Parameter(base[0]), None, True], "lr": np.float64(0.5), "args": argparse.Namespace(x=1),
                         "set": {1, 2}, "big": 2**70},
              "u16": {"x": torch.zeros(3, dtype=torch.uint16), "f8": torch.zeros(2, dtype=torch.float8_e4m3fn)}}
    for kind in ("zip", "pickle", "torch", "index", "graph"):
        (CORPUS / kind).mkdir(exist_ok=True)
    for name, value in values.items():
        for protocol in (2, 4):
            archive, stream = io.BytesIO(), io.BytesIO()
            torch.save(value, archive, pickle_protocol=protocol)
            torch.save(value, stream, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
            pickle = next(zipfile.ZipFile(archive).read(n) for n in zipfile.ZipFile(archive).namelist() if n.endswith("data.pkl"))
            (CORPUS / "pickle" / f"{name}.protocol{protocol}.pkl").write_bytes(pickle)
            if protocol == 2:
                (CORPUS / "torch" / f"{name}.pth").write_bytes(archive.getvalue())
                (CORPUS / "torch" / f"{name}.legacy.pth").write_bytes(stream.getvalue())
    (CORPUS / "zip" / "torch.zip").write_bytes((CORPUS / "torch" / "u16.pth").read_bytes())
    deflated = io.BytesIO()
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a/code/x.py", "x" * 400)
        z.comment = b"a comment"
    (CORPUS / "zip" / "deflated.zip").write_bytes(deflated.getvalue())
    index = {"metadata": {"total_size": 24}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (CORPUS / "index" / "index.json").write_text(json.dumps(index, indent=2))
    for number, name in enumerate(("plain", "rotary", "classifier", "masks", "bare")):
        (CORPUS / "graph" / name).write_bytes(bytes([number]))


if __name__ == "__main__":
    main()
