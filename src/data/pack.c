/* SPDX-License-Identifier: MIT */
/* Packing: threads encode a wave of documents, which then go into the builder in order. Start at sp_pack_corpus(). */
#include "data/pack.h"

#include "base/permute.h"
#include "text/utf8.h"

enum { WAVE = 256 };

sp_status sp_packed_mark(sp_packed *packed, uint8_t value, sp_error *err)
{
    size_t n = packed->tokens.n - packed->learnt.len;
    SP_TRY(sp_buf_reserve(&packed->learnt, n + 1, err));
    memset(packed->learnt.data + packed->learnt.len, value, n);
    packed->learnt.len += n;
    return SP_OK;
}

sp_status sp_packed_end_document(sp_packed *packed, sp_error *err)
{
    return sp_buf_append(&packed->ends, &packed->tokens.n, sizeof packed->tokens.n, err);
}

/* Start of the character at or before byte `at`. */
static size_t character_start(const char *text, size_t at)
{
    for (size_t back = 0; back <= 3 && back <= at; back++)
        if (((unsigned char)text[at - back] & 0xC0) != 0x80) return at - back;
    return at;
}

/* bos prefix suffix middle: two cuts drawn for document i. */
static sp_status pack_filled(sp_packed *p, const sp_document *d, size_t i, const sp_pack_options *o,
                             sp_error *err)
{
    size_t a = character_start(d->text, (size_t)(sp_mix64(o->seed, i, 2) % d->len));
    size_t b = character_start(d->text, (size_t)(sp_mix64(o->seed, i, 3) % d->len));
    size_t first = a < b ? a : b, second = a < b ? b : a;
    p->is_filled = 1;
    if (!sp_tokenizer_adds_bos(o->tokenizer) && sp_tokenizer_bos(o->tokenizer) >= 0)
        SP_TRY(sp_tokens_push(&p->tokens, sp_tokenizer_bos(o->tokenizer), err));
    SP_TRY(
        sp_chat_render_fim(o->tokenizer, &p->tokens, d->text, first, d->text + second, d->len - second, err));
    return sp_tokenizer_encode(o->tokenizer, &p->tokens, d->text + first, second - first, 0, err);
}

static bool draws_fill(const sp_pack_options *o, size_t i)
{
    return (double)(sp_mix64(o->seed, i, 1) >> 11) * 0x1p-53 < o->fim_rate;
}

static sp_status pack_text(sp_packed *p, const sp_document *d, size_t i, const sp_pack_options *o,
                           sp_error *err)
{
    int32_t bos = sp_tokenizer_bos(o->tokenizer), eos = sp_tokenizer_eos(o->tokenizer);
    if (d->len == 0) return SP_OK;
    if (draws_fill(o, i)) {
        SP_TRY(pack_filled(p, d, i, o, err));
    } else {
        if (bos >= 0) SP_TRY(sp_tokens_push(&p->tokens, bos, err));
        SP_TRY(sp_tokenizer_encode(o->tokenizer, &p->tokens, d->text, d->len, 0, err));
    }
    if (eos >= 0) SP_TRY(sp_tokens_push(&p->tokens, eos, err));
    SP_TRY(sp_packed_mark(p, 1, err));
    return sp_packed_end_document(p, err);
}

typedef struct wave {
    const sp_corpus *corpus;
    const sp_pack_options *options;
    sp_permute order;
    size_t first; /* place of slot 0 in the order */
    sp_packed slots[WAVE];
} wave;

static size_t document_at(const wave *w, size_t place)
{
    return w->options->shuffle ? (size_t)sp_permute_at(&w->order, place) : place;
}

static sp_status pack_one(sp_packed *p, const wave *w, size_t i, sp_error *err)
{
    sp_document d;
    char where[128];
    SP_TRY(sp_corpus_read(w->corpus, i, &d, err));
    p->is_conversation = d.text == NULL;
    sp_status status =
        d.text ? pack_text(p, &d, i, w->options, err) : sp_pack_messages(p, d.messages, w->options, err);
    sp_document_clear(&d);
    if (status == SP_OK) return SP_OK;
    sp_corpus_where(w->corpus, i, where, sizeof where);
    return sp_fail_prefix(err, status, "%s", where);
}

static void pack_slots(void *ctx, size_t begin, size_t end, int thread)
{
    wave *w = ctx;
    (void)thread;
    for (size_t k = begin; k < end; k++) {
        sp_packed *p = &w->slots[k];
        p->tokens.n = p->learnt.len = p->ends.len = 0;
        p->is_filled = p->is_conversation = 0;
        p->err = (sp_error)SP_ERROR_NONE;
        p->status = pack_one(p, w, document_at(w, w->first + k), &p->err);
    }
}

static sp_status collect(sp_shard_builder *builder, const sp_packed *p, sp_pack_counts *counts, sp_error *err)
{
    size_t begin = 0, end;
    if (p->status != SP_OK) return sp_fail(err, p->status, "%s", p->err.text);
    for (size_t at = 0; at < p->ends.len; at += sizeof end) {
        memcpy(&end, p->ends.data + at, sizeof end);
        SP_TRY(sp_shard_add(builder, p->tokens.ids + begin, (const uint8_t *)p->learnt.data + begin,
                            end - begin, err));
        begin = end;
    }
    counts->texts += !p->is_conversation;
    counts->conversations += (uint64_t)p->is_conversation;
    counts->filled += (uint64_t)p->is_filled;
    return SP_OK;
}

sp_status sp_pack_corpus(sp_shard_builder *builder, const sp_corpus *corpus, const sp_pack_options *options,
                         sp_pack_counts *counts, sp_error *err)
{
    size_t n = sp_corpus_count(corpus);
    sp_status status = SP_OK;
    wave *w = sp_calloc(1, sizeof *w);
    if (!w) return sp_fail_nomem(err, "packing", sizeof *w);
    *counts = (sp_pack_counts){0, 0, 0};
    w->corpus = corpus;
    w->options = options;
    if (n) sp_permute_init(&w->order, n, options->seed, 0);
    for (w->first = 0; w->first < n && status == SP_OK; w->first += WAVE) {
        size_t count = n - w->first < WAVE ? n - w->first : WAVE;
        sp_pool_run(options->pool, count, 1, pack_slots, w);
        for (size_t k = 0; k < count && status == SP_OK; k++)
            status = collect(builder, &w->slots[k], counts, err);
    }
    for (size_t k = 0; k < WAVE; k++) {
        sp_tokens_clear(&w->slots[k].tokens);
        sp_buf_clear(&w->slots[k].learnt);
        sp_buf_clear(&w->slots[k].ends);
    }
    sp_free(w);
    return status;
}
