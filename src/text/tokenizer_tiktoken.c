/* SPDX-License-Identifier: MIT */
/* Ranks files ("base64 rank" per line): Llama 3's tokenizer.model and qwen.tiktoken. Such a file lists tokens
 * by the rank at which they were learnt; the merge that makes a token joins the two parts that its bytes have
 * become when only lower ranks are applied. Start at sp_tokenizer_from_tiktoken(). */
#include "text/tokenizer.h"

#include <string.h>

#include "text/tokenizer_build.h"

enum { TOKEN_MAX = 1024 }; /* bytes of one token; the longest published one has 128 */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

typedef struct reader {
    const char *text;
    size_t len, pos;
    char bytes[TOKEN_MAX];
    size_t n_bytes;
    int64_t rank;
} reader;

static sp_status fail_line(const reader *r, const char *what, sp_error *err)
{
    return sp_fail_at(err, SP_E_FORMAT, (int64_t)r->pos, "ranks file: %s (\"base64 rank\" per line expected)",
                      what);
}

static sp_status read_base64(reader *r, sp_error *err)
{
    uint32_t bits = 0;
    int n_bits = 0;
    for (r->n_bytes = 0; r->pos < r->len && base64_digit(r->text[r->pos]) >= 0; r->pos++) {
        bits = bits << 6 | (uint32_t)base64_digit(r->text[r->pos]);
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        if (r->n_bytes == TOKEN_MAX) return fail_line(r, "token too long", err);
        r->bytes[r->n_bytes++] = (char)(bits >> n_bits & 0xFF);
    }
    while (r->pos < r->len && r->text[r->pos] == '=') r->pos++;
    return r->n_bytes > 0 ? SP_OK : fail_line(r, "no base64 text", err);
}

/* Read the next line; *more = false at the end. */
static sp_status read_line(reader *r, bool *more, sp_error *err)
{
    while (r->pos < r->len && strchr(" \r\n", r->text[r->pos]) && r->text[r->pos]) r->pos++;
    *more = r->pos < r->len;
    if (!*more) return SP_OK;
    SP_TRY(read_base64(r, err));
    while (r->pos < r->len && r->text[r->pos] == ' ') r->pos++;
    size_t start = r->pos;
    r->rank = 0;
    for (; r->pos < r->len && r->text[r->pos] >= '0' && r->text[r->pos] <= '9'; r->pos++)
        if (r->rank < SP_BPE_TOKENS_MAX) r->rank = 10 * r->rank + (r->text[r->pos] - '0');
    if (r->pos == start || r->rank >= SP_BPE_TOKENS_MAX) return fail_line(r, "no usable rank", err);
    return SP_OK;
}

static sp_status count_ranks(const sp_tokenizer_ranks *ranks, int64_t *n, sp_error *err)
{
    reader r = {.text = ranks->text, .len = ranks->len};
    bool more;
    *n = 0;
    for (;;) {
        SP_TRY(read_line(&r, &more, err));
        if (!more) return SP_OK;
        if (r.rank >= *n) *n = r.rank + 1;
    }
}

static sp_status read_ranks(sp_tokenizer *t, const sp_tokenizer_ranks *ranks, int64_t n_ranks, sp_error *err)
{
    reader r = {.text = ranks->text, .len = ranks->len};
    bool more;
    for (;;) {
        SP_TRY(read_line(&r, &more, err));
        if (!more) break;
        SP_TRY(sp_bpe_set(&t->bpe, (int32_t)r.rank, r.bytes, r.n_bytes, SP_TOKEN_NORMAL, err));
    }
    for (size_t i = 0; i < ranks->n_added; i++)
        SP_TRY(sp_tokenizer_add(t, n_ranks + (int64_t)i, ranks->added[i], strlen(ranks->added[i]),
                                SP_TOKEN_CONTROL, err));
    return sp_tokenizer_index(t, err);
}

/* Apply ranks below `id` to its own bytes. True if two parts remain; *n_left is the first one's length. */
static bool split_token(const sp_bpe *bpe, int32_t id, size_t *n_left)
{
    uint16_t cuts[TOKEN_MAX + 1]; /* part i is bytes cuts[i] .. cuts[i + 1] */
    size_t len;
    const char *bytes = sp_bpe_bytes(bpe, id, &len);
    size_t n = len;
    for (size_t i = 0; i <= n; i++) cuts[i] = (uint16_t)i;
    while (n > 2) {
        int32_t best_rank = id;
        size_t best = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            int32_t rank = sp_bpe_lookup(bpe, bytes + cuts[i], (size_t)(cuts[i + 2] - cuts[i]));
            if (rank >= 0 && rank < best_rank) best_rank = rank, best = i;
        }
        if (best_rank == id) return false;
        memmove(cuts + best + 1, cuts + best + 2, (n - best - 1) * sizeof *cuts);
        n--;
    }
    *n_left = cuts[1];
    return n == 2;
}

static sp_status derive_merges(sp_tokenizer *t, int64_t n_ranks, sp_error *err)
{
    for (int32_t id = 0; id < n_ranks; id++) {
        size_t len, n_left;
        const char *bytes = sp_bpe_bytes(&t->bpe, id, &len);
        if (len >= 2 && split_token(&t->bpe, id, &n_left))
            SP_TRY(sp_bpe_add_merge(&t->bpe, bytes, n_left, len - n_left, NULL, err));
    }
    return SP_OK;
}

sp_status sp_tokenizer_from_tiktoken(sp_tokenizer **out, const sp_tokenizer_ranks *ranks, sp_error *err)
{
    int64_t n_ranks;
    const char *pre = sp_pretok_canonical(ranks->pre);
    *out = NULL;
    if (!pre)
        return sp_fail(err, SP_E_UNSUPPORTED, "ranks file: pre-tokenizer \"%s\" is unknown", ranks->pre);
    SP_TRY(count_ranks(ranks, &n_ranks, err));
    if (n_ranks == 0) return sp_fail(err, SP_E_FORMAT, "ranks file: it is empty");
    sp_tokenizer *t = NULL;
    sp_status status = sp_tokenizer_begin(&t, n_ranks + (int64_t)ranks->n_added, err);
    if (status != SP_OK) return status;
    SP_GOTO(done, status, read_ranks(t, ranks, n_ranks, err));
    SP_GOTO(done, status, derive_merges(t, n_ranks, err));
    SP_GOTO(done, status, sp_pretok_create_named(&t->pretok, pre, err));
    t->bpe.ignore_merges = strcmp(pre, "llama-bpe") == 0;
    t->bos = sp_tokenizer_find(t, "<|begin_of_text|>");
    t->eos = sp_tokenizer_find(t, t->bos >= 0 ? "<|end_of_text|>" : "<|endoftext|>");
    t->adds_bos = t->bos >= 0;
    SP_GOTO(done, status, sp_tokenizer_finish(t, err));
    *out = t;
    t = NULL;
done:
    sp_tokenizer_close(t);
    return status;
}
