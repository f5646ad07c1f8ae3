/* SPDX-License-Identifier: MIT */
/* The parse result of a GGUF file, shared by gguf.c (parsing) and gguf_get.c (look-up), and little-endian
 * reads. */
#ifndef SP_FORMAT_GGUF_PARTS_H
#define SP_FORMAT_GGUF_PARTS_H

#include "format/gguf.h"
#include "format/names.h"

#include <stdio.h>

struct sp_gguf {
    uint32_t version;
    uint64_t alignment;
    size_t n_kv, n_tensors;
    sp_gguf_kv *kvs;
    sp_gguf_tensor *tensors;
    sp_names keys; /* key -> index of kvs */
};

static inline uint16_t sp_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t sp_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t sp_le64(const uint8_t *p)
{
    return (uint64_t)sp_le32(p) | (uint64_t)sp_le32(p + 4) << 32;
}

#endif
