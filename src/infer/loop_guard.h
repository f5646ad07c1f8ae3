/* SPDX-License-Identifier: MIT */
/* Notices that a reply only repeats itself: its last k * p tokens are k copies of the same p tokens. Exact
 * repetition only; copies that differ in a counter are not recognised. When a repetition counts is stated in
 * loop_guard.c. */
#ifndef SP_INFER_LOOP_GUARD_H
#define SP_INFER_LOOP_GUARD_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define SP_LOOP_MAX_PERIOD 1024

typedef struct sp_loop_guard sp_loop_guard;

sp_status sp_loop_guard_create(sp_loop_guard **guard, sp_error *err);
void sp_loop_guard_destroy(sp_loop_guard *guard); /* accepts NULL */

/* Take the next token. Returns the length of the repeated passage if the reply is now a loop, else 0;
 * *repeats (may be NULL) is how often it stands there, rounded down. About a microsecond. */
size_t sp_loop_guard_push(sp_loop_guard *guard, int32_t id, size_t *repeats);

#endif
