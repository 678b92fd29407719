# mmseg's test pipeline on files: windows of scaled images, label maps of the images' own size, mistakes in either.
. "$(dirname "$0")/lib.sh"
expect 0 '' "$vitscope" scenes "$dir/set" --count 4 --seed 1 --size 160
cat >"$dir/seg.yaml" <<END
version: 1
name: seg
model: {checkpoint: $source/data/vit_ti14_scenes.safetensors}
data:
  calibration: {scenes: {seed: 2, count: 2, size: 200}}
  analysis: {scenes: {seed: 3, count: 1, size: 200}}
  evaluation: {images: set/images, labels: set/labels}
  preprocess: {mmseg: {short: 224, mode: slide, crop: 200, stride: 120}}
states: [fp32, ptq]
analyze: {recipes: [ptq], layers: "blocks.11.mlp.*"}
END
expect 0 " crops, " "$vitscope" run "$dir/seg.yaml" --out "$dir/o"
grep -q '"miou": [5-9][0-9]' "$dir/o/seg/results.json" || miss "mIoU over windows"
grep -q '"images": 4' "$dir/o/seg/run.json" || miss "images, not windows, are counted"
[ -s "$dir/o/seg/maps/scene_0000.png" ] || miss "no map of the whole image"
grep -q 'scene 0 (24,0)\|scene 0 (0,0)\|scene 0 (0,24)\|scene 0 (24,24)' "$dir/o/seg/results.json" || miss "analysis images are crops"
# results do not depend on threads
cp "$dir/o/seg/results.json" "$dir/first.json"
expect 0 '' "$vitscope" run "$dir/seg.yaml" --out "$dir/o" --threads 1
cmp -s "$dir/first.json" "$dir/o/seg/results.json" || miss "results depend on the number of threads"
# one window is the whole image
expect 0 '' "$vitscope" run "$dir/seg.yaml" --out "$dir/whole" --set 'data.preprocess.mmseg={short: 224, mode: whole}' --set 'states=[fp32]'
grep -q '"miou": [5-9][0-9]' "$dir/whole/seg/results.json" || miss "mIoU of whole images"
# configuration
expect 2 "stands in place of resize and crop" "$vitscope" run "$dir/seg.yaml" --set 'data.preprocess.crop={center: 14}' --out "$dir/o"
expect 2 "mode slide needs crop and stride" "$vitscope" run "$dir/seg.yaml" --set 'data.preprocess.mmseg={short: 224}' --out "$dir/o"
expect 2 "a stride above the crop leaves gaps" "$vitscope" run "$dir/seg.yaml" --set data.preprocess.mmseg.stride=201 --out "$dir/o"
expect 2 "protocol ade20k has 150 classes, the head of vit_ti14 has 11" "$vitscope" run "$dir/seg.yaml" --set data.evaluation.protocol=ade20k --out "$dir/o"
expect 3 "published as ADEChallengeData2016" "$vitscope" run "$dir/seg.yaml" --set data.evaluation.protocol=ade20k --set "data.evaluation.images=$dir/none" --out "$dir/o"
expect 3 "published as https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth" \
    "$vitscope" run "$dir/seg.yaml" --set "model.checkpoint=$dir/dinov2_vitb14_pretrain.pth" --out "$dir/o"
grep -q "$dir/dinov2_vitb14_pretrain.pth: No such file" "$dir/stderr" || miss "where a missing file was looked for"
expect 3 "dinov2_vitb14_ade20k_ms_head.pth" "$vitscope" run "$dir/seg.yaml" --set "model.head=$dir/dinov2_vitb14_ade20k_ms_head.pth" --out "$dir/o"
# files
expect 0 '' "$vitscope" scenes "$dir/other" --count 1 --seed 1 --size 64
cp "$dir/other/labels/scene_0000.png" "$dir/set/labels/scene_0002.png"
expect 1 "scene_0002.png: the label map is 64x64 but its image is 160x160" "$vitscope" run "$dir/seg.yaml" --out "$dir/o"
rm "$dir/set/labels/scene_0002.png"
expect 3 "scene_0002.png" "$vitscope" run "$dir/seg.yaml" --out "$dir/o"
printf 'no image' >"$dir/set/images/scene_0003.png"
expect 1 "scene_0003.png: neither PNG nor JPEG" "$vitscope" run "$dir/seg.yaml" --out "$dir/o"
finish
