/* SPDX-License-Identifier: MIT */
/* Building, trimming and counting automata. Start at sp_dfa_build(); sp_dfa_make() explores a step function
 * breadth first. */
#include "text/grammar_dfa.h"

#include <string.h>

void sp_dfa_clear(sp_dfa *dfa)
{
    sp_free(dfa->next);
    sp_free(dfa->flags);
    sp_free(dfa->n_texts);
    memset(dfa, 0, sizeof *dfa);
}

bool sp_dfa_accepts(const sp_dfa *dfa, const char *text, size_t len)
{
    uint32_t state = dfa->n_states > 1 ? SP_DFA_START : SP_DFA_DEAD;
    for (size_t i = 0; i < len && state; i++) state = sp_dfa_next(dfa, state, (uint8_t)text[i]);
    return state && (dfa->flags[state] & SP_DFA_ACCEPTS);
}

/* --- trimming ------------------------------------------------------------------------------------------- */

typedef struct trim {
    const uint32_t *next; /* (n, 256) */
    const uint8_t *flags;
    uint32_t n;
    uint8_t *useful;  /* (n) can reach an accepting state */
    uint32_t *number; /* (n) new number; 0: left out */
    uint32_t *order;  /* (n) old numbers by new ones */
    uint32_t *queue;  /* (n) scratch */
} trim;

/* Number what is reached from the start. */
static uint32_t reach(trim *t)
{
    uint32_t n = 1, at = 1;
    t->number[SP_DFA_START] = 1;
    t->order[n++] = SP_DFA_START;
    for (; at < n; at++) {
        const uint32_t *row = t->next + (size_t)t->order[at] * 256;
        for (int b = 0; b < 256; b++) {
            if (!row[b] || t->number[row[b]] || !t->useful[row[b]]) continue;
            t->number[row[b]] = n;
            t->order[n++] = row[b];
        }
    }
    return n;
}

/* Mark states from which an accepting one is reached, by a reversed search. */
static sp_status mark_useful(trim *t, sp_error *err)
{
    size_t n_edges = 0;
    for (size_t i = 256; i < (size_t)t->n * 256; i++)
        n_edges += t->next[i] != 0 && (i % 256 == 0 || t->next[i] != t->next[i - 1]);
    uint32_t *first = sp_calloc((size_t)t->n + 2, sizeof *first),
             *from = sp_malloc_array(n_edges, sizeof *from);
    if (!first || !from) {
        sp_free(first), sp_free(from);
        return sp_fail_nomem(err, "automaton", n_edges * sizeof *from);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 256; i < (size_t)t->n * 256; i++) {
            if (t->next[i] == 0 || (i % 256 && t->next[i] == t->next[i - 1])) continue;
            if (pass == 0)
                first[t->next[i] + 1]++;
            else
                from[first[t->next[i]]++] = (uint32_t)(i / 256);
        }
        if (pass == 0)
            for (uint32_t s = 0; s < t->n; s++) first[s + 1] += first[s];
    }
    uint32_t n = 0; /* first[s] is now the end of s, the beginning of s is the end of s - 1 */
    for (uint32_t s = 1; s < t->n; s++)
        if (t->flags[s] & SP_DFA_ACCEPTS) t->useful[s] = 1, t->queue[n++] = s;
    while (n) {
        uint32_t s = t->queue[--n];
        for (uint32_t e = first[s - 1]; e < first[s]; e++)
            if (!t->useful[from[e]]) t->useful[from[e]] = 1, t->queue[n++] = from[e];
    }
    sp_free(first), sp_free(from);
    return SP_OK;
}

/* Number of accepted continuations of each state: chains of states that can repeat count as many. */
static void count_texts(sp_dfa *dfa, uint32_t *waiting, uint32_t *queue, uint32_t *parents_first,
                        uint32_t *parents)
{
    uint32_t n = 0;
    for (uint32_t s = 1; s < dfa->n_states; s++) {
        dfa->n_texts[s] = SP_DFA_MANY;
        if (waiting[s] == 0) queue[n++] = s;
    }
    while (n) { /* states all of whose successors are counted */
        uint32_t s = queue[--n];
        uint64_t sum = (dfa->flags[s] & SP_DFA_ACCEPTS) != 0;
        for (int b = 0; b < 256; b++) {
            uint32_t to = sp_dfa_next(dfa, s, (uint8_t)b);
            if (to) sum += dfa->n_texts[to];
        }
        dfa->n_texts[s] = sum < SP_DFA_MANY ? (uint32_t)sum : SP_DFA_MANY;
        for (uint32_t e = parents_first[s]; e < parents_first[s + 1]; e++)
            if (--waiting[parents[e]] == 0) queue[n++] = parents[e];
    }
}

static sp_status count_all(sp_dfa *dfa, sp_error *err)
{
    size_t n = dfa->n_states, n_edges = 0, width = dfa->n_classes;
    for (size_t i = width; i < n * width; i++) n_edges += dfa->next[i] != 0;
    uint32_t *waiting = sp_calloc(n, sizeof *waiting), *queue = sp_malloc_array(n, sizeof *queue);
    uint32_t *first = sp_calloc(n + 2, sizeof *first), *parents = sp_malloc_array(n_edges, sizeof *parents);
    sp_status status = SP_OK;
    if (!waiting || !queue || !first || !parents) {
        status = sp_fail_nomem(err, "automaton", n_edges * sizeof *parents);
        goto done;
    }
    for (size_t i = width; i < n * width; i++) {
        if (!dfa->next[i]) continue;
        waiting[i / width]++;
        first[dfa->next[i] + 2]++;
    }
    for (size_t s = 0; s < n; s++) first[s + 2] += first[s + 1];
    for (size_t i = width; i < n * width; i++)
        if (dfa->next[i]) parents[first[dfa->next[i] + 1]++] = (uint32_t)(i / width);
    count_texts(dfa, waiting, queue, first, parents);
done:
    sp_free(waiting), sp_free(queue), sp_free(first), sp_free(parents);
    return status;
}

/* --- classes of bytes ----------------------------------------------------------------------------------- */

static bool same_column(const trim *t, uint32_t n_states, int a, int b)
{
    for (uint32_t s = 1; s < n_states; s++) {
        const uint32_t *row = t->next + (size_t)t->order[s] * 256;
        if (t->number[row[a]] != t->number[row[b]]) return false;
    }
    return true;
}

static uint32_t find_classes(const trim *t, uint32_t n_states, uint8_t classes[256], int sample[256])
{
    uint32_t n = 0;
    for (int b = 0; b < 256; b++) {
        uint32_t c = 0;
        if (b && same_column(t, n_states, b, b - 1)) {
            classes[b] = classes[b - 1];
            continue;
        }
        while (c < n && !same_column(t, n_states, b, sample[c])) c++;
        if (c == n) sample[n++] = b;
        classes[b] = (uint8_t)c;
    }
    return n;
}

static sp_status fill_dfa(sp_dfa *dfa, const trim *t, uint32_t n_states, sp_error *err)
{
    int sample[256];
    dfa->n_states = n_states;
    dfa->n_classes = find_classes(t, n_states, dfa->classes, sample);
    dfa->next = sp_calloc((size_t)n_states * dfa->n_classes, sizeof *dfa->next);
    dfa->flags = sp_calloc(n_states, 1);
    dfa->n_texts = sp_calloc(n_states, sizeof *dfa->n_texts);
    if (!dfa->next || !dfa->flags || !dfa->n_texts) return sp_fail_nomem(err, "automaton", n_states);
    dfa->is_string = n_states > 1;
    for (uint32_t s = 1; s < n_states; s++) {
        const uint32_t *row = t->next + (size_t)t->order[s] * 256;
        bool ends = true;
        for (uint32_t c = 0; c < dfa->n_classes; c++) {
            uint32_t to = t->number[row[sample[c]]];
            dfa->next[(size_t)s * dfa->n_classes + c] = to;
            ends = ends && to == 0;
        }
        dfa->flags[s] = t->flags[t->order[s]];
        if (dfa->flags[s] & SP_DFA_ACCEPTS) {
            if (ends)
                dfa->flags[s] |= SP_DFA_ENDS;
            else
                dfa->is_string = false;
        }
    }
    for (int b = 0; dfa->is_string && b < 256; b++)
        if (b != '"' && sp_dfa_next(dfa, SP_DFA_START, (uint8_t)b)) dfa->is_string = false;
    return count_all(dfa, err);
}

sp_status sp_dfa_build(sp_dfa *dfa, const uint32_t *next, const uint8_t *flags, uint32_t n_states,
                       sp_error *err)
{
    memset(dfa, 0, sizeof *dfa);
    trim t = {.next = next, .flags = flags, .n = n_states};
    t.useful = sp_calloc(n_states, 1);
    t.number = sp_calloc(n_states, sizeof *t.number);
    t.order = sp_calloc((size_t)n_states + 1, sizeof *t.order);
    t.queue = sp_malloc_array(n_states, sizeof *t.queue);
    sp_status status = SP_OK;
    if (!t.useful || !t.number || !t.order || !t.queue) status = sp_fail_nomem(err, "automaton", n_states);
    if (status == SP_OK && n_states > 1) status = mark_useful(&t, err);
    if (status == SP_OK) {
        uint32_t n = n_states > 1 && t.useful[SP_DFA_START] ? reach(&t) : 1;
        status = fill_dfa(dfa, &t, n, err);
    }
    sp_free(t.useful), sp_free(t.number), sp_free(t.order), sp_free(t.queue);
    if (status != SP_OK) sp_dfa_clear(dfa);
    return status;
}

/* --- from a step function ------------------------------------------------------------------------------- */

typedef struct exploration {
    const sp_dfa_maker *maker;
    uint8_t *states; /* (cap, size) */
    uint32_t *next;  /* (cap, 256) */
    uint8_t *flags;
    uint32_t n, cap;
    uint32_t *table; /* (n_table) open addressing, 0: empty */
    uint32_t n_table;
} exploration;

static uint32_t hash_bytes(const uint8_t *bytes, size_t n)
{
    uint64_t h = 14695981039346656037ull;
    for (size_t i = 0; i < n; i++) h = (h ^ bytes[i]) * 1099511628211ull;
    return (uint32_t)(h ^ h >> 32);
}

static sp_status grow(exploration *x, sp_error *err)
{
    uint32_t cap = x->cap ? x->cap * 2 : 64;
    if (x->n >= x->maker->max_states)
        return sp_fail(err, SP_E_LIMIT, "more than %u states", x->maker->max_states);
    uint8_t *states = sp_realloc_array(x->states, cap, x->maker->size);
    if (states) x->states = states;
    uint32_t *next = sp_realloc_array(x->next, cap, 256 * sizeof *next);
    if (next) x->next = next;
    uint8_t *flags = sp_realloc_array(x->flags, cap, 1);
    if (flags) x->flags = flags;
    uint32_t *table = sp_calloc((size_t)cap * 4, sizeof *table);
    if (!states || !next || !flags || !table) {
        sp_free(table);
        return sp_fail_nomem(err, "automaton", (uint64_t)cap * 1024);
    }
    sp_free(x->table);
    x->table = table;
    x->cap = cap;
    x->n_table = cap * 4;
    for (uint32_t s = 1; s < x->n; s++) {
        uint32_t at = hash_bytes(x->states + s * x->maker->size, x->maker->size) & (x->n_table - 1);
        while (table[at]) at = (at + 1) & (x->n_table - 1);
        table[at] = s;
    }
    return SP_OK;
}

static sp_status number_state(exploration *x, const void *state, uint32_t *number, sp_error *err)
{
    size_t size = x->maker->size;
    if (x->n == x->cap) SP_TRY(grow(x, err));
    uint32_t at = hash_bytes(state, size) & (x->n_table - 1);
    for (; x->table[at]; at = (at + 1) & (x->n_table - 1)) {
        *number = x->table[at];
        if (memcmp(x->states + *number * size, state, size) == 0) return SP_OK;
    }
    *number = x->table[at] = x->n;
    memcpy(x->states + x->n * size, state, size);
    memset(x->next + (size_t)x->n * 256, 0, 256 * sizeof *x->next);
    x->flags[x->n++] = x->maker->accepts(x->maker->ctx, state) ? SP_DFA_ACCEPTS : 0;
    return SP_OK;
}

/* Where a state's bytes lead. Neighbouring bytes mostly lead to the same state, which need not be looked up again. */
static sp_status explore_state(exploration *x, uint32_t s, uint8_t *state, uint8_t *last, sp_error *err)
{
    const sp_dfa_maker *m = x->maker;
    uint32_t number = 0; /* of `last` */
    uint64_t work = 256 + m->size * 4;
    if (m->budget && *m->budget < work) return sp_fail(err, SP_E_LIMIT, "too much work");
    if (m->budget) *m->budget -= work;
    for (int b = 0; b < 256; b++) {
        memcpy(state, x->states + s * m->size, m->size);
        if (!m->step(m->ctx, state, (uint8_t)b)) continue;
        if (!number || memcmp(state, last, m->size) != 0) {
            SP_TRY(number_state(x, state, &number, err));
            memcpy(last, state, m->size);
        }
        x->next[(size_t)s * 256 + (size_t)b] = number;
    }
    return SP_OK;
}

static sp_status explore(exploration *x, sp_error *err)
{
    const sp_dfa_maker *m = x->maker;
    uint32_t number;
    uint8_t *state = sp_malloc_array(m->size, 2);
    if (!state) return sp_fail_nomem(err, "automaton", m->size);
    sp_status status = grow(x, err);
    x->n = 1; /* the dead state */
    if (status == SP_OK) {
        memset(x->next, 0, 256 * sizeof *x->next);
        memset(x->states, 0, m->size);
        x->flags[0] = 0;
        status = number_state(x, m->start, &number, err);
    }
    for (uint32_t s = 1; status == SP_OK && s < x->n; s++)
        status = explore_state(x, s, state, state + m->size, err);
    sp_free(state);
    return status;
}

sp_status sp_dfa_make(sp_dfa *dfa, const sp_dfa_maker *maker, sp_error *err)
{
    exploration x = {.maker = maker};
    memset(dfa, 0, sizeof *dfa);
    sp_status status = explore(&x, err);
    if (status == SP_OK) status = sp_dfa_build(dfa, x.next, x.flags, x.n, err);
    sp_free(x.states), sp_free(x.next), sp_free(x.flags), sp_free(x.table);
    return status;
}
