# Files as people have them: other kinds than are asked for, pipes, photographs with warnings and orientations, hostile names.
. "$(dirname "$0")/lib.sh"
images=$source/tests/unit/images
within() { timeout 20 "$@"; } # a wait for ever is exit code 124

# ---- checkpoints that are none
printf '\010\016:3\012\014\012\001x\022\001y"\004Relu\022\001gZ\017\012\001x\022\012\012\010\010\001\022\004\012\002\010\001b\017\012\001y\022\012\012\010\010\001\022\004\012\002\010\001B\002\020\034' >"$dir/m.onnx"
expect 1 "m.onnx: an ONNX graph, which is not read: give the checkpoint it was exported from" "$vitscope" inspect "$dir/m.onnx"
one_line
printf 'ptrt\000\000\000\000' >"$dir/m.engine"
expect 1 "m.engine: a TensorRT engine, which is not read" "$vitscope" inspect "$dir/m.engine"
mkdir "$dir/peft"
: >"$dir/peft/adapter_config.json"
expect 1 "peft: the folder holds a PEFT adapter" "$vitscope" inspect "$dir/peft"

# ---- nothing waits at a pipe, and no device is read
mkfifo "$dir/pipe" "$dir/pipe.txt" "$dir/pipe.png"
expect 1 "pipe: a pipe, not a file" within "$vitscope" inspect "$dir/pipe"
expect 1 "pipe: a pipe, not a file" within "$vitscope" run "$dir/pipe" --out "$dir/o"
expect 1 "/dev/zero: a device, not a file" within "$vitscope" inspect /dev/zero
# ---- a tensor's name is text, whatever it holds
LC_ALL=C sed 's/"backbone.norm.bias"/"\\u001b[31mnormbias"/' "$source/data/vit_ti14_scenes.safetensors" >"$dir/hostile.safetensors"
"$vitscope" inspect "$dir/hostile.safetensors" >"$dir/stdout" 2>&1
grep -qF '\x1b[31mnormbias' "$dir/stdout" || { miss "a control character is not shown as one"; cat "$dir/stdout"; }
[ "$(tr -cd '\033' <"$dir/stdout" | wc -c)" = 0 ] || miss "a control character went to the terminal"

# ---- photographs
study() { # NAME FOLDER PREPROCESS
    printf 'version: 1\nname: %s\nmodel: {checkpoint: %s/data/vit_ti14_scenes.safetensors}\ndata:\n  calibration: {images: %s}\n  analysis: {images: %s, count: 5}\n  allow_overlap: true\n  preprocess: %s\n' \
        "$1" "$source" "$2" "$2" "$3" >"$dir/$1.yaml"
}
tokens() { # NAME: of the first image, into NAME.npy
    expect 0 '' "$vitscope" capture "$dir/$1.yaml" --taps embed --backend ref --out "$dir/$1"
}
for name in pipe.txt pipe.png; do
    study pipes $name '{}'
    expect 1 "$name: a pipe, not a file" within "$vitscope" run "$dir/pipes.yaml" --out "$dir/o"
done
mkdir -p "$dir/odd/deep" "$dir/plain"
cp "$images/stray.jpg" "$dir/odd/deep/"
cp "$images/base.jpg" "$dir/plain/"
: >"$dir/odd/notes.txt"
study odd odd '{mmseg: {short: 28, mode: whole}}'
study plain plain '{mmseg: {short: 28, mode: whole}}'
tokens odd
grep -q "vitscope: warning: .*odd/deep/stray.jpg: Corrupt JPEG data" "$dir/stderr" || { miss "a decoder's warning"; cat "$dir/stderr"; }
[ "$(grep -c 'Corrupt JPEG' "$dir/stderr")" = 1 ] || miss "a decoder's warning comes once"
grep -qF "data.analysis: 1 file of other kinds below" "$dir/stderr" || miss "files of other kinds are counted"
grep -qF "data.analysis: count is 5, but there is only 1 image" "$dir/stderr" || miss "a count above what is there"
tokens plain
cmp -s "$dir/odd/embed.npy" "$dir/plain/embed.npy" || miss "stray bytes changed the pixels"

# orientation: mmseg's protocol turns as opencv does, others when they are asked to
mkdir "$dir/turned" "$dir/stored"
cp "$images/turned.png" "$dir/turned/"
cp "$images/picture.png" "$dir/stored/"
study turned turned '{mmseg: {short: 28, mode: whole}}'
study kept turned '{mmseg: {short: 28, mode: whole}, orientation: stored}'
study stored stored '{mmseg: {short: 28, mode: whole}}'
tokens turned
[ "$(grep -c 'EXIF orientation 6: such images are turned upright' "$dir/stderr")" = 1 ] || { miss "an orientation is said once"; cat "$dir/stderr"; }
tokens kept
grep -q 'EXIF orientation 6: such images are taken as stored' "$dir/stderr" || miss "an orientation that is not heeded is said"
tokens stored
cmp -s "$dir/kept/embed.npy" "$dir/stored/embed.npy" || miss "orientation: stored turns"
cmp -s "$dir/turned/embed.npy" "$dir/stored/embed.npy" && miss "mmseg does not turn"
study small stored '{crop: {center: 28}}'
expect 2 "picture.png: an image of 24x16 is smaller than the crop of 28x28" "$vitscope" capture "$dir/small.yaml" --taps embed --out "$dir/small"
one_image_line=$(grep -c 'picture.png' "$dir/stderr")
[ "$one_image_line" = 1 ] || miss "an error names its image once"
finish
