/* SPDX-License-Identifier: MIT */
/* Differentiable operations: the only vocabulary in which model/ describes a network.
 *
 * An op takes tensors and yields a new tensor in the arena (or a view). Activations are float32. It computes
 * at once and, when a tape records, also notes its backward pass (tape.h). Failure is sticky: an op that
 * cannot get memory sets ops->status and returns NULL, and every op given a NULL input returns NULL, so a
 * block is written as plain formulas and its status is looked at once, at the end. Wrong shapes are bugs
 * (assert): models check theirs when they are opened.
 *
 * One answer: each output element is computed by one thread in an order that depends on shapes and positions
 * alone. In training, float32 products are those of whole matrices: by the kernels where they have them, with a bit
 * pattern that depends on neither threads nor batch (gemm.h), else by a BLAS where the build has one: bits are then a
 * function of the whole batch's shape, still not of the threads. Both differ from inference's in the last places. Letters: T rows (tokens), N rows after the expert choice, nh heads, E experts, K experts per token.
 */
#ifndef SP_OPS_OPS_H
#define SP_OPS_OPS_H

#include "base/mem.h"
#include "base/pool.h"
#include "ops/tape.h"
#include "tensor/kernels.h"
#include "tensor/tensor.h"

typedef struct sp_ops {
    const sp_kernels *kernels;
    sp_pool *pool;    /* NULL: calling thread alone */
    sp_arena *arena;  /* owns every output until reset */
    sp_tape *tape;    /* NULL in inference */
    sp_status status; /* first failure */
    sp_error error;   /* its text where there is more to say than the status */
    bool training;    /* sums in the order of a recorded pass, also where no tape records (validation) */
    bool fp8; /* in training, simulate DeepSeek-V3's FP8 products (fp8.c) in linear ops, there and back */
    /* rows that linear.c has already quantised, so that projections of the same input share them */
    const sp_tensor *act_of[SP_ACT_COUNT];
    void *act_rows[SP_ACT_COUNT];
    const struct sp_angles
        *angles; /* of the last rotation (rope.c): queries and keys of all layers share them */
} sp_ops;

/* Begin a pass: no cached rows, no failure, no tape. */
void sp_ops_init(sp_ops *ops, sp_pool *pool, sp_arena *arena);

/* Give back everything that was computed since the mark was taken. */
void sp_ops_restore(sp_ops *ops, sp_arena_mark mark);

/* Whether there is a product of float matrices: the kernels', or a BLAS. */
static inline bool sp_ops_have_gemm(const sp_ops *ops)
{
    return SP_HAVE_CBLAS || ops->kernels->gemm;
}

/* Whether forward passes run through it too: in training. Inference keeps the order of the kernels for quantised
 * formats, which no cut of a prompt or batch can change. */
static inline bool sp_ops_use_gemm(const sp_ops *ops)
{
    return sp_ops_have_gemm(ops) && (ops->tape || ops->training);
}

/* A fresh (rows, cols) float tensor in the arena, not zeroed; NULL when out of memory. */
sp_tensor *sp_ops_new(sp_ops *ops, int64_t rows, int64_t cols);

/* A view with other bounds: `rows` rows of `cols` elements from (row 0, column `col`) of x seen as a matrix
 * with x's row stride; for reshaping, x must be contiguous. */
sp_tensor *sp_op_reshape(sp_ops *ops, const sp_tensor *x, int64_t rows, int64_t cols);
sp_tensor *sp_op_columns(sp_ops *ops, const sp_tensor *x, int64_t col, int64_t n_cols);
sp_tensor *sp_op_rows(sp_ops *ops, const sp_tensor *x, int64_t row, int64_t n_rows);

/* Rows ids[0..T) of a (V, h) table in any storage format -> (T, h). Ids are checked by the caller. */
sp_tensor *sp_op_embed(sp_ops *ops, const sp_tensor *table, const int32_t *ids, int64_t n_ids);

/* Rows index[0..n) of x (T, n_cols) -> (n, n_cols). */
sp_tensor *sp_op_gather(sp_ops *ops, const sp_tensor *x, const int32_t *index, int64_t n);

/* y = w x / sqrt(mean(x^2) + eps), per row; x (T, n), w (n) in float32 or a 16-bit format. */
sp_tensor *sp_op_rms_norm(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, float eps);

/* y = W x + b; x (T, in), w (out, in) in any storage format, b (out) float32 or NULL -> (T, out). */
sp_tensor *sp_op_linear(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, const sp_tensor *b);

/* The same in full precision whatever ops->fp8 says, there and back: router, head, projection of a prediction
 * layer. (Token losses, embeddings and attention always are.) */
sp_tensor *sp_op_linear_exact(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, const sp_tensor *b);

/* Several products of one input: y[i] = W_i x + b_i, as sp_op_linear() each, in inference as one job. y[i] is NULL on
 * failure. */
#define SP_LINEARS_MAX 3
typedef struct sp_linear {
    const sp_tensor *w, *b; /* b may be NULL */
} sp_linear;
void sp_op_linears(sp_ops *ops, const sp_tensor *x, const sp_linear *linears, int n, sp_tensor **y);

/* silu(gate x) (up x): gate, up (f, in) -> (T, f); in inference one job. */
sp_tensor *sp_op_gated(sp_ops *ops, const sp_tensor *x, const sp_tensor *gate, const sp_tensor *up);

/* One matrix per head inside a taller matrix w: head j owns rows j * stride + first .. + n_rows - 1. */
typedef struct sp_head_rows {
    const sp_tensor *w; /* any storage format, (nh * stride, cols) after flattening leading dimensions */
    int64_t n_heads;
    int64_t stride;
    int64_t first;
    int64_t n_rows;
} sp_head_rows;

/* x (T * nh, cols): row t * nh + j is multiplied by head j's matrix -> (T * nh, n_rows). */
sp_tensor *sp_op_linear_heads(sp_ops *ops, const sp_tensor *x, const sp_head_rows *heads);

/* The same with each head's matrix transposed: x (T * nh, n_rows) -> (T * nh, cols). */
sp_tensor *sp_op_linear_heads_t(sp_ops *ops, const sp_tensor *x, const sp_head_rows *heads);

sp_tensor *sp_op_add(sp_ops *ops, const sp_tensor *a, const sp_tensor *b);

/* Along columns. b may have fewer rows than a: each then serves rows(a) / rows(b) rows in a row. */
sp_tensor *sp_op_concat(sp_ops *ops, const sp_tensor *a, const sp_tensor *b);

/* A copy without gaps between rows, as sp_op_reshape() wants it. */
sp_tensor *sp_op_dense(sp_ops *ops, const sp_tensor *x);

/* silu(gate) up; both (T, n). */
sp_tensor *sp_op_swiglu(sp_ops *ops, const sp_tensor *gate, const sp_tensor *up);

/* ---- rotary position embedding ---- */

typedef struct sp_rope {
    int64_t dim;         /* rotated width, even */
    const double *omega; /* (dim / 2) angular frequencies after scaling */
    float factor;        /* on cos and sin */
    bool interleaved;    /* pairs (2i, 2i + 1); else (i, i + dim / 2) */
} sp_rope;

/* x (T * n_per_row, cols >= dim): the first dim columns of each row are rotated by position[t], the rest
 * copied. */
sp_tensor *sp_op_rope(sp_ops *ops, const sp_tensor *x, const sp_rope *rope, const int32_t *positions,
                      int64_t n_per_row);

/* ---- attention ---- */

/* A stretch of consecutive query rows of one timeline. Keys and values are in inference those of the cache (which
 * already holds this stretch's own), (n_kv_heads, capacity, k_dim) in F32, F16, BF16 or Q8_0; in training the tensors
 * just computed, (rows, n_kv_heads * k_dim). */
typedef struct sp_span {
    int64_t row; /* first query row */
    int64_t n_rows;
    int64_t position;   /* of the first row; row i sees keys 0 .. position + i */
    const sp_tensor *k; /* at least position + n_rows of each head */
    const sp_tensor *v; /* likewise, of v_dim; may share k's rows (latent attention) */
} sp_span;

typedef struct sp_attend {
    int64_t n_heads;
    int64_t n_kv_heads; /* head j reads key-value head j * n_kv_heads / n_heads */
    int64_t k_dim;
    int64_t v_dim;
    float scale;
} sp_attend;

/* Causal attention, q (T, n_heads * k_dim) -> (T, n_heads * v_dim). Each segment of 256 positions has a softmax of
 * its own, and they are merged in order, so the result does not depend on how a prompt was cut (decision 15). */
sp_tensor *sp_op_attention(sp_ops *ops, const sp_tensor *q, const sp_attend *attend, const sp_span *spans,
                           int n_spans);

/* Write x (n_rows of it from `row`, (n_heads * dim)) to rows position.. of each head of a cache tensor
 * (n_heads, capacity, dim), converting to its format. Not differentiable. */
void sp_op_store(sp_ops *ops, const sp_tensor *x, int64_t row, int64_t n_rows, sp_tensor *cache,
                 int64_t position);

/* ---- experts ---- */

typedef enum sp_route_score { SP_ROUTE_SOFTMAX, SP_ROUTE_SIGMOID } sp_route_score;
typedef enum sp_route_groups {
    SP_ROUTE_GROUPS_NONE,
    SP_ROUTE_GROUPS_MAX,
    SP_ROUTE_GROUPS_TOP2
} sp_route_groups;

typedef struct sp_route {
    sp_route_score score;
    sp_route_groups groups;
    int64_t n_group, topk_group;
    int64_t top_k;
    bool normalise;
    float scale;
    const sp_tensor *bias; /* (E) float32, for the choice alone; NULL if none */
} sp_route;

/* The choice, also sorted by expert: order[offset[e] .. offset[e+1]) are the (token * K + slot) of expert e,
 * ascending. */
typedef struct sp_routing {
    int64_t n_tokens, n_experts, top_k;
    int32_t *experts;   /* (T, K), best first */
    sp_tensor *weights; /* (T, K) */
    int32_t *order;     /* (T * K) */
    int32_t *tokens;    /* (T * K) order / K: the row of x that each sorted row comes from */
    int64_t *offset;    /* (E + 1) */
} sp_routing;

/* Choose K of E experts per token from router logits (T, E). Ties go to the lowest index. */
sp_routing *sp_op_route(sp_ops *ops, const sp_tensor *logits, const sp_route *route);

/* x (N, in), rows sorted by expert as in routing->order; w[e] (out, in) -> (N, out). */
sp_tensor *sp_op_linear_experts(sp_ops *ops, const sp_tensor *x, const sp_tensor *w,
                                const sp_routing *routing);

/* silu(gate[e] x) (up[e] x), rows sorted by expert as above -> (N, f); in inference one job. */
sp_tensor *sp_op_gated_experts(sp_ops *ops, const sp_tensor *x, const sp_tensor *gate, const sp_tensor *up,
                               const sp_routing *routing);

/* y_t = sum over slots k, in order, of weights[t, k] * row; x (N, n) sorted by expert -> (T, n). */
sp_tensor *sp_op_combine(sp_ops *ops, const sp_tensor *x, const sp_routing *routing);

/* ---- memory, for training ---- */

/* A stretch of the network: x (T, n) -> (T, n), dense. It reads recorded tensors only through x (parameters, which
 * are leaves, apart), and gives the same bits every time. */
typedef sp_tensor *(*sp_recompute_fn)(sp_ops *ops, const sp_tensor *x, const void *ctx);

typedef enum sp_recompute_store {
    SP_RECOMPUTE_F32,
    SP_RECOMPUTE_BF16 /* fn sees x rounded to bfloat16, in both passes; the op takes x's memory over: nothing
                         else may read x, and x is an output of embed, add, linear or recompute */
} sp_recompute_store;

typedef struct sp_recompute {
    sp_recompute_fn fn;
    const void *ctx; /* copied; what it points to must live until the backward pass is over */
    size_t ctx_bytes;
    sp_recompute_store store;
} sp_recompute;

/* fn(ops, x, ctx). When a tape records, fn runs unrecorded and only x and the output are kept; the backward pass
 * runs fn again, recorded on a tape of its own, and adds the gradients of x and of all parameters: the same bits as
 * without recomputation. Without a tape it is fn alone. */
sp_tensor *sp_op_recompute(sp_ops *ops, const sp_tensor *x, const sp_recompute *recompute);

/* ---- losses, for training ---- */

/* Negative log-likelihood of targets[t] under softmax(head hidden_t); 0 and without gradient where targets[t]
 * < 0. hidden (T, h), head (V, h) -> (T, 1). Logits exist for 16 MiB of rows at a time; a
 * recorded pass keeps them if all of them are no more than 32 MiB. */
sp_tensor *sp_op_token_loss(sp_ops *ops, const sp_tensor *hidden, const sp_tensor *head,
                            const int32_t *targets);

/* Sum of weights[i] x[i], x (n, 1) -> (1, 1). */
sp_tensor *sp_op_weighted_sum(sp_ops *ops, const sp_tensor *x, const float *weights);

/* Mean token loss over the targets >= 0 -> (1, 1); 0 if there are none. */
sp_tensor *sp_op_cross_entropy(sp_ops *ops, const sp_tensor *hidden, const sp_tensor *head,
                               const int32_t *targets);

sp_tensor *sp_op_scale(sp_ops *ops, const sp_tensor *x, float factor);

/* Rows begins[s] .. begins[s + 1] - 1 of the router logits are sequence s. */
typedef struct sp_balance {
    sp_route_score score;
    int64_t top_k;
    int n_sequences;
    const int64_t *begins; /* (n_sequences + 1) */
    const int32_t *chosen; /* (T, top_k) experts that f_i counts (V2); NULL: the best by score (V3) */
} sp_balance;

/* Sequence-wise balance loss without its factor: per sequence the sum over experts of f_i P_i (1 when
 * balanced), averaged over sequences; logits (T, E) -> (1, 1). f_i, the share of tokens that have expert i
 * among the K best by score (no bias, no groups) or among those chosen, is a constant of the backward pass. */
sp_tensor *sp_op_balance_loss(sp_ops *ops, const sp_tensor *logits, const sp_balance *balance);

/* x (a view); factor times loss (1, 1) joins what is minimised: the backward pass gives loss the gradient
 * `factor`. So a block can have a loss of its own and still return one tensor. x is dense. */
sp_tensor *sp_op_attach(sp_ops *ops, const sp_tensor *x, const sp_tensor *loss, float factor);

#endif
