/* SPDX-License-Identifier: MIT */
/* Status codes and the error object that every fallible function of Sputnik reports through.
 *
 * A function that can fail returns sp_status: SP_OK (0) or a negative code. Results go out through
 * parameters; the last parameter is `sp_error *err`, which may be NULL. On failure *err is filled; on
 * success it is left alone. Errors are plain values: no ownership, safe to copy, usable from any thread.
 */
#ifndef SPUTNIK_STATUS_H
#define SPUTNIK_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SP_API __attribute__((visibility("default")))
#define SP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define SP_API
#define SP_PRINTF(fmt, args)
#endif

/* X(name, value, message) */
#define SP_STATUS_LIST(X)                                                                                    \
    X(SP_OK, 0, "success")                                                                                   \
    X(SP_E_NOMEM, -1, "out of memory")                                                                       \
    X(SP_E_IO, -2, "input/output error")                                                                     \
    X(SP_E_FORMAT, -3, "malformed input")                                                                    \
    X(SP_E_UNSUPPORTED, -4, "not supported")                                                                 \
    X(SP_E_ARGUMENT, -5, "invalid argument")                                                                 \
    X(SP_E_RANGE, -6, "value out of range")                                                                  \
    X(SP_E_NOT_FOUND, -7, "not found")                                                                       \
    X(SP_E_LIMIT, -8, "limit exceeded")                                                                      \
    X(SP_E_CANCELLED, -9, "cancelled")                                                                       \
    X(SP_E_NETWORK, -10, "network error")

typedef enum sp_status {
#define SP_STATUS_ENUM(name, value, message) name = value,
    SP_STATUS_LIST(SP_STATUS_ENUM)
#undef SP_STATUS_ENUM
} sp_status;

#define SP_ERROR_TEXT_CAP 384

typedef struct sp_error {
    sp_status code;
    int64_t offset;               /* byte offset in the parsed input, -1 where it has no meaning */
    char text[SP_ERROR_TEXT_CAP]; /* what was expected, what was found, where */
} sp_error;

#define SP_ERROR_NONE                                                                                        \
    {                                                                                                        \
        SP_OK, -1, ""                                                                                        \
    }

/* The fixed English message of a status code; never NULL. */
SP_API const char *sp_status_message(sp_status status);

/* The enum name of a status code, e.g. "SP_E_FORMAT"; never NULL. */
SP_API const char *sp_status_name(sp_status status);

#ifdef __cplusplus
}
#endif

#endif
