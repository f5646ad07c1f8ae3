/* SPDX-License-Identifier: MIT */
/* Training a byte-level BPE vocabulary from word counts (Sennrich et al. 2016, arXiv:1508.07909): the most frequent
 * adjacent pair becomes a token until the vocabulary is full. Ids: the special tokens, the 256 bytes in the order of their
 * printable stand-ins (GPT-2's alphabet), then one id per merge.
 *
 * Ties: of pairs that are equally frequent the one with the lexicographically greatest bytes wins, the left part compared
 * first. So the result depends on the text alone, not on ids, threads or the order of files. (The trainer of the
 * `tokenizers` package takes the smallest ids instead.) */
#ifndef SP_DATA_BPE_TRAIN_H
#define SP_DATA_BPE_TRAIN_H

#include "data/word_table.h"
#include "text/bpe.h"

typedef struct sp_bpe_train_options {
    int32_t vocab_size; /* all ids: special tokens, 256 bytes, merges */
    uint64_t min_count; /* pairs less frequent than this are not merged (at least 1) */
    const char *const *specials;
    size_t n_specials;
} sp_bpe_train_options;

typedef struct sp_bpe_vocab {
    sp_buf bytes;
    size_t *offsets; /* (n_tokens + 1) into bytes */
    int32_t n_tokens, n_specials;
    sp_bpe_merge *merges; /* (n_merges) by rank */
    size_t n_merges;
} sp_bpe_vocab;

/* Errors: SP_E_ARGUMENT (vocab_size below n_specials + 256 or above SP_BPE_TOKENS_MAX, a special token twice), SP_E_NOMEM.
 * A text with too few frequent pairs gives fewer tokens than asked for. Cost: linear in the text changed by each merge. */
sp_status sp_bpe_train(sp_bpe_vocab *vocab, const sp_word_table *words, const sp_bpe_train_options *options,
                       sp_error *err);
void sp_bpe_vocab_clear(sp_bpe_vocab *vocab);

const char *sp_bpe_vocab_token(const sp_bpe_vocab *vocab, int32_t id, size_t *len);

#endif
