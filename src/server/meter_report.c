/* SPDX-License-Identifier: MIT */
/* Sums over the ledger; and, without SQLite, what says so. */
#include "server/meter_db.h"

#if SP_HAVE_SQLITE

sp_status sp_meter_report(sp_meter *meter, int64_t from, int64_t to, sp_usage_fn fn, void *ctx, sp_error *err)
{
    sp_status status = SP_OK;
    int code;
    pthread_mutex_lock(&meter->lock);
    sqlite3_stmt *row = sp_meter_bind(meter, SP_METER_REPORT, "ii", from, to);
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        sp_usage_line line = {
            .day = (const char *)sqlite3_column_text(row, 0),
            .key_id = (const char *)sqlite3_column_text(row, 1),
            .key_name = (const char *)sqlite3_column_text(row, 2),
            .model = (const char *)sqlite3_column_text(row, 3),
            .n_requests = (uint64_t)sqlite3_column_int64(row, 4),
            .n_hit = (uint64_t)sqlite3_column_int64(row, 5),
            .n_miss = (uint64_t)sqlite3_column_int64(row, 6),
            .n_reply = (uint64_t)sqlite3_column_int64(row, 7),
            .n_reasoning = (uint64_t)sqlite3_column_int64(row, 8),
            .cost = sqlite3_column_int64(row, 9),
            .vendor_cost = sqlite3_column_int64(row, 10),
        };
        if (fn(ctx, &line) != 0) break;
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE) status = sp_meter_fail(meter, "reporting", err);
    sqlite3_reset(row);
    pthread_mutex_unlock(&meter->lock);
    return status;
}

#else

static sp_status refuse(sp_error *err)
{
    return sp_fail(err, SP_E_UNSUPPORTED, "meter: built without SQLite");
}

sp_status sp_meter_open(sp_meter **meter, const char *path, sp_error *err)
{
    (void)path;
    *meter = NULL;
    return refuse(err);
}

void sp_meter_close(sp_meter *meter)
{
    (void)meter;
}

sp_status sp_meter_add_key(sp_meter *meter, const sp_key_options *options, char key[SP_KEY_TEXT_CAP],
                           sp_key_info *info, sp_error *err)
{
    (void)meter, (void)options, (void)key, (void)info;
    return refuse(err);
}

sp_status sp_meter_revoke_key(sp_meter *meter, const char *id_or_name, sp_error *err)
{
    (void)meter, (void)id_or_name;
    return refuse(err);
}

sp_status sp_meter_list_keys(sp_meter *meter, sp_key_fn fn, void *ctx, sp_error *err)
{
    (void)meter, (void)fn, (void)ctx;
    return refuse(err);
}

sp_status sp_meter_count_keys(sp_meter *meter, size_t *n, sp_error *err)
{
    (void)meter, (void)n;
    return refuse(err);
}

sp_status sp_meter_admit(sp_meter *meter, const char *key, sp_admission *admission, sp_key_info *info,
                         double *retry_s, sp_error *err)
{
    (void)meter, (void)key, (void)admission, (void)info, (void)retry_s;
    return refuse(err);
}

sp_status sp_meter_identify(sp_meter *meter, const char *key, sp_admission *admission, sp_key_info *info,
                            sp_error *err)
{
    (void)meter, (void)key, (void)admission, (void)info;
    return refuse(err);
}

sp_status sp_meter_book(sp_meter *meter, const sp_ledger_row *row, sp_error *err)
{
    (void)meter, (void)row;
    return refuse(err);
}

sp_status sp_meter_balance(sp_meter *meter, const char *key_id, sp_balance *balance, sp_error *err)
{
    (void)meter, (void)key_id, (void)balance;
    return refuse(err);
}

sp_status sp_meter_report(sp_meter *meter, int64_t from, int64_t to, sp_usage_fn fn, void *ctx, sp_error *err)
{
    (void)meter, (void)from, (void)to, (void)fn, (void)ctx;
    return refuse(err);
}

#endif
