# Batch files: folders, the table, sharing, failures, resume, interruption.
. "$(dirname "$0")/lib.sh"
small="data: {calibration: {scenes: {seed: 2, count: 2}}, evaluation: {scenes: {seed: 1, count: 2}}}"
# batch NAME LINE...: a batch on the demo model whose runs are LINEs
batch() {
    name=$1
    shift
    {
        printf 'version: 1\nname: %s\ndefaults:\n  model: {checkpoint: %s/data/vit_ti14_scenes.safetensors}\n' "$name" "$source"
        printf '  %s\n  states: [fp32, ptq]\nruns:\n' "$small"
        for line in "$@"; do printf '  - %s\n' "$line"; done
    } >"$dir/$name.yaml"
}

# a failing run in the middle does not stop the others
batch b '{name: one, published: {fp32: 80.5, ptq: 7.38}}' '{name: gone, model: {checkpoint: gone.safetensors}}' \
    '{name: four, recipe: {}, states: [ptq, {sq: {name: sq6, alpha: 0.6}}]}' \
    '{name: planted, model: {plant: [{kind: spike, blocks: [11]}]}, published: {ptq: 20}}'
expect 1 "vitscope: run 'gone': $dir/b.yaml:9:38: $dir/gone.safetensors" "$vitscope" run "$dir/b.yaml" --out "$dir/o"
[ "$(cat "$dir/o/b/table.txt")" = "$(sed -n '/^b: mIoU/,/^planted/p' "$dir/stdout")" ] || miss "the table is not printed"
[ "$(grep -c '^model: ' "$dir/stderr")" = 1 ] || { miss "what holds of every run is not said once"; cat "$dir/stderr"; }
grep -qE '^one +[0-9.]+ +80\.50 +[+-][0-9.]+ +[0-9.]+ +7\.38 +[+-][0-9.]+ +-$' "$dir/o/b/table.txt" || miss "row one"
grep -q "^gone *failed: .*gone.safetensors" "$dir/o/b/table.txt" || miss "row gone"
head -n 1 "$dir/o/b/table.csv" | tr -d '\r' >"$dir/head"
[ "$(cat "$dir/head")" = "run,status,metric,fp32,fp32.published,fp32.difference,ptq,ptq.published,ptq.difference,sq6,sq6.published,sq6.difference" ] ||
    miss "heads of table.csv"
[ "$(cut -d, -f1-3 "$dir/o/b/table.csv" | tail -n 4 | tr '\n' ' ')" = "one,done,miou gone,failed, four,done,miou planted,done,miou " ] || miss "table.csv"
grep -q '"schema": 1' "$dir/o/b/table.json" || miss "table.json"
for file in results.json layers.csv summary.txt run.json quant.json smooth/blocks.0.attn.qkv.npy; do
    [ -s "$dir/o/b/four/$file" ] || miss "no $file"
done
[ ! -e "$dir/o/b/one/smooth" ] || miss "plain PTQ has no factors"
grep -q '"alpha":0.6' "$dir/o/b/four/quant.json" || miss "alpha in quant.json"
# the value in the table is the one of results.json, the configuration in run.json is the merged one
want=$(grep -o '"miou": [0-9.]*' "$dir/o/b/planted/results.json" | sed -n 2p | cut -d' ' -f2)
grep -q "^planted,done,miou,[^,]*,,,$want,20," "$dir/o/b/table.csv" || miss "ptq of planted is not $want"
grep -q '"vit_ti14_scenes.safetensors"\|vit_ti14_scenes' "$dir/o/b/planted/run.json" || miss "run.json lacks the defaults"

# what runs share does not change a byte: the same run alone
cat >"$dir/four.yaml" <<END
version: 1
name: four
model: {checkpoint: $source/data/vit_ti14_scenes.safetensors}
$small
states: [ptq, {sq: {name: sq6, alpha: 0.6}}]
END
expect 0 '' "$vitscope" run "$dir/four.yaml" --out "$dir/alone" --threads 1
for file in results.json layers.csv summary.txt quant.json smooth/blocks.5.mlp.fc2.npy maps/scene_1.png; do
    cmp -s "$dir/o/b/four/$file" "$dir/alone/four/$file" || miss "$file of a run in a batch differs from the run alone"
done
batch planted '{name: a, model: {plant: [{kind: spike, blocks: [11]}]}, states: [fp32]}' '{name: planted, model: {plant: [{kind: spike, blocks: [11]}]}}'
expect 0 '' "$vitscope" run "$dir/planted.yaml" --out "$dir/o"
cmp -s "$dir/o/b/planted/results.json" "$dir/o/planted/planted/results.json" || miss "a shared planted model gives other results"
grep -q '"planting"' "$dir/o/planted/a/run.json" || miss "the first run plants"
grep -q '"planting"' "$dir/o/planted/planted/run.json" && miss "the second run plants again"

# --resume: whole runs stay, failed ones are tried again, a change of the configuration or of the results is seen
cp "$dir/o/b/table.csv" "$dir/before.csv"
expect 1 "gone" "$vitscope" run "$dir/b.yaml" --out "$dir/o" --resume
grep '^\[' "$dir/stdout" >"$dir/done"
[ "$(cat "$dir/done")" = "[2/4] gone" ] || miss "resumed: $(cat "$dir/done")"
cmp -s "$dir/before.csv" "$dir/o/b/table.csv" || miss "a resumed table differs"
sed -i 's/gone.safetensors/vit.safetensors/; s/20}/21}/; s/alpha: 0.6/alpha: 0.7/' "$dir/b.yaml"
cp "$source/data/vit_ti14_scenes.safetensors" "$dir/vit.safetensors"
printf ' ' >>"$dir/o/b/one/results.json"
expect 0 '' "$vitscope" run "$dir/b.yaml" --out "$dir/o" --resume
[ "$(grep -c '^\[' "$dir/stdout")" = 3 ] || miss "one (damaged), gone (repaired) and four (changed) must run"
grep -q '^planted,done,miou,.*,21,' "$dir/o/b/table.csv" || miss "the new published number"
expect 0 '' "$vitscope" run "$dir/four.yaml" --out "$dir/alone" --resume
grep -q "already complete" "$dir/stdout" || miss "a single run is resumed"
expect 0 '' "$vitscope" run "$dir/four.yaml" --out "$dir/alone" --resume --set recipe.v=per_head_sym
grep -q "already complete" "$dir/stdout" || miss "the default spelled out is the same configuration"

# --set reaches every run; several files in one call
batch s '{name: x}' '{name: y}'
expect 0 '' "$vitscope" run "$dir/s.yaml" "$dir/four.yaml" --out "$dir/t" --set data.evaluation.scenes.count=1 --set states='[fp32]'
[ -s "$dir/t/four/results.json" ] && [ -s "$dir/t/s/y/results.json" ] || miss "two files"
grep -q '"evaluation_images": 1' "$dir/t/s/y/results.json" || miss "--set does not reach the second run"

# mistakes are found before the first run, with the place where they were written
batch typo '{name: one}' '{name: two, recpie: {}}'
expect 2 "typo.yaml:9:17: unknown key 'recpie' in the configuration; did you mean 'recipe'?" "$vitscope" run "$dir/typo.yaml" --out "$dir/o"
one_line
[ ! -e "$dir/o/typo" ] || miss "a batch with a mistake began"
batch same '{name: one}' '{name: one}'
expect 2 "same.yaml:9:12: two runs are called 'one'" "$vitscope" run "$dir/same.yaml" --out "$dir/o"
batch states '{name: one, published: {sqq: 1}}'
expect 2 "states.yaml:8:29: published: there is no state 'sqq' in this run" "$vitscope" run "$dir/states.yaml" --out "$dir/o"
batch unbuilt '{name: one}' '{name: two, states: [sqph]}'
expect 2 "unbuilt.yaml:9:26: state sqph is not built yet" "$vitscope" run "$dir/unbuilt.yaml" --out "$dir/o"
expect 2 "b.yaml:8:3: this is a batch file ('runs'); give the configuration of a single run" "$vitscope" capture "$dir/b.yaml" --out "$dir/c"
expect 2 "this is a batch file" "$vitscope" layers "$dir/b.yaml"
: >"$dir/file"
expect 1 "$dir/file" "$vitscope" run "$dir/s.yaml" --out "$dir/file"
one_line

# Ctrl-C: the finished run and a table stay
batch long '{name: first}' '{name: second, data: {evaluation: {scenes: {count: 5000}}}}' '{name: third}'
"$vitscope" run "$dir/long.yaml" --out "$dir/o" >"$dir/stdout" 2>"$dir/stderr" &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    grep -q second "$dir/stdout" && break
    sleep 1
done
sleep 1
kill -INT $pid
wait $pid
[ $? = 130 ] || miss "Ctrl-C must give 130"
[ -s "$dir/o/long/first/results.json" ] || miss "the finished run is gone"
[ "$(cut -d, -f1,2 "$dir/o/long/table.csv" | tail -n 3 | tr '\n' ' ')" = "first,done second,not run third,not run " ] || miss "the table of an interrupted batch"
grep -q "^second *not run" "$dir/stdout" || miss "the table is not printed after Ctrl-C"
finish
