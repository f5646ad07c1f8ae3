/* SPDX-License-Identifier: MIT */
/* Normalisation form C: decompose, order combining marks, compose. A text is cut into segments that begin with
 * a character which nothing before it can change; only segments that hold an unstable character are worked
 * on. Source: Unicode Standard 15.0, section 3.11 and 3.12 (Hangul). Start at sp_nfc_append(). */
#include "text/utf8_nfc.h"

#include <string.h>

#include "text/utf8.h"
#include "text/utf8_nfc_table.h"

/* Section 3.12: Hangul syllables are L + V (+ T) jamo, in arithmetic order. */
enum {
    HANGUL_S = 0xAC00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11A7,
    N_L = 19,
    N_V = 21,
    N_T = 28,
    N_S = N_L * N_V * N_T
};

enum { FIRST_UNSTABLE = 0x300 }; /* the lowest entry of sp_nfc_unstable */

typedef struct segment {
    uint32_t *cps;
    size_t n, cap;
    sp_error *err;
} segment;

static const sp_nfc_range *find_range(const sp_nfc_range *table, int n, uint32_t cp)
{
    int lo = 0, hi = n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (cp > table[mid].hi)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && cp >= table[lo].lo ? &table[lo] : NULL;
}

static uint32_t combining_class(uint32_t cp)
{
    const sp_nfc_range *range =
        cp < FIRST_UNSTABLE ? NULL : find_range(sp_nfc_classes, sp_nfc_classes_count, cp);
    return range ? range->value : 0;
}

static bool is_unstable(uint32_t cp)
{
    return cp >= FIRST_UNSTABLE && find_range(sp_nfc_unstable, sp_nfc_unstable_count, cp);
}

static const sp_nfc_decomposition *find_decomposition(uint32_t cp)
{
    int lo = 0, hi = sp_nfc_decompositions_count;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (sp_nfc_decompositions[mid].cp < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sp_nfc_decompositions_count && sp_nfc_decompositions[lo].cp == cp ? &sp_nfc_decompositions[lo]
                                                                                  : NULL;
}

/* The composite of a pair, 0 if there is none. */
static uint32_t compose_pair(uint32_t first, uint32_t second)
{
    if (first - HANGUL_L < N_L && second - HANGUL_V < N_V)
        return HANGUL_S + ((first - HANGUL_L) * N_V + (second - HANGUL_V)) * N_T;
    if (first - HANGUL_S < N_S && (first - HANGUL_S) % N_T == 0 && second - HANGUL_T - 1 < N_T - 1)
        return first + (second - HANGUL_T);
    int lo = 0, hi = sp_nfc_compositions_count;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        const sp_nfc_decomposition *d = &sp_nfc_decompositions[sp_nfc_compositions[mid]];
        if (d->first < first || (d->first == first && d->second < second))
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == sp_nfc_compositions_count) return 0;
    const sp_nfc_decomposition *d = &sp_nfc_decompositions[sp_nfc_compositions[lo]];
    return d->first == first && d->second == second ? d->cp : 0;
}

static sp_status push(segment *s, uint32_t cp)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        uint32_t *grown = sp_realloc_array(s->cps, cap, sizeof *grown);
        if (!grown) return sp_fail_nomem(s->err, "normalisation", cap * sizeof *grown);
        s->cps = grown;
        s->cap = cap;
    }
    s->cps[s->n++] = cp;
    return SP_OK;
}

/* Push the full canonical decomposition (at most three levels deep in the database). */
static sp_status push_decomposed(segment *s, uint32_t cp)
{
    if (cp - HANGUL_S < N_S) {
        uint32_t i = cp - HANGUL_S;
        SP_TRY(push(s, HANGUL_L + i / (N_V * N_T)));
        SP_TRY(push(s, HANGUL_V + i % (N_V * N_T) / N_T));
        return i % N_T ? push(s, HANGUL_T + i % N_T) : SP_OK;
    }
    const sp_nfc_decomposition *d = find_decomposition(cp);
    if (!d) return push(s, cp);
    SP_TRY(push_decomposed(s, d->first));
    return d->second ? push_decomposed(s, d->second) : SP_OK;
}

/* Stable sort of n marks by class: counting, so that a long run costs linear time. */
static sp_status sort_marks(uint32_t *marks, size_t n, sp_error *err)
{
    size_t starts[256] = {0};
    uint32_t *copy = sp_malloc_array(n, sizeof *copy);
    if (!copy) return sp_fail_nomem(err, "normalisation", n * sizeof *copy);
    memcpy(copy, marks, n * sizeof *copy);
    for (size_t i = 0; i < n; i++) starts[combining_class(copy[i])]++;
    size_t sum = 0;
    for (int c = 0; c < 256; c++) {
        size_t count = starts[c];
        starts[c] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++) marks[starts[combining_class(copy[i])]++] = copy[i];
    sp_free(copy);
    return SP_OK;
}

static sp_status order_marks(segment *s)
{
    for (size_t i = 0; i < s->n;) {
        size_t start = i;
        bool sorted = true;
        uint32_t last = 0;
        for (uint32_t c; i < s->n && (c = combining_class(s->cps[i])) != 0; i++) {
            if (c < last) sorted = false;
            last = c;
        }
        if (!sorted) SP_TRY(sort_marks(s->cps + start, i - start, s->err));
        if (i == start) i++;
    }
    return SP_OK;
}

/* Compose in place: each character joins the last starter unless one of its class or higher lies between. */
static void compose(segment *s)
{
    size_t out = 0, starter = SIZE_MAX;
    uint32_t last_class = 0;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t cp = s->cps[i], class = combining_class(cp);
        bool blocked = starter == SIZE_MAX || (out > starter + 1 && last_class >= class);
        uint32_t joined = blocked ? 0 : compose_pair(s->cps[starter], cp);
        if (joined) {
            s->cps[starter] = joined;
            continue;
        }
        if (class == 0) starter = out;
        last_class = class;
        s->cps[out++] = cp;
    }
    s->n = out;
}

/* Normalise one segment of UTF-8. */
static sp_status append_segment(sp_buf *out, segment *s, const unsigned char *text, size_t len)
{
    s->n = 0;
    for (size_t i = 0; i < len;) {
        uint32_t cp = 0;
        i += sp_utf8_read(text + i, len - i, &cp);
        SP_TRY(push_decomposed(s, cp));
    }
    SP_TRY(order_marks(s));
    compose(s);
    for (size_t i = 0; i < s->n; i++) {
        unsigned char bytes[4];
        size_t n = sp_utf8_write(bytes, s->cps[i]);
        SP_TRY(sp_buf_append(out, bytes, n, s->err));
    }
    return SP_OK;
}

bool sp_nfc_is_surely_normal(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        uint32_t cp = 0;
        if (s[i] < 0xCC) { /* U+0300 is CC 80; what starts lower is ASCII or has one more byte */
            i += 1 + (s[i] >= 0x80);
            continue;
        }
        i += sp_utf8_read(s + i, len - i, &cp);
        if (is_unstable(cp)) return false;
    }
    return true;
}

sp_status sp_nfc_append(sp_buf *out, const char *text, size_t len, sp_error *err)
{
    const unsigned char *s = (const unsigned char *)text;
    segment work = {.err = err};
    sp_status status = SP_OK;
    size_t start = 0, last = 0; /* of what is not yet written; of the last stable character in it */
    bool unstable = false;      /* an unstable character follows `last` */
    for (size_t i = 0; i < len;) {
        uint32_t cp = 0;
        size_t step = sp_utf8_read(s + i, len - i, &cp);
        bool is_stable = !is_unstable(cp);
        if (is_stable && unstable) {
            SP_GOTO(done, status, append_segment(out, &work, s + last, i - last));
            start = i;
        } else if (!is_stable && !unstable) {
            SP_GOTO(done, status, sp_buf_append(out, s + start, last - start, err));
            start = last;
        }
        if (is_stable) last = i;
        unstable = !is_stable;
        i += step;
    }
    status = unstable ? append_segment(out, &work, s + last, len - last)
                      : sp_buf_append(out, s + start, len - start, err);
done:
    sp_free(work.cps);
    return status;
}
