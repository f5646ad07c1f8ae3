/* SPDX-License-Identifier: MIT */
/* Objects: known properties in their order, those that are not required may be left out, others come after them; no
 * name twice. What may come next always leaves the bounds on the number of properties within reach. */
#include "text/grammar_match_parts.h"

#include <string.h>

/* --- names that are taken ------------------------------------------------------------------------------- */

/* Counts how many of the names that the object may not have again continue text[start..len) to one of the class's. */
typedef struct taken {
    const sp_step_ctx *c;
    const sp_dfa *dfa;
    uint32_t state; /* after the text */
    const char *prefix;
    size_t n_prefix;
    uint32_t n_alike, n_accepted;
} taken;

static void count_name(taken *t, const char *name, size_t len)
{
    if (len < t->n_prefix || memcmp(name, t->prefix, t->n_prefix) != 0) return;
    uint32_t state = t->state;
    t->n_alike++;
    for (size_t i = t->n_prefix; i < len && state; i++) state = sp_dfa_next(t->dfa, state, (uint8_t)name[i]);
    t->n_accepted += state && (t->dfa->flags[state] & SP_DFA_ACCEPTS);
}

static void count_names(taken *t, const sp_frame *object)
{
    const sp_alt *alt = object->of.alt;
    for (size_t i = 0; i < alt->n_props; i++) count_name(t, alt->props[i].key, alt->props[i].key_len);
    for (const sp_used_key *u = object->used; u; u = u->before) count_name(t, t->c->text + u->start, u->len);
}

/* How many names of the class are still free, SP_DFA_MANY: any number. */
static uint32_t count_free(const sp_step_ctx *c, const sp_frame *object, const sp_alt_class *other)
{
    const sp_dfa *dfa = &c->m->grammar->dfas[other->dfa];
    if (dfa->n_states < 2) return 0;
    uint32_t n = dfa->n_texts[SP_DFA_START];
    if (other->dfa == SP_DFA_ANY_KEY && other->max == 0) n = 1;
    if (n == SP_DFA_MANY) return n;
    taken t = {.c = c, .dfa = dfa, .state = SP_DFA_START, .prefix = ""};
    count_names(&t, object);
    return n - t.n_accepted;
}

/* --- which properties may follow ------------------------------------------------------------------------ */

static bool class_fits(const sp_step_ctx *c, const sp_frame *object, const sp_alt_class *other)
{
    return sp_match_fits(c->m, other->node, object->depth) && count_free(c, object, other) > 0;
}

/* At most how many properties can still come from `index` on, as far as `enough` goes. */
static uint64_t count_reach(const sp_step_ctx *c, const sp_frame *object, size_t index, uint64_t enough)
{
    const sp_alt *alt = object->of.alt;
    uint64_t n = 0;
    for (size_t i = index; i < alt->n_props && n < enough; i++)
        n += sp_match_fits(c->m, alt->props[i].node, object->depth);
    for (size_t i = 0; i < alt->n_classes && n < enough; i++)
        if (sp_match_fits(c->m, alt->classes[i].node, object->depth))
            n += count_free(c, object, &alt->classes[i]);
    return n;
}

static uint64_t count_required(const sp_alt *alt, size_t index)
{
    uint64_t n = 0;
    for (size_t i = index; i < alt->n_props; i++) n += alt->props[i].required;
    return n;
}

/* May property `i` come next? (`others`: one of another name.) */
static bool takes_prop(const sp_step_ctx *c, const sp_frame *object, size_t i, bool others)
{
    const sp_alt *alt = object->of.alt;
    uint64_t count = (uint64_t)object->count + 1;
    if (!others && !sp_match_fits(c->m, alt->props[i].node, object->depth)) return false;
    if (alt->max != SP_GRAMMAR_NO_LIMIT &&
        count + count_required(alt, others ? alt->n_props : i + 1) > alt->max)
        return false;
    if (count >= alt->min) return true;
    uint64_t missing = alt->min - count;
    return count_reach(c, object, others ? alt->n_props : i + 1, missing + others) >= missing + others;
}

/* Call for each property that may come next: known ones up to the first required one, then classes. */
static bool each_next(sp_step_ctx *c, const sp_frame *object,
                      bool (*fn)(sp_step_ctx *c, const sp_frame *object, size_t prop,
                                 const sp_alt_class *other))
{
    const sp_alt *alt = object->of.alt;
    for (size_t i = object->index; i < alt->n_props; i++) {
        if (takes_prop(c, object, i, false) && fn(c, object, i, NULL)) return true;
        if (alt->props[i].required) return false;
    }
    if (alt->n_classes == 0 || !takes_prop(c, object, alt->n_props, true)) return false;
    for (size_t i = 0; i < alt->n_classes; i++)
        if (class_fits(c, object, &alt->classes[i]) && fn(c, object, alt->n_props, &alt->classes[i]))
            return true;
    return false;
}

static bool stop_at_once(sp_step_ctx *c, const sp_frame *object, size_t prop, const sp_alt_class *other)
{
    (void)c, (void)object, (void)prop, (void)other;
    return true;
}

/* Begin a name: its stack stands on the object's, which waits for the colon. */
static bool begin_name(sp_step_ctx *c, const sp_frame *object, size_t prop, const sp_alt_class *other)
{
    const sp_alt *alt = object->of.alt;
    sp_frame rest = *object;
    rest.place = SP_AT_COLON;
    rest.n_blanks = 0;
    if (alt->max != SP_GRAMMAR_NO_LIMIT || rest.count < alt->min) rest.count++;
    rest.index = (uint32_t)(other ? prop : prop + 1);
    rest.node = other ? other->node : alt->props[prop].node;
    const sp_frame *parent = sp_match_save(c->m, &rest);
    if (!parent) return true;
    sp_frame top = {.parent = parent, .depth = object->depth, .state = 1};
    if (other) {
        top.kind = SP_FRAME_KEY;
        top.of.other = other;
        top.start = c->len - 1;
        top.state = sp_dfa_next(&c->m->grammar->dfas[other->dfa], SP_DFA_START, '"');
        top.fresh = alt->n_props == 0 && !object->used;
        if (!top.state) return false;
    } else {
        top.kind = SP_FRAME_NAME;
        top.of.prop = &alt->props[prop];
    }
    sp_match_emit(c, &top);
    return false;
}

static bool can_close(const sp_frame *object)
{
    return object->count >= object->of.alt->min && count_required(object->of.alt, object->index) == 0;
}

void sp_match_object(sp_step_ctx *c, const sp_frame *top, uint8_t byte)
{
    static const sp_frame done = {.kind = SP_FRAME_DONE};
    sp_frame next = *top;
    /* no blanks before a colon or a comma */
    bool blanks = top->place != SP_AT_COLON && (top->place != SP_AT_NEXT || can_close(top));
    if (blanks && sp_match_blank(c, top, byte)) return;
    next.n_blanks = 0;
    if (top->place == SP_AT_COLON) {
        if (byte != ':') return;
        next.place = SP_AT_NEXT;
        next.node = 0;
        const sp_frame *parent = sp_match_save(c->m, &next);
        if (parent) sp_match_value(c, top->node, parent, top->depth);
    } else if (byte == '}') {
        if (top->place != SP_AT_MEMBER && can_close(top)) sp_match_emit(c, top->parent ? top->parent : &done);
    } else if (byte == '"') {
        if (top->place != SP_AT_NEXT) each_next(c, top, begin_name);
    } else if (byte == ',' && top->place == SP_AT_NEXT && top->n_blanks == 0 &&
               each_next(c, top, stop_at_once)) {
        next.place = SP_AT_MEMBER;
        sp_match_emit(c, &next);
    }
}

/* --- items that differ ---------------------------------------------------------------------------------- */

/* As names, so that a text that stands there is not written again. */
static void begin_item(sp_step_ctx *c, const sp_frame *array)
{
    const sp_alt *alt = array->of.alt;
    sp_frame rest = *array;
    rest.place = SP_AT_NEXT;
    rest.n_blanks = 0;
    rest.count = sp_match_count_item(alt, array->count);
    const sp_frame *parent = sp_match_save(c->m, &rest);
    sp_frame item = {.kind = SP_FRAME_KEY,
                     .parent = parent,
                     .depth = array->depth,
                     .of.other = alt->classes,
                     .start = c->len - 1,
                     .fresh = !array->used};
    item.state = sp_dfa_next(&c->m->grammar->dfas[alt->classes->dfa], SP_DFA_START, '"');
    if (parent && item.state) sp_match_emit(c, &item);
}

void sp_match_set(sp_step_ctx *c, const sp_frame *top, uint8_t byte)
{
    static const sp_frame done = {.kind = SP_FRAME_DONE};
    bool closes = top->count >= top->of.alt->min && top->place != SP_AT_MEMBER;
    if ((top->place != SP_AT_NEXT || closes) && sp_match_blank(c, top, byte)) return;
    if (byte == ']') {
        if (closes) sp_match_emit(c, top->parent ? top->parent : &done);
        return;
    }
    if (top->count >= top->of.alt->max || count_free(c, top, top->of.alt->classes) == 0) return;
    if (byte == '"' && top->place != SP_AT_NEXT) begin_item(c, top);
    if (byte != ',' || top->place != SP_AT_NEXT || top->n_blanks) return;
    sp_frame next = *top;
    next.place = SP_AT_MEMBER;
    sp_match_emit(c, &next);
}

/* --- names ---------------------------------------------------------------------------------------------- */

void sp_match_name(sp_step_ctx *c, const sp_frame *top, uint8_t byte)
{
    const sp_alt_prop *prop = top->of.prop;
    if ((uint8_t)prop->key[top->state] != byte) return;
    sp_frame next = *top;
    if (++next.state == prop->key_len)
        sp_match_emit(c, top->parent);
    else
        sp_match_emit(c, &next);
}

sp_frame sp_match_after_key(sp_matcher *m, const sp_frame *key, size_t end)
{
    sp_frame object = *key->parent;
    sp_used_key *used = sp_arena_alloc(m->arena, sizeof *used);
    if (!used) {
        m->failed = true;
        return object;
    }
    *used = (sp_used_key){object.used, key->start, end - key->start};
    object.used = used;
    return object;
}

/* Accepted continuations of a name that has come to `state`, SP_DFA_MANY: any number. */
static uint32_t count_continuations(const sp_dfa *dfa, const sp_frame *key)
{
    if (dfa->flags[key->state] & SP_DFA_ENDS) return 1;
    if (key->of.other->dfa == SP_DFA_ANY_KEY && key->count >= key->of.other->max &&
        (dfa->flags[key->state] & SP_DFA_CHAR))
        return 1; /* the closing quote */
    return dfa->n_texts[key->state];
}

void sp_match_key(sp_step_ctx *c, const sp_frame *top, uint8_t byte)
{
    const sp_alt_class *other = top->of.other;
    const sp_dfa *dfa = &c->m->grammar->dfas[other->dfa];
    sp_frame next = *top;
    next.state = sp_dfa_next(dfa, top->state, byte);
    if (next.state == SP_DFA_DEAD) return;
    bool ends = (dfa->flags[next.state] & SP_DFA_ENDS) != 0;
    if (other->dfa == SP_DFA_ANY_KEY) {
        if (ends && top->count < other->min) return;
        if (!ends && (dfa->flags[top->state] & SP_DFA_CHAR)) {
            if (top->count >= other->max) return;
            if (other->max != SP_GRAMMAR_NO_LIMIT || top->count < other->min) next.count++;
        }
    }
    if (!top->fresh) {
        taken t = {.c = c,
                   .dfa = dfa,
                   .state = next.state,
                   .prefix = c->text + top->start,
                   .n_prefix = c->len - top->start};
        count_names(&t, top->parent);
        if (count_continuations(dfa, &next) <= t.n_accepted) return;
        next.fresh = t.n_alike == 0;
    }
    if (ends) next = sp_match_after_key(c->m, top, c->len);
    sp_match_emit(c, &next);
}
