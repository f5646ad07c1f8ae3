/* SPDX-License-Identifier: MIT */
/* Attention's kernel: every instruction set gives the bits of the scalar row for every cache format, number of vectors
 * and edge, reads nothing beyond what a row sees, and packs cache rows alike; the scalar row is the definition in
 * double precision, nearly. */
#include "kernel_testing.h"
#include "test_util.h"

static const sp_dtype formats[] = {SP_DTYPE_F32, SP_DTYPE_F16, SP_DTYPE_BF16, SP_DTYPE_Q8_0};

typedef struct shape {
    int64_t k_dim, v_dim, n_rows, n_heads, n_keys;
    bool latent; /* values are the first columns of the keys */
} shape;

typedef struct input {
    guarded k, v, q;
    sp_attend_part part;
} input;

/* Rows beyond the last that is seen lie behind the guard page. */
static input make_input(const shape *s, sp_dtype dtype)
{
    input in = {0};
    int64_t n = s->n_keys + s->n_rows - 1 < SP_ATTEND_SEGMENT ? s->n_keys + s->n_rows - 1 : SP_ATTEND_SEGMENT;
    size_t k_bytes = sp_dtype_row_bytes(dtype, (size_t)s->k_dim),
           v_bytes = sp_dtype_row_bytes(dtype, (size_t)s->v_dim);
    float *row = malloc((size_t)(s->k_dim + s->v_dim) * sizeof *row);
    const sp_kernels *scalar = sp_kernels_for(SP_ISA_SCALAR);
    in.k = map_guarded((size_t)n * k_bytes, 0);
    in.v = map_guarded((size_t)n * v_bytes, 0);
    for (int64_t i = 0; i < n; i++) {
        fill_vector((size_t)s->k_dim, FILL_RANDOM, row);
        scalar->store[dtype]((size_t)s->k_dim, row, in.k.data + (size_t)i * k_bytes);
        fill_vector((size_t)s->v_dim, FILL_RANDOM, row);
        scalar->store[dtype]((size_t)s->v_dim, row, in.v.data + (size_t)i * v_bytes);
    }
    free(row);
    size_t n_q = (size_t)(s->n_rows * s->n_heads * s->k_dim);
    in.q = map_guarded(n_q * sizeof(float), 0);
    fill_vector(n_q, FILL_RANDOM, (float *)in.q.data);
    in.part = (sp_attend_part){.k_dtype = dtype,
                               .v_dtype = dtype,
                               .k = in.k.data,
                               .v = in.v.data,
                               .k_stride = k_bytes,
                               .v_stride = v_bytes,
                               .k_dim = s->k_dim,
                               .v_dim = s->v_dim,
                               .scale = 0.17f,
                               .q = (float *)in.q.data,
                               .q_stride = s->n_heads * s->k_dim,
                               .n_rows = s->n_rows,
                               .n_heads = s->n_heads,
                               .n_keys = s->n_keys};
    if (s->latent) {
        in.part.v = in.part.k;
        in.part.v_stride = k_bytes;
    }
    return in;
}

static void free_input(input *in)
{
    unmap_guarded(&in->k);
    unmap_guarded(&in->v);
    unmap_guarded(&in->q);
}

typedef struct output {
    size_t n; /* vectors * (v_dim + 2) */
    float *values, *scratch;
} output;

static output run_part(const sp_kernels *k, sp_attend_part part)
{
    size_t vectors = (size_t)(part.n_rows * part.n_heads);
    size_t scratch = sp_attend_scratch((int64_t)vectors, part.k_dim, part.v_dim) * sizeof(float);
    output out = {vectors * (size_t)(part.v_dim + 2), NULL, aligned_alloc(64, (scratch + 63) / 64 * 64)};
    out.values = malloc(out.n * sizeof *out.values);
    memset(out.values, 0xff, out.n * sizeof *out.values);
    part.y = out.values;
    part.max = part.y + vectors * (size_t)part.v_dim;
    part.sum = part.max + vectors;
    part.scratch = out.scratch;
    k->attend(&part);
    return out;
}

static void free_output(output *out)
{
    free(out->values);
    free(out->scratch);
}

static int compare_shape(const sp_kernels *k, const shape *s, sp_dtype dtype)
{
    input in = make_input(s, dtype);
    output expected = run_part(sp_kernels_for(SP_ISA_SCALAR), in.part), found = run_part(k, in.part);
    int bad = count_diffs(expected.n, expected.values, found.values);
    if (bad)
        fprintf(stderr, "%s: attend %s, %d x %d vectors, %d keys, %d / %d: %d of %zu values differ\n", k->isa,
                sp_dtype_get(dtype)->name, (int)s->n_rows, (int)s->n_heads, (int)s->n_keys, (int)s->k_dim,
                (int)s->v_dim, bad, expected.n);
    free_output(&expected);
    free_output(&found);
    free_input(&in);
    return bad;
}

static void every_instruction_set_has_the_bits_of_the_scalar_row(void **state)
{
    (void)state;
    static const shape shapes[] = {
        {64, 64, 1, 1, 1, false},     {128, 128, 1, 6, 256, false},  {128, 128, 1, 6, 77, false},
        {128, 128, 10, 6, 60, false}, {128, 128, 10, 6, 250, false}, {64, 96, 3, 2, 63, false},
        {32, 32, 5, 7, 130, false},   {96, 64, 1, 5, 9, false},      {160, 128, 1, 16, 200, true},
        {576, 512, 1, 16, 70, true},  {576, 512, 3, 16, 255, true},  {64, 32, 40, 1, 30, false},
        {128, 128, 9, 8, 121, false}, {128, 128, 1, 3, 64, false},   {128, 128, 2, 2, 65, false},
        {128, 128, 1, 4, 128, false},
    };
    static const shape odd[] = {{24, 24, 2, 3, 70, false}, {5, 3, 4, 2, 61, false},
                                {40, 40, 7, 2, 90, false}, {16, 16, 1, 4, 3, false},
                                {8, 24, 2, 7, 120, false}, {12, 16, 2, 2, 33, false}};
    int bad = 0;
    for (int isa = 1; isa < SP_ISA_COUNT; isa++) {
        const sp_kernels *k = sp_kernels_for((sp_isa)isa);
        for (size_t f = 0; k && f < sizeof formats / sizeof *formats; f++) {
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
                bad += compare_shape(k, &shapes[i], formats[f]);
            for (size_t i = 0; formats[f] != SP_DTYPE_Q8_0 && i < sizeof odd / sizeof *odd; i++)
                bad += compare_shape(k, &odd[i], formats[f]);
            for (int64_t n = 1; n <= 13; n++) /* every size of a tile */
                bad += compare_shape(k, &(shape){64, 64, 1, n, 19 + 3 * n, false}, formats[f]);
        }
    }
    assert_int_equal(bad, 0);
}

/* What later rows alone see does not touch earlier rows, not even as NaN. */
static void a_row_does_not_see_later_keys(void **state)
{
    (void)state;
    const shape s = {64, 64, 6, 2, 90, false};
    for (int isa = 0; isa < SP_ISA_COUNT; isa++) {
        const sp_kernels *k = sp_kernels_for((sp_isa)isa);
        if (!k) continue;
        input in = make_input(&s, SP_DTYPE_F32);
        output before = run_part(k, in.part);
        for (int i = 0; i < 64; i++) {
            ((float *)in.k.data)[92 * 64 + i] = NAN;
            ((float *)in.v.data)[92 * 64 + i] = NAN;
        }
        output after = run_part(k, in.part);
        size_t seen = 3 * 2 * 64; /* rows 0 to 2 see 90 to 92 keys */
        assert_memory_equal(before.values, after.values, seen * sizeof(float));
        assert_true(isnan(after.values[seen]));
        free_output(&before);
        free_output(&after);
        free_input(&in);
    }
}

static void the_scalar_row_is_a_softmax(void **state)
{
    (void)state;
    const shape s = {64, 32, 3, 2, 100, false};
    input in = make_input(&s, SP_DTYPE_F32);
    output out = run_part(sp_kernels_for(SP_ISA_SCALAR), in.part);
    const float *q = (float *)in.q.data, *k = (float *)in.k.data, *v = (float *)in.v.data;
    for (int j = 0; j < 6; j++) {
        int n = 100 + j / 2;
        double score[102], top = -INFINITY, sum = 0.0, y[32] = {0};
        for (int i = 0; i < n; i++) {
            score[i] = 0.0;
            for (int c = 0; c < 64; c++) score[i] += (double)q[j * 64 + c] * k[i * 64 + c];
            score[i] *= (double)0.17f;
            if (score[i] > top) top = score[i];
        }
        for (int i = 0; i < n; i++) {
            double p = exp(score[i] - top);
            sum += p;
            for (int c = 0; c < 32; c++) y[c] += p * v[i * 32 + c];
        }
        for (int c = 0; c < 32; c++) assert_float_equal(out.values[j * 32 + c] / sum, y[c] / sum, 1e-4);
        assert_float_equal(out.values[6 * 32 + j], top, 1e-4);
        assert_float_equal(out.values[6 * 32 + 6 + j] / sum, 1.0, 1e-4);
    }
    free_output(&out);
    free_input(&in);
}

static void cache_rows_are_packed_alike(void **state)
{
    (void)state;
    int bad = 0;
    const sp_kernels *scalar = sp_kernels_for(SP_ISA_SCALAR);
    for (int isa = 1; isa < SP_ISA_COUNT; isa++) {
        const sp_kernels *k = sp_kernels_for((sp_isa)isa);
        for (int t = 0; k && t < SP_DTYPE_COUNT; t++) {
            assert_true((k->store[t] != NULL) == sp_attend_reads((sp_dtype)t));
            for (int round = 0; k->store[t] && round < 400; round++) {
                size_t n = t == SP_DTYPE_Q8_0 ? 32 * (1 + (size_t)round % 5) : 1 + (size_t)round % 41;
                guarded x = map_guarded(4 * n, 0), a = map_guarded(sp_dtype_row_bytes((sp_dtype)t, n), 0);
                guarded b = map_guarded(sp_dtype_row_bytes((sp_dtype)t, n), 0);
                fill_vector(n, (fill)(round % FILL_COUNT), (float *)x.data);
                if (round % 7 == 0) ((float *)x.data)[n / 2] = round % 14 ? NAN : -INFINITY;
                if (round % 11 == 0) ((float *)x.data)[n / 3] = 1e30f;
                k->store[t](n, (float *)x.data, a.data);
                scalar->store[t](n, (float *)x.data, b.data);
                bad += report(memcmp(a.data, b.data, sp_dtype_row_bytes((sp_dtype)t, n)) != 0, k, "store",
                              sp_dtype_get((sp_dtype)t)->name, n);
                unmap_guarded(&x);
                unmap_guarded(&a);
                unmap_guarded(&b);
            }
        }
    }
    assert_int_equal(bad, 0);
}

/* As files are packed, where that succeeds. */
static void cache_rows_are_packed_as_tensors_are(void **state)
{
    (void)state;
    float x[64];
    uint8_t a[256], b[256];
    for (int round = 0; round < 50; round++)
        for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
            fill_vector(64, FILL_RANDOM, x);
            sp_kernels_get()->store[formats[f]](64, x, a);
            assert_int_equal(sp_dtype_pack(formats[f], x, b, 64, NULL), SP_OK);
            assert_memory_equal(a, b, sp_dtype_row_bytes(formats[f], 64));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_has_the_bits_of_the_scalar_row),
        cmocka_unit_test(a_row_does_not_see_later_keys),
        cmocka_unit_test(the_scalar_row_is_a_softmax),
        cmocka_unit_test(cache_rows_are_packed_alike),
        cmocka_unit_test(cache_rows_are_packed_as_tensors_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
