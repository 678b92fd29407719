# run --resume: an unchanged run is skipped, any input or output that changed makes it run again, with the reason in one line.
. "$(dirname "$0")/lib.sh"
quietly() { env PATH=/nonexistent "$vitscope" "$@"; } # without gnuplot: charts are not what this is about

model=$source/data/vit_ti14_scenes.safetensors
expect 0 '' "$vitscope" scenes "$dir/s" --count 3 --size 56 --seed 5
expect 0 '' "$vitscope" scenes "$dir/other" --count 3 --size 56 --seed 6
cp "$model" "$dir/m.safetensors"
cp "$model" "$dir/head.safetensors"
chmod u+w "$dir"/*.safetensors

# study NAME CHECKPOINT [HEAD]
study() {
    {
        printf 'version: 1\nname: %s\nmodel: {checkpoint: %s%s}\n' "$1" "$2" "${3:+, head: $3}"
        printf 'data:\n  calibration: {scenes: {seed: 2, count: 1, size: 56}}\n'
        printf '  evaluation: {images: list.txt, labels: s/labels}\nstates: [fp32]\nanalyze: {recipes: [], cumulative: false}\n'
    } >"$dir/$1.yaml"
}
printf 's/images/scene_%s.png\n' 0000 0001 0002 >"$dir/list.txt"

# skipped NAME OPTION...: nothing is computed
skipped() {
    name=$1
    shift
    expect 0 '' quietly run "$dir/$name.yaml" --out "$dir/o" --resume "$@"
    grep -q "^$dir/o/$name: already complete$" "$dir/stdout" || { miss "$name is not skipped ($*)"; cat "$dir/stdout" "$dir/stderr"; }
}
# again NAME WHY OPTION...: it is, with one line that says why; after that it is whole
again() {
    name=$1 why=$2
    shift 2
    expect 0 "$dir/o/$name: computed again: $why" quietly run "$dir/$name.yaml" --out "$dir/o" --resume "$@"
    [ "$(grep -c "computed again" "$dir/stderr")" = 1 ] || miss "$name: more than one line of reasons"
    grep -q "already complete" "$dir/stdout" && miss "$name is skipped though $why"
    skipped "$name" "$@"
}

# ---- a single file with a head beside it
study one m.safetensors head.safetensors
expect 0 '' quietly run "$dir/one.yaml" --out "$dir/o"
skipped one
skipped one --threads 1 --batch 2 # they decide nothing on cpu
cp "$dir/o/one/results.json" "$dir/before.json"
printf '\0' | dd of="$dir/head.safetensors" bs=1 seek=$(($(wc -c <"$dir/head.safetensors") - 700)) conv=notrunc 2>/dev/null
again one "file $dir/head.safetensors changed"
cp "$model" "$dir/head.safetensors"
again one "file $dir/head.safetensors changed"
cmp -s "$dir/before.json" "$dir/o/one/results.json" || miss "the same head again gives other results"
printf '\0' | dd of="$dir/m.safetensors" bs=1 seek=$(($(wc -c <"$dir/m.safetensors") - 700)) conv=notrunc 2>/dev/null
again one "file $dir/m.safetensors changed"
printf '{"note": 1}\n' >"$dir/config.json"
again one "file $dir/config.json is new"
rm "$dir/config.json"
again one "file $dir/config.json is gone"
# contents of an image, of a label map, of the list
cp "$dir/other/images/scene_0001.png" "$dir/s/images/scene_0001.png"
again one "images of data.evaluation changed"
cp "$dir/other/labels/scene_0001.png" "$dir/s/labels/scene_0001.png"
again one "images of data.evaluation changed"
sed -i '$d' "$dir/list.txt"
again one "images of data.evaluation changed"
printf '# two images\n' >>"$dir/list.txt" # lists the same
skipped one
again one "configuration changed" --set 'analyze.images=1'
again one "configuration changed"
# another instruction set, unless this processor has no other
if ! grep -q '"isa": "scalar"' "$dir/o/one/run.json"; then
    export VS_ISA=scalar
    again one "instruction set was '"
    unset VS_ISA
    again one "instruction set was 'scalar' and is '"
fi
export DNNL_MAX_CPU_ISA=SSE41
again one "library was '"
unset DNNL_MAX_CPU_ISA
again one "library was '"
# what the run left
printf ' ' >>"$dir/o/one/summary.txt"
again one "summary.txt changed"
rm "$dir/o/one/layers.csv"
again one "layers.csv is missing"
[ -s "$dir/o/one/layers.csv" ] || miss "a missing file is not made again"
rm "$dir/o/one/maps/scene_0000.png"
again one "maps/scene_0000.png is missing"
# another build
cp "$vitscope" "$dir/program"
printf ' ' >>"$dir/program"
expect 0 "computed again: program changed" env PATH=/nonexistent "$dir/program" run "$dir/one.yaml" --out "$dir/o" --resume
# half a run.json is none
head -c 500 "$dir/o/one/run.json" >"$dir/half.json"
cp "$dir/half.json" "$dir/o/one/run.json"
again one "there is no finished run"

# ---- a folder
mkdir "$dir/folder"
cp "$model" "$dir/folder/model.safetensors"
printf '{"note": 1}' >"$dir/folder/config.json"
study folder folder
expect 0 '' quietly run "$dir/folder.yaml" --out "$dir/o"
skipped folder
printf ' ' >>"$dir/folder/config.json"
again folder "file $dir/folder/config.json changed"
printf '{"note": 2}' >"$dir/folder/generation_config.json"
again folder "file $dir/folder/generation_config.json is new"

# ---- shards
mkdir "$dir/shards"
cp "$model" "$dir/shards/model-00001-of-00001.safetensors"
length=$(od -An -N4 -tu4 "$model" | tr -d ' ')
head -c $((8 + length)) "$model" | tail -c "$length" | grep -ao '"[^"]*":{"dtype"' | cut -d'"' -f2 |
    sed 's/.*/"&": "model-00001-of-00001.safetensors",/' >"$dir/names"
{ printf '{"weight_map": {'; sed '$s/,$//' "$dir/names"; printf '}}\n'; } >"$dir/shards/model.safetensors.index.json"
study shards shards
expect 0 '' quietly run "$dir/shards.yaml" --out "$dir/o"
skipped shards
printf '\0' | dd of="$dir/shards/model-00001-of-00001.safetensors" bs=1 seek=$(($(wc -c <"$model") - 700)) conv=notrunc 2>/dev/null
again shards "file $dir/shards/model-00001-of-00001.safetensors changed"
printf ' ' >>"$dir/shards/model.safetensors.index.json"
again shards "file $dir/shards/model.safetensors.index.json changed"

finish
