. "$(dirname "$0")/lib.sh"

expect 0 '' "$vitscope" --help
for command in run fp16 capture inspect layers scenes bench; do
    grep -q "^  $command " "$dir/stdout" || miss "--help does not list $command"
done
grep -qE '^  (export|triage|diff|resolve) ' "$dir/stdout" && miss "--help lists what is not built"
expect 0 '' "$vitscope" run --help
expect 0 '' "$vitscope" --version
expect 2 "no command given" "$vitscope"
expect 2 "did you mean 'inspect'?" "$vitscope" inpsect
expect 2 "unknown option '--otu'" "$vitscope" run --otu x a.yaml
expect 2 "usage: vitscope run CONFIG..." "$vitscope" run
expect 2 "--threads: 'x' is not a whole number" "$vitscope" run --threads x a.yaml
expect 2 "--batch: '65' is not a whole number from 1 to 64" "$vitscope" run --batch 65 a.yaml
expect 2 "--gpu-memory: '8GB' is not a size like 8G" "$vitscope" run --gpu-memory 8GB a.yaml
expect 3 "nowhere.yaml" "$vitscope" run "$dir/nowhere.yaml"
one_line

config typo 'statse: [fp32]'
expect 2 "typo.yaml:8:1: unknown key 'statse' in the configuration; did you mean 'states'?" "$vitscope" run "$dir/typo.yaml" --out "$dir/o"
one_line
config unbuilt 'states: [fp32, sqph]'
expect 2 "unbuilt.yaml:8:16: state sqph is not built yet" "$vitscope" run "$dir/unbuilt.yaml" --out "$dir/o"
config nolayer 'analyze: {layers: blocks.*.mlp.fc3}'
expect 3 "nolayer.yaml:8:19: 'blocks.*.mlp.fc3' matches no layer of vit_ti14" "$vitscope" run "$dir/nolayer.yaml" --out "$dir/o"
config good
expect 2 "--gpu-memory bounds the memory of a GPU; backend cpu has none" "$vitscope" run "$dir/good.yaml" --gpu-memory 8G --out "$dir/o"
expect 4 "use --backend cpu" env CUDA_VISIBLE_DEVICES= "$vitscope" run "$dir/good.yaml" --backend cuda --out "$dir/o"
expect 4 "backend cpu computes in f32, not in tf32; use --backend cuda" "$vitscope" run "$dir/good.yaml" --arithmetic tf32 --out "$dir/o"
one_line
expect 4 "backend ref computes in f64, not in f32" "$vitscope" run "$dir/good.yaml" --backend ref --arithmetic f32 --out "$dir/o"
expect 4 "fp16.real: backend cpu has no half kernels; use --backend cuda, or real: false" "$vitscope" fp16 "$dir/good.yaml" --set fp16.real=true --out "$dir/o"
one_line
expect 2 "--arithmetic: there is no arithmetic 'bf16'; known: f32, tf32" "$vitscope" run "$dir/good.yaml" --arithmetic bf16 --out "$dir/o"
expect 2 "--set analyze.images=many" "$vitscope" run "$dir/good.yaml" --set analyze.images=many --out "$dir/o"
expect 3 "m.safetensors" "$vitscope" run "$dir/good.yaml" --set "model.checkpoint=$dir/m.safetensors" --out "$dir/o"
expect 2 "also a calibration image" "$vitscope" run "$dir/good.yaml" --set data.analysis.scenes.seed=2 --out "$dir/o"
expect 2 "not a multiple of the patch size 14; the nearest is 238x238" "$vitscope" run "$dir/good.yaml" --set data.analysis.scenes.size=234 --out "$dir/o"
head -c 5000 "$source/data/vit_ti14_scenes.safetensors" >"$dir/cut.safetensors"
expect 1 "cut.safetensors: the header claims" "$vitscope" run "$dir/good.yaml" --set "model.checkpoint=$dir/cut.safetensors" --out "$dir/o"
one_line

# an output folder that cannot be written, before the long work
: >"$dir/file"
expect 1 "$dir/file" "$vitscope" run "$dir/good.yaml" --out "$dir/file"
one_line

# a full disk (here: a limit on file size) leaves earlier results untouched
expect 0 '' "$vitscope" run "$dir/good.yaml" --out "$dir/o" --set analyze.images=1
cp "$dir/o/good/results.json" "$dir/before.json"
( trap '' XFSZ; ulimit -f 8; "$vitscope" run "$dir/good.yaml" --out "$dir/o" >/dev/null 2>"$dir/stderr" )
[ $? = 1 ] || miss "a full disk must give exit code 1"
grep -q "results.json: cannot write: File too large" "$dir/stderr" || { miss "a full disk must be said"; cat "$dir/stderr"; }
cmp -s "$dir/before.json" "$dir/o/good/results.json" || miss "a full disk damaged earlier results"
[ -z "$(find "$dir/o" -name '*.tmp.*')" ] || miss "temporary files were left"

# Ctrl-C
"$vitscope" run "$dir/good.yaml" --out "$dir/i" --set data.evaluation.scenes.count=5000 >/dev/null 2>"$dir/stderr" &
pid=$!
sleep 3
kill -INT $pid
wait $pid
[ $? = 130 ] || miss "Ctrl-C must give 130"
grep -q "interrupted" "$dir/stderr" || miss "Ctrl-C must be said"

# a failing configuration does not stop the next
expect 2 "typo.yaml" "$vitscope" run "$dir/typo.yaml" "$dir/good.yaml" --out "$dir/two" --set analyze.images=1
[ -f "$dir/two/good/results.json" ] || { expect 2 "" "$vitscope" run "$dir/typo.yaml" "$dir/good.yaml" --out "$dir/two"; [ -f "$dir/two/good/results.json" ] || miss "the second configuration was not run"; }

expect 0 '' "$vitscope" inspect "$source/data/vit_ti14_scenes.safetensors"
grep -q "width 192, 12 blocks, 3 heads of 64" "$dir/stdout" || miss "inspect: geometry"
expect 0 '' "$vitscope" inspect --json "$source/data/vit_ti14_scenes.safetensors"
grep -q '"layout": "timm_dinov2"' "$dir/stdout" || miss "inspect --json"
expect 0 '' "$vitscope" inspect --json "$source/data/vit_ti14_scenes.safetensors" "$source/data/vit_ti14_scenes.safetensors"
[ "$(grep -c '"missing": \[\]' "$dir/stdout")" = 2 ] || miss "inspect --json of two files"
expect 0 '' "$vitscope" inspect "$source/tests/fuzz/corpus/checkpoint/hf_vit.safetensors"
grep -q 'heads unknown (set model.heads)' "$dir/stdout" || miss "inspect: a width that tells no heads"
expect 0 '' "$vitscope" layers "$dir/good.yaml"
grep -q "^blocks.11.mlp.fc2 *backbone.blocks.11.mlp.fc2$" "$dir/stdout" || miss "layers"
mkdir "$dir/taps"
: >"$dir/taps/logits.npy.tmp.99" # of a capture that was killed
expect 0 '' "$vitscope" capture "$dir/good.yaml" --taps 'blocks.{0,11}.attn.q,logits' --state ptq --images 2 --out "$dir/taps"
[ "$(ls "$dir/taps" | tr '\n' ' ')" = "blocks.0.attn.q.npy blocks.11.attn.q.npy logits.npy " ] || miss "capture: $(ls "$dir/taps")"
expect 0 '' "$vitscope" capture "$dir/good.yaml" --taps 'blocks.{0,11}.attn.q,logits' --state ptq --images 2 --batch 2 --out "$dir/both"
for file in blocks.0.attn.q.npy blocks.11.attn.q.npy logits.npy; do
    cmp -s "$dir/taps/$file" "$dir/both/$file" || miss "capture: $file differs with --batch 2"
done
head -c 128 "$dir/taps/logits.npy" | grep -aq "(2,11,16,16)" || miss "capture: shape of logits"
expect 0 '' "$vitscope" bench vitti14 --size 42 --images 2 --json
grep -q '"GFLOP' "$dir/stdout" && miss "bench --json prints text"
for key in forward analysis linear peak_bytes bound_bytes; do
    grep -q "\"$key\"" "$dir/stdout" || miss "bench --json lacks $key"
done
expect 0 '' "$vitscope" bench "$dir/good.yaml" --images 1 --only operations
grep -q "^ptq by operation" "$dir/stdout" || miss "bench: operations of a state"
expect 3 "neither a configuration nor a geometry; geometries: vitti14" "$vitscope" bench vitx14
expect 2 "not a multiple of the patch size 14" "$vitscope" bench vits14 --size 100
expect 2 "did you mean 'forward'?" "$vitscope" bench vits14 --only forwrd
one_line
expect 3 "matches no tensor" "$vitscope" capture "$dir/good.yaml" --taps 'blocks.12.norm' --out "$dir/taps"
finish
