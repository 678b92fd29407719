#!/bin/sh
# Everything that needs a GPU, on a machine that has one: builds, tests the operations, looks for wrong memory accesses and races, and
# measures beside PyTorch. Run from the repository's root:
#
#   sh tests/bench/gpu/device.sh [STEP...]      steps: build ops golden study memcheck racecheck initcheck
#                                               taps kernels tf32 bench whole real models plantings half
#                                               diagnosis table; default all
#
# $OUT: where the logs go (build/gpu). .prefix.tar.xz in the root: the build's libraries for a machine without them, unpacked to
# $PREFIX. PYTHON: one with PyTorch. A step that fails or runs too long is reported and the next one begins; the last line counts.
set -u
out=${OUT:-build/gpu}
prefix=${PREFIX:-/tmp/vitscope-prefix}
python=${PYTHON:-python3}
dir=build/device
mkdir -p "$out"
passed=0 failed=0

step() { # NAME SECONDS COMMAND...
    name=$1 limit=$2
    shift 2
    case $wanted in *" $name "*) ;; *) return 0 ;; esac
    start=$(date +%s)
    { timeout -k 10 "$limit" "$@"; echo $? >"$out/$name.rc"; } 2>&1 | tee "$out/$name.log" | tail -n 40
    rc=$(cat "$out/$name.rc")
    rm -f "$out/$name.rc"
    if [ "$rc" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    echo "== $name: exit $rc after $(($(date +%s) - start)) s"
}

unpack() {
    [ -f .prefix.tar.xz ] || return 0
    [ -d "$prefix/usr" ] || { mkdir -p "$prefix" && tar -C "$prefix" -xJf .prefix.tar.xz; }
    mkdir -p "$prefix/usr/include/libpng16" # the system's libpng, named below the sysroot: CMake wants the folder to exist
    lib=$prefix/usr/lib/x86_64-linux-gnu
    export CMAKE_PREFIX_PATH="$prefix/usr" PKG_CONFIG_PATH="$lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$prefix"
    export LD_LIBRARY_PATH="$lib:${LD_LIBRARY_PATH:-}" LIBRARY_PATH="$lib:${LIBRARY_PATH:-}"
}

# The GPU's own code only: the other architectures double the time.
cat >"$out/build.sh" <<'BUILD'
set -e
nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv
cap=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
cmake -S . -B "$1" -DCMAKE_BUILD_TYPE=Release -DVS_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$cap-real"
cmake --build "$1" -j "$(nproc)" --target vitscope test_ops_matrix test_golden bench_model bench_kernels bench_half half_plantings
BUILD

# The same study on cpu and cuda, and how far their decibels and mIoU are apart.
cat >"$out/study.sh" <<'STUDY'
set -e
for backend in cpu cuda; do
    start=$(date +%s)
    "$1/analyzer/cli/vitscope" run configs/demo.yaml --backend $backend --set surfaces.layers=[] --out "$2/$backend"
    echo "$backend: $(($(date +%s) - start)) s"
done
"$3" tests/bench/gpu/compare_results.py "$2/cpu" "$2/cuda"
STUDY

# The sweep and the whole local study beside PyTorch.
cat >"$out/whole.sh" <<'WHOLE'
set -e
"$2" tests/bench/gpu/study_vs_torch.py "$1/analyzer/cli/vitscope" --models S,B
"$2" tests/bench/gpu/study_vs_torch.py "$1/analyzer/cli/vitscope" --models L --images 8
"$2" tests/bench/gpu/study_vs_torch.py "$1/analyzer/cli/vitscope" --models S,B --images 2 --batch 1 --extra "--batch 1"
WHOLE

# Emulated half-precision runs of a ViT-B/16 at 512 px beside its float32 forward pass; 6 times is the most.
cat >"$out/half.sh" <<'HALF'
set -e
model=$(mktemp)
"$2" tests/bench/gpu/half_model.py "$model"
"$1/tests/bench/bench_half" cuda "$model" 512 8 10
rm -f "$model"
HALF

# The whole diagnosis of the same model, both policies.
cat >"$out/diagnosis.sh" <<'DIAGNOSIS'
set -e
model=$(mktemp -d)
"$2" tests/bench/gpu/half_model.py "$model/b.safetensors"
start=$(date +%s)
"$1/analyzer/cli/vitscope" fp16 tests/bench/half_diagnosis.yaml --backend cuda --set "model.checkpoint=$model/b.safetensors" --out "$model/out"
echo "diagnosis: $(($(date +%s) - start)) s"
rm -rf "$model"
DIAGNOSIS

# The half-precision table of docs/fp16-reference.md.
cat >"$out/table.sh" <<'TABLE'
set -e
start=$(date +%s)
"$1/analyzer/cli/vitscope" run configs/fp16_table.yaml --backend cuda --out "$2"
echo "table: $(($(date +%s) - start)) s"
"$3" tests/oracle/fp16_table.py "$2/fp16_table"
TABLE

# compute-sanitizer over a reduced set of cases
sanitize() { # TOOL SECONDS
    step "$1" "$2" env VS_OPS_QUICK=1 compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 20 "$dir/tests/ops/test_ops_matrix" cuda
}

wanted=" ${*:-build ops golden study memcheck racecheck initcheck taps kernels tf32 bench whole real models plantings half diagnosis table} "
unpack
step build 300 sh "$out/build.sh" "$dir"
step ops 240 env VS_CUDA_SYNC=1 "$dir/tests/ops/test_ops_matrix" cuda
step golden 120 "$dir/tests/golden/test_golden"
step study 240 sh "$out/study.sh" "$dir" "$(mktemp -d)" "$python"
sanitize memcheck 240
sanitize racecheck 300
sanitize initcheck 240
step taps 420 "$python" tests/bench/gpu/taps_vs_ref.py "$dir/analyzer/cli/vitscope"
step real 420 sh tests/bench/gpu/real_half.sh "$dir/analyzer/cli/vitscope" "$(mktemp -d)" "$python"
step kernels 120 "$dir/tests/bench/bench_kernels" cuda
step tf32 120 "$dir/tests/bench/bench_kernels" cuda 0.05 tf32
step bench 420 "$python" tests/bench/gpu/model_vs_torch.py "$dir/tests/bench/bench_model"
step whole 420 sh "$out/whole.sh" "$dir" "$python"
step models 240 env BACKENDS=cuda VITSCOPE="$dir/analyzer/cli/vitscope" "$python" tests/oracle/check_half.py
step plantings 420 "$dir/tests/study/half_plantings" 200 cuda 1
step half 120 sh "$out/half.sh" "$dir" "$python"
step diagnosis 240 sh "$out/diagnosis.sh" "$dir" "$python"
step table 300 sh "$out/table.sh" "$dir" "$(mktemp -d)" "$python"
rm -f "$out/build.sh" "$out/half.sh" "$out/diagnosis.sh" "$out/table.sh" "$out/study.sh" "$out/whole.sh"
echo "$passed steps passed, $failed failed"
[ "$failed" = 0 ]
