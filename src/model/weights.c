/* SPDX-License-Identifier: MIT */
/* Binding tensors by name. bind() looks one up under the container's name for it and checks its shape; the
 * functions below it state, block by block, which tensors an architecture has. A failure is sticky, so these
 * lists read as tables. Vectors (norms, biases) are turned into float32 copies; matrices stay mapped. Start
 * at sp_weights_bind(). */
#include "model/weights.h"

#include "base/mem.h"
#include "tensor/kernels.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct binder {
    sp_weights *weights;
    const sp_hparams *hp;
    const sp_archive *archive;
    bool hf;
    bool in_memory; /* vectors are float32 already and may change: no copies */
    int32_t layer;  /* -1 for global tensors */
    sp_status status;
    sp_error *err;
} binder;

#define NAME_CAP 128

static void make_name(const binder *b, char out[NAME_CAP], const char *gguf, const char *hf)
{
    if (b->layer < 0)
        snprintf(out, NAME_CAP, "%s", b->hf ? hf : gguf);
    else if (b->hf)
        snprintf(out, NAME_CAP, "model.layers.%d.%s", b->layer, hf);
    else
        snprintf(out, NAME_CAP, "blk.%d.%s", b->layer, gguf);
}

static void *allocate(binder *b, size_t count, size_t size)
{
    size_t n_bytes;
    void *ptr = sp_mul_size(count, size, &n_bytes) ? sp_arena_alloc(b->weights->arena, n_bytes) : NULL;
    if (!ptr && b->status == SP_OK) b->status = sp_fail_nomem(b->err, "model weights", count * size);
    if (ptr) memset(ptr, 0, n_bytes);
    return ptr;
}

static const sp_entry *find_entry(const binder *b, const char *gguf, const char *hf)
{
    char name[NAME_CAP];
    if (!(b->hf ? hf : gguf)) return NULL;
    make_name(b, name, gguf, hf);
    return sp_archive_find(b->archive, name);
}

static void format_shape(char out[96], int n_dims, const int64_t *shape)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < n_dims; i++)
        used += (size_t)snprintf(out + used, 96 - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
}

static bool shape_is(const sp_tensor *t, int n_dims, const int64_t *shape)
{
    if (t->n_dims != n_dims) return false;
    for (int i = 0; i < n_dims; i++)
        if (t->shape[i] != shape[i]) return false;
    return true;
}

/* A float32 copy of a vector, so that kernels need no other form. */
static const sp_tensor *copy_vector(binder *b, const sp_tensor *t)
{
    size_t n = (size_t)t->shape[0];
    sp_tensor *copy = allocate(b, 1, sizeof *copy);
    float *data = allocate(b, n, sizeof *data);
    if (!copy || !data) return NULL;
    sp_kernels_get()->unpack[t->dtype](n, t->data, data);
    *copy = (sp_tensor){.dtype = SP_DTYPE_F32,
                        .n_dims = 1,
                        .shape = {(int64_t)n, 1, 1, 1},
                        .row_bytes = n * sizeof *data,
                        .data = data};
    return copy;
}

static const sp_tensor *accept(binder *b, const sp_entry *entry, int n_dims, const int64_t *shape)
{
    char want[96], found[96];
    if (entry->unsupported) {
        b->status = sp_fail(b->err, SP_E_UNSUPPORTED, "model: tensor \"%s\": type %s is not supported",
                            entry->name, entry->unsupported);
        return NULL;
    }
    if (!shape_is(&entry->tensor, n_dims, shape)) {
        format_shape(want, n_dims, shape);
        format_shape(found, entry->tensor.n_dims, entry->tensor.shape);
        b->status = sp_fail(b->err, SP_E_FORMAT, "model: tensor \"%s\": expected shape (%s), found (%s)",
                            entry->name, want, found);
        return NULL;
    }
    if (entry->tensor.dtype == SP_DTYPE_F8_E4M3 && !entry->tensor.scale) {
        b->status = sp_fail(b->err, SP_E_FORMAT, "model: tensor \"%s\" is F8_E4M3 without a weight_scale_inv",
                            entry->name);
        return NULL;
    }
    b->weights->n_bytes += (int64_t)entry->n_bytes;
    int64_t count = 1;
    for (int i = 0; i < n_dims; i++) count *= shape[i];
    b->weights->n_params += count;
    return n_dims == 1 && !b->in_memory ? copy_vector(b, &entry->tensor) : &entry->tensor;
}

/* Bind a tensor that may be absent; a shape of zeros past the first means fewer dimensions. */
static const sp_tensor *bind_optional(binder *b, const char *gguf, const char *hf, const int64_t shape[3])
{
    if (b->status != SP_OK) return NULL;
    const sp_entry *entry = find_entry(b, gguf, hf);
    if (!entry) return NULL;
    return accept(b, entry, shape[1] == 0 ? 1 : shape[2] == 0 ? 2 : 3, shape);
}

static const sp_tensor *bind(binder *b, const char *gguf, const char *hf, const int64_t shape[3])
{
    const sp_tensor *t = bind_optional(b, gguf, hf, shape);
    if (!t && b->status == SP_OK) {
        char name[NAME_CAP];
        make_name(b, name, gguf, hf);
        b->status = sp_fail(b->err, SP_E_FORMAT, "model: tensor \"%s\" is missing", name);
    }
    return t;
}

#define SHAPE(...) ((const int64_t[3]){__VA_ARGS__})

static void bind_grouped(binder *b, sp_layer *l)
{
    const sp_hparams *hp = b->hp;
    const sp_arch_info *info = sp_arch_get(hp->arch);
    int64_t h = hp->hidden_size, q = (int64_t)hp->num_attention_heads * hp->head_dim,
            kv = (int64_t)hp->num_key_value_heads * hp->head_dim;
    l->q = bind(b, "attn_q.weight", "self_attn.q_proj.weight", SHAPE(q, h));
    l->k = bind(b, "attn_k.weight", "self_attn.k_proj.weight", SHAPE(kv, h));
    l->v = bind(b, "attn_v.weight", "self_attn.v_proj.weight", SHAPE(kv, h));
    l->o = bind(b, "attn_output.weight", "self_attn.o_proj.weight", SHAPE(h, q));
    bool biased = info->qkv_bias || hp->attention_bias;
    const sp_tensor *(*bind_bias)(binder *, const char *, const char *, const int64_t *) =
        biased ? bind : bind_optional;
    l->q_bias = bind_bias(b, "attn_q.bias", "self_attn.q_proj.bias", SHAPE(q));
    l->k_bias = bind_bias(b, "attn_k.bias", "self_attn.k_proj.bias", SHAPE(kv));
    l->v_bias = bind_bias(b, "attn_v.bias", "self_attn.v_proj.bias", SHAPE(kv));
    l->o_bias = bind_optional(b, "attn_output.bias", "self_attn.o_proj.bias", SHAPE(h));
    if (!info->qk_norm) return;
    l->q_norm = bind(b, "attn_q_norm.weight", "self_attn.q_norm.weight", SHAPE(hp->head_dim));
    l->k_norm = bind(b, "attn_k_norm.weight", "self_attn.k_norm.weight", SHAPE(hp->head_dim));
}

static void bind_latent(binder *b, sp_layer *l)
{
    const sp_hparams *hp = b->hp;
    int64_t h = hp->hidden_size, nh = hp->num_attention_heads, c = hp->kv_lora_rank, ql = hp->q_lora_rank;
    int64_t n = hp->qk_nope_head_dim, r = hp->qk_rope_head_dim, vd = hp->v_head_dim;
    if (ql) {
        l->q_a = bind(b, "attn_q_a.weight", "self_attn.q_a_proj.weight", SHAPE(ql, h));
        l->q_a_norm = bind(b, "attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight", SHAPE(ql));
        l->q_b = bind(b, "attn_q_b.weight", "self_attn.q_b_proj.weight", SHAPE(nh * (n + r), ql));
    } else {
        l->q = bind(b, "attn_q.weight", "self_attn.q_proj.weight", SHAPE(nh * (n + r), h));
    }
    l->kv_a = bind(b, "attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight", SHAPE(c + r, h));
    l->kv_a_norm = bind(b, "attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", SHAPE(c));
    if (find_entry(b, "attn_k_b.weight", NULL)) {
        l->k_b = bind(b, "attn_k_b.weight", NULL, SHAPE(nh, c, n));
        l->v_b = bind(b, "attn_v_b.weight", NULL, SHAPE(nh, vd, c));
    } else {
        l->kv_b = bind(b, "attn_kv_b.weight", "self_attn.kv_b_proj.weight", SHAPE(nh * (n + vd), c));
    }
    l->o = bind(b, "attn_output.weight", "self_attn.o_proj.weight", SHAPE(h, nh * vd));
}

static void bind_dense(binder *b, sp_layer *l)
{
    int64_t h = b->hp->hidden_size, f = b->hp->intermediate_size;
    l->ffn.gate = bind(b, "ffn_gate.weight", "mlp.gate_proj.weight", SHAPE(f, h));
    l->ffn.up = bind(b, "ffn_up.weight", "mlp.up_proj.weight", SHAPE(f, h));
    l->ffn.down = bind(b, "ffn_down.weight", "mlp.down_proj.weight", SHAPE(h, f));
}

/* Expert e's matrix as a view into a stacked (E, rows, cols) tensor, `skip` rows into each expert's part. */
static void view_stacked(sp_tensor *views, const sp_tensor *stack, int64_t skip, int64_t rows)
{
    for (int64_t e = 0; e < stack->shape[0]; e++) {
        views[e] = *stack;
        views[e].n_dims = 2;
        views[e].shape[0] = rows;
        views[e].shape[1] = stack->shape[2];
        views[e].shape[2] = 1;
        views[e].data = (char *)stack->data + (size_t)(e * stack->shape[1] + skip) * stack->row_bytes;
    }
}

/* One kind of expert matrix: stacked in GGUF; single tensors in Hugging Face files and very old GGUF files.
 */
static sp_tensor *bind_experts(binder *b, const char *part, int64_t rows, int64_t cols)
{
    int64_t n = b->hp->n_routed_experts;
    char gguf[64], hf[64];
    sp_tensor *views = b->status == SP_OK ? allocate(b, (size_t)n, sizeof *views) : NULL;
    if (!views) return NULL;
    snprintf(gguf, sizeof gguf, "ffn_%s_exps.weight", part);
    if (!b->hf && find_entry(b, gguf, NULL)) {
        const sp_tensor *stack = bind(b, gguf, NULL, SHAPE(n, rows, cols));
        if (stack) view_stacked(views, stack, 0, rows);
        return views;
    }
    for (int64_t e = 0; e < n && b->status == SP_OK; e++) {
        snprintf(gguf, sizeof gguf, "ffn_%s.%lld.weight", part, (long long)e);
        snprintf(hf, sizeof hf, "mlp.experts.%lld.%s_proj.weight", (long long)e, part);
        const sp_tensor *t = bind(b, gguf, hf, SHAPE(rows, cols));
        if (t) views[e] = *t;
    }
    return views;
}

/* Some GGUF files hold gate and up in one tensor: gate rows, then up rows. */
static bool bind_fused_experts(binder *b, sp_expert_weights *experts)
{
    int64_t n = b->hp->n_routed_experts, f = b->hp->moe_intermediate_size;
    if (!find_entry(b, "ffn_gate_up_exps.weight", NULL)) return false;
    const sp_tensor *stack = bind(b, "ffn_gate_up_exps.weight", NULL, SHAPE(n, 2 * f, b->hp->hidden_size));
    experts->gate = allocate(b, (size_t)n, sizeof *experts->gate);
    experts->up = allocate(b, (size_t)n, sizeof *experts->up);
    if (!stack || !experts->gate || !experts->up) return true;
    view_stacked(experts->gate, stack, 0, f);
    view_stacked(experts->up, stack, f, f);
    return true;
}

static void bind_expert_layer(binder *b, sp_layer *l)
{
    const sp_hparams *hp = b->hp;
    int64_t h = hp->hidden_size, n = hp->n_routed_experts, f = hp->moe_intermediate_size,
            fs = f * hp->n_shared_experts;
    l->router = bind(b, "ffn_gate_inp.weight", "mlp.gate.weight", SHAPE(n, h));
    if (hp->topk_method == SP_TOPK_NOAUX_TC)
        l->router_bias = bind(b, "exp_probs_b.bias", "mlp.gate.e_score_correction_bias", SHAPE(n));
    if (!bind_fused_experts(b, &l->experts)) {
        l->experts.gate = bind_experts(b, "gate", f, h);
        l->experts.up = bind_experts(b, "up", f, h);
    }
    l->experts.down = bind_experts(b, "down", h, f);
    if (hp->n_shared_experts == 0) return;
    l->shared.gate = bind(b, "ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight", SHAPE(fs, h));
    l->shared.up = bind(b, "ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight", SHAPE(fs, h));
    l->shared.down = bind(b, "ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight", SHAPE(h, fs));
}

static void bind_layer(binder *b, int32_t index, sp_layer *l)
{
    int64_t h = b->hp->hidden_size;
    b->layer = index;
    l->attn_norm = bind(b, "attn_norm.weight", "input_layernorm.weight", SHAPE(h));
    l->ffn_norm = bind(b, "ffn_norm.weight", "post_attention_layernorm.weight", SHAPE(h));
    if (sp_arch_get(b->hp->arch)->attention == SP_ATTENTION_LATENT)
        bind_latent(b, l);
    else
        bind_grouped(b, l);
    if (sp_hparams_is_expert_layer(b->hp, index))
        bind_expert_layer(b, l);
    else
        bind_dense(b, l);
}

/* Embedding and head of a prediction layer are copies of the model's in published files and often left out.
 */
static void bind_mtp(binder *b, int32_t index, sp_mtp_layer *m)
{
    int64_t h = b->hp->hidden_size, v = b->hp->vocab_size;
    bind_layer(b, index, &m->layer);
    m->enorm = bind(b, "nextn.enorm.weight", "enorm.weight", SHAPE(h));
    m->hnorm = bind(b, "nextn.hnorm.weight", "hnorm.weight", SHAPE(h));
    m->eh_proj = bind(b, "nextn.eh_proj.weight", "eh_proj.weight", SHAPE(h, 2 * h));
    m->norm = bind_optional(b, "nextn.shared_head_norm.weight", "shared_head.norm.weight", SHAPE(h));
    m->embed = bind_optional(b, "nextn.embed_tokens.weight", "embed_tokens.weight", SHAPE(v, h));
    m->head = bind_optional(b, "nextn.shared_head_head.weight", "shared_head.head.weight", SHAPE(v, h));
    if (!m->norm) m->norm = b->weights->norm;
    if (!m->embed) m->embed = b->weights->embed;
    if (!m->head) m->head = b->weights->head;
}

static void bind_globals(binder *b)
{
    sp_weights *w = b->weights;
    int64_t h = b->hp->hidden_size, v = b->hp->vocab_size;
    b->layer = -1;
    w->embed = bind(b, "token_embd.weight", "model.embed_tokens.weight", SHAPE(v, h));
    w->norm = bind(b, "output_norm.weight", "model.norm.weight", SHAPE(h));
    w->head = bind_optional(b, "output.weight", "lm_head.weight", SHAPE(v, h));
    if (!w->head && (!b->hf || b->hp->tie_word_embeddings)) w->head = w->embed;
    if (!w->head) w->head = bind(b, "output.weight", "lm_head.weight", SHAPE(v, h)); /* reports it missing */
    w->rope_divisors = bind_optional(b, "rope_freqs.weight", NULL, SHAPE(sp_hparams_rope_dim(b->hp) / 2));
}

sp_status sp_weights_bind(sp_weights *weights, const sp_hparams *hp, const sp_archive *archive, sp_error *err)
{
    memset(weights, 0, sizeof *weights);
    weights->arena = sp_arena_create(1 << 18);
    if (!weights->arena) return sp_fail_nomem(err, "model weights", 0);
    binder b = {.weights = weights,
                .hp = hp,
                .archive = archive,
                .hf = sp_archive_container(archive) == SP_CONTAINER_HF,
                .in_memory = sp_archive_file_count(archive) == 0,
                .layer = -1,
                .status = SP_OK,
                .err = err};
    weights->layers = allocate(&b, (size_t)hp->num_hidden_layers, sizeof *weights->layers);
    bind_globals(&b);
    for (int32_t i = 0; i < hp->num_hidden_layers && b.status == SP_OK; i++)
        bind_layer(&b, i, &weights->layers[i]);
    /* the prediction layers are declared in config.json but dropped by many converters */
    b.layer = hp->num_hidden_layers;
    if (b.status == SP_OK && hp->num_nextn_predict_layers > 0 &&
        find_entry(&b, "nextn.eh_proj.weight", "eh_proj.weight")) {
        weights->n_mtp = hp->num_nextn_predict_layers;
        weights->mtp = allocate(&b, (size_t)weights->n_mtp, sizeof *weights->mtp);
        for (int32_t i = 0; i < weights->n_mtp && b.status == SP_OK; i++)
            bind_mtp(&b, hp->num_hidden_layers + i, &weights->mtp[i]);
    }
    if (b.status != SP_OK) sp_weights_clear(weights);
    return b.status;
}

void sp_weights_clear(sp_weights *weights)
{
    sp_arena_destroy(weights->arena);
    memset(weights, 0, sizeof *weights);
}
