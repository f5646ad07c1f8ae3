/* SPDX-License-Identifier: MIT */
/* Rows of the kernel table for training: every instruction set has the bits of the scalar version, for all lengths
 * around whole registers, from unaligned rows. */
#include "test_util.h"

#include "base/rng.h"
#include "tensor/kernels.h"

#define MAX_N 70

typedef struct rows {
    float a[MAX_N + 1], b[MAX_N + 1], c[MAX_N + 1], d[MAX_N + 1], e[MAX_N + 1];
} rows;

static void draw(rows *r)
{
    sp_rng_normal(7, 0, 0, &r->a[0], sizeof *r / sizeof(float));
    for (int i = 0; i <= MAX_N; i++) r->a[i] *= i % 5 ? 1.0f : 60.0f; /* saturates the logistic function */
}

/* Everything that a table computes on rows of n floats. */
static void run_all(const sp_kernels *k, size_t n, rows *r, float *dot)
{
    const float rc[2] = {0.7f, -0.3f};
    float *a = r->a + 1, *b = r->b + 1, *c = r->c + 1, *d = r->d + 1, *e = r->e + 1;
    *dot = k->dot_product(n, a, b, c);
    k->swiglu_grad(n, a, b, c, d, e);
    k->norm_grad(n, rc, b, c, d, e);
    k->softmax_grad(n, 0.2f, 0.5f, c, e);
    k->axpy_product(n, 0.4f, b, c, d);
    k->sum(n, d, e, c);
    k->sigmoid(n, a, b);
    k->sigmoid(n, a, a);
}

static void every_instruction_set_has_the_bits_of_the_scalar_rows(void **state)
{
    (void)state;
    for (int isa = 0; isa < SP_ISA_COUNT; isa++) {
        const sp_kernels *k = sp_kernels_for((sp_isa)isa), *scalar = sp_kernels_for(SP_ISA_SCALAR);
        for (size_t n = 0; k && n < MAX_N; n++) {
            rows expected, found;
            float sum, other;
            draw(&expected);
            draw(&found);
            run_all(scalar, n, &expected, &sum);
            run_all(k, n, &found, &other);
            assert_memory_equal(&expected, &found, sizeof found);
            assert_memory_equal(&sum, &other, sizeof sum);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_has_the_bits_of_the_scalar_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
