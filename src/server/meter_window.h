/* SPDX-License-Identifier: MIT */
/* What a key has asked for within the last minute, in seconds: a sliding window of SP_WINDOW_SECONDS counts, so that no minute, wherever it
 * begins, holds more requests than the limit. Time comes in as an argument. Not for several threads at once. */
#ifndef SP_SERVER_METER_WINDOW_H
#define SP_SERVER_METER_WINDOW_H

#include "server/meter.h"

/* A count stays for a minute from the end of its second, hence one more than 60. */
#define SP_WINDOW_SECONDS 61

typedef struct sp_window {
    char key_id[SP_KEY_ID_CAP];
    int64_t second;                                                 /* the newest that has a count */
    int64_t requests[SP_WINDOW_SECONDS], tokens[SP_WINDOW_SECONDS]; /* of second s at s % SP_WINDOW_SECONDS */
} sp_window;

/* Windows of the keys that have limits, sorted by key_id. Zero-initialise. */
typedef struct sp_windows {
    sp_window **items;
    size_t n, cap;
} sp_windows;

/* A key's window, a new one if need be; NULL when out of memory. */
sp_window *sp_windows_get(sp_windows *windows, const char *key_id);
sp_window *sp_windows_find(const sp_windows *windows, const char *key_id); /* NULL if there is none */
void sp_windows_clear(sp_windows *windows);

void sp_window_add(sp_window *window, double now, int64_t requests, int64_t tokens);

/* Seconds until one more request may come: 0 if now. A limit of 0 is none. Tokens are known only afterwards, so a request may come as
 * long as those of the last minute are below the limit. */
double sp_window_wait(sp_window *window, double now, int64_t requests_per_minute, int64_t tokens_per_minute);

#endif
