"""Writes tests/unit/resize_cv_golden.h: what opencv's uint8 bilinear resize makes of a small image."""
import cv2
import numpy as np

import oracle

rng = np.random.default_rng(12)
image = rng.integers(0, 256, (14, 18, 3), dtype=np.uint8)
lines = ["/* Made by tests/oracle/make_resize_cv_golden.py with opencv. */", "#ifndef VS_RESIZE_CV_GOLDEN_H", "#define VS_RESIZE_CV_GOLDEN_H", "#include <stddef.h>", "#include <stdint.h>",
         "enum { CV_GOLDEN_W = 18, CV_GOLDEN_H = 14 };", "typedef struct cv_case {", "    size_t width, height;", "    const uint8_t *pixels;", "} cv_case;"]


def array(name, values):
    lines.append(f"static const uint8_t {name}[] = {{ {', '.join(str(int(v)) for v in values.reshape(-1))} }};")


array("cv_input", image)
cases = []
for width, height in ((9, 7), (18, 14), (25, 31), (5, 14), (18, 3), (1, 1), (40, 2)):
    array(f"cv_{len(cases)}", cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))
    cases.append(f"{{ {width}, {height}, cv_{len(cases)} }}")
lines += [f"static const cv_case cv_cases[] = {{ {', '.join(cases)} }};", "#endif"]
(oracle.ROOT / "tests/unit/resize_cv_golden.h").write_text("\n".join(lines) + "\n")
