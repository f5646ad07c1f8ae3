/* SPDX-License-Identifier: MIT */
/* Stop strings in a stream of text: text passes through up to the first stop string; the longest end that may
 * begin one is held back until it is decided. Which string counts: the one that is complete first; of those
 * that end at the same place, the longest. */
#ifndef SP_INFER_STOP_H
#define SP_INFER_STOP_H

#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct sp_stop {
    char **strings; /* copies, none empty */
    size_t n_strings;
    size_t longest; /* bytes of the longest */
    sp_buf held;
    bool hit; /* a stop string has been seen: everything later is dropped */
} sp_stop;

/* Zero-initialise before. Empty strings are SP_E_ARGUMENT. */
sp_status sp_stop_init(sp_stop *stop, const char *const *strings, size_t n_strings, sp_error *err);
void sp_stop_clear(sp_stop *stop);

/* Append to *out what of the text may be shown. */
sp_status sp_stop_push(sp_stop *stop, sp_buf *out, const char *text, size_t len, sp_error *err);

/* The text ends here: what is held back is no stop string. */
sp_status sp_stop_flush(sp_stop *stop, sp_buf *out, sp_error *err);

#endif
