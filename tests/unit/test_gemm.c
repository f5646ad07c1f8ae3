/* SPDX-License-Identifier: MIT */
/* The product of float matrices of every table that has one: the bits that gemm.h promises, for shapes around registers,
 * tiles and pieces of k, both ways of either operand; elements outside C are left alone. */
#include "test_util.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tensor/kernels.h"

#define GAP 3 /* between rows of every matrix, and behind C */

/* Operands of one product: C as it was, as the specification has it, and as the kernel left it. */
typedef struct operands {
    sp_product p;
    float scale;
    bool add;
    float *a, *b, *before, *expected, *found;
    size_t c_floats;
} operands;

static float *draw(uint64_t stream, size_t n)
{
    float *x = malloc((n + 1) * sizeof *x);
    assert_non_null(x);
    sp_rng_normal(11, stream, 0, x, n);
    return x;
}

static void open_operands(operands *o, int64_t m, int64_t n, int64_t k, int form)
{
    bool a_turned = form & 1, b_turned = form & 2;
    int64_t a_step = (a_turned ? m : k) + GAP, b_step = (b_turned ? k : n) + GAP;
    o->c_floats = (size_t)(m * (n + GAP));
    o->a = draw(1, (size_t)((a_turned ? k : m) * a_step));
    o->b = draw(2, (size_t)((b_turned ? n : k) * b_step));
    o->before = draw(3, o->c_floats);
    o->expected = malloc(o->c_floats * sizeof(float));
    o->found = malloc(o->c_floats * sizeof(float));
    assert_true(o->expected && o->found);
    memcpy(o->expected, o->before, o->c_floats * sizeof(float));
    memcpy(o->found, o->before, o->c_floats * sizeof(float));
    o->p = (sp_product){m,
                        n,
                        k,
                        o->a,
                        a_turned ? 1 : a_step,
                        a_turned ? a_step : 1,
                        o->b,
                        b_turned ? 1 : b_step,
                        b_turned ? b_step : 1,
                        o->found,
                        n + GAP};
    o->scale = form & 4 ? 0.7f : 1.0f;
    o->add = form & 8;
}

static void close_operands(operands *o)
{
    free(o->a);
    free(o->b);
    free(o->before);
    free(o->expected);
    free(o->found);
}

static float sum_piece(const sp_product *p, int64_t i, int64_t j, int64_t begin)
{
    float sum = 0.0f;
    for (int64_t l = begin; l < p->k && l < begin + SP_GEMM_PIECE; l++)
        sum = fmaf(p->a[i * p->a_row + l * p->a_col], p->b[l * p->b_row + j * p->b_col], sum);
    return sum;
}

static void specify(const operands *o, float *c)
{
    const sp_product *p = &o->p;
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            float *y = c + i * p->c_row + j;
            float first = sum_piece(p, i, j, 0);
            *y = o->add ? fmaf(o->scale, first, *y) : o->scale * first;
            for (int64_t l = SP_GEMM_PIECE; l < p->k; l += SP_GEMM_PIECE)
                *y = fmaf(o->scale, sum_piece(p, i, j, l), *y);
        }
}

static void compare(const sp_kernels *k, int64_t m, int64_t n, int64_t depth)
{
    for (int form = 0; form < 16; form++) {
        operands o;
        open_operands(&o, m, n, depth, form);
        specify(&o, o.expected);
        k->gemm(&o.p, o.scale, o.add);
        assert_memory_equal(o.expected, o.found, o.c_floats * sizeof(float));
        close_operands(&o);
    }
}

static void products_have_the_promised_bits(void **state)
{
    (void)state;
    static const int64_t depths[] = {0, 1, 15, 16, 17, 33, 255, 256, 257, 600};
    for (int isa = 0; isa < SP_ISA_COUNT; isa++) {
        const sp_kernels *k = sp_kernels_for((sp_isa)isa);
        if (!k || !k->gemm) continue;
        for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) compare(k, 7, 70, depths[d]);
        for (int64_t m = 0; m <= 26; m++) compare(k, m, 64, 20);
        for (int64_t n = 0; n <= 130; n++) compare(k, 13, n, 20);
    }
}

/* Tile for tile as all at once, whatever the borders. */
static void a_cut_of_c_changes_no_bit(void **state)
{
    (void)state;
    for (int isa = 0; isa < SP_ISA_COUNT; isa++) {
        const sp_kernels *k = sp_kernels_for((sp_isa)isa);
        if (!k || !k->gemm) continue;
        for (int form = 0; form < 16; form++) {
            operands o;
            open_operands(&o, 50, 90, 300, form);
            k->gemm(&o.p, o.scale, o.add);
            for (int64_t i = 0; i < 50; i += 19)
                for (int64_t j = 0; j < 90; j += 41) {
                    sp_product part = o.p;
                    part.m = i + 19 < 50 ? 19 : 50 - i;
                    part.n = j + 41 < 90 ? 41 : 90 - j;
                    part.a += i * part.a_row;
                    part.b += j * part.b_col;
                    part.c = o.expected + i * part.c_row + j;
                    k->gemm(&part, o.scale, o.add);
                }
            assert_memory_equal(o.expected, o.found, o.c_floats * sizeof(float));
            close_operands(&o);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_have_the_promised_bits),
        cmocka_unit_test(a_cut_of_c_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
