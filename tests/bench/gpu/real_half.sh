#!/bin/sh
# Half kernels beside the emulation on a GPU: sh tests/bench/gpu/real_half.sh VITSCOPE FOLDER [PYTHON]
# Runs configs/fp16_real.yaml into FOLDER and compares; exits non-zero where a block's output is more than 1.5 dB apart.
set -e
"$1" fp16 configs/fp16_real.yaml --backend cuda --out "$2"
"${3:-python3}" tests/bench/gpu/real_half.py "$2/fp16_real"
