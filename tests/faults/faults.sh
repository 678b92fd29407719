# sh faults.sh PROGRAM SOURCE SHIM MAKE_MODEL [full]: calls that fail, one in each run, and memory that ends. A run ends with the
# results of an undisturbed one, or with one line that says why, another exit code, and no file that differs.
. "$(dirname "$0")/../cli/lib.sh"
shim=$3 make_model=$4 full=${5:-}
timeout=$(command -v timeout)
points=0 right=0 refused=0

"$make_model" "$dir/tiny.safetensors" || { echo "no model"; exit 1; }
cat >"$dir/f.yaml" <<END
version: 1
name: f
model: {checkpoint: tiny.safetensors, heads: 1, plant: [{kind: value, blocks: [1], units: 1, gain: 4}]}
data:
  calibration: {scenes: {seed: 2, count: 2, size: 32}}
  analysis: {scenes: {seed: 3, count: 2, size: 32}}
  evaluation: {scenes: {seed: 1, count: 2, size: 32}}
states: [fp32, ptq, sq]
analyze: {output: true, spared: true}
fp16: {policies: [fused]}
surfaces: {layers: [blocks.1.mlp.fc2], formats: [png], npy: true}
END

# start OUT COMMAND [VARIABLE=VALUE...]: the exit code is in $code. Command `bare` is a run that finds no gnuplot, which takes far
# longer than all else.
start() {
    out=$1 command=$2
    shift 2
    [ "$command" = bare ] && set -- run PATH=/nowhere "$@" || set -- "$command" "$@"
    word=$1
    shift
    timeout 120 env "$@" "$vitscope" "$word" "$dir/f.yaml" --out "$out" --threads 2 >"$dir/stdout" 2>"$dir/stderr"
    code=$?
}

# judge WHAT: of the run that has just ended, beside the undisturbed one of the same command
judge() {
    points=$((points + 1))
    # libgomp ends the program with a line of its own where it cannot start a thread or has no memory itself
    lines=$(grep -v '^vitscope: warning: ' "$dir/stderr" | grep -c -e '^vitscope: ' -e '^libgomp: ')
    if [ "$code" = 0 ]; then
        right=$((right + 1))
        diff -rq -x run.json "$dir/$command" "$out" >"$dir/diff" || { miss "$1: exit code 0 with other results"; head -n 5 "$dir/diff"; cat "$dir/stderr"; }
        return
    fi
    refused=$((refused + 1))
    [ "$code" -lt 5 ] || { miss "$1: exit code $code"; cat "$dir/stderr"; }
    [ "$lines" = 1 ] || { miss "$1: exit code $code with $lines lines that say why"; cat "$dir/stderr"; }
    for file in $(cd "$out" 2>/dev/null && find . -name '*.json' -o -name '*.csv' -o -name '*.npy' -o -name '*.txt'); do
        [ "${file##*/}" = run.json ] || cmp -s "$dir/$command/$file" "$out/$file" || miss "$1: $file is there and wrong"
    done
}

# sweep COMMAND MOST [KIND...]: each kind's calls (default: of all kinds) fail at up to MOST places, spread evenly; for malloc, whose
# calls are nearly all in the matrix library's code generation, twice more over the last quarter.
sweep() {
    command=$1 most=$2
    shift 2
    kinds=" $* "
    set -- "$command" "$most"
    start "$dir/$1" "$1" LD_PRELOAD="$shim" VS_FAULT_COUNTS="$dir/counts"
    [ "$code" = 0 ] || { miss "$1: undisturbed: exit code $code"; cat "$dir/stderr"; return; }
    awk -v most="$2" -v kinds="$kinds" 'function spread(kind, from, n, most) {
        p = n < most ? n : most
        for (k = 0; k < p; k++) print kind, from + 1 + int((k + 0.5) * n / p)
    } kinds != "  " && !index(kinds, " " $1 " ") { next } {
        spread($1, 0, $2, most)
        if ($1 == "malloc") spread($1, int($2 * 0.75), int($2 * 0.25), 2 * most)
    }' "$dir/counts" >"$dir/points.$1"
    while read -r kind number; do
        start "$dir/o" "$1" LD_PRELOAD="$shim" VS_FAULT_KIND="$kind" VS_FAULT_NUMBER="$number"
        judge "$1, $kind $number"
        rm -rf "$dir/o"
    done <"$dir/points.$1"
}

# limited KILOBYTES: a run in so much address space
limited() {
    command=bare out=$dir/o
    (ulimit -v "$1" && PATH=/nowhere && exec "$timeout" 120 "$vitscope" run "$dir/f.yaml" --out "$out" --threads 2 >"$dir/stdout" 2>"$dir/stderr")
    code=$?
}

# limits COUNT STEP: that many limits of address space around the smallest that works, STEP kilobytes apart
limits() {
    low=65536 high=4194304
    while [ $((high - low)) -gt 1024 ]; do
        middle=$(((low + high) / 2))
        limited $middle
        judge "address space of $middle kB"
        rm -rf "$out"
        if [ "$code" = 0 ]; then high=$middle; else low=$middle; fi
    done
    i=0
    while [ $i -lt "$1" ]; do
        size=$((high + (i - $1 / 2) * $2))
        limited $size
        judge "address space of $size kB"
        rm -rf "$out"
        i=$((i + 1))
    done
}

if [ "$full" = full ]; then
    for name in bare fp16 capture; do sweep $name 40; done
    sweep run 12 fopen open write fwrite fflush fclose pipe fork tmpfile thread
    limits 16 2048
    [ $points -ge 800 ] || miss "only $points points"
else
    sweep bare 1
    sweep run 1 pipe fork tmpfile
fi
echo "$points points: $right right, $refused refused, $failures wrong"
finish
