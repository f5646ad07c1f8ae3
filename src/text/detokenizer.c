/* SPDX-License-Identifier: MIT */
/* Streaming detokeniser: bytes of tokens go in, whole UTF-8 characters come out. At most three bytes are held
 * back. A byte sequence that can no longer become a character yields one U+FFFD per maximal subpart (Unicode
 * Standard 15.0, section 3.9). Start at sp_detokenizer_push(). */
#include <sputnik/tokenizer.h>

#include <string.h>

#include "base/error.h"
#include "text/utf8.h"

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

void sp_detokenizer_init(sp_detokenizer *d, const sp_tokenizer *tokenizer)
{
    *d = (sp_detokenizer){.tokenizer = tokenizer};
}

sp_status sp_detokenizer_flush(sp_detokenizer *d, sp_text *text, sp_error *err)
{
    if (d->n_tail == 0) return SP_OK;
    d->n_tail = 0;
    return sp_text_append(text, replacement, 3, err);
}

static sp_status put_byte(sp_detokenizer *d, sp_text *text, unsigned char byte, sp_error *err)
{
    d->tail[d->n_tail++] = byte;
    size_t n = (size_t)d->n_tail;
    if (sp_utf8_read(d->tail, n, NULL) == n) {
        d->n_tail = 0;
        return sp_text_append(text, (const char *)d->tail, n, err);
    }
    if (sp_utf8_is_partial(d->tail, n)) return SP_OK;
    d->n_tail = 0;
    SP_TRY(sp_text_append(text, replacement, 3, err));
    /* The byte that broke a sequence may begin the next character. */
    return n > 1 ? put_byte(d, text, byte, err) : SP_OK;
}

sp_status sp_detokenizer_push(sp_detokenizer *d, sp_text *text, int32_t id, unsigned flags, sp_error *err)
{
    if (flags & ~(unsigned)SP_DECODE_SKIP_SPECIAL)
        return sp_fail(err, SP_E_ARGUMENT, "tokenizer: unknown decode flags 0x%X", flags);
    if (id < 0 || id >= sp_tokenizer_size(d->tokenizer))
        return sp_fail(err, SP_E_RANGE, "tokenizer: id %d lies outside the vocabulary of %d", id,
                       sp_tokenizer_size(d->tokenizer));
    if ((flags & SP_DECODE_SKIP_SPECIAL) && sp_tokenizer_is_special(d->tokenizer, id)) return SP_OK;
    size_t len;
    const char *bytes = sp_tokenizer_piece(d->tokenizer, id, &len);
    for (size_t i = 0; i < len; i++) {
        size_t n = d->n_tail == 0 ? sp_utf8_valid_prefix((const unsigned char *)bytes + i, len - i) : 0;
        if (n > 0) SP_TRY(sp_text_append(text, bytes + i, n, err));
        i += n;
        if (i < len) SP_TRY(put_byte(d, text, (unsigned char)bytes[i], err));
    }
    return SP_OK;
}
