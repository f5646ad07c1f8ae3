/* SPDX-License-Identifier: MIT */
/* Error values: codes, fixed messages, and formatting into the caller's sp_error. Start at sp_fail(). */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *sp_status_message(sp_status status)
{
    switch (status) {
#define SP_STATUS_CASE(name, value, message)                                                                 \
    case name: return message;
        SP_STATUS_LIST(SP_STATUS_CASE)
#undef SP_STATUS_CASE
    }
    return "unknown status";
}

const char *sp_status_name(sp_status status)
{
    switch (status) {
#define SP_STATUS_CASE(name, value, message)                                                                 \
    case name: return #name;
        SP_STATUS_LIST(SP_STATUS_CASE)
#undef SP_STATUS_CASE
    }
    return "SP_E_UNKNOWN";
}

static void fill(sp_error *err, sp_status code, int64_t offset, const char *fmt, va_list args)
{
    if (!err) return;
    err->code = code;
    err->offset = offset;
    vsnprintf(err->text, sizeof err->text, fmt, args);
    if (offset >= 0) {
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof err->text - used, " (offset %lld)", (long long)offset);
    }
}

sp_status sp_fail(sp_error *err, sp_status code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fill(err, code, -1, fmt, args);
    va_end(args);
    return code;
}

sp_status sp_fail_at(sp_error *err, sp_status code, int64_t offset, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fill(err, code, offset, fmt, args);
    va_end(args);
    return code;
}

sp_status sp_fail_nomem(sp_error *err, const char *what, uint64_t n_bytes)
{
    return sp_fail(err, SP_E_NOMEM, "out of memory: %s (%llu bytes)", what, (unsigned long long)n_bytes);
}

sp_status sp_fail_prefix(sp_error *err, sp_status code, const char *fmt, ...)
{
    if (!err) return code;
    char prefix[SP_ERROR_TEXT_CAP];
    char text[SP_ERROR_TEXT_CAP];
    va_list args;
    va_start(args, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    memcpy(text, err->text, sizeof text);
    int n = snprintf(err->text, sizeof err->text, "%s: ", prefix);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof err->text ? (size_t)n : sizeof err->text - 1;
    snprintf(err->text + used, sizeof err->text - used, "%s", text);
    return err->code != SP_OK ? err->code : code;
}

sp_status sp_fail_errno(sp_error *err, const char *what, const char *path)
{
    int code = errno;
    sp_status status = code == ENOENT ? SP_E_NOT_FOUND : code == ENOMEM ? SP_E_NOMEM : SP_E_IO;
    return sp_fail(err, status, "%s \"%s\": %s", what, path, strerror(code));
}
