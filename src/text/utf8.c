/* SPDX-License-Identifier: MIT */
/* Strict UTF-8 reading and writing. Start at sp_utf8_read(). */
#include "text/utf8.h"

#include <string.h>

/* Range that the second byte must lie in, by the first (table 3-7). */
static void second_byte_range(unsigned char first, unsigned char *lo, unsigned char *hi)
{
    *lo = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    *hi = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
}

static size_t length_by_first(unsigned char first)
{
    if (first < 0x80) return 1;
    if (first < 0xC2) return 0;
    if (first < 0xE0) return 2;
    if (first < 0xF0) return 3;
    return first < 0xF5 ? 4 : 0;
}

size_t sp_utf8_read(const unsigned char *s, size_t n, uint32_t *cp)
{
    if (n == 0) return 0;
    size_t len = length_by_first(s[0]);
    if (len == 0 || len > n) return 0;
    if (len == 1) {
        if (cp) *cp = s[0];
        return 1;
    }
    unsigned char lo, hi;
    second_byte_range(s[0], &lo, &hi);
    if (s[1] < lo || s[1] > hi) return 0;
    uint32_t value = s[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
        value = value << 6 | (s[i] & 0x3Fu);
    }
    if (cp) *cp = value;
    return len;
}

size_t sp_utf8_write(unsigned char out[4], uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (unsigned char)cp;
        return 1;
    }
    size_t len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, cp >>= 6) out[i] = (unsigned char)(0x80 | (cp & 0x3F));
    out[0] = (unsigned char)((0xF00u >> len & 0xF0) | cp);
    return len;
}

size_t sp_utf8_valid_prefix(const unsigned char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint64_t word;
        if (n - i >= 8 && (memcpy(&word, s + i, 8), (word & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        size_t len = sp_utf8_read(s + i, n - i, NULL);
        if (len == 0) break;
        i += len;
    }
    return i;
}

size_t sp_utf8_invalid_prefix(const unsigned char *s, size_t n)
{
    size_t i = 0;
    while (i < n && sp_utf8_read(s + i, n - i, NULL) == 0) i++;
    return i;
}

int sp_utf8_is_partial(const unsigned char *s, size_t n)
{
    size_t len = length_by_first(s[0]);
    if (n >= len) return 0;
    if (n >= 2) {
        unsigned char lo, hi;
        second_byte_range(s[0], &lo, &hi);
        if (s[1] < lo || s[1] > hi) return 0;
    }
    return n < 3 || (s[2] & 0xC0) == 0x80;
}
