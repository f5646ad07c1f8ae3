/* SPDX-License-Identifier: MIT */
/* How often each piece of text occurs: an open-addressing table of byte strings with counts, and the counting of a
 * whole corpus into one by several threads. Counts are sums, so neither threads nor order change them. */
#ifndef SP_DATA_WORD_TABLE_H
#define SP_DATA_WORD_TABLE_H

#include "base/pool.h"
#include "data/corpus.h"

typedef struct sp_word {
    size_t offset; /* into bytes */
    uint32_t len;
    uint32_t hash;
    uint64_t count;
} sp_word;

/* Zero-initialise. */
typedef struct sp_word_table {
    sp_buf bytes;
    sp_word *words; /* (n) in order of first occurrence */
    size_t n, cap;
    uint32_t *slots; /* (slot_mask + 1) index + 1, 0: empty */
    size_t slot_mask;
} sp_word_table;

#define SP_WORDS_MAX ((size_t)1 << 31)

sp_status sp_word_table_add(sp_word_table *table, const char *bytes, size_t len, uint64_t count,
                            sp_error *err);
void sp_word_table_clear(sp_word_table *table);

typedef struct sp_count_options {
    const char *pre; /* pre-tokenizer, by name */
    const char *const *specials;
    size_t n_specials; /* texts that cut a text and are not counted */
    sp_pool *pool;     /* or NULL */
} sp_count_options;

/* Add every pre-token of the corpus (of conversations: the contents) to the table. Bytes that are not UTF-8 are left out.
 * Errors: those of reading, SP_E_UNSUPPORTED (pre-tokenizer), SP_E_ARGUMENT (a special text that is empty or has a line end),
 * SP_E_LIMIT. */
sp_status sp_word_table_count(sp_word_table *table, const sp_corpus *corpus, const sp_count_options *options,
                              sp_error *err);

#endif
