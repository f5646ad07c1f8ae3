/* SPDX-License-Identifier: MIT */
/* Opening the meter's file, its schema, and running prepared statements. Start at sp_meter_open(). */
#include "server/meter_db.h"

#if SP_HAVE_SQLITE

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define APPLICATION_ID 0x53704d74 /* "SpMt" */
#define SCHEMA_VERSION 1
#define BUSY_MS 5000 /* another process adds a key: a matter of milliseconds */

#define DIGITS_OF(number) #number
#define DIGITS(number) DIGITS_OF(number)

/* Money in billionths of a dollar, times in Unix seconds; expires, last_used and revoked are 0 for never. */
static const char schema[] =
    "CREATE TABLE keys (id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, name TEXT, hint TEXT NOT NULL,"
    " requests_per_minute INTEGER NOT NULL, tokens_per_minute INTEGER NOT NULL, budget INTEGER,"
    " spent INTEGER NOT NULL DEFAULT 0, expires INTEGER NOT NULL, created INTEGER NOT NULL,"
    " last_used INTEGER NOT NULL DEFAULT 0, revoked INTEGER NOT NULL DEFAULT 0);"
    "CREATE UNIQUE INDEX keys_by_name ON keys (name) WHERE revoked = 0;"
    "CREATE TABLE ledger (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, request_id TEXT, key_id TEXT,"
    " endpoint TEXT, model TEXT NOT NULL, n_hit INTEGER NOT NULL, n_miss INTEGER NOT NULL,"
    " n_reply INTEGER NOT NULL, n_reasoning INTEGER NOT NULL, cost INTEGER NOT NULL,"
    " vendor_cost INTEGER NOT NULL, seconds REAL NOT NULL, cancelled INTEGER NOT NULL);"
    "CREATE INDEX ledger_by_time ON ledger (time);"
    "CREATE TABLE attempts (n INTEGER NOT NULL);"
    "INSERT INTO attempts VALUES (0);"
    "PRAGMA application_id = " DIGITS(APPLICATION_ID) ";"
                                                      "PRAGMA user_version = " DIGITS(SCHEMA_VERSION) ";";

static const char *const statement_texts[SP_METER_N_STATEMENTS] = {
#define TEXT_ROW(name, text) text,
    SP_METER_STATEMENTS(TEXT_ROW)
#undef TEXT_ROW
};

sp_status sp_meter_fail(const sp_meter *meter, const char *what, sp_error *err)
{
    int code = sqlite3_errcode(meter->db) & 0xff;
    sp_status status = code == SQLITE_NOMEM                              ? SP_E_NOMEM
                       : code == SQLITE_NOTADB || code == SQLITE_CORRUPT ? SP_E_FORMAT
                                                                         : SP_E_IO;
    return sp_fail(err, status, "meter: %s: %s", what, sqlite3_errmsg(meter->db));
}

sqlite3_stmt *sp_meter_bind(sp_meter *meter, sp_meter_statement which, const char *types, ...)
{
    sqlite3_stmt *statement = meter->statements[which];
    va_list values;
    va_start(values, types);
    for (int i = 1; types[i - 1]; i++) switch (types[i - 1]) {
        case 't': sqlite3_bind_text(statement, i, va_arg(values, const char *), -1, SQLITE_TRANSIENT); break;
        case 'i': sqlite3_bind_int64(statement, i, va_arg(values, int64_t)); break;
        case 'r': sqlite3_bind_double(statement, i, va_arg(values, double)); break;
        case 'b': sqlite3_bind_blob(statement, i, va_arg(values, const uint8_t *), 32, SQLITE_TRANSIENT);
        }
    va_end(values);
    return statement;
}

sp_status sp_meter_run(sp_meter *meter, sqlite3_stmt *statement, const char *what, sp_error *err)
{
    sp_status status = SP_OK;
    if (sqlite3_step(statement) != SQLITE_DONE) status = sp_meter_fail(meter, what, err);
    sqlite3_reset(statement);
    return status;
}

sp_status sp_meter_begin(sp_meter *meter, sp_error *err)
{
    return sp_meter_run(meter, meter->statements[SP_METER_BEGIN], "begin", err);
}

sp_status sp_meter_end(sp_meter *meter, sp_status status, sp_error *err)
{
    if (status == SP_OK) status = sp_meter_run(meter, meter->statements[SP_METER_COMMIT], "commit", err);
    /* some errors have rolled back already */
    if (status != SP_OK && !sqlite3_get_autocommit(meter->db))
        sp_meter_run(meter, meter->statements[SP_METER_ROLLBACK], "roll back", NULL);
    return status;
}

static void copy_text(char *out, size_t cap, const unsigned char *text)
{
    size_t len = text ? strlen((const char *)text) : 0;
    if (len >= cap) len = cap - 1;
    if (len) memcpy(out, text, len);
    out[len] = '\0';
}

void sp_meter_read_key(sqlite3_stmt *row, sp_key_info *info)
{
    copy_text(info->id, sizeof info->id, sqlite3_column_text(row, 0));
    copy_text(info->name, sizeof info->name, sqlite3_column_text(row, 1));
    copy_text(info->hint, sizeof info->hint, sqlite3_column_text(row, 2));
    info->requests_per_minute = sqlite3_column_int64(row, 3);
    info->tokens_per_minute = sqlite3_column_int64(row, 4);
    info->budget = sqlite3_column_int64(row, 5);
    info->spent = sqlite3_column_int64(row, 6);
    info->expires = sqlite3_column_int64(row, 7);
    info->created = sqlite3_column_int64(row, 8);
    info->last_used = sqlite3_column_int64(row, 9);
    info->revoked = sqlite3_column_int64(row, 10) != 0;
}

/* ---- opening ---- */

static sp_status ask_number(sp_meter *meter, const char *text, int64_t *number, sp_error *err)
{
    sqlite3_stmt *statement = NULL;
    sp_status status = SP_OK;
    if (sqlite3_prepare_v2(meter->db, text, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        status = sp_meter_fail(meter, "reading", err);
    else
        *number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return status;
}

static sp_status execute(sp_meter *meter, const char *text, const char *what, sp_error *err)
{
    return sqlite3_exec(meter->db, text, NULL, NULL, NULL) == SQLITE_OK ? SP_OK
                                                                        : sp_meter_fail(meter, what, err);
}

/* Whose file is it? One without tables becomes ours; within a transaction, since two processes may come upon a new file. */
static sp_status check_schema(sp_meter *meter, sp_error *err)
{
    int64_t application = 0, version = 0, n_tables = 0;
    SP_TRY(ask_number(meter, "PRAGMA application_id", &application, err));
    SP_TRY(ask_number(meter, "PRAGMA user_version", &version, err));
    SP_TRY(ask_number(meter, "SELECT count(*) FROM sqlite_master", &n_tables, err));
    if (application == APPLICATION_ID && version == SCHEMA_VERSION) return SP_OK;
    if (application == APPLICATION_ID)
        return sp_fail(err, SP_E_FORMAT,
                       "meter: version %lld of the file, expected %d: made by a later program",
                       (long long)version, SCHEMA_VERSION);
    if (application != 0 || version != 0 || n_tables != 0)
        return sp_fail(err, SP_E_FORMAT,
                       "meter: a database of something else (application %lld, version %lld)",
                       (long long)application, (long long)version);
    return execute(meter, schema, "making tables", err);
}

static sp_status prepare(sp_meter *meter, sp_error *err)
{
    int64_t ignored = 0;
    /* FULL: a commit is on the disk when it returns, also if the power fails */
    SP_TRY(ask_number(meter, "PRAGMA journal_mode = WAL", &ignored, err));
    SP_TRY(execute(meter, "PRAGMA synchronous = FULL", "opening", err));
    SP_TRY(execute(meter, "BEGIN IMMEDIATE", "opening", err));
    sp_status status = check_schema(meter, err);
    if (status == SP_OK) status = execute(meter, "COMMIT", "making tables", err);
    if (status != SP_OK) {
        sqlite3_exec(meter->db, "ROLLBACK", NULL, NULL, NULL);
        return status;
    }
    for (int i = 0; i < SP_METER_N_STATEMENTS; i++)
        if (sqlite3_prepare_v3(meter->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &meter->statements[i], NULL) != SQLITE_OK)
            return sp_meter_fail(meter, "preparing", err);
    return SP_OK;
}

/* A store that root makes in a service's folder is for the service, which could not open it otherwise. */
static sp_status give_to_folder(int fd, const char *path, sp_error *err)
{
    struct stat of_folder;
    sp_buf folder = {NULL, 0, 0};
    size_t n = (size_t)(sp_path_base(path) - path);
    SP_TRY(n > 0 ? sp_buf_append(&folder, path, n, err) : sp_buf_puts(&folder, ".", err));
    SP_TRY(sp_buf_append(&folder, "", 1, err));
    bool failed = stat(folder.data, &of_folder) != 0 || fchown(fd, of_folder.st_uid, of_folder.st_gid) != 0;
    sp_buf_clear(&folder);
    return failed ? sp_fail_errno(err, "meter", path) : SP_OK;
}

/* SQLite would let everybody read the file; its companions take its mode and, when root makes them, its owner. */
static sp_status make_private(const char *path, sp_error *err)
{
    sp_status status = SP_OK;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 && geteuid() == 0)
        status = give_to_folder(fd, path, err);
    else if (fd < 0 && errno == EEXIST)
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return sp_fail_errno(err, "meter", path);
    close(fd);
    return status;
}

sp_status sp_meter_open(sp_meter **out, const char *path, sp_error *err)
{
    *out = NULL;
    if (path) SP_TRY(make_private(path, err));
    sp_meter *meter = sp_calloc(1, sizeof *meter);
    if (!meter) return sp_fail_nomem(err, "meter", sizeof *meter);
    pthread_mutex_init(&meter->lock, NULL);
    pthread_mutex_init(&meter->queue_lock, NULL);
    pthread_cond_init(&meter->queue_moved, NULL);
    meter->queue_end = &meter->queue;
    sp_status status;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path ? path : ":memory:", &meter->db, flags, NULL) != SQLITE_OK) {
        status = meter->db ? sp_meter_fail(meter, "opening", err) : sp_fail_nomem(err, "meter", 0);
    } else {
        sqlite3_busy_timeout(meter->db, BUSY_MS);
        status = prepare(meter, err);
    }
    if (status != SP_OK) {
        if (path) sp_fail_prefix(err, status, "%s", path);
        sp_meter_close(meter);
        return status;
    }
    *out = meter;
    return SP_OK;
}

void sp_meter_close(sp_meter *meter)
{
    if (!meter) return;
    for (int i = 0; i < SP_METER_N_STATEMENTS; i++) sqlite3_finalize(meter->statements[i]);
    sqlite3_close(meter->db);
    sp_windows_clear(&meter->windows);
    pthread_cond_destroy(&meter->queue_moved);
    pthread_mutex_destroy(&meter->queue_lock);
    pthread_mutex_destroy(&meter->lock);
    sp_free(meter);
}

#endif
