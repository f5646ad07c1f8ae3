/* SPDX-License-Identifier: MIT */
/* Documents into a token shard. Text becomes begin-of-sentence (if the vocabulary has it), its ids, end-of-sentence.
 * Fill in the middle: at a rate, documents are rewritten as DeepSeek trains them (prefix, suffix, middle):
 *   bos <fim_begin> prefix <fim_hole> suffix <fim_end> middle eos
 * cut at two places drawn uniformly among the characters. A conversation becomes what the model sees at inference: the
 * prompt of each reply as the chat format renders it, then the reply; only replies (their end mark included) are learnt.
 * A format that drops earlier reasoning makes the next prompt no continuation of the last reply: then the next turn
 * starts a document of its own, and each reply is still learnt once. */
#ifndef SP_DATA_PACK_H
#define SP_DATA_PACK_H

#include <sputnik/chat.h>

#include "base/pool.h"
#include "data/corpus.h"
#include "format/shard.h"

typedef struct sp_pack_options {
    const sp_tokenizer *tokenizer;
    double fim_rate;            /* 0..1 of the text documents */
    uint64_t seed;              /* of fill in the middle and shuffling */
    int shuffle;                /* non-zero: documents in a permuted order */
    sp_chat_format chat_format; /* of conversations */
    sp_pool *pool;              /* or NULL */
} sp_pack_options;

typedef struct sp_pack_counts {
    uint64_t texts, filled, conversations;
} sp_pack_counts;

/* Append the corpus to builder. What document i becomes depends on (seed, i) and its text alone. Errors name file and line:
 * those of sp_corpus_read; SP_E_FORMAT (a malformed message), SP_E_UNSUPPORTED (no fill-in-the-middle tokens, no
 * conversation format), SP_E_NOMEM. */
sp_status sp_pack_corpus(sp_shard_builder *builder, const sp_corpus *corpus, const sp_pack_options *options,
                         sp_pack_counts *counts, sp_error *err);

/* The documents that one corpus document gives. */
typedef struct sp_packed {
    sp_tokens tokens;
    sp_buf learnt; /* a byte per token */
    sp_buf ends;   /* size_t: end of each document in tokens */
    sp_status status;
    sp_error err;
    int is_conversation, is_filled;
} sp_packed;

/* Append ids [tokens.n before] to be learnt or not: brings `learnt` up to tokens.n with `value`. */
sp_status sp_packed_mark(sp_packed *packed, uint8_t value, sp_error *err);
sp_status sp_packed_end_document(sp_packed *packed, sp_error *err);

/* A conversation (pack_chat.c). */
sp_status sp_pack_messages(sp_packed *packed, const sp_json *messages, const sp_pack_options *options,
                           sp_error *err);

#endif
