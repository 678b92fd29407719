#!/bin/sh
# Makes the virtual environment of the oracles outside the tree and prints its python (everything else goes to stderr):
#   sh tests/oracle/setup.sh [DIR]      DIR: $VS_ORACLE_VENV, or ~/.cache/vitscope/oracle; about 6 GB, most of it torch's CUDA libraries
set -eu
venv=${1:-${VS_ORACLE_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/vitscope/oracle}}
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import torch, timm, transformers, onnx, onnxruntime, safetensors, PIL, yaml, cv2, mmcv, mmseg' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q torch==2.11.0 torchvision==0.26.0 timm==1.0.31 numpy==2.3.5 pillow==12.0.0 safetensors==0.7.0 transformers==5.24.0 \
        onnx==1.20.0 onnxruntime==1.24.4 PyYAML==6.0.3 opencv-python-headless addict yapf prettytable packaging matplotlib 'setuptools<81' wheel >&2
    # mmcv and mmsegmentation in pure Python: what the segmentation heads of DINOv2 were trained and tested with
    MMCV_WITH_OPS=0 "$venv/bin/pip" install -q --no-deps --no-build-isolation mmcv==1.7.2 >&2
    "$venv/bin/pip" install -q --no-deps mmsegmentation==0.30.0 >&2
fi
echo "$venv/bin/python"
