/* SPDX-License-Identifier: MIT */
/* Quantisers, one per packable format; called through sp_dtype_pack, which has checked n and the values. */
#ifndef SP_TENSOR_PACK_H
#define SP_TENSOR_PACK_H

#include "tensor/blocks.h"

typedef void (*sp_pack_fn)(size_t n, const float *src, void *dst);

/* These take any value; caches are written by them too (attend_scalar.c). */
void sp_pack_f32(size_t n, const float *src, void *dst);
void sp_pack_f16(size_t n, const float *src, void *dst);
void sp_pack_bf16(size_t n, const float *src, void *dst);

void sp_pack_q4_0(size_t n, const float *src, void *dst);
void sp_pack_q4_1(size_t n, const float *src, void *dst);
void sp_pack_q5_0(size_t n, const float *src, void *dst);
void sp_pack_q5_1(size_t n, const float *src, void *dst);
void sp_pack_q8_0(size_t n, const float *src, void *dst);
void sp_pack_iq4_nl(size_t n, const float *src, void *dst);

void sp_pack_q2_k(size_t n, const float *src, void *dst);
void sp_pack_q3_k(size_t n, const float *src, void *dst);
void sp_pack_q4_k(size_t n, const float *src, void *dst);
void sp_pack_q5_k(size_t n, const float *src, void *dst);
void sp_pack_q6_k(size_t n, const float *src, void *dst);
void sp_pack_iq4_xs(size_t n, const float *src, void *dst);

#endif
