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
finish
