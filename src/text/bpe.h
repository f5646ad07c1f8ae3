/* SPDX-License-Identifier: MIT */
/* Byte-level BPE: the vocabulary (id -> bytes, bytes -> id), the ranked merges, and merging one piece.
 * Token texts are held as raw bytes: the printable stand-ins that files use for bytes ("G with dot" for a
 * space) are undone when a vocabulary is read. Merges work on ids. Filling order: reserve, set..., index,
 * add_merge..., finish; after that the structure is read-only and may be shared by threads.
 * Source of the algorithm: Sennrich et al. 2016 (arXiv:1508.07909), with GPT-2's byte alphabet. */
#ifndef SP_TEXT_BPE_H
#define SP_TEXT_BPE_H

#include <sputnik/tokenizer.h>

#include "base/mem.h"

#define SP_BPE_TOKENS_MAX (1 << 24) /* largest published vocabulary: 2^18 rows; a bound on allocation */

/* Numbers as in GGUF's tokenizer.ggml.token_type. */
typedef enum sp_token_type {
    SP_TOKEN_NORMAL = 1,
    SP_TOKEN_UNKNOWN = 2,
    SP_TOKEN_CONTROL = 3,
    SP_TOKEN_USER_DEFINED = 4, /* added tokens that files do not flag as special: "<think>", role markers */
    SP_TOKEN_UNUSED = 5,       /* padding rows: no text */
    SP_TOKEN_BYTE = 6
} sp_token_type;

typedef struct sp_bpe_token {
    uint32_t offset; /* into sp_bpe.bytes */
    uint32_t len;
    uint8_t type;  /* sp_token_type */
    uint8_t whole; /* a piece with exactly these bytes always becomes this one token */
} sp_bpe_token;

typedef struct sp_bpe_merge {
    int32_t left, right, merged;
} sp_bpe_merge;

typedef struct sp_bpe_slot {
    uint32_t hash;
    int32_t id; /* -1: empty */
} sp_bpe_slot;

typedef struct sp_bpe_pair {
    int32_t left, right; /* left -1: empty */
    uint32_t rank;
} sp_bpe_pair;

typedef struct sp_bpe {
    sp_bpe_token *tokens; /* (n_tokens) */
    int32_t n_tokens;
    sp_buf bytes;         /* the tokens' bytes, each followed by a NUL */
    sp_bpe_slot *slots;   /* (slot_mask + 1), open addressing */
    sp_bpe_merge *merges; /* (n_merges), index = rank */
    sp_bpe_pair *pairs;   /* (pair_mask + 1), open addressing */
    uint32_t slot_mask, pair_mask;
    size_t n_merges, merges_cap;
    int32_t byte_ids[256]; /* token of each single byte, -1 if the vocabulary lacks it */
    bool ignore_merges;    /* a piece that is a vocabulary entry is taken whole (Llama 3) */
} sp_bpe;

/* Room for ids 0..n-1, all unused. SP_E_FORMAT if n is negative or above SP_BPE_TOKENS_MAX. */
sp_status sp_bpe_reserve(sp_bpe *bpe, int64_t n, sp_error *err);
sp_status sp_bpe_set(sp_bpe *bpe, int32_t id, const char *bytes, size_t len, sp_token_type type,
                     sp_error *err);
sp_status sp_bpe_index(sp_bpe *bpe, sp_error *err);
/* Append the merge of the next rank. Pairs whose parts or result are no ordinary tokens can never apply and
 * are skipped; *known (may be NULL) tells. */
sp_status sp_bpe_add_merge(sp_bpe *bpe, const char *bytes, size_t n_left, size_t n_right, bool *known,
                           sp_error *err);
sp_status sp_bpe_finish(sp_bpe *bpe, sp_error *err);
void sp_bpe_clear(sp_bpe *bpe);

/* The ordinary token with exactly these bytes, -1 if there is none. */
int32_t sp_bpe_lookup(const sp_bpe *bpe, const char *bytes, size_t len);
/* The same over added tokens (control and user-defined). */
int32_t sp_bpe_lookup_added(const sp_bpe *bpe, const char *bytes, size_t len);

const char *sp_bpe_bytes(const sp_bpe *bpe, int32_t id, size_t *len); /* 0 <= id < n_tokens */
bool sp_bpe_is_added(const sp_bpe *bpe, int32_t id);

/* Append the ids of one piece (len >= 1). SP_E_RANGE if the vocabulary has no token for one of its bytes. */
sp_status sp_bpe_encode(const sp_bpe *bpe, sp_tokens *tokens, const char *piece, size_t len, sp_error *err);

/* The byte alphabet: decode the stand-in characters of `text` (UTF-8) into out (len bytes are enough).
 * Returns the number of bytes, or -1 if some character stands for no byte. */
int64_t sp_byte_chars_decode(char *out, const char *text, size_t len);
/* And back: append the stand-ins of `bytes`. */
sp_status sp_byte_chars_encode(sp_buf *buf, const char *bytes, size_t len, sp_error *err);

#endif
