/* SPDX-License-Identifier: MIT */
/* The tokenizer's promises: text is never control without the flag, begin-of-sentence once, the right end ids,
 * files that cannot be honoured refused by name, survival of every failed allocation, sharing by threads.
 * Ids against independent answers: test_tokenizer_golden.c. */
#include "tokenizer_testing.h"

#include <pthread.h>

#include "base/mem.h"
#include "format/gguf_write.h"
#include "model/gguf_meta.h"

#define BOS "<｜begin▁of▁sentence｜>"
#define EOS "<｜end▁of▁sentence｜>"

/* A tokenizer.json of letters a-e and space with the merges "ab", "abc", "de"; the rest is filled in. */
#define SMALL_VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"Ġ\":5,\"ab\":6,\"abc\":7,\"de\":8}"
#define SMALL_ADDED                                                                                          \
    "{\"id\":9,\"content\":\"" BOS "\",\"special\":true},{\"id\":10,\"content\":\"" EOS                      \
    "\",\"special\":true},"                                                                                  \
    "{\"id\":11,\"content\":\"<think>\",\"special\":false},{\"id\":12,\"content\":\"<thinking>\","           \
    "\"special\":false}"
#define SMALL_MODEL "{\"type\":\"BPE\"," SMALL_VOCAB ",\"merges\":[\"a b\",[\"ab\",\"c\"],\"d e\"]}"
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define SMALL(pre, more)                                                                                     \
    "{\"added_tokens\":[" SMALL_ADDED "],\"pre_tokenizer\":" pre ",\"model\":" SMALL_MODEL more "}"

static sp_status load(sp_tokenizer **t, const char *json, const char *config, const char *generation,
                      sp_error *err)
{
    sp_json *c = NULL, *g = NULL;
    if (config) assert_int_equal(sp_json_parse(config, strlen(config), &c, NULL), SP_OK);
    if (generation) assert_int_equal(sp_json_parse(generation, strlen(generation), &g, NULL), SP_OK);
    sp_tokenizer_files files = {json, strlen(json), c, g, NULL, NULL};
    sp_status status = sp_tokenizer_from_json(t, &files, err);
    sp_json_destroy(c);
    sp_json_destroy(g);
    return status;
}

static sp_tokenizer *load_ok(const char *json, const char *config, const char *generation)
{
    sp_tokenizer *t;
    sp_error err = SP_ERROR_NONE;
    assert_ok(load(&t, json, config, generation, &err), err);
    return t;
}

#define EXPECT(t, text, flags, ...)                                                                          \
    do {                                                                                                     \
        const int32_t ids_[] = {__VA_ARGS__};                                                                \
        expect_ids(t, text, flags, ids_, sizeof ids_ / sizeof *ids_);                                        \
    } while (0)

static void test_merges_by_rank(void **state)
{
    (void)state;
    sp_tokenizer *t = load_ok(SMALL(BYTE_LEVEL, ""), NULL, NULL);
    EXPECT(t, "abcde", 0, 7, 8);
    EXPECT(t, "aab cab", 0, 0, 6, 5, 2, 6);
    expect_ids(t, "", SP_ENCODE_SPECIAL, NULL, 0);
    sp_error err = SP_ERROR_NONE;
    sp_tokens tokens = {0};
    assert_int_equal(sp_tokenizer_encode(t, &tokens, "abz", 3, 0, &err), SP_E_RANGE);
    assert_string_equal(err.text, "tokenizer: the vocabulary has no token for byte 0x7A");
    assert_int_equal(tokens.n, 0);
    assert_int_equal(sp_tokenizer_encode(t, &tokens, "a", 1, 8, &err), SP_E_ARGUMENT);
    sp_tokens_clear(&tokens);
    sp_tokenizer_close(t);
}

static void test_text_is_never_control(void **state)
{
    (void)state;
    static const char *const names[] = {"tiny",        "deepseek-llm", "deepseek-coder",
                                        "deepseek-v3", "qwen2",        "llama3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sp_tokenizer *t = open_family(names[i]);
        for (int32_t id = 0; t && id < sp_tokenizer_size(t); id++) {
            if (!sp_tokenizer_is_special(t, id)) continue;
            size_t len;
            const char *text = sp_tokenizer_piece(t, id, &len);
            sp_tokens tokens = encode(t, text, len, 0);
            for (size_t k = 0; k < tokens.n; k++) assert_false(sp_tokenizer_is_special(t, tokens.ids[k]));
            sp_tokens_clear(&tokens);
            tokens = encode(t, text, len, SP_ENCODE_SPECIAL);
            assert_int_equal(tokens.n, 1);
            assert_int_equal(tokens.ids[0], id);
            sp_tokens_clear(&tokens);
        }
        sp_tokenizer_close(t);
    }
}

static void test_added_tokens_longest_first(void **state)
{
    (void)state;
    sp_tokenizer *t = load_ok(SMALL(BYTE_LEVEL, ""), NULL, NULL);
    EXPECT(t, "ab<think>c<thinking>" EOS EOS "a", SP_ENCODE_SPECIAL, 6, 11, 2, 12, 10, 10, 0);
    assert_int_equal(sp_tokenizer_find(t, "<thinking>"), 12);
    assert_int_equal(sp_tokenizer_find(t, "ab"), 6);
    assert_int_equal(sp_tokenizer_find(t, "<thin"), -1);
    assert_int_equal(sp_tokenizer_find(t, ""), -1);
    sp_tokenizer_close(t);
}

static void test_begin_of_sentence_once(void **state)
{
    (void)state;
    sp_tokenizer *t = load_ok(SMALL(BYTE_LEVEL, ""), "{\"add_bos_token\":true}", NULL);
    assert_int_equal(sp_tokenizer_bos(t), 9);
    assert_true(sp_tokenizer_adds_bos(t));
    EXPECT(t, "ab", SP_ENCODE_BOS, 9, 6);
    EXPECT(t, "", SP_ENCODE_BOS, 9);
    EXPECT(t, BOS "ab", SP_ENCODE_BOS | SP_ENCODE_SPECIAL, 9, 6);
    EXPECT(t, "ab", SP_ENCODE_BOS | SP_ENCODE_SPECIAL, 9, 6);
    sp_tokenizer_close(t);
    t = load_ok(SMALL(BYTE_LEVEL, ""), NULL, NULL);
    assert_false(sp_tokenizer_adds_bos(t));
    sp_tokenizer_close(t);
    static const char json[] =
        "{\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"" BOS
        "\"}},{\"Sequence\":{\"id\":\"A\"}}]}]},\"added_tokens\":[" SMALL_ADDED "],\"model\":" SMALL_MODEL
        "}";
    t = load_ok(json, NULL, NULL);
    assert_true(sp_tokenizer_adds_bos(t));
    sp_tokenizer_close(t);
}

static void test_end_ids(void **state)
{
    (void)state;
    sp_tokenizer *t = load_ok(SMALL(BYTE_LEVEL, ""), "{\"eos_token\":{\"content\":\"" EOS "\"}}",
                              "{\"eos_token_id\":[12,3,99999,-1]}");
    assert_int_equal(sp_tokenizer_eos(t), 10);
    for (int32_t id = -1; id < 14; id++)
        assert_int_equal(sp_tokenizer_is_end(t, id), id == 10 || id == 12 || id == 3);
    sp_tokenizer_close(t);
    static const struct {
        const char *name, *end;
        int32_t id;
    } family[] = {{"deepseek-coder", "<|EOT|>", 32021}, {"deepseek-coder", EOS, 32014},
                  {"deepseek-llm", EOS, 100001},        {"deepseek-v3", EOS, 1},
                  {"deepseek-v3", "<|EOT|>", 128805},   {"tiny", EOS, 1}};
    for (size_t i = 0; i < sizeof family / sizeof *family; i++) {
        t = open_family(family[i].name);
        if (!t) continue;
        assert_int_equal(sp_tokenizer_find(t, family[i].end), family[i].id);
        assert_true(sp_tokenizer_is_end(t, family[i].id));
        assert_true(sp_tokenizer_is_special(t, family[i].id));
        assert_false(sp_tokenizer_is_end(t, sp_tokenizer_bos(t)));
        sp_tokenizer_close(t);
    }
}

/* The 13 bytes that UTF-8 never has: their tokens are bytes, and the letters that stand for them are letters. */
static void test_bytes_that_text_never_has(void **state)
{
    (void)state;
    sp_tokenizer *t = open_family("deepseek-llm");
    if (!t) return;
    EXPECT(t, "\xFC", 0, 100014);
    EXPECT(t, "\xC0\xF6", SP_ENCODE_SPECIAL, 100010, 100003);
    sp_tokens tokens = encode(t, "ü÷", strlen("ü÷"), SP_ENCODE_SPECIAL);
    for (size_t i = 0; i < tokens.n; i++) assert_true(tokens.ids[i] < 100000);
    sp_tokens_clear(&tokens);
    size_t len;
    sp_tokenizer_piece(t, 100020, &len); /* "[PAD100020]" */
    assert_int_equal(len, 0);
    assert_false(sp_tokenizer_is_special(t, 100020));
    assert_int_equal(sp_tokenizer_size(t), 102400);
    sp_tokenizer_close(t);
}

static void test_decoding(void **state)
{
    (void)state;
    sp_tokenizer *t = load_ok(SMALL(BYTE_LEVEL, ""), NULL, NULL);
    const int32_t ids[] = {9, 7, 5, 8, 11, 10};
    sp_text text = {0};
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_tokenizer_decode(t, &text, ids, 6, SP_DECODE_SKIP_SPECIAL, &err), err);
    assert_string_equal(text.data, "abc de");
    text.len = 0;
    assert_ok(sp_tokenizer_decode(t, &text, ids, 6, 0, &err), err);
    assert_string_equal(text.data, BOS "abc de<think>" EOS);
    const int32_t bad[] = {13};
    assert_int_equal(sp_tokenizer_decode(t, &text, bad, 1, 0, &err), SP_E_RANGE);
    assert_int_equal(sp_tokenizer_decode(t, &text, ids, 1, 6, &err), SP_E_ARGUMENT);
    size_t len = 7;
    assert_string_equal(sp_tokenizer_piece(t, 13, &len), "");
    assert_int_equal(len, 0);
    sp_text_clear(&text);
    sp_tokenizer_close(t);
}

/* Rows of the embedding beyond the vocabulary are ids without text. */
static void test_padding_rows(void **state)
{
    (void)state;
    static const char json[] = SMALL(BYTE_LEVEL, "");
    sp_json *config;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_json_parse("{\"vocab_size\":64}", 17, &config, &err), err);
    sp_tokenizer_files files = {json, sizeof json - 1, NULL, NULL, config, "{{ x }}"};
    sp_tokenizer *t;
    assert_ok(sp_tokenizer_from_json(&t, &files, &err), err);
    assert_int_equal(sp_tokenizer_size(t), 64);
    assert_string_equal(sp_tokenizer_chat_template(t), "{{ x }}");
    const int32_t ids[] = {6, 63, 2};
    sp_text text = {0};
    assert_ok(sp_tokenizer_decode(t, &text, ids, 3, 0, &err), err);
    assert_string_equal(text.data, "abc");
    sp_text_clear(&text);
    sp_json_destroy(config);
    sp_tokenizer_close(t);
}

static void test_refused_files(void **state)
{
    (void)state;
#define SPLIT(pattern)                                                                                       \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern "\"},\"behavior\":\"Isolated\"}"
#define MODEL(more) "{\"model\":{\"type\":\"BPE\"," SMALL_VOCAB ",\"merges\":[]" more "}}"
    static const struct {
        const char *json;
        sp_status status;
        const char *text;
    } cases[] = {
        {"", SP_E_FORMAT, "tokenizer.json: json: line 1"},
        {"[]", SP_E_UNSUPPORTED, "model type \"(none)\""},
        {"{\"model\":{\"type\":\"Unigram\"}}", SP_E_UNSUPPORTED, "model type \"Unigram\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":[]}}", SP_E_FORMAT, "model.vocab is no object"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", SP_E_FORMAT, "model.merges is no array"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", SP_E_FORMAT,
         "token \"a\" has no usable id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999999},\"merges\":[]}}", SP_E_FORMAT,
         "no usable id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"aa\"]}}", SP_E_FORMAT,
         "merge 0 has no two parts"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[7]}}", SP_E_FORMAT,
         "merge 0 has no two parts"},
        {MODEL(",\"byte_fallback\":true"), SP_E_UNSUPPORTED, "byte_fallback"},
        {MODEL(",\"end_of_word_suffix\":\"</w>\""), SP_E_UNSUPPORTED, "end_of_word_suffix"},
        {MODEL("}, \"normalizer\":{\"type\":\"NFKC\"}, \"y\":{"), SP_E_UNSUPPORTED, "normalizer \"NFKC\""},
        {MODEL("},\"added_tokens\":[{\"id\":9}], \"y\":{"), SP_E_FORMAT, "added token without content"},
        {MODEL("},\"added_tokens\":[{\"id\":9,\"content\":\"x\",\"lstrip\":true}], \"y\":{"),
         SP_E_UNSUPPORTED, "lstrip"},
        {SMALL("{\"type\":\"Metaspace\"}", ""), SP_E_UNSUPPORTED, "pre-tokenizer \"Metaspace\""},
        {SMALL("{\"type\":\"ByteLevel\"}", ""), SP_E_UNSUPPORTED, "add_prefix_space"},
        {SMALL("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Removed\"}", ""),
         SP_E_UNSUPPORTED, "split behavior \"Removed\""},
        {SMALL("{\"type\":\"Split\",\"behavior\":\"Isolated\"}", ""), SP_E_FORMAT, "a Split without pattern"},
        {SMALL(SPLIT("[a[b]]"), ""), SP_E_UNSUPPORTED, "nested class"},
        {SMALL(SPLIT("[a&&b]"), ""), SP_E_UNSUPPORTED, "intersection of classes"},
        {SMALL(SPLIT("\\\\w+"), ""), SP_E_UNSUPPORTED, "escape \\w"},
        {SMALL(SPLIT("(?R)"), ""), SP_E_UNSUPPORTED, "group"},
        {SMALL(SPLIT("(*FAIL)"), ""), SP_E_UNSUPPORTED, "group"},
        {SMALL(SPLIT("a{,3}"), ""), SP_E_UNSUPPORTED, "brace"},
        {SMALL(SPLIT("[a"), ""), SP_E_UNSUPPORTED, "unfinished class"},
#if SP_HAVE_PCRE2
        {SMALL(SPLIT("(a"), ""), SP_E_UNSUPPORTED, "pre-tokenizer step 1"},
        {SMALL(SPLIT("\\\\p{Nonsense}"), ""), SP_E_UNSUPPORTED, "pre-tokenizer step 1"},
#endif
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sp_tokenizer *t;
        sp_error err = SP_ERROR_NONE;
        sp_status status = load(&t, cases[i].json, NULL, NULL, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].text))
            fail_msg("case %zu: %s: %s (expected %s)", i, sp_status_name(status), err.text, cases[i].text);
        assert_null(t);
    }
}

static void test_refused_ranks(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "\n\n", "IQ==", "IQ== x", "!! 1", "IQ== 99999999999", "IQ== 0\n?"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sp_tokenizer *t;
        sp_error err = SP_ERROR_NONE;
        sp_tokenizer_ranks ranks = {bad[i], strlen(bad[i]), "qwen2", NULL, 0};
        assert_int_equal(sp_tokenizer_from_tiktoken(&t, &ranks, &err), SP_E_FORMAT);
        assert_null(t);
    }
}

/* --- splitting --- */

typedef struct pieces {
    char joined[256];
} pieces;

static sp_status collect(void *ctx, const char *piece, size_t len, sp_error *err)
{
    pieces *p = ctx;
    size_t n = strlen(p->joined);
    (void)err;
    snprintf(p->joined + n, sizeof p->joined - n, "%s%.*s", n ? "|" : "", (int)len, piece);
    return SP_OK;
}

static void test_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *pre, *text, *expected;
    } cases[] = {
        {"deepseek-llm", "caféx  1234\r\n\nok...  ", "caf|é|x|  |1|2|3|4|\r|\n|\n|ok|...|  "},
        {"deepseek-llm", " Hello, 世界 ", " Hello|,| |世界| "},
        {"deepseek-coder", "int x = 10; // ü", "int| x| = |1|0|;| //| ü"},
        {"deepseek-v3", "x=12345 don't\n\n  y", "x|=|123|45| don|'t|\n\n| | y"},
        {"deepseek-v3", "ひらカナ漢字abc_def", "ひらカナ漢字|abc|_def"},
        {"qwen2", "I'LL pay $12\t\n  ok", "I|'LL| pay| $|1|2|\t\n| | ok"},
        {"llama-bpe", "I'LL pay $12345", "I|'LL| pay| $|123|45"},
        {"gpt-2", "I'LL don't 12345  x", "I|'|LL| don|'t| 12345| | x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sp_pretok *pretok;
        sp_pretok_run run;
        pieces got = {""};
        sp_error err = SP_ERROR_NONE;
        assert_ok(sp_pretok_create_named(&pretok, cases[i].pre, &err), err);
        assert_ok(sp_pretok_begin(&run, pretok, collect, &got, &err), err);
        assert_ok(sp_pretok_split(&run, cases[i].text, strlen(cases[i].text), &err), err);
        assert_string_equal(got.joined, cases[i].expected);
        sp_pretok_end(&run);
        sp_pretok_destroy(pretok);
    }
}

/* DeepSeek Coder's, with literal characters where the table of names has escapes. */
#define CJK_LITERAL "[一-龥ࠀ-一가-\xED\x9F\xBF]+"
#define DIGITS "{\"type\":\"Digits\",\"individual_digits\":true}"
#define STEPS_1_2 SPLIT("[\\r\\n]") "," SPLIT("\\\\s?\\\\p{L}+")
#define STEPS_3_4 SPLIT("\\\\s?\\\\p{P}+") "," SPLIT(CJK_LITERAL)
#define STEPS STEPS_1_2 "," STEPS_3_4 "," DIGITS "," BYTE_LEVEL
#define CODER_RULES "{\"type\":\"Sequence\",\"pretokenizers\":[" STEPS "]}"

/* A tokenizer.json's own patterns are recognised in either spelling; others run, but have no name. */
static void test_pre_tokenizer_names(void **state)
{
    (void)state;
    static const char coder[] = SMALL(CODER_RULES, "");
    sp_tokenizer *t = load_ok(coder, NULL, NULL);
    assert_string_equal(sp_tokenizer_pre(t), "deepseek-coder");
    sp_tokenizer_close(t);
    t = load_ok(SMALL("{\"type\":\"Split\",\"pattern\":{\"String\":\"b\"},\"behavior\":\"Isolated\"}", ""),
                NULL, NULL);
    assert_null(sp_tokenizer_pre(t));
    EXPECT(t, "abcde", 0, 0, 1, 2, 8);
    sp_tokenizer_close(t);
    assert_string_equal(sp_pretok_canonical("deepseek-r1-qwen"), "qwen2");
    assert_string_equal(sp_pretok_canonical("llama3"), "llama-bpe");
    assert_null(sp_pretok_canonical("falcon"));
    t = open_family("tiny");
    assert_string_equal(sp_tokenizer_pre(t), "deepseek-v3");
    sp_tokenizer_close(t);
}

/* A pattern from a file that backtracks without end costs an error, not the program. */
static void test_endless_pattern(void **state)
{
    (void)state;
    sp_tokenizer *t = load_ok(SMALL(SPLIT("(?:a|aa)+c"), ""), NULL, NULL);
    char text[64];
    memset(text, 'a', sizeof text);
    memcpy(text + sizeof text - 2, "dc", 2);
    sp_tokens tokens = {0};
    sp_error err = SP_ERROR_NONE;
    assert_int_equal(sp_tokenizer_encode(t, &tokens, text, sizeof text, 0, &err), SP_E_LIMIT);
    sp_tokens_clear(&tokens);
    sp_tokenizer_close(t);
}

/* --- GGUF --- */

static const char *write_gguf(const sp_tokenizer *t, const char *pre)
{
    static char path[64];
    sp_gguf_writer *w;
    sp_error err = SP_ERROR_NONE;
    snprintf(path, sizeof path, "/tmp/sputnik-test-tokenizer-%d.gguf", (int)getpid());
    if (!pre) {
        assert_ok(sp_gguf_writer_open(&w, path, &err), err);
        assert_ok(sp_gguf_put_tokenizer(w, t, sp_tokenizer_size(t), NULL, &err), err);
        assert_ok(sp_gguf_write_header(w, &err), err);
        assert_ok(sp_gguf_writer_commit(w, &err), err);
        sp_gguf_writer_close(w);
        return path;
    }
    static const sp_gguf_string tokens[] = {{"a", 1}, {"b", 1}, {"ab", 2}, {BOS, sizeof BOS - 1}},
                                merges[] = {{"a b", 3}};
    assert_ok(sp_gguf_writer_open(&w, path, &err), err);
    assert_ok(sp_gguf_put_string(w, "tokenizer.ggml.model", "gpt2", 4, &err), err);
    if (*pre) assert_ok(sp_gguf_put_string(w, "tokenizer.ggml.pre", pre, strlen(pre), &err), err);
    assert_ok(sp_gguf_put_strings(w, "tokenizer.ggml.tokens", tokens, 4, &err), err);
    assert_ok(sp_gguf_put_strings(w, "tokenizer.ggml.merges", merges, 1, &err), err);
    assert_ok(sp_gguf_write_header(w, &err), err);
    assert_ok(sp_gguf_writer_commit(w, &err), err);
    sp_gguf_writer_close(w);
    return path;
}

static void test_gguf_without_types_or_pre(void **state)
{
    (void)state;
    sp_tokenizer *t;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_tokenizer_open(&t, write_gguf(NULL, "deepseek-v3"), &err), err);
    EXPECT(t, "ab" BOS "b", SP_ENCODE_SPECIAL, 2, 3, 1);
    assert_true(sp_tokenizer_is_special(t, 3));
    assert_true(sp_tokenizer_adds_bos(t));
    assert_false(sp_tokenizer_pre_is_assumed(t));
    sp_tokenizer_close(t);
    assert_ok(sp_tokenizer_open(&t, write_gguf(NULL, ""), &err), err);
    assert_true(sp_tokenizer_pre_is_assumed(t));
    assert_string_equal(sp_tokenizer_pre(t), "gpt-2");
    sp_tokenizer_close(t);
    const char *path = write_gguf(NULL, "falcon");
    assert_int_equal(sp_tokenizer_open(&t, path, &err), SP_E_UNSUPPORTED);
    assert_string_equal(err.text, "gguf: pre-tokenizer \"falcon\" (tokenizer.ggml.pre) is unknown");
    unlink(path);
}

static void test_gguf_equals_json(void **state)
{
    (void)state;
    sp_tokenizer *json = open_family("tiny"), *gguf;
    sp_error err = SP_ERROR_NONE;
    const char *path = write_gguf(json, NULL);
    assert_ok(sp_tokenizer_open(&gguf, path, &err), err);
    assert_int_equal(sp_tokenizer_bos(gguf), sp_tokenizer_bos(json));
    assert_int_equal(sp_tokenizer_eos(gguf), sp_tokenizer_eos(json));
    for (int32_t id = 0; id < sp_tokenizer_size(json); id++) {
        size_t a, b;
        const char *x = sp_tokenizer_piece(json, id, &a), *y = sp_tokenizer_piece(gguf, id, &b);
        assert_int_equal(a, b);
        assert_memory_equal(x, y, a);
        assert_int_equal(sp_tokenizer_is_special(json, id), sp_tokenizer_is_special(gguf, id));
        assert_int_equal(sp_tokenizer_is_end(json, id), sp_tokenizer_is_end(gguf, id));
    }
    static const char text[] = "War and Peace, 1869: «Война и мир» <think>\n\n  x</think>";
    for (unsigned flags = 0; flags < 4; flags++) {
        sp_tokens tokens = encode(json, text, sizeof text - 1, flags);
        expect_ids(gguf, text, flags, tokens.ids, tokens.n);
        sp_tokens_clear(&tokens);
    }
    unlink(path);
    sp_tokenizer_close(json);
    sp_tokenizer_close(gguf);
}

/* --- resources --- */

static sp_status use_everything(const char *path)
{
    static const char text[] =
        "Hello <think> 1234 \xFF                                                           é";
    sp_tokenizer *t;
    sp_tokens tokens = {0};
    sp_text back = {0};
    sp_status status = sp_tokenizer_open(&t, path, NULL);
    if (status == SP_OK) {
        t->normalizes = true; /* one more allocation on the way */
        status =
            sp_tokenizer_encode(t, &tokens, text, sizeof text - 1, SP_ENCODE_BOS | SP_ENCODE_SPECIAL, NULL);
        if (status != SP_OK) assert_int_equal(tokens.n, 0);
        if (status == SP_OK) status = sp_tokenizer_decode(t, &back, tokens.ids, tokens.n, 0, NULL);
    }
    sp_tokens_clear(&tokens);
    sp_text_clear(&back);
    sp_tokenizer_close(t);
    return status;
}

static void test_failed_allocations(void **state)
{
    (void)state;
    sp_tokenizer *tiny = open_family("tiny");
    char gguf[64];
    snprintf(gguf, sizeof gguf, "%s", write_gguf(tiny, NULL));
    sp_tokenizer_close(tiny);
    const char *const paths[] = {test_path("tests/golden/tokenizers/tiny"), gguf};
    for (int i = 0; i < 2; i++) {
        sp_status status = SP_E_NOMEM;
        int64_t n = 0;
        for (; status != SP_OK; n++) {
            sp_mem_fail_after(n);
            status = use_everything(paths[i]);
            sp_mem_fail_after(-1);
            assert_true(status == SP_OK || status == SP_E_NOMEM);
            assert_true(n < 20000);
        }
        assert_true(n > 20);
    }
    unlink(gguf);
}

typedef struct worker {
    const sp_tokenizer *t;
    sp_tokens tokens;
} worker;

static void *encode_in_thread(void *ctx)
{
    worker *w = ctx;
    static const char text[] = "The same text for each thread, 1234, 我想在apple工作 <think>\n";
    for (int i = 0; i < 200; i++)
        if (sp_tokenizer_encode(w->t, &w->tokens, text, sizeof text - 1, i & 3, NULL) != SP_OK) break;
    return NULL;
}

static void test_threads_share_a_tokenizer(void **state)
{
    (void)state;
    worker workers[4];
    pthread_t threads[4];
    sp_tokenizer *t = open_family("tiny");
    for (int i = 0; i < 4; i++) {
        workers[i] = (worker){.t = t};
        assert_int_equal(pthread_create(&threads[i], NULL, encode_in_thread, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_true(workers[0].tokens.n > 2000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(workers[i].tokens.n, workers[0].tokens.n);
        assert_memory_equal(workers[i].tokens.ids, workers[0].tokens.ids,
                            workers[0].tokens.n * sizeof(int32_t));
    }
    for (int i = 0; i < 4; i++) sp_tokens_clear(&workers[i].tokens);
    sp_tokenizer_close(t);
}

int main(void)
{
#if SP_HAVE_PCRE2 && SP_HAVE_JANSSON
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_by_rank),
        cmocka_unit_test(test_text_is_never_control),
        cmocka_unit_test(test_added_tokens_longest_first),
        cmocka_unit_test(test_begin_of_sentence_once),
        cmocka_unit_test(test_end_ids),
        cmocka_unit_test(test_bytes_that_text_never_has),
        cmocka_unit_test(test_decoding),
        cmocka_unit_test(test_padding_rows),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_refused_ranks),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_pre_tokenizer_names),
        cmocka_unit_test(test_endless_pattern),
        cmocka_unit_test(test_gguf_without_types_or_pre),
        cmocka_unit_test(test_gguf_equals_json),
        cmocka_unit_test(test_failed_allocations),
        cmocka_unit_test(test_threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    printf("[ skipped ] encoding text needs PCRE2, tokenizer.json needs jansson\n");
    return 0;
#endif
}
