/* SPDX-License-Identifier: MIT */
/* Keys: made, revoked, listed, and asked for before each request. A key's text is "sk-" and 43 letters and digits (256 bits) from the
 * system's generator; with so many, a plain SHA-256 keeps it secret, and the look-up by hash leaks nothing by its time. */
#include "server/meter_db.h"

#if SP_HAVE_SQLITE

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/sha256.h"

#define KEY_DIGITS 43 /* 62^43 > 2^256 */
#define ID_DIGITS 10
#define ID_PREFIX "key-"

/* n random letters and digits and NUL. */
static sp_status draw_text(char *out, size_t n, sp_error *err)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (size_t i = 0; i < n;) {
        uint8_t bytes[64];
        ssize_t got = getrandom(bytes, sizeof bytes, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return sp_fail(err, SP_E_IO, "meter: getrandom: %s", strerror(errno));
        for (ssize_t j = 0; j < got && i < n; j++)
            if (bytes[j] < 248) out[i++] = digits[bytes[j] % 62]; /* 248 = 4 * 62: no digit is likelier */
    }
    out[n] = '\0';
    return SP_OK;
}

static void hash_key(const char *key, uint8_t hash[32])
{
    sp_sha256 sha;
    sp_sha256_init(&sha);
    sp_sha256_add(&sha, key, strlen(key));
    sp_sha256_end(&sha, hash);
}

/* One key by a text; SP_E_NOT_FOUND without a word in *err. */
static sp_status find_by(sp_meter *meter, sp_meter_statement which, const char *text, sp_key_info *info,
                         sp_error *err)
{
    sqlite3_stmt *row = sp_meter_bind(meter, which, "t", text);
    int code = sqlite3_step(row);
    sp_status status = SP_OK;
    if (code == SQLITE_ROW)
        sp_meter_read_key(row, info);
    else
        status = code == SQLITE_DONE ? SP_E_NOT_FOUND : sp_meter_fail(meter, "looking for a key", err);
    sqlite3_reset(row);
    return status;
}

static sp_status check_options(const sp_key_options *options, sp_error *err)
{
    const char *name = options->name;
    if (options->requests_per_minute < 0 || options->tokens_per_minute < 0 || options->expires < 0)
        return sp_fail(err, SP_E_ARGUMENT, "meter: limits and expiry of a key are at least 0");
    if (!name) return SP_OK;
    if (!name[0] || strlen(name) >= SP_KEY_NAME_CAP)
        return sp_fail(err, SP_E_ARGUMENT, "meter: name of a key: expected 1 to %d bytes",
                       SP_KEY_NAME_CAP - 1);
    if (strncmp(name, ID_PREFIX, strlen(ID_PREFIX)) == 0)
        return sp_fail(err, SP_E_ARGUMENT,
                       "meter: name of a key: found \"%s\", but \"" ID_PREFIX "\" begins the ids", name);
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        if (*c < 32 || *c == 127)
            return sp_fail(err, SP_E_ARGUMENT, "meter: name of a key: found a control character");
    return SP_OK;
}

static sp_status insert_key(sp_meter *meter, const sp_key_info *key, const uint8_t hash[32], sp_error *err)
{
    sp_key_info other;
    const char *name = key->name[0] ? key->name : NULL;
    if (name) {
        sp_status found = find_by(meter, SP_METER_KEY_BY_NAME, name, &other, err);
        if (found == SP_OK)
            return sp_fail(err, SP_E_ARGUMENT, "meter: %s is called \"%s\" already", other.id, name);
        if (found != SP_E_NOT_FOUND) return found;
    }
    sqlite3_stmt *statement = sp_meter_bind(meter, SP_METER_ADD_KEY, "tbttiiiii", key->id, hash, name,
                                            key->hint, key->requests_per_minute, key->tokens_per_minute,
                                            key->budget, key->expires, key->created);
    if (key->budget < 0) sqlite3_bind_null(statement, 7);
    return sp_meter_run(meter, statement, "adding a key", err);
}

sp_status sp_meter_add_key(sp_meter *meter, const sp_key_options *options, char key[SP_KEY_TEXT_CAP],
                           sp_key_info *info, sp_error *err)
{
    sp_key_info made = {.requests_per_minute = options->requests_per_minute,
                        .tokens_per_minute = options->tokens_per_minute,
                        .budget = options->budget < 0 ? -1 : options->budget,
                        .expires = options->expires,
                        .created = (int64_t)time(NULL)};
    char digits[KEY_DIGITS + 1];
    uint8_t hash[32];
    SP_TRY(check_options(options, err));
    snprintf(made.name, sizeof made.name, "%s", options->name ? options->name : "");
    memcpy(made.id, ID_PREFIX, sizeof ID_PREFIX);
    SP_TRY(draw_text(made.id + strlen(ID_PREFIX), ID_DIGITS, err));
    SP_TRY(draw_text(digits, KEY_DIGITS, err));
    snprintf(key, SP_KEY_TEXT_CAP, "sk-%s", digits);
    snprintf(made.hint, sizeof made.hint, "%s", digits + KEY_DIGITS - 4);
    hash_key(key, hash);

    pthread_mutex_lock(&meter->lock);
    sp_status status = sp_meter_begin(meter, err);
    if (status == SP_OK) status = sp_meter_end(meter, insert_key(meter, &made, hash, err), err);
    pthread_mutex_unlock(&meter->lock);
    if (status != SP_OK)
        memset(key, 0, SP_KEY_TEXT_CAP);
    else if (info)
        *info = made;
    return status;
}

sp_status sp_meter_revoke_key(sp_meter *meter, const char *id_or_name, sp_error *err)
{
    pthread_mutex_lock(&meter->lock);
    sqlite3_stmt *statement =
        sp_meter_bind(meter, SP_METER_REVOKE_KEY, "ti", id_or_name, (int64_t)time(NULL));
    sp_status status = sp_meter_run(meter, statement, "revoking a key", err);
    if (status == SP_OK && sqlite3_changes(meter->db) == 0)
        status =
            sp_fail(err, SP_E_NOT_FOUND, "meter: no key in use has the id or name \"%.100s\"", id_or_name);
    pthread_mutex_unlock(&meter->lock);
    return status;
}

sp_status sp_meter_list_keys(sp_meter *meter, sp_key_fn fn, void *ctx, sp_error *err)
{
    sp_status status = SP_OK;
    pthread_mutex_lock(&meter->lock);
    sqlite3_stmt *row = meter->statements[SP_METER_LIST_KEYS];
    int code;
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        sp_key_info info;
        sp_meter_read_key(row, &info);
        if (fn(ctx, &info) != 0) break;
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE) status = sp_meter_fail(meter, "listing keys", err);
    sqlite3_reset(row);
    pthread_mutex_unlock(&meter->lock);
    return status;
}

sp_status sp_meter_count_keys(sp_meter *meter, size_t *n, sp_error *err)
{
    sp_status status = SP_OK;
    pthread_mutex_lock(&meter->lock);
    sqlite3_stmt *row = meter->statements[SP_METER_COUNT_KEYS];
    if (sqlite3_step(row) == SQLITE_ROW)
        *n = (size_t)sqlite3_column_int64(row, 0);
    else
        status = sp_meter_fail(meter, "counting keys", err);
    sqlite3_reset(row);
    pthread_mutex_unlock(&meter->lock);
    return status;
}

/* ---- admission ---- */

static sp_status find_key(sp_meter *meter, const char *key, bool *found, sp_key_info *info, sp_error *err)
{
    uint8_t hash[32];
    hash_key(key, hash);
    sqlite3_stmt *row = sp_meter_bind(meter, SP_METER_FIND_KEY, "b", hash);
    int code = sqlite3_step(row);
    sp_status status = SP_OK;
    *found = code == SQLITE_ROW;
    if (*found)
        sp_meter_read_key(row, info);
    else if (code != SQLITE_DONE)
        status = sp_meter_fail(meter, "looking for a key", err);
    sqlite3_reset(row);
    return status;
}

/* After a booking that failed nobody is admitted until something can be written: what cannot be booked is not given away. */
static sp_status try_writing(sp_meter *meter, sp_error *err)
{
    if (!meter->failing) return SP_OK;
    SP_TRY(sp_meter_run(meter, meter->statements[SP_METER_ATTEMPT], "writing again", err));
    meter->failing = false;
    return SP_OK;
}

static sp_status limit(sp_meter *meter, const sp_key_info *info, sp_admission *admission, double *retry_s,
                       sp_error *err)
{
    if (info->requests_per_minute == 0 && info->tokens_per_minute == 0) return SP_OK;
    sp_window *window = sp_windows_get(&meter->windows, info->id);
    if (!window) return sp_fail_nomem(err, "a key's window", sizeof *window);
    double now = sp_seconds();
    double wait = sp_window_wait(window, now, info->requests_per_minute, info->tokens_per_minute);
    if (wait > 0) {
        *admission = SP_ADMIT_LIMITED;
        if (retry_s) *retry_s = wait;
    } else {
        sp_window_add(window, now, 1, 0);
    }
    return SP_OK;
}

static sp_status identify(sp_meter *meter, const char *key, sp_admission *admission, sp_key_info *info,
                          sp_error *err)
{
    bool found = false;
    SP_TRY(find_key(meter, key, &found, info, err));
    bool good = found && !info->revoked && (info->expires == 0 || info->expires > (int64_t)time(NULL));
    *admission = good ? SP_ADMIT : SP_ADMIT_UNKNOWN;
    return SP_OK;
}

sp_status sp_meter_identify(sp_meter *meter, const char *key, sp_admission *admission, sp_key_info *info,
                            sp_error *err)
{
    pthread_mutex_lock(&meter->lock);
    sp_status status = identify(meter, key, admission, info, err);
    pthread_mutex_unlock(&meter->lock);
    return status;
}

sp_status sp_meter_admit(sp_meter *meter, const char *key, sp_admission *admission, sp_key_info *info,
                         double *retry_s, sp_error *err)
{
    if (retry_s) *retry_s = 0;
    pthread_mutex_lock(&meter->lock);
    sp_status status = identify(meter, key, admission, info, err);
    if (status == SP_OK && *admission == SP_ADMIT) {
        if (info->budget >= 0 && info->spent >= info->budget)
            *admission = SP_ADMIT_SPENT;
        else if ((status = try_writing(meter, err)) == SP_OK)
            status = limit(meter, info, admission, retry_s, err);
    }
    pthread_mutex_unlock(&meter->lock);
    return status;
}

sp_status sp_meter_balance(sp_meter *meter, const char *key_id, sp_balance *balance, sp_error *err)
{
    sp_key_info info = {.budget = -1};
    if (key_id && key_id[0]) {
        pthread_mutex_lock(&meter->lock);
        sp_status status = find_by(meter, SP_METER_KEY_BY_ID, key_id, &info, err);
        pthread_mutex_unlock(&meter->lock);
        if (status == SP_E_NOT_FOUND)
            return sp_fail(err, status, "meter: no key has the id \"%.40s\"", key_id);
        if (status != SP_OK) return status;
    }
    int64_t left = info.budget < 0 ? INT64_MAX : info.budget > info.spent ? info.budget - info.spent : 0;
    *balance = (sp_balance){.is_available = left > 0, .total = left, .granted = left, .topped_up = 0};
    return SP_OK;
}

#endif
