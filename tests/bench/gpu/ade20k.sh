#!/bin/sh
# The DINOv2 study on stand-ins of true size (random weights) and a synthetic folder in ADE20K's format: seconds of each stage.
#   sh tests/bench/gpu/ade20k.sh VITSCOPE DIR [IMAGES [BACKEND [MODELS]]]        MODELS: "b l"; PYTHON: one with PyTorch and Pillow
set -u
vitscope=$1 dir=$2 images=${3:-12} backend=${4:-cuda} models=${5:-b l}
python=${PYTHON:-python3}
for model in $models; do
    depth=12
    [ "$model" = l ] && depth=24
    mkdir -p "$dir/$model"
    "$python" tests/oracle/make_ade20k.py "$dir/$model" --models "$model" --depth "$depth" --images "$images" --train 8 >/dev/null || exit 1
    sed -e "/name: vit[^$model]14/,/published/d" -e "s/count: 32/count: 8/" configs/dinov2_seg/dinov2_ade20k.yaml >"$dir/$model/study.yaml"
    "$vitscope" run "$dir/$model/study.yaml" --backend "$backend" --out "$dir/$model/out" 2>"$dir/$model/log" | tail -n 8 || cat "$dir/$model/log"
    for run in "$dir/$model"/out/*/vit*/run.json; do
        "$python" - "$run" "$images" <<'PY'
import json, sys
run = json.load(open(sys.argv[1]))
s, images = run["seconds"], int(sys.argv[2])
print(run["name"], "; ".join(f"{k} {v:.2f} s" for k, v in s.items()), f"; evaluation {s['evaluation'] / images:.3f} s an image, three states; device memory {run.get('device_peak_bytes', 0) / 2**30:.2f} GiB")
PY
    done
done
