/* SPDX-License-Identifier: MIT */
/* Building the tree of a vocabulary, and the tables of strings over it. Start at sp_tokenizer_vocab(). */
#include "text/grammar_vocab.h"

#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

/* --- the tree ------------------------------------------------------------------------------------------- */

typedef struct entry {
    const uint8_t *bytes;
    uint32_t len;
    int32_t id;
} entry;

static int compare_entries(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    uint32_t len = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->bytes, y->bytes, len);
    if (order) return order;
    if (x->len != y->len) return x->len < y->len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Ordinary tokens, sorted; total gets the sum of their lengths. */
static sp_status list_entries(const sp_tokenizer *tokenizer, entry **entries, size_t *n, size_t *total,
                              sp_error *err)
{
    int32_t size = sp_tokenizer_size(tokenizer);
    entry *list = sp_malloc_array((size_t)size, sizeof *list);
    *entries = list;
    *n = *total = 0;
    if (!list) return sp_fail_nomem(err, "vocabulary", (uint64_t)size * sizeof *list);
    for (int32_t id = 0; id < size; id++) {
        size_t len;
        const char *piece = sp_tokenizer_piece(tokenizer, id, &len);
        if (len == 0 || len > SP_VOCAB_DEPTH_MAX) continue;
        if (sp_tokenizer_is_special(tokenizer, id) || sp_tokenizer_is_end(tokenizer, id)) continue;
        list[(*n)++] = (entry){(const uint8_t *)piece, (uint32_t)len, id};
        *total += len;
    }
    qsort(list, *n, sizeof *list, compare_entries);
    return SP_OK;
}

static void fill_tree(sp_vocab *v, const entry *entries, size_t n)
{
    uint32_t path[SP_VOCAB_DEPTH_MAX]; /* nodes of the previous entry */
    uint32_t depth = 0;
    const uint8_t *last = NULL;
    for (size_t i = 0; i < n; i++) {
        const entry *e = &entries[i];
        uint32_t common = 0;
        while (common < depth && common < e->len && last[common] == e->bytes[common]) common++;
        while (depth > common) v->ends[path[--depth]] = v->n_nodes;
        for (; depth < e->len; depth++) {
            uint32_t node = path[depth] = v->n_nodes++;
            v->bytes[node] = e->bytes[depth];
            v->depths[node] = (uint16_t)depth;
            v->ids[node] = -1;
        }
        int32_t *slot = &v->ids[path[depth - 1]];
        v->twins[e->id] = *slot;
        *slot = e->id;
        last = e->bytes;
    }
    while (depth > 0) v->ends[path[--depth]] = v->n_nodes;
}

static sp_status build_tree(sp_vocab *v, sp_error *err)
{
    size_t n, total, size = (size_t)sp_tokenizer_size(v->tokenizer);
    entry *entries;
    sp_status status = list_entries(v->tokenizer, &entries, &n, &total, err);
    if (status != SP_OK) return status;
    v->n_words = (size + 63) / 64;
    v->bytes = sp_malloc_array(total, sizeof *v->bytes);
    v->depths = sp_malloc_array(total, sizeof *v->depths);
    v->ends = sp_malloc_array(total, sizeof *v->ends);
    v->ids = sp_malloc_array(total, sizeof *v->ids);
    v->twins = sp_malloc_array(size, sizeof *v->twins);
    v->end_ids = sp_malloc_array(SP_TOKENIZER_ENDS_MAX, sizeof *v->end_ids);
    if (!v->bytes || !v->depths || !v->ends || !v->ids || !v->twins || !v->end_ids)
        status = sp_fail_nomem(err, "vocabulary", total * 11);
    else
        fill_tree(v, entries, n);
    sp_free(entries);
    for (size_t id = 0; status == SP_OK && id < size && v->n_end_ids < SP_TOKENIZER_ENDS_MAX; id++)
        if (sp_tokenizer_is_end(v->tokenizer, (int32_t)id)) v->end_ids[v->n_end_ids++] = (int32_t)id;
    return status;
}

sp_status sp_tokenizer_vocab(const sp_tokenizer *tokenizer, sp_vocab **vocab, sp_error *err)
{
    sp_tokenizer *owner = (sp_tokenizer *)(uintptr_t)tokenizer; /* derived data, made once */
    *vocab = atomic_load(&owner->vocab);
    if (*vocab) return SP_OK;
    sp_vocab *v = sp_calloc(1, sizeof *v), *other = NULL;
    if (!v) return sp_fail_nomem(err, "vocabulary", sizeof *v);
    v->tokenizer = tokenizer;
    pthread_mutex_init(&v->mutex, NULL);
    sp_status status = build_tree(v, err);
    if (status != SP_OK) {
        sp_vocab_destroy(v);
        return status;
    }
    if (!atomic_compare_exchange_strong(&owner->vocab, &other, v)) { /* another thread was first */
        sp_vocab_destroy(v);
        v = other;
    }
    *vocab = v;
    return SP_OK;
}

void sp_vocab_destroy(sp_vocab *vocab)
{
    if (!vocab) return;
    for (int d = 0; d < 2; d++)
        for (size_t s = 0; s < sizeof vocab->tables[d] / sizeof vocab->tables[d][0]; s++)
            sp_vocab_table_destroy(vocab->tables[d][s]);
    pthread_mutex_destroy(&vocab->mutex);
    sp_free(vocab->bytes);
    sp_free(vocab->depths);
    sp_free(vocab->ends);
    sp_free(vocab->ids);
    sp_free(vocab->twins);
    sp_free(vocab->end_ids);
    sp_free(vocab);
}

/* --- tables --------------------------------------------------------------------------------------------- */

typedef struct table_maker {
    sp_vocab_table *table;
    const sp_vocab *vocab;
    uint8_t *chars; /* (n_words * 64) of the token */
    size_t cap_exits;
} table_maker;

static sp_status add_exit(table_maker *m, uint32_t node, uint8_t chars, sp_error *err)
{
    sp_vocab_table *t = m->table;
    if (t->n_exits == m->cap_exits) {
        size_t cap = m->cap_exits ? m->cap_exits * 2 : 256;
        uint32_t *exits = sp_realloc_array(t->exits, cap, sizeof *exits);
        if (exits) t->exits = exits;
        uint8_t *counts = sp_realloc_array(t->exit_chars, cap, 1);
        if (counts) t->exit_chars = counts;
        if (!exits || !counts) return sp_fail_nomem(err, "table of a string", cap * 5);
        m->cap_exits = cap;
    }
    t->exits[t->n_exits] = node;
    t->exit_chars[t->n_exits++] = chars;
    return SP_OK;
}

static sp_status walk_tree(table_maker *m, const sp_dfa *dfa, uint32_t state, sp_error *err)
{
    const sp_vocab *v = m->vocab;
    uint32_t states[SP_VOCAB_DEPTH_MAX + 1] = {state};
    uint8_t chars[SP_VOCAB_DEPTH_MAX + 1] = {0};
    for (uint32_t node = 0; node < v->n_nodes;) {
        size_t d = v->depths[node];
        uint32_t to = sp_dfa_next(dfa, states[d], v->bytes[node]);
        if (to == SP_DFA_DEAD || (dfa->flags[to] & SP_DFA_ENDS)) {
            if (to) SP_TRY(add_exit(m, node, chars[d], err));
            node = v->ends[node];
            continue;
        }
        states[d + 1] = to;
        chars[d + 1] = chars[d];
        if ((dfa->flags[states[d]] & SP_DFA_CHAR) && chars[d] < 255) chars[d + 1]++;
        int32_t id = v->ids[node];
        if (id >= 0) sp_vocab_allow(v, m->table->mask, id);
        for (; id >= 0; id = v->twins[id]) m->chars[id] = chars[d + 1];
        node++;
    }
    return SP_OK;
}

/* List the mask's ids by their characters. */
static sp_status sort_ids(table_maker *m, sp_error *err)
{
    sp_vocab_table *t = m->table;
    uint32_t at[256] = {0};
    size_t n = m->vocab->n_words * 64;
    for (size_t id = 0; id < n; id++)
        if (t->mask[id >> 6] >> (id & 63) & 1) at[m->chars[id]]++, t->n_ids++;
    t->ids = sp_malloc_array(t->n_ids, sizeof *t->ids);
    if (!t->ids) return sp_fail_nomem(err, "table of a string", t->n_ids * sizeof *t->ids);
    for (int c = 0; c < 256; c++) t->first[c + 1] = t->first[c] + at[c], at[c] = t->first[c];
    for (size_t id = 0; id < n; id++)
        if (t->mask[id >> 6] >> (id & 63) & 1) t->ids[at[m->chars[id]]++] = (uint32_t)id;
    return SP_OK;
}

sp_status sp_vocab_table_create(sp_vocab_table **table, const sp_vocab *vocab, const sp_dfa *dfa,
                                uint32_t state, sp_error *err)
{
    table_maker m = {.table = sp_calloc(1, sizeof **table), .vocab = vocab};
    *table = NULL;
    if (!m.table) return sp_fail_nomem(err, "table of a string", sizeof **table);
    m.chars = sp_calloc(vocab->n_words * 64, 1);
    m.table->mask = sp_calloc(vocab->n_words, sizeof *m.table->mask);
    sp_status status = SP_OK;
    if (!m.chars || !m.table->mask) status = sp_fail_nomem(err, "table of a string", vocab->n_words * 72);
    if (status == SP_OK) status = walk_tree(&m, dfa, state, err);
    if (status == SP_OK) status = sort_ids(&m, err);
    sp_free(m.chars);
    if (status != SP_OK)
        sp_vocab_table_destroy(m.table);
    else
        *table = m.table;
    return status;
}

void sp_vocab_table_destroy(sp_vocab_table *table)
{
    if (!table) return;
    sp_free(table->mask);
    sp_free(table->ids);
    sp_free(table->exits);
    sp_free(table->exit_chars);
    sp_free(table);
}
