/* SPDX-License-Identifier: MIT */
/* UTF-8: one strict decoder (no surrogates, no overlong forms, nothing above U+10FFFF) that every reader of
 * text in this floor uses. Nothing here allocates. Source: Unicode Standard 15.0, table 3-7. */
#ifndef SP_TEXT_UTF8_H
#define SP_TEXT_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length in bytes (1-4) of the well-formed character at s, of which n bytes are readable; 0 if there is none.
 * *cp (may be NULL) receives the code point. */
size_t sp_utf8_read(const unsigned char *s, size_t n, uint32_t *cp);

/* Write a code point below 0x110000 to out; returns the bytes written (1-4). */
size_t sp_utf8_write(unsigned char out[4], uint32_t cp);

/* Bytes at the front of s that form only well-formed characters. */
size_t sp_utf8_valid_prefix(const unsigned char *s, size_t n);

/* Bytes at the front of s up to the next well-formed character (or the end). */
size_t sp_utf8_invalid_prefix(const unsigned char *s, size_t n);

/* Whether the n bytes at s (n >= 1) could still become one well-formed character if more bytes followed. */
int sp_utf8_is_partial(const unsigned char *s, size_t n);

#endif
