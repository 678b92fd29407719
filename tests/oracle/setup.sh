#!/bin/sh
# Makes the virtual environment of the oracles outside the tree: sh tests/oracle/setup.sh; prints its python.
set -eu
venv=${VS_ORACLE_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/vitscope/oracle}
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import torch, timm, onnxruntime, safetensors, PIL' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q 'torch==2.11.0' 'timm==1.0.29' numpy pillow safetensors onnx onnxruntime
fi
echo "$venv/bin/python"
