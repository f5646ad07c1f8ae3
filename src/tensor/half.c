/* SPDX-License-Identifier: MIT */
/* Conversions between float32 and the short floats IEEE half and E4M3FN (1 sign, 4 exponent bits
 * of bias 7, 3 mantissa bits, no infinity, NaN = 0x7F; "FP8 formats for deep learning", Micikevicius et al.
 * 2022). They work on bits, so that every machine and instruction set gives the same result. */
#include "tensor/dtype.h"

#include <math.h>
#include <string.h>

static float float_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t bits_of_float(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float sp_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t rest = (uint32_t)(h & 0x7fffu) << 13; /* exponent and mantissa in their places, bias 15 */
    uint32_t exponent = rest & 0x0f800000u;
    if (exponent == 0x0f800000u) { /* infinity, NaN (made quiet, as hardware does) */
        uint32_t quiet = (rest & 0x007fffffu) ? 0x00400000u : 0;
        return float_of_bits(sign | 0x7f800000u | (rest & 0x007fffffu) | quiet);
    }
    if (exponent == 0) { /* zero, subnormal: mantissa x 2^-24 */
        return float_of_bits(bits_of_float((float)(h & 0x3ffu) * 0x1p-24f) | sign);
    }
    return float_of_bits(sign | (rest + ((127u - 15u) << 23)));
}

uint16_t sp_f32_to_f16(float f)
{
    uint32_t u = bits_of_float(f), a = u & 0x7fffffffu;
    uint16_t sign = (uint16_t)((u >> 16) & 0x8000u);
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | ((a >> 13) & 0x3ffu));
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* from 65520 on */
    if (a < 0x38800000u) { /* below 2^-14: adding 0.5 rounds at 2^-24, the unit of half subnormals */
        return (uint16_t)(sign | (uint16_t)(bits_of_float(float_of_bits(a) + 0.5f) - 0x3f000000u));
    }
    a += 0x0fffu + ((a >> 13) & 1u);
    return (uint16_t)(sign | ((a - ((127u - 15u) << 23)) >> 13));
}

float sp_e4m3_to_f32(uint8_t v)
{
    uint32_t sign = (uint32_t)(v & 0x80u) << 24, a = v & 0x7fu;
    if (a == 0x7fu) return float_of_bits(sign | 0x7fc00000u);
    if (a < 8) return float_of_bits(sign | bits_of_float((float)a * 0x1p-9f));
    return float_of_bits(sign | ((a << 20) + ((127u - 7u) << 23)));
}

uint8_t sp_f32_to_e4m3(float f)
{
    uint32_t u = bits_of_float(f), a = u & 0x7fffffffu;
    uint8_t sign = (uint8_t)((u >> 24) & 0x80u);
    if (a > 0x7f800000u) return sign | 0x7fu;
    if (a < 0x3c800000u) { /* below 2^-6: units of 2^-9, brought to the unit place by adding 2^14 */
        return (uint8_t)(sign | (bits_of_float(float_of_bits(a) + 0x1p14f) - 0x46800000u));
    }
    if (a >= 0x43e00000u) return sign | 0x7eu; /* from 448 on */
    a += 0x7ffffu + ((a >> 20) & 1u);
    return (uint8_t)(sign | ((a - ((127u - 7u) << 23)) >> 20));
}
