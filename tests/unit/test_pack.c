/* SPDX-License-Identifier: MIT */
/* Shards and batches: what is packed is read back; only replies are learnt; fill in the middle keeps every byte; each sequence
 * comes once per epoch; any step is the same alone, resumed or shared by ranks; malformed shards are refused by name. */
#include "test_util.h"

#include <sputnik/chat.h>

#include "base/hash.h"
#include "train/loader.h"
#include "data/pack.h"
#include "base/permute.h"
#include "text/tokenizer.h"

static char folder[] = "/tmp/sputnik-pack.XXXXXX";
static sp_tokenizer *tokenizer;

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    return sp_tokenizer_open(&tokenizer, test_path("tests/golden/tokenizers/tiny"), NULL);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"a.txt", "a.jsonl", "a.shard", "b.shard", "c.shard"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(in_folder(names[i]));
    sp_tokenizer_close(tokenizer);
    return rmdir(folder);
}

static const char *write_text(const char *name, const char *text)
{
    const char *path = in_folder(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

static sp_pack_options pack_defaults(void)
{
    return (sp_pack_options){.tokenizer = tokenizer, .chat_format = SP_CHAT_V25};
}

static sp_status pack_file(sp_buf *bytes, const char *path, const char *separator,
                           const sp_pack_options *options, sp_error *err)
{
    sp_shard_builder builder = {.vocab_size = (uint32_t)sp_tokenizer_size(tokenizer)};
    sp_pack_counts counts;
    sp_corpus *corpus = NULL;
    sp_status status = sp_corpus_open(&corpus, &path, 1, separator, err);
    sp_vocab_hash(builder.vocab_hash, tokenizer);
    if (status == SP_OK) status = sp_pack_corpus(&builder, corpus, options, &counts, err);
    if (status == SP_OK) status = sp_shard_build(&builder, bytes, err);
    sp_corpus_close(corpus);
    sp_shard_builder_clear(&builder);
    return status;
}

static sp_shard pack_and_parse(sp_buf *bytes, const char *path, const char *separator,
                               const sp_pack_options *options)
{
    sp_shard shard;
    sp_error err = SP_ERROR_NONE;
    assert_ok(pack_file(bytes, path, separator, options, &err), err);
    assert_ok(sp_shard_parse(&shard, (const uint8_t *)bytes->data, bytes->len, &err), err);
    return shard;
}

/* Text of tokens [begin, end); learnt: only those that are learnt. */
static sp_text decode(const sp_shard *shard, uint64_t begin, uint64_t end, bool learnt, unsigned flags)
{
    sp_text text = {0};
    for (uint64_t i = begin; i < end; i++) {
        int32_t id = sp_shard_token(shard, i);
        if (!learnt || sp_shard_is_learnt(shard, i))
            assert_int_equal(sp_tokenizer_decode(tokenizer, &text, &id, 1, flags, NULL), SP_OK);
    }
    return text;
}

static const char three[] = "The first.\n%%The secönd: 中文 and more words to cut.\n%%third";

static void documents_come_back(void **state)
{
    (void)state;
    const char *path = write_text("a.txt", three);
    static const char *const want[] = {"The first.\n", "The secönd: 中文 and more words to cut.\n", "third"};
    sp_pack_options options = pack_defaults();
    sp_buf bytes = {0};
    sp_shard shard = pack_and_parse(&bytes, path, "%%", &options);
    assert_int_equal(shard.n_documents, 3);
    assert_null(shard.mask);
    assert_int_equal(shard.token_bytes, 2);
    for (uint64_t d = 0; d < 3; d++) {
        uint64_t begin = sp_shard_start(&shard, d), end = sp_shard_start(&shard, d + 1);
        assert_int_equal(sp_shard_token(&shard, begin), sp_tokenizer_bos(tokenizer));
        assert_int_equal(sp_shard_token(&shard, end - 1), sp_tokenizer_eos(tokenizer));
        for (uint64_t i = begin; i < end; i++) assert_int_equal(sp_shard_find(&shard, i), d);
        sp_text text = decode(&shard, begin, end, false, SP_DECODE_SKIP_SPECIAL);
        assert_string_equal(text.data, want[d]);
        sp_text_clear(&text);
    }
    sp_buf_clear(&bytes);
}

static void filled_documents_keep_every_byte(void **state)
{
    (void)state;
    sp_buf bytes = {0};
    sp_pack_options options = pack_defaults();
    for (options.seed = 0; options.seed < 40; options.seed++) {
        options.fim_rate = 1;
        sp_shard shard = pack_and_parse(&bytes, write_text("a.txt", "a中文é b"), NULL, &options);
        sp_text text = decode(&shard, 0, shard.n_tokens, false, 0);
        char *begin = strstr(text.data, "<｜fim▁begin｜>"), *hole = strstr(text.data, "<｜fim▁hole｜>"),
             *end = strstr(text.data, "<｜fim▁end｜>"), *eos = strstr(text.data, "<｜end▁of▁sentence｜>");
        assert_true(begin && hole > begin && end > hole && eos > end);
        *hole = *end = *eos = '\0';
        char joined[64];
        snprintf(joined, sizeof joined, "%s%s%s", begin + strlen("<｜fim▁begin｜>"),
                 end + strlen("<｜fim▁end｜>"), hole + strlen("<｜fim▁hole｜>"));
        assert_string_equal(joined, "a中文é b");
        sp_text_clear(&text);
        bytes.len = 0;
    }
    sp_buf_clear(&bytes);
}

static void threads_and_shuffling(void **state)
{
    (void)state;
    sp_buf text = {0}, one = {0}, four = {0}, plain = {0};
    sp_pool *pool;
    assert_int_equal(sp_pool_create(&pool, 4, NULL), SP_OK);
    for (int i = 0; i < 700; i++)
        assert_int_equal(sp_buf_printf(&text, NULL, "document number %d\n%%%%", i), SP_OK);
    const char *path = write_text("a.txt", text.data);
    sp_pack_options options = pack_defaults();
    sp_shard shard = pack_and_parse(&plain, path, "%%", &options);
    assert_int_equal(shard.n_documents, 700);
    options.shuffle = 1;
    options.fim_rate = 0.5;
    options.seed = 9;
    pack_and_parse(&one, path, "%%", &options);
    options.pool = pool;
    shard = pack_and_parse(&four, path, "%%", &options);
    assert_int_equal(one.len, four.len);
    assert_memory_equal(one.data, four.data, one.len);
    assert_int_equal(shard.n_documents, 700);
    uint64_t filled = 0;
    int32_t mark = sp_tokenizer_find(tokenizer, "<｜fim▁begin｜>");
    for (uint64_t i = 0; i < shard.n_tokens; i++) filled += sp_shard_token(&shard, i) == mark;
    assert_in_range(filled, 300, 400);
    sp_pool_destroy(pool);
    sp_buf_clear(&text);
    sp_buf_clear(&one);
    sp_buf_clear(&four);
    sp_buf_clear(&plain);
}

#define TALK(extra)                                                                                          \
    "{\"messages\": [{\"role\": \"user\", \"content\": \"two and two?\"}, {\"role\": \"assistant\", "        \
    "\"content\": \"four\"" extra                                                                            \
    "}, {\"role\": \"user\", \"content\": \"more\"}, {\"role\": \"assistant\", \"content\": "                \
    "\"five\"}]}\n"

static void only_replies_are_learnt(void **state)
{
    (void)state;
    static const struct {
        sp_chat_format format;
        uint64_t n_documents;
        const char *plain, *reasoned;
    } cases[] = {
        {SP_CHAT_LLM, 1, " four<e> five<e>", NULL},
        {SP_CHAT_V25, 1, "four<e>five<e>", "<think>\nadd\n</think>\n\nfour<e>five<e>"},
        {SP_CHAT_R1, 2, "four<e>five<e>", "add\n</think>\n\nfour<e>five<e>"},
        {SP_CHAT_V31, 1, "four<e>five<e>", "add</think>four<e>five<e>"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int reasoned = 0; reasoned < 2; reasoned++) {
            const char *want = reasoned ? cases[i].reasoned : cases[i].plain;
            if (!want) continue;
            sp_buf bytes = {0};
            sp_pack_options options = pack_defaults();
            options.chat_format = cases[i].format;
            const char *path =
                write_text("a.jsonl", reasoned ? TALK(", \"reasoning_content\": \"add\"") : TALK(""));
            sp_shard shard = pack_and_parse(&bytes, path, NULL, &options);
            assert_int_equal(shard.n_documents, reasoned ? 2 : cases[i].n_documents);
            sp_text text = decode(&shard, 0, shard.n_tokens, true, 0);
            char short_text[256];
            size_t n = 0;
            for (const char *s = text.data; *s;) {
                size_t k = strlen("<｜end▁of▁sentence｜>");
                bool is_end = strncmp(s, "<｜end▁of▁sentence｜>", k) == 0;
                n += (size_t)snprintf(short_text + n, sizeof short_text - n, is_end ? "<e>" : "%c", *s);
                s += is_end ? k : 1;
            }
            assert_string_equal(short_text, want);
            sp_text_clear(&text);
            sp_buf_clear(&bytes);
        }
    }
}

static void malformed_records_are_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"text\": 1}\n", "a.jsonl:1: neither a text"},
        {"{\"text\": \"x\"}\n\n{\"text\n", "a.jsonl:3: "},
        {"{\"messages\": []}\n", "a.jsonl:1: the conversation has no reply"},
        {"{\"messages\": [{\"role\": \"robot\", \"content\": \"x\"}]}\n", "role \"robot\""},
        {"{\"messages\": [{\"role\": \"user\"}]}\n", "no text under \"content\""},
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\"}]}\n", "begins with a reply"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": "
         "\"<think>a</think>b\"}]}\n",
         "belongs under \"reasoning_content\""},
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\", \"tool_calls\": [1]}]}\n",
         "tool calls"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sp_buf bytes = {0};
        sp_error err = SP_ERROR_NONE;
        sp_pack_options options = pack_defaults();
        assert_int_not_equal(pack_file(&bytes, write_text("a.jsonl", cases[i][0]), NULL, &options, &err),
                             SP_OK);
        if (!strstr(err.text, cases[i][1])) fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i][1]);
        sp_buf_clear(&bytes);
    }
}

/* --- the loader --- */

static void orders_are_permutations(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 2, 3, 5, 17, 64, 65, 1000, 4097};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        sp_permute a, b;
        uint64_t n = sizes[k], moved = 0;
        char *seen = calloc(1, n);
        sp_permute_init(&a, n, 1, 0);
        sp_permute_init(&b, n, 1, 1);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t at = sp_permute_at(&a, i);
            assert_true(at < n && !seen[at]);
            seen[at] = 1;
            moved += at != sp_permute_at(&b, i);
        }
        if (n > 60) assert_true(moved > n * 9 / 10);
        free(seen);
    }
}

/* A shard of documents 1, 2, ... `n` tokens long, whose tokens count up from `first`. */
static const char *count_up(const char *name, int n, int32_t first)
{
    sp_shard_builder b = {.vocab_size = 100000};
    int32_t ids[64];
    sp_error err = SP_ERROR_NONE;
    for (int len = 1; len <= n; len++) {
        for (int i = 0; i < len; i++) ids[i] = first++;
        assert_ok(sp_shard_add(&b, ids, NULL, (size_t)len, &err), err);
    }
    const char *path = in_folder(name);
    assert_ok(sp_shard_save(&b, path, &err), err);
    sp_shard_builder_clear(&b);
    return path;
}

enum { T = 8, B = 12 };

static sp_loader *open_loader(sp_cut cut, double weight_a, double weight_b)
{
    sp_loader *loader;
    sp_error err = SP_ERROR_NONE;
    sp_source sources[] = {{count_up("a.shard", 40, 0), weight_a},
                           {count_up("b.shard", 20, 50000), weight_b}};
    sp_loader_options options = {T, B, 77, cut, 99999};
    assert_ok(sp_loader_open(&loader, sources, weight_b < 0 ? 1 : 2, &options, &err), err);
    return loader;
}

static void every_sequence_once_per_epoch(void **state)
{
    (void)state;
    for (int cut = 0; cut < 2; cut++) {
        sp_loader *loader = open_loader(cut ? SP_CUT_WHOLE : SP_CUT_STREAM, 0, -1);
        uint64_t n = sp_loader_sequences(loader, 0), learnt = 0;
        char *seen = calloc(3, n);
        for (uint64_t row = 0; row < 3 * n; row++) {
            int32_t tokens[T], targets[T], segments[T];
            uint8_t mask[T];
            sp_rows batch = {tokens, targets, mask, segments};
            sp_row_place p;
            sp_loader_locate(loader, row, &p);
            assert_int_equal(p.epoch, row / n);
            assert_true(p.sequence < n && !seen[p.epoch * n + p.sequence]);
            seen[p.epoch * n + p.sequence] = 1;
            sp_loader_get_rows(loader, row, 1, &batch);
            for (int i = 0; i < T; i++) {
                bool has = p.begin + (uint64_t)i < p.end;
                assert_int_equal(tokens[i],
                                 has ? (int32_t)p.begin + i : 99999); /* token i of the shard is i */
                assert_true(!mask[i] || targets[i] == tokens[i] + 1);
                if (mask[i]) assert_true(i + 1 >= T || segments[i] == segments[i + 1]);
                learnt += mask[i];
            }
        }
        /* whole: every token but the first of each of 40 documents; stream: less the rest */
        if (cut) assert_int_equal(learnt, 3 * (820 - 40));
        free(seen);
        sp_loader_close(loader);
    }
}

static void fetch(const sp_loader *loader, uint64_t step, uint32_t rank, uint32_t n_ranks, int32_t *out)
{
    int32_t targets[B * T], segments[B * T];
    uint8_t mask[B * T];
    sp_error err = SP_ERROR_NONE;
    sp_rows batch = {out, targets, mask, segments};
    assert_ok(sp_loader_get_batch(loader, step, rank, n_ranks, &batch, &err), err);
}

static void any_step_alone_and_by_ranks(void **state)
{
    (void)state;
    sp_loader *loader = open_loader(SP_CUT_STREAM, 3, 1), *again = open_loader(SP_CUT_STREAM, 3, 1);
    static int32_t all[60][B * T];
    int32_t part[B * T];
    for (uint64_t step = 0; step < 60; step++) fetch(loader, step, 0, 1, all[step]);
    for (uint64_t step = 60; step-- > 0;) {
        fetch(again, step, 0, 1, part); /* in another order, by another loader */
        assert_memory_equal(part, all[step], sizeof part);
        for (uint32_t n = 2; n <= 12; n++) {
            if (B % n) continue;
            for (uint32_t r = 0; r < n; r++) fetch(loader, step, r, n, part + r * (B / n) * T);
            assert_memory_equal(part, all[step], sizeof part);
        }
    }
    sp_error err = SP_ERROR_NONE;
    sp_rows batch = {part, part, (uint8_t *)part, NULL};
    assert_int_equal(sp_loader_get_batch(loader, 0, 0, 5, &batch, &err), SP_E_ARGUMENT);
    assert_int_equal(sp_loader_get_batch(loader, 0, 2, 2, &batch, &err), SP_E_ARGUMENT);
    sp_loader_close(loader);
    sp_loader_close(again);
}

static void weights_hold_at_every_length(void **state)
{
    (void)state;
    sp_loader *loader = open_loader(SP_CUT_STREAM, 3, 1);
    uint64_t n = sp_loader_sequences(loader, 1), draws = 0;
    int64_t from_a = 0;
    for (uint64_t row = 0; row < 200000; row++) {
        sp_row_place p;
        sp_loader_locate(loader, row, &p);
        from_a += p.source == 0;
        assert_true(llabs(4 * from_a - 3 * ((int64_t)row + 1)) <= 4);
        if (p.source == 1) assert_int_equal(p.epoch, draws++ / n);
    }
    sp_loader_close(loader);
}

static void sources_are_checked(void **state)
{
    (void)state;
    sp_loader *loader;
    sp_error err = SP_ERROR_NONE;
    const char *a = count_up("a.shard", 3, 0);
    sp_shard_builder other = {.vocab_size = 100, .vocab_hash = {1}};
    int32_t ids[20] = {0};
    assert_int_equal(sp_shard_add(&other, ids, NULL, 20, &err), SP_OK);
    ids[0] = 100;
    assert_int_equal(sp_shard_add(&other, ids, NULL, 20, &err), SP_E_RANGE);
    assert_int_equal(sp_shard_save(&other, in_folder("c.shard"), &err), SP_OK);
    sp_shard_builder_clear(&other);
    sp_loader_options options = {8, 2, 0, SP_CUT_STREAM, 0};
    assert_int_equal(sp_loader_open(&loader, &(sp_source){a, 0}, 1, &options, &err), SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "a.shard: 6 tokens give no sequence of 8"));
    options.n_tokens = 2;
    sp_source mixed[] = {{a, 0}, {a, 1}}, wrong[] = {{a, 1}, {a, -1}},
              foreign[] = {{a, 0}, {in_folder("c.shard"), 0}};
    assert_int_equal(sp_loader_open(&loader, mixed, 2, &options, &err), SP_E_ARGUMENT);
    assert_int_equal(sp_loader_open(&loader, wrong, 2, &options, &err), SP_E_ARGUMENT);
    assert_int_equal(sp_loader_open(&loader, foreign, 2, &options, &err), SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "different vocabularies"));
}

/* --- malformed shards --- */

static void resum(uint8_t *data, size_t len)
{
    uint64_t sum = sp_hash(SP_HASH_SEED, data + 128, len - 128);
    memcpy(data + 72, &sum, 8);
    sum = sp_hash(SP_HASH_SEED, data, 80);
    memcpy(data + 80, &sum, 8);
}

/* The good file has 2 documents of 3 + 2 tokens: tokens at 128 (10 bytes + 6), starts at 144, mask at 168, 176 bytes. */
static void malformed_shards_are_named(void **state)
{
    (void)state;
    static const struct {
        size_t at, cut; /* byte that changes; bytes left of the file (0: all) */
        uint8_t value;
        bool resummed;
        const char *text;
    } cases[] = {
        {0, 127, 'S', false, "has 127 bytes, at least 128"},
        {0, 0, 'X', false, "no token shard"},
        {8, 0, 2, false, "version 2"},
        {20, 0, 9, false, "the header's checksum differs"},
        {90, 0, 1, false, "the header's end is not zero"},
        {12, 0, 3, true, "3 bytes per token"},
        {32, 0, 7, true, "unknown flags 7"},
        {36, 0, 0, true, "a vocabulary of 0"},
        {36, 0, 5, true, "token 4 is 5, outside of the vocabulary of 5"},
        {23, 0, 255, true, "do not fit"},
        {31, 0, 255, true, "do not fit"},
        {24, 0, 3, true, "the file has 176 bytes, 184 expected"},
        {16, 0, 4, true, "the file has 176 bytes, 168 expected"},
        {32, 0, 0, true, "the file has 176 bytes, 168 expected"},
        {0, 168, 'S', true, "the file has 168 bytes, 176 expected"},
        {130, 0, 9, false, "the data's checksum differs"},
        {144, 0, 1, true, "does not start at 0"},
        {152, 0, 0, true, "document 0 does not end after its start"},
        {160, 0, 4, true, "does not end with the last token"},
    };
    sp_shard_builder b = {.vocab_size = 6};
    sp_buf good = {0};
    sp_shard shard;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_shard_add(&b, (const int32_t[]){1, 2, 3}, (const uint8_t[]){0, 1, 1}, 3, &err), err);
    assert_ok(sp_shard_add(&b, (const int32_t[]){4, 5}, NULL, 2, &err), err);
    assert_ok(sp_shard_build(&b, &good, &err), err);
    assert_int_equal(good.len, 176);
    assert_ok(sp_shard_parse(&shard, (const uint8_t *)good.data, good.len, &err), err);
    assert_true(!sp_shard_is_learnt(&shard, 0) && sp_shard_is_learnt(&shard, 4));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = cases[i].cut ? cases[i].cut : good.len;
        uint8_t *bad = malloc(len); /* exactly as long, for the address sanitizer */
        memcpy(bad, good.data, len);
        bad[cases[i].at] = cases[i].value;
        if (cases[i].resummed) resum(bad, len);
        sp_status status = sp_shard_parse(&shard, bad, len, &err);
        if (status != SP_E_FORMAT && status != SP_E_UNSUPPORTED)
            fail_msg("case %zu: status %d", i, (int)status);
        if (!strstr(err.text, cases[i].text))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, cases[i].text);
        free(bad);
    }
    sp_buf_clear(&good);
    sp_shard_builder_clear(&b);
}

static void failed_allocations_are_survived(void **state)
{
    (void)state;
    const char *path =
        write_text("a.jsonl", "{\"text\": \"some words\"}\n" TALK(", \"reasoning_content\": \"add\""));
    sp_status status = SP_E_NOMEM;
    int64_t n = 0;
    for (; status == SP_E_NOMEM && n < 5000; n++) {
        sp_error err = SP_ERROR_NONE;
        sp_buf bytes = {0};
        sp_loader *loader = NULL;
        sp_loader_options options = {8, 2, 0, SP_CUT_WHOLE, 0};
        sp_pack_options pack = pack_defaults();
        sp_mem_fail_after(n);
        status = pack_file(&bytes, path, NULL, &pack, &err);
        if (status == SP_OK)
            status = sp_loader_open(&loader, &(sp_source){in_folder("b.shard"), 0}, 1, &options, &err);
        sp_mem_fail_after(-1);
        sp_loader_close(loader);
        sp_buf_clear(&bytes);
        if (status != SP_E_NOMEM) assert_ok(status, err);
    }
    assert_true(status == SP_OK && n > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_come_back),           cmocka_unit_test(filled_documents_keep_every_byte),
        cmocka_unit_test(threads_and_shuffling),         cmocka_unit_test(only_replies_are_learnt),
        cmocka_unit_test(malformed_records_are_named),   cmocka_unit_test(orders_are_permutations),
        cmocka_unit_test(every_sequence_once_per_epoch), cmocka_unit_test(any_step_alone_and_by_ranks),
        cmocka_unit_test(weights_hold_at_every_length),  cmocka_unit_test(sources_are_checked),
        cmocka_unit_test(malformed_shards_are_named),    cmocka_unit_test(failed_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
