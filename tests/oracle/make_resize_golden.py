"""Writes tests/unit/resize_golden.h: what PIL (antialiased) and torch (not antialiased) make of a small image."""
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import oracle

rng = np.random.default_rng(11)
image = rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)
lines = ["/* Made by tests/oracle/make_resize_golden.py with PIL and torch. */", "#ifndef VS_RESIZE_GOLDEN_H", "#define VS_RESIZE_GOLDEN_H",
         "#include <stdbool.h>", "#include <stddef.h>", "#include <stdint.h>", "enum { GOLDEN_W = 31, GOLDEN_H = 23 };",
         "typedef struct resize_case { size_t width, height; bool bicubic, antialias; const uint8_t *pixels; } resize_case;"]


def array(name, values):
    text = ", ".join(str(int(v)) for v in values.reshape(-1))
    lines.append(f"static const uint8_t {name}[] = {{ {text} }};")


array("resize_input", image)
cases = []
for width, height in ((14, 9), (40, 30), (31, 12), (7, 23)):
    for bicubic in (False, True):
        pil = np.array(Image.fromarray(image).resize((width, height), Image.BICUBIC if bicubic else Image.BILINEAR))
        x = torch.from_numpy(image).permute(2, 0, 1)[None].double()
        t = F.interpolate(x, size=(height, width), mode="bicubic" if bicubic else "bilinear", align_corners=False)[0].permute(1, 2, 0)
        for antialias, values in ((True, pil), (False, t.round().clamp(0, 255).numpy().astype(np.uint8))):
            name = f"resize_{len(cases)}"
            array(name, values)
            cases.append(f"{{ {width}, {height}, {str(bicubic).lower()}, {str(antialias).lower()}, {name} }}")
lines.append(f"static const resize_case resize_cases[] = {{ {', '.join(cases)} }};")
lines.append("#endif")
(oracle.ROOT / "tests/unit/resize_golden.h").write_text("\n".join(lines) + "\n")
