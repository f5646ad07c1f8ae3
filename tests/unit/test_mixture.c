/* SPDX-License-Identifier: MIT */
/* Mixtures: the types that llama-quantize gives to the same tensors (its output on a 24-layer llama with 4 query heads per
 * key-value head and on a 20-block deepseek2, and a published V2-Lite file's count of types). */
#include "format_testing.h"

#include "model/layout.h"
#include "model/mixture.h"
#include "model/shapes.h"

typedef struct expectation {
    const char *mixture, *name;
    int64_t rows, cols;
    sp_dtype dtype;
} expectation;

#define T(x) SP_DTYPE_##x

static const expectation llama24[] = {
    {"q4_k_m", "output.weight", 1024, 512, T(Q6_K)},
    {"q4_k_m", "token_embd.weight", 1024, 512, T(Q4_K)},
    {"q4_k_m", "blk.0.attn_v.weight", 128, 512, T(Q6_K)},
    {"q4_k_m", "blk.3.attn_v.weight", 128, 512, T(Q4_K)},
    {"q4_k_m", "blk.5.attn_v.weight", 128, 512, T(Q6_K)},
    {"q4_k_m", "blk.20.attn_v.weight", 128, 512, T(Q6_K)},
    {"q4_k_m", "blk.21.attn_v.weight", 128, 512, T(Q6_K)},
    {"q4_k_m", "blk.4.ffn_down.weight", 512, 1024, T(Q4_K)},
    {"q4_k_m", "blk.4.ffn_down.weight", 512, 1408, T(Q5_0)}, /* no multiple of 256 */
    {"q4_k_m", "blk.5.ffn_down.weight", 512, 1408, T(Q8_0)},
    {"q4_k_m", "blk.5.ffn_down.weight", 512, 1400, T(F16)}, /* nor of 32 */
    {"q4_k_m", "blk.5.attn_output.weight", 512, 512, T(Q4_K)},
    {"q4_k_m", "blk.5.ffn_gate_inp.weight", 64, 512, T(F32)},
    {"q4_k_s", "blk.3.attn_v.weight", 128, 512, T(Q5_K)},
    {"q4_k_s", "blk.4.attn_v.weight", 128, 512, T(Q4_K)},
    {"q4_k_s", "blk.2.ffn_down.weight", 512, 1024, T(Q5_K)},
    {"q4_k_s", "blk.3.ffn_down.weight", 512, 1024, T(Q4_K)},
    {"q3_k_m", "blk.1.attn_v.weight", 128, 512, T(Q5_K)},
    {"q3_k_m", "blk.2.attn_v.weight", 128, 512, T(Q4_K)},
    {"q3_k_m", "blk.0.ffn_down.weight", 512, 1024, T(Q5_K)},
    {"q3_k_m", "blk.1.ffn_down.weight", 512, 1024, T(Q4_K)},
    {"q3_k_m", "blk.1.attn_output.weight", 512, 512, T(Q4_K)},
    {"q3_k_m", "blk.1.attn_q.weight", 512, 512, T(Q3_K)},
    {"q2_k", "blk.9.attn_v.weight", 128, 512, T(Q4_K)},
    {"q2_k", "blk.9.ffn_down.weight", 512, 1024, T(Q3_K)},
    {"q2_k", "blk.9.ffn_down.weight", 512, 1408, T(Q4_0)},
    {"q2_k", "blk.9.attn_output.weight", 512, 512, T(Q3_K)},
    {"q2_k", "blk.9.attn_k.weight", 128, 512, T(Q2_K)},
    {"Q2_K_M", "blk.9.attn_k.weight", 128, 512, T(Q2_K)},
    {"q5_k_m", "blk.0.attn_v.weight", 128, 512, T(Q6_K)},
    {"q5_k_m", "blk.3.attn_v.weight", 128, 512, T(Q5_K)},
    {"q5_k_m", "blk.3.ffn_down.weight", 512, 1408, T(Q5_1)},
    {"q5_k_s", "blk.0.attn_v.weight", 128, 512, T(Q5_K)},
    {"q6_k", "blk.0.ffn_down.weight", 512, 1408, T(Q8_0)},
    {"q8_0", "output.weight", 1024, 512, T(Q8_0)},
    {"q4_0", "output.weight", 1024, 512, T(Q6_K)},
    {"q4_k", "blk.0.attn_v.weight", 128, 512, T(Q4_K)}, /* a plain name is what it says */
    {"iq4_xs", "blk.0.ffn_down.weight", 512, 1408, T(IQ4_NL)},
    {"bf16", "blk.0.ffn_down.weight", 512, 1408, T(BF16)},
    {"f16", "blk.0.attn_q_norm.weight", 0, 64, T(F32)},
    {"q8_0", "blk.0.attn_q.bias", 0, 512, T(F32)},
};

static sp_dtype choose(const char *mixture, const sp_mixture_facts *facts, const expectation *e)
{
    sp_error err = SP_ERROR_NONE;
    const sp_mixture *m;
    int64_t shape[] = {e->rows, e->cols};
    assert_ok(sp_mixture_find(&m, mixture, &err), &err);
    return sp_mixture_choose(m, facts, e->name, e->rows ? 2 : 1, e->rows ? shape : shape + 1);
}

static void types_are_those_of_the_field(void **state)
{
    (void)state;
    const sp_mixture_facts facts = {.n_blocks = 24, .heads_per_kv = 4};
    for (size_t i = 0; i < sizeof llama24 / sizeof llama24[0]; i++) {
        const expectation *e = &llama24[i];
        sp_dtype got = choose(e->mixture, &facts, e);
        if (got != e->dtype) {
            fail_msg("%s %s: expected %s, got %s", e->mixture, e->name, sp_dtype_get(e->dtype)->name,
                     sp_dtype_get(got)->name);
        }
    }
}

static void shapes_change_the_rules(void **state)
{
    (void)state;
    const expectation v = {NULL, "blk.40.attn_v.weight", 1024, 8192, T(Q4_K)};
    const expectation embd = {NULL, "token_embd.weight", 1024, 512, T(Q6_K)};
    assert_int_equal(choose("q4_k_m", &(sp_mixture_facts){80, 8, false}, &v), T(Q5_K)); /* 70B */
    assert_int_equal(choose("q4_k_m", &(sp_mixture_facts){80, 1, false}, &v), T(Q4_K));
    assert_int_equal(choose("q2_k", &(sp_mixture_facts){32, 1, false}, &v), T(Q3_K)); /* each head its own */
    assert_int_equal(choose("q4_k_m", &(sp_mixture_facts){32, 1, true}, &embd), T(Q6_K)); /* tied */
}

/* A published V2-Lite Q4_K_M holds 14 Q5_0, 13 Q8_0 among its 27 ffn_down tensors; ours, with kv_b split, has the same
 * number of each among them. */
static void v2_lite_mixes_as_published(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_hparams hp;
    sp_layout layout;
    const sp_mixture *m;
    assert_ok(sp_shape_find(&hp, "deepseek-v2-lite", &err), &err);
    assert_ok(sp_layout_build(&layout, &hp, 0, &err), &err);
    assert_ok(sp_mixture_find(&m, "q4_k_m", &err), &err);
    const sp_mixture_facts facts = {.n_blocks = 27, .heads_per_kv = 1};
    int q5_0 = 0, q8_0 = 0;
    for (size_t i = 0; i < layout.n; i++) {
        const sp_layout_item *item = &layout.items[i];
        if (!strstr(item->name, "ffn_down") || strstr(item->name, "shexp")) continue;
        sp_dtype dtype = sp_mixture_choose(m, &facts, item->name, item->n_dims, item->shape);
        q5_0 += dtype == SP_DTYPE_Q5_0;
        q8_0 += dtype == SP_DTYPE_Q8_0;
    }
    assert_int_equal(q5_0, 14);
    assert_int_equal(q8_0, 13);
    sp_layout_clear(&layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_those_of_the_field),
        cmocka_unit_test(shapes_change_the_rules),
        cmocka_unit_test(v2_lite_mixes_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
