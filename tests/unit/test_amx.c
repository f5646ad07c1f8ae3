/* SPDX-License-Identifier: MIT */
/* The AMX rows of the kernel table on emulated tiles (amx_emulated.c): the same source as the program's, compiled with
 * SP_AMX_EMULATED, gives the bits of the scalar rows in every check that other instruction sets pass. All but the tile
 * instructions runs as it is, so these tests want AVX-512. */
#include "amx_emulated.h"
#include "kernel_testing.h"
#include "matmul_testing.h"

#include <stdarg.h>
#include <setjmp.h>

#include <cmocka.h>

#if defined(__x86_64__)

bool sp_fill_matmul_amx_emulated(sp_kernels *k);

static sp_kernels table;

static int make_table(void **state)
{
    (void)state;
    const sp_kernels *avx512 = sp_kernels_for(SP_ISA_AVX512);
    if (!avx512) return 0;
    table = *avx512;
    table.isa = "amx (emulated)";
    return !sp_fill_matmul_amx_emulated(&table);
}

static void need_avx512(void)
{
    if (!sp_kernels_for(SP_ISA_AVX512)) skip();
}

static void matmuls_give_the_bits_of_scalar(void **state)
{
    (void)state;
    need_avx512();
    const sp_kernels *tables[] = {&table};
    int bad = 0;
    for (int t = 0; t < SP_DTYPE_COUNT; t++) /* all else is AVX-512's */
        if (table.panels[t]) bad += check_matmul(tables, 1, (sp_dtype)t);
    assert_int_equal(bad, 0);
}

/* Tiles that one matmul of n_x activation rows multiplies. */
static long count_products(sp_dtype dtype, int64_t n_x)
{
    static float y[MATMUL_ROWS * MATMUL_X];
    matmul_case c = make_matmul_case(dtype, 256, FILL_RANDOM, 0, 0);
    sp_matmul m = cut_matmul(&c, 0, 64, 0, n_x, y, 64);
    long before = amx_state_get()->n_products;
    table.matmul[dtype](&m);
    free_matmul_case(&c);
    return amx_state_get()->n_products - before;
}

static void tiles_are_used_for_many_rows_only_and_given_back(void **state)
{
    (void)state;
    need_avx512();
    for (int t = 0; t < SP_DTYPE_COUNT; t++) {
        assert_int_equal(count_products((sp_dtype)t, 8), 0);
        long expected = table.panels[t] == NULL ? 0
                        : sp_dtype_get((sp_dtype)t)->block == 32
                            ? 2 * 4 * 8 /* full and rest, panels, blocks */
                        : t == SP_DTYPE_Q2_K || t == SP_DTYPE_Q3_K ? 2 * 4 * 4
                                                                   : 2 * 4 * 4 * 2; /* two bytes an element */
        assert_int_equal(count_products((sp_dtype)t, 17), expected);
        assert_false(amx_state_get()->configured);
    }
}

/* More activation rows than are summed at once, and a rest of one. */
static void long_prompts_give_the_bits_of_avx512(void **state)
{
    (void)state;
    need_avx512();
    enum { N = 512, N_ROWS = 66, N_X = 273 };
    static uint8_t w[N_ROWS * 2 * N], x[N_X * 2 * N];
    static float row[N], y[2][N_X * N_ROWS];
    static const sp_dtype dtypes[] = {SP_DTYPE_Q8_0, SP_DTYPE_Q2_K, SP_DTYPE_Q3_K, SP_DTYPE_Q4_K,
                                      SP_DTYPE_Q6_K};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        const sp_dtype_info *info = sp_dtype_get(dtypes[i]);
        size_t w_bytes = sp_dtype_row_bytes(dtypes[i], N), x_bytes = sp_act_row_bytes(info->act, N);
        for (size_t r = 0; r < N_ROWS; r++) fill_row(dtypes[i], N, FILL_RANDOM, w + r * w_bytes);
        for (size_t t = 0; t < N_X; t++) {
            fill_vector(N, FILL_RANDOM, row);
            table.quantize[info->act](N, row, x + t * x_bytes);
        }
        sp_matmul m = {.n = N,
                       .w = w,
                       .w_stride = w_bytes,
                       .n_rows = N_ROWS,
                       .x = x,
                       .x_stride = x_bytes,
                       .n_x = N_X,
                       .y = y[0],
                       .y_stride = N_ROWS};
        table.matmul[dtypes[i]](&m);
        m.y = y[1];
        sp_kernels_for(SP_ISA_AVX512)->matmul[dtypes[i]](&m);
        assert_int_equal(count_diffs(N_X * N_ROWS, y[0], y[1]), 0);
    }
}

/* Extremes of both signs, by hand. */
static void emulated_products_follow_the_manual(void **state)
{
    (void)state;
    uint8_t config[64] = {1}, a[8] = {0x80, 0x7f, 1, 0, 0xff, 0, 0, 2},
            b[8] = {0x80, 0xff, 3, 9, 0xfe, 7, 7, 0x81};
    int32_t sums[1] = {5};
    for (int t = 0; t < 3; t++) config[48 + t] = t == 1 ? 1 : t == 2 ? 2 : 1;
    config[16] = 4;
    config[18] = 8;
    config[20] = 4;
    amx_tile_configure(config);
    amx_tile_load(0, sums, 4);
    amx_tile_load(1, a, 8);
    amx_tile_load(2, b, 4);
    amx_tile_product(0, 1, 2, true);
    amx_tile_store(0, sums, 4);
    assert_int_equal(sums[0], 5 + 128 * 128 - 127 + 3 + 2 - 2 * 127);
    amx_tile_zero(0);
    amx_tile_product(0, 1, 2, false);
    amx_tile_store(0, sums, 4);
    assert_int_equal(sums[0], -128 * 128 + 127 * 255 + 3 - 254 + 2 * 129);
    amx_tile_release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emulated_products_follow_the_manual),
        cmocka_unit_test(matmuls_give_the_bits_of_scalar),
        cmocka_unit_test(tiles_are_used_for_many_rows_only_and_given_back),
        cmocka_unit_test(long_prompts_give_the_bits_of_avx512),
    };
    return cmocka_run_group_tests(tests, make_table, NULL);
}

#else

int main(void)
{
    printf("AMX is x86-64's: skipped\n");
    return 0;
}

#endif
