/* SPDX-License-Identifier: MIT */
/* The weights of a model, bound to their places and checked: presence, storage format and shape of every
 * tensor. Both naming schemes (Hugging Face and GGUF) meet here; everything above sees only these fields.
 * Letters: h hidden_size, nh heads, nkv key-value heads, hd head_dim, n qk_nope_head_dim, r qk_rope_head_dim,
 * vd v_head_dim, c kv_lora_rank, ql q_lora_rank, f feed-forward width, E experts, V vocabulary. */
#ifndef SP_MODEL_WEIGHTS_H
#define SP_MODEL_WEIGHTS_H

#include "format/archive.h"
#include "model/hparams.h"

typedef struct sp_ffn {
    const sp_tensor *gate; /* (f, h) */
    const sp_tensor *up;   /* (f, h) */
    const sp_tensor *down; /* (h, f) */
} sp_ffn;

typedef struct sp_expert_weights {
    sp_tensor *gate; /* E matrices (f, h) */
    sp_tensor *up;   /* E matrices (f, h) */
    sp_tensor *down; /* E matrices (h, f) */
} sp_expert_weights;

/* Fields that a layer does not have are NULL. */
typedef struct sp_layer {
    const sp_tensor *attn_norm; /* (h) */
    const sp_tensor *ffn_norm;  /* (h) */
    /* grouped attention */
    const sp_tensor *q, *k,
        *v; /* (nh hd, h), (nkv hd, h), (nkv hd, h); latent without q_lora: q is (nh (n + r), h) */
    const sp_tensor *q_bias, *k_bias, *v_bias; /* float32 */
    const sp_tensor *q_norm, *k_norm;          /* (hd) */
    const sp_tensor *o;                        /* (h, nh hd); latent (h, nh vd) */
    const sp_tensor *o_bias;                   /* (h) */
    /* latent attention */
    const sp_tensor *q_a, *q_a_norm, *q_b; /* (ql, h), (ql), (nh (n + r), ql) */
    const sp_tensor *kv_a, *kv_a_norm;     /* (c + r, h), (c) */
    const sp_tensor *kv_b;                 /* (nh (n + vd), c); NULL if split into the next two */
    const sp_tensor *k_b, *v_b;            /* (nh, c, n), (nh, vd, c) */
    /* feed-forward: dense, or experts with their router */
    sp_ffn ffn;                            /* dense layers */
    sp_ffn shared;                         /* shared experts as one */
    const sp_tensor *router, *router_bias; /* (E, h), (E) float32 */
    sp_expert_weights experts;
} sp_layer;

/* A multi-token-prediction layer: a whole layer and what joins it to the model. */
typedef struct sp_mtp_layer {
    sp_layer layer;
    const sp_tensor *enorm, *hnorm; /* (h) */
    const sp_tensor *eh_proj;       /* (h, 2h): embedding half first */
    const sp_tensor *norm;          /* (h) */
    const sp_tensor *embed;         /* (V, h) */
    const sp_tensor *head;          /* (V, h) */
} sp_mtp_layer;

typedef struct sp_weights {
    const sp_tensor *embed;         /* (V, h) */
    const sp_tensor *norm;          /* (h) */
    const sp_tensor *head;          /* (V, h); the embedding where tied */
    const sp_tensor *rope_divisors; /* (hd / 2) from GGUF's rope_freqs.weight, else NULL */
    sp_layer *layers;               /* num_hidden_layers */
    sp_mtp_layer *mtp;              /* n_mtp */
    int32_t n_mtp;
    int64_t n_params, n_bytes; /* of everything bound */
    sp_arena *arena;           /* owns the tables above, copies of vectors as float32, and expert views */
} sp_weights;

/* Bind and check. The archive must outlive the weights. SP_E_FORMAT names the tensor, what was expected and
 * found. */
sp_status sp_weights_bind(sp_weights *weights, const sp_hparams *hp, const sp_archive *archive,
                          sp_error *err);
void sp_weights_clear(sp_weights *weights);

/* Layer i of the model or, from num_hidden_layers on, of its prediction layers. */
static inline const sp_layer *sp_weights_layer(const sp_weights *weights, const sp_hparams *hp, int32_t i)
{
    return i < hp->num_hidden_layers ? &weights->layers[i] : &weights->mtp[i - hp->num_hidden_layers].layer;
}

#endif
