# What a user may expect of any program: help, quiet, mistakes that are found before anything is computed, progress, tables that fit.
. "$(dirname "$0")/lib.sh"

# ---- options
"$vitscope" --version >"$dir/version"
for command in run fp16 capture inspect layers scenes bench; do
    for flag in -h --help; do
        expect 0 '' "$vitscope" $command $flag
        grep -q "^usage: vitscope $command " "$dir/stdout" || miss "$command $flag"
        for option in '-q, --quiet' '-h, --help' '--version'; do
            grep -q -- "^  $option " "$dir/stdout" || miss "$command $flag does not list $option"
        done
    done
    expect 0 '' "$vitscope" help $command
    grep -q "^usage: vitscope $command " "$dir/stdout" || miss "help $command"
    expect 0 '' "$vitscope" $command --version
    cmp -s "$dir/version" "$dir/stdout" || miss "$command --version"
done
for command in '' run fp16 capture bench; do # and it fits
    for columns in 48 80; do
        # shellcheck disable=SC2086
        COLUMNS=$columns "$vitscope" $command --help >"$dir/stdout"
        awk -v most=$columns 'length($0) > most { print "FAILED: " length($0) " columns: " $0; bad = 1 } END { exit bad }' "$dir/stdout" || miss "$command --help in $columns columns"
    done
done
expect 2 "unknown command 'rum'; did you mean 'run'? See vitscope --help" "$vitscope" rum
expect 2 "unknown command 'frobnicate'. See vitscope --help" "$vitscope" help frobnicate
expect 2 "run: unknown option '--output'; did you mean '--out'? See vitscope run --help" "$vitscope" run --output=x a.yaml
expect 2 "run: unknown option '--dryrun'; did you mean '--dry-run'?" "$vitscope" run --dryrun a.yaml
expect 2 "run: unknown option '--verbose'. See vitscope run --help" "$vitscope" run --verbose a.yaml
expect 2 "run: unknown option '-x'. See" "$vitscope" run -x a.yaml
expect 2 "layers: this command has no option '--seed'. See vitscope layers --help" "$vitscope" layers --seed 1 a.yaml
expect 2 "run: --out needs a value: DIR" "$vitscope" run --out= a.yaml
expect 2 "run: --quiet takes no value" "$vitscope" run --quiet=yes a.yaml
one_line

# before CODE TEXT COMMAND...: one line, and nothing begun or written
before() {
    expect "$@"
    [ "$(wc -l <"$dir/stderr")" = 1 ] || { miss "not one line on stderr: $*"; cat "$dir/stderr"; }
    [ ! -e "$dir/o" ] || { miss "something was written: $*"; rm -rf "$dir/o"; }
}

# ---- labels
expect 0 '' "$vitscope" scenes "$dir/set" --count 2 --size 56 -q
[ ! -s "$dir/stdout" ] || miss "scenes -q speaks"
cat >"$dir/seg.yaml" <<END
version: 1
name: seg
model: {checkpoint: $source/data/vit_ti14_scenes.safetensors}
data:
  calibration: {scenes: {seed: 2, count: 2, size: 56}}
  evaluation: {images: set/images, labels: set/labels}
states: [fp32, ptq]
END
run() { "$vitscope" run "$dir/seg.yaml" --out "$dir/o" "$@"; }
label() { base64 -d >"$dir/set/labels/scene_000$1.png"; }
cp -r "$dir/set" "$dir/kept"
# 56x56, grey: 255 everywhere; 200 everywhere; 200 above, 3 below
ignored=iVBORw0KGgoAAAANSUhEUgAAADgAAAA4CAAAAACN7WTCAAAAJElEQVR42u3LMQ0AAAwDoPo33VpYdsNP+hRRFEVRFEVRFMWbASLRNHVG93lOAAAAAElFTkSuQmCC
beyond=iVBORw0KGgoAAAANSUhEUgAAADgAAAA4CAAAAACN7WTCAAAAJUlEQVR42u3LMQ0AAAwDoPpXVlm1sOyGn/QpoiiKoiiKoiiKNwPDm5KIW78PkwAAAABJRU5ErkJggg==
some=iVBORw0KGgoAAAANSUhEUgAAADgAAAA4CAAAAACN7WTCAAAAKklEQVR42u3LMQ0AAAgDMBL8+0IWHnYQjvZvTajEV7FDoiiKoiiKongQF6/LfZD2RDobAAAAAElFTkSuQmCC
for map in $ignored $beyond; do
    for i in 0 1; do echo $map | label $i; done
    before 2 "no pixel of the 2 label maps is of one of the 11 classes of vit_ti14 (0 to 10; 255 is ignored)" run
done
grep -qF "values such as 200 are there" "$dir/stderr" || miss "the value is not named"
grep -qF "$dir/seg.yaml:6:44: data.evaluation.labels: " "$dir/stderr" || { miss "place and key"; cat "$dir/stderr"; }
echo $ignored | label 0 # one map without a class is no mistake, nor are some pixels
echo $some | label 1
expect 0 "vitscope: warning: the labels of $dir/set/images/scene_0001.png hold values beyond the 11 classes of vit_ti14, such as 200" run --dry-run -q
one_line
cp "$dir/set/images/scene_0000.png" "$dir/set/labels/scene_0000.png"
before 1 "data.evaluation.labels: $dir/set/labels/scene_0000.png: a label map must be grey or palette" run # RGB, which is not broken
printf 'no image' | base64 | label 0
before 1 "scene_0000.png: neither PNG nor JPEG" run
cp "$dir/kept/labels/"* "$dir/set/labels"
before 2 "scene_0000.png: the label map is 56x56 but its image is 28x28 after preprocessing; label maps are neither resized nor cropped: make them of that size, or use data.preprocess.mmseg" run --set 'data.preprocess.crop={center: 28}'
rm "$dir/set/labels/scene_0001.png"
before 3 "data.evaluation.labels: $dir/set/labels/scene_0001.png: No such file or directory (the label map of $dir/set/images/scene_0001.png)" run
cp "$dir/kept/labels/"* "$dir/set/labels"

# a model without a head, and one whose head gives no maps
headless="--set model.checkpoint=$source/tests/fuzz/corpus/checkpoint/dinov3_hub.safetensors"
before 2 "data.evaluation.labels: dinov3_vitc8_2 has no head, so nothing predicts what labels could be held against: give model.head, or leave the labels out" run $headless
before 2 "the head of vit_c64_16 gives one class an image, not a map: leave the labels out" run --set "model.checkpoint=$source/tests/golden/data/vit_random.safetensors" \
    --set 'data.preprocess.crop={center: 48}' --set 'data.calibration.scenes.size=64'

# images without labels are no mistake: output SQNR on them, and no empty columns
cat >"$dir/bare.yaml" <<END
version: 1
name: bare
model: {checkpoint: $source/tests/fuzz/corpus/checkpoint/dinov3_hub.safetensors}
data:
  calibration: {scenes: {seed: 2, count: 2, size: 32}}
  analysis: {scenes: {seed: 3, count: 1, size: 32}}
  evaluation: {images: set/images}
states: [fp32, ptq]
END
expect 0 '' "$vitscope" run "$dir/bare.yaml" --out "$dir/bare" --threads 1
grep -qE '^  ptq +output SQNR [0-9.]+ dB on the evaluation images\.$' "$dir/stdout" || { miss "output SQNR of a model without a head"; cat "$dir/stdout"; }
sed -n '/^STATES/,/^$/p' "$dir/stdout" | grep -qE 'mIoU|aAcc|agreement' && miss "empty columns for a model without a head"
grep -q '"evaluation_sqnr"' "$dir/bare/bare/results.json" || miss "evaluation_sqnr"
cp "$dir/bare/bare/results.json" "$dir/bare.json"
expect 0 '' "$vitscope" run "$dir/bare.yaml" --out "$dir/bare" --threads 3 -q
cmp -s "$dir/bare.json" "$dir/bare/bare/results.json" || miss "evaluation_sqnr depends on threads"

# ---- images
sed -i -e '/calibration/d' -e 's/, ptq//' "$dir/seg.yaml"
before 2 "seg.yaml:5:15: data.evaluation: $dir/set/images/scene_0000.png: image size 50x50 is not a multiple of the patch size 14; the nearest is 56x56 (set data.preprocess.crop: {center: 56})" \
    run --set 'data.preprocess.crop={center: 50}'
before 2 "image size 8x8 is not a multiple of the patch size 14; the nearest is 14x14 (use data.preprocess.resize and crop, such as resize: {short: 14})" \
    run --set 'data.preprocess.resize={short: 8}'
before 2 "data.evaluation: $dir/set/images/scene_0000.png: an image of 56x56 is smaller than the crop of 70x70 (data.preprocess.crop)" run --set 'data.preprocess.crop={center: 70}'
before 2 "data.calibration: image size 60x60 is not a multiple of the patch size 14; the nearest is 56x56 (set data.calibration.scenes.size: 56)" \
    run --set 'data.calibration={scenes: {seed: 2, count: 1, size: 60}}'
before 3 "data.evaluation: $dir/none: " run --set data.evaluation.images="$dir/none"

# ---- the rest of a configuration
config study 'analyze: {images: 1}'
study() { "$vitscope" run "$dir/study.yaml" --out "$dir/o" "$@"; }
before 2 "quantized states need data.calibration" study --set 'data={analysis: {scenes: {seed: 3, count: 1}}}'
before 2 "surfaces.image is 1 but only 1 image is analyzed" study --set 'surfaces={layers: [blocks.0.mlp.fc1], image: 1}'
before 2 "surfaces.layers: 'blocks.0.mlp.fc1' is not among analyze.layers" study --set 'analyze.layers=[blocks.1.*]' --set 'surfaces={layers: [blocks.0.mlp.fc1]}'
before 3 "'fc2' matches no layer of vit_ti14 that the recipe quantizes; the nearest is '*.fc2'" study --set 'analyze.layers=[fc2]'
before 3 "'blocks.0.mlp.fc9' matches no layer of vit_ti14 that the recipe quantizes; the nearest is 'blocks.0.mlp.fc1'" study --set 'surfaces={layers: [blocks.0.mlp.fc9]}'
before 3 "'zzz' matches no layer of vit_ti14 that the recipe quantizes; 'vitscope layers' lists them" study --set 'analyze.layers=[zzz]'
before 3 "plant: there is no block 12; the model has blocks 0 to 11" study --set 'model.plant=[{kind: norm1, blocks: [12]}]'
before 3 "--taps: 'fc2' matches no tensor of vit_ti14; the nearest is '*.fc2'" "$vitscope" capture "$dir/study.yaml" --taps fc2 --out "$dir/o"
before 3 "there is no state 'ptqq' in this configuration; did you mean 'ptq'?" "$vitscope" capture "$dir/study.yaml" --state ptqq --out "$dir/o"
: >"$dir/file"
before 1 "$dir/file: not a folder" "$vitscope" capture "$dir/study.yaml" --taps norm --out "$dir/file"
before 1 "$dir/file: not a folder" "$vitscope" run "$dir/study.yaml" --out "$dir/file"
before 1 "/proc" "$vitscope" run "$dir/study.yaml" --out /proc # nobody may write there, and nothing is free

# ---- --dry-run
dry() {
    expect 0 '' "$@" --dry-run --out "$dir/o"
    [ ! -e "$dir/o" ] || miss "--dry-run writes: $*"
    for words in 'images  forwards' '^Time: about ' '^Memory: about ' "^Disk: about .* in $dir/o" 'nothing was computed, nothing written'; do
        grep -q -- "$words" "$dir/stdout" || { miss "--dry-run lacks '$words': $*"; cat "$dir/stdout"; }
    done
}
dry "$vitscope" run "$dir/study.yaml"
grep -qE '^  calibration +3 ' "$dir/stdout" || miss "--dry-run: images of calibration"
grep -qE '^  evaluation +3 +9$' "$dir/stdout" || miss "--dry-run: three states of three images"
dry "$vitscope" fp16 "$dir/study.yaml"
grep -qE '^  fp16 +3 ' "$dir/stdout" || miss "--dry-run: fp16"
dry "$vitscope" capture "$dir/study.yaml" --taps norm
grep -qE '^  capture +1 +1$' "$dir/stdout" || miss "--dry-run: capture"
printf 'version: 1\nname: batch\ndefaults: {model: {checkpoint: %s/data/vit_ti14_scenes.safetensors}, data: {evaluation: {scenes: {seed: 1, count: 1}}}, states: [fp32]}\nruns: [{name: a}, {name: b}]\n' "$source" >"$dir/batch.yaml"
dry "$vitscope" run "$dir/batch.yaml"
[ "$(grep -c '^Time: ' "$dir/stdout")" = 2 ] || miss "--dry-run of a batch"
tr '\n' ' ' <"$dir/stdout" | grep -qE ' Together: 2 runs, at most about [0-9]+ s .* MB in '  || { miss "--dry-run of a batch: together"; cat "$dir/stdout"; }
[ "$(grep -c 'nothing was computed' "$dir/stdout")" = 1 ] || miss "--dry-run of a batch ends once"
for columns in 40 80; do
    COLUMNS=$columns "$vitscope" run "$dir/study.yaml" --dry-run --out o >"$dir/stdout" 2>"$dir/stderr" || miss "--dry-run in $columns columns"
    awk -v most=$columns 'length($0) > most { print "FAILED: " length($0) " columns: " $0; bad = 1 } END { exit bad }' "$dir/stdout" || miss "--dry-run in $columns columns"
done

# ---- files that are no configurations; several, of which one is wrong or takes the other's folder: nothing is computed before that is said
before 2 "$dir: a folder, not a configuration file" "$vitscope" run "$dir" --out "$dir/o"
before 2 "$dir: a folder, not a configuration file" "$vitscope" layers "$dir"
cp "$dir/study.yaml" "$dir/other.yaml"
before 2 "$dir/study.yaml and $dir/other.yaml are both named 'study' and would write one folder, $dir/o/study: rename one" \
    "$vitscope" run "$dir/study.yaml" "$dir/other.yaml" --out "$dir/o"
sed 's/^name: study/nam: study/' "$dir/study.yaml" >"$dir/other.yaml"
expect 2 "other.yaml:2:1: unknown key 'nam'" "$vitscope" run "$dir/study.yaml" "$dir/other.yaml" --dry-run --out "$dir/o"
"$vitscope" run "$dir/study.yaml" "$dir/other.yaml" --dry-run --out "$dir/o" 2>&1 | head -n 1 | grep -q "unknown key 'nam'" || miss "the second file's mistake comes after the first one's study"

# ---- layers in the names of the user's file
cat >"$dir/hf.yaml" <<END
version: 1
name: hf
model: {checkpoint: $source/tests/fuzz/corpus/checkpoint/hf_vit.safetensors, heads: 1}
data:
  calibration: {scenes: {seed: 2, count: 1, size: 32}}
  analysis: {scenes: {seed: 3, count: 1, size: 32}}
states: [fp32, ptq]
analyze: {recipes: [ptq], layers: ["vit.encoder.layer.0.attention.attention.query", "*.layer.0.output.dense"]}
surfaces: {layers: [vit.encoder.layer.0.output.dense], formats: [png], tensors: [out]}
END
expect 0 '' "$vitscope" run "$dir/hf.yaml" --out "$dir/h" -q
[ ! -s "$dir/stdout" ] && [ ! -s "$dir/stderr" ] || { miss "run -q speaks"; cat "$dir/stderr"; }
[ "$(sed 1d "$dir/h/hf/layers.csv" | cut -d , -f 1 | tr '\n' ' ')" = "blocks.0.attn.qkv blocks.0.attn.q blocks.0.mlp.fc2 " ] || miss "Hugging Face names"
[ -s "$dir/h/hf/heatmaps/blocks.0.mlp.fc2.ptq.png" ] || miss "surfaces in Hugging Face names"
expect 0 '' "$vitscope" capture "$dir/hf.yaml" --taps 'classifier,vit.*.intermediate.dense.in' --out "$dir/taps" -q
expect 0 '' "$vitscope" capture "$dir/hf.yaml" --taps classifier --out "$dir/tap"
grep -qx "1 tensor of 1 image written to $dir/tap" "$dir/stdout" || { miss "capture of one tensor"; cat "$dir/stdout"; }
[ "$(ls "$dir/taps" | tr '\n' ' ')" = "blocks.0.mlp.fc1.in.npy head.fc.npy " ] || miss "capture in Hugging Face names: $(ls "$dir/taps")"
before 3 "the nearest is 'vit.encoder.layer.0.intermediate.dense'" "$vitscope" run "$dir/hf.yaml" --out "$dir/o" --set 'analyze.layers=[vit.encoder.layer.9.intermediate.dense]'
expect 0 '' study --set 'analyze={recipes: [ptq], layers: [backbone.blocks.3.attn.qkv]}' -q
[ "$(sed 1d "$dir/o/study/layers.csv" | cut -d , -f 1)" = blocks.3.attn.qkv ] || miss "a module of its own names the layer alone"
rm -rf "$dir/o"

# ---- progress: a line a stage
small="--set data.calibration.scenes.count=1 --set data.analysis.scenes.count=1 --set data.evaluation.scenes.count=1 --set analyze.layers=[blocks.0.*]"
# shellcheck disable=SC2086
COLUMNS=40 expect 0 '' study $small
sed -n '/^Results: /,$p' "$dir/stdout" >"$dir/closing"
grep -qx "Results: $dir/o/study" "$dir/closing" && grep -q "results.json" "$dir/closing" || { miss "closing words"; cat "$dir/closing"; }
sed 1d "$dir/closing" | awk 'length($0) > 40 { bad = 1 } END { exit bad }' || { miss "closing words are wider than 40 columns"; cat "$dir/closing"; }
tr '\n' ' ' <"$dir/closing" | grep -qE '; [0-9]+ pictures in charts, maps ' || { miss "folders of pictures"; cat "$dir/closing"; }
n=$(sed -n 's|^1/\([0-9]*\) checks: .* s$|\1|p' "$dir/stderr")
i=0
for stage in checks loading calibration quantizing analysis propagation evaluation pictures; do
    i=$((i + 1))
    grep -qE "^$i/$n $stage(: [0-9]+ images?, |: )[0-9.]+ s$" "$dir/stderr" || miss "no line for stage $i of $n, $stage"
done
[ "$i" = "$n" ] || miss "$i stages instead of $n"
[ "$(grep -cE '^[0-9]+/[0-9]+ ' "$dir/stderr")" = "$n" ] || { miss "not a line a stage"; cat "$dir/stderr"; }

# ---- and on a terminal one line that fits it and is gone at the end
if command -v script >/dev/null 2>&1; then
    for columns in 40 80; do
        COLUMNS=$columns script -qec "'$vitscope' run '$dir/study.yaml' --out '$dir/o' $small >/dev/null" /dev/null </dev/null >"$dir/screen" 2>&1
        tr '\r' '\n' <"$dir/screen" | sed 's/\x1b\[K//g' | awk -v most=$columns 'length($0) >= most { print "FAILED: too wide: " $0; bad = 1 } END { exit bad }' || miss "progress in $columns columns"
        tr '\r' '\n' <"$dir/screen" | grep -q "^$n/$n pictures: [0-9]* drawn" || miss "no progress on a terminal"
        [ "$(tail -c 4 "$dir/screen" | od -An -tx1 | tr -d ' ')" = 0d1b5b4b ] || miss "progress is left on the terminal"
    done
fi

# ---- summary.txt fits
for columns in 40 80 100; do
    # shellcheck disable=SC2086
    COLUMNS=$columns expect 0 '' study $small --set states='[fp32, ptq]' -q
    awk -v most=$columns 'length($0) > most { print "FAILED: " length($0) " columns: " $0; bad = 1 } END { exit bad }' "$dir/o/study/summary.txt" || miss "summary.txt in $columns columns"
    grep -qE "^ +([0-9]+ +)?blocks\.0\.mlp\.fc2 .*[0-9]$" "$dir/o/study/summary.txt" || { miss "a row of a layer in $columns columns"; cat "$dir/o/study/summary.txt"; }
done
# shellcheck disable=SC2086
(unset COLUMNS; study $small -q) || miss "run -q"
[ "$(awk '{ if (length($0) > most) most = length($0) } END { print (most <= 80 && most > 60) }' "$dir/o/study/summary.txt")" = 1 ] || miss "without a terminal 80 columns"
sed -n '/^STATES/,/^$/p' "$dir/o/study/summary.txt" | grep -q "mIoU" || miss "a model with a head has mIoU"
finish
