/* SPDX-License-Identifier: MIT */
/* Storage formats: one table row each (design: one row per storage format).
 *
 * A row of n elements is stored as n / block blocks of block_bytes bytes. `act` says in which form the dot
 * kernel wants the other operand. Layouts: docs/formats.md. Packing is here; unpacking and dot products are
 * kernels, chosen per instruction set (tensor/kernels.h). */
#ifndef SP_TENSOR_DTYPE_H
#define SP_TENSOR_DTYPE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum sp_dtype {
    SP_DTYPE_F32,
    SP_DTYPE_F16,
    SP_DTYPE_BF16,
    SP_DTYPE_F8_E4M3, /* E4M3FN; a 128 x 128 block scale belongs to the tensor (sp_tensor.scale) */
    SP_DTYPE_Q4_0,
    SP_DTYPE_Q4_1,
    SP_DTYPE_Q5_0,
    SP_DTYPE_Q5_1,
    SP_DTYPE_Q8_0,
    SP_DTYPE_Q2_K,
    SP_DTYPE_Q3_K,
    SP_DTYPE_Q4_K,
    SP_DTYPE_Q5_K,
    SP_DTYPE_Q6_K,
    SP_DTYPE_IQ4_NL,
    SP_DTYPE_IQ4_XS,
    SP_DTYPE_IQ1_S,
    SP_DTYPE_IQ1_M,
    SP_DTYPE_IQ2_XXS,
    SP_DTYPE_IQ2_XS,
    SP_DTYPE_IQ2_S,
    SP_DTYPE_IQ3_XXS,
    SP_DTYPE_IQ3_S,
    SP_DTYPE_COUNT
} sp_dtype;

/* Form of the activation row that a dot kernel reads. */
typedef enum sp_act {
    SP_ACT_F32, /* float[n] */
    SP_ACT_Q8,  /* sp_act_q8[n / 32] */
    SP_ACT_Q8K, /* sp_act_q8k[n / 256] */
    SP_ACT_COUNT
} sp_act;

typedef struct sp_act_q8 {
    float d; /* x = d * q; d = max|x| / 127, rounded as sp_round_scale says */
    float s; /* sum of x as quantised, rounded likewise */
    int8_t q[32];
} sp_act_q8;

typedef struct sp_act_q8k {
    float d;          /* x = d * q */
    int8_t q[256];    /* |q| <= 127 */
    int16_t sums[16]; /* sums of 16 consecutive q */
} sp_act_q8k;

typedef struct sp_dtype_info {
    const char *name;        /* lower case, as on the command line: "q4_k" */
    const char *label;       /* as the field writes it: "Q4_K" */
    int ggml_type;           /* id in GGUF, -1 where GGUF has none */
    const char *safetensors; /* dtype name there, NULL where it has none */
    uint16_t block;          /* elements per block */
    uint16_t block_bytes;    /* bytes per block */
    sp_act act;
    bool packable; /* sp_dtype_pack works */
} sp_dtype_info;

/* The row of a dtype; never NULL for a value of the enum. */
const sp_dtype_info *sp_dtype_get(sp_dtype dtype);

/* Find by command-line name (case-insensitive), GGUF id or safetensors name: false if there is none. */
bool sp_dtype_by_name(const char *name, sp_dtype *dtype);
bool sp_dtype_by_ggml(uint32_t ggml_type, sp_dtype *dtype);
bool sp_dtype_by_safetensors(const char *name, sp_dtype *dtype);

/* Bytes of a row of n elements; 0 if n is no multiple of the block (or on overflow). */
size_t sp_dtype_row_bytes(sp_dtype dtype, size_t n);

/* Bytes of an activation row of n elements in form `act` (n a multiple of its block). */
size_t sp_act_row_bytes(sp_act act, size_t n);

/* Quantise src (n floats, n a multiple of the block) to dst. Deterministic, round half to even; NaN and
 * infinities in src are SP_E_RANGE (naming the element) for all but F32, F16 and BF16. */
sp_status sp_dtype_pack(sp_dtype dtype, const float *src, void *dst, size_t n, sp_error *err);

/* Scalar conversions, also used by kernels. */
float sp_f16_to_f32(uint16_t h);
uint16_t sp_f32_to_f16(float f); /* round to nearest even, overflow to infinity */
float sp_e4m3_to_f32(uint8_t v);
uint8_t sp_f32_to_e4m3(float f); /* round to nearest even, saturates at 448 */

static inline float sp_bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Round to nearest even, NaN kept quiet. Without a branch, so that loops become vectors. */
static inline uint16_t sp_f32_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, quiet = (u >> 16) | 0x40u;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

#endif
