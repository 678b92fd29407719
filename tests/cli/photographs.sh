# A user's own pictures: folders, globs, lists, labels, resize and crop.
. "$(dirname "$0")/lib.sh"
expect 0 '' "$vitscope" scenes "$dir/set" --count 6 --seed 5 --size 256
cat >"$dir/photos.yaml" <<END
version: 1
name: photos
model: {checkpoint: $source/data/vit_ti14_scenes.safetensors}
data:
  calibration: {images: set/images, count: 3}
  analysis: {images: "set/images/scene_000[45].png"}
  evaluation: {images: list.txt}
  preprocess: {resize: {short: 232, filter: bicubic}, crop: {center: 224}}
END
printf '# two\nset/images/scene_0004.png\nset/images/scene_0005.png\n' >"$dir/list.txt"
expect 0 '' "$vitscope" run "$dir/photos.yaml" --out "$dir/o"
grep -q '"miou": null' "$dir/o/photos/results.json" || miss "without labels mIoU is null"
grep -q "agrees with fp32" "$dir/o/photos/summary.txt" || miss "agreement is not in the summary"
[ -s "$dir/o/photos/maps/scene_0004.png" ] || miss "no map"
cat >"$dir/labelled.yaml" <<END
version: 1
name: labelled
model: {checkpoint: $source/data/vit_ti14_scenes.safetensors}
data:
  calibration: {scenes: {seed: 2, count: 2}}
  evaluation: {images: small/images, labels: small/labels}
END
expect 0 '' "$vitscope" scenes "$dir/small" --count 2 --seed 1
expect 0 '' "$vitscope" run "$dir/labelled.yaml" --out "$dir/o"
grep -q '"miou": [5-9]' "$dir/o/labelled/results.json" || miss "mIoU of labelled files"
rm "$dir/small/labels/scene_0001.png"
expect 3 "scene_0001.png" "$vitscope" run "$dir/labelled.yaml" --out "$dir/o"
head -c 700 "$dir/set/images/scene_0004.png" >"$dir/set/images/scene_0005.png"
expect 1 "scene_0005.png: broken PNG" "$vitscope" run "$dir/photos.yaml" --out "$dir/o"
printf 'no image' >"$dir/set/images/scene_0005.png"
expect 1 "scene_0005.png: neither PNG nor JPEG" "$vitscope" run "$dir/photos.yaml" --out "$dir/o"
expect 3 "no PNG, JPEG or WebP images there" "$vitscope" run "$dir/photos.yaml" --out "$dir/o" --set data.analysis.images="$dir/set/*.bmp"
expect 2 "data.analysis is empty" "$vitscope" run "$dir/photos.yaml" --out "$dir/o" --set data.analysis.offset=9
finish
