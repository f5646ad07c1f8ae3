/* SPDX-License-Identifier: MIT */
/* Ids against independent answers: every stored pair of llama.cpp's vocabulary tests (which include the table in
 * the project's reference notes), and the cases of tests/golden/tokens from the `tokenizers` package. */
#include "tokenizer_testing.h"

#include "base/mem.h"

static const char *const family[] = {"tiny",        "deepseek-llm", "deepseek-coder",
                                     "deepseek-v3", "qwen2",        "llama3"};

/* --- pairs: texts separated by a marker line, ids one line each --- */

/* Compare one line of ids; returns the start of the next line. */
static const char *expect_line(const sp_tokenizer *t, const char *text, size_t len, const char *ids)
{
    sp_tokens tokens = encode(t, text, len, 0);
    for (size_t i = 0; i < tokens.n; i++) {
        char *end;
        long id = strtol(ids, &end, 10);
        if (end == ids || id != tokens.ids[i] || memchr(ids, '\n', (size_t)(end - ids)))
            fail_msg("\"%.*s\": id %zu is %d, expected %ld", (int)len, text, i, (int)tokens.ids[i], id);
        ids = end;
    }
    while (*ids == ' ') ids++;
    if (*ids && *ids != '\n') fail_msg("\"%.*s\": fewer ids than expected", (int)len, text);
    sp_tokens_clear(&tokens);
    expect_round_trip(t, text, len, 0);
    return *ids ? ids + 1 : ids;
}

static int check_pairs(const sp_tokenizer *t, const char *name)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    char path[128];
    snprintf(path, sizeof path, "tokenizers/gguf-vocab/ggml-vocab-%s.gguf.inp", name);
    sp_buf texts = read_whole(shared_path(path));
    snprintf(path, sizeof path, "tokenizers/gguf-vocab/ggml-vocab-%s.gguf.out", name);
    sp_buf ids = read_whole(shared_path(path));
    const char *text = texts.data, *line = ids.data;
    int n = 0;
    for (const char *end; text; text = end ? end + strlen(mark) : NULL, n++) {
        end = strstr(text, mark);
        line = expect_line(t, text, end ? (size_t)(end - text) : strlen(text), line);
    }
    sp_buf_clear(&texts);
    sp_buf_clear(&ids);
    return n;
}

static void test_stored_pairs(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"deepseek-llm", "deepseek-llm"},
        {"deepseek-coder", "deepseek-coder"},
        {"qwen2", "qwen2"},
        {"qwen2", "deepseek-r1-qwen"},
        {"llama3", "llama-bpe"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        sp_tokenizer *t = open_family(pairs[i][0]);
        if (!t) continue;
        assert_int_equal(check_pairs(t, pairs[i][1]), 47);
        sp_tokenizer_close(t);
    }
}

/* --- tests/golden/tokens --- */

static uint32_t crc32_of(const int32_t *ids, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < 4 * n; i++) {
        crc ^= (uint32_t)ids[i / 4] >> 8 * (i % 4) & 0xFF;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

/* The text of a case; false if it needs a file that is absent. */
static bool read_case(const sp_json *c, sp_buf *text)
{
    size_t len;
    const char *file = sp_json_string(sp_json_get(c, "file"), NULL);
    if (file) {
        const char *path = shared_path(file);
        if (path) *text = read_whole(path);
        return path != NULL;
    }
    const char *hex = sp_json_string(sp_json_get(c, "hex"), &len);
    for (size_t i = 0; hex && i + 1 < len; i += 2) {
        char pair[] = {hex[i], hex[i + 1], '\0'};
        char byte = (char)strtol(pair, NULL, 16);
        assert_int_equal(sp_buf_append(text, &byte, 1, NULL), SP_OK);
    }
    const char *plain = sp_json_string(sp_json_get(c, "text"), &len);
    int64_t repeat = sp_json_int(sp_json_get(c, "repeat"), 1);
    for (int64_t i = 0; plain && i < repeat; i++)
        assert_int_equal(sp_buf_append(text, plain, len, NULL), SP_OK);
    return true;
}

/* The case's member, in its form without normalisation where it has one and raw is asked for. */
static const sp_json *member(const sp_json *c, const char *key, bool raw)
{
    char name[32];
    snprintf(name, sizeof name, "%s_raw", key);
    const sp_json *value = raw ? sp_json_get(c, name) : NULL;
    return value ? value : sp_json_get(c, key);
}

static void check_case(const sp_tokenizer *t, const sp_json *c, const sp_buf *text, const char *where)
{
    bool raw = !t->normalizes;
    const char *data = text->data ? text->data : "";
    unsigned flags = sp_json_bool(sp_json_get(c, "special"), false) ? SP_ENCODE_SPECIAL : 0;
    const sp_json *ids = member(c, "ids", raw);
    sp_tokens tokens = encode(t, data, text->len, flags);
    if (sp_json_get(c, "round_trip") || raw) expect_round_trip(t, data, text->len, flags);
    if (sp_json_is(ids, SP_JSON_ARRAY)) {
        bool same = tokens.n == sp_json_size(ids);
        for (size_t i = 0; same && i < tokens.n; i++)
            same = tokens.ids[i] == sp_json_int(sp_json_at(ids, i), -1);
        if (!same) fail_msg("%s: \"%.60s\"", where, data);
    } else if (!sp_json_get(c, "round_trip")) {
        if ((int64_t)tokens.n != sp_json_int(member(c, "count", raw), -1))
            fail_msg("%s: count of \"%.60s\"", where, data);
        assert_int_equal(crc32_of(tokens.ids, tokens.n), sp_json_int(member(c, "crc32", raw), -1));
    }
    sp_tokens_clear(&tokens);
}

static void check_golden(const sp_tokenizer *t, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "tests/golden/tokens/%s.json", name);
    sp_buf text = read_whole(test_path(path));
    sp_json *root;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_json_parse(text.data, text.len, &root, &err), err);
    const sp_json *cases = sp_json_get(root, "cases");
    assert_true(sp_json_size(cases) > 50);
    for (size_t i = 0; i < sp_json_size(cases); i++) {
        char where[96];
        sp_buf input = {0};
        snprintf(where, sizeof where, "%s: case %zu", name, i);
        if (read_case(sp_json_at(cases, i), &input)) check_case(t, sp_json_at(cases, i), &input, where);
        sp_buf_clear(&input);
    }
    sp_json_destroy(root);
    sp_buf_clear(&text);
}

static void test_golden_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof family / sizeof *family; i++) {
        sp_tokenizer *t = open_family(family[i]);
        if (!t) continue;
        check_golden(t, family[i]);
        if (strcmp(family[i], "qwen2") == 0) { /* as its publisher's tokenizer.json has it */
            t->normalizes = true;
            check_golden(t, family[i]);
        }
        sp_tokenizer_close(t);
    }
}

static void test_any_bytes_come_back(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u; /* xorshift64 */
    for (size_t i = 0; i < sizeof family / sizeof *family; i++) {
        sp_tokenizer *t = open_family(family[i]);
        if (!t) continue;
        for (int round = 0; round < 300; round++) {
            char bytes[257];
            size_t len = (size_t)round * 257 / 300;
            for (size_t k = 0; k < len; k++) {
                x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                /* half of the rounds lean towards spaces, line breaks and broken sequences */
                bytes[k] =
                    round % 2 ? " \n\r\t\xE6\x88\x91\xF0\x9F\xFF\xC3 a1'"[x >> 32 & 15] : (char)(x >> 32);
            }
            expect_round_trip(t, bytes, len, round % 4 < 2 ? 0 : SP_ENCODE_SPECIAL);
        }
        sp_tokenizer_close(t);
    }
}

/* Cost must not grow with the square of a run's length: these would then take minutes. */
static void test_long_runs(void **state)
{
    (void)state;
    static const char *const units[] = {" ", "\n", " \n", "a", "!", "\xC2\xA0", "\xFF", "<"};
    enum { N = 100000 };
    for (size_t i = 0; i < sizeof family / sizeof *family; i++) {
        sp_tokenizer *t = open_family(family[i]);
        for (size_t k = 0; t && k < sizeof units / sizeof *units; k++) {
            sp_buf text = {0};
            for (int n = 0; n < N; n++) assert_int_equal(sp_buf_puts(&text, units[k], NULL), SP_OK);
            assert_int_equal(sp_buf_puts(&text, "x", NULL), SP_OK);
            expect_round_trip(t, text.data, text.len, SP_ENCODE_SPECIAL);
            sp_buf_clear(&text);
        }
        sp_tokenizer_close(t);
    }
}

int main(void)
{
#if SP_HAVE_PCRE2 && SP_HAVE_JANSSON
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stored_pairs),
        cmocka_unit_test(test_golden_cases),
        cmocka_unit_test(test_any_bytes_come_back),
        cmocka_unit_test(test_long_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    printf("[ skipped ] encoding text needs PCRE2, the cases need jansson\n");
    return 0;
#endif
}
