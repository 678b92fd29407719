/* Which of timm's architectures compute what their tensors' names say here. timm gives the same names to models that compute
 * something else, so a name that was never compared is refused; tests/oracle/check_timm_tags.py compares (timm 1.0.31). */
#include <stdio.h>
#include <string.h>

#include "util/util.h"
#include "vit/layout.h"

static const char *const built[] = {
    "vit_{tiny,small,base,large,huge,giant,gigantic}_patch{8,14,16,32}_{224,384}{,_in21k,_dino,_sam,_miil,_miil_in21k}",
    "vit_base_patch{16_plus_240,32_plus_256}",
    "vit_small_patch16_36x1_224",
    "{flexivit_small,flexivit_base,flexivit_large,test_vit}",
    "deit_{tiny,small,base}{,_distilled}_patch16_{224,384}",
    "deit3_{small,medium,base,large,huge}_patch{14,16}_{224,384}{,_in21ft1k}",
    "vit_{small,base,large,giant}_patch14{,_reg4}_dinov2",
    "vit_{base,large,so400m,giant}_patch14_reg1_tipsv2",
    "vit_{tiny,small,small_plus,base,large,huge_plus,7b}_patch16_dinov3{,_qkvb}",
    "vit_{small,base,large,giant}_patch16_lingbot",
};

/* Why the best known of the others are not. */
static const struct {
    const char *glob, *why;
} others[] = {
    { "*_rope_*ape_*", "rotary positions on top of learned ones" },
    { "*_rope_*", "rotary positions of another kind" },
    { "eva02_enormous_*", "norms behind attention and MLP" },
    { "{eva02_*,beit*,*relpos*}", "relative or rotary positions beside learned ones, and norms inside" },
    { "cait_*", "class-attention blocks and talking heads" },
    { "*quickgelu*", "another activation than GELU (erf)" },
    { "*_clip_*", "a norm before block 0" },
    { "*siglip*", "a head that pools by attention, or none" },
    { "{*_gap_*,*_gap,*_avg_*}", "a mean over patches in place of the class token" },
    { "{*_map_*,*_map}", "a head that pools by attention" },
    { "{*_18x2_*,*_36x2_*,*parallel*}", "parallel layers" },
    { "*_rpn_*", "norms behind attention and MLP" },
    { "{samvit_*,vitdet*,*swin*}", "attention in windows" },
    { "naflexvit_*", "a patch embedding of another kind" },
};

bool vs_timm_is_built(const char *architecture, const char **why) {
    char name[128];
    *why = NULL;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(architecture, "."), architecture); /* without the tag of its weights */
    for (size_t i = 0; i < sizeof built / sizeof *built; i++)
        if (vs_glob_match(built[i], name)) return true;
    for (size_t i = 0; i < sizeof others / sizeof *others && !*why; i++)
        if (vs_glob_match(others[i].glob, name)) *why = others[i].why;
    return false;
}
