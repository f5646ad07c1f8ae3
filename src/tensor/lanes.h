/* SPDX-License-Identifier: MIT */
/* The order of float sums: eight lanes, added at the end in one fixed order (kernels.h). And the rounding of activation scales. */
#ifndef SP_TENSOR_LANES_H
#define SP_TENSOR_LANES_H

#include <stdint.h>
#include <string.h>

static inline float sp_lanes_sum(const float l[8])
{
    return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}

/* A scale as the field's 8-bit activations hold it: rounded to half precision (to nearest, ties to even) where that is a normal
 * number. Outside that range float32 is kept, so that very small rows do not vanish. */
static inline float sp_round_scale(float x)
{
    float magnitude = x < 0.0f ? -x : x;
    if (!(magnitude >= 0x1.0p-14f && magnitude <= 65504.0f)) return x;
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    u = (u + 0xfffu + (u >> 13 & 1u)) & ~0x1fffu; /* 13 of float32's 23 fraction bits go */
    memcpy(&x, &u, sizeof x);
    return x;
}

#endif
