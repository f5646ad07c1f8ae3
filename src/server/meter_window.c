/* SPDX-License-Identifier: MIT */
/* Sliding windows of a minute. */
#include "server/meter_window.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* Where the key is, or where it would be. */
static size_t find_place(const sp_windows *windows, const char *key_id, bool *found)
{
    size_t low = 0, high = windows->n;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(windows->items[middle]->key_id, key_id);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

sp_window *sp_windows_find(const sp_windows *windows, const char *key_id)
{
    bool found;
    size_t i = find_place(windows, key_id, &found);
    return found ? windows->items[i] : NULL;
}

sp_window *sp_windows_get(sp_windows *windows, const char *key_id)
{
    bool found;
    size_t i = find_place(windows, key_id, &found);
    if (found) return windows->items[i];
    if (windows->n == windows->cap) {
        size_t cap = windows->cap ? 2 * windows->cap : 16;
        sp_window **items = sp_realloc_array(windows->items, cap, sizeof *items);
        if (!items) return NULL;
        windows->items = items;
        windows->cap = cap;
    }
    sp_window *window = sp_calloc(1, sizeof *window);
    if (!window) return NULL;
    size_t len = strlen(key_id);
    memcpy(window->key_id, key_id, len < SP_KEY_ID_CAP ? len : SP_KEY_ID_CAP - 1);
    memmove(windows->items + i + 1, windows->items + i, (windows->n - i) * sizeof *windows->items);
    windows->items[i] = window;
    windows->n++;
    return window;
}

void sp_windows_clear(sp_windows *windows)
{
    for (size_t i = 0; i < windows->n; i++) sp_free(windows->items[i]);
    sp_free(windows->items);
    memset(windows, 0, sizeof *windows);
}

/* Forget the seconds that have left the window. */
static void advance(sp_window *window, int64_t second)
{
    if (second <= window->second) return;
    int64_t first = window->second + 1;
    if (second - first >= SP_WINDOW_SECONDS) first = second - SP_WINDOW_SECONDS + 1;
    for (; first <= second; first++) {
        window->requests[first % SP_WINDOW_SECONDS] = 0;
        window->tokens[first % SP_WINDOW_SECONDS] = 0;
    }
    window->second = second;
}

void sp_window_add(sp_window *window, double now, int64_t requests, int64_t tokens)
{
    advance(window, (int64_t)floor(now));
    window->requests[window->second % SP_WINDOW_SECONDS] += requests;
    window->tokens[window->second % SP_WINDOW_SECONDS] += tokens;
}

/* Seconds until the counts sum to at most `most`: until the end of the oldest second whose leaving is enough. */
static double wait_until(const int64_t *counts, int64_t newest, double now, int64_t most)
{
    int64_t sum = 0;
    for (int i = 0; i < SP_WINDOW_SECONDS; i++) sum += counts[i];
    int64_t second = newest - SP_WINDOW_SECONDS;
    while (sum > most && second < newest) {
        second++;
        if (second >= 0) sum -= counts[second % SP_WINDOW_SECONDS];
        if (sum <= most) return fmax((double)(second + SP_WINDOW_SECONDS) - now, 0.001);
    }
    return 0;
}

double sp_window_wait(sp_window *window, double now, int64_t requests_per_minute, int64_t tokens_per_minute)
{
    double wait = 0;
    advance(window, (int64_t)floor(now));
    if (requests_per_minute > 0)
        wait = wait_until(window->requests, window->second, now, requests_per_minute - 1);
    if (tokens_per_minute > 0)
        wait = fmax(wait, wait_until(window->tokens, window->second, now, tokens_per_minute - 1));
    return wait;
}
