/* SPDX-License-Identifier: MIT */
/* For every period p up to 1024, how many of the latest tokens equal the token p places before them. The run
 * of length r at period p means that the last r + p tokens have period p. Start at sp_loop_guard_push().
 *
 * When is it a loop? A real loop never ends, so waiting costs only time, while cutting a legitimate reply
 * costs the reply. The repeated span must be at least
 *   p >= 8: 4 p and 640 tokens. Four copies of a paragraph word for word, or more of a shorter one. The
 *           longest honest text of this kind that we know is a literal matrix of equal rows: 16 x 16 zeros
 *           are 16 rows of 33 tokens, 528. Tables, lists and code repeat lines with differences.
 *   p < 8:  1024 tokens. Rules of tables and ASCII art, runs of zeros ("0, " 256 times is 512 tokens), hex
 *           dumps, "ha ha ha" on request.
 * Passages longer than 1024 tokens are left alone: four copies would be most of a context by then. */
#include "infer/loop_guard.h"

#include "base/mem.h"

#include <string.h>

#define SHORT_PERIOD 8
#define SHORT_SPAN 1024
#define LONG_SPAN 640
#define MIN_REPEATS 4

struct sp_loop_guard {
    size_t n;                               /* tokens in the window */
    uint32_t run[SP_LOOP_MAX_PERIOD + 1];   /* [p]: latest tokens that equal the one p before */
    int32_t window[4 * SP_LOOP_MAX_PERIOD]; /* the latest tokens, moved down when full */
};

sp_status sp_loop_guard_create(sp_loop_guard **guard, sp_error *err)
{
    *guard = sp_calloc(1, sizeof **guard);
    return *guard ? SP_OK : sp_fail_nomem(err, "loop guard", sizeof **guard);
}

void sp_loop_guard_destroy(sp_loop_guard *guard)
{
    sp_free(guard);
}

static size_t span_of(const sp_loop_guard *guard, size_t p)
{
    return guard->run[p] + p;
}

static size_t span_needed(size_t p)
{
    if (p < SHORT_PERIOD) return SHORT_SPAN;
    return MIN_REPEATS * p > LONG_SPAN ? MIN_REPEATS * p : LONG_SPAN;
}

/* Update all runs with the token at window[n - 1]. Returns the smallest period whose span suffices, 0 if none
 * does. */
static size_t update_runs(sp_loop_guard *guard)
{
    const int32_t *newest = guard->window + guard->n - 1;
    size_t n_periods = guard->n - 1 < SP_LOOP_MAX_PERIOD ? guard->n - 1 : SP_LOOP_MAX_PERIOD;
    uint32_t longest = 0;
    for (size_t p = 1; p <= n_periods; p++) {
        guard->run[p] = newest[-(ptrdiff_t)p] == newest[0] ? guard->run[p] + 1 : 0;
        longest = guard->run[p] > longest ? guard->run[p] : longest;
    }
    if (longest < LONG_SPAN * (MIN_REPEATS - 1) / MIN_REPEATS) return 0;
    for (size_t p = 1; p <= n_periods; p++)
        if (span_of(guard, p) >= span_needed(p)) return p;
    return 0;
}

size_t sp_loop_guard_push(sp_loop_guard *guard, int32_t id, size_t *repeats)
{
    size_t cap = sizeof guard->window / sizeof guard->window[0];
    if (guard->n == cap) {
        memcpy(guard->window, guard->window + cap - SP_LOOP_MAX_PERIOD,
               SP_LOOP_MAX_PERIOD * sizeof guard->window[0]);
        guard->n = SP_LOOP_MAX_PERIOD;
    }
    guard->window[guard->n++] = id;
    size_t found = update_runs(guard);
    if (!found) return 0;
    /* A multiple of a shorter period has the same run: the shortest one decides (a run of one token is also a
     * run of eight). Two periods that both cover most of the span imply their common divisor (Fine, Wilf). */
    for (size_t p = 1; p < found; p++) {
        if (2 * span_of(guard, p) < span_of(guard, found)) continue;
        if (span_of(guard, p) < span_needed(p)) return 0;
        found = p;
    }
    if (repeats) *repeats = span_of(guard, found) / found;
    return found;
}
