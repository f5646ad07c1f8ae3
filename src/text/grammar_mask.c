/* SPDX-License-Identifier: MIT */
/* The tokens that a matcher allows. Inside a string nearly all of a vocabulary is allowed whatever surrounds the
 * string, so that part is looked up in a table by the string's state, and only tokens that end the string are followed
 * further; elsewhere few bytes are possible, and the walk over the vocabulary's tree is short. Start at
 * sp_matcher_mask(). */
#include "text/grammar_match_parts.h"

#include <string.h>

/* --- walks ---------------------------------------------------------------------------------------------- */

/* Where in the frames the stacks of each depth begin, and the arena's mark there. */
typedef struct walk {
    size_t first[SP_VOCAB_DEPTH_MAX + 2];
    sp_arena_mark marks[SP_VOCAB_DEPTH_MAX + 2];
} walk;

/* Room in the text for a token's bytes. */
static bool reserve_text(sp_matcher *m)
{
    if (sp_buf_reserve(&m->text, SP_VOCAB_DEPTH_MAX + 1, NULL) != SP_OK) m->failed = true;
    return !m->failed;
}

/* Allow the tokens among nodes [from, to) that the stacks in levels[0..n) lead through; `base` bytes of the path are
 * taken already. */
static void walk_nodes(sp_matcher *m, uint32_t from, uint32_t to, size_t base)
{
    const sp_vocab *v = m->vocab;
    walk w;
    w.first[0] = 0;
    w.first[1] = m->levels.n;
    sp_step_ctx c = {.m = m, .out = &m->levels, .text = m->text.data};
    for (uint32_t node = from; node < to && !m->failed;) {
        size_t d = v->depths[node] - base;
        uint8_t byte = v->bytes[node];
        w.marks[d] = sp_arena_save(m->arena);
        m->text.data[m->text.len + base + d] = (char)byte;
        c.len = m->text.len + base + d + 1;
        c.first = m->levels.n = w.first[d + 1];
        for (size_t s = w.first[d]; s < w.first[d + 1]; s++) {
            sp_frame top = m->levels.items[s];
            sp_match_step(&c, &top, byte);
        }
        w.first[d + 2] = m->levels.n;
        bool alive = m->levels.n > w.first[d + 1];
        if (alive) sp_vocab_allow(v, m->mask, v->ids[node]);
        uint32_t next = alive ? node + 1 : v->ends[node];
        /* back at this depth or above it, nothing refers any more to what the step has made */
        if (next < to && v->depths[next] - base <= d)
            sp_arena_restore(m->arena, w.marks[v->depths[next] - base]);
        node = next;
    }
}

/* --- strings -------------------------------------------------------------------------------------------- */

/* The table of a state of the two automata that all grammars share, made when first needed. */
static const sp_vocab_table *shared_table(sp_matcher *m, int which, uint32_t state)
{
    sp_vocab *v = m->vocab;
    sp_status status = SP_OK;
    pthread_mutex_lock(&v->mutex);
    sp_vocab_table **slot = &v->tables[which][state];
    if (!*slot) status = sp_vocab_table_create(slot, v, &m->grammar->dfas[which], state, NULL);
    const sp_vocab_table *table = *slot;
    pthread_mutex_unlock(&v->mutex);
    if (status != SP_OK) m->failed = true;
    return table;
}

/* The table of a pattern's state, among those that were asked for last. */
static const sp_vocab_table *own_table(sp_matcher *m, const sp_dfa *dfa, uint32_t state)
{
    size_t max = sizeof m->tables / sizeof m->tables[0], i = 0;
    while (i < m->n_tables && (m->tables[i].dfa != dfa || m->tables[i].state != state)) i++;
    if (i == m->n_tables) {
        sp_vocab_table *table;
        if (sp_vocab_table_create(&table, m->vocab, dfa, state, NULL) != SP_OK) {
            m->failed = true;
            return NULL;
        }
        if (m->n_tables == max) sp_vocab_table_destroy(m->tables[--m->n_tables].table);
        i = m->n_tables++;
        m->tables[i].dfa = dfa, m->tables[i].state = state, m->tables[i].table = table;
    }
    for (; i > 0; i--) {
        const sp_dfa *d = m->tables[i].dfa;
        uint32_t s = m->tables[i].state;
        sp_vocab_table *t = m->tables[i].table;
        m->tables[i] = m->tables[i - 1];
        m->tables[i - 1].dfa = d, m->tables[i - 1].state = s, m->tables[i - 1].table = t;
    }
    return m->tables[0].table;
}

/* Allow the table's tokens that begin at most `room` characters. */
static void allow_inside(sp_matcher *m, const sp_vocab_table *table, uint32_t room)
{
    if (room >= 255) {
        for (size_t w = 0; w < m->vocab->n_words; w++) m->mask[w] |= table->mask[w];
        return;
    }
    for (uint32_t i = 0; i < table->first[room + 1]; i++)
        m->mask[table->ids[i] >> 6] |= 1ull << (table->ids[i] & 63);
}

/* The name that ends at this node is read from some token below it, for names that come later in the same token. */
static void put_path(sp_matcher *m, uint32_t node)
{
    const sp_vocab *v = m->vocab;
    size_t n = (size_t)v->depths[node] + 1, len;
    while (v->ids[node] < 0) node++;
    const char *piece = sp_tokenizer_piece(v->tokenizer, v->ids[node], &len);
    memcpy(m->text.data + m->text.len, piece, n);
}

/* Follow the tokens that end the string which the stack is in. */
static void follow_exits(sp_matcher *m, const sp_vocab_table *table, const sp_frame *top, uint32_t min,
                         uint32_t max)
{
    const sp_vocab *v = m->vocab;
    sp_frame next = {.kind = SP_FRAME_DONE};
    if (top->parent) next = *top->parent;
    sp_arena_mark mark = sp_arena_save(m->arena);
    for (size_t i = 0; i < table->n_exits && !m->failed; i++) {
        uint32_t node = table->exits[i], chars = table->exit_chars[i];
        if (chars < min || chars > max) continue;
        sp_vocab_allow(v, m->mask, v->ids[node]);
        if (v->ends[node] == node + 1) continue;
        if (top->kind == SP_FRAME_KEY) {
            put_path(m, node);
            next = sp_match_after_key(m, top, m->text.len + v->depths[node] + 1);
        }
        m->levels.n = 0;
        sp_step_ctx c = {.m = m, .out = &m->levels};
        sp_match_emit(&c, &next);
        walk_nodes(m, node + 1, v->ends[node], (size_t)v->depths[node] + 1);
        sp_arena_restore(m->arena, mark);
    }
}

static void mask_string(sp_matcher *m, const sp_frame *top)
{
    bool key = top->kind == SP_FRAME_KEY;
    uint32_t min = key ? top->of.other->min : top->of.alt->min,
             max = key ? top->of.other->max : top->of.alt->max;
    const sp_vocab_table *table = shared_table(m, key ? SP_DFA_ANY_KEY : SP_DFA_ANY_STRING, top->state);
    if (!table) return;
    max = max == SP_GRAMMAR_NO_LIMIT ? max : max - top->count;
    min = min > top->count ? min - top->count : 0;
    allow_inside(m, table, max);
    follow_exits(m, table, top, min, max);
}

/* A name of any length among others that begin as it does: all is as for a name that no other begins as, but that it
 * may not become one of those. */
static void forbid_name(sp_matcher *m, const sp_frame *top, const char *name, size_t len)
{
    const sp_vocab *v = m->vocab;
    size_t at = m->text.len - top->start;
    if (len <= at || memcmp(name, m->text.data + top->start, at) != 0) return;
    for (uint32_t node = 0, end = v->n_nodes; node < end;) {
        if (v->bytes[node] != (uint8_t)name[at]) {
            node = v->ends[node];
            continue;
        }
        if (++at < len) {
            end = v->ends[node++];
            continue;
        }
        for (uint32_t n = node; n < v->ends[node]; n++)
            for (int32_t id = v->ids[n]; id >= 0; id = v->twins[id]) m->mask[id >> 6] &= ~(1ull << (id & 63));
        return;
    }
}

static void forbid_names(sp_matcher *m, const sp_frame *top)
{
    const sp_frame *object = top->parent;
    for (size_t i = 0; i < object->of.alt->n_props; i++)
        forbid_name(m, top, object->of.alt->props[i].key, object->of.alt->props[i].key_len);
    for (const sp_used_key *u = object->used; u; u = u->before)
        forbid_name(m, top, m->text.data + u->start, u->len);
}

/* --- the mask ------------------------------------------------------------------------------------------- */

typedef enum mask_way { BY_WALK, BY_TABLE, BY_OWN_TABLE, BY_TABLE_WITHOUT } mask_way;

static mask_way choose_way(const sp_frame *top)
{
    if (top->kind == SP_FRAME_STRING) return BY_TABLE;
    if (top->kind == SP_FRAME_DFA)
        return top->of.dfa->is_string && top->of.dfa->n_texts[top->state] > 1000 ? BY_OWN_TABLE : BY_WALK;
    if (top->kind != SP_FRAME_KEY || top->of.other->dfa != SP_DFA_ANY_KEY) return BY_WALK;
    if (top->fresh) return BY_TABLE;
    return top->of.other->max == SP_GRAMMAR_NO_LIMIT ? BY_TABLE_WITHOUT : BY_WALK;
}

static void mask_alone(sp_matcher *m, const sp_frame *top, mask_way way)
{
    if (way == BY_OWN_TABLE) {
        const sp_vocab_table *table = own_table(m, top->of.dfa, top->state);
        if (!table) return;
        allow_inside(m, table, SP_GRAMMAR_NO_LIMIT);
        follow_exits(m, table, top, 0, SP_GRAMMAR_NO_LIMIT);
        return;
    }
    mask_string(m, top);
    if (way == BY_TABLE_WITHOUT) forbid_names(m, top);
}

/* Names that are forbidden are taken back, so such stacks come before all others. */
static void mask_stacks(sp_matcher *m)
{
    const mask_way order[] = {BY_TABLE_WITHOUT, BY_TABLE, BY_OWN_TABLE};
    sp_arena_mark mark = sp_arena_save(m->arena);
    for (int o = 0; o < 3; o++) {
        for (size_t i = 0; i < m->now.n && !m->failed; i++)
            if (choose_way(&m->now.items[i]) == order[o]) mask_alone(m, &m->now.items[i], order[o]);
    }
    m->levels.n = 0;
    sp_step_ctx c = {.m = m, .out = &m->levels};
    for (size_t i = 0; i < m->now.n; i++)
        if (choose_way(&m->now.items[i]) == BY_WALK) sp_match_emit(&c, &m->now.items[i]);
    if (m->levels.n && !m->failed) walk_nodes(m, 0, m->vocab->n_nodes, 0);
    sp_arena_restore(m->arena, mark);
}

sp_status sp_matcher_mask(sp_matcher *matcher, uint64_t **mask, size_t *n_allowed, sp_error *err)
{
    sp_matcher *m = matcher;
    *mask = m->mask;
    if (!m->vocab) return sp_fail(err, SP_E_ARGUMENT, "matcher: no tokenizer");
    m->failed = false;
    memset(m->mask, 0, m->vocab->n_words * sizeof *m->mask);
    if (reserve_text(m)) mask_stacks(m);
    if (m->failed) return sp_fail_nomem(err, "matcher", m->vocab->n_words * 8);
    if (sp_matcher_is_complete(m))
        for (size_t i = 0; i < m->vocab->n_end_ids; i++)
            m->mask[m->vocab->end_ids[i] >> 6] |= 1ull << (m->vocab->end_ids[i] & 63);
    if (n_allowed) *n_allowed = 0;
    for (size_t w = 0; n_allowed && w < m->vocab->n_words; w++)
        *n_allowed += (size_t)__builtin_popcountll(m->mask[w]);
    return SP_OK;
}
