# The planted study in small: the culprit is found, and results do not depend on threads or batch.
. "$(dirname "$0")/lib.sh"
config spike 'surfaces: {layers: [blocks.11.mlp.fc2], formats: [png], npy: true}' 'states: [fp32, sq, ptq, weights, acts]'
sed -i 's/^model: {\(.*\)}$/model: {\1, plant: [{kind: spike, blocks: [8, 11], units: 1, ratio: 256}]}/' "$dir/spike.yaml"
sed -i 's/seed: 2, count: 3/seed: 2, count: 16/' "$dir/spike.yaml"
expect 0 '' "$vitscope" run "$dir/spike.yaml" --out "$dir/a" --threads 1
grep -q "Precision is lost in the inputs of blocks" "$dir/stdout" || miss "the summary names no culprit"
head -n 7 "$dir/a/spike/ranking.activations.txt" | grep -v '^#' | cut -f 2 | sort | tr '\n' ' ' >"$dir/worst"
[ "$(cat "$dir/worst")" = "blocks.11.mlp.fc2 blocks.8.mlp.fc2 " ] || miss "worst by activations: $(cat "$dir/worst")"
grep -q "blocks.11.mlp.fc2 .*FLAGGED" "$dir/a/spike/summary.txt" || miss "no blind spot"
tail -n 2 "$dir/a/spike/ranking.weights.txt" | grep -q blocks.11.mlp.fc2 || miss "blocks.11.mlp.fc2 must be near the end by weights"
for file in results.json layers.csv run.json summary.txt surfaces/blocks.11.mlp.fc2.in.ptq.npy "maps/scene_0.png" \
    heatmaps/blocks.11.mlp.fc2.ptq.png heatmaps/blocks.11.mlp.fc2.in.ptq.png; do
    [ -s "$dir/a/spike/$file" ] || miss "no $file"
done
for variant in "--threads 2" "--threads 5" "--threads 2 --batch 1" "--threads 2 --batch 8"; do
    # shellcheck disable=SC2086
    expect 0 '' "$vitscope" run "$dir/spike.yaml" --out "$dir/b" $variant
    for file in results.json layers.csv summary.txt; do
        cmp -s "$dir/a/spike/$file" "$dir/b/spike/$file" || miss "$file differs with $variant"
    done
done
config hidden
sed -i 's/^model: {\(.*\)}$/model: {\1, plant: [{kind: hidden, blocks: [5], units: 2, gain: 256}]}/' "$dir/hidden.yaml"
expect 0 '' "$vitscope" run "$dir/hidden.yaml" --out "$dir/h"
grep -v '^#' "$dir/h/hidden/ranking.activations.txt" | head -n 1 | grep -q blocks.5.mlp.fc2 || miss "hidden: worst by activations"
grep -v '^#' "$dir/h/hidden/ranking.weights.txt" | head -n 1 | grep -q blocks.5.mlp.fc2 || miss "hidden breaks weights too"
# A recipe of everything: rows exist for what it quantizes, two alphas and two scopes in one run, bytes do not depend on threads.
config recipe 'recipe: {weights: per_tensor, inputs: per_tensor_sym, qk: per_head_sym, v: none, p: u8, patch_embed: true, head: true, bits: {inputs: 6}, observer: mse}' \
    'states: [fp32, ptq, {sq: {name: a3, alpha: 0.3}}, {sq: {name: a7, alpha: 0.7}}, {sq: {name: folded, scope: norm, alpha: 0.7}}]' \
    'analyze: {recipes: [ptq, a3, a7, folded]}' 'surfaces: {layers: [blocks.3.attn.p, patch_embed.proj], formats: [png]}'
sed -i -e 's/seed: 2, count: 3/seed: 2, count: 3, size: 112/' -e 's/seed: 3, count: 2/seed: 3, count: 2, size: 112/' -e 's/seed: 1, count: 3/seed: 1, count: 3, size: 112/' "$dir/recipe.yaml"
expect 0 '' "$vitscope" run "$dir/recipe.yaml" --out "$dir/r" --threads 1
cut -d , -f 1 "$dir/r/recipe/layers.csv" | sed 1d >"$dir/rows"
{ echo patch_embed.proj; for b in 0 1 2 3 4 5 6 7 8 9 10 11; do for k in attn.qkv attn.q attn.k attn.p attn.proj mlp.fc1 mlp.fc2; do echo "blocks.$b.$k"; done; done; echo head.conv_seg; } |
    cmp -s - "$dir/rows" || miss "rows: $(tr '\n' ' ' <"$dir/rows")"
[ -s "$dir/r/recipe/surfaces/blocks.3.attn.p.in.png" ] || miss "no surface of the probabilities"
column() { # NAME ROW: a cell of layers.csv
    awk -F , -v name="$1" -v row="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i } $1 == row { print $c }' "$dir/r/recipe/layers.csv"
}
[ "$(column a3.local.both blocks.9.mlp.fc1)" != "$(column a7.local.both blocks.9.mlp.fc1)" ] || miss "two alphas gave one result"
for layer in blocks.9.mlp.fc1 blocks.9.attn.qkv; do # a folded layer alone is the divided one
    [ "$(column folded.local.both $layer)" = "$(column a7.local.both $layer)" ] || miss "folding changed $layer"
done
[ "$(column folded.local.both blocks.9.mlp.fc2)" = "$(column ptq.local.both blocks.9.mlp.fc2)" ] || miss "fc2 is smoothed in scope norm"
[ -n "$(column ptq.local.both blocks.9.attn.p)$(column ptq.local.both head.conv_seg)" ] || miss "rows without numbers"
expect 0 '' "$vitscope" run "$dir/recipe.yaml" --out "$dir/b" --threads 3 --batch 2
for file in results.json layers.csv summary.txt; do
    cmp -s "$dir/r/recipe/$file" "$dir/b/recipe/$file" || miss "recipe: $file differs with 3 threads"
done
expect 3 "'blocks.0.attn.v' matches no layer of vit_ti14 that the recipe quantizes" "$vitscope" run "$dir/recipe.yaml" --set 'analyze.layers=[blocks.0.attn.v]' --out "$dir/b"
finish
