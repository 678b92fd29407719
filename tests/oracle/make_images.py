"""Small images of every kind that is read, for tests/unit/test_photos.c and the fuzz targets image and exif: what Pillow decodes, and where
OpenCV puts the pixels of each EXIF orientation. Run with the oracles' python (and opencv-python-headless); the results are committed."""
import io, pathlib, struct, tempfile, zlib

import cv2
import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUT, CORPUS = ROOT / "unit" / "images", ROOT / "fuzz" / "corpus"


def picture(w, h):
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([x * 255 // w, y * 255 // h, (x * 7 + y * 13) % 256], 2).astype(np.uint8)


def saved(image, kind, **options):
    b = io.BytesIO()
    image.save(b, kind, **options)
    return b.getvalue()


def exif(orientation, big=False):
    e = "<>"[big]
    return (b"MM" if big else b"II") + struct.pack(e + "HIH", 42, 8, 1) + struct.pack(e + "HHIHHI", 0x0112, 3, 1, orientation, 0, 0)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def orientations(folder):
    """Where each pixel of the upright image lies in a stored one of 3 x 2, as OpenCV reads it."""
    stored = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    for o in range(1, 9):
        path = str(pathlib.Path(folder) / "o.png")
        png = saved(Image.fromarray(np.repeat(stored[:, :, None], 3, 2)), "PNG")
        pathlib.Path(path).write_bytes(png[:33] + chunk(b"eXIf", exif(o)) + png[33:])
        yield o, cv2.imread(path)[:, :, 0] // 40


def main():
    OUT.mkdir(exist_ok=True)
    image = Image.fromarray(picture(24, 16))
    rgba = np.dstack([picture(24, 16), (np.arange(24)[None, :] * 10 + np.zeros((16, 1))).astype(np.uint8)])
    base = saved(image, "JPEG", quality=90)
    progressive = saved(image, "JPEG", quality=90, progressive=True)
    lossless = saved(image, "WEBP", lossless=True)
    files = {"base.jpg": base, "progressive.jpg": progressive, "stray.jpg": base[:-2] + bytes(range(1, 41)) + base[-2:],
             "between.jpg": base[:20] + b"\1\2\3" + base[20:], "lossless.webp": lossless,
             "lossy.webp": saved(image, "WEBP", quality=80), "alpha.webp": saved(Image.fromarray(rgba, "RGBA"), "WEBP", lossless=True, exact=True),
             "lossy_alpha.webp": saved(Image.fromarray(rgba, "RGBA"), "WEBP", quality=80),
             "animated.webp": saved(image, "WEBP", save_all=True, append_images=[image.rotate(180)]),
             "turned.webp": saved(image, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(6))}
    png = saved(image, "PNG")
    files["turned.png"] = png[:33] + chunk(b"eXIf", exif(6, big=True)) + png[33:]
    files["turned_late.png"] = png[:-12] + chunk(b"eXIf", exif(6)) + png[-12:]
    wide = saved(Image.new("L", (1200, 1200), 120), "JPEG", progressive=True, quality=5)
    last = wide[wide.rindex(b"\xff\xda"):-2]
    files["scans.jpg"] = wide[:-2] + 500 * last + b"\xff\xd9"
    for name in ("lossy", "lossy_alpha"):
        files[name + ".png"] = saved(Image.open(io.BytesIO(files[name + ".webp"])).convert("RGB"), "PNG")
    files["picture.png"] = png
    for name, data in files.items():
        (OUT / name).write_bytes(data)
    with tempfile.TemporaryDirectory() as folder:
        for o, places in orientations(folder):
            print(f"    {{ {o}, {places.shape[1]}, {{ {', '.join(str(v) for v in places.ravel())} }} }},")
    for name in ("lossless.webp", "lossy.webp", "lossy_alpha.webp", "animated.webp", "turned.webp", "turned_late.png", "between.jpg"):
        (CORPUS / "image" / name).write_bytes(files[name])
    (CORPUS / "image" / "turned.jpg").write_bytes(base[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(exif(6))) + b"Exif\0\0" + exif(6) + base[2:])
    (CORPUS / "exif").mkdir(exist_ok=True)
    (CORPUS / "exif" / "little.tif").write_bytes(exif(6))
    (CORPUS / "exif" / "big.tif").write_bytes(b"Exif\0\0" + exif(8, big=True))


if __name__ == "__main__":
    main()
