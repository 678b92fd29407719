. "$(dirname "$0")/lib.sh"

# half NAME PLANTING EXTRA...: a small diagnosis of the demo model with LayerScale
half() {
    name=$1 plants=$2
    shift 2
    {
        printf 'version: 1\nname: %s\n' "$name"
        printf 'model: {checkpoint: %s/data/vit_ti16_dinov3_scenes.safetensors, plant: [%s]}\n' "$source" "$plants"
        printf 'data:\n  calibration: {scenes: {seed: 2, count: 1, size: 64}}\n  analysis: {scenes: {seed: 3, count: 1, size: 64}}\n'
        printf '  evaluation: {scenes: {seed: 1, count: 2, size: 64}}\nstates: [fp32]\nanalyze: {recipes: [], cumulative: false}\n'
        for line in "$@"; do printf '%s\n' "$line"; done
    } >"$dir/$name.yaml"
}
summary() { tr -s ' \n' '  ' <"$dir/o/$1/summary.txt" >"$dir/flat"; }
says() { grep -qF -- "$2" "$dir/flat" || { miss "summary of $1 lacks '$2'"; cat "$dir/o/$1/summary.txt"; }; }

# one analysis image
half one ''
expect 0 '' "$vitscope" fp16 "$dir/one.yaml" --out "$dir/o"
summary one
says one "FP16 holds under fused, decomposed.after, decomposed.before, decomposed.both."
grep -q '"weights": \[' "$dir/o/one/results.json" || miss "results.json lacks fp16.weights"

# a float32 run with infinities: this part is not run, the rest is
big='{kind: residual, gain: 1e9}'
half broken "$big, $big, $big, $big, {kind: residual, gain: 100}"
expect 0 'fp16: not run: the float32 run itself is not finite: ' "$vitscope" run "$dir/broken.yaml" --out "$dir/o" --set fp16.scale=after
summary broken
says broken "FP16 was not looked at: the float32 run itself is not finite: "
says broken "infinities or NaN, first in scene 0"
says broken "HALF PRECISION, FP16: not run"
grep -q '"not_run": "the float32 run itself is not finite: ' "$dir/o/broken/results.json" || miss "results.json lacks fp16.not_run"
grep -q '"miou"' "$dir/o/broken/results.json" || miss "the float state was not evaluated"

# NaN in a tensor: refused with its name
cp "$source/data/vit_ti16_dinov3_scenes.safetensors" "$dir/nan.safetensors"
chmod u+w "$dir/nan.safetensors"
printf '\377\377\377\377' | dd of="$dir/nan.safetensors" bs=1 seek=$(($(wc -c <"$dir/nan.safetensors") - 4)) conv=notrunc 2>/dev/null
expect 1 "nan.safetensors: tensor '" "$vitscope" fp16 "$dir/one.yaml" --set "model.checkpoint=$dir/nan.safetensors" --out "$dir/o"
one_line

# weights that half cannot hold: by name, with the largest
half large "{kind: residual, gain: 1e7}"
expect 0 '' "$vitscope" fp16 "$dir/large.yaml" --set 'fp16.policies=[fused]' --out "$dir/o"
summary large
says large "patch_embed.proj.weight: "
says large "weights are above the largest FP16 and were stored as infinities (largest |w| "
grep -q '"tensor": "patch_embed.proj.weight"' "$dir/o/large/results.json" || miss "results.json does not name the tensor"

# a LayerScale that is gone
half tiny "{kind: residual, gain: 1e-6}, {kind: residual, gain: 1e-4}"
expect 0 '' "$vitscope" fp16 "$dir/tiny.yaml" --set 'fp16.policies=[fused]' --out "$dir/o"
summary tiny
says tiny "blocks.0.ls1: 192 of 192 channels became 0 when they were stored in half"

# state fp16: numbers of half precision
half state '' 'fp16: {policies: [fused]}'
expect 0 '' "$vitscope" capture "$dir/state.yaml" --state fp16 --set 'states=[fp32,fp16]' --taps 'blocks.0.mlp.fc1,blocks.1,logits' --out "$dir/c"
for tap in blocks.0.mlp.fc1 blocks.1 logits; do
    [ -s "$dir/c/$tap.npy" ] || miss "capture of state fp16 lacks $tap"
done
# the last 13 bits of a float32 that half holds are 0: little-endian, so is its first byte
tail -c 4096 "$dir/c/blocks.1.npy" | od -An -v -tu1 -w4 | awk '$1 != 0 { exit 1 }' || miss "state fp16 is captured with float32 values"
expect 0 '' "$vitscope" bench "$dir/state.yaml" --images 1 --only forward --set 'states=[fp32,fp16]'

# policies that name nothing known
half wrong '' 'fp16: {policies: [fused, decompsed]}'
expect 2 "wrong.yaml:10:26: unknown policy 'decompsed' in fp16.policies; did you mean 'decomposed'?" "$vitscope" fp16 "$dir/wrong.yaml" --out "$dir/o"
one_line
half operation '' 'fp16: {policies: [{name: x, norm: fused, layernorm: float32}]}'
expect 2 "operation.yaml:10:42: unknown key 'layernorm' in fp16.policies" "$vitscope" fp16 "$dir/operation.yaml" --out "$dir/o"
one_line
half value '' 'fp16: {policies: [{name: x, norm: fuesd}]}'
expect 2 "value.yaml:10:35: fp16.policies.norm must be fused, decomposed or float32, not 'fuesd'" "$vitscope" fp16 "$dir/value.yaml" --out "$dir/o"
one_line
finish
