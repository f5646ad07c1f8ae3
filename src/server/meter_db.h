/* SPDX-License-Identifier: MIT */
/* The meter's file, for meter_*.c alone: the connection, its prepared statements, and who may use them when. Without SQLite this
 * header declares nothing. */
#ifndef SP_SERVER_METER_DB_H
#define SP_SERVER_METER_DB_H

#include "server/meter_window.h"

#if SP_HAVE_SQLITE

#include <pthread.h>
#include <sqlite3.h>

/* X(name, text) */
#define SP_METER_KEY_COLUMNS                                                                                 \
    "id, name, hint, requests_per_minute, tokens_per_minute, ifnull(budget, -1), spent, expires, created, "  \
    "last_used, revoked"
#define SP_METER_STATEMENTS(X)                                                                               \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                              \
    X(COMMIT, "COMMIT")                                                                                      \
    X(ROLLBACK, "ROLLBACK")                                                                                  \
    X(ADD_KEY, "INSERT INTO keys (id, hash, name, hint, requests_per_minute, tokens_per_minute, budget, "    \
               "expires, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")                              \
    X(REVOKE_KEY, "UPDATE keys SET revoked = ?2 WHERE revoked = 0 AND (id = ?1 OR name = ?1)")               \
    X(LIST_KEYS, "SELECT " SP_METER_KEY_COLUMNS " FROM keys ORDER BY created, rowid")                        \
    X(COUNT_KEYS, "SELECT count(*) FROM keys WHERE revoked = 0")                                             \
    X(FIND_KEY, "SELECT " SP_METER_KEY_COLUMNS " FROM keys WHERE hash = ?1")                                 \
    X(KEY_BY_ID, "SELECT " SP_METER_KEY_COLUMNS " FROM keys WHERE id = ?1")                                  \
    X(KEY_BY_NAME, "SELECT " SP_METER_KEY_COLUMNS " FROM keys WHERE name = ?1 AND revoked = 0")              \
    X(ATTEMPT, "UPDATE attempts SET n = n + 1")                                                              \
    X(SPEND, "UPDATE keys SET spent = spent + ?2, last_used = ?3 WHERE id = ?1")                             \
    X(BOOK, "INSERT INTO ledger (time, request_id, key_id, endpoint, model, n_hit, n_miss, n_reply, "        \
            "n_reasoning, cost, vendor_cost, seconds, cancelled) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "   \
            "?9, ?10, ?11, ?12, ?13)")                                                                       \
    X(REPORT, "SELECT date(l.time, 'unixepoch') AS day, ifnull(l.key_id, ''), ifnull(k.name, ''), l.model, " \
              "count(*), sum(n_hit), sum(n_miss), sum(n_reply), sum(n_reasoning), sum(cost), "               \
              "sum(vendor_cost) FROM ledger AS l LEFT JOIN keys AS k ON k.id = l.key_id "                    \
              "WHERE l.time >= ?1 AND l.time < ?2 GROUP BY day, l.key_id, l.model ORDER BY day, l.key_id, "  \
              "l.model")

typedef enum sp_meter_statement {
#define SP_METER_ENUM(name, text) SP_METER_##name,
    SP_METER_STATEMENTS(SP_METER_ENUM)
#undef SP_METER_ENUM
        SP_METER_N_STATEMENTS
} sp_meter_statement;

struct sp_booking;

/* Invariants: 1. db, statements, windows and failing are touched with `lock` held; of no statement a step is under way when it is
 * released. 2. The queue of bookings has its own lock, which is never held while a transaction runs. */
struct sp_meter {
    pthread_mutex_t lock;
    sqlite3 *db;
    sqlite3_stmt *statements[SP_METER_N_STATEMENTS];
    sp_windows windows;
    bool failing; /* the last booking could not be written: admit nobody until writing works again */

    pthread_mutex_t queue_lock;
    pthread_cond_t queue_moved;
    struct sp_booking *queue, **queue_end;
    bool committing; /* somebody commits what was queued before */
};

/* "meter: <what>: <SQLite's words>" with the status that fits its code. */
sp_status sp_meter_fail(const sp_meter *meter, const char *what, sp_error *err);

/* The statement with its parameters set from `types`, one letter each: t const char * (NULL: null), i int64_t, r double, b 32 bytes
 * (const uint8_t *). Run it with sp_meter_run, or step it and sqlite3_reset it. */
sqlite3_stmt *sp_meter_bind(sp_meter *meter, sp_meter_statement which, const char *types, ...);

/* Run a statement that yields no rows. */
sp_status sp_meter_run(sp_meter *meter, sqlite3_stmt *statement, const char *what, sp_error *err);

/* BEGIN; then COMMIT if status is good so far, else ROLLBACK; the first error is kept. */
sp_status sp_meter_begin(sp_meter *meter, sp_error *err);
sp_status sp_meter_end(sp_meter *meter, sp_status status, sp_error *err);

/* A row of SP_METER_KEY_COLUMNS. */
void sp_meter_read_key(sqlite3_stmt *row, sp_key_info *info);

#endif
#endif
