/* SPDX-License-Identifier: MIT */
/* The order of float sums: eight lanes, added at the end in one fixed order (kernels.h). */
#ifndef SP_TENSOR_LANES_H
#define SP_TENSOR_LANES_H

static inline float sp_lanes_sum(const float l[8])
{
    return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}

#endif
