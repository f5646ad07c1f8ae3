/* SPDX-License-Identifier: MIT */
/* The table of storage formats: one row each, and the look-ups over it. Layouts: blocks.h and
 * docs/formats.md. Packing is in pack.c, unpacking and dot products in the kernel table (kernels.h). GGUF ids
 * and block sizes: ggml.h and ggml-common.h of llama.cpp (MIT); safetensors names: the safetensors format
 * page. */
#include "tensor/dtype.h"

#include <assert.h>
#include <strings.h>
#include <string.h>

#include "tensor/blocks.h"

#define ROW_FLOAT(label, name, id, st, bytes)                                                                \
    {                                                                                                        \
        name, label, id, st, 1, bytes, SP_ACT_F32, true                                                      \
    }
#define ROW_32(label, name, id, type)                                                                        \
    {                                                                                                        \
        name, label, id, NULL, 32, sizeof(type), SP_ACT_Q8, true                                             \
    }
#define ROW_256(label, name, id, type)                                                                       \
    {                                                                                                        \
        name, label, id, NULL, 256, sizeof(type), SP_ACT_Q8K, true                                           \
    }
#define ROW_READ(label, name, id, type)                                                                      \
    {                                                                                                        \
        name, label, id, NULL, 256, sizeof(type), SP_ACT_Q8K, false                                          \
    }

static const sp_dtype_info dtype_rows[SP_DTYPE_COUNT] = {
    [SP_DTYPE_F32] = ROW_FLOAT("F32", "f32", 0, "F32", 4),
    [SP_DTYPE_F16] = ROW_FLOAT("F16", "f16", 1, "F16", 2),
    [SP_DTYPE_BF16] = ROW_FLOAT("BF16", "bf16", 30, "BF16", 2),
    [SP_DTYPE_F8_E4M3] = ROW_FLOAT("F8_E4M3", "f8_e4m3", -1, "F8_E4M3", 1),
    [SP_DTYPE_Q4_0] = ROW_32("Q4_0", "q4_0", 2, sp_block_q4_0),
    [SP_DTYPE_Q4_1] = ROW_32("Q4_1", "q4_1", 3, sp_block_q4_1),
    [SP_DTYPE_Q5_0] = ROW_32("Q5_0", "q5_0", 6, sp_block_q5_0),
    [SP_DTYPE_Q5_1] = ROW_32("Q5_1", "q5_1", 7, sp_block_q5_1),
    [SP_DTYPE_Q8_0] = ROW_32("Q8_0", "q8_0", 8, sp_block_q8_0),
    [SP_DTYPE_Q2_K] = ROW_256("Q2_K", "q2_k", 10, sp_block_q2_k),
    [SP_DTYPE_Q3_K] = ROW_256("Q3_K", "q3_k", 11, sp_block_q3_k),
    [SP_DTYPE_Q4_K] = ROW_256("Q4_K", "q4_k", 12, sp_block_q4_k),
    [SP_DTYPE_Q5_K] = ROW_256("Q5_K", "q5_k", 13, sp_block_q5_k),
    [SP_DTYPE_Q6_K] = ROW_256("Q6_K", "q6_k", 14, sp_block_q6_k),
    [SP_DTYPE_IQ4_NL] = ROW_32("IQ4_NL", "iq4_nl", 20, sp_block_iq4_nl),
    [SP_DTYPE_IQ4_XS] = ROW_256("IQ4_XS", "iq4_xs", 23, sp_block_iq4_xs),
    [SP_DTYPE_IQ1_S] = ROW_READ("IQ1_S", "iq1_s", 19, sp_block_iq1_s),
    [SP_DTYPE_IQ1_M] = ROW_READ("IQ1_M", "iq1_m", 29, sp_block_iq1_m),
    [SP_DTYPE_IQ2_XXS] = ROW_READ("IQ2_XXS", "iq2_xxs", 16, sp_block_iq2_xxs),
    [SP_DTYPE_IQ2_XS] = ROW_READ("IQ2_XS", "iq2_xs", 17, sp_block_iq2_xs),
    [SP_DTYPE_IQ2_S] = ROW_READ("IQ2_S", "iq2_s", 22, sp_block_iq2_s),
    [SP_DTYPE_IQ3_XXS] = ROW_READ("IQ3_XXS", "iq3_xxs", 18, sp_block_iq3_xxs),
    [SP_DTYPE_IQ3_S] = ROW_READ("IQ3_S", "iq3_s", 21, sp_block_iq3_s),
};

const sp_dtype_info *sp_dtype_get(sp_dtype dtype)
{
    assert((unsigned)dtype < SP_DTYPE_COUNT);
    return &dtype_rows[dtype];
}

bool sp_dtype_by_name(const char *name, sp_dtype *dtype)
{
    for (int i = 0; i < SP_DTYPE_COUNT; i++) {
        if (strcasecmp(dtype_rows[i].name, name) == 0) {
            *dtype = (sp_dtype)i;
            return true;
        }
    }
    return false;
}

bool sp_dtype_by_ggml(uint32_t ggml_type, sp_dtype *dtype)
{
    for (int i = 0; i < SP_DTYPE_COUNT; i++) {
        if (dtype_rows[i].ggml_type >= 0 && (uint32_t)dtype_rows[i].ggml_type == ggml_type) {
            *dtype = (sp_dtype)i;
            return true;
        }
    }
    return false;
}

bool sp_dtype_by_safetensors(const char *name, sp_dtype *dtype)
{
    for (int i = 0; i < SP_DTYPE_COUNT; i++) {
        if (dtype_rows[i].safetensors && strcmp(dtype_rows[i].safetensors, name) == 0) {
            *dtype = (sp_dtype)i;
            return true;
        }
    }
    return false;
}

size_t sp_dtype_row_bytes(sp_dtype dtype, size_t n)
{
    const sp_dtype_info *info = sp_dtype_get(dtype);
    size_t blocks = n / info->block;
    if (n % info->block != 0 || blocks > SIZE_MAX / info->block_bytes) return 0;
    return blocks * info->block_bytes;
}

size_t sp_act_row_bytes(sp_act act, size_t n)
{
    switch (act) {
    case SP_ACT_Q8: return n / 32 * sizeof(sp_act_q8);
    case SP_ACT_Q8K: return n / 256 * sizeof(sp_act_q8k);
    default: return n * sizeof(float);
    }
}
