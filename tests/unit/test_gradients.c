/* SPDX-License-Identifier: MIT */
/* Gradients of whole tiny models, every parameter of every trainable architecture, against PyTorch's autograd
 * (tests/golden/gradients, made by tools/golden/make_gradients.py, which says how a gradient is compared by
 * its sketch), through the blocks that inference runs on; and their bits for any number of threads. */
#include "test_util.h"

#include <math.h>

#include "model/blocks.h"

#include <sputnik/sputnik.h>

#define N_SKETCH 64
#define LIMIT 1e-4
#define INFERENCE_LIMIT 1e-5 /* of the largest logit */
#define MAX_PARAMETERS 256
#define MAX_TOKENS 128

static const char *const models[] = {"llama-plain", "qwen2", "qwen3", "deepseek",
                                     "v2-lite",     "v2",    "v3",    "v3-mtp"};

typedef struct parameter {
    char name[96];
    sp_tensor *tensor;
} parameter;

/* A model with float32 weights, ready to be differentiated. */
typedef struct trainee {
    sp_archive *archive;
    sp_hparams hp;
    sp_weights weights;
    sp_net net;
    double omega[256];
    sp_buf floats[MAX_PARAMETERS];
    parameter parameters[MAX_PARAMETERS];
    int n_parameters;
} trainee;

/* Stored 16-bit weights become float32 in place of the file's, before they are bound. */
static void widen_weights(trainee *m)
{
    assert_true(sp_archive_count(m->archive) <= MAX_PARAMETERS);
    for (size_t i = 0; i < sp_archive_count(m->archive); i++) {
        sp_tensor *t = (sp_tensor *)(uintptr_t)&sp_archive_at(m->archive, i)->tensor;
        size_t rows = (size_t)sp_tensor_rows(t), cols = (size_t)sp_tensor_cols(t);
        float *data = sp_malloc_array(rows * cols, sizeof *data);
        for (size_t r = 0; r < rows; r++)
            sp_kernels_get()->unpack[t->dtype](cols, sp_tensor_row(t, (int64_t)r), data + r * cols);
        t->dtype = SP_DTYPE_F32;
        t->row_bytes = cols * sizeof *data;
        t->data = data;
        m->floats[i].data = (char *)data;
    }
}

static void add_parameter(trainee *m, int layer, const char *name, const sp_tensor *tensor)
{
    if (!tensor) return;
    assert_true(m->n_parameters < MAX_PARAMETERS);
    parameter *p = &m->parameters[m->n_parameters++];
    p->tensor = (sp_tensor *)(uintptr_t)tensor;
    if (layer < 0)
        snprintf(p->name, sizeof p->name, "%s", name);
    else
        snprintf(p->name, sizeof p->name, "model.layers.%d.%s", layer, name);
}

static void add_layer(trainee *m, int i, const sp_layer *l)
{
    const struct {
        const char *name;
        const sp_tensor *tensor;
    } fields[] = {
        {"input_layernorm.weight", l->attn_norm},
        {"post_attention_layernorm.weight", l->ffn_norm},
        {"self_attn.q_proj.weight", l->q},
        {"self_attn.k_proj.weight", l->k},
        {"self_attn.v_proj.weight", l->v},
        {"self_attn.q_proj.bias", l->q_bias},
        {"self_attn.k_proj.bias", l->k_bias},
        {"self_attn.v_proj.bias", l->v_bias},
        {"self_attn.q_norm.weight", l->q_norm},
        {"self_attn.k_norm.weight", l->k_norm},
        {"self_attn.o_proj.weight", l->o},
        {"self_attn.o_proj.bias", l->o_bias},
        {"self_attn.q_a_proj.weight", l->q_a},
        {"self_attn.q_a_layernorm.weight", l->q_a_norm},
        {"self_attn.q_b_proj.weight", l->q_b},
        {"self_attn.kv_a_proj_with_mqa.weight", l->kv_a},
        {"self_attn.kv_a_layernorm.weight", l->kv_a_norm},
        {"self_attn.kv_b_proj.weight", l->kv_b},
        {"mlp.gate_proj.weight", l->ffn.gate},
        {"mlp.up_proj.weight", l->ffn.up},
        {"mlp.down_proj.weight", l->ffn.down},
        {"mlp.gate.weight", l->router},
        {"mlp.shared_experts.gate_proj.weight", l->shared.gate},
        {"mlp.shared_experts.up_proj.weight", l->shared.up},
        {"mlp.shared_experts.down_proj.weight", l->shared.down},
    };
    for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++)
        add_parameter(m, i, fields[f].name, fields[f].tensor);
    for (int e = 0; l->router && e < m->hp.n_routed_experts; e++) {
        char name[64];
        snprintf(name, sizeof name, "mlp.experts.%d.gate_proj.weight", e);
        add_parameter(m, i, name, &l->experts.gate[e]);
        snprintf(name, sizeof name, "mlp.experts.%d.up_proj.weight", e);
        add_parameter(m, i, name, &l->experts.up[e]);
        snprintf(name, sizeof name, "mlp.experts.%d.down_proj.weight", e);
        add_parameter(m, i, name, &l->experts.down[e]);
    }
}

static void list_parameters(trainee *m)
{
    const sp_weights *w = &m->weights;
    add_parameter(m, -1, "model.embed_tokens.weight", w->embed);
    add_parameter(m, -1, "model.norm.weight", w->norm);
    if (w->head != w->embed) add_parameter(m, -1, "lm_head.weight", w->head);
    for (int i = 0; i < m->hp.num_hidden_layers; i++) add_layer(m, i, &w->layers[i]);
    for (int k = 0; k < w->n_mtp; k++) {
        int i = m->hp.num_hidden_layers + k;
        add_layer(m, i, &w->mtp[k].layer);
        add_parameter(m, i, "enorm.weight", w->mtp[k].enorm);
        add_parameter(m, i, "hnorm.weight", w->mtp[k].hnorm);
        add_parameter(m, i, "eh_proj.weight", w->mtp[k].eh_proj);
        add_parameter(m, i, "shared_head.norm.weight", w->mtp[k].norm);
        add_parameter(m, i, "embed_tokens.weight", w->mtp[k].embed);
        add_parameter(m, i, "shared_head.head.weight", w->mtp[k].head);
    }
}

static trainee *open_trainee(const char *name)
{
    char path[256];
    sp_error err = SP_ERROR_NONE;
    trainee *m = calloc(1, sizeof *m);
    snprintf(path, sizeof path, "tests/golden/models/%s", name);
    assert_ok(sp_archive_open(&m->archive, test_path(path), &err), err);
    widen_weights(m);
    assert_ok(sp_hparams_from_archive(&m->hp, m->archive, &err), err);
    assert_ok(sp_weights_bind(&m->weights, &m->hp, m->archive, &err), err);
    assert_ok(sp_net_bind(&m->net, &m->hp, &m->weights, m->omega, &err), err);
    list_parameters(m);
    return m;
}

static void close_trainee(trainee *m)
{
    sp_weights_clear(&m->weights);
    sp_archive_close(m->archive);
    for (int i = 0; i < MAX_PARAMETERS; i++) sp_free(m->floats[i].data);
    free(m);
}

/* --- the loss ---------------------------------------------------------------------------------------------
 */

typedef struct golden {
    sp_json *root;
    sp_buf text, sketches;
    int32_t tokens[MAX_TOKENS], next[MAX_TOKENS], second[MAX_TOKENS], positions[MAX_TOKENS];
    sp_stretch stretches[4];
    sp_batch batch;
    double mtp_factor;
} golden;

/* Each sequence of n + 1 tokens is a stretch of n rows; row i predicts i + 1, its prediction layer i + 2. */
static golden *load_golden(const char *name)
{
    char path[256];
    sp_error err = SP_ERROR_NONE;
    golden *g = calloc(1, sizeof *g);
    snprintf(path, sizeof path, "tests/golden/gradients/%s.json", name);
    g->text = read_whole(test_path(path));
    assert_ok(sp_json_parse(g->text.data, g->text.len, &g->root, &err), err);
    snprintf(path, sizeof path, "tests/golden/gradients/%s.f32", name);
    g->sketches = read_whole(test_path(path));
    g->mtp_factor = sp_json_real(sp_json_get(g->root, "mtp_factor"), 0.0);
    const sp_json *sequences = sp_json_get(g->root, "sequences");
    int64_t row = 0;
    for (size_t s = 0; s < sp_json_size(sequences); s++) {
        const sp_json *sequence = sp_json_at(sequences, s);
        int64_t n = (int64_t)sp_json_size(sequence) - 1;
        g->stretches[s] = (sp_stretch){NULL, row, n, 0};
        for (int64_t i = 0; i < n; i++, row++) {
            g->positions[row] = (int32_t)i;
            g->tokens[row] = (int32_t)sp_json_int(sp_json_at(sequence, (size_t)i), -1);
            g->next[row] = (int32_t)sp_json_int(sp_json_at(sequence, (size_t)i + 1), -1);
            g->second[row] = i + 1 < n ? (int32_t)sp_json_int(sp_json_at(sequence, (size_t)i + 2), -1) : -1;
        }
    }
    g->batch = (sp_batch){.tokens = g->tokens,
                          .positions = g->positions,
                          .n_tokens = row,
                          .stretches = g->stretches,
                          .n_stretches = (int)sp_json_size(sequences)};
    return g;
}

static void free_golden(golden *g)
{
    sp_json_destroy(g->root);
    sp_buf_clear(&g->text);
    sp_buf_clear(&g->sketches);
    free(g);
}

/* The prediction layer returns logits, whose loss needs a head that changes nothing. */
static sp_tensor *identity(sp_ops *ops, int64_t n)
{
    sp_tensor *t = sp_ops_new(ops, n, n);
    memset(t->data, 0, (size_t)(n * n) * sizeof(float));
    for (int64_t i = 0; i < n; i++) ((float *)t->data)[i * n + i] = 1.0f;
    return t;
}

static sp_tensor *record_loss(sp_ops *ops, const trainee *m, const golden *g)
{
    sp_tensor *hidden = sp_net_forward(ops, &m->net, &g->batch);
    sp_tensor *loss = sp_op_cross_entropy(ops, hidden, m->weights.head, g->next);
    if (g->mtp_factor == 0.0) return loss;
    sp_batch shifted = g->batch;
    shifted.tokens = g->next;
    sp_tensor *logits = sp_net_predict(ops, &m->net, &m->weights.mtp[0], hidden, &shifted);
    sp_tensor *mtp = sp_op_cross_entropy(ops, logits, identity(ops, m->hp.vocab_size), g->second);
    return sp_op_add(ops, loss, sp_op_scale(ops, mtp, (float)g->mtp_factor));
}

/* One pass there and back; gradients of all parameters, one after the other, in `out`. */
static float differentiate(trainee *m, const golden *g, int threads, sp_buf *out)
{
    sp_error err = SP_ERROR_NONE;
    sp_arena *arena = sp_arena_create(1 << 20);
    sp_pool *pool;
    sp_ops ops;
    sp_tape tape = {0};
    assert_ok(sp_pool_create(&pool, threads, &err), err);
    sp_ops_init(&ops, pool, arena);
    ops.tape = &tape;
    for (int i = 0; i < m->n_parameters; i++) sp_tape_leaf(&ops, m->parameters[i].tensor);
    sp_tensor *loss = record_loss(&ops, m, g);
    assert_int_equal(ops.status, SP_OK);
    float one = 1.0f, value = *(float *)loss->data;
    sp_tape_backward(&ops, loss, &one);
    for (int i = 0; i < m->n_parameters; i++) {
        const sp_tensor *t = m->parameters[i].tensor;
        size_t n = (size_t)(sp_tensor_rows(t) * sp_tensor_cols(t));
        assert_ok(sp_buf_append(out, sp_tape_grad(&ops, t), n * sizeof(float), &err), err);
    }
    assert_int_equal(ops.status, SP_OK);
    sp_pool_destroy(pool);
    sp_arena_destroy(arena);
    return value;
}

/* --- comparison -------------------------------------------------------------------------------------------
 */

static uint64_t splitmix64(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* Estimated norm of (gradient - golden) over the golden's exact norm. */
static double compare_sketch(const float *grad, size_t n, const float *expected, double norm)
{
    double sums[N_SKETCH] = {0}, difference = 0.0;
    for (size_t j = 0; j < n; j++) {
        uint64_t signs = splitmix64(j);
        for (int k = 0; k < N_SKETCH; k++) sums[k] += signs >> k & 1 ? grad[j] : -grad[j];
    }
    for (int k = 0; k < N_SKETCH; k++) difference += (sums[k] - expected[k]) * (sums[k] - expected[k]);
    return sqrt(difference / N_SKETCH) / norm;
}

static double norm_of(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sqrt(sum);
}

static void check_model(const char *name)
{
    golden *g = load_golden(name);
    trainee *m = open_trainee(sp_json_string(sp_json_get(g->root, "model"), NULL));
    const sp_json *names = sp_json_get(g->root, "names"), *norms = sp_json_get(g->root, "norms");
    sp_buf grads = {NULL, 0, 0};
    float loss = differentiate(m, g, 2, &grads);
    double expected_loss = sp_json_real(sp_json_get(g->root, "loss"), 0.0), worst = 0.0;
    const float *grad = (const float *)(const void *)grads.data;
    size_t compared = 0;
    assert_true(fabs(loss / expected_loss - 1.0) < 1e-5);
    for (int i = 0; i < m->n_parameters; i++) {
        const parameter *p = &m->parameters[i];
        size_t n = (size_t)(sp_tensor_rows(p->tensor) * sp_tensor_cols(p->tensor)), at = 0;
        while (at < sp_json_size(names) && strcmp(sp_json_string(sp_json_at(names, at), NULL), p->name) != 0)
            at++;
        if (at < sp_json_size(names)) {
            const float *sketch = (const float *)(const void *)g->sketches.data + at * N_SKETCH;
            double norm = sp_json_real(sp_json_at(norms, at), 0.0),
                   error = compare_sketch(grad, n, sketch, norm);
            worst = fmax(worst, fmax(error, fabs(norm_of(grad, n) / norm - 1.0)));
            if (error > LIMIT) fail_msg("%s: %s: relative error %.2e", name, p->name, error);
            compared++;
        } else if (norm_of(grad, n) != 0.0) { /* an expert that no token chose */
            fail_msg("%s: %s has a gradient, which the reference has not", name, p->name);
        }
        grad += n;
    }
    assert_int_equal(compared, sp_json_size(names));
    printf("%-12s loss %.6f (%.6f), %zu of %d gradients not zero, largest relative error %.1e (limit %.0e)\n",
           name, loss, expected_loss, compared, m->n_parameters, worst, LIMIT);
    sp_buf_clear(&grads);
    close_trainee(m);
    free_golden(g);
}

static void gradients_agree_with_autograd(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) check_model(models[i]);
}

static void gradients_have_the_same_bits_for_any_number_of_threads(void **state)
{
    (void)state;
    static const char *const names[] = {"qwen2", "v2", "v3-mtp"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        golden *g = load_golden(names[i]);
        trainee *m = open_trainee(sp_json_string(sp_json_get(g->root, "model"), NULL));
        sp_buf one = {NULL, 0, 0};
        float loss = differentiate(m, g, 1, &one);
        for (int threads = 2; threads <= 4; threads++) {
            sp_buf many = {NULL, 0, 0};
            float same = differentiate(m, g, threads, &many);
            assert_memory_equal(&loss, &same, sizeof loss);
            assert_int_equal(one.len, many.len);
            assert_memory_equal(one.data, many.data, one.len);
            sp_buf_clear(&many);
        }
        sp_buf_clear(&one);
        close_trainee(m);
        free_golden(g);
    }
}

/* --- one answer -------------------------------------------------------------------------------------------
 */

typedef struct row_check {
    const sp_tensor *logits; /* (T, V) */
    size_t first;
    double worst; /* difference over the row's largest logit */
} row_check;

/* Without a product of whole matrices, recording changes no bit. With one, sums run in another order. */
static int compare_row(void *ctx, size_t position, const float *logits)
{
    row_check *check = ctx;
    size_t n = (size_t)sp_tensor_cols(check->logits);
    const float *recorded = sp_tensor_row(check->logits, (int64_t)(check->first + position));
    double largest = 0.0, difference = 0.0;
    if (!SP_HAVE_CBLAS && !sp_kernels_get()->gemm) assert_memory_equal(recorded, logits, n * sizeof *logits);
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(logits[i]));
        difference = fmax(difference, fabs(recorded[i] - logits[i]));
    }
    check->worst = fmax(check->worst, difference / largest);
    assert_true(difference <= INFERENCE_LIMIT * largest);
    return 0;
}

/* What a trainer sees, recorded, in one batch and without a cache, and what a session computes. */
static void a_recorded_pass_agrees_with_inference(void **state)
{
    (void)state;
    for (size_t i = 0; i + 1 < sizeof models / sizeof models[0]; i++) {
        char path[256];
        sp_error err = SP_ERROR_NONE;
        golden *g = load_golden(models[i]);
        trainee *m = open_trainee(models[i]);
        sp_arena *arena = sp_arena_create(1 << 20);
        sp_ops ops;
        sp_tape tape = {0};
        sp_ops_init(&ops, NULL, arena);
        ops.tape = &tape;
        row_check check = {sp_net_logits(&ops, &m->net, sp_net_forward(&ops, &m->net, &g->batch)), 0, 0.0};
        assert_int_equal(ops.status, SP_OK);
        sp_model *model;
        sp_session *session;
        sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
        options.cache_type = SP_CACHE_F32;
        options.n_threads = 2;
        snprintf(path, sizeof path, "tests/golden/models/%s", models[i]);
        assert_ok(sp_model_open(&model, test_path(path), &err), err);
        for (int s = 0; s < g->batch.n_stretches; s++) {
            check.first = (size_t)g->stretches[s].row;
            assert_ok(sp_session_create(&session, model, &options, &err), err);
            assert_ok(sp_session_score(session, g->tokens + check.first, (size_t)g->stretches[s].n_rows, 0,
                                       compare_row, &check, &err),
                      err);
            sp_session_destroy(session);
        }
        printf("%-12s recorded and inferred logits: largest difference %.1e\n", models[i], check.worst);
        sp_model_close(model);
        sp_arena_destroy(arena);
        close_trainee(m);
        free_golden(g);
    }
}

/* The n-th allocation of a pass there and back fails, for every n: a status, no crash, nothing lost. */
static void failed_allocations_leave_a_status(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-plain", "v3"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        golden *g = load_golden(names[i]);
        trainee *m = open_trainee(names[i]);
        sp_status status = SP_E_NOMEM;
        int64_t n = 0;
        for (; status != SP_OK; n++) {
            sp_arena *arena = sp_arena_create(1 << 13);
            sp_ops ops;
            sp_tape tape = {0};
            float one = 1.0f;
            sp_ops_init(&ops, NULL, arena);
            ops.tape = &tape;
            sp_mem_fail_after(n);
            for (int k = 0; k < m->n_parameters; k++) sp_tape_leaf(&ops, m->parameters[k].tensor);
            sp_tensor *loss = record_loss(&ops, m, g);
            if (loss) sp_tape_backward(&ops, loss, &one);
            sp_mem_fail_after(-1);
            status = ops.status;
            assert_true(status == SP_E_NOMEM || (status == SP_OK && loss));
            sp_arena_destroy(arena);
        }
        printf("%-12s %lld allocations failed, one by one\n", names[i], (long long)n - 1);
        close_trainee(m);
        free_golden(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_agree_with_autograd),
        cmocka_unit_test(gradients_have_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(a_recorded_pass_agrees_with_inference),
        cmocka_unit_test(failed_allocations_leave_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
