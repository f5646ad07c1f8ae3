/* SPDX-License-Identifier: MIT */
/* Replaying uses through three ways of eviction, and where uses come from. Each way is a number per expert: the slot with
 * the smallest goes. Experts of the visit under way stay, as in the store. Start at sp_expert_replay_run(). */
#include "infer/expert_replay.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_MAX_ITEMS ((size_t)1 << 28)

/* --- replay --------------------------------------------------------------------------------------------- */

typedef enum method { BY_POLICY, BY_LRU, BY_OPTIMUM } method;

typedef struct replayer {
    const sp_expert_replay *replay;
    const double *rank; /* own, or the policy's */
    double *own;        /* (keys) BY_LRU: time of the last use; BY_OPTIMUM: minus the time of the next */
    bool *held;         /* (keys) */
    uint64_t *pin;      /* (keys) number of the visit that uses it */
    int32_t *slots;
    int64_t n_held;
} replayer;

static void clear_replayer(replayer *r)
{
    sp_free(r->held);
    sp_free(r->pin);
    sp_free(r->slots);
}

static void take_slot(replayer *r, int32_t key, uint64_t visit)
{
    int64_t best = -1;
    r->held[key] = true;
    if (r->n_held < r->replay->n_slots) {
        r->slots[r->n_held++] = key;
        return;
    }
    for (int pass = 0; best < 0 && pass < 2; pass++) /* the second: fewer slots than the visit has experts */
        for (int64_t i = 0; i < r->n_held; i++)
            if ((pass || r->pin[r->slots[i]] != visit) &&
                (best < 0 || r->rank[r->slots[i]] < r->rank[r->slots[best]]))
                best = i;
    r->held[r->slots[best]] = false;
    r->slots[best] = key;
}

/* When the expert of each use is used again: next (uses), in numbers of uses. */
static double *find_next_uses(const sp_expert_replay *p, size_t n_keys, uint64_t n_uses)
{
    double *next = sp_malloc_array((size_t)n_uses + 1, sizeof *next),
           *seen = sp_malloc_array(n_keys, sizeof *seen);
    int32_t *keys = sp_malloc_array((size_t)n_uses + 1, sizeof *keys);
    if (next && seen && keys) {
        uint64_t u = 0;
        for (size_t i = 0; i < p->n; i += 2 + (size_t)p->items[i + 1])
            for (int32_t j = 0; j < p->items[i + 1]; j++)
                keys[u++] = p->items[i] * p->n_experts + p->items[i + 2 + (size_t)j];
        for (size_t k = 0; k < n_keys; k++) seen[k] = 1e300;
        while (u-- > 0) {
            next[u] = seen[keys[u]];
            seen[keys[u]] = (double)u;
        }
    } else {
        sp_free(next);
        next = NULL;
    }
    sp_free(seen);
    sp_free(keys);
    return next;
}

static uint64_t replay_by(replayer *r, method how, sp_expert_policy *policy, const double *next)
{
    const sp_expert_replay *p = r->replay;
    uint64_t use = 0, hits = 0, visit = 0;
    for (size_t i = 0; i < p->n; i += 2 + (size_t)p->items[i + 1]) {
        int32_t layer = p->items[i], n = p->items[i + 1];
        const int32_t *experts = p->items + i + 2;
        visit++;
        if (how == BY_POLICY) {
            sp_expert_policy_tick(policy, layer);
            r->rank = sp_expert_policy_ranks(policy);
        }
        for (int32_t j = 0; j < n; j++, use++) {
            int32_t key = layer * p->n_experts + experts[j];
            r->pin[key] = visit;
            if (how == BY_POLICY) sp_expert_policy_use(policy, (size_t)key);
            if (how == BY_LRU) r->own[key] = (double)use;
            if (how == BY_OPTIMUM) r->own[key] = -next[use];
            hits += r->held[key];
        }
        for (int32_t j = 0; j < n; j++) {
            int32_t key = layer * p->n_experts + experts[j];
            if (!r->held[key]) take_slot(r, key, visit);
        }
    }
    return hits;
}

static uint64_t count_uses(const sp_expert_replay *p)
{
    uint64_t n = 0;
    for (size_t i = 0; i < p->n; i += 2 + (size_t)p->items[i + 1]) n += (uint64_t)p->items[i + 1];
    return n;
}

sp_status sp_expert_replay_run(sp_expert_replay_result *result, const sp_expert_replay *p, sp_error *err)
{
    size_t n_keys = (size_t)p->n_layers * (size_t)p->n_experts;
    sp_expert_policy policy;
    uint64_t *hits[] = {&result->policy, &result->lru, &result->optimum};
    SP_TRY(sp_expert_policy_init(&policy, n_keys, (size_t)p->n_slots, err));
    result->n_uses = count_uses(p);
    double *next = find_next_uses(p, n_keys, result->n_uses);
    double *own = sp_calloc(n_keys, sizeof *own);
    sp_status status = next && own ? SP_OK : sp_fail_nomem(err, "replay", result->n_uses * sizeof *next);
    for (int how = BY_POLICY; how <= BY_OPTIMUM && status == SP_OK; how++) {
        replayer r = {.replay = p, .own = own, .rank = own};
        r.held = sp_calloc(n_keys, sizeof *r.held);
        r.pin = sp_calloc(n_keys, sizeof *r.pin);
        r.slots = sp_calloc((size_t)p->n_slots, sizeof *r.slots);
        if (r.held && r.pin && r.slots)
            *hits[how] = replay_by(&r, (method)how, &policy, next);
        else
            status = sp_fail_nomem(err, "replay", n_keys * sizeof *r.pin);
        clear_replayer(&r);
    }
    sp_free(next);
    sp_free(own);
    sp_expert_policy_clear(&policy);
    return status;
}

/* --- traces --------------------------------------------------------------------------------------------- */

void sp_expert_trace_clear(sp_expert_trace *trace)
{
    sp_free(trace->items);
    *trace = (sp_expert_trace){NULL, 0, 0, 0};
}

/* A cursor over text. */
typedef struct reader {
    const char *at, *end;
    int line;
} reader;

/* A number up to `max`; false if there is none. */
static bool read_number(reader *r, int64_t max, int64_t *value)
{
    const char *begin = r->at;
    *value = 0;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        *value = 10 * *value + (*r->at++ - '0');
        if (*value > max) return false;
    }
    return r->at > begin;
}

static bool read_word(reader *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0) return false;
    r->at += n;
    return true;
}

static bool read_head(reader *r, sp_expert_trace *trace)
{
    int64_t layers = 0, experts = 0;
    if (!read_word(r, "sputnik-experts 1 ") || !read_number(r, 100000, &layers) || !read_word(r, " ") ||
        !read_number(r, 100000, &experts) || !read_word(r, "\n") || layers < 1 || experts < 1 ||
        layers * experts > 1 << 24)
        return false;
    trace->n_layers = (int32_t)layers;
    trace->n_experts = (int32_t)experts;
    return true;
}

/* "LAYER: EXPERT EXPERT ..." without a repetition; `seen` (experts) holds the last line of each. */
static bool read_visit(reader *r, sp_expert_trace *trace, int *seen)
{
    int64_t value = 0;
    size_t head = trace->n;
    if (!read_number(r, trace->n_layers - 1, &value) || !read_word(r, ":")) return false;
    trace->items[trace->n++] = (int32_t)value;
    trace->items[trace->n++] = 0;
    while (read_word(r, " ")) {
        if (!read_number(r, trace->n_experts - 1, &value) || seen[value] == r->line) return false;
        seen[value] = r->line;
        trace->items[trace->n++] = (int32_t)value;
        trace->items[head + 1]++;
    }
    return read_word(r, "\n") || r->at == r->end;
}

sp_status sp_expert_trace_parse(sp_expert_trace *trace, const char *text, size_t len, sp_error *err)
{
    reader r = {text, text + len, 2};
    *trace = (sp_expert_trace){NULL, 0, 0, 0};
    if (len > TRACE_MAX_ITEMS) return sp_fail(err, SP_E_LIMIT, "trace: %zu bytes are too many", len);
    if (!read_head(&r, trace))
        return sp_fail(err, SP_E_FORMAT, "trace: line 1: expected \"sputnik-experts 1 LAYERS EXPERTS\"");
    trace->items = sp_malloc_array(len, sizeof *trace->items); /* every item has a byte of its own */
    int *seen = sp_calloc((size_t)trace->n_experts, sizeof *seen);
    sp_status status = SP_OK;
    if (!trace->items || !seen) status = sp_fail_nomem(err, "trace", len * sizeof *trace->items);
    for (; status == SP_OK && r.at < r.end; r.line++)
        if (!read_visit(&r, trace, seen))
            status =
                sp_fail(err, SP_E_FORMAT, "trace: line %d: expected \"LAYER: EXPERT EXPERT ...\"", r.line);
    sp_free(seen);
    if (status != SP_OK) sp_expert_trace_clear(trace);
    return status;
}

static double draw(uint64_t seed, uint64_t stream, uint64_t counter)
{
    uint32_t block[4];
    sp_rng_block(seed, stream, counter, block);
    return ((double)block[0] + 0.5) / 4294967296.0;
}

static sp_status fill_zipf(sp_expert_trace *t, double *weight, int32_t *name, int32_t top_k, int64_t n_passes,
                           uint64_t seed)
{
    int32_t n = t->n_experts;
    for (int32_t l = 0; l < t->n_layers; l++) {
        for (int32_t e = 0; e < n; e++) name[l * n + e] = e;
        for (int32_t e = n - 1; e > 0; e--) {
            int32_t other = (int32_t)(draw(seed, 1, (uint64_t)(l * n + e)) * (e + 1)), was = name[l * n + e];
            name[l * n + e] = name[l * n + other];
            name[l * n + other] = was;
        }
    }
    uint64_t counter = 0;
    for (int64_t pass = 0; pass < n_passes; pass++) {
        for (int32_t l = 0; l < t->n_layers; l++) {
            int32_t *head = t->items + t->n;
            head[0] = l;
            head[1] = top_k;
            t->n += 2;
            for (int32_t k = 0; k < top_k;) { /* again if it was drawn before: without replacement */
                double x = draw(seed, 2, counter++) * weight[n - 1];
                int32_t rank = 0, high = n - 1;
                while (rank < high) {
                    int32_t mid = (rank + high) / 2;
                    if (weight[mid] < x)
                        rank = mid + 1;
                    else
                        high = mid;
                }
                int32_t e = name[l * n + rank], j = 0;
                while (j < k && head[2 + j] != e) j++;
                if (j == k) head[2 + k++] = e;
            }
            t->n += (size_t)top_k;
        }
    }
    return SP_OK;
}

sp_status sp_expert_trace_zipf(sp_expert_trace *trace, int32_t n_layers, int32_t n_experts, int32_t top_k,
                               int64_t n_passes, double exponent, uint64_t seed, sp_error *err)
{
    *trace = (sp_expert_trace){.n_layers = n_layers, .n_experts = n_experts};
    if (n_layers < 1 || n_experts < 1 || top_k < 1 || top_k > n_experts || n_passes < 1 || !(exponent >= 0) ||
        exponent > 4)
        return sp_fail(err, SP_E_ARGUMENT, "trace: no such uses: %d of %d experts", top_k, n_experts);
    double items = (double)n_passes * n_layers * (top_k + 2);
    if (items > (double)TRACE_MAX_ITEMS)
        return sp_fail(err, SP_E_LIMIT, "trace: %.0f numbers are too many", items);
    trace->items = sp_malloc_array((size_t)items, sizeof *trace->items);
    double *weight = sp_malloc_array((size_t)n_experts, sizeof *weight); /* running sums */
    int32_t *name = sp_malloc_array((size_t)n_layers * (size_t)n_experts, sizeof *name);
    sp_status status = SP_OK;
    if (!trace->items || !weight || !name) {
        status = sp_fail_nomem(err, "trace", (uint64_t)items * sizeof *trace->items);
    } else {
        for (int32_t e = 0; e < n_experts; e++)
            weight[e] = pow(e + 1, -exponent) + (e > 0 ? weight[e - 1] : 0);
        status = fill_zipf(trace, weight, name, top_k, n_passes, seed);
    }
    sp_free(weight);
    sp_free(name);
    if (status != SP_OK) sp_expert_trace_clear(trace);
    return status;
}
