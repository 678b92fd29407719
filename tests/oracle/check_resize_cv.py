"""opencv's uint8 bilinear resize, byte for byte: how many pixels differ over many sizes (goal: none)."""
import os, subprocess, sys

import cv2
import numpy as np

import oracle

cv2.setNumThreads(1)
rng = np.random.default_rng(5)


def resize(cases):
    """cases: (image, width, height) -> the program's images."""
    program = os.environ.get("VS_RESIZE") or str(oracle.ROOT / "build/release/tests/oracle/vs_resize")
    blob = b"".join(np.array([i.shape[1], i.shape[0], i.shape[2], w, h], dtype=np.uint32).tobytes() + i.tobytes() for i, w, h in cases)
    raw = np.frombuffer(subprocess.run([program], input=blob, stdout=subprocess.PIPE, check=True).stdout, dtype=np.uint8)
    out, at = [], 0
    for i, w, h in cases:
        n = w * h * i.shape[2]
        out.append(raw[at:at + n].reshape(h, w, i.shape[2]))
        at += n
    assert at == raw.size
    return out


def image(w, h, channels=3):
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(0, 256, (h, w, channels), dtype=np.uint8)
    if kind == 1:
        return rng.choice(np.array([0, 255], dtype=np.uint8), (h, w, channels))
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([(x * (3 + c) + y * (5 - c)) % 256 for c in range(channels)], axis=-1).astype(np.uint8)


cases = [(image(2 * w, 2 * h), w, h) for w, h in ((7, 5), (64, 48), (33, 2))]  # opencv takes its area code here
cases += [(image(w, h), w, h) for w, h in ((1, 1), (5, 9))]
cases += [(image(w, h), tw, th) for w, h, tw, th in ((1, 1, 7, 5), (1, 40, 3, 90), (40, 1, 90, 3), (2, 2, 1, 1), (500, 375, 683, 512), (683, 512, 500, 375))]
for _ in range(int(os.environ.get("VS_RESIZE_CASES", 600))):
    w, h, tw, th = (int(v) for v in rng.integers(1, 300, 4))
    cases.append((image(w, h, int(rng.choice([1, 3]))), tw, th))
for _ in range(40):  # as the pipeline does: keep ratio, short side 512 or 640
    w, h = (int(v) for v in rng.integers(200, 1200, 2))
    f = min(2048 / max(w, h), int(rng.choice([512, 640])) / min(w, h))
    cases.append((image(w, h), int(w * f + 0.5), int(h * f + 0.5)))

pixels = differing = 0
for (i, w, h), got in zip(cases, resize(cases)):
    want = cv2.resize(i, (w, h), interpolation=cv2.INTER_LINEAR).reshape(h, w, i.shape[2])
    bad = int((want != got).sum())
    if bad:
        print(f"{i.shape[1]}x{i.shape[0]}x{i.shape[2]} -> {w}x{h}: {bad} of {want.size} differ, at most by {np.abs(want.astype(int) - got).max()}")
    pixels += want.size
    differing += bad
print(f"opencv {cv2.__version__}: {len(cases)} resizes, {differing} of {pixels} values differ")
sys.exit(differing != 0)
