/* SPDX-License-Identifier: MIT */
/* Counting. The corpus is cut into units that threads take: JSONL documents as they are, long texts after a line end
 * between two characters that are no white space, where every published pattern cuts anyway. Each thread fills a table
 * of its own; at the end they are added up. Start at sp_word_table_count(). */
#include "data/word_table.h"

#include <string.h>

#include "base/hash.h"
#include "text/pretoken.h"
#include "text/utf8.h"

/* --- the table --- */

void sp_word_table_clear(sp_word_table *table)
{
    sp_buf_clear(&table->bytes);
    sp_free(table->words);
    sp_free(table->slots);
    *table = (sp_word_table){.n = 0};
}

static sp_status grow_slots(sp_word_table *table, sp_error *err)
{
    size_t n_slots = table->slots ? (table->slot_mask + 1) * 2 : 1024;
    uint32_t *slots = sp_calloc(n_slots, sizeof *slots);
    if (!slots) return sp_fail_nomem(err, "word table", n_slots * sizeof *slots);
    for (size_t i = 0; i < table->n; i++) {
        size_t at = table->words[i].hash & (n_slots - 1);
        while (slots[at]) at = (at + 1) & (n_slots - 1);
        slots[at] = (uint32_t)(i + 1);
    }
    sp_free(table->slots);
    table->slots = slots;
    table->slot_mask = n_slots - 1;
    return SP_OK;
}

static sp_status add_word(sp_word_table *table, sp_word word, const char *bytes, sp_error *err)
{
    if (table->n == table->cap) {
        size_t cap = table->cap ? table->cap * 2 : 512;
        sp_word *words = sp_realloc_array(table->words, cap, sizeof *words);
        if (!words) return sp_fail_nomem(err, "words", cap * sizeof *words);
        table->words = words;
        table->cap = cap;
    }
    word.offset = table->bytes.len;
    SP_TRY(sp_buf_append(&table->bytes, bytes, word.len, err));
    table->words[table->n++] = word;
    return SP_OK;
}

sp_status sp_word_table_add(sp_word_table *table, const char *bytes, size_t len, uint64_t count,
                            sp_error *err)
{
    uint32_t hash = (uint32_t)sp_hash(SP_HASH_SEED, bytes, len);
    if (len > UINT32_MAX) return sp_fail(err, SP_E_LIMIT, "a piece of text of %zu bytes without a cut", len);
    if (!table->slots || table->n >= (table->slot_mask + 1) / 2) {
        if (table->n >= SP_WORDS_MAX)
            return sp_fail(err, SP_E_LIMIT, "more than %zu different words", table->n);
        SP_TRY(grow_slots(table, err));
    }
    size_t at = hash & table->slot_mask;
    for (; table->slots[at]; at = (at + 1) & table->slot_mask) {
        sp_word *word = &table->words[table->slots[at] - 1];
        if (word->hash != hash || word->len != len) continue;
        if (memcmp(table->bytes.data + word->offset, bytes, len) != 0) continue;
        word->count += count;
        return SP_OK;
    }
    SP_TRY(add_word(table, (sp_word){0, (uint32_t)len, hash, count}, bytes, err));
    table->slots[at] = (uint32_t)table->n;
    return SP_OK;
}

/* --- one thread's counting --- */

typedef struct counter {
    sp_word_table table;
    sp_pretok_run run;
    bool has_run;
    size_t failed_unit; /* SIZE_MAX: none */
    sp_error err;
} counter;

typedef struct unit {
    const char *text; /* NULL: document `document` is to be parsed */
    size_t len, document;
} unit;

typedef struct job {
    const sp_corpus *corpus;
    const sp_count_options *options;
    counter *counters;
    unit *units;
    size_t n_units, units_cap;
} job;

static sp_status take_piece(void *ctx, const char *piece, size_t len, sp_error *err)
{
    return sp_word_table_add(ctx, piece, len, 1, err);
}

/* Text without special tokens. */
static sp_status count_plain(counter *c, const char *text, size_t len, sp_error *err)
{
    while (len) {
        size_t good = sp_utf8_valid_prefix((const unsigned char *)text, len);
        if (good) SP_TRY(sp_pretok_split(&c->run, text, good, err));
        size_t bad = sp_utf8_invalid_prefix((const unsigned char *)text + good, len - good);
        text += good + bad;
        len -= good + bad;
    }
    return SP_OK;
}

/* Length of the longest special text at `text`, 0 if there is none. */
static size_t match_special(const sp_count_options *options, const char *text, size_t len)
{
    size_t best = 0;
    for (size_t i = 0; i < options->n_specials; i++) {
        size_t n = strlen(options->specials[i]);
        if (n > best && n <= len && memcmp(text, options->specials[i], n) == 0) best = n;
    }
    return best;
}

static sp_status count_text(counter *c, const sp_count_options *options, const char *text, size_t len,
                            sp_error *err)
{
    bool first[256] = {false};
    size_t start = 0;
    for (size_t i = 0; i < options->n_specials; i++) first[(unsigned char)options->specials[i][0]] = true;
    for (size_t i = 0; i < len;) {
        size_t n = first[(unsigned char)text[i]] ? match_special(options, text + i, len - i) : 0;
        if (n) {
            SP_TRY(count_plain(c, text + start, i - start, err));
            start = i + n;
        }
        i += n ? n : 1;
    }
    return count_plain(c, text + start, len - start, err);
}

static sp_status count_document(counter *c, const job *j, size_t document, sp_error *err)
{
    sp_document d;
    SP_TRY(sp_corpus_read(j->corpus, document, &d, err));
    sp_status status = d.text ? count_text(c, j->options, d.text, d.len, err) : SP_OK;
    for (size_t i = 0; i < sp_json_size(d.messages) && status == SP_OK; i++) {
        static const char *const keys[] = {"reasoning_content", "content"};
        for (int k = 0; k < 2 && status == SP_OK; k++) {
            size_t len = 0;
            const char *text = sp_json_string(sp_json_get(sp_json_at(d.messages, i), keys[k]), &len);
            if (text) status = count_text(c, j->options, text, len, err);
        }
    }
    sp_document_clear(&d);
    return status;
}

static void count_units(void *ctx, size_t begin, size_t end, int thread)
{
    job *j = ctx;
    counter *c = &j->counters[thread];
    for (size_t i = begin; i < end; i++) {
        const unit *u = &j->units[i];
        sp_error err = SP_ERROR_NONE;
        sp_status status = SP_OK;
        if (i > c->failed_unit) continue;
        if (!c->has_run) {
            status = sp_pretok_begin(&c->run, c->run.pretok, take_piece, &c->table, &err);
            c->has_run = status == SP_OK;
        }
        if (status == SP_OK && u->text)
            status = count_text(c, j->options, u->text, u->len, &err);
        else if (status == SP_OK)
            status = count_document(c, j, u->document, &err);
        if (status != SP_OK) {
            c->failed_unit = i;
            c->err = err;
        }
    }
}

/* --- units --- */

enum { UNIT_BYTES = 1 << 20 };

static sp_status add_unit(job *j, unit value, sp_error *err)
{
    if (j->n_units == j->units_cap) {
        size_t cap = j->units_cap ? j->units_cap * 2 : 64;
        unit *units = sp_realloc_array(j->units, cap, sizeof *units);
        if (!units) return sp_fail_nomem(err, "units of text", cap * sizeof *units);
        j->units = units;
        j->units_cap = cap;
    }
    j->units[j->n_units++] = value;
    return SP_OK;
}

/* ASCII that is seen, or a letter of an alphabet beyond (no block with white space in it). */
static bool is_solid(const unsigned char *s, size_t n)
{
    uint32_t cp = 0;
    if (!sp_utf8_read(s, n, &cp)) return false;
    return (cp > 0x20 && cp < 0x7F) || (cp >= 0xC0 && cp < 0x1680) || (cp >= 0x3001 && cp < 0xE000);
}

/* Whether text may be cut before `at`, which follows a line end. */
static bool can_cut(const unsigned char *text, size_t len, size_t at)
{
    size_t before = at - 1, n = 0;
    while (before > 0 && n < 4) {
        before--;
        n++;
        if ((text[before] & 0xC0) != 0x80) break;
    }
    return n && at < len && is_solid(text + before, at - 1 - before) && is_solid(text + at, len - at);
}

static size_t find_cut(const char *text, size_t len)
{
    size_t at = UNIT_BYTES;
    while (at < len) {
        const char *end = memchr(text + at, '\n', len - at);
        if (!end) break;
        at = (size_t)(end - text) + 1;
        if (can_cut((const unsigned char *)text, len, at)) return at;
    }
    return len;
}

static sp_status plan_units(job *j, sp_error *err)
{
    for (size_t i = 0; i < sp_corpus_count(j->corpus); i++) {
        size_t len;
        const char *text = sp_corpus_raw(j->corpus, i, &len);
        if (sp_corpus_is_json(j->corpus, i)) {
            SP_TRY(add_unit(j, (unit){NULL, 0, i}, err));
            continue;
        }
        while (len) {
            size_t n = len > UNIT_BYTES ? find_cut(text, len) : len;
            SP_TRY(add_unit(j, (unit){text, n, i}, err));
            text += n;
            len -= n;
        }
    }
    return SP_OK;
}

static sp_status check_specials(const sp_count_options *options, sp_error *err)
{
    for (size_t i = 0; i < options->n_specials; i++)
        if (!options->specials[i][0] || strpbrk(options->specials[i], "\r\n"))
            return sp_fail(err, SP_E_ARGUMENT, "special token %zu is empty or has a line end", i);
    return SP_OK;
}

/* Add up the threads' tables; the error of the first unit that failed. */
static sp_status gather(sp_word_table *table, job *j, int n_threads, sp_error *err)
{
    const counter *worst = NULL;
    for (int t = 0; t < n_threads; t++) {
        const counter *c = &j->counters[t];
        if (c->failed_unit != SIZE_MAX && (!worst || c->failed_unit < worst->failed_unit)) worst = c;
    }
    if (worst) return sp_fail(err, worst->err.code, "%s", worst->err.text);
    for (int t = 0; t < n_threads; t++) {
        sp_word_table *part = &j->counters[t].table;
        for (size_t i = 0; i < part->n; i++) {
            const sp_word *word = &part->words[i];
            SP_TRY(sp_word_table_add(table, part->bytes.data + word->offset, word->len, word->count, err));
        }
        sp_word_table_clear(part);
    }
    return SP_OK;
}

sp_status sp_word_table_count(sp_word_table *table, const sp_corpus *corpus, const sp_count_options *options,
                              sp_error *err)
{
    int n_threads = sp_pool_threads(options->pool);
    sp_pretok *pretok = NULL;
    job j = {.corpus = corpus, .options = options};
    sp_status status;
    SP_GOTO(done, status, check_specials(options, err));
    SP_GOTO(done, status, sp_pretok_create_named(&pretok, options->pre, err));
    SP_GOTO(done, status, plan_units(&j, err));
    j.counters = sp_calloc((size_t)n_threads, sizeof *j.counters);
    if (!j.counters) {
        status = sp_fail_nomem(err, "word tables", (uint64_t)n_threads * sizeof *j.counters);
        goto done;
    }
    for (int t = 0; t < n_threads; t++) {
        j.counters[t].run.pretok = pretok;
        j.counters[t].failed_unit = SIZE_MAX;
    }
    sp_pool_run(options->pool, j.n_units, 1, count_units, &j);
    status = gather(table, &j, n_threads, err);
done:
    for (int t = 0; j.counters && t < n_threads; t++) {
        if (j.counters[t].has_run) sp_pretok_end(&j.counters[t].run);
        sp_word_table_clear(&j.counters[t].table);
    }
    sp_free(j.counters);
    sp_free(j.units);
    sp_pretok_destroy(pretok);
    return status;
}
