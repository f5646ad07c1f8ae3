/* SPDX-License-Identifier: MIT */
/* Plain search over the held text and the new piece: both are short (at most the longest stop string and one
 * token's text), so nothing cleverer is needed. Start at sp_stop_push(). */
#include "infer/stop.h"

#include <string.h>

sp_status sp_stop_init(sp_stop *stop, const char *const *strings, size_t n_strings, sp_error *err)
{
    if (n_strings == 0) return SP_OK;
    stop->strings = sp_calloc(n_strings, sizeof *stop->strings);
    if (!stop->strings) return sp_fail_nomem(err, "stop strings", n_strings * sizeof *stop->strings);
    for (size_t i = 0; i < n_strings; i++) {
        size_t len = strings[i] ? strlen(strings[i]) : 0;
        if (len == 0) {
            sp_stop_clear(stop);
            return sp_fail(err, SP_E_ARGUMENT, "stop string %zu is empty", i);
        }
        stop->strings[i] = sp_strdup(strings[i]);
        if (!stop->strings[i]) {
            sp_stop_clear(stop);
            return sp_fail_nomem(err, "stop string", len);
        }
        stop->n_strings++;
        if (len > stop->longest) stop->longest = len;
    }
    return SP_OK;
}

void sp_stop_clear(sp_stop *stop)
{
    for (size_t i = 0; i < stop->n_strings; i++) sp_free(stop->strings[i]);
    sp_free(stop->strings);
    sp_buf_clear(&stop->held);
    *stop = (sp_stop){NULL, 0, 0, {NULL, 0, 0}, false};
}

/* Start of the stop string that is complete first in text[0..len), or len if there is none. */
static size_t find_stop(const sp_stop *stop, const char *text, size_t len)
{
    size_t best_end = len + 1, best_start = len;
    for (size_t i = 0; i < stop->n_strings; i++) {
        size_t n = strlen(stop->strings[i]);
        const char *at = memmem(text, len, stop->strings[i], n);
        if (!at) continue;
        size_t start = (size_t)(at - text), end = start + n;
        if (end > best_end || (end == best_end && start > best_start)) continue;
        best_end = end;
        best_start = start;
    }
    return best_start;
}

/* Length of the longest end of the text that is a proper beginning of a stop string. */
static size_t count_held(const sp_stop *stop, const char *text, size_t len)
{
    size_t most = stop->longest && stop->longest - 1 < len ? stop->longest - 1 : len;
    for (size_t n = most; n > 0; n--) {
        for (size_t i = 0; i < stop->n_strings; i++) {
            const char *string = stop->strings[i];
            if (strlen(string) > n && memcmp(text + len - n, string, n) == 0) return n;
        }
    }
    return 0;
}

sp_status sp_stop_push(sp_stop *stop, sp_buf *out, const char *text, size_t len, sp_error *err)
{
    if (stop->hit) return SP_OK;
    if (stop->n_strings == 0) return sp_buf_append(out, text, len, err);
    SP_TRY(sp_buf_append(&stop->held, text, len, err));
    size_t total = stop->held.len, start = find_stop(stop, stop->held.data, total);
    stop->hit = start < total;
    size_t hold = stop->hit ? total - start : count_held(stop, stop->held.data, total);
    SP_TRY(sp_buf_append(out, stop->held.data, total - hold, err));
    if (stop->hit) hold = 0;
    if (hold) memmove(stop->held.data, stop->held.data + total - hold, hold);
    stop->held.len = hold;
    return SP_OK;
}

sp_status sp_stop_flush(sp_stop *stop, sp_buf *out, sp_error *err)
{
    if (!stop->hit && stop->held.len) SP_TRY(sp_buf_append(out, stop->held.data, stop->held.len, err));
    stop->held.len = 0;
    return SP_OK;
}
