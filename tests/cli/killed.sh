# kill -9 at several moments of a run over the results of another, then --resume: as if nothing had happened. Third argument: how
# many moments.
. "$(dirname "$0")/lib.sh"
moments=${3:-4}
model=$source/data/vit_ti14_scenes.safetensors
quietly() { env PATH=/nonexistent "$vitscope" "$@"; }
{
    printf 'version: 1\nname: k\nmodel: {checkpoint: %s}\n' "$model"
    printf 'data:\n  calibration: {scenes: {seed: 2, count: 1, size: 56}}\n  analysis: {scenes: {seed: 3, count: 1, size: 56}}\n'
    printf '  evaluation: {scenes: {seed: 1, count: 2, size: 56}}\nstates: [fp32, ptq]\n'
    printf 'analyze: {recipes: [ptq], layers: "blocks.0.*"}\nsurfaces: {layers: [blocks.0.mlp.fc1], formats: [png], npy: true}\n'
} >"$dir/k.yaml"
expect 0 '' quietly run "$dir/k.yaml" --out "$dir/reference"
expect 0 '' quietly run "$dir/k.yaml" --out "$dir/before" --set 'states=[fp32,sq]' --set 'analyze.recipes=[sq]'

# the time of a run decides where the moments lie, and nothing else
start=$(date +%s%N)
expect 0 '' quietly run "$dir/k.yaml" --out "$dir/timed"
took=$((($(date +%s%N) - start) / 1000000))
done=0
for i in $(seq 1 "$moments"); do
    rm -rf "$dir/o"
    cp -r "$dir/before" "$dir/o"
    env PATH=/nonexistent "$vitscope" run "$dir/k.yaml" --out "$dir/o" >/dev/null 2>&1 & # not through a function: its own process
    pid=$!
    after=$((took * i / (moments + 1)))
    sleep "$((after / 1000)).$(printf '%03d' $((after % 1000)))"
    kill -9 $pid 2>/dev/null || done=$((done + 1))
    wait $pid 2>/dev/null
    expect 0 '' quietly run "$dir/k.yaml" --out "$dir/o" --resume
    diff -rq -x run.json "$dir/reference" "$dir/o" >"$dir/diff" || { miss "killed after $after ms of $took and resumed: not the same"; cat "$dir/diff"; }
    expect 0 '' quietly run "$dir/k.yaml" --out "$dir/o" --resume
    grep -q "already complete" "$dir/stdout" || miss "killed after $after ms and resumed: not complete"
done
echo "$moments moments, $done of them after the end"
finish
