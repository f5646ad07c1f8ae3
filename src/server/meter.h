/* SPDX-License-Identifier: MIT */
/* Who may ask, how much, and what it cost: API keys, limits, budgets, prices and the ledger, in one SQLite file in WAL mode. Keys are
 * stored as SHA-256. Money is counted in whole billionths of a US dollar. Any thread; docs/decisions/0017-meter.md */
#ifndef SP_SERVER_METER_H
#define SP_SERVER_METER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sp_meter sp_meter;

#define SP_KEY_ID_CAP 24
#define SP_KEY_TEXT_CAP 64 /* "sk-" and its random part, NUL included */
#define SP_KEY_NAME_CAP 128

/* US dollars per million tokens: prompt tokens from the cache, other prompt tokens, reply tokens. */
typedef struct sp_price {
    double hit, miss, output;
} sp_price;

/* The vendor's, early 2025: "deepseek-chat" and "deepseek-reasoner". */
extern const sp_price sp_price_chat, sp_price_reasoner;

typedef struct sp_key_options {
    const char *name;            /* for people; NULL: none */
    int64_t requests_per_minute; /* 0: no limit */
    int64_t tokens_per_minute;   /* prompt and reply; 0: no limit */
    int64_t budget;              /* billionths of a dollar; negative: none */
    int64_t expires;             /* Unix seconds; 0: never */
} sp_key_options;

typedef struct sp_key_info {
    char id[SP_KEY_ID_CAP]; /* public name of the key, as in lists and logs */
    char name[SP_KEY_NAME_CAP];
    char hint[12]; /* its last characters */
    int64_t requests_per_minute, tokens_per_minute, budget, spent, expires, created, last_used;
    bool revoked;
} sp_key_info;

/* Open or make the file; NULL: in memory, which forgets. Errors: SP_E_IO, SP_E_FORMAT (not such a file, or of a later version). */
sp_status sp_meter_open(sp_meter **meter, const char *path, sp_error *err);
void sp_meter_close(sp_meter *meter); /* accepts NULL */

/* `key` gets the text to give to its user; it is not stored. */
sp_status sp_meter_add_key(sp_meter *meter, const sp_key_options *options, char key[SP_KEY_TEXT_CAP],
                           sp_key_info *info, sp_error *err);
sp_status sp_meter_revoke_key(sp_meter *meter, const char *id_or_name, sp_error *err); /* SP_E_NOT_FOUND */
/* A callback returns 0 to go on, anything else to end the list; it must not call the meter. */
typedef int (*sp_key_fn)(void *ctx, const sp_key_info *info);
sp_status sp_meter_list_keys(sp_meter *meter, sp_key_fn fn, void *ctx, sp_error *err);
sp_status sp_meter_count_keys(sp_meter *meter, size_t *n, sp_error *err); /* that are not revoked */

typedef enum sp_admission {
    SP_ADMIT,
    SP_ADMIT_UNKNOWN, /* 401: no such key, revoked or expired */
    SP_ADMIT_SPENT,   /* 402: the budget is spent */
    SP_ADMIT_LIMITED  /* 429: too many requests or tokens this minute */
} sp_admission;

/* May the owner of `key` ask now? Counts as a request if so. *info is filled unless unknown; *retry_s: when to come back, if limited.
 * Limits hold for any 60 seconds; what was counted is forgotten at restart. A budget ends the next request, not one that runs.
 * Errors: SP_E_IO, also for as long as bookings cannot be written (a full disk): answer 503. */
sp_status sp_meter_admit(sp_meter *meter, const char *key, sp_admission *admission, sp_key_info *info,
                         double *retry_s, sp_error *err);

/* The same for a request that costs nothing (a balance, a list of models): only whether the key is good; counts as no request. */
sp_status sp_meter_identify(sp_meter *meter, const char *key, sp_admission *admission, sp_key_info *info,
                            sp_error *err);

typedef struct sp_ledger_row {
    const char *request_id, *key_id; /* key_id NULL: a server without keys */
    const char *endpoint, *model;
    uint64_t n_hit, n_miss, n_reply, n_reasoning;
    sp_price price;        /* booked here */
    sp_price vendor_price; /* what the vendor would take */
    double seconds;
    bool cancelled;
} sp_ledger_row;

/* What tokens cost, in billionths, rounded once (half up). Errors: SP_E_RANGE (prices from 0 to 10^5, counts to 2^32). */
sp_status sp_meter_cost(int64_t *cost, const sp_price *price, uint64_t n_hit, uint64_t n_miss,
                        uint64_t n_reply, sp_error *err);

/* Durable when it returns; to be called before the end of an answer is sent. May take a flush of the disk (milliseconds), which
 * bookings of other threads share. Errors: SP_E_IO (the text tells a full disk), SP_E_RANGE (as sp_meter_cost). */
sp_status sp_meter_book(sp_meter *meter, const sp_ledger_row *row, sp_error *err);

typedef struct sp_balance {
    bool is_available;
    int64_t total, granted, topped_up; /* billionths; of a key without budget: INT64_MAX */
} sp_balance;
sp_status sp_meter_balance(sp_meter *meter, const char *key_id, sp_balance *balance, sp_error *err);

typedef struct sp_usage_line {
    const char *day, *key_id, *key_name, *model; /* "2026-11-28" in UTC */
    uint64_t n_requests, n_hit, n_miss, n_reply, n_reasoning;
    int64_t cost, vendor_cost;
} sp_usage_line;
typedef int (*sp_usage_fn)(void *ctx, const sp_usage_line *line);

/* One line per day, key and model of [from, to) in Unix seconds, oldest first. */
sp_status sp_meter_report(sp_meter *meter, int64_t from, int64_t to, sp_usage_fn fn, void *ctx,
                          sp_error *err);

#endif
