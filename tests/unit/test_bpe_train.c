/* SPDX-License-Identifier: MIT */
/* Training a tokenizer: the published golden's merges and vocabulary, the tie rule, independence of threads and files, and
 * files that our own reader opens with the ids that the merges promise. */
#include "test_util.h"

#include <sputnik/tokenizer.h>

#include "data/bpe_train.h"
#include "data/tokenizer_write.h"
#include "text/tokenizer.h"

static char folder[] = "/tmp/sputnik-bpe.XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"a.txt", "b.jsonl", "tokenizer.json", "tokenizer_config.json"};
    char path[256];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static const char *write_file(const char *name, const char *text, size_t len)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    return path;
}

typedef struct recipe {
    const char *pre;
    const char *const *specials;
    size_t n_specials;
    int32_t vocab_size;
    uint64_t min_count;
    int n_threads;
} recipe;

static sp_status train_files(sp_bpe_vocab *vocab, const char *const *paths, size_t n_paths, recipe r,
                             sp_error *err)
{
    sp_corpus *corpus = NULL;
    sp_pool *pool = NULL;
    sp_word_table words = {.n = 0};
    sp_status status;
    *vocab = (sp_bpe_vocab){.n_tokens = 0};
    if (r.n_threads > 1) SP_GOTO(done, status, sp_pool_create(&pool, r.n_threads, err));
    SP_GOTO(done, status, sp_corpus_open(&corpus, paths, n_paths, NULL, err));
    sp_count_options count = {r.pre, r.specials, r.n_specials, pool};
    SP_GOTO(done, status, sp_word_table_count(&words, corpus, &count, err));
    sp_bpe_train_options options = {r.vocab_size, r.min_count, r.specials, r.n_specials};
    SP_GOTO(done, status, sp_bpe_train(vocab, &words, &options, err));
done:
    sp_word_table_clear(&words);
    sp_corpus_close(corpus);
    sp_pool_destroy(pool);
    return status;
}

static sp_bpe_vocab train_file(const char *path, recipe r)
{
    sp_bpe_vocab vocab;
    sp_error err = SP_ERROR_NONE;
    assert_ok(train_files(&vocab, &path, 1, r, &err), err);
    return vocab;
}

static void put_merges(sp_buf *out, const sp_bpe_vocab *vocab)
{
    for (size_t i = 0; i < vocab->n_merges; i++) {
        size_t len;
        const char *left = sp_bpe_vocab_token(vocab, vocab->merges[i].left, &len);
        assert_int_equal(sp_byte_chars_encode(out, left, len, NULL), SP_OK);
        assert_int_equal(sp_buf_puts(out, " ", NULL), SP_OK);
        const char *right = sp_bpe_vocab_token(vocab, vocab->merges[i].right, &len);
        assert_int_equal(sp_byte_chars_encode(out, right, len, NULL), SP_OK);
        assert_int_equal(sp_buf_puts(out, "\n", NULL), SP_OK);
    }
}

static const char *const end_of_text[] = {"<|endoftext|>"};

static void golden_merges_and_vocabulary(void **state)
{
    (void)state;
    const char *corpus = shared_path("golden/cs336-a1/corpus.en");
    if (!corpus) skip();
    for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
        sp_bpe_vocab vocab = train_file(corpus, (recipe){"gpt-2", end_of_text, 1, 500, 1, n_threads});
        sp_buf merges = {0}, want = read_whole(shared_path("golden/cs336-a1/train-bpe-reference-merges.txt"));
        put_merges(&merges, &vocab);
        if (want.data[want.len - 1] != '\n') assert_int_equal(sp_buf_puts(&want, "\n", NULL), SP_OK);
        assert_string_equal(merges.data, want.data);
        sp_buf text = read_whole(shared_path("golden/cs336-a1/train-bpe-reference-vocab.json"));
        sp_json *root;
        sp_error err = SP_ERROR_NONE;
        assert_ok(sp_json_parse(text.data, text.len, &root, &err), err);
        assert_int_equal(sp_json_size(root), 500);
        assert_int_equal(vocab.n_tokens, 500);
        for (int32_t id = 0; id < 500; id++) {
            sp_buf token = {0};
            size_t len;
            const char *bytes = sp_bpe_vocab_token(&vocab, id, &len);
            sp_status status =
                id ? sp_byte_chars_encode(&token, bytes, len, NULL) : sp_buf_append(&token, bytes, len, NULL);
            assert_int_equal(status, SP_OK);
            assert_int_equal(sp_json_int(sp_json_get(root, token.data), -1), id);
            sp_buf_clear(&token);
        }
        sp_json_destroy(root);
        sp_buf_clear(&text);
        sp_buf_clear(&want);
        sp_buf_clear(&merges);
        sp_bpe_vocab_clear(&vocab);
    }
}

static void ties_go_to_the_greatest_bytes(void **state)
{
    (void)state;
    const char *path = write_file("a.txt", "ab\ncd\nab\ncd\n", 12);
    sp_bpe_vocab vocab = train_file(path, (recipe){"gpt-2", NULL, 0, 260, 1, 1});
    sp_buf merges = {0};
    put_merges(&merges, &vocab);
    assert_string_equal(merges.data, "c d\na b\n"); /* nothing else is left to merge */
    assert_int_equal(vocab.n_tokens, 258);
    sp_buf_clear(&merges);
    sp_bpe_vocab_clear(&vocab);
}

static void overlapping_pairs_and_rare_ones(void **state)
{
    (void)state;
    const char *path = write_file("a.txt", "aaaaa xyxyxy q\n", 15);
    sp_bpe_vocab vocab = train_file(path, (recipe){"gpt-2", NULL, 0, 1000, 2, 1});
    sp_buf merges = {0};
    put_merges(&merges, &vocab);
    /* aaaaa: (a, a) occurs four times at first; xyxyxy: (x, y) three times; aa aa a and xy xy xy come after them */
    assert_string_equal(merges.data, "a a\nx y\nxy xy\n");
    sp_buf_clear(&merges);
    sp_bpe_vocab_clear(&vocab);
}

static void json_and_text_count_alike(void **state)
{
    (void)state;
    static const char plain[] = "low lower lowest<|endoftext|>new newer";
    static const char lines[] = "{\"text\": \"low lower lowest\"}\n\n"
                                "{\"messages\": [{\"role\": \"user\", \"content\": \"new newer\"}]}\n";
    const char *a = write_file("a.txt", plain, sizeof plain - 1);
    const char *b = write_file("b.jsonl", lines, sizeof lines - 1);
    recipe r = {"deepseek-v3", end_of_text, 1, 270, 1, 1};
    sp_bpe_vocab x = train_file(a, r), y = train_file(b, r);
    sp_buf p = {0}, q = {0};
    put_merges(&p, &x);
    put_merges(&q, &y);
    assert_string_equal(p.data, q.data);
    sp_buf_clear(&p);
    sp_buf_clear(&q);
    sp_bpe_vocab_clear(&x);
    sp_bpe_vocab_clear(&y);
}

/* A long text, so that it is cut into several units. */
static char *long_text(size_t *len)
{
    static const char *const words[] = {"satellite", "orbit", "Спутник", "红色",
                                        "3.14159",   "don't", "--",      "x=y+1;"};
    size_t n = 0;
    char *text = malloc(3 << 20);
    assert_non_null(text);
    for (unsigned i = 0, s = 1; n < (3u << 20) - 100; i++) {
        s = s * 1664525u + 1013904223u;
        const char *gap = s % 11 == 0 ? "\n" : s % 13 == 0 ? "  \n\n" : " ";
        n += (size_t)sprintf(text + n, "%s%s", words[s >> 8 & 7], gap);
    }
    *len = n;
    return text;
}

static void threads_change_nothing(void **state)
{
    (void)state;
    size_t len;
    char *text = long_text(&len);
    const char *path = write_file("a.txt", text, len);
    sp_buf first = {0};
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        sp_bpe_vocab vocab = train_file(path, (recipe){"deepseek-v3", NULL, 0, 320, 2, n_threads});
        sp_buf merges = {0};
        put_merges(&merges, &vocab);
        if (n_threads == 1) first = merges;
        assert_string_equal(first.data, merges.data);
        if (n_threads > 1) sp_buf_clear(&merges);
        sp_bpe_vocab_clear(&vocab);
    }
    sp_buf_clear(&first);
    free(text);
}

static void our_reader_opens_the_files(void **state)
{
    static const char *const pres[] = {"deepseek-v3", "deepseek-llm", "deepseek-coder",
                                       "qwen2",       "llama-bpe",    "gpt-2"};
    (void)state;
    size_t len;
    char *text = long_text(&len);
    const char *path = write_file("a.txt", text, len);
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) {
        sp_error err = SP_ERROR_NONE;
        sp_bpe_vocab vocab =
            train_file(path, (recipe){pres[i], sp_v3_specials, sp_v3_specials_count, 400, 2, 1});
        sp_tokenizer_style style = {pres[i], sp_v3_specials[0], sp_v3_specials[1], sp_v3_specials[2],
                                    "{{ x }}"};
        sp_tokenizer *t;
        assert_ok(sp_tokenizer_save(folder, &vocab, &style, &err), err);
        assert_ok(sp_tokenizer_open(&t, folder, &err), err);
        assert_int_equal(sp_tokenizer_size(t), vocab.n_tokens);
        assert_string_equal(sp_tokenizer_pre(t), pres[i]);
        assert_int_equal(sp_tokenizer_bos(t), 0);
        assert_int_equal(sp_tokenizer_eos(t), 1);
        assert_true(sp_tokenizer_adds_bos(t));
        assert_string_equal(sp_tokenizer_chat_template(t), "{{ x }}");
        assert_int_equal(sp_tokenizer_find(t, "<｜User｜>"), 8);
        assert_int_equal(sp_tokenizer_merge_count(t), vocab.n_merges);
        for (int32_t id = 0; id < vocab.n_tokens; id++) {
            size_t n, m;
            const char *want = sp_bpe_vocab_token(&vocab, id, &n), *got = sp_tokenizer_piece(t, id, &m);
            assert_int_equal(n, m);
            assert_memory_equal(want, got, n);
        }
        sp_tokens tokens = {0};
        sp_text back = {0};
        assert_ok(sp_tokenizer_encode(t, &tokens, text, 5000, 0, &err), err);
        assert_true(tokens.n < 2500);
        assert_ok(sp_tokenizer_decode(t, &back, tokens.ids, tokens.n, 0, &err), err);
        assert_int_equal(back.len, 5000);
        assert_memory_equal(back.data, text, 5000);
        sp_tokens_clear(&tokens);
        sp_text_clear(&back);
        sp_tokenizer_close(t);
        sp_bpe_vocab_clear(&vocab);
    }
    free(text);
}

static void refusals_are_named(void **state)
{
    (void)state;
    static const char *const twice[] = {"<s>", "<s>"}, *const letter[] = {"a"}, *const line[] = {"x\n"};
    sp_error err = SP_ERROR_NONE;
    sp_bpe_vocab vocab;
    const char *a = write_file("a.txt", "abc abc", 7),
               *b = write_file("b.jsonl", "{\"text\": \"x\"}\n{\"t\": 1}\n", 23);
    assert_int_equal(train_files(&vocab, &a, 1, (recipe){"gpt-2", NULL, 0, 255, 1, 1}, &err), SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "a vocabulary of 255: expected 256"));
    assert_int_equal(train_files(&vocab, &a, 1, (recipe){"gpt-2", twice, 2, 300, 1, 1}, &err), SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "\"<s>\" is given twice"));
    assert_int_equal(train_files(&vocab, &a, 1, (recipe){"gpt-2", line, 1, 300, 1, 1}, &err), SP_E_ARGUMENT);
    assert_int_equal(train_files(&vocab, &a, 1, (recipe){"gpt-9", NULL, 0, 300, 1, 1}, &err),
                     SP_E_UNSUPPORTED);
    assert_int_equal(train_files(&vocab, &b, 1, (recipe){"gpt-2", NULL, 0, 300, 1, 2}, &err), SP_E_FORMAT);
    assert_non_null(strstr(err.text, "b.jsonl:2: neither a text"));
    assert_ok(train_files(&vocab, &a, 1, (recipe){"gpt-2", letter, 1, 300, 1, 1}, &err), err);
    sp_tokenizer_style style = {"gpt-2", NULL, "a", NULL, NULL};
    assert_int_equal(sp_tokenizer_save(folder, &vocab, &style, &err), SP_E_ARGUMENT);
    assert_non_null(strstr(err.text, "spells the ordinary token"));
    sp_bpe_vocab_clear(&vocab);
}

static void failed_allocations_are_survived(void **state)
{
    (void)state;
    const char *paths[2] = {write_file("a.txt", "one two one two three", 21),
                            write_file("b.jsonl", "{\"text\": \"two two\"}\n", 20)};
    sp_status status = SP_E_NOMEM;
    int64_t n = 0;
    for (; status == SP_E_NOMEM && n < 5000; n++) {
        sp_error err = SP_ERROR_NONE;
        sp_bpe_vocab vocab;
        sp_buf json = {0};
        sp_mem_fail_after(n);
        status = train_files(&vocab, paths, 2, (recipe){"deepseek-v3", end_of_text, 1, 270, 1, 1}, &err);
        sp_tokenizer_style style = {"deepseek-v3", end_of_text[0], end_of_text[0], NULL, NULL};
        if (status == SP_OK) status = sp_tokenizer_write_json(&json, &vocab, &style, &err);
        sp_mem_fail_after(-1);
        sp_buf_clear(&json);
        sp_bpe_vocab_clear(&vocab);
        if (status != SP_E_NOMEM) assert_ok(status, err);
    }
    assert_true(status == SP_OK && n > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_merges_and_vocabulary),
        cmocka_unit_test(ties_go_to_the_greatest_bytes),
        cmocka_unit_test(overlapping_pairs_and_rare_ones),
        cmocka_unit_test(json_and_text_count_alike),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(our_reader_opens_the_files),
        cmocka_unit_test(refusals_are_named),
        cmocka_unit_test(failed_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
