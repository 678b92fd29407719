"""A surface of 1370 x 3072 values drawn by us against matplotlib's plot_surface at 200 x 200 cells, and the size of our SVG.

Run: PYTHON tests/bench/surface_vs_matplotlib.py BENCH_SURFACE     (needs matplotlib; both sides start from the array in memory, ours, theirs,
ours in turn; matplotlib's import is not counted, our start of gnuplot is). Bars: at least 5 times faster; SVG below 4 MB."""
import os, statistics, subprocess, sys, tempfile, time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

TOKENS, CHANNELS, REPEATS, BAR, SVG_LIMIT = 1370, 3072, 3, 5.0, 4e6


def layer():
    """|x| as layers look: a bulk, loud channels on every token, one spike."""
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(TOKENS, CHANNELS)) * np.exp(0.6 * rng.normal(size=CHANNELS))).astype(np.float32)
    x[:, 777] += 15
    x[400, 2000] = 60
    return x


def ours(bench, raw, panels, kind, stem):
    out = subprocess.run([bench, raw, str(TOKENS), str(CHANNELS), str(panels), stem, kind], check=True, capture_output=True, text=True).stdout
    return float(out)


def theirs(x, panels, path):
    start = time.perf_counter()
    figure = plt.figure(figsize=(6 * panels, 6), dpi=170)  # the pixels of our picture
    tokens, channels = np.meshgrid(np.arange(TOKENS), np.arange(CHANNELS), indexing="ij")
    for i in range(panels):
        axes = figure.add_subplot(1, panels, i + 1, projection="3d")
        axes.plot_surface(channels, tokens, x, rcount=200, ccount=200, cmap="viridis")
        axes.set_title(f"fp32: max {x.max():.4g}, median {np.median(x):.3g}")
    figure.savefig(path)
    plt.close(figure)
    return time.perf_counter() - start


def compare(bench, x, raw, panels, folder):
    theirs(x, panels, f"{folder}/m.png")  # warm: fonts
    a, b = [], []
    for _ in range(REPEATS):
        a.append(ours(bench, raw, panels, "png", f"{folder}/s"))
        b.append(theirs(x, panels, f"{folder}/m.png"))
    ours_s, theirs_s = statistics.median(a), statistics.median(b)
    svg = ours(bench, raw, panels, "svg", f"{folder}/s")
    size = os.path.getsize(f"{folder}/s.svg")
    ratio = theirs_s / ours_s
    print(f"{TOKENS} x {CHANNELS}, {panels} panel(s): vitscope PNG {ours_s:.2f} s, matplotlib {matplotlib.__version__} {theirs_s:.2f} s = {ratio:.1f}x (bar {BAR:.0f}x: "
          f"{'ok' if ratio >= BAR else 'MISSED'}); SVG {svg:.2f} s, {size / 1e6:.2f} MB (bar {SVG_LIMIT / 1e6:.0f} MB: {'ok' if size < SVG_LIMIT else 'MISSED'})")
    return ratio >= BAR and size < SVG_LIMIT


def main():
    bench, x = sys.argv[1], layer()
    with tempfile.TemporaryDirectory() as d:
        raw = f"{d}/x.f32"
        x.tofile(raw)
        good = [compare(bench, x, raw, panels, d) for panels in (1, 3)]
    sys.exit(not all(good))


main()
