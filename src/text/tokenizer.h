/* SPDX-License-Identifier: MIT */
/* The tokenizer's inside: what its loaders, the encoder and the writers of model files share. The public
 * interface is <sputnik/tokenizer.h>. Loaders take bytes or parsed metadata and copy what they need.
 *
 * Decisions that hold for every file:
 * - Added tokens (control and user-defined alike: bos, role markers, "<think>") are matched only under
 *   SP_ENCODE_SPECIAL, longest first; ordinary text never becomes one of them.
 * - DeepSeek LLM and Coder list 13 bytes that valid UTF-8 never has as added tokens whose text is a Latin
 *   letter. They are taken as what they are, the tokens of those bytes: "ü" is not one of them, byte 0xFC is.
 * - Bytes that are not UTF-8: each maximal run of them is a piece of its own, and the text between two runs
 * is split as a text of its own, so that decoding gives back every byte.
 * - NFC is applied if the tokenizer.json asks for it (Qwen2), as its publisher does; GGUF metadata have no
 * such field, and other readers of GGUF do not normalise either. */
#ifndef SP_TEXT_TOKENIZER_H
#define SP_TEXT_TOKENIZER_H

#include <sputnik/tokenizer.h>

#include "base/json.h"
#include "format/gguf.h"
#include "text/bpe.h"
#include "text/pretoken.h"

#include <stdatomic.h>

#define SP_TOKENIZER_ENDS_MAX 16
#define SP_TOKENIZER_JSON_MAX ((size_t)256 << 20) /* bytes of a file; published ones have 2-12 MB */

struct sp_tokenizer {
    sp_bpe bpe;
    sp_pretok *pretok;
    int32_t bos, eos; /* -1: none */
    bool adds_bos;
    bool normalizes; /* NFC before splitting */
    bool pre_is_assumed;
    int32_t ends[SP_TOKENIZER_ENDS_MAX];
    int n_ends;
    char *chat_template;
    int32_t *added; /* (n_added) ids of added tokens, sorted by their bytes */
    size_t n_added;
    bool added_first[256];            /* some added token starts with this byte */
    _Atomic(struct sp_vocab *) vocab; /* grammar_vocab.h; NULL until a grammar asks for it */
};

sp_status sp_tokenizer_from_gguf(sp_tokenizer **tokenizer, const sp_gguf *gguf, sp_error *err);

/* The files of a Hugging Face directory; all but the first may be NULL. config supplies vocab_size: rows
 * beyond the vocabulary are unused ids. */
typedef struct sp_tokenizer_files {
    const char *tokenizer_json;
    size_t tokenizer_json_len;
    const sp_json *tokenizer_config, *generation_config, *config;
    const char *chat_template; /* chat_template.jinja; goes before the one in tokenizer_config */
} sp_tokenizer_files;

sp_status sp_tokenizer_from_json(sp_tokenizer **tokenizer, const sp_tokenizer_files *files, sp_error *err);

/* A ranks file: one "base64 rank" per line (Llama 3's tokenizer.model, qwen.tiktoken). Merges follow from the
 * ranks. `added` (n_added texts) take the ids after the last rank. */
typedef struct sp_tokenizer_ranks {
    const char *text;
    size_t len;
    const char *pre; /* name of the pre-tokenizer */
    const char *const *added;
    size_t n_added;
} sp_tokenizer_ranks;

sp_status sp_tokenizer_from_tiktoken(sp_tokenizer **tokenizer, const sp_tokenizer_ranks *ranks,
                                     sp_error *err);

/* True if the file does not name its pre-tokenizer, so that one was chosen by the vocabulary. */
bool sp_tokenizer_pre_is_assumed(const sp_tokenizer *tokenizer);

/* SHA-256 over the vocabulary: the number of ids, then each id's length and bytes. Token shards carry it. */
void sp_vocab_hash(uint8_t hash[32], const sp_tokenizer *tokenizer);

/* For writers of GGUF files: the type number of an id, and the merges in rank order. The texts that files
 * carry are sp_tokenizer_piece through sp_byte_chars_encode for ordinary tokens and as they are for added
 * ones. */
int sp_tokenizer_type(const sp_tokenizer *tokenizer, int32_t id);
size_t sp_tokenizer_merge_count(const sp_tokenizer *tokenizer);
const sp_bpe_merge *sp_tokenizer_merge_at(const sp_tokenizer *tokenizer, size_t rank);

#endif
