/* SPDX-License-Identifier: MIT */
/* Text to ids: added tokens (on request) are cut out first, the rest is split into pieces and merged. On
 * failure the token list is as it was before the call. Start at sp_tokenizer_encode(). */
#include "text/tokenizer.h"

#include <string.h>

#include "text/utf8.h"
#include "text/utf8_nfc.h"

typedef struct encoder {
    const sp_tokenizer *t;
    sp_tokens *tokens;
    sp_pretok_run run;
} encoder;

static sp_status put_piece(void *ctx, const char *piece, size_t len, sp_error *err)
{
    encoder *e = ctx;
    return sp_bpe_encode(&e->t->bpe, e->tokens, piece, len, err);
}

static sp_status encode_valid(encoder *e, const char *text, size_t len, sp_error *err)
{
    if (!e->t->normalizes || sp_nfc_is_surely_normal(text, len))
        return sp_pretok_split(&e->run, text, len, err);
    sp_buf normal = {0};
    sp_status status = sp_nfc_append(&normal, text, len, err);
    if (status == SP_OK) status = sp_pretok_split(&e->run, normal.data, normal.len, err);
    sp_buf_clear(&normal);
    return status;
}

/* Text without added tokens, any bytes. */
static sp_status encode_plain(encoder *e, const char *text, size_t len, sp_error *err)
{
    while (len > 0) {
        size_t n = sp_utf8_valid_prefix((const unsigned char *)text, len);
        SP_TRY(encode_valid(e, text, n, err));
        text += n, len -= n;
        if (len == 0) break;
        n = sp_utf8_invalid_prefix((const unsigned char *)text, len);
        SP_TRY(put_piece(e, text, n, err));
        text += n, len -= n;
    }
    return SP_OK;
}

/* The longest added token that text starts with; -1 if there is none. The candidates [lo, hi) share the first
 * `depth` bytes with text and are sorted, so each step narrows them by one byte. */
static int32_t match_added(const sp_tokenizer *t, const char *text, size_t len, size_t *matched)
{
    size_t lo = 0, hi = t->n_added;
    int32_t found = -1;
    for (size_t depth = 0; lo < hi; depth++) {
        size_t n;
        sp_bpe_bytes(&t->bpe, t->added[lo], &n);
        if (n == depth && depth > 0) {
            found = t->added[lo];
            *matched = depth;
            while (lo < hi && (sp_bpe_bytes(&t->bpe, t->added[lo], &n), n == depth)) lo++;
        }
        if (depth == len) break;
        unsigned char want = (unsigned char)text[depth];
        size_t bounds[2];
        for (int side = 0; side < 2; side++) { /* first entry >= want, first entry > want */
            size_t a = lo, b = hi;
            while (a < b) {
                size_t mid = a + (b - a) / 2;
                unsigned char c = (unsigned char)sp_bpe_bytes(&t->bpe, t->added[mid], &n)[depth];
                if (c < want || (side == 1 && c == want))
                    a = mid + 1;
                else
                    b = mid;
            }
            bounds[side] = a;
        }
        lo = bounds[0], hi = bounds[1];
    }
    return found;
}

static sp_status encode_special(encoder *e, const char *text, size_t len, sp_error *err)
{
    size_t start = 0;
    for (size_t i = 0; i < len;) {
        size_t matched = 0;
        int32_t id = -1;
        if (e->t->added_first[(unsigned char)text[i]]) id = match_added(e->t, text + i, len - i, &matched);
        if (id < 0) {
            i++;
            continue;
        }
        SP_TRY(encode_plain(e, text + start, i - start, err));
        SP_TRY(sp_tokens_push(e->tokens, id, err));
        i += matched;
        start = i;
    }
    return encode_plain(e, text + start, len - start, err);
}

static bool starts_with_bos(const sp_tokenizer *t, const char *text, size_t len)
{
    size_t n;
    const char *bos = sp_bpe_bytes(&t->bpe, t->bos, &n);
    return n > 0 && n <= len && memcmp(text, bos, n) == 0;
}

sp_status sp_tokenizer_encode(const sp_tokenizer *t, sp_tokens *tokens, const char *text, size_t len,
                              unsigned flags, sp_error *err)
{
    if (flags & ~(unsigned)(SP_ENCODE_BOS | SP_ENCODE_SPECIAL))
        return sp_fail(err, SP_E_ARGUMENT, "tokenizer: unknown encode flags 0x%X", flags);
    bool special = (flags & SP_ENCODE_SPECIAL) != 0;
    size_t n_before = tokens->n;
    encoder e = {.t = t, .tokens = tokens};
    sp_status status = sp_pretok_begin(&e.run, t->pretok, put_piece, &e, err);
    if (status != SP_OK) return status;
    if ((flags & SP_ENCODE_BOS) && t->bos >= 0 && !(special && starts_with_bos(t, text, len)))
        SP_GOTO(done, status, sp_tokens_push(tokens, t->bos, err));
    status = special ? encode_special(&e, text, len, err) : encode_plain(&e, text, len, err);
done:
    sp_pretok_end(&e.run);
    if (status != SP_OK) tokens->n = n_before;
    return status;
}
