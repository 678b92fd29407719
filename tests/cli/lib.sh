# Helpers of the black-box tests: sh NAME.sh PROGRAM SOURCE
set -u
vitscope=$1 source=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0
miss() { echo "FAILED: $*"; failures=$((failures + 1)); }

# expect CODE TEXT COMMAND...: exit code, and a line of stderr that holds TEXT ('' : stderr may be anything)
expect() {
    code=$1 text=$2
    shift 2
    "$@" >"$dir/stdout" 2>"$dir/stderr"
    got=$?
    [ "$got" = "$code" ] || { miss "exit code $got instead of $code: $*"; cat "$dir/stderr"; }
    [ -z "$text" ] || grep -qF -- "$text" "$dir/stderr" || { miss "stderr lacks '$text': $*"; cat "$dir/stderr"; }
}
# one line besides those of finished stages
one_line() { [ "$(grep -cvE '^[0-9]+/[0-9]+ [a-z]+: ' "$dir/stderr")" = 1 ] || { miss "more than one line on stderr"; cat "$dir/stderr"; }; }

# config NAME EXTRA...: a small study on the demo model
config() {
    name=$1
    shift
    {
        printf 'version: 1\nname: %s\nmodel: {checkpoint: %s/data/vit_ti14_scenes.safetensors}\n' "$name" "$source"
        printf 'data:\n  calibration: {scenes: {seed: 2, count: 3}}\n  analysis: {scenes: {seed: 3, count: 2}}\n  evaluation: {scenes: {seed: 1, count: 3}}\n'
        for line in "$@"; do printf '%s\n' "$line"; done
    } >"$dir/$name.yaml"
}
finish() { [ "$failures" = 0 ] || exit 1; echo "ok"; }
