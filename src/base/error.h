/* SPDX-License-Identifier: MIT */
/* Filling sp_error. `return sp_fail(err, SP_E_FORMAT, "gguf: ...", ...)` sets the error and yields its code,
 * so that a failing function is one line. The text states what was expected, what was found, and where. */
#ifndef SP_BASE_ERROR_H
#define SP_BASE_ERROR_H

#include <sputnik/status.h>

/* Set *err (when not NULL) and return `code`. Offset becomes -1. */
sp_status sp_fail(sp_error *err, sp_status code, const char *fmt, ...) SP_PRINTF(3, 4);

/* The same with a byte offset; the text gets " (offset N)" appended. */
sp_status sp_fail_at(sp_error *err, sp_status code, int64_t offset, const char *fmt, ...) SP_PRINTF(4, 5);

/* "out of memory: <what> (N bytes)". */
sp_status sp_fail_nomem(sp_error *err, const char *what, uint64_t n_bytes);

/* Put "prefix: " before the text of an error that a callee set; returns err's code (or `code` if err is
 * NULL). */
sp_status sp_fail_prefix(sp_error *err, sp_status code, const char *fmt, ...) SP_PRINTF(3, 4);

/* `what "path": <text of errno>`; SP_E_NOT_FOUND, SP_E_NOMEM or SP_E_IO by errno. */
sp_status sp_fail_errno(sp_error *err, const char *what, const char *path);

#define SP_TRY(expr)                                                                                         \
    do {                                                                                                     \
        sp_status sp_try_status_ = (expr);                                                                   \
        if (sp_try_status_ != SP_OK) return sp_try_status_;                                                  \
    } while (0)

/* For functions with one exit: `SP_GOTO(done, status, call(...))`. */
#define SP_GOTO(label, status, expr)                                                                         \
    do {                                                                                                     \
        (status) = (expr);                                                                                   \
        if ((status) != SP_OK) goto label;                                                                   \
    } while (0)

#endif
