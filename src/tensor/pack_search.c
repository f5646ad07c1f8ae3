/* SPDX-License-Identifier: MIT */
/* The least-squares searches of pack_search.h. For fixed levels q the best scale of x ~ d q is
 * d = sum(q x) / sum(q q), and it lowers the error by sum(q x)^2 / sum(q q); with an offset the normal
 * equations are 2 x 2. */
#include "tensor/pack_search.h"

#include <math.h>

#include "tensor/decode.h"

float sp_pack_half(float v, uint8_t out[2])
{
    uint16_t h = sp_f32_to_f16(pack_clamp(v, -65504.0f, 65504.0f));
    sp_store_u16(out, h);
    return sp_f16_to_f32(h);
}

float sp_pack_load(int n, const float *src, float *x)
{
    float amax = 0;
    for (int i = 0; i < n; i++) {
        x[i] = pack_clamp(src[i], -PACK_HUGE, PACK_HUGE);
        float a = fabsf(x[i]);
        if (a > amax) amax = a;
    }
    return amax;
}

static float find_signed_max(int n, const float *x)
{
    float best = 0;
    for (int i = 0; i < n; i++) {
        if (fabsf(x[i]) > fabsf(best)) best = x[i];
    }
    return best;
}

/* Levels for the scale 1 / inverse; returns the scale refitted to them and its gain. */
typedef struct scale_try {
    float d, gain;
} scale_try;

static scale_try try_scale(int n, const float *x, float inverse, float lo, float hi)
{
    float qx = 0, qq = 0;
    for (int i = 0; i < n; i++) {
        float q = pack_level(x[i] * inverse, lo, hi);
        qx += q * x[i];
        qq += q * q;
    }
    scale_try t = {0, 0};
    if (qq > 0) {
        t.d = qx / qq;
        t.gain = qx * t.d;
    }
    return t;
}

/* The largest value goes to the level `edge` or somewhat beyond or short of it. */
float sp_fit_scale(int n, const float *x, int lo, int hi)
{
    float top = find_signed_max(n, x), flo = (float)lo, fhi = (float)hi;
    if (fabsf(top) < PACK_TINY) return 0;
    scale_try best = {0, -1};
    const float steps = 10, reach = lo <= -16 ? 1.2f : 3.2f; /* fine levels gain nothing from cutting far */
    for (int side = 0; side < 2; side++) {
        float edge = side ? fhi : flo;
        for (int k = -4; k <= (int)steps; k++) {
            float level = edge * (1.0f + (float)k * reach / (steps * fhi));
            scale_try t = try_scale(n, x, level / top, flo, fhi);
            if (t.gain > best.gain) best = t;
        }
    }
    for (int turn = 0; turn < 3; turn++) {
        scale_try t = try_scale(n, x, pack_inverse(best.d), flo, fhi);
        if (t.gain <= best.gain) break;
        best = t;
    }
    return best.d;
}

/* Midpoints between neighbouring IQ4 values. */
static const float iq4_bounds[15] = {-115.5f, -93.5f, -74.0f, -57.0f, -42.0f, -28.5f, -16.0f, -4.5f,
                                     7.0f,    19.0f,  31.5f,  45.5f,  61.0f,  79.0f,  101.0f};

int sp_iq4_nearest(float v)
{
    int i = v > iq4_bounds[7] ? 8 : 0;
    i += v > iq4_bounds[i + 3] ? 4 : 0;
    i += v > iq4_bounds[i + 1] ? 2 : 0;
    i += v > iq4_bounds[i] ? 1 : 0;
    return i;
}

static scale_try try_scale_iq4(int n, const float *x, float inverse)
{
    float qx = 0, qq = 0;
    for (int i = 0; i < n; i++) {
        float q = (float)sp_iq4_values[sp_iq4_nearest(x[i] * inverse)];
        qx += q * x[i];
        qq += q * q;
    }
    scale_try t = {qx / qq, qx * (qx / qq)}; /* qq > 0: no IQ4 value is zero */
    return t;
}

float sp_fit_scale_iq4(int n, const float *x)
{
    float top = find_signed_max(n, x);
    if (fabsf(top) < PACK_TINY) return 0;
    scale_try best = {0, -1};
    for (int side = 0; side < 2; side++) {
        for (int k = -3; k <= 9; k++) {
            float level = side ? 113.0f + 4.0f * (float)k : -127.0f - 4.0f * (float)k;
            scale_try t = try_scale_iq4(n, x, level / top);
            if (t.gain > best.gain) best = t;
        }
    }
    for (int turn = 0; turn < 2; turn++) {
        scale_try t = try_scale_iq4(n, x, pack_inverse(best.d));
        if (t.gain <= best.gain) break;
        best = t;
    }
    return best.d;
}

/* Sums over a group that do not depend on the levels. */
typedef struct group_sums {
    float n, x, m_max, hi;
} group_sums;

typedef struct affine_try {
    sp_affine fit;
    float gain; /* what the fit takes off sum(x x) */
} affine_try;

/* Levels for (x - m) * inverse; the fit is then solved for them. */
static affine_try try_affine(const float *x, const group_sums *g, float inverse, float m)
{
    float qx = 0, qq = 0, q1 = 0;
    int n = (int)g->n;
    for (int i = 0; i < n; i++) {
        float q = pack_level((x[i] - m) * inverse, 0, g->hi);
        qx += q * x[i];
        qq += q * q;
        q1 += q;
    }
    affine_try t = {{0, 0}, 0};
    float det = g->n * qq - q1 * q1;
    if (det > 0) {
        t.fit.d = (g->n * qx - q1 * g->x) / det;
        t.fit.m = (qq * g->x - q1 * qx) / det;
    } else {
        t.fit.m = g->x / g->n;
    }
    if (t.fit.m > g->m_max) { /* at its bound; the scale alone is refitted */
        t.fit.m = g->m_max;
        t.fit.d = qq > 0 ? (qx - t.fit.m * q1) / qq : 0;
    }
    if (t.fit.d < 0) t.fit.d = 0;
    float d = t.fit.d, b = t.fit.m;
    t.gain = 2 * (d * qx + b * g->x) - (d * d * qq + 2 * d * b * q1 + b * b * g->n);
    return t;
}

/* The values are taken from their smallest one on, which keeps the sums small beside their differences. */
sp_affine sp_fit_affine(int n, const float *src, int hi, float m_max)
{
    float x[PACK_MAX_GROUP], lo_x = src[0], hi_x = src[0], sum = 0;
    for (int i = 0; i < n; i++) {
        if (src[i] < lo_x) lo_x = src[i];
        if (src[i] > hi_x) hi_x = src[i];
    }
    if (lo_x > m_max) lo_x = m_max;
    float range = hi_x - lo_x;
    if (range < PACK_TINY) return (sp_affine){0, lo_x};
    for (int i = 0; i < n; i++) {
        x[i] = src[i] - lo_x;
        sum += x[i];
    }
    group_sums g = {(float)n, sum, m_max - lo_x, (float)hi};
    affine_try best = {{0, 0}, -INFINITY};
    const float reach = hi <= 3 ? 1.6f : 3.0f;
    for (int k = -2; k <= 8; k++) {
        /* k > 0 narrows the range that the levels cover, from above or from both ends */
        float cut = (float)k * reach / 8.0f, inverse = ((float)hi + cut) / range;
        affine_try t = try_affine(x, &g, inverse, 0);
        if (t.gain > best.gain) best = t;
        if (k <= 0) continue;
        t = try_affine(x, &g, inverse, 0.5f * cut / inverse);
        if (t.gain > best.gain) best = t;
    }
    for (int turn = 0; turn < 4; turn++) {
        affine_try t = try_affine(x, &g, pack_inverse(best.fit.d), best.fit.m);
        if (t.gain <= best.gain) break;
        best = t;
    }
    best.fit.m += lo_x;
    return best.fit;
}
