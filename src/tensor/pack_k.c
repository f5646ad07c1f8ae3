/* SPDX-License-Identifier: MIT */
/* Quantisers of the formats in blocks of 256. Each sub-block gets its own best scale (and min); these are
 * rounded to integers under a common half-precision factor, trying the neighbouring integers too; the common
 * factors are then refitted to the levels reached, and all is chosen once more for the factors as stored. */
#include "tensor/pack_search.h"

#include <math.h>

#include "tensor/decode.h"

#define QK 256

/* --- formats x = d s q: Q3_K, Q6_K, IQ4_XS --- */

typedef struct signed_plan {
    int len;                /* elements per sub-block */
    int lo, hi;             /* levels; lo = hi: the IQ4 values */
    int scale_lo, scale_hi; /* integer scales */
    int reach;              /* neighbouring scales tried at the second turn */
} signed_plan;

typedef struct signed_block {
    float d;
    int scale[16];
    int8_t level[QK]; /* the integer level, or the index of an IQ4 value */
} signed_block;

static int pick_level(const signed_plan *p, float v)
{
    return p->lo == p->hi ? sp_iq4_nearest(v) : (int)pack_level(v, (float)p->lo, (float)p->hi);
}

static float level_value(const signed_plan *p, int level)
{
    return (float)(p->lo == p->hi ? sp_iq4_values[level] : level);
}

static float measure_scale(const signed_plan *p, const float *x, float d)
{
    float inverse = pack_inverse(d), error = 0;
    for (int i = 0; i < p->len; i++) {
        float r = x[i] - d * level_value(p, pick_level(p, x[i] * inverse));
        error += r * r;
    }
    return error;
}

/* The integer scale near `ideal / d` with the least error. */
static int pick_scale(const signed_plan *p, const float *x, float ideal, float d, int reach)
{
    int near = (int)pack_level(ideal * pack_inverse(d), (float)p->scale_lo, (float)p->scale_hi), best = near;
    if (reach == 0) return near;
    float least = INFINITY;
    for (int s = near - reach; s <= near + reach; s++) {
        if (s < p->scale_lo || s > p->scale_hi) continue;
        float error = measure_scale(p, x, d * (float)s);
        if (error < least) {
            least = error;
            best = s;
        }
    }
    return best;
}

static void choose_signed_levels(const signed_plan *p, const float *x, signed_block *out)
{
    for (int i = 0; i < QK; i++) {
        float inverse = pack_inverse(out->d * (float)out->scale[i / p->len]);
        out->level[i] = (int8_t)pick_level(p, x[i] * inverse);
    }
}

/* d for given scales and levels. */
static float refit_signed(const signed_plan *p, const float *x, const signed_block *w)
{
    float qx = 0, qq = 0;
    for (int i = 0; i < QK; i++) {
        float q = (float)w->scale[i / p->len] * level_value(p, w->level[i]);
        qx += q * x[i];
        qq += q * q;
    }
    return qq > 0 ? qx / qq : w->d;
}

/* The factor is returned as stored in `half`. */
static void fit_signed(const signed_plan *p, const float *src, uint8_t half[2], signed_block *out)
{
    float x[QK], ideal[16], top = 0;
    sp_pack_load(QK, src, x);
    for (int b = 0; b < QK / p->len; b++) {
        const float *xb = x + b * p->len;
        ideal[b] = p->lo == p->hi ? sp_fit_scale_iq4(p->len, xb) : sp_fit_scale(p->len, xb, p->lo, p->hi);
        if (fabsf(ideal[b]) > fabsf(top)) top = ideal[b];
    }
    out->d = sp_pack_half(top / (float)p->scale_lo, half);
    for (int turn = 0; turn < 2; turn++) {
        for (int b = 0; b < QK / p->len; b++) {
            out->scale[b] = pick_scale(p, x + b * p->len, ideal[b], out->d, turn * p->reach);
        }
        choose_signed_levels(p, x, out);
        out->d = sp_pack_half(refit_signed(p, x, out), half);
    }
    choose_signed_levels(p, x, out);
}

void sp_pack_q3_k(size_t n, const float *src, void *dst)
{
    static const signed_plan plan = {16, -4, 3, -32, 31, 1};
    sp_block_q3_k *b = dst;
    signed_block w;
    for (size_t i = 0; i < n / QK; i++, b++) {
        fit_signed(&plan, src + QK * i, b->d, &w);
        memset(b, 0, sizeof *b - sizeof b->d);
        for (int k = 0; k < 16; k++) {
            int s = w.scale[k] + 32;
            b->scales[k % 8] |= (uint8_t)((s & 15) << (4 * (k / 8)));
            b->scales[8 + k % 4] |= (uint8_t)((s >> 4) << (2 * (k / 4)));
        }
        for (int e = 0; e < QK; e++) {
            int q = w.level[e] + 4;
            b->qs[32 * (e / 128) + e % 32] |= (uint8_t)((q & 3) << (2 * (e / 32 % 4)));
            b->hmask[e % 32] |= (uint8_t)((q >> 2) << (e / 32));
        }
    }
}

void sp_pack_q6_k(size_t n, const float *src, void *dst)
{
    static const signed_plan plan = {16, -32, 31, -128, 127, 0};
    sp_block_q6_k *b = dst;
    signed_block w;
    for (size_t i = 0; i < n / QK; i++, b++) {
        memset(b, 0, sizeof *b);
        fit_signed(&plan, src + QK * i, b->d, &w);
        for (int k = 0; k < 16; k++) b->scales[k] = (int8_t)w.scale[k];
        for (int e = 0; e < QK; e++) {
            int q = w.level[e] + 32, half = e / 128, group = e / 32 % 4, l = e % 32;
            b->ql[64 * half + 32 * (group % 2) + l] |= (uint8_t)((q & 15) << (4 * (group / 2)));
            b->qh[32 * half + l] |= (uint8_t)((q >> 4) << (2 * group));
        }
    }
}

void sp_pack_iq4_xs(size_t n, const float *src, void *dst)
{
    static const signed_plan plan = {32, 0, 0, -32, 31, 1};
    sp_block_iq4_xs *b = dst;
    signed_block w;
    for (size_t i = 0; i < n / QK; i++, b++) {
        uint32_t high = 0;
        memset(b, 0, sizeof *b);
        fit_signed(&plan, src + QK * i, b->d, &w);
        for (int k = 0; k < 8; k++) {
            int s = w.scale[k] + 32;
            b->scales_l[k / 2] |= (uint8_t)((s & 15) << (4 * (k % 2)));
            high |= (uint32_t)(s >> 4) << (2 * k);
            for (int j = 0; j < 16; j++) {
                b->qs[16 * k + j] = (uint8_t)(w.level[32 * k + j] | w.level[32 * k + 16 + j] << 4);
            }
        }
        sp_store_u16(b->scales_h, (uint16_t)high);
    }
}

/* --- formats x = d s q - dmin m: Q2_K, Q4_K, Q5_K --- */

typedef struct affine_plan {
    int len;     /* elements per sub-block */
    int hi;      /* levels 0..hi */
    int int_max; /* scales and mins 0..int_max */
} affine_plan;

typedef struct affine_block {
    float d, dmin;
    int scale[16], min[16];
    uint8_t level[QK];
} affine_block;

static float measure_affine(const affine_plan *p, const float *x, float d, float m)
{
    float inverse = pack_inverse(d), error = 0, hi = (float)p->hi;
    for (int i = 0; i < p->len; i++) {
        float y = x[i] + m, r = y - d * pack_level(y * inverse, 0, hi);
        error += r * r;
    }
    return error;
}

/* Integer scale and min of sub-block b: the best within `reach` of the ideal ones. */
static void pick_affine(const affine_plan *p, const float *x, sp_affine ideal, int b, int reach,
                        affine_block *w)
{
    float top = (float)p->int_max, least = INFINITY;
    int s0 = (int)pack_level(ideal.d * pack_inverse(w->d), 0, top);
    int m0 = (int)pack_level(-ideal.m * pack_inverse(w->dmin), 0, top);
    w->scale[b] = s0;
    w->min[b] = m0;
    if (reach == 0) return;
    for (int s = s0 - reach; s <= s0 + reach; s++) {
        for (int m = m0 - reach; m <= m0 + reach; m++) {
            if (s < 0 || s > p->int_max || m < 0 || m > p->int_max) continue;
            float error = measure_affine(p, x, w->d * (float)s, w->dmin * (float)m);
            if (error < least) {
                least = error;
                w->scale[b] = s;
                w->min[b] = m;
            }
        }
    }
}

static void choose_affine_levels(const affine_plan *p, const float *x, affine_block *w)
{
    for (int b = 0; b < QK / p->len; b++) {
        const float *xb = x + b * p->len;
        float inverse = pack_inverse(w->d * (float)w->scale[b]), m = w->dmin * (float)w->min[b];
        for (int i = 0; i < p->len; i++) {
            w->level[b * p->len + i] = (uint8_t)pack_level((xb[i] + m) * inverse, 0, (float)p->hi);
        }
    }
}

/* d and dmin for given integers: the normal equations of x ~ d a - dmin c. */
static void refit_affine(const affine_plan *p, const float *x, affine_block *w)
{
    double aa = 0, ac = 0, cc = 0, ax = 0, cx = 0;
    for (int i = 0; i < QK; i++) {
        int b = i / p->len;
        double a = w->scale[b] * w->level[i], c = w->min[b];
        aa += a * a;
        ac += a * c;
        cc += c * c;
        ax += a * (double)x[i];
        cx += c * (double)x[i];
    }
    double det = aa * cc - ac * ac;
    if (det > 1e-9 * aa * cc) {
        w->d = (float)((ax * cc - cx * ac) / det);
        w->dmin = (float)((ax * ac - cx * aa) / det);
    } else if (aa > 0) {
        w->d = (float)((ax + (double)w->dmin * ac) / aa);
    }
}

static void fit_affine(const affine_plan *p, const float *src, uint8_t half_d[2], uint8_t half_m[2],
                       affine_block *w)
{
    float x[QK], top_d = 0, top_m = 0;
    sp_affine ideal[16];
    sp_pack_load(QK, src, x);
    for (int b = 0; b < QK / p->len; b++) {
        ideal[b] = sp_fit_affine(p->len, x + b * p->len, p->hi, 0);
        if (ideal[b].d > top_d) top_d = ideal[b].d;
        if (-ideal[b].m > top_m) top_m = -ideal[b].m;
    }
    w->d = sp_pack_half(top_d / (float)p->int_max, half_d);
    w->dmin = sp_pack_half(top_m / (float)p->int_max, half_m);
    for (int turn = 0; turn < 2; turn++) {
        for (int b = 0; b < QK / p->len; b++) pick_affine(p, x + b * p->len, ideal[b], b, turn, w);
        choose_affine_levels(p, x, w);
        refit_affine(p, x, w);
        w->d = sp_pack_half(w->d, half_d);
        w->dmin = sp_pack_half(w->dmin, half_m);
    }
    choose_affine_levels(p, x, w);
}

void sp_pack_q2_k(size_t n, const float *src, void *dst)
{
    static const affine_plan plan = {16, 3, 15};
    sp_block_q2_k *b = dst;
    affine_block w;
    for (size_t i = 0; i < n / QK; i++, b++) {
        memset(b, 0, sizeof *b);
        fit_affine(&plan, src + QK * i, b->d, b->dmin, &w);
        for (int k = 0; k < 16; k++) b->scales[k] = (uint8_t)(w.scale[k] | w.min[k] << 4);
        for (int e = 0; e < QK; e++) {
            b->qs[32 * (e / 128) + e % 32] |= (uint8_t)(w.level[e] << (2 * (e / 32 % 4)));
        }
    }
}

/* The inverse of sp_unpack_scales_k4. */
static void pack_scales_k4(const affine_block *w, uint8_t out[12])
{
    for (int k = 0; k < 4; k++) {
        int s = w->scale[k + 4], m = w->min[k + 4];
        out[k] = (uint8_t)(w->scale[k] | (s >> 4) << 6);
        out[k + 4] = (uint8_t)(w->min[k] | (m >> 4) << 6);
        out[k + 8] = (uint8_t)((s & 15) | (m & 15) << 4);
    }
}

static void join_nibbles_k4(const uint8_t level[QK], uint8_t qs[128])
{
    for (int t = 0; t < 4; t++) {
        for (int l = 0; l < 32; l++) {
            qs[32 * t + l] = (uint8_t)((level[64 * t + l] & 15) | (level[64 * t + 32 + l] & 15) << 4);
        }
    }
}

void sp_pack_q4_k(size_t n, const float *src, void *dst)
{
    static const affine_plan plan = {32, 15, 63};
    sp_block_q4_k *b = dst;
    affine_block w;
    for (size_t i = 0; i < n / QK; i++, b++) {
        fit_affine(&plan, src + QK * i, b->d, b->dmin, &w);
        pack_scales_k4(&w, b->scales);
        join_nibbles_k4(w.level, b->qs);
    }
}

void sp_pack_q5_k(size_t n, const float *src, void *dst)
{
    static const affine_plan plan = {32, 31, 63};
    sp_block_q5_k *b = dst;
    affine_block w;
    for (size_t i = 0; i < n / QK; i++, b++) {
        fit_affine(&plan, src + QK * i, b->d, b->dmin, &w);
        pack_scales_k4(&w, b->scales);
        join_nibbles_k4(w.level, b->qs);
        memset(b->qh, 0, sizeof b->qh);
        for (int e = 0; e < QK; e++) b->qh[e % 32] |= (uint8_t)((w.level[e] >> 4) << (e / 32));
    }
}
