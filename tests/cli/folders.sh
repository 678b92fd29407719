# The folder of a run: one process at a time, whole files only, nothing of an older run left, both diagnoses side by side; and
# what becomes of a run whose output nobody reads.
. "$(dirname "$0")/lib.sh"
gnuplot=$(command -v gnuplot) || { echo "gnuplot is not installed"; exit 77; }
model=$source/data/vit_ti14_scenes.safetensors

# study NAME EXTRA...: the smallest run with a chart
study() {
    name=$1
    shift
    {
        printf 'version: 1\nname: %s\nmodel: {checkpoint: %s}\n' "$name" "$model"
        printf 'data:\n  calibration: {scenes: {seed: 2, count: 1, size: 56}}\n  analysis: {scenes: {seed: 3, count: 1, size: 56}}\n'
        printf '  evaluation: {images: s/images, labels: s/labels, count: 2}\n'
        for line in "$@"; do printf '%s\n' "$line"; done
    } >"$dir/$name.yaml"
}
small='states: [fp32]
analyze: {recipes: [], cumulative: false, layers: blocks.0.mlp.fc1}
surfaces: {layers: [], formats: [png]}'
quietly() { env PATH=/nonexistent "$vitscope" "$@"; }
nothing_left() { [ -z "$(find "$1" -name '.vitscope*' -o -name '*.tmp.*' -o -name '*.part')" ] || miss "left in $1: $(find "$1" -name '.vitscope*' -o -name '*.tmp.*' -o -name '*.part')"; }
same_files() { diff -rq -x run.json "$1" "$2" >"$dir/diff" || { miss "$1 and $2 differ"; cat "$dir/diff"; }; }
expect 0 '' "$vitscope" scenes "$dir/s" --count 3 --size 56 --seed 5

# ---- a gnuplot that says that it began, does what a test asks for, and draws when it may
mkdir "$dir/bin"
cat >"$dir/bin/gnuplot" <<END
#!/bin/sh
read -r _ _ _ _ group _ <"/proc/\$\$/stat"
echo "\$\$ \$group" >"$dir/began"
[ ! -e "$dir/hook" ] || sh "$dir/hook"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ ! -e "$dir/wait" ] || sleep 1
done
exec "$gnuplot" "\$@"
END
chmod +x "$dir/bin/gnuplot"
slow() { PATH=$dir/bin:$PATH exec "$vitscope" "$@"; }
wait_for() { for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do [ -s "$1" ] && return 0; sleep 1; done; miss "no $1"; }
begin() { # OPTION...: a run that stands still while gnuplot draws
    rm -f "$dir/began"
    : >"$dir/wait"
    (slow run "$dir/a.yaml" --out "$dir/o" "$@") >"$dir/first.out" 2>"$dir/first.err" &
    pid=$!
    wait_for "$dir/began"
}

study a "$small"
expect 0 '' "$vitscope" run "$dir/a.yaml" --out "$dir/o"
nothing_left "$dir/o"
cp -r "$dir/o/a" "$dir/reference"
echo mine >"$dir/o/a/notes.txt"
echo mine >"$dir/o/a/charts/mine.png"

# ---- a second run is refused, whatever it is
begin --set analyze.modes=[weight]
for command in "run $dir/a.yaml" "run $dir/a.yaml --resume" "fp16 $dir/a.yaml"; do
    # shellcheck disable=SC2086
    expect 1 "$dir/o/a: another run (process $pid) is at work in this folder" quietly $command --out "$dir/o"
    one_line
done
read -r child group <"$dir/began"
[ "$child" = "$group" ] || miss "gnuplot hears of Ctrl-C"
# Ctrl-C while gnuplot draws: 130, and the run before is as it was
kill -INT $pid
rm "$dir/wait"
wait $pid
[ $? = 130 ] || miss "Ctrl-C while gnuplot draws must give 130"
grep -q "interrupted" "$dir/first.err" || miss "Ctrl-C must be said"
nothing_left "$dir/o"
cmp -s "$dir/reference/run.json" "$dir/o/a/run.json" || miss "an interrupted run changed run.json"
expect 0 '' quietly run "$dir/a.yaml" --out "$dir/o" --resume
grep -q "already complete" "$dir/stdout" || miss "an interrupted run damaged the one before"

# ---- kill -9: the lock is gone, what was left is removed by the next run; files of others stay
begin --set analyze.modes=[weight]
kill -9 $pid
wait $pid 2>/dev/null
rm "$dir/wait"
[ -n "$(find "$dir/o/a" -name '.vitscope.new.*')" ] || miss "nothing to remove: the test shows nothing"
echo x >"$dir/o/a/results.json.tmp.123"
echo x >"$dir/o/a/charts/norms.png.tmp.123"
echo x >"$dir/o/a/notes.tmp.txt"
expect 0 '' "$vitscope" run "$dir/a.yaml" --out "$dir/o"
for file in notes.txt charts/mine.png notes.tmp.txt; do [ -e "$dir/o/a/$file" ] || miss "$file is gone"; done
rm "$dir/o/a/notes.txt" "$dir/o/a/charts/mine.png" "$dir/o/a/notes.tmp.txt"
nothing_left "$dir/o"
same_files "$dir/reference" "$dir/o/a"

# ---- an input that changes while the run is at work
echo "cp '$dir/s/labels/scene_0002.png' '$dir/s/labels/scene_0000.png'" >"$dir/hook"
cp "$dir/s/labels/scene_0000.png" "$dir/label.png"
expect 1 "images of data.evaluation changed while the run was at work; run it again" env "PATH=$dir/bin:$PATH" "$vitscope" run "$dir/a.yaml" --out "$dir/o"
cp "$dir/label.png" "$dir/s/labels/scene_0000.png"
rm "$dir/hook"
expect 0 '' quietly run "$dir/a.yaml" --out "$dir/o" --resume
grep -q "already complete" "$dir/stdout" || miss "results of changing inputs replaced others"

# ---- pictures that fail cost nothing but pictures
printf 'kill -9 "$PPID"\n' >"$dir/hook"
expect 1 "gnuplot failed: it said nothing (all but pictures is in $dir/h/a)" env "PATH=$dir/bin:$PATH" "$vitscope" run "$dir/a.yaml" --out "$dir/h"
rm "$dir/hook"
cmp -s "$dir/reference/results.json" "$dir/h/a/results.json" || miss "a picture that failed cost results"
expect 0 "computed again: not all pictures were drawn" "$vitscope" run "$dir/a.yaml" --out "$dir/h" --resume
same_files "$dir/reference" "$dir/h/a"

# ---- of an older configuration nothing stays; scripts go when there are pictures
expect 0 '' quietly run "$dir/a.yaml" --out "$dir/o" --set 'states=[fp32,ptq]' --set 'analyze.recipes=[ptq]'
[ -e "$dir/o/a/charts/norms.gp" ] && [ -e "$dir/o/a/ranking.weights.txt" ] || miss "no scripts without gnuplot"
[ ! -e "$dir/o/a/charts/norms.png" ] || miss "a picture of an older run"
echo mine >"$dir/o/a/ranking.mine.txt"
expect 0 '' "$vitscope" run "$dir/a.yaml" --out "$dir/o"
[ -e "$dir/o/a/ranking.mine.txt" ] || miss "a file that is nobody's was removed"
rm "$dir/o/a/ranking.mine.txt"
same_files "$dir/reference" "$dir/o/a"

# ---- run and fp16 in one folder, in any order: both diagnoses, the same bytes
policies='fp16.policies=[fused]'
half() { expect 0 '' quietly fp16 "$dir/a.yaml" --out "$1" --set "$policies"; }
whole() { expect 0 '' quietly run "$dir/a.yaml" --out "$1" --set 'states=[fp32,ptq]' --set 'analyze.recipes=[ptq]'; }
whole "$dir/p"
cp "$dir/p/a/layers.csv" "$dir/layers.csv"
half "$dir/p"
grep -q warning.*replaced "$dir/stderr" && miss "fp16 replaces a finished run"
for key in '"fp16": {' '"ptq": {' '"activations"'; do grep -qF "$key" "$dir/p/a/results.json" || miss "results.json lacks $key"; done
for file in ranking.weights.txt ranking.fp16.fused.txt quant.json maps/scene_0000.png maps/scene_0000.fp16.png; do
    [ -e "$dir/p/a/$file" ] || miss "a folder with both diagnoses lacks $file"
done
grep -q "^BLIND SPOT\|^THE" "$dir/p/a/summary.txt" || grep -q "by activations" "$dir/p/a/summary.txt" || miss "summary.txt lost the run"
grep -q "FP16 holds under fused" "$dir/p/a/summary.txt" || miss "summary.txt lacks the half-precision diagnosis"
cmp -s "$dir/layers.csv" "$dir/p/a/layers.csv" || miss "fp16 changed layers.csv"
half "$dir/q"
whole "$dir/q"
same_files "$dir/p" "$dir/q"
whole "$dir/p"
half "$dir/p"
same_files "$dir/p" "$dir/q"
expect 0 '' quietly run "$dir/a.yaml" --out "$dir/r" --set 'states=[fp32,ptq]' --set 'analyze.recipes=[ptq]' --set "$policies"
cmp -s "$dir/r/a/results.json" "$dir/p/a/results.json" || miss "two commands and one give different results.json"
# each is resumed by itself
expect 0 '' quietly fp16 "$dir/a.yaml" --out "$dir/q" --set "$policies" --resume
grep -q "already complete" "$dir/stdout" || miss "fp16 is not resumed after run"
expect 0 '' quietly run "$dir/a.yaml" --out "$dir/p" --set 'states=[fp32,ptq]' --set 'analyze.recipes=[ptq]' --resume
grep -q "already complete" "$dir/stdout" || miss "run is not resumed after fp16"
# each makes its own files again, and a lost summary.txt does not become the other's alone
rm "$dir/q/a/ranking.fp16.fused.txt" "$dir/p/a/layers.csv"
expect 0 '' quietly run "$dir/a.yaml" --out "$dir/q" --set 'states=[fp32,ptq]' --set 'analyze.recipes=[ptq]' --resume
grep -q "already complete" "$dir/stdout" || miss "run makes fp16's files again"
expect 0 "computed again: ranking.fp16.fused.txt is missing" quietly fp16 "$dir/a.yaml" --out "$dir/q" --set "$policies" --resume
expect 0 "computed again: layers.csv is missing" quietly run "$dir/a.yaml" --out "$dir/p" --set 'states=[fp32,ptq]' --set 'analyze.recipes=[ptq]' --resume
same_files "$dir/p" "$dir/q"
rm "$dir/q/a/summary.txt"
half "$dir/q"
expect 0 "computed again: summary.txt changed" quietly run "$dir/a.yaml" --out "$dir/q" --set 'states=[fp32,ptq]' --set 'analyze.recipes=[ptq]' --resume
same_files "$dir/p" "$dir/q"
# the run's own section wins; another model or other images are no second diagnosis
expect 2 "give another --out" quietly fp16 "$dir/a.yaml" --out "$dir/r" --set 'fp16.policies=[decomposed]'
one_line
expect 0 "the results of an earlier 'vitscope run' were replaced, not kept beside these: subject changed" quietly fp16 "$dir/a.yaml" --out "$dir/p" --set "$policies" --set data.evaluation.count=1
[ ! -e "$dir/p/a/ranking.weights.txt" ] || miss "files of a run on other images"

# ---- nobody reads: files first
expect 0 '' quietly run "$dir/a.yaml" --out "$dir/n"
for way in full closed head; do
    rm -rf "$dir/t"
    case $way in
    full) quietly run "$dir/a.yaml" --out "$dir/t" >/dev/full 2>"$dir/stderr" ;;
    closed) quietly run "$dir/a.yaml" --out "$dir/t" >&- 2>"$dir/stderr" ;;
    head) { quietly run "$dir/a.yaml" --out "$dir/t" 2>"$dir/stderr"; echo $? >"$dir/code"; } | : ; (exit "$(cat "$dir/code")") ;;
    esac
    [ $? = 1 ] || miss "stdout $way must give exit code 1"
    grep -q "vitscope: cannot write to standard output" "$dir/stderr" || { miss "stdout $way must be said"; cat "$dir/stderr"; }
    same_files "$dir/n" "$dir/t"
    [ -s "$dir/t/a/run.json" ] || miss "stdout $way: no run.json"
done
for word in --help --version; do
    "$vitscope" $word >/dev/full 2>"$dir/stderr"
    [ $? = 1 ] && grep -q "No space left on device" "$dir/stderr" || miss "$word to a full disk"
done
{ printf 'version: 1\nname: b\nruns:\n'; for run in x y; do printf '  - {name: %s, model: {checkpoint: %s}, data: {evaluation: {scenes: {seed: 1, count: 1, size: 56}}}, states: [fp32]}\n' $run "$model"; done; } >"$dir/b.yaml"
quietly run "$dir/b.yaml" --out "$dir/t" 2>"$dir/stderr" | :
[ -s "$dir/t/b/y/run.json" ] && grep -q '^y *' "$dir/t/b/table.txt" || miss "a batch whose output nobody reads ends early"

# ---- equal stems: every map has a file, every image its own label map
mkdir -p "$dir/i/x" "$dir/i/y" "$dir/l/x" "$dir/l/y"
for n in 0 1; do
    at=$([ $n = 0 ] && echo x || echo y)
    cp "$dir/s/images/scene_000$n.png" "$dir/i/$at/a.png"
    cp "$dir/s/labels/scene_000$n.png" "$dir/l/$at/a.png"
done
printf '%s\n' i/x/a.png i/y/a.png >"$dir/i.txt"
expect 0 '' quietly run "$dir/a.yaml" --out "$dir/e" --set "data.evaluation={images: $dir/i.txt, labels: $dir/l}"
cmp -s "$dir/e/a/maps/x_a.png" "$dir/n/a/maps/scene_0000.png" && miss "maps have captions of their own"
[ "$(ls "$dir/e/a/maps" | tr '\n' ' ')" = "x_a.png y_a.png " ] || miss "maps of equal names: $(ls "$dir/e/a/maps")"
[ "$(sed -n '/"task"/,/^ }/p' "$dir/e/a/results.json")" = "$(sed -n '/"task"/,/^ }/p' "$dir/n/a/results.json")" ] || miss "label maps below subfolders"
rm -r "$dir/l/x" "$dir/l/y"
cp "$dir/s/labels/scene_0000.png" "$dir/l/a.png"
expect 2 "images '$dir/i/x/a.png' and '$dir/i/y/a.png' have one label map, $dir/l/a.png" quietly run "$dir/a.yaml" --out "$dir/e" --set "data.evaluation={images: $dir/i.txt, labels: $dir/l}"
one_line
cp "$dir/i/y/a.png" "$dir/i/x/a.PNG"
expect 0 '' quietly run "$dir/a.yaml" --out "$dir/e" --set "data.evaluation={images: $dir/i/x}"
[ "$(ls "$dir/e/a/maps" | LC_ALL=C sort | tr '\n' ' ')" = "a.PNG.png a.png.png " ] || miss "maps of equal stems: $(ls "$dir/e/a/maps")"
# ---- a run among its own images would read its pictures the next time
ln -s "$dir" "$dir/link"
for out in "$dir/link/s" "$dir/s/labels/.."; do
    expect 2 "the run would write among its own images (data.evaluation: $dir/s/images/scene_0000.png)" quietly run "$dir/a.yaml" --out "$out" --set name=images
    one_line
done
# below them it may; what a killed run left there are no images
expect 0 '' quietly run "$dir/a.yaml" --out "$dir/s/images"
mv "$dir/s/images/a/run.json" "$dir/s/images/a/.vitscope.files"
expect 0 "computed again: there is no finished run" quietly run "$dir/a.yaml" --out "$dir/s/images" --resume
cmp -s "$dir/n/a/results.json" "$dir/s/images/a/results.json" || miss "a killed run's pictures were taken for images"
rm -r "$dir/s/images/a"

# ---- names of any bytes: of the folder of results, of the configuration's, of an image
odd=$(printf 'o'\''x "y"\n`z` $(z) \\1 \351')
mkdir "$dir/$odd"
cp -r "$dir/s" "$dir/a.yaml" "$dir/$odd"
mv "$dir/$odd/s/images/scene_0000.png" "$dir/$odd/s/images/$(printf '\355\240\200').png"
mv "$dir/$odd/s/labels/scene_0000.png" "$dir/$odd/s/labels/$(printf '\355\240\200').png"
expect 0 '' "$vitscope" run "$dir/$odd/a.yaml" --out "$dir/$odd/o"
cmp -s "$dir/reference/charts/norms.png" "$dir/$odd/o/a/charts/norms.png" || miss "a chart in a folder of an odd name"
expect 0 '' "$vitscope" run "$dir/$odd/a.yaml" --out "$dir/$odd/o" --resume
grep -q "already complete" "$dir/stdout" || miss "a run in a folder of an odd name is not resumed"
finish
