/* The inside of a session, shared by session.c and forward.c. */
#ifndef VS_SESSION_H
#define VS_SESSION_H

#include "vitscope/vit.h"

/* What EoMT's head reads and gives, layer by layer; M pixels an image, 4^upscales times its patches. */
typedef struct vs_eomt_room {
    vs_mat class_in, class_logits, class_probs;                 /* [B*Q, C], [B*Q, classes + 1] */
    vs_mat mask_in[VS_MASK_LINEARS], mask_out[VS_MASK_LINEARS]; /* [B*Q, C] */
    vs_mat up_in[VS_MAX_UPSCALES], up_out[VS_MAX_UPSCALES];     /* [B*N*4^u, C], [B*N*4^u, 4C] */
    vs_mat unfolded, upscaled;                                  /* [B*M, C] */
    vs_mat masks;                                               /* [B*M, Q] */
} vs_eomt_room;

struct vs_session {
    const vs_backend *backend;
    const vs_model *model;
    vs_session_options options;
    size_t h, w, n, t;     /* patch grid, patches, tokens (without queries) */
    void *arena;           /* every real of the session */
    size_t capacity;       /* reals of the arena */
    void *pixels;          /* [B, 3, H, W] */
    vs_mat patches;        /* [B*N, 3*p*p] */
    vs_mat embedded;       /* [B*N, C] */
    vs_mat pos;            /* [N, C]; p NULL where q and k are rotated instead */
    vs_mat cosines, sines; /* [N, D/2]: of the rotation; p NULL without one */
    vs_workspace *workspaces;
    vs_mat *streams;
    void *attention;        /* scratch of the attention operation */
    vs_mat normed;          /* [B*T, C] */
    vs_mat *collected;      /* [streams]: [B*N or B, (head_maps - 1) * C], normed, of the blocks before the last */
    vs_mat pooling, pooled; /* [N, N] of 1/N and [N, C]: the mean over patches; only with head_mean */
    vs_mat features;        /* [B*N or B, head_width]: what the head's linear reads */
    vs_mat logits;          /* [B*N, classes] or [B, classes] */
    vs_eomt_room eomt;
    void *scratch;
};

/* forward.c: shows a tensor to the tap, if there is one. */
VS_NODISCARD vs_status vs_forward_show(vs_tapper tapper, vs_kind kind, int block, bool input, vs_mat x, vs_error *err);

#endif
