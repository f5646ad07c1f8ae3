/* SPDX-License-Identifier: MIT */
/* Recomputation of activations: the bits of a pass that keeps them, in less memory; inputs kept as bfloat16 are
 * what the forward pass went on from; failed allocations leave a status. */
#include "test_util.h"

#include "base/rng.h"
#include "ops/ops.h"

enum { T = 48, H = 32, F = 80, HEADS = 4, LAYERS = 4, N_WEIGHTS = 8 };

typedef enum way { KEEP, AGAIN, AGAIN_HALF, KEEP_ROUNDED } way;

/* Weights of the layers with their gradients, and what a run leaves. */
typedef struct stack {
    sp_tensor w[LAYERS][N_WEIGHTS];
    float values[LAYERS][N_WEIGHTS][F * H], grads[LAYERS][N_WEIGHTS][F * H];
    float x[T * H], y[T * H], dx[T * H];
    size_t most; /* bytes of the arena at the end of a layer, at most */
} stack;

typedef struct layer {
    stack *s;
    int i;
} layer;

static const int64_t shapes[N_WEIGHTS][2] = {{1, H}, {H, H}, {H, H}, {H, H}, {1, H}, {F, H}, {F, H}, {H, F}};

static sp_tensor *run_layer(sp_ops *ops, const sp_tensor *x, const void *ctx)
{
    const layer *l = ctx;
    const sp_tensor *w = l->s->w[l->i];
    sp_tensor *n = sp_op_rms_norm(ops, x, &w[0], 1e-5f);
    sp_tensor *q = sp_op_linear(ops, n, &w[1], NULL), *k = sp_op_linear(ops, n, &w[2], NULL),
              *v = sp_op_linear(ops, n, &w[3], NULL);
    sp_attend attend = {HEADS, HEADS, H / HEADS, H / HEADS, 0.3f};
    sp_span spans[2] = {{0, 17, 0, sp_op_rows(ops, k, 0, 17), sp_op_rows(ops, v, 0, 17)},
                        {17, T - 17, 0, sp_op_rows(ops, k, 17, T - 17), sp_op_rows(ops, v, 17, T - 17)}};
    sp_tensor *y = sp_op_add(ops, x, sp_op_attention(ops, q, &attend, spans, 2));
    n = sp_op_rms_norm(ops, y, &w[4], 1e-5f);
    sp_tensor *gate = sp_op_linear(ops, n, &w[5], NULL), *up = sp_op_linear(ops, n, &w[6], NULL);
    y = sp_op_add(ops, y, sp_op_linear(ops, sp_op_swiglu(ops, gate, up), &w[7], NULL));
    size_t used = sp_arena_used(ops->arena);
    if (used > l->s->most) l->s->most = used;
    return y;
}

static stack *new_stack(void)
{
    stack *s = calloc(1, sizeof *s);
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < N_WEIGHTS; i++) {
            sp_rng_normal(3, (uint64_t)(l * N_WEIGHTS + i), 0, s->values[l][i], F * H);
            for (int j = 0; j < F * H; j++) s->values[l][i][j] *= 0.2f;
            s->w[l][i] = (sp_tensor){.dtype = SP_DTYPE_F32,
                                     .n_dims = 2,
                                     .shape = {shapes[i][0], shapes[i][1], 1, 1},
                                     .row_bytes = (size_t)shapes[i][1] * sizeof(float),
                                     .data = s->values[l][i]};
        }
    sp_rng_normal(4, 0, 0, s->x, T * H);
    return s;
}

static void round_values(float *x, int n)
{
    uint16_t half[T * H];
    sp_dtype_pack(SP_DTYPE_BF16, x, half, (size_t)n, NULL);
    sp_kernels_get()->unpack[SP_DTYPE_BF16]((size_t)n, half, x);
}

/* Rounds where a recomputed layer would, recorded as the identity. */
static const sp_tensor *round_input(const sp_tensor *x)
{
    round_values((float *)x->data, T * H);
    return x;
}

/* Forward and backward of the whole stack; dy is x once more. */
static sp_status run_stack(stack *s, way how, int threads)
{
    sp_error err = SP_ERROR_NONE;
    sp_pool *pool = NULL;
    sp_arena *arena = sp_arena_create(1 << 12);
    sp_tape tape = {0};
    sp_ops ops;
    if (threads > 1) assert_ok(sp_pool_create(&pool, threads, &err), err);
    memset(s->grads, 0, sizeof s->grads);
    memset(s->dx, 0, sizeof s->dx);
    s->most = 0;
    sp_ops_init(&ops, pool, arena);
    ops.tape = &tape;
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < N_WEIGHTS; i++) sp_tape_parameter(&ops, &s->w[l][i], s->grads[l][i]);
    sp_tensor *input = sp_ops_new(&ops, T, H);
    if (input) memcpy(input->data, s->x, sizeof s->x);
    if (input) sp_tape_parameter(&ops, input, s->dx);
    const sp_tensor *x = input;
    for (int l = 0; l < LAYERS && x; l++) {
        layer ctx = {s, l};
        sp_recompute r = {run_layer, &ctx, sizeof ctx, how == AGAIN_HALF};
        if (how == KEEP_ROUNDED) round_input(x);
        x = how == AGAIN || how == AGAIN_HALF ? sp_op_recompute(&ops, x, &r) : run_layer(&ops, x, &ctx);
    }
    if (x) memcpy(s->y, x->data, sizeof s->y);
    if (x) sp_tape_backward(&ops, x, s->x);
    sp_status status = ops.status;
    sp_pool_destroy(pool);
    sp_arena_destroy(arena);
    return status;
}

static void check_same(const stack *a, const stack *b)
{
    assert_memory_equal(a->y, b->y, sizeof a->y);
    assert_memory_equal(a->dx, b->dx, sizeof a->dx);
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < N_WEIGHTS; i++)
            assert_memory_equal(a->grads[l][i], b->grads[l][i], sizeof a->grads[l][i]);
}

static void recomputation_changes_no_bit_and_needs_less_memory(void **state)
{
    (void)state;
    stack *kept = new_stack(), *again = new_stack();
    for (int threads = 1; threads <= 3; threads++) {
        assert_int_equal(run_stack(kept, KEEP, threads), SP_OK);
        assert_int_equal(run_stack(again, AGAIN, threads), SP_OK);
        check_same(kept, again);
    }
    printf("arena at the end of a layer, at most: %zu bytes, recomputed %zu\n", kept->most, again->most);
    assert_true(again->most < kept->most / 2);
    free(kept);
    free(again);
}

static void inputs_kept_as_bfloat16_are_what_the_forward_pass_goes_on_from(void **state)
{
    (void)state;
    stack *rounded = new_stack(), *half = new_stack();
    assert_int_equal(run_stack(rounded, KEEP_ROUNDED, 2), SP_OK);
    assert_int_equal(run_stack(half, AGAIN_HALF, 2), SP_OK);
    check_same(rounded, half);
    free(rounded);
    free(half);
}

static void failed_allocations_leave_a_status(void **state)
{
    (void)state;
    static const way ways[] = {AGAIN, AGAIN_HALF};
    for (int i = 0; i < 2; i++) {
        stack *s = new_stack();
        sp_status status = SP_E_NOMEM;
        int n = 0;
        for (; status != SP_OK; n++) {
            sp_mem_fail_after(n + 1); /* the arena itself is there */
            status = run_stack(s, ways[i], 1);
            sp_mem_fail_after(-1);
            assert_true(status == SP_OK || status == SP_E_NOMEM);
        }
        printf("%d allocations failed, one by one\n", n - 1);
        free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recomputation_changes_no_bit_and_needs_less_memory),
        cmocka_unit_test(inputs_kept_as_bfloat16_are_what_the_forward_pass_goes_on_from),
        cmocka_unit_test(failed_allocations_leave_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
