/* SPDX-License-Identifier: MIT */
/* Names to numbers: open addressing with linear probing, at most half full. The full hash is compared before
 * the bytes, so probing a crowded run stays cheap. Hash: FNV-1a (Fowler, Noll, Vo), finished by a
 * multiply-shift mix since the table uses its low bits. */
#include "format/names.h"

#include <string.h>

static uint64_t hash_name(const char *data, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV offset basis */
    for (size_t i = 0; i < len; i++) h = (h ^ (uint8_t)data[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio */
    return h ^ (h >> 29);
}

sp_status sp_names_init(sp_names *names, size_t cap, sp_error *err)
{
    memset(names, 0, sizeof *names);
    size_t n_slots = 8;
    while (n_slots / 2 < cap) {
        if (n_slots > SIZE_MAX / 2) return sp_fail(err, SP_E_LIMIT, "too many names");
        n_slots *= 2;
    }
    names->slots = sp_calloc(n_slots, sizeof *names->slots);
    if (!names->slots) return sp_fail_nomem(err, "name table", (uint64_t)n_slots * sizeof *names->slots);
    names->mask = n_slots - 1;
    names->cap = cap;
    return SP_OK;
}

void sp_names_clear(sp_names *names)
{
    if (!names) return;
    sp_free(names->slots);
    memset(names, 0, sizeof *names);
}

/* The slot that holds the name, or the free slot where it belongs. */
static sp_name_slot *probe(const sp_names *names, const char *data, size_t len, uint64_t hash)
{
    size_t i = (size_t)hash & names->mask;
    for (;;) {
        sp_name_slot *slot = &names->slots[i];
        if (!slot->data) return slot;
        if (slot->hash == hash && slot->len == len && memcmp(slot->data, data, len) == 0) return slot;
        i = (i + 1) & names->mask;
    }
}

bool sp_names_add(sp_names *names, const char *data, size_t len, size_t *value)
{
    uint64_t hash = hash_name(data, len);
    sp_name_slot *slot = probe(names, data, len, hash);
    if (slot->data) {
        *value = slot->value;
        return false;
    }
    *slot = (sp_name_slot){data, len, hash, *value};
    names->count++;
    return true;
}

bool sp_names_find(const sp_names *names, const char *data, size_t len, size_t *value)
{
    if (!names->slots) return false;
    const sp_name_slot *slot = probe(names, data, len, hash_name(data, len));
    if (!slot->data) return false;
    *value = slot->value;
    return true;
}

const char *sp_name_quote(char buf[SP_QUOTE_CAP], const char *data, uint64_t len)
{
    static const char cut[] = "...";
    size_t room = SP_QUOTE_CAP - 3 - (sizeof cut - 1); /* two quotes, NUL */
    size_t n = len <= room ? (size_t)len : room;
    size_t at = 0;
    buf[at++] = '"';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)data[i];
        buf[at++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    if (n < len) {
        memcpy(buf + at, cut, sizeof cut - 1);
        at += sizeof cut - 1;
    }
    buf[at++] = '"';
    buf[at] = 0;
    return buf;
}
