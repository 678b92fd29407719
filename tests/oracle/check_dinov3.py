"""Every DINOv3 layout against the library that defines it.

1. The tensors as loaded are the library's, bit for bit (SHA-256 of their float32 bytes), periods and masked biases included.
2. Every tap of `vitscope capture --backend ref` at three sizes, one not square: 1e-9 (max|a-b| / max|a|) where the library is given sine and cosine
   tables in float64, 5e-6 against the untouched library, whose tables are float32. q and k are what the library hands to attention.

Run: PYTHON tests/oracle/check_dinov3.py [--full] [NAME...]   (exits 1 on a miss)
--full: H+ and 7B at true width with 2 blocks, at 64 px; 7B needs 6 GB."""
import json, pathlib, subprocess, sys, tempfile, warnings

from PIL import Image

warnings.filterwarnings("ignore")
import dinov3_layouts as layouts
import oracle

EXACT, UNTOUCHED = 1e-9, 5e-6
NEEDED = {"full_hub_7b": 6e9}


def available():
    return 1024 * next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemAvailable"))


def inspected(case, path):
    run = subprocess.run([oracle.vitscope(), "inspect", "--json", str(path)], capture_output=True, text=True)
    if run.returncode:
        print(f"{case.name:16s} {run.stderr.strip()}")
        return False
    found = json.loads(run.stdout)
    print(f"{case.name:16s} {found['layout']}, {found['arch']}, {found['heads']} heads, {found['parameters']} parameters, head {found['head']}, {found['positions']}; ignored {found['ignored'][:3]}")
    return found["layout"] == case.layout and not found["missing"]


def same_taps(case, path, head, size, directory):
    directory = pathlib.Path(directory) / f"{case.name}_{size[0]}x{size[1]}"
    (directory / "images").mkdir(parents=True)
    rgb, _ = oracle.scenes(3, 1, max(size))
    image = rgb[0, : size[0], : size[1]]
    Image.fromarray(image).save(directory / "images/a.png")
    model = [f"checkpoint: {path}"] + ([f"head: {head}"] if head else []) + ([f"heads: {case.heads}"] if case.layout == "timm_dinov3" else []) + ([f"rope: {case.rope}"] if case.rope else [])
    (directory / "c.yaml").write_text(f"version: 1\nname: x\nmodel: {{{', '.join(model)}}}\ndata: {{analysis: {{images: {directory}/images}}}}\nanalyze: {{recipes: []}}\n")
    subprocess.run([oracle.vitscope(), "capture", str(directory / "c.yaml"), "--backend", "ref", "--out", str(directory / "out")], check=True, stdout=subprocess.DEVNULL)
    pixels = oracle.normalise(image[None])
    good = True
    for exact, limit in ((True, EXACT), (False, UNTOUCHED)):
        want = case.taps(pixels, exact)
        error, tap = oracle.worst_of(want, directory / "out")
        print(f"{case.name:16s} {size[0]}x{size[1]}: {len(want)} taps against {'tables in float64' if exact else 'the untouched library'}, worst {error:.2e} at {tap}{'' if error <= limit else '   MISS'}")
        good &= bool(error <= limit)
    subprocess.run(["rm", "-r", str(directory)], check=True)
    return good


def check(case, directory, full):
    path, head = case.save(case.model, pathlib.Path(directory) / case.name)
    good = inspected(case, path)
    good &= oracle.same_tensors(case, path, *(["computed"] if case.rope == "computed" else []))
    for size in ((64, 64),) if full else ((224, 224), (288, 288), (224, 320)):
        good &= same_taps(case, path, head, size, directory)
    return good


def main():
    full = "--full" in sys.argv
    names = [a for a in sys.argv[1:] if not a.startswith("--")]
    good, made = True, 0
    for make in layouts.cases(full):
        if full and available() < max(NEEDED.values()) and "7b" in str(make.__code__.co_consts):
            print("SKIPPED: full_hub_7b: it needs 6 GB of memory")
            continue
        case = make()
        if names and case.name not in names:
            continue
        made += 1
        with tempfile.TemporaryDirectory() as d:
            good &= check(case, d, full)
        del case
    print(f"{made} cases: " + ("all agree" if good else "MISSES, see above"))
    sys.exit(0 if good else 1)


main()
