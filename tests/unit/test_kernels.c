/* SPDX-License-Identifier: MIT */
/* Kernels: every instruction set's row gives the bits of the scalar row, on random data, on extremes, at odd
 * sizes and addresses, and without touching a byte outside its rows (guard pages). Also the exponential and
 * the activation rows against their definitions. With SP_NO_CMOCKA it is a plain program (for emulated
 * machines). */
#include "kernel_testing.h"
#include "matmul_testing.h"

#include <stdarg.h>
#include <setjmp.h>

#ifndef SP_NO_CMOCKA
#include <cmocka.h>
#endif

/* --- checks; each returns a count of failures --- */

static float dot_of(const sp_kernels *k, sp_dtype dtype, size_t n, const void *w, const void *x)
{
    float y = 0;
    sp_matmul m = {n, w, 0, 1, x, 0, 1, &y, 1, NULL, 0, NULL};
    k->matmul[dtype](&m);
    return y;
}

/* One row of one dtype: activation, dot, unpack. */
static int check_row(const sp_kernels *k, sp_dtype dtype, size_t n, fill how, size_t shift)
{
    const sp_kernels *s = sp_kernels_for(SP_ISA_SCALAR);
    const sp_dtype_info *info = sp_dtype_get(dtype);
    size_t w_bytes = sp_dtype_row_bytes(dtype, n), x_bytes = sp_act_row_bytes(info->act, n);
    size_t elem = info->block > 1 ? 1 : info->block_bytes;
    guarded w = map_guarded(w_bytes, shift * elem), src = map_guarded(4 * n, 4 * shift);
    guarded x = map_guarded(x_bytes, 4 * shift), x2 = map_guarded(x_bytes, 0);
    guarded y = map_guarded(4 * n, 4 * shift), y2 = map_guarded(4 * n, 0);
    int bad = 0;

    fill_row(dtype, n, how, w.data);
    fill_vector(n, how, (float *)src.data);
    k->quantize[info->act](n, (const float *)src.data, x.data);
    s->quantize[info->act](n, (const float *)src.data, x2.data);
    bad += report(memcmp(x.data, x2.data, x_bytes) != 0, k, "activation for", info->name, n);
    bad += report(differs(dot_of(k, dtype, n, w.data, x.data), dot_of(s, dtype, n, w.data, x.data)), k, "dot",
                  info->name, n);
    k->unpack[dtype](n, w.data, (float *)y.data);
    s->unpack[dtype](n, w.data, (float *)y2.data);
    bad += report(count_diffs(n, (float *)y.data, (float *)y2.data), k, "unpack", info->name, n);

    unmap_guarded(&w);
    unmap_guarded(&src);
    unmap_guarded(&x);
    unmap_guarded(&x2);
    unmap_guarded(&y);
    unmap_guarded(&y2);
    return bad;
}

static int check_dtypes(const sp_kernels *k)
{
    static const size_t counts[] = {1, 2, 3, 5, 8, 9, 17, 32};
    int bad = 0;
    for (int t = 0; t < SP_DTYPE_COUNT; t++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            size_t n = counts[c] * sp_dtype_get((sp_dtype)t)->block;
            for (int how = 0; how < FILL_COUNT; how++) {
                for (size_t shift = 0; shift < 4; shift++)
                    bad += check_row(k, (sp_dtype)t, n, (fill)how, shift);
            }
            for (int round = 0; round < 20; round++) bad += check_row(k, (sp_dtype)t, n, FILL_RANDOM, 0);
        }
    }
    return bad;
}

/* All 65,536 halves and bfloats and 256 E4M3 codes, infinities and NaN included. */
static int check_short_floats(const sp_kernels *k)
{
    const sp_kernels *s = sp_kernels_for(SP_ISA_SCALAR);
    static uint16_t codes[65536];
    static float a[65536], b[65536];
    uint8_t bytes[256];
    int bad = 0;
    for (int i = 0; i < 65536; i++) codes[i] = (uint16_t)i;
    for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i;
    k->unpack[SP_DTYPE_F16](65536, codes, a);
    s->unpack[SP_DTYPE_F16](65536, codes, b);
    bad += report(count_diffs(65536, a, b), k, "unpack", "all f16", 65536);
    k->unpack[SP_DTYPE_BF16](65536, codes, a);
    s->unpack[SP_DTYPE_BF16](65536, codes, b);
    bad += report(count_diffs(65536, a, b), k, "unpack", "all bf16", 65536);
    k->unpack[SP_DTYPE_F8_E4M3](256, bytes, a);
    s->unpack[SP_DTYPE_F8_E4M3](256, bytes, b);
    return bad + report(count_diffs(256, a, b), k, "unpack", "all f8_e4m3", 256);
}

/* The same codes as weights: a row holds one of them and zeros, and meets ones. */
static int check_short_products(const sp_kernels *k, sp_dtype dtype, int n_codes, int64_t n_x)
{
    enum { N = 64, MOST_X = 13 };
    const sp_kernels *s = sp_kernels_for(SP_ISA_SCALAR);
    static float x[MOST_X * N], a[MOST_X * 65536], b[MOST_X * 65536];
    size_t bytes = sp_dtype_row_bytes(dtype, N), element = bytes / N;
    guarded w = map_guarded((size_t)n_codes * bytes, 0);
    memset(w.data, 0, (size_t)n_codes * bytes);
    for (int i = 0; i < n_codes; i++)
        memcpy(w.data + (size_t)i * bytes + (size_t)(i % N) * element, &i, element);
    for (int i = 0; i < MOST_X * N; i++) x[i] = 1.0f;
    sp_matmul m = {N, w.data, bytes, n_codes, x, sizeof(float) * N, n_x, a, n_codes, NULL, 0, NULL};
    k->matmul[dtype](&m);
    m.y = b;
    s->matmul[dtype](&m);
    unmap_guarded(&w);
    return report(count_diffs((size_t)n_codes * (size_t)n_x, a, b), k, "products of all codes",
                  sp_dtype_get(dtype)->name, N);
}

static int check_all_short_products(const sp_kernels *k)
{
    static const int64_t n_x[] = {1, 3, 13}; /* one row, few, many */
    int bad = 0;
    for (int i = 0; i < 3; i++) {
        bad += check_short_products(k, SP_DTYPE_F16, 65536, n_x[i]);
        bad += check_short_products(k, SP_DTYPE_BF16, 65536, n_x[i]);
        bad += check_short_products(k, SP_DTYPE_F8_E4M3, 256, n_x[i]);
    }
    return bad;
}

static int check_vectors(const sp_kernels *k, size_t n, fill how)
{
    const sp_kernels *s = sp_kernels_for(SP_ISA_SCALAR);
    guarded gx = map_guarded(4 * n, 0), gw = map_guarded(4 * n, 4), ga = map_guarded(4 * n, 0);
    guarded gb = map_guarded(4 * n, 8);
    float *x = (float *)gx.data, *w = (float *)gw.data, *a = (float *)ga.data, *b = (float *)gb.data;
    int bad = 0;
    fill_vector(n, how, x);
    fill_vector(n, how == FILL_LOW ? FILL_HIGH : how, w);

    bad += report(differs(k->sum_squares(n, x), s->sum_squares(n, x)), k, "sum_squares", "", n);
    bad += report(differs(k->max(n, x), s->max(n, x)), k, "max", "", n);
    memcpy(a, w, 4 * n);
    memcpy(b, w, 4 * n);
    k->axpy(n, 0.3f, x, a);
    s->axpy(n, 0.3f, x, b);
    k->add(n, x, a);
    s->add(n, x, b);
    k->scale(n, -1.7f, a);
    s->scale(n, -1.7f, b);
    bad += report(count_diffs(n, a, b), k, "axpy, add, scale", "", n);
    k->scale_mul(n, 0.7f, x, w, a);
    s->scale_mul(n, 0.7f, x, w, b);
    bad += report(count_diffs(n, a, b), k, "scale_mul", "", n);
    memcpy(a, x, 4 * n);
    memcpy(b, x, 4 * n);
    k->swiglu(n, a, w, a); /* in place */
    s->swiglu(n, b, w, b);
    bad += report(count_diffs(n, a, b), k, "swiglu", "", n);
    memcpy(a, x, 4 * n);
    memcpy(b, x, 4 * n);
    bad += report(differs(k->exp_sum(n, 0.5f, a), s->exp_sum(n, 0.5f, b)), k, "exp_sum", "", n);
    bad += report(count_diffs(n, a, b), k, "exp_sum elements", "", n);

    unmap_guarded(&gx);
    unmap_guarded(&gw);
    unmap_guarded(&ga);
    unmap_guarded(&gb);
    return bad;
}

static int check_adamw(const sp_kernels *k, size_t n)
{
    static const sp_adamw constants = {0.7f, 0.9f, 0.1f, 0.95f, 0.05f, 1.3f, 1e-8f, 1e-3f, 0.9999f};
    const sp_kernels *s = sp_kernels_for(SP_ISA_SCALAR);
    guarded rows[7]; /* g, then w, m, v twice */
    float *p[7];
    int bad = 0;
    for (int i = 0; i < 7; i++) {
        rows[i] = map_guarded(4 * n, (size_t)(i % 3) * 4);
        p[i] = (float *)rows[i].data;
        if (i < 4) fill_vector(n, FILL_RANDOM, p[i]);
        if (i == 3)
            for (size_t j = 0; j < n; j++) p[i][j] = fabsf(p[i][j]);
        if (i > 3) memcpy(p[i], p[i - 3], 4 * n);
    }
    p[0][0] = 0.0f; /* a gradient that never came */
    for (int i = 1; i < 7; i++) p[i][0] = 0.0f;
    for (int round = 0; round < 3; round++) {
        k->adamw(n, &constants, p[0], p[1], p[2], p[3]);
        s->adamw(n, &constants, p[0], p[4], p[5], p[6]);
    }
    for (int i = 1; i < 4; i++) bad += report(count_diffs(n, p[i], p[i + 3]), k, "adamw", "", n);
    bad += report(p[1][0] != 0.0f, k, "adamw of zeros", "", n);
    for (int i = 0; i < 7; i++) unmap_guarded(&rows[i]);
    return bad;
}

static int check_all_vectors(const sp_kernels *k)
{
    int bad = 0;
    for (size_t n = 1; n <= 40; n++) bad += check_adamw(k, n);
    for (size_t n = 1; n <= 40; n++) {
        for (int how = 0; how < FILL_COUNT; how++) bad += check_vectors(k, n, (fill)how);
    }
    for (int i = 0; i < 20; i++) bad += check_vectors(k, 1000 + (size_t)i, FILL_RANDOM);
    return bad;
}

/* The wide exponential at every kind of argument, NaN and infinities too. */
static int check_exp(const sp_kernels *k)
{
    static float a[4096], b[4096];
    int bad = 0;
    for (int round = 0; round < 64; round++) {
        for (int i = 0; i < 4096; i++) a[i] = draw_float(round < 32 ? 120.0f : 1.0f);
        const float special[] = {0.0f,   -0.0f, INFINITY, -INFINITY, NAN,     88.72f,
                                 88.73f, 89.5f, -87.4f,   -103.9f,   -104.1f, 1e-40f};
        memcpy(a, special, sizeof special);
        memcpy(b, a, sizeof a);
        float sum = k->exp_sum(4096, 0.0f, a);
        for (int i = 0; i < 4096; i++) b[i] = sp_expf(b[i]);
        bad += report(count_diffs(4096, a, b), k, "exp", "", 4096);
        bad += !isnan(sum);
    }
    return bad;
}

static int check_isa(sp_isa isa)
{
    const sp_kernels *k = sp_kernels_for(isa);
    if (!k) {
        printf("instruction set %d: not on this machine, skipped\n", (int)isa);
        return 0;
    }
    return check_dtypes(k) + check_short_floats(k) + check_all_short_products(k) + check_all_vectors(k) +
           check_exp(k);
}

/* sp_expf against double precision, in units of the last place of a normal result. */
static int check_expf_error(void)
{
    int bad = 0;
    double worst = 0;
    for (int i = 0; i < 2000000; i++) {
        float x = -87.3f + (float)i * (176.0f / 2000000.0f);
        double exact = exp((double)x);
        double ulp = ldexp(1.0, ilogb(exact) - 23);
        double error = fabs((double)sp_expf(x) - exact) / ulp;
        if (error > worst) worst = error;
    }
    bad += worst > 2.0;
    for (int i = 0; i < 1000; i++) { /* subnormal results: half a unit of 2^-149, nearly */
        float x = -104.0f + (float)i * 0.0166f;
        bad += fabs((double)sp_expf(x) - exp((double)x)) > 1.01 * 0x1p-149;
    }
    bad += sp_expf(-104.1f) != 0.0f || sp_expf(-INFINITY) != 0.0f || sp_expf(0.0f) != 1.0f;
    bad += !isinf(sp_expf(88.8f)) || !isinf(sp_expf(INFINITY)) || !isnan(sp_expf(NAN));
    printf("sp_expf: largest error %.3f ulp\n", worst);
    return bad;
}

/* Activation rows: |x - d q| <= d / 2, sums right, zeros and non-finite values as promised. */
/* Scales are halves where halves are normal, and survive where they are not. */
static int check_activation_scales(const sp_kernels *k)
{
    float x[64] = {0};
    sp_act_q8 q8[2];
    x[3] = 0.37f;
    x[40] = -1e-9f;
    k->quantize[SP_ACT_Q8](64, x, q8);
    int bad = q8[0].d != sp_f16_to_f32(sp_f32_to_f16(0.37f / 127.0f)) || q8[0].q[3] != 127;
    bad += fabsf(q8[1].d * (float)q8[1].q[8] / -1e-9f - 1.0f) > 1e-6f;
    return bad;
}

static int check_activations(const sp_kernels *k)
{
    float x[512];
    sp_act_q8 q8[16];
    sp_act_q8k q8k[2];
    int bad = check_activation_scales(k);
    fill_vector(512, FILL_RANDOM, x);
    k->quantize[SP_ACT_Q8](512, x, q8);
    k->quantize[SP_ACT_Q8K](512, x, q8k);
    for (int i = 0; i < 512; i++) {
        float d = q8[i / 32].d, dk = q8k[i / 256].d;
        float back = d * (float)q8[i / 32].q[i % 32]; /* d itself is rounded to half precision */
        bad += fabsf(x[i] - back) > 0.5001f * d + fabsf(back) * 0x1.0p-11f;
        bad += fabsf(x[i] - dk * (float)q8k[i / 256].q[i % 256]) > 0.5001f * dk;
    }
    for (int b = 0; b < 32; b++) {
        int sum = 0;
        for (int i = 0; i < 16; i++) sum += q8k[b / 16].q[16 * (b % 16) + i];
        bad += sum != q8k[b / 16].sums[b % 16];
    }
    memset(x, 0, sizeof x);
    x[40] = NAN;
    x[300] = -INFINITY;
    k->quantize[SP_ACT_Q8](512, x, q8);
    bad += q8[0].d != 0.0f || q8[0].s != 0.0f || !isnan(q8[1].d) || !isnan(q8[1].s) || !isnan(q8[9].d);
    k->quantize[SP_ACT_Q8K](512, x, q8k);
    bad += !isnan(q8k[0].d) || !isnan(q8k[1].d);
    return bad;
}

/* A dot agrees with the double-precision product of the unpacked rows. */
static int check_dot_value(sp_dtype dtype)
{
    const sp_kernels *s = sp_kernels_for(SP_ISA_SCALAR);
    const sp_dtype_info *info = sp_dtype_get(dtype);
    enum { N = 1024 };
    static uint8_t row[4 * N];
    static float x[N], w[N], act[2 * N];
    fill_row(dtype, N, FILL_RANDOM, row);
    fill_vector(N, FILL_RANDOM, x);
    s->quantize[info->act](N, x, act);
    s->unpack[dtype](N, row, w);
    double sum = 0, norm = 0;
    for (int i = 0; i < N; i++) {
        double xi = x[i];
        if (info->act == SP_ACT_Q8)
            xi = (double)((sp_act_q8 *)act)[i / 32].d * ((sp_act_q8 *)act)[i / 32].q[i % 32];
        if (info->act == SP_ACT_Q8K)
            xi = (double)((sp_act_q8k *)act)[i / 256].d * ((sp_act_q8k *)act)[i / 256].q[i % 256];
        sum += xi * (double)w[i];
        norm += fabs(xi * (double)w[i]);
    }
    /* the sum that minima multiply is rounded to half precision by itself */
    double rounding = dtype == SP_DTYPE_Q4_1 || dtype == SP_DTYPE_Q5_1 ? 0x1.0p-11 : 0.0;
    double got = (double)dot_of(s, dtype, N, row, act);
    if (fabs(got - sum) <= (2e-6 + rounding) * norm) return 0;
    fprintf(stderr, "dot %s: %g, expected %g\n", info->name, got, sum);
    return 1;
}

static int check_dot_values(void)
{
    int bad = 0;
    for (int t = 0; t < SP_DTYPE_COUNT; t++) {
        for (int i = 0; i < 20; i++) bad += check_dot_value((sp_dtype)t);
    }
    return bad;
}

/* The rows of every instruction set that this machine has. */
static int check_isas(void)
{
    int bad = 0;
    for (int isa = SP_ISA_SCALAR + 1; isa < SP_ISA_COUNT; isa++) bad += check_isa((sp_isa)isa);
    return bad;
}

#ifdef SP_NO_CMOCKA
int main(void)
{
    const sp_kernels *tables[SP_ISA_COUNT];
    int bad =
        check_isas() + check_matmuls(tables, list_tables(tables)) + check_expf_error() + check_dot_values();
    bad += check_activations(sp_kernels_for(SP_ISA_SCALAR)) + check_activations(sp_kernels_get());
    printf("kernels (%s): %d failures\n", sp_kernels_get()->isa, bad);
    return bad != 0;
}
#else
static void rows_give_the_bits_of_scalar(void **state)
{
    (void)state;
    assert_int_equal(check_isas(), 0);
}

static void matmuls_give_the_bits_of_scalar(void **state)
{
    (void)state;
    const sp_kernels *tables[SP_ISA_COUNT];
    assert_int_equal(check_matmuls(tables, list_tables(tables)), 0);
}

static void exp_is_within_two_ulp(void **state)
{
    (void)state;
    assert_int_equal(check_expf_error(), 0);
}

static void dots_agree_with_unpacked_products(void **state)
{
    (void)state;
    assert_int_equal(check_dot_values(), 0);
}

static void activations_are_nearest_and_flag_bad_values(void **state)
{
    (void)state;
    assert_int_equal(check_activations(sp_kernels_for(SP_ISA_SCALAR)), 0);
    assert_int_equal(check_activations(sp_kernels_get()), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_give_the_bits_of_scalar),
        cmocka_unit_test(matmuls_give_the_bits_of_scalar),
        cmocka_unit_test(exp_is_within_two_ulp),
        cmocka_unit_test(dots_agree_with_unpacked_products),
        cmocka_unit_test(activations_are_nearest_and_flag_bad_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
