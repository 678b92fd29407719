#!/bin/sh
# Checkpoints that are read right or refused for the true reason: sh checkpoints.sh PROGRAM SOURCE COMPARE
. "$(dirname "$0")/../cli/lib.sh"
compare=$3 cases=$source/tests/cases

# study CASE FILE MODEL: a study of the case's image; MODEL: more keys of model, each with a comma before it
study() {
    printf 'version: 1\nname: s\nmodel: {checkpoint: %s/%s/%s%s}\ndata: {analysis: {images: %s/%s/images}}\nanalyze: {recipes: []}\nstates: [fp32]\n' \
        "$cases" "$1" "$2" "$3" "$cases" "$1" >"$dir/s.yaml"
}

# right CASE FILE MODEL REF [OPTION...]: tokens as the library's own, above 90 dB
right() {
    study "$1" "$2" "$3"
    ref=$cases/$1/$4
    what="$1/$2"
    shift 4
    expect 0 '' "$vitscope" capture "$dir/s.yaml" --taps norm --backend ref --out "$dir/taps" "$@"
    found=$("$compare" "$dir/taps/norm.npy" "$ref" 90) || miss "$what: tokens agree to $found"
    rm -rf "$dir/taps"
    echo "$what: $found"
}

# refused CASE FILE MODEL TEXT: by everything that reads it, in one line, exit code 1
refused() {
    study "$1" "$2" "$3"
    if [ -z "$3" ]; then
        expect 1 "$4" "$vitscope" inspect "$cases/$1/$2"
        one_line
    fi
    for command in run fp16 capture; do
        expect 1 "$4" "$vitscope" $command "$dir/s.yaml" --backend ref --out "$dir/o"
        one_line
    done
    grep -qF "$2" "$dir/stderr" || miss "$1: the message lacks the file's name"
    [ ! -e "$dir/o/s/results.json" ] || miss "$1: results of a refused model"
}

# said TEXT COMMAND...: the command says so
said() {
    text=$1
    shift
    "$@" >"$dir/said" 2>&1
    grep -qF -- "$text" "$dir/said" || { miss "'$text' is not said by $*"; cat "$dir/said"; }
}
inspected() { said "$2" "$vitscope" inspect "$cases/$1"; }

refused 01-block-gap m.safetensors ', heads: 1' 'block 2 is missing, block 3 is there'
refused 02-qk-norm-ignored m.safetensors ', heads: 1' 'blocks hold attn.k_norm, attn.q_norm, which are not built: norms of q and k'
refused 03-lora-beside-weights m.safetensors ', heads: 1' 'blocks hold attn.qkv.lora_A, attn.qkv.lora_B, which are not built: LoRA beside the weights'
refused 04b-rope-ape-folder hub ', heads: 1' "architecture 'vit_small_patch16_rope_ape_224', which is not built: rotary positions on top of learned ones"
refused 06-distillation-teacher m.pth ', heads: 1' "of unequal shapes: 'model.student.backbone' (dinov2_hub, width 16), 'model.teacher.backbone' (dinov2_hub, width 32)"
refused 20-int8-fp8-weights m.safetensors ', heads: 1' "tensor 'blocks.0.attn.qkv.weight' has type I8: a checkpoint of quantized weights (bitsandbytes int8)"
for file in 01-block-gap/m.safetensors 02-qk-norm-ignored/m.safetensors 03-lora-beside-weights/m.safetensors 04b-rope-ape-folder/hub \
    06-distillation-teacher/m.pth 20-int8-fp8-weights/m.safetensors; do
    expect 1 '' "$vitscope" inspect "$cases/$file"
    one_line
done

# what was refused may be wanted all the same, and is told
study 02-qk-norm-ignored m.safetensors ", heads: 1, allow_unused: ['*.q_norm.*', 'blocks.*.attn.k_norm.*']"
for command in run fp16 capture; do
    said 'blocks.0.attn.k_norm.bias and 7 more (model.allow_unused)' "$vitscope" $command "$dir/s.yaml" --backend ref --out "$dir/o"
done
grep -q '"prefix"' "$dir/o/s/run.json" && grep -q 'model.allow_unused' "$dir/o/s/run.json" || miss "run.json must have what was left out"

right 05-gram-teacher m.safetensors ', heads: 1' teacher.npy
right 05-gram-teacher m.safetensors ', heads: 1, prefix: student.backbone' student.npy
right 06-distillation-teacher m.pth ', heads: 1, prefix: model.model_ema.backbone' model_ema.npy
right 08-backbone-config upernet '' upernet.npy
right 08-backbone-config dpt '' dpt.npy
right 08b-backbone-config-heads hf '' hf.npy
right 09-misfit-head m.safetensors ', heads: 1' m.npy
right 10-auxiliary-head m.safetensors ', heads: 1' m.npy
for file in dinov2.pth vit_lightning.ckpt deit.pth; do right 12-transformers5-names $file ', heads: 1' "${file%.*}.npy"; done
for wrapper in _orig_mod _checkpoint_wrapped_module _fsdp_wrapped_module; do
    right 13-wrapped-blocks $wrapper.safetensors ', heads: 1' $wrapper.npy
done
right 19-timm-folder-config hub '' half.npy
right 19-timm-folder-config hub '' imagenet.npy --set 'data.preprocess.mean=[123.675,116.28,103.53]' --set 'data.preprocess.std=[58.395,57.12,57.375]'

inspected 05-gram-teacher/m.safetensors 'prefix        teacher.backbone'
inspected 08b-backbone-config-heads/hf '2 heads of 32,'
inspected 09-misfit-head/m.safetensors 'head          none'
inspected 10-auxiliary-head/m.safetensors 'segmentation, linear (BatchNorm + 1x1), 5 classes'
inspected 12-transformers5-names/vit_lightning.ckpt 'classifier, 3 classes'
inspected 19-timm-folder-config/hub '2 heads of 32,'
inspected 19-timm-folder-config/hub 'mean 127.5 127.5 127.5, std 127.5 127.5 127.5 (config.json)'

study 19-timm-folder-config hub ''
for command in run fp16 capture; do
    said 'mean 127.5 127.5 127.5, std 127.5 127.5 127.5: from config.json beside the weights' "$vitscope" $command "$dir/s.yaml" --backend ref --out "$dir/o"
    said "model: timm_vit, width 64, 2 blocks, 2 heads, head head (classifier, 3 classes)" "$vitscope" $command "$dir/s.yaml" --backend ref --out "$dir/o"
done
grep -q '127.5' "$dir/o/s/run.json" || miss "run.json must have the folder's mean"

# the file alone, without its folder's config.json: heads are a guess, and called one
cp "$cases/19-timm-folder-config/hub/model.safetensors" "$dir/alone.safetensors"
said '1 heads of 64 (a guess from the width)' "$vitscope" inspect "$dir/alone.safetensors"
said '"heads_guessed": true' "$vitscope" inspect --json "$dir/alone.safetensors"
said '1 heads (a guess from the width' "$vitscope" capture "$dir/s.yaml" --backend ref --taps norm --out "$dir/o" --set "model.checkpoint=$dir/alone.safetensors"

# UperNet's head does not fit: a warning, unless none is wanted
study 08-backbone-config upernet ''
said "warning: no head is taken: $cases/08-backbone-config/upernet/model.safetensors: classifier 'decode_head.classifier' reads 8 channels" \
    "$vitscope" capture "$dir/s.yaml" --backend ref --taps norm --out "$dir/o"
"$vitscope" capture "$dir/s.yaml" --backend ref --taps norm --out "$dir/o" --set model.head=none >"$dir/said" 2>&1
grep -q 'no head,\|no head;' "$dir/said" || miss "model.head: none"
grep -q 'warning' "$dir/said" && miss "model.head: none must not warn"
finish
