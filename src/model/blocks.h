/* SPDX-License-Identifier: MIT */
/* The network, written once over ops: attention blocks, feed-forward blocks, the layer, the whole forward
 * pass, and the multi-token-prediction layer. Inference and training call the same functions; see ops/tape.h.
 */
#ifndef SP_MODEL_BLOCKS_H
#define SP_MODEL_BLOCKS_H

#include "model/cache.h"
#include "model/expert_source.h"
#include "model/weights.h"
#include "ops/exchange.h"

/* What the blocks need to know of a model. */
typedef struct sp_net {
    const sp_hparams *hp;
    const sp_weights *weights;
    sp_rope rope;
    float softmax_scale;
    const sp_expert_group *expert_group; /* NULL: all experts are in this process */
    const sp_expert_source *experts;     /* NULL: all experts are in memory */
} sp_net;

/* A stretch of consecutive tokens of one timeline within a batch. */
typedef struct sp_stretch {
    sp_cache *cache; /* its rows [0, position) are filled; the pass fills the stretch's own. NULL in training:
                         position is 0 and keys and values stay in the pass's own tensors */
    int64_t row;     /* first row of the batch */
    int64_t n_rows;
    int64_t position; /* of the first row */
} sp_stretch;

/* What a trainer wants to see of the expert layers, numbered as layers are, prediction layers last. Every pass
 * sets it anew (so computing a layer twice counts once). */
typedef struct sp_expert_watch {
    float balance_factor; /* of the sequence-wise balance loss, which then joins the layer's output */
    int n_sequences;
    const int64_t *begins; /* (n_sequences + 1) rows */
    int64_t *counts;       /* (layers, E) choices per expert */
    float *balance;        /* (layers) the balance loss without its factor */
} sp_expert_watch;

/* What a recorded pass keeps of each layer's activations until the backward pass; the rest is computed again. */
typedef enum sp_keep { SP_KEEP_ALL, SP_KEEP_INPUTS, SP_KEEP_INPUTS_BF16 } sp_keep;

/* Rows of one pass: T = n_tokens, stretches in order and without gaps. */
typedef struct sp_batch {
    const int32_t *tokens;    /* (T), checked against the vocabulary */
    const int32_t *positions; /* (T) */
    int64_t n_tokens;
    const sp_stretch *stretches;
    int n_stretches;
    const sp_expert_watch *watch; /* NULL in inference */
    sp_keep keep;                 /* SP_KEEP_ALL (0) in inference */
} sp_batch;

/* Hidden states after the final norm, (T, h); NULL on failure (ops->status). */
sp_tensor *sp_net_forward(sp_ops *ops, const sp_net *net, const sp_batch *batch);

/* Logits of hidden rows, (T, V). */
sp_tensor *sp_net_logits(sp_ops *ops, const sp_net *net, const sp_tensor *hidden);

/* Multi-token prediction: hidden states H_i (T, h) after the final norm and batch->tokens = the tokens
 * t_(i+1) -> hidden states (T, h), after the layer's norm, that mtp->head turns into the logits for t_(i+2). The stretches' caches are the layer's own (one layer). Position i is
 * that of H_i. */
sp_tensor *sp_net_predict_hidden(sp_ops *ops, const sp_net *net, const sp_mtp_layer *mtp,
                                 const sp_tensor *hidden, const sp_batch *batch);

/* The last row alone, (1, h), of a batch of one stretch with a cache: of the rows before it, only the keys and values that it
 * attends to are computed. */
sp_tensor *sp_net_predict_last(sp_ops *ops, const sp_net *net, const sp_mtp_layer *mtp,
                               const sp_tensor *hidden, const sp_batch *batch);

/* sp_net_predict_hidden followed by the head: logits (T, V). */
sp_tensor *sp_net_predict(sp_ops *ops, const sp_net *net, const sp_mtp_layer *mtp, const sp_tensor *hidden,
                          const sp_batch *batch);

/* Fill net from hp and weights, which must outlive it like omega (rope_dim / 2 or more values, filled too). SP_E_FORMAT for
 * a frequency divisor that is not positive. */
sp_status sp_net_bind(sp_net *net, const sp_hparams *hp, const sp_weights *weights, double *omega,
                      sp_error *err);

#endif
