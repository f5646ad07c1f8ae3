/* SPDX-License-Identifier: MIT */
/* From rows to gradients. Start at sp_pass_run(). */
#include "train/pass.h"

#include <string.h>

#include "base/clock.h"
#include "ops/ops_parts.h"

/* --- rows to a batch --- */

typedef struct row_view {
    const int32_t *tokens, *targets, *segments;
    const uint8_t *mask;
    int64_t n; /* without padding */
} row_view;

static void put_stretch(sp_passage *p, int64_t first, int64_t n)
{
    p->stretches[p->n_stretches++] = (sp_stretch){NULL, first, n, 0};
    p->n_pairs += (double)n * (double)(n + 1) / 2.0;
}

/* A token's second target is its successor's target, within a stretch. */
static void put_row(sp_passage *p, const row_view *row, bool document_attention)
{
    int64_t start = p->n_tokens, begin = 0;
    for (int64_t i = 0; i < row->n; i++) {
        if (document_attention && i > 0 && row->segments[i] != row->segments[i - 1]) {
            put_stretch(p, start + begin, i - begin);
            begin = i;
        }
        bool successor = i + 1 < row->n && (!document_attention || row->segments[i + 1] == row->segments[i]);
        bool second = successor && row->mask[i + 1];
        int64_t at = start + i;
        p->tokens[at] = row->tokens[i];
        p->next[at] = row->targets[i] < 0 ? 0 : row->targets[i];
        p->targets[at] = row->mask[i] ? row->targets[i] : -1;
        p->seconds[at] = second ? row->targets[i + 1] : -1;
        p->positions[at] = (int32_t)(i - begin);
        p->n_targets += row->mask[i];
        p->n_seconds += second;
    }
    if (row->n == 0) return;
    put_stretch(p, start + begin, row->n - begin);
    p->n_tokens += row->n;
    p->begins[++p->n_sequences] = p->n_tokens;
}

static sp_status allocate(sp_passage *p, sp_rows *rows, size_t n, size_t n_rows, sp_error *err)
{
    p->tokens = sp_malloc_array(n, 5 * sizeof *p->tokens);
    p->stretches = sp_malloc_array(n, sizeof *p->stretches);
    p->begins = sp_calloc(n_rows + 1, sizeof *p->begins);
    rows->tokens = sp_malloc_array(n, 3 * sizeof *rows->tokens);
    rows->mask = sp_malloc(n);
    if (!p->tokens || !p->stretches || !p->begins || !rows->tokens || !rows->mask)
        return sp_fail_nomem(err, "rows of a pass", n * 48);
    p->next = p->tokens + n;
    p->targets = p->next + n;
    p->seconds = p->targets + n;
    p->positions = p->seconds + n;
    rows->targets = rows->tokens + n;
    rows->segments = rows->targets + n;
    return SP_OK;
}

sp_status sp_passage_load(sp_passage *passage, const sp_loader *loader, const sp_loader_options *shape,
                          uint64_t first, uint32_t n, bool document_attention, sp_error *err)
{
    memset(passage, 0, sizeof *passage);
    sp_rows rows = {NULL, NULL, NULL, NULL};
    size_t width = shape->n_tokens;
    sp_status status = allocate(passage, &rows, width * n, n, err);
    if (status == SP_OK) sp_loader_get_rows(loader, first, n, &rows);
    for (uint32_t r = 0; status == SP_OK && r < n; r++) {
        row_view row = {rows.tokens + r * width, rows.targets + r * width, rows.segments + r * width,
                        rows.mask + r * width, 0};
        while (row.n < (int64_t)width && row.segments[row.n] >= 0) row.n++;
        put_row(passage, &row, document_attention);
    }
    sp_free(rows.tokens);
    sp_free(rows.mask);
    if (status != SP_OK) sp_passage_clear(passage);
    return status;
}

sp_status sp_passage_idle(sp_passage *passage, sp_error *err)
{
    memset(passage, 0, sizeof *passage);
    sp_rows rows = {NULL, NULL, NULL, NULL};
    sp_status status = allocate(passage, &rows, 1, 1, err);
    int32_t zero = 0;
    uint8_t unlearnt = 0;
    if (status == SP_OK) put_row(passage, &(row_view){&zero, &zero, &zero, &unlearnt, 1}, false);
    sp_free(rows.tokens);
    sp_free(rows.mask);
    if (status != SP_OK) sp_passage_clear(passage);
    return status;
}

void sp_passage_clear(sp_passage *passage)
{
    sp_free(passage->tokens);
    sp_free(passage->stretches);
    sp_free(passage->begins);
    memset(passage, 0, sizeof *passage);
}

/* --- losses --- */

typedef struct pass {
    sp_ops *ops;
    sp_parameters *parameters;
    const sp_passage *passage;
    const sp_pass_options *options;
    sp_pass_sums *sums;
    bool learn; /* else forward only */
    sp_batch batch,
        shifted; /* the second is the prediction layer's; both are read again in the backward pass */
    sp_expert_watch watch;
} pass;

static sp_status prepare_batch(pass *p, sp_error *err)
{
    const sp_passage *passage = p->passage;
    const sp_hparams *hp = &p->parameters->hp;
    p->batch = (sp_batch){.tokens = passage->tokens,
                          .positions = passage->positions,
                          .n_tokens = passage->n_tokens,
                          .stretches = passage->stretches,
                          .n_stretches = passage->n_stretches};
    if (p->options->recompute)
        p->batch.keep = p->options->bf16_activations ? SP_KEEP_INPUTS_BF16 : SP_KEEP_INPUTS;
    if (!hp->n_routed_experts) return SP_OK;
    size_t n = (size_t)sp_hparams_all_layers(hp);
    p->watch = (sp_expert_watch){
        .balance_factor = (float)(p->options->balance_factor * passage->n_sequences),
        .n_sequences = passage->n_sequences,
        .begins = passage->begins,
        .counts = sp_arena_alloc(p->ops->arena, n * (size_t)hp->n_routed_experts * sizeof(int64_t)),
        .balance = sp_arena_alloc(p->ops->arena, n * sizeof(float)),
    };
    if (!p->watch.counts || !p->watch.balance) return sp_fail_nomem(err, "expert loads", n);
    memset(p->watch.counts, 0, n * (size_t)hp->n_routed_experts * sizeof(int64_t));
    memset(p->watch.balance, 0, n * sizeof(float));
    p->batch.watch = &p->watch;
    return SP_OK;
}

static double sum_of(const sp_tensor *x)
{
    double sum = 0.0;
    const float *values = x->data;
    for (int64_t i = 0; i < sp_tensor_rows(x); i++) sum += values[i];
    return sum;
}

/* scale times the sum of token losses (T, 1) -> (1, 1). */
static sp_tensor *scale_loss(pass *p, const sp_tensor *losses, double scale)
{
    int64_t n = p->passage->n_tokens;
    float *weights = sp_arena_alloc(p->ops->arena, (size_t)n * sizeof *weights);
    if (!weights) {
        if (p->ops->status == SP_OK) p->ops->status = SP_E_NOMEM;
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) weights[i] = (float)scale;
    return sp_op_weighted_sum(p->ops, losses, weights);
}

/* How many seconds the prediction layer's likeliest token meets. */
static void count_hits(pass *p, const sp_tensor *hidden, const sp_tensor *head)
{
    int64_t n_tokens = p->passage->n_tokens, n_vocab = sp_tensor_rows(head), chunk = (1 << 20) / n_vocab + 1;
    for (int64_t first = 0; first < n_tokens; first += chunk) {
        sp_arena_mark mark = sp_arena_save(p->ops->arena);
        int64_t n = n_tokens - first < chunk ? n_tokens - first : chunk;
        sp_tensor *logits = sp_op_linear_exact(p->ops, sp_op_rows(p->ops, hidden, first, n), head, NULL);
        for (int64_t i = 0; logits && i < n; i++)
            p->sums->mtp_hits +=
                sp_find_largest(sp_tensor_row(logits, i), n_vocab) == p->passage->seconds[first + i];
        sp_arena_restore(p->ops->arena, mark);
    }
}

/* The whole loss, (1, 1). */
static sp_tensor *record_losses(pass *p)
{
    sp_ops *ops = p->ops;
    const sp_net *net = &p->parameters->net;
    const sp_passage *passage = p->passage;
    sp_tensor *hidden = sp_net_forward(ops, net, &p->batch);
    sp_tensor *losses = sp_op_token_loss(ops, hidden, net->weights->head, passage->targets);
    sp_tensor *total = losses ? scale_loss(p, losses, p->options->loss_scale) : NULL;
    if (!total) return NULL;
    p->sums->loss += sum_of(losses);
    if (net->weights->n_mtp == 0) return total;
    const sp_mtp_layer *mtp = &net->weights->mtp[0];
    p->shifted = p->batch;
    p->shifted.tokens = passage->next;
    sp_tensor *predicted = sp_net_predict_hidden(ops, net, mtp, hidden, &p->shifted);
    losses = sp_op_token_loss(ops, predicted, mtp->head, passage->seconds);
    sp_tensor *second = losses ? scale_loss(p, losses, p->options->mtp_scale) : NULL;
    if (!second) return NULL;
    p->sums->mtp_loss += sum_of(losses);
    if (!p->learn) count_hits(p, predicted, mtp->head);
    return sp_op_add(ops, total, second);
}

static void add_sums(pass *p, int64_t *counts)
{
    const sp_hparams *hp = &p->parameters->hp;
    sp_pass_sums *sums = p->sums;
    sums->n_targets += (double)p->passage->n_targets;
    sums->n_seconds += (double)p->passage->n_seconds;
    sums->n_sequences += p->passage->n_sequences;
    sums->n_tokens += (double)p->passage->n_tokens;
    if (!hp->n_routed_experts) return;
    int64_t n_layers = sp_hparams_all_layers(hp), n = n_layers * hp->n_routed_experts;
    for (int64_t i = 0; i < n_layers; i++)
        sums->balance += (double)p->watch.balance[i] * p->passage->n_sequences;
    for (int64_t i = 0; counts && i < n; i++) counts[i] += p->watch.counts[i];
}

static void mark_parameters(sp_ops *ops, sp_parameters *parameters, float *grads)
{
    for (size_t i = 0; i < parameters->n_items; i++) {
        const sp_parameter *q = &parameters->items[i];
        if (!q->tensor || q->kind == SP_PARAMETER_BALANCE) continue;
        sp_tape_parameter(ops, q->tensor, grads + q->begin);
    }
}

static void forget_parameters(sp_parameters *parameters)
{
    for (size_t i = 0; i < parameters->n_items; i++)
        if (parameters->items[i].tensor) parameters->items[i].tensor->node = NULL;
}

sp_status sp_pass_run(sp_ops *ops, sp_parameters *parameters, const sp_passage *passage,
                      const sp_pass_options *options, float *grads, int64_t *counts, sp_pass_sums *sums,
                      sp_error *err)
{
    if (passage->n_tokens == 0) return SP_OK;
    sp_arena_reset(ops->arena);
    sp_ops_init(ops, ops->pool, ops->arena);
    pass p = {.ops = ops,
              .parameters = parameters,
              .passage = passage,
              .options = options,
              .sums = sums,
              .learn = grads != NULL};
    SP_TRY(prepare_batch(&p, err));
    sp_tape tape = {0};
    ops->training = true;
    ops->fp8 = options->fp8;
    if (grads) {
        ops->tape = &tape;
        mark_parameters(ops, parameters, grads);
    }
    sp_tensor *loss = record_losses(&p);
    float one = 1.0f;
    if (loss && grads) sp_tape_backward(ops, loss, &one);
    ops->tape = NULL;
    forget_parameters(parameters);
    if (ops->status == SP_E_NOMEM)
        return sp_fail(err, SP_E_NOMEM,
                       "out of memory in a pass over %lld tokens; smaller run.micro_rows need less",
                       (long long)passage->n_tokens);
    if (ops->status != SP_OK) return sp_fail(err, ops->status, "a pass cannot be differentiated");
    add_sums(&p, counts);
    return SP_OK;
}

/* --- cost --- */

/* Products with weights cost 2 operations per weight forward and 4 backward; a pair costs 2 (k_dim + v_dim) per head and
 * 4 of that backward, computing the scores again. */
void sp_pass_flops(const sp_hparams *hp, double *per_token, double *per_pair)
{
    double h = hp->hidden_size, nh = hp->num_attention_heads, attention, pair;
    if (sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT) {
        double width = hp->qk_nope_head_dim + hp->qk_rope_head_dim, c = hp->kv_lora_rank;
        attention = hp->q_lora_rank ? hp->q_lora_rank * (h + nh * width) : h * nh * width;
        attention += h * (c + hp->qk_rope_head_dim) + c * nh * (hp->qk_nope_head_dim + hp->v_head_dim) +
                     nh * hp->v_head_dim * h;
        pair = nh * (width + hp->v_head_dim);
    } else {
        double d = hp->head_dim;
        attention = 2 * h * nh * d + 2 * h * hp->num_key_value_heads * d;
        pair = 2 * nh * d;
    }
    double weights = h * hp->vocab_size * (1 + hp->num_nextn_predict_layers);
    for (int32_t i = 0; i < sp_hparams_all_layers(hp); i++) {
        double wide = hp->intermediate_size;
        if (sp_hparams_is_expert_layer(hp, i))
            wide = hp->moe_intermediate_size * (double)(hp->num_experts_per_tok + hp->n_shared_experts) +
                   hp->n_routed_experts / 3.0;
        weights += attention + 3 * h * wide + (i >= hp->num_hidden_layers ? 2 * h * h : 0);
    }
    *per_token = 6 * weights;
    *per_pair = 6 * pair * sp_hparams_all_layers(hp);
}

double sp_pass_measure_peak(sp_ops *ops, int64_t n, float *space)
{
    sp_product p = {n, n, n, space, n, 1, space + n * n, n, 1, space + 2 * n * n, n};
    double best = 0.0;
    for (int i = 0; i < 8; i++) {
        double start = sp_seconds();
        sp_products_add(ops, &p, 1);
        double rate = 2.0 * (double)(n * n * n) / (sp_seconds() - start);
        if (i > 0 && rate > best) best = rate;
    }
    return best;
}
