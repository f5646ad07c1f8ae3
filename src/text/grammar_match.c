/* SPDX-License-Identifier: MIT */
/* Stepping through a grammar byte by byte. Start at sp_matcher_push(). */
#include "text/grammar_match_parts.h"

#include <string.h>

/* --- tools ---------------------------------------------------------------------------------------------- */

static bool same_used(const sp_used_key *a, const sp_used_key *b)
{
    for (; a != b; a = a->before, b = b->before)
        if (!a || !b || a->start != b->start || a->len != b->len) return false;
    return true;
}

static bool same_stack(const sp_frame *a, const sp_frame *b)
{
    for (; a != b; a = a->parent, b = b->parent) {
        if (!a || !b || a->kind != b->kind || a->place != b->place || a->state != b->state ||
            a->count != b->count || a->index != b->index || a->node != b->node || a->of.alt != b->of.alt ||
            a->start != b->start || a->n_blanks != b->n_blanks || a->fresh != b->fresh ||
            !same_used(a->used, b->used))
            return false;
    }
    return true;
}

void sp_match_emit(sp_step_ctx *c, const sp_frame *top)
{
    sp_frames *out = c->out;
    if (out->n - c->first >= SP_MATCH_STACKS_MAX) return;
    for (size_t i = c->first; i < out->n; i++)
        if (same_stack(&out->items[i], top)) return;
    if (out->n == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 64;
        sp_frame *grown = sp_realloc_array(out->items, cap, sizeof *grown);
        if (!grown) {
            c->m->failed = true;
            return;
        }
        out->items = grown;
        out->cap = cap;
    }
    out->items[out->n++] = *top;
}

const sp_frame *sp_match_save(sp_matcher *m, const sp_frame *frame)
{
    sp_frame *saved = sp_arena_alloc(m->arena, sizeof *saved);
    if (saved)
        *saved = *frame;
    else
        m->failed = true;
    return saved;
}

/* White space as writers of JSON put it: one space, or a new line and its indentation; before the whole value a few of
 * any kind, after a colon a space only. Without bounds a model that does not know what to say may write blanks for ever. */
bool sp_match_blank(sp_step_ctx *c, const sp_frame *top, uint8_t byte)
{
    sp_frame next = *top;
    bool first = top->kind == SP_FRAME_VALUE && !top->parent;
    bool colon = top->kind == SP_FRAME_VALUE && top->parent && top->parent->kind == SP_FRAME_OBJECT;
    if (byte != ' ' && byte != '\n' && byte != '\t' && byte != '\r') return false;
    if (first) {
        if (top->n_blanks == SP_MATCH_FIRST_BLANKS) return true;
        next.n_blanks++;
    } else if (top->n_blanks == 0 && byte == ' ') {
        next.n_blanks = SP_BLANK_SPACE;
    } else if (top->n_blanks == 0 && byte == '\n' && !colon) {
        next.n_blanks = SP_BLANK_LINE;
    } else if (top->n_blanks >= SP_BLANK_LINE && byte != '\n' && byte != '\r' &&
               top->n_blanks < SP_BLANK_LINE + SP_MATCH_INDENT * top->depth) {
        next.n_blanks++;
    } else {
        return true;
    }
    sp_match_emit(c, &next);
    return true;
}

static bool alt_fits(uint32_t least, unsigned depth)
{
    return least != SP_GRAMMAR_NEVER && least <= SP_GRAMMAR_DEPTH_MAX - depth;
}

bool sp_match_fits(const sp_matcher *m, uint32_t node, unsigned depth)
{
    return alt_fits(m->grammar->nodes[node].depth, depth);
}

static const sp_frame done_frame = {.kind = SP_FRAME_DONE};

static void pop(sp_step_ctx *c, const sp_frame *top)
{
    sp_match_emit(c, top->parent ? top->parent : &done_frame);
}

/* --- values --------------------------------------------------------------------------------------------- */

/* A value of the node may come next. */
void sp_match_value(sp_step_ctx *c, uint32_t node, const sp_frame *parent, unsigned depth)
{
    sp_frame value = {.kind = SP_FRAME_VALUE, .parent = parent, .node = node, .depth = (uint8_t)depth};
    sp_match_emit(c, &value);
}

static void step_dfa(sp_step_ctx *c, const sp_frame *top, uint8_t byte)
{
    const sp_dfa *dfa = top->of.dfa;
    uint32_t to = sp_dfa_next(dfa, top->state, byte);
    if (to == SP_DFA_DEAD) {
        if ((dfa->flags[top->state] & SP_DFA_ACCEPTS) && top->parent) sp_match_step(c, top->parent, byte);
    } else if (dfa->flags[to] & SP_DFA_ENDS) {
        pop(c, top);
    } else {
        sp_frame next = *top;
        next.state = to;
        sp_match_emit(c, &next);
    }
}

static void step_string(sp_step_ctx *c, const sp_frame *top, uint8_t byte)
{
    const sp_dfa *dfa = &c->m->grammar->dfas[SP_DFA_ANY_STRING];
    const sp_alt *alt = top->of.alt;
    uint32_t to = sp_dfa_next(dfa, top->state, byte);
    sp_frame next = *top;
    if (to == SP_DFA_DEAD) return;
    if (dfa->flags[to] & SP_DFA_ENDS) {
        if (top->count >= alt->min) pop(c, top);
        return;
    }
    if (dfa->flags[top->state] & SP_DFA_CHAR) {
        if (top->count >= alt->max) return;
        /* beyond what the bounds ask for, all counts are one */
        if (alt->max != SP_GRAMMAR_NO_LIMIT || top->count < alt->min) next.count++;
    }
    next.state = to;
    sp_match_emit(c, &next);
}

static void begin_alt(sp_step_ctx *c, const sp_alt *alt, const sp_frame *value, uint8_t byte)
{
    sp_frame top = {.parent = value->parent, .depth = value->depth, .of.alt = alt};
    switch (alt->kind) {
    case SP_ALT_DFA:
        top.kind = SP_FRAME_DFA;
        top.of.dfa = &c->m->grammar->dfas[alt->dfa];
        top.state = SP_DFA_START;
        step_dfa(c, &top, byte);
        return;
    case SP_ALT_STRING:
        if (byte != '"') return;
        top.kind = SP_FRAME_STRING;
        top.state = sp_dfa_next(&c->m->grammar->dfas[SP_DFA_ANY_STRING], SP_DFA_START, byte);
        break;
    case SP_ALT_ARRAY:
        if (byte != '[') return;
        top.kind = SP_FRAME_ARRAY;
        top.depth++;
        break;
    case SP_ALT_OBJECT:
        if (byte != '{') return;
        top.kind = SP_FRAME_OBJECT;
        top.depth++;
        break;
    }
    sp_match_emit(c, &top);
}

static void step_value(sp_step_ctx *c, const sp_frame *top, uint8_t byte)
{
    const sp_grammar_node *node = &c->m->grammar->nodes[top->node];
    if (sp_match_blank(c, top, byte)) return;
    for (size_t i = 0; i < node->n_alts; i++)
        if (alt_fits(node->alts[i].depth, top->depth)) begin_alt(c, &node->alts[i], top, byte);
}

static uint32_t item_node(const sp_alt *alt, uint32_t i)
{
    return i < alt->n_items ? alt->items[i] : alt->rest;
}

static bool takes_item(const sp_step_ctx *c, const sp_frame *top)
{
    return top->count < top->of.alt->max &&
           sp_match_fits(c->m, item_node(top->of.alt, top->count), top->depth);
}

uint32_t sp_match_count_item(const sp_alt *alt, uint32_t count)
{
    return alt->max == SP_GRAMMAR_NO_LIMIT && count >= alt->min && count >= alt->n_items ? count : count + 1;
}

static void step_array(sp_step_ctx *c, const sp_frame *top, uint8_t byte)
{
    const sp_alt *alt = top->of.alt;
    bool first = top->place == SP_AT_FIRST, closes = top->count >= alt->min;
    if ((first || closes) && sp_match_blank(c, top, byte)) return; /* no blanks before a comma */
    if (byte == ']') {
        if (closes) pop(c, top);
        return;
    }
    if ((!first && (byte != ',' || top->n_blanks)) || !takes_item(c, top)) return;
    sp_frame rest = *top;
    rest.place = SP_AT_NEXT;
    rest.n_blanks = 0;
    rest.count = sp_match_count_item(alt, top->count);
    const sp_frame *parent = sp_match_save(c->m, &rest);
    if (!parent) return;
    sp_frame value = {
        .kind = SP_FRAME_VALUE, .parent = parent, .node = item_node(alt, top->count), .depth = top->depth};
    if (first)
        step_value(c, &value, byte);
    else
        sp_match_emit(c, &value);
}

void sp_match_step(sp_step_ctx *c, const sp_frame *top, uint8_t byte)
{
    switch (top->kind) {
    case SP_FRAME_DONE: return;
    case SP_FRAME_VALUE: step_value(c, top, byte); return;
    case SP_FRAME_DFA: step_dfa(c, top, byte); return;
    case SP_FRAME_STRING: step_string(c, top, byte); return;
    case SP_FRAME_NAME: sp_match_name(c, top, byte); return;
    case SP_FRAME_KEY: sp_match_key(c, top, byte); return;
    case SP_FRAME_ARRAY:
        if (top->of.alt->n_classes)
            sp_match_set(c, top, byte);
        else
            step_array(c, top, byte);
        return;
    case SP_FRAME_OBJECT: sp_match_object(c, top, byte); return;
    }
}

/* --- the matcher ---------------------------------------------------------------------------------------- */

sp_status sp_matcher_create(sp_matcher **matcher, const sp_grammar *grammar, const sp_tokenizer *tokenizer,
                            sp_error *err)
{
    sp_matcher *m = sp_calloc(1, sizeof *m);
    sp_status status = SP_OK;
    *matcher = NULL;
    if (!m) return sp_fail_nomem(err, "matcher", sizeof *m);
    m->grammar = grammar;
    m->keep = (size_t)1 << 17;
    m->arena = sp_arena_create(1 << 14);
    m->spare = sp_arena_create(1 << 14);
    if (!m->arena || !m->spare) status = sp_fail_nomem(err, "matcher", 1 << 15);
    if (status == SP_OK && tokenizer) status = sp_tokenizer_vocab(tokenizer, &m->vocab, err);
    if (status == SP_OK && m->vocab) {
        m->mask = sp_malloc_array(m->vocab->n_words, sizeof *m->mask);
        if (!m->mask) status = sp_fail_nomem(err, "matcher", m->vocab->n_words * 8);
    }
    if (status == SP_OK) {
        sp_step_ctx c = {.m = m, .out = &m->now};
        sp_match_value(&c, grammar->root, NULL, 0);
        if (m->failed) status = sp_fail_nomem(err, "matcher", sizeof *m);
    }
    if (status != SP_OK)
        sp_matcher_destroy(m);
    else
        *matcher = m;
    return status;
}

void sp_matcher_destroy(sp_matcher *matcher)
{
    if (!matcher) return;
    for (size_t i = 0; i < matcher->n_tables; i++) sp_vocab_table_destroy(matcher->tables[i].table);
    sp_free(matcher->now.items);
    sp_free(matcher->levels.items);
    sp_buf_clear(&matcher->text);
    sp_arena_destroy(matcher->arena);
    sp_arena_destroy(matcher->spare);
    sp_free(matcher->mask);
    sp_free(matcher);
}

static const sp_used_key *copy_used(sp_matcher *m, const sp_used_key *used)
{
    const sp_used_key *first = NULL, **link = &first;
    for (; used; used = used->before) {
        sp_used_key *copy = sp_arena_alloc(m->arena, sizeof *copy);
        if (!copy) {
            m->failed = true;
            return NULL;
        }
        *copy = *used;
        *link = copy;
        link = &copy->before;
        *link = NULL;
    }
    return first;
}

/* Copy what lies below the tops to the other arena, so that dead stacks take no memory. */
static void compact(sp_matcher *m)
{
    sp_arena *old = m->arena;
    m->arena = m->spare;
    m->spare = old;
    for (size_t i = 0; i < m->now.n && !m->failed; i++) {
        sp_frame *frame = &m->now.items[i];
        frame->used = copy_used(m, frame->used);
        while (frame->parent && !m->failed) {
            sp_frame *copy = (sp_frame *)(uintptr_t)sp_match_save(m, frame->parent);
            if (!copy) return;
            copy->used = copy_used(m, copy->used);
            frame->parent = copy;
            frame = copy;
        }
    }
    sp_arena_reset(old);
    m->keep = sp_arena_used(m->arena) * 2;
    if (m->keep < (size_t)1 << 17) m->keep = (size_t)1 << 17;
}

sp_status sp_matcher_push(sp_matcher *matcher, const char *text, size_t len, bool *accepted, sp_error *err)
{
    sp_matcher *m = matcher;
    size_t before = m->text.len, from = 0, n = m->now.n;
    *accepted = false;
    m->failed = false;
    SP_TRY(sp_buf_append(&m->text, text, len, err));
    m->levels.n = 0;
    sp_step_ctx c = {.m = m, .out = &m->levels, .text = m->text.data, .len = before};
    for (size_t i = 0; i < len && n > 0; i++) {
        c.first = m->levels.n;
        c.len++;
        for (size_t s = 0; s < n; s++) {
            sp_frame top = i ? m->levels.items[from + s] : m->now.items[s];
            sp_match_step(&c, &top, (uint8_t)text[i]);
        }
        from = c.first;
        n = m->levels.n - from;
    }
    if (m->failed || n == 0) m->text.len = before;
    if (m->failed) return sp_fail_nomem(err, "matcher", sizeof(sp_frame));
    if (n == 0) return SP_OK;
    *accepted = true;
    if (len) {
        m->now.n = 0;
        c = (sp_step_ctx){.m = m, .out = &m->now};
        for (size_t s = 0; s < n; s++) sp_match_emit(&c, &m->levels.items[from + s]);
    }
    if (sp_arena_used(m->arena) > m->keep) compact(m);
    return m->failed ? sp_fail_nomem(err, "matcher", m->keep) : SP_OK;
}

bool sp_matcher_is_complete(const sp_matcher *matcher)
{
    for (size_t i = 0; i < matcher->now.n; i++) {
        const sp_frame *top = &matcher->now.items[i];
        if (top->kind == SP_FRAME_DONE) return true;
        if (top->kind == SP_FRAME_DFA && !top->parent && (top->of.dfa->flags[top->state] & SP_DFA_ACCEPTS))
            return true;
    }
    return false;
}
