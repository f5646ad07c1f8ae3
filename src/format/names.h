/* SPDX-License-Identifier: MIT */
/* A hash table from names (bytes with a length, not NUL-terminated) to numbers, and the printing of names
 * that come from files in error texts. Used by the parsers to refuse duplicates and by the archive for
 * look-up. The table borrows the names; they must outlive it. Start at sp_names_init(). */
#ifndef SP_FORMAT_NAMES_H
#define SP_FORMAT_NAMES_H

#include "base/mem.h"

typedef struct sp_name_slot {
    const char *data; /* NULL: free */
    size_t len;
    uint64_t hash;
    size_t value;
} sp_name_slot;

typedef struct sp_names {
    sp_name_slot *slots;
    size_t mask; /* number of slots - 1, a power of two - 1 */
    size_t count, cap;
} sp_names;

/* Room for `cap` names; cap is fixed from then on. */
sp_status sp_names_init(sp_names *names, size_t cap, sp_error *err);
void sp_names_clear(sp_names *names);

/* Enter a name. False if it is there already (then *value holds the number stored with it). The caller never
 * adds more than `cap` names. */
bool sp_names_add(sp_names *names, const char *data, size_t len, size_t *value);
bool sp_names_find(const sp_names *names, const char *data, size_t len, size_t *value);

/* A name as text in quotes for messages: unprintable bytes become '?', long names are cut. Returns buf. */
#define SP_QUOTE_CAP 96
const char *sp_name_quote(char buf[SP_QUOTE_CAP], const char *data, uint64_t len);

#endif
