# A percentile observer that cuts values off is named as what loses precision; rounding is where rounding does. The model is a
# ViT of two blocks with random weights.
. "$(dirname "$0")/lib.sh"
cp -r "$(dirname "$0")/clipping/." "$dir"
says() { grep -qF -- "$1" "$dir/flat" || { miss "$case: no '$1'"; cat "$dir/stdout"; }; }
lacks() { grep -qiF -- "$1" "$dir/flat" && miss "$case: '$1' is said"; }
study() { # NAME SETTING...
    case=$1
    shift
    expect 0 '' "$vitscope" run "$dir/s.yaml" --out "$dir/$case" "$@"
    tr -s '\n ' '  ' <"$dir/stdout" >"$dir/flat"
}
study cut --set 'recipe.observer={percentile: 90}'
says 'blocks.0.attn.v (15.2 dB, clipped)'
says 'Clipped: the percentile 90 observer cut off values'
says '8.12 % of the input lies outside the grid (-1.9 to 1.9), the largest in calibration is 1.66 times its end;'
says 'Clipping is the loss, not rounding: with the same step and no ends the layer would keep 50.1 dB instead of 15.2.'
study output --set 'recipe.observer={percentile: 90}' --set analyze.output=true
says "each layer of ptq quantized alone:"
says 'clipped)'
says 'WHAT HAPPENS THERE (the worst at the model'
# the analysis image is louder than the calibration image: the same loss, another cause
study seen --set recipe.observer=minmax
says 'Clipped: the analysis images hold values beyond the grid'
says 'no calibration image had such values. Clipping is the loss'
lacks 'observer cut'
# calibrated on what it reads there is nothing to cut off, and what no grid of its own ends is never called clipped
sed -i 's/{images: ana}/{images: cal}/; s/^data:$/data:\n  allow_overlap: true/' "$dir/s.yaml"
study same --set recipe.observer=minmax
lacks clip
study mse --set recipe.observer=mse --set recipe.bits.inputs=3
says '(13.4 dB)' # rounding to eight values
lacks clip
study tokens --set recipe.inputs=per_token --set recipe.qk=none --set recipe.v=none --set 'recipe.observer={percentile: 90}'
lacks clip
[ "$(grep -c '"unclipped": null' "$dir/tokens/s/results.json")" -gt 0 ] || miss "a number where nothing has an end"
finish
