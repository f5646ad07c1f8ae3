/* SPDX-License-Identifier: MIT */
/* Storage formats: the table, the float conversions, unpacking against independently made values
 * (tests/golden/quants), and the quantisers' errors against the reference quantiser's. */
#include "tensor/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A file of tests/golden/quants, read whole; the test fails without it. */
static void *read_golden(const char *name, size_t *n_bytes)
{
    const char *root = getenv("SP_SOURCE_DIR");
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/quants/%s", root ? root : ".", name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("golden file %s is missing", path);
    fseek(file, 0, SEEK_END);
    *n_bytes = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*n_bytes + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *n_bytes, file), *n_bytes);
    data[*n_bytes] = 0;
    fclose(file);
    return data;
}

static int same_value(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* --- the table --- */

static void every_row_is_found_by_each_of_its_names(void **state)
{
    (void)state;
    for (int t = 0; t < SP_DTYPE_COUNT; t++) {
        const sp_dtype_info *info = sp_dtype_get((sp_dtype)t);
        sp_dtype found = SP_DTYPE_COUNT;
        assert_true(sp_dtype_by_name(info->name, &found) && found == (sp_dtype)t);
        assert_true(sp_dtype_by_name(info->label, &found) && found == (sp_dtype)t);
        if (info->ggml_type >= 0) {
            assert_true(sp_dtype_by_ggml((uint32_t)info->ggml_type, &found) && found == (sp_dtype)t);
        }
        if (info->safetensors)
            assert_true(sp_dtype_by_safetensors(info->safetensors, &found) && found == (sp_dtype)t);
        assert_true(info->block > 0 && info->block_bytes > 0);
    }
    sp_dtype none;
    assert_false(sp_dtype_by_name("q9_9", &none));
    assert_false(sp_dtype_by_ggml(4, &none)); /* Q4_2, long withdrawn */
    assert_false(sp_dtype_by_ggml(UINT32_MAX, &none));
    assert_false(sp_dtype_by_safetensors("I64", &none));
}

static void row_bytes_follow_the_block_and_refuse_the_rest(void **state)
{
    (void)state;
    assert_int_equal(sp_dtype_row_bytes(SP_DTYPE_F32, 5), 20);
    assert_int_equal(sp_dtype_row_bytes(SP_DTYPE_Q8_0, 64), 68);
    assert_int_equal(sp_dtype_row_bytes(SP_DTYPE_Q4_K, 1536), 864);
    assert_int_equal(sp_dtype_row_bytes(SP_DTYPE_Q6_K, 255), 0);
    assert_int_equal(sp_dtype_row_bytes(SP_DTYPE_F32, SIZE_MAX / 2), 0);
    assert_int_equal(sp_act_row_bytes(SP_ACT_Q8, 64), 80);
    assert_int_equal(sp_act_row_bytes(SP_ACT_Q8K, 512), 584);
    assert_int_equal(sp_act_row_bytes(SP_ACT_F32, 3), 12);
}

/* --- short floats --- */

static void every_half_survives_float32(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = sp_f16_to_f32((uint16_t)h);
        if (isnan(f)) {
            assert_true(isnan(sp_f16_to_f32(sp_f32_to_f16(f))));
            continue;
        }
        assert_int_equal(sp_f32_to_f16(f), h);
    }
    assert_float_equal(sp_f16_to_f32(0x3c00), 1.0f, 0);
    assert_float_equal(sp_f16_to_f32(0x0001), 0x1p-24f, 0);
    assert_float_equal(sp_f16_to_f32(0xfbff), -65504.0f, 0);
}

/* Between neighbours: below, at and above the midpoint. Works for codes of one sign in growing order. */
static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (uint16_t h = 0; h < 0x7bff; h++) {
        float lo = sp_f16_to_f32(h), hi = sp_f16_to_f32((uint16_t)(h + 1)), mid = lo + (hi - lo) / 2;
        assert_int_equal(sp_f32_to_f16(nextafterf(mid, 0)), h);
        assert_int_equal(sp_f32_to_f16(mid), h % 2 ? h + 1 : h);
        assert_int_equal(sp_f32_to_f16(nextafterf(mid, INFINITY)), h + 1);
    }
    assert_int_equal(sp_f32_to_f16(65519.99f), 0x7bff);
    assert_int_equal(sp_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(sp_f32_to_f16(-1e30f), 0xfc00);
    assert_int_equal(sp_f32_to_f16(0x1p-25f), 0);
    assert_int_equal(sp_f32_to_f16(-0.0f), 0x8000);
}

static void bfloats_round_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7f80; h++) {
        uint32_t at = h << 16;
        float f[3];
        for (uint32_t k = 0; k < 3; k++) {
            uint32_t u = at + 0x7fff + k;
            memcpy(&f[k], &u, 4);
        }
        assert_int_equal(sp_f32_to_bf16(sp_bf16_to_f32((uint16_t)h)), h);
        assert_int_equal(sp_f32_to_bf16(f[0]), h);
        assert_int_equal(sp_f32_to_bf16(f[1]), h % 2 ? h + 1 : h);
        assert_int_equal(sp_f32_to_bf16(f[2]), h + 1);
    }
    assert_true(isnan(sp_bf16_to_f32(sp_f32_to_bf16(NAN))));
}

static void e4m3_rounds_to_nearest_even_and_saturates(void **state)
{
    (void)state;
    for (int v = 0; v < 256; v++) {
        float f = sp_e4m3_to_f32((uint8_t)v);
        if ((v & 0x7f) == 0x7f) {
            assert_true(isnan(f));
        } else {
            assert_int_equal(sp_f32_to_e4m3(f), v);
        }
    }
    for (uint8_t v = 0; v < 0x7e; v++) {
        float lo = sp_e4m3_to_f32(v), hi = sp_e4m3_to_f32((uint8_t)(v + 1)), mid = (lo + hi) / 2;
        assert_int_equal(sp_f32_to_e4m3(nextafterf(mid, 0)), v);
        assert_int_equal(sp_f32_to_e4m3(mid), v % 2 ? v + 1 : v);
        assert_int_equal(sp_f32_to_e4m3(nextafterf(mid, INFINITY)), v + 1);
    }
    assert_int_equal(sp_f32_to_e4m3(1e9f), 0x7e);
    assert_int_equal(sp_f32_to_e4m3(-INFINITY), 0xfe);
    assert_int_equal(sp_f32_to_e4m3(NAN), 0x7f);
}

/* --- unpacking --- */

static void unpack_gives_the_golden_bits(void **state)
{
    (void)state;
    for (int t = 1; t < SP_DTYPE_COUNT; t++) {
        const sp_dtype_info *info = sp_dtype_get((sp_dtype)t);
        char name[64];
        size_t packed_bytes, value_bytes, bad[SP_ISA_COUNT] = {0};
        snprintf(name, sizeof name, "%s.bin", info->name);
        void *packed = read_golden(name, &packed_bytes);
        snprintf(name, sizeof name, "%s.f32", info->name);
        float *values = read_golden(name, &value_bytes);
        size_t n = value_bytes / 4;
        float *got = malloc(value_bytes);
        assert_non_null(got);
        assert_int_equal(sp_dtype_row_bytes((sp_dtype)t, n), packed_bytes);
        for (int isa = 0; isa < SP_ISA_COUNT; isa++) {
            const sp_kernels *k = sp_kernels_for((sp_isa)isa);
            if (!k) continue;
            k->unpack[t](n, packed, got);
            for (size_t i = 0; i < n; i++) bad[isa] += !same_value(got[i], values[i]);
            if (bad[isa]) print_error("%s, %s: %zu of %zu values differ\n", info->name, k->isa, bad[isa], n);
            assert_int_equal(bad[isa], 0);
        }
        free(packed);
        free(values);
        free(got);
    }
}

/* One block of bytes (37 k + 11) mod 256 with d = 1, m or dmin = 0.5; the values were computed with ggml's C
 * routines and are stated in the technical reference. */
static void unpack_gives_the_reference_vectors(void **state)
{
    (void)state;
    static const struct {
        sp_dtype dtype;
        int d, m; /* offsets of the half-precision factors */
        double first[4], sum, norm;
    } rows[] = {
        {SP_DTYPE_Q4_0, 0, -1, {-3, 2, 7, -4}, -21, 25.3969},
        {SP_DTYPE_Q4_1, 0, 2, {15.5, 4.5, 9.5, 14.5}, 261, 52.7257},
        {SP_DTYPE_Q5_0, 0, -1, {9, -2, 3, -8}, 15, 51.2543},
        {SP_DTYPE_Q5_1, 0, 2, {19.5, 24.5, 29.5, 18.5}, 521, 106.2921},
        {SP_DTYPE_Q8_0, 0, -1, {85, 122, -97, -60}, -176, 436.1834},
        {SP_DTYPE_Q2_K, 80, 82, {33, 0, 11, 22}, 2059, 233.4009},
        {SP_DTYPE_Q3_K, 108, -1, {81, -108, 27, -54}, 958, 754.126},
        {SP_DTYPE_Q4_K, 0, 2, {315.5, -25.5, 129.5, 284.5}, 54440, 4915.8133},
        {SP_DTYPE_Q5_K, 0, 2, {811.5, -25.5, 625.5, 284.5}, 116216, 10140.4546},
        {SP_DTYPE_Q6_K, 208, -1, {-1431, 1696, 583, -530}, 4612, 21769.2503},
        {SP_DTYPE_IQ4_NL, 0, -1, {-35, 25, 113, -49}, -257, 366.4601},
        {SP_DTYPE_IQ4_XS, 0, -1, {65, -1, -69, 83}, -11005, 15588.18},
        {SP_DTYPE_IQ2_XXS, 0, -1, {-59.125, 59.125, 34.375, -34.375}, 763.75, 877.8179},
        {SP_DTYPE_IQ1_S, 0, -1, {-2.625, 0.375, 3.375, 3.375}, 20, 114.5251},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        const sp_dtype_info *info = sp_dtype_get(rows[r].dtype);
        uint8_t block[256];
        float y[256];
        double sum = 0, squares = 0;
        for (int k = 0; k < info->block_bytes; k++) block[k] = (uint8_t)(37 * k + 11);
        memcpy(block + rows[r].d, "\x00\x3c", 2);
        if (rows[r].m >= 0) memcpy(block + rows[r].m, "\x00\x38", 2);
        sp_kernels_for(SP_ISA_SCALAR)->unpack[rows[r].dtype](info->block, block, y);
        for (int i = 0; i < info->block; i++) {
            sum += (double)y[i];
            squares += (double)y[i] * (double)y[i];
        }
        for (int i = 0; i < 4; i++) assert_true((double)y[i] == rows[r].first[i]);
        assert_true(sum == rows[r].sum);
        assert_true(fabs(sqrt(squares) - rows[r].norm) < 1e-4 * rows[r].norm);
    }
}

/* --- packing --- */

/* The "rms" of a type in quantisers.json. */
static double find_reference_rms(const char *json, const char *type)
{
    char key[64];
    snprintf(key, sizeof key, "\"%s\"", type);
    const char *at = strstr(json, key);
    if (!at || !(at = strstr(at, "\"rms\":"))) fail_msg("quantisers.json: no rms of %s", type);
    return strtod(at + 6, NULL);
}

static double measure_rms(sp_dtype dtype, const float *x, size_t n)
{
    uint8_t *packed = malloc(sp_dtype_row_bytes(dtype, n));
    float *y = malloc(n * sizeof *y);
    double squares = 0;
    assert_true(packed && y);
    assert_int_equal(sp_dtype_pack(dtype, x, packed, n, NULL), SP_OK);
    sp_kernels_get()->unpack[dtype](n, packed, y);
    for (size_t i = 0; i < n; i++) squares += ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
    free(packed);
    free(y);
    return sqrt(squares / (double)n);
}

static void pack_errs_no_more_than_the_reference(void **state)
{
    (void)state;
    static const sp_dtype types[] = {SP_DTYPE_Q8_0, SP_DTYPE_Q4_0, SP_DTYPE_Q4_1,   SP_DTYPE_Q5_0,
                                     SP_DTYPE_Q5_1, SP_DTYPE_Q2_K, SP_DTYPE_Q3_K,   SP_DTYPE_Q4_K,
                                     SP_DTYPE_Q5_K, SP_DTYPE_Q6_K, SP_DTYPE_IQ4_NL, SP_DTYPE_IQ4_XS};
    size_t matrix_bytes, json_bytes;
    float *x = read_golden("matrix.f32", &matrix_bytes);
    char *json = read_golden("quantisers.json", &json_bytes);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const char *name = sp_dtype_get(types[i])->name;
        double rms = measure_rms(types[i], x, matrix_bytes / 4), reference = find_reference_rms(json, name);
        print_message("%-7s rms %.6f, reference %.6f (%+.1f %%)\n", name, rms, reference,
                      100 * (rms / reference - 1));
        assert_true(rms <= 1.01 * reference);
    }
    free(x);
    free(json);
}

static void pack_of_floats_rounds_each_value(void **state)
{
    (void)state;
    float x[100], y[100];
    uint16_t h[100];
    uint8_t e[100];
    for (int i = 0; i < 100; i++) x[i] = (float)(i - 50) * 0.37f;
    assert_int_equal(sp_dtype_pack(SP_DTYPE_F32, x, y, 100, NULL), SP_OK);
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(sp_dtype_pack(SP_DTYPE_F16, x, h, 100, NULL), SP_OK);
    for (int i = 0; i < 100; i++) assert_int_equal(h[i], sp_f32_to_f16(x[i]));
    assert_int_equal(sp_dtype_pack(SP_DTYPE_BF16, x, h, 100, NULL), SP_OK);
    for (int i = 0; i < 100; i++) assert_int_equal(h[i], sp_f32_to_bf16(x[i]));
    assert_int_equal(sp_dtype_pack(SP_DTYPE_F8_E4M3, x, e, 100, NULL), SP_OK);
    for (int i = 0; i < 100; i++) assert_int_equal(e[i], sp_f32_to_e4m3(x[i]));
}

typedef void (*fill_fn)(float *x, int n);

static void fill_zeros(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = i % 2 ? 0.0f : -0.0f;
}

static void fill_constant(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = 3.25f;
}

static void fill_negative(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = -1.0f - (float)(i % 13) * 0.05f;
}

static void fill_one_spike(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = i == n / 3 ? 100.0f : 0.0f;
}

static void fill_tiny(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = (float)(i % 7 - 3) * 1e-39f;
}

static void fill_largest(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = i % 2 ? 3e38f : -3e38f;
}

static void fill_mixed_scales(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] = ldexpf((float)(i % 5 - 2), i / 32 - 6);
}

/* Awkward blocks pack into finite values near the input. */
static void pack_survives_awkward_blocks(void **state)
{
    (void)state;
    static const struct {
        fill_fn fill;
        float largest, tolerance; /* tolerance: part of the largest magnitude; < 0: only finite */
    } cases[] = {
        {fill_zeros, 0, 0},           {fill_constant, 3.25f, 0.05f}, {fill_negative, 1.6f, 0.25f},
        {fill_one_spike, 100, 0.05f}, {fill_tiny, 3e-39f, 1.0001f},  {fill_largest, 3e38f, -1},
        {fill_mixed_scales, 4, 0.3f},
    };
    for (int t = 0; t < SP_DTYPE_COUNT; t++) {
        if (!sp_dtype_get((sp_dtype)t)->packable) continue;
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            float x[256], y[256];
            uint8_t packed[1024];
            bool infinite_is_right = t == SP_DTYPE_F16 && cases[c].tolerance < 0;
            cases[c].fill(x, 256);
            assert_int_equal(sp_dtype_pack((sp_dtype)t, x, packed, 256, NULL), SP_OK);
            sp_kernels_get()->unpack[t](256, packed, y);
            for (int i = 0; i < 256; i++) {
                if (infinite_is_right) continue;
                float bound = cases[c].tolerance * cases[c].largest;
                if (!isfinite(y[i]) || (cases[c].tolerance >= 0 && fabsf(y[i] - x[i]) > bound)) {
                    fail_msg("%s, case %zu, element %d: %g became %g", sp_dtype_get((sp_dtype)t)->name, c, i,
                             (double)x[i], (double)y[i]);
                }
            }
        }
    }
}

static void pack_refuses_what_it_cannot_hold(void **state)
{
    (void)state;
    float x[512] = {0};
    uint8_t packed[2048];
    for (int t = 0; t < SP_DTYPE_COUNT; t++) {
        sp_error err = SP_ERROR_NONE;
        const sp_dtype_info *info = sp_dtype_get((sp_dtype)t);
        if (!info->packable) {
            assert_int_equal(sp_dtype_pack((sp_dtype)t, x, packed, 512, &err), SP_E_UNSUPPORTED);
            continue;
        }
        if (info->block > 1) {
            assert_int_equal(sp_dtype_pack((sp_dtype)t, x, packed, info->block + 1u, &err), SP_E_ARGUMENT);
        }
        bool any = t == SP_DTYPE_F32 || t == SP_DTYPE_F16 || t == SP_DTYPE_BF16;
        const float wrong[] = {NAN, INFINITY, -INFINITY};
        for (int i = 0; i < 3; i++) {
            x[300] = wrong[i];
            assert_int_equal(sp_dtype_pack((sp_dtype)t, x, packed, 512, &err), any ? SP_OK : SP_E_RANGE);
            if (!any) assert_non_null(strstr(err.text, "element 300"));
        }
        x[300] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_by_each_of_its_names),
        cmocka_unit_test(row_bytes_follow_the_block_and_refuse_the_rest),
        cmocka_unit_test(every_half_survives_float32),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(bfloats_round_to_nearest_even),
        cmocka_unit_test(e4m3_rounds_to_nearest_even_and_saturates),
        cmocka_unit_test(unpack_gives_the_golden_bits),
        cmocka_unit_test(unpack_gives_the_reference_vectors),
        cmocka_unit_test(pack_errs_no_more_than_the_reference),
        cmocka_unit_test(pack_of_floats_rounds_each_value),
        cmocka_unit_test(pack_survives_awkward_blocks),
        cmocka_unit_test(pack_refuses_what_it_cannot_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
