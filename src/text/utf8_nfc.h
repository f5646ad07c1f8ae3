/* SPDX-License-Identifier: MIT */
/* Unicode's normalisation form C, which Qwen2's tokenizer.json asks for. */
#ifndef SP_TEXT_UTF8_NFC_H
#define SP_TEXT_UTF8_NFC_H

#include "base/mem.h"

/* True if the text (well-formed UTF-8) surely is in NFC already; false means that it has to be normalised. */
bool sp_nfc_is_surely_normal(const char *text, size_t len);

/* Append the NFC of text (well-formed UTF-8) to out. Linear time. */
sp_status sp_nfc_append(sp_buf *out, const char *text, size_t len, sp_error *err);

#endif
