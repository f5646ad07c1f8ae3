/* SPDX-License-Identifier: MIT */
/* The vocabulary and merge tables of byte-level BPE. Merging itself is in bpe_merge.c. Start at
 * sp_bpe_reserve(); invariants after sp_bpe_finish():
 * 1. every slot and pair refers to a valid id or rank; 2. both tables keep at least half of their slots
 * empty, so every probe ends; 3. merges[r].merged has exactly the bytes of left followed by right. */
#include "text/bpe.h"

#include <string.h>

#include "text/bpe_parts.h"
#include "text/utf8.h"

/* Bytes that stand for themselves in the byte alphabet; the others map to U+0100... in increasing order. */
static bool is_printable_byte(int b)
{
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
}

static uint32_t byte_char(int byte)
{
    if (is_printable_byte(byte)) return (uint32_t)byte;
    uint32_t shifted = 0x100;
    for (int b = 0; b < byte; b++) shifted += !is_printable_byte(b);
    return shifted;
}

static int char_byte(uint32_t cp)
{
    if (cp < 256) return is_printable_byte((int)cp) ? (int)cp : -1;
    /* The 68 shifted bytes in increasing order: 0-32, 127-160, 173. */
    if (cp <= 0x120) return (int)cp - 0x100;
    if (cp <= 0x142) return (int)cp - 0x121 + 127;
    return cp == 0x143 ? 173 : -1;
}

int64_t sp_byte_chars_decode(char *out, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    int64_t n = 0;
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t step = sp_utf8_read(s + i, len - i, &cp);
        int byte = step ? char_byte(cp) : -1;
        if (byte < 0) return -1;
        out[n++] = (char)byte;
        i += step;
    }
    return n;
}

sp_status sp_byte_chars_encode(sp_buf *buf, const char *bytes, size_t len, sp_error *err)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char out[4];
        size_t n = sp_utf8_write(out, byte_char((unsigned char)bytes[i]));
        SP_TRY(sp_buf_append(buf, out, n, err));
    }
    return SP_OK;
}

sp_status sp_bpe_reserve(sp_bpe *bpe, int64_t n, sp_error *err)
{
    if (n < 0 || n > SP_BPE_TOKENS_MAX)
        return sp_fail(err, SP_E_FORMAT, "tokenizer: a vocabulary of %lld tokens, at most %d are supported",
                       (long long)n, SP_BPE_TOKENS_MAX);
    bpe->tokens = sp_calloc((size_t)n, sizeof *bpe->tokens);
    if (!bpe->tokens) return sp_fail_nomem(err, "vocabulary", (uint64_t)n * sizeof *bpe->tokens);
    for (int64_t i = 0; i < n; i++) bpe->tokens[i].type = SP_TOKEN_UNUSED;
    for (int i = 0; i < 256; i++) bpe->byte_ids[i] = -1;
    bpe->n_tokens = (int32_t)n;
    return sp_buf_append(&bpe->bytes, "", 1, err); /* offset 0: the empty text of unused ids */
}

sp_status sp_bpe_set(sp_bpe *bpe, int32_t id, const char *bytes, size_t len, sp_token_type type,
                     sp_error *err)
{
    if (id < 0 || id >= bpe->n_tokens)
        return sp_fail(err, SP_E_FORMAT, "tokenizer: token id %d lies outside the vocabulary of %d", id,
                       bpe->n_tokens);
    size_t offset = bpe->bytes.len;
    if (len >= UINT32_MAX || offset > UINT32_MAX - len - 1)
        return sp_fail(err, SP_E_LIMIT, "tokenizer: the vocabulary's text exceeds 4 GiB");
    SP_TRY(sp_buf_append(&bpe->bytes, bytes, len, err));
    SP_TRY(sp_buf_append(&bpe->bytes, "", 1, err));
    bpe->tokens[id] = (sp_bpe_token){(uint32_t)offset, (uint32_t)len, (uint8_t)type, 0};
    return SP_OK;
}

const char *sp_bpe_bytes(const sp_bpe *bpe, int32_t id, size_t *len)
{
    const sp_bpe_token *token = &bpe->tokens[id];
    *len = token->len;
    return bpe->bytes.data + token->offset;
}

bool sp_bpe_is_added(const sp_bpe *bpe, int32_t id)
{
    uint8_t type = bpe->tokens[id].type;
    return type == SP_TOKEN_CONTROL || type == SP_TOKEN_USER_DEFINED;
}

/* Smallest power of two that keeps a table of n entries at most half full. */
static uint32_t table_size(size_t n)
{
    uint32_t size = 16;
    while (size < 2 * n) size *= 2;
    return size;
}

static int32_t find_token(const sp_bpe *bpe, const char *bytes, size_t len, bool added)
{
    if (!bpe->slots || len == 0) return -1;
    uint32_t hash = sp_bpe_hash(bytes, len);
    for (uint32_t i = hash & bpe->slot_mask; bpe->slots[i].id >= 0; i = (i + 1) & bpe->slot_mask) {
        if (bpe->slots[i].hash != hash) continue;
        int32_t id = bpe->slots[i].id;
        const sp_bpe_token *token = &bpe->tokens[id];
        if (token->len == len && memcmp(bpe->bytes.data + token->offset, bytes, len) == 0 &&
            sp_bpe_is_added(bpe, id) == added)
            return id;
    }
    return -1;
}

int32_t sp_bpe_lookup(const sp_bpe *bpe, const char *bytes, size_t len)
{
    return find_token(bpe, bytes, len, false);
}

int32_t sp_bpe_lookup_added(const sp_bpe *bpe, const char *bytes, size_t len)
{
    return find_token(bpe, bytes, len, true);
}

sp_status sp_bpe_index(sp_bpe *bpe, sp_error *err)
{
    uint32_t size = table_size((size_t)bpe->n_tokens);
    bpe->slots = sp_malloc_array(size, sizeof *bpe->slots);
    if (!bpe->slots) return sp_fail_nomem(err, "vocabulary index", (uint64_t)size * sizeof *bpe->slots);
    bpe->slot_mask = size - 1;
    for (uint32_t i = 0; i < size; i++) bpe->slots[i].id = -1;
    for (int32_t id = 0; id < bpe->n_tokens; id++) {
        size_t len;
        const char *bytes = sp_bpe_bytes(bpe, id, &len);
        bool added = sp_bpe_is_added(bpe, id);
        /* Of two equal texts the first id is found; the other can still be decoded. */
        if (len == 0 || find_token(bpe, bytes, len, added) >= 0) continue;
        uint32_t hash = sp_bpe_hash(bytes, len);
        uint32_t i = hash & bpe->slot_mask;
        while (bpe->slots[i].id >= 0) i = (i + 1) & bpe->slot_mask;
        bpe->slots[i] = (sp_bpe_slot){hash, id};
        if (len == 1 && !added) bpe->byte_ids[(unsigned char)bytes[0]] = id;
    }
    return SP_OK;
}

sp_status sp_bpe_add_merge(sp_bpe *bpe, const char *bytes, size_t n_left, size_t n_right, bool *known,
                           sp_error *err)
{
    sp_bpe_merge merge = {sp_bpe_lookup(bpe, bytes, n_left), sp_bpe_lookup(bpe, bytes + n_left, n_right),
                          sp_bpe_lookup(bpe, bytes, n_left + n_right)};
    bool usable = merge.left >= 0 && merge.right >= 0 && merge.merged >= 0;
    if (known) *known = usable;
    if (!usable) return SP_OK;
    if (bpe->n_merges == SP_BPE_TOKENS_MAX) return sp_fail(err, SP_E_LIMIT, "tokenizer: too many merges");
    if (bpe->n_merges == bpe->merges_cap) {
        size_t cap = bpe->merges_cap ? 2 * bpe->merges_cap : 1024;
        sp_bpe_merge *grown = sp_realloc_array(bpe->merges, cap, sizeof *grown);
        if (!grown) return sp_fail_nomem(err, "merges", cap * sizeof *grown);
        bpe->merges = grown;
        bpe->merges_cap = cap;
    }
    bpe->merges[bpe->n_merges++] = merge;
    return SP_OK;
}

sp_status sp_bpe_finish(sp_bpe *bpe, sp_error *err)
{
    uint32_t size = table_size(bpe->n_merges);
    bpe->pairs = sp_malloc_array(size, sizeof *bpe->pairs);
    if (!bpe->pairs) return sp_fail_nomem(err, "merge index", (uint64_t)size * sizeof *bpe->pairs);
    bpe->pair_mask = size - 1;
    for (uint32_t i = 0; i < size; i++) bpe->pairs[i].left = -1;
    for (size_t rank = 0; rank < bpe->n_merges; rank++) {
        const sp_bpe_merge *merge = &bpe->merges[rank];
        if (sp_bpe_rank(bpe, merge->left, merge->right) != SP_BPE_NO_RANK) continue;
        uint32_t i = sp_bpe_pair_hash(merge->left, merge->right) & bpe->pair_mask;
        while (bpe->pairs[i].left >= 0) i = (i + 1) & bpe->pair_mask;
        bpe->pairs[i] = (sp_bpe_pair){merge->left, merge->right, (uint32_t)rank};
    }
    sp_bpe_mark_whole(bpe);
    return SP_OK;
}

void sp_bpe_clear(sp_bpe *bpe)
{
    sp_free(bpe->tokens);
    sp_free(bpe->slots);
    sp_free(bpe->merges);
    sp_free(bpe->pairs);
    sp_buf_clear(&bpe->bytes);
    memset(bpe, 0, sizeof *bpe);
}
