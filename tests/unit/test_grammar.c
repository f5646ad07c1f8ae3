/* SPDX-License-Identifier: MIT */
/* Grammars: what they accept and refuse, that masks are exactly the tokens that may come next, that no allowed token
 * leads into a dead end, and replies of a generator under a grammar. The JSON Schema test suite is
 * tests/clients/test_json_schema_suite.py's. */
#include "chat_testing.h"
#include "tokenizer_testing.h"

#include "base/json.h"
#include "base/rng.h"
#include "infer/generate_core.h"
#include "text/grammar_match.h"

#include <math.h>

static sp_grammar *compile(const char *schema)
{
    sp_error err = SP_ERROR_NONE;
    sp_grammar *grammar;
    if (schema)
        assert_ok(sp_grammar_json_schema(&grammar, schema, strlen(schema), &err), err);
    else
        assert_ok(sp_grammar_json_object(&grammar, &err), err);
    return grammar;
}

static bool accepts(const sp_grammar *grammar, const char *text)
{
    sp_error err = SP_ERROR_NONE;
    sp_matcher *matcher;
    bool accepted;
    assert_ok(sp_matcher_create(&matcher, grammar, NULL, &err), err);
    assert_ok(sp_matcher_push(matcher, text, strlen(text), &accepted, &err), err);
    accepted = accepted && sp_matcher_is_complete(matcher);
    sp_matcher_destroy(matcher);
    return accepted;
}

typedef struct judged {
    const char *text;
    bool accepted;
} judged;

static void expect_judged(const char *schema, const judged *texts, size_t n)
{
    sp_grammar *grammar = compile(schema);
    for (size_t i = 0; i < n; i++)
        if (accepts(grammar, texts[i].text) != texts[i].accepted)
            fail_msg("%s: %s should be %s", schema ? schema : "object", texts[i].text,
                     texts[i].accepted ? "accepted" : "rejected");
    sp_grammar_destroy(grammar);
}

#define EXPECT(schema, ...)                                                                                  \
    expect_judged(schema, (const judged[]){__VA_ARGS__}, sizeof(const judged[]){__VA_ARGS__} / sizeof(judged))

/* --- what is accepted ----------------------------------------------------------------------------------- */

static void test_any_object(void **state)
{
    (void)state;
    EXPECT(NULL, {"{}", true}, {"[]", false}, {"1", false}, {"{", false}, {"{}}", false},
           {"{\"a\": [1, -0.5e3, \"x\\u00e9\\ud83d\\ude00é\", {\"b\": null}], \"\": true}", true},
           {"{\"a\":01}", false}, {"{\"a\":1.}", false}, {"{\"a\":1,}", false}, {"{\"a\" :1}", false},
           {"{\"a\":\"\\ud83d\"}", false},          /* half a pair */
           {"{\"a\":\"\xC0\x80\"}", false},         /* not UTF-8 */
           {"{\"a\":\"\xF4\x90\x80\x80\"}", false}, /* beyond Unicode */
           {"{\"a\":\"\n\"}", false}, {"{\"a\":1,\"a\":2}", false}, {"{\"a\":1,\"ab\":{\"a\":1}}", true},
           {"{\"a\":1,\"ab\":2,\"a\":3}", false},
           {"{\"\\u0041\":1}", false}); /* names are spelled in one way */
}

static void test_blanks(void **state)
{
    (void)state;
    EXPECT(NULL, {"\n\n{\n  \"a\": [\n    1,\n    2\n  ]\n}", true}, {"{ \"a\": 1, \"b\": [ 1 ] }", true},
           {"\n\n\n\n\n{}", false}, {"{  \"a\":1}", false}, {"{\n\n\"a\":1}", false}, {"{\"a\":\n1}", false},
           {"{\n         \"a\":1}", false}, {"{}\n", false});
}

static void test_deep(void **state)
{
    char text[600] = "{\"a\":";
    (void)state;
    sp_grammar *grammar = compile(NULL);
    size_t n = strlen(text);
    for (int depth = 127; depth <= 128; depth++) {
        memset(text + n, '[', (size_t)depth);
        memset(text + n + depth, ']', (size_t)depth);
        strcpy(text + n + 2 * depth, "}");
        assert_int_equal(accepts(grammar, text), depth == 127);
    }
    sp_grammar_destroy(grammar);
}

static void test_scalars(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    EXPECT("{\"type\":\"integer\",\"minimum\":-12,\"exclusiveMaximum\":105}", {"-12", true}, {"-13", false},
           {"0", true}, {"104", true}, {"105", false}, {"99", true}, {"-9", true}, {"1000", false},
           {"1.5", false}, {"1.0", false});
    EXPECT("{\"type\":\"number\",\"exclusiveMinimum\":0.05,\"maximum\":2}", {"0.05", false}, {"0.051", true},
           {"2", true}, {"2.0", true}, {"2.01", false}, {"0.5", true}, {"1", true}, {"0", false},
           {"-1", false}, {"1e0", false});
    EXPECT("{\"type\":\"number\",\"multipleOf\":0.25}", {"1.75", true}, {"1.5", true}, {"1.8", false},
           {"-3", true});
    EXPECT("{\"type\":\"integer\",\"allOf\":[{\"multipleOf\":4},{\"multipleOf\":6}]}", {"12", true},
           {"24", true}, {"0", true}, {"18", false}, {"-36", true});
    EXPECT("{\"enum\":[\"a\",\"ab\",1,null,[1,{\"x\":2}]]}", {"\"a\"", true}, {"\"ab\"", true},
           {"\"abc\"", false}, {"1", true}, {"1.0", true}, {"null", true}, {"true", false},
           {"[1, {\"x\": 2}]", true}, {"[1]", false});
    EXPECT("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", {"\"é\"", false}, {"\"éé\"", true},
           {"\"\\ud83d\\ude00\\n\\u0041\"", true}, {"\"abcd\"", false});
    EXPECT("{\"type\":[\"string\",\"null\"]}", {"\"x\"", true}, {"null", true}, {"1", false});
    EXPECT("{\"not\":{\"type\":[\"object\",\"array\"]}}", {"1", true}, {"{}", false});
}

static void test_patterns(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    EXPECT("{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-(\\\\d+|x)$\"}", {"\"AB-12\"", true},
           {"\"AB-x\"", true}, {"\"AB-\"", false}, {"\"ABC-1\"", false}, {"\"AB-1 \"", false});
    EXPECT("{\"type\":\"string\",\"pattern\":\"\\\\d{2}\"}", {"\"a12b\"", true}, {"\"1a2\"", false});
    EXPECT("{\"type\":\"string\",\"pattern\":\"a|^b|c$\"}", {"\"xax\"", true}, {"\"bx\"", true},
           {"\"xb\"", false}, {"\"xc\"", true}, {"\"cx\"", false});
    EXPECT("{\"type\":\"string\",\"pattern\":\"^[^a-z\\\"]+$\",\"maxLength\":3}", {"\"éñ\"", true},
           {"\"\\\\\"", true}, {"\"\\n\"", true}, {"\"\\\"\"", false}, {"\"ABCD\"", false},
           {"\"aB\"", false});
    EXPECT("{\"type\":\"string\",\"pattern\":\"^.\\\\s\\\\W$\"}", {"\"😀 ä\"", true}, {"\"a\\tb\"", false},
           {"\"\\n  \"", false});
    EXPECT("{\"type\":\"string\",\"format\":\"date\"}", {"\"2024-02-29\"", true}, {"\"2023-02-29\"", false},
           {"\"2024-13-01\"", false}, {"\"1900-02-29\"", false}, {"\"2000-02-29\"", true});
    EXPECT("{\"type\":\"string\",\"format\":\"uuid\"}", {"\"2eb8aa08-aa98-11ea-b4aa-73b441d16380\"", true},
           {"\"2eb8aa08\"", false});
}

static void test_objects(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    EXPECT("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"null\"},"
           "\"c\":{}},\"required\":[\"b\"],"
           "\"additionalProperties\":false}",
           {"{\"b\":null}", true}, {"{\"a\":1,\"b\":null,\"c\":[]}", true}, {"{\"a\":1}", false},
           {"{\"b\":null,\"a\":1}", false}, {"{\"b\":null,\"d\":1}", false},
           {"{\"a\":1.5,\"b\":null}", false});
    EXPECT("{\"type\":\"object\",\"properties\":{\"a\":{}},\"additionalProperties\":{\"type\":\"boolean\"}}",
           {"{\"x\":true}", true}, {"{\"a\":1,\"x\":true,\"y\":false}", true},
           {"{\"x\":true,\"a\":1}", false}, {"{\"x\":1}", false});
    EXPECT("{\"type\":\"object\",\"required\":[\"z\"]}", {"{\"z\":1}", true}, {"{\"z\":1,\"y\":2}", true},
           {"{\"y\":2}", false});
    EXPECT("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"minProperties\":2,"
           "\"maxProperties\":2,"
           "\"additionalProperties\":false}",
           {"{\"a\":1}", false}, {"{\"a\":1,\"c\":1}", true}, {"{\"c\":1}", false},
           {"{\"a\":1,\"b\":1,\"c\":1}", false});
    EXPECT("{\"type\":\"object\",\"patternProperties\":{\"^x-\":{\"type\":\"integer\"}},"
           "\"additionalProperties\":false}",
           {"{\"x-a\":1,\"x-b\":2}", true}, {"{\"x-a\":null}", false}, {"{\"y\":1}", false},
           {"{\"x-a\":1,\"x-a\":2}", false});
    EXPECT("{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[ab]$\"},\"minProperties\":2}",
           {"{\"b\":1,\"a\":2}", true}, {"{\"a\":1,\"a\":2}", false}, {"{\"c\":1,\"a\":1}", false});
    EXPECT("{\"dependentRequired\":{\"a\":[\"b\"]},\"type\":\"object\"}", {"{\"c\":1}", true},
           {"{\"a\":1,\"b\":1}", true}, {"{\"a\":1}", false});
}

static void test_unevaluated(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    EXPECT("{\"$defs\":{\"b\":{\"properties\":{\"b\":{\"type\":\"null\"}},\"patternProperties\":{\"^x\":{}}}}"
           ",\"type\":\"object\",\"properties\":{\"a\":{}},"
           "\"allOf\":[{\"$ref\":\"#/$defs/b\"}],\"unevaluatedProperties\":{\"type\":\"boolean\"}}",
           {"{\"a\":1,\"b\":null}", true}, {"{\"b\":null}", true}, {"{\"b\":1}", false},
           {"{\"x1\":1,\"c\":true}", true}, {"{\"c\":1}", false});
    EXPECT("{\"type\":\"object\",\"anyOf\":[{\"properties\":{\"a\":{}},\"required\":[\"a\"]},{\"properties\":"
           "{\"b\":{}},\"required\":[\"b\"]}],"
           "\"unevaluatedProperties\":false}",
           {"{\"a\":1}", true}, {"{\"b\":1}", true}, {"{\"c\":1}", false}, {"{\"a\":1,\"c\":1}", false},
           {"{}", false});
    EXPECT("{\"type\":\"object\",\"allOf\":[{\"additionalProperties\":{\"type\":\"null\"}}],"
           "\"unevaluatedProperties\":false}",
           {"{\"a\":null}", true}, {"{\"a\":1}", false});
    /* what stands outside the schema is not inside it */
    EXPECT("{\"type\":\"object\",\"properties\":{\"a\":{}},\"allOf\":[{\"properties\":{\"b\":{}},"
           "\"unevaluatedProperties\":false}]}",
           {"{\"b\":1}", true}, {"{\"a\":1}", false});
}

static void test_choices(void **state)
{
    static const char *const kinds = "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":"
                                     "\"x\"},\"v\":{\"type\":\"integer\"}},\"required\":[\"kind\",\"v\"]},"
                                     "{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"y\"},\"w\":{"
                                     "\"type\":\"string\"}},\"required\":[\"kind\",\"w\"]}]}";
    (void)state;
    SKIP_WITHOUT_JSON();
    EXPECT(kinds, {"{\"kind\":\"x\",\"v\":1}", true}, {"{\"kind\":\"y\",\"w\":\"s\"}", true},
           {"{\"kind\":\"x\",\"w\":\"s\"}", false});
    EXPECT("{\"$defs\":{\"t\":{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#/"
           "$defs/t\"}}]}},"
           "\"$ref\":\"#/$defs/t\"}",
           {"1", true}, {"[[1,[]],2]", true}, {"[null]", false});
    EXPECT("{\"allOf\":[{\"properties\":{\"a\":{\"type\":[\"string\",\"integer\"]}},\"required\":[\"a\"]},"
           "{\"type\":\"object\",\"properties\":{\"a\":{\"minimum\":3,\"maxLength\":2}}}]}",
           {"{\"a\":4}", true}, {"{\"a\":2}", false}, {"{\"a\":\"xy\"}", true}, {"{\"a\":\"xyz\"}", false},
           {"{}", false});
    EXPECT("{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"}],\"items\":{\"type\":\"null\"},"
           "\"minItems\":2,\"maxItems\":3}",
           {"[1,null]", true}, {"[1]", false}, {"[1,null,null]", true}, {"[1,null,null,null]", false},
           {"[null,null]", false});
}

static void test_references(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    EXPECT("{\"$defs\":{\"a/b%\":{\"type\":\"null\"}},\"$ref\":\"#/$defs/a~1b%25\"}", {"null", true},
           {"1", false});
    EXPECT("{\"$defs\":{\"x\":{\"$anchor\":\"here\",\"type\":\"null\"}},\"$ref\":\"#here\"}", {"null", true},
           {"1", false});
    /* a schema with an identity is a document of its own */
    EXPECT("{\"prefixItems\":[{\"$id\":\"urn:a\",\"$ref\":\"#/$defs/"
           "x\",\"$defs\":{\"x\":{\"type\":\"null\"}}},{\"$ref\":\"#/$defs/x\"},"
           "{\"$ref\":\"urn:a#/$defs/"
           "x\"}],\"type\":\"array\",\"minItems\":3,\"maxItems\":3,\"$defs\":{\"x\":{\"type\":\"boolean\"}}}",
           {"[null,true,null]", true}, {"[true,true,null]", false}, {"[null,null,null]", false});
}

static void test_items_that_differ(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    EXPECT("{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"uniqueItems\":true}", {"[]", true},
           {"[\"a\"]", true}, {"[\"a\", \"ab\",\"\"]", true}, {"[\n \"a\"\n]", true},
           {"[\"a\",\"a\"]", false}, {"[\"a\",\"ab\",\"a\"]", false}, {"[\"\",\"\"]", false},
           {"[\"a\",\"\\u0061\"]", false}, {"[\"a\" ,\"b\"]", false}, {"[\"a\",]", false}, {"[1]", false});
    EXPECT(
        "{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"b\",\"c\"]},\"uniqueItems\":true,\"minItems\":2}",
        {"[\"a\"]", false}, {"[\"c\",\"a\"]", true}, {"[\"c\",\"a\",\"b\"]", true},
        {"[\"c\",\"a\",\"b\",\"a\"]", false}, {"[\"c\",\"c\"]", false});
    EXPECT("{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":1,\"pattern\":\"^[xy]\"},"
           "\"uniqueItems\":true,\"maxItems\":2}",
           {"[\"x\",\"y\"]", true}, {"[\"x\",\"x\"]", false}, {"[[]]", false});
    EXPECT("{\"uniqueItems\":true,\"enum\":[[1,2],[1,1],3,[\"a\"]]}", {"[1,2]", true}, {"[1,1]", false},
           {"3", true}, {"[\"a\"]", true});
    EXPECT("{\"type\":\"array\",\"items\":{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":"
           "\"string\"}}}",
           {"[[\"a\",\"b\"],[\"a\"]]", true}, {"[[\"a\"],[\"b\",\"b\"]]", false});
}

/* What older drafts and writers of schemas in the field have. */
static void test_dialects(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    EXPECT("{\"type\":\"array\",\"items\":[{\"type\":\"string\"},{\"type\":\"number\"}],\"additionalItems\":{"
           "\"type\":\"null\"},\"minItems\":2}",
           {"[\"a\",1]", true}, {"[\"a\",1,null,null]", true}, {"[\"a\",1,2]", false}, {"[1,\"a\"]", false});
    EXPECT("{\"items\":[{\"type\":\"null\"}],\"type\":\"array\",\"additionalItems\":false}", {"[null]", true},
           {"[]", true}, {"[null,1]", false});
    EXPECT("{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"additionalItems\":false}",
           {"[null,null]", true});
    EXPECT("{\"type\":\"object\",\"dependencies\":{\"a\":[\"b\"],\"c\":{\"properties\":{\"d\":{\"type\":"
           "\"null\"}}}}}",
           {"{}", true}, {"{\"a\":1}", false}, {"{\"a\":1,\"b\":2}", true}, {"{\"d\":1}", true},
           {"{\"d\":1,\"c\":1}", false}, {"{\"d\":null,\"c\":1}", true});
    EXPECT("{\"type\":\"integer\",\"minimum\":3,\"exclusiveMinimum\":true,\"maximum\":5,\"exclusiveMaximum\":"
           "false}",
           {"3", false}, {"4", true}, {"5", true}, {"6", false});
    EXPECT("{\"type\":\"integer\",\"format\":\"int32\"}", {"7", true});
    EXPECT("{\"type\":\"string\",\"format\":\"uuid4\"}", {"\"2eb8aa08-aa98-41ea-b4aa-73b441d16380\"", true},
           {"\"2eb8aa08-aa98-11ea-b4aa-73b441d16380\"", false});
    EXPECT("{\"type\":\"string\",\"format\":\"json-pointer\"}", {"\"\"", true}, {"\"/a~1/é\"", true},
           {"\"a\"", false}, {"\"/~2\"", false});
    EXPECT("{\"type\":\"string\",\"format\":\"byte\"}", {"\"\"", true}, {"\"QUI=\"", true},
           {"\"QUI\"", false});
    EXPECT("{\"type\":\"string\",\"format\":\"uri-reference\"}", {"\"../a/b?c#d\"", true},
           {"\"http://a.b/c\"", true}, {"\"a b\"", false});
    EXPECT("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"oneOf\":[{\"required\":[\"a\"]"
           "},{\"required\":[\"b\"]}]}",
           {"{\"a\":1}", true}, {"{\"b\":1,\"c\":2}", true}, {"{\"a\":1,\"b\":1}", false},
           {"{\"c\":1}", false}, {"{}", false});
}

static void test_lookahead(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    EXPECT("{\"type\":\"string\",\"pattern\":\"^(?!ab|[)(]x)(?=.b)a?.+c$\"}", {"\"xbc\"", true},
           {"\"abc\"", false}, {"\"xac\"", false}, {"\"xb\"", false}, {"\"bbxc\"", true});
    /* as a library of the field has it for addresses, and one for decimals */
    EXPECT("{\"type\":\"string\",\"pattern\":\"^(?!\\\\.)(?!.*\\\\.\\\\.)([A-Za-z0-9_'+\\\\-\\\\.]*)[A-Za-z0-"
           "9_+-]@([A-Za-z0-9][A-Za-z0-9\\\\-]*\\\\.)+[A-Za-z]{2,}$\"}",
           {"\"a.b@c.de\"", true}, {"\".a@c.de\"", false}, {"\"a..b@c.de\"", false}, {"\"a.@c.de\"", false},
           {"\"a@c..de\"", false});
    EXPECT("{\"type\":\"string\",\"pattern\":\"^(?!^[-+.]*$)[+-]?0*\\\\d*\\\\.?\\\\d*$\"}", {"\"1.5\"", true},
           {"\"-.5\"", true}, {"\"-.\"", false}, {"\"\"", false});
}

static void test_refusals(void **state)
{
    static const struct {
        const char *schema;
        sp_status status;
        const char *names;
    } cases[] = {
        {"{\"type\":\"array\",\"uniqueItems\":true}", SP_E_UNSUPPORTED, "\"uniqueItems\""},
        {"{\"properties\":{\"a/b\":{\"contains\":{}}}}", SP_E_UNSUPPORTED, "#/properties/a~1b"},
        {"{\"if\":{},\"then\":{}}", SP_E_UNSUPPORTED, "\"if\""},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}", SP_E_UNSUPPORTED, "\"oneOf\""},
        {"{\"$ref\":\"http://example.com/\"}", SP_E_UNSUPPORTED, "\"$ref\""},
        {"{\"$ref\":\"#/$defs/x\"}", SP_E_FORMAT, "nothing at"},
        {"{\"$ref\":\"#\"}", SP_E_UNSUPPORTED, "nothing can satisfy"},
        {"false", SP_E_UNSUPPORTED, "nothing can satisfy"},
        {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", SP_E_UNSUPPORTED, "nothing can satisfy"},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"$ref\":\"#\"}}}",
         SP_E_UNSUPPORTED, "nothing can satisfy"},
        {"{\"type\":\"text\"}", SP_E_FORMAT, "\"type\""},
        {"{\"format\":\"regex\"}", SP_E_UNSUPPORTED, "\"regex\""},
        {"{\"pattern\":\"(?=a)\"}", SP_E_UNSUPPORTED, "look-ahead"},
        {"{\"pattern\":\"(a\"}", SP_E_FORMAT, "expected \")\""},
        {"{\"pattern\":\"^(a|b){4096}{4096}$\"}", SP_E_FORMAT, "unexpected"},
        {"{\"pattern\":\"((a{99}){99}){99}\"}", SP_E_LIMIT, "too large"},
        {"{\"prefixItems\":[{}],\"items\":[{}]}", SP_E_FORMAT, "prefixItems"},
        {"{\"type\":\"array\",\"items\":{\"type\":[\"string\",\"null\"]},\"uniqueItems\":true}",
         SP_E_UNSUPPORTED, "uniqueItems"},
        {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"string\"}],\"uniqueItems\":true}",
         SP_E_UNSUPPORTED, "uniqueItems"},
        {"{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"b\"]},\"uniqueItems\":true,\"minItems\":3}",
         SP_E_UNSUPPORTED, "nothing can satisfy"},
        {"{\"pattern\":\"a(?!b)\"}", SP_E_UNSUPPORTED, "look-ahead"},
        {"{\"pattern\":\"^(?!b\"}", SP_E_UNSUPPORTED, "look-ahead"},
        {"{\"pattern\":\"^(?!b)c|d\"}", SP_E_UNSUPPORTED, "look-ahead"},
        {"{\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\",\"c\"]}]}", SP_E_UNSUPPORTED, "\"oneOf\""},
        {"{\"type\":\"integer\",\"multipleOf\":1000003}", SP_E_LIMIT, "states"},
        {"{", SP_E_FORMAT, "json"},
        {"3", SP_E_FORMAT, "schema"},
    };
    (void)state;
    SKIP_WITHOUT_JSON();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sp_error err = SP_ERROR_NONE;
        sp_grammar *grammar;
        sp_status status = sp_grammar_json_schema(&grammar, cases[i].schema, strlen(cases[i].schema), &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].names))
            fail_msg("%s: %s \"%s\"", cases[i].schema, sp_status_name(status), err.text);
        assert_null(grammar);
    }
}

/* --- masks ---------------------------------------------------------------------------------------------- */

static bool may_follow(const sp_grammar *grammar, const sp_buf *text, const char *piece, size_t len)
{
    sp_error err = SP_ERROR_NONE;
    sp_matcher *matcher;
    bool accepted;
    assert_ok(sp_matcher_create(&matcher, grammar, NULL, &err), err);
    assert_ok(sp_matcher_push(matcher, text->data, text->len, &accepted, &err), err);
    assert_true(accepted);
    assert_ok(sp_matcher_push(matcher, piece, len, &accepted, &err), err);
    sp_matcher_destroy(matcher);
    return accepted;
}

/* Compare every `stride`-th id's bit with what the grammar says of the token's bytes. */
static void check_mask(const sp_grammar *grammar, const sp_tokenizer *t, const sp_matcher *m,
                       const uint64_t *mask, const sp_buf *text, int32_t first, int32_t stride)
{
    for (int32_t id = first % stride; id < sp_tokenizer_size(t); id += stride) {
        size_t len;
        const char *piece = sp_tokenizer_piece(t, id, &len);
        bool allowed = mask[id >> 6] >> (id & 63) & 1, expected;
        if (sp_tokenizer_is_end(t, id))
            expected = sp_matcher_is_complete(m);
        else
            expected = len && !sp_tokenizer_is_special(t, id) && may_follow(grammar, text, piece, len);
        if (allowed != expected)
            fail_msg("after %.*s: token %d \"%.*s\" is %s", (int)text->len, text->data, (int)id, (int)len,
                     piece, allowed ? "allowed" : "masked");
    }
}

/* Follow random allowed tokens to the end, checking masks on the way. */
static void walk(const char *schema, const sp_tokenizer *t, uint64_t seed, int32_t stride)
{
    sp_grammar *grammar = compile(schema);
    sp_error err = SP_ERROR_NONE;
    sp_buf text = {NULL, 0, 0};
    sp_matcher *m;
    assert_ok(sp_matcher_create(&m, grammar, t, &err), err);
    assert_ok(sp_buf_puts(&text, "", &err), err);
    for (uint64_t at = 0; at < 40; at++) {
        size_t n, len, wanted;
        uint64_t *mask;
        int32_t id = 0;
        bool accepted;
        assert_ok(sp_matcher_mask(m, &mask, &n, &err), err);
        if (n == 0) fail_msg("a dead end after %s", text.data);
        check_mask(grammar, t, m, mask, &text, (int32_t)(at * 7 + seed), stride);
        wanted = (size_t)(sp_rng_uniform(seed, 1, at) * (double)n);
        for (size_t seen = 0;; id++)
            if ((mask[id >> 6] >> (id & 63) & 1) && seen++ == wanted) break;
        if (sp_tokenizer_is_end(t, id)) break;
        const char *piece = sp_tokenizer_piece(t, id, &len);
        assert_ok(sp_matcher_push(m, piece, len, &accepted, &err), err);
        assert_true(accepted);
        assert_ok(sp_buf_append(&text, piece, len, &err), err);
    }
    sp_matcher_destroy(m);
    sp_grammar_destroy(grammar);
    sp_buf_clear(&text);
}

static const char *const schemas[] = {
    NULL,
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"maxLength\":4},\"ab\":{\"type\":"
    "\"string\",\"minLength\":3}},"
    "\"additionalProperties\":{\"type\":\"number\"}}",
    "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^[a-c]+(-[0-9é]{2})?$\"},\"minItems\":"
    "1}",
    "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"integer\",\"minimum\":17,\"maximum\":2300},{"
    "\"enum\":[\"red\",\"green\"]},"
    "{\"type\":\"object\",\"propertyNames\":{\"maxLength\":1}}]},\"minItems\":3}",
    "{\"type\":\"number\",\"minimum\":0.5,\"maximum\":12}",
    "{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"boolean\"},\"next\":{\"$ref\":"
    "\"#/$defs/n\"}},\"required\":[\"v\"],"
    "\"additionalProperties\":false}},\"$ref\":\"#/$defs/n\"}",
    "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":2},\"uniqueItems\":true,\"minItems\":"
    "3}",
    "{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"b\",\"ab\",\"c\"]},\"uniqueItems\":true,\"minItems\":"
    "4}",
};
#define N_SCHEMAS (sizeof schemas / sizeof schemas[0])

static void test_masks(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_tokenizer *t = open_tiny_deepseek();
    for (size_t s = 0; s < N_SCHEMAS; s++)
        for (uint64_t seed = 0; seed < 4; seed++) walk(schemas[s], t, seed, 1);
    sp_tokenizer_close(t);
}

static void test_masks_of_the_family(void **state)
{
    static const char *const names[] = {"deepseek-v3", "qwen2", "tiny"};
    (void)state;
    SKIP_WITHOUT_JSON();
    for (size_t i = 0; i < 3; i++) {
        sp_tokenizer *t = open_family(names[i]);
        for (size_t s = 0; t && s < N_SCHEMAS; s++)
            for (uint64_t seed = 0; seed < 2; seed++)
                walk(schemas[s], t, seed + i, sp_tokenizer_size(t) > 10000 ? 401 : 1);
        sp_tokenizer_close(t);
    }
}

/* --- replies -------------------------------------------------------------------------------------------- */

#define N_VOCAB 280

/* Wants the next id of a script by far, else the lowest that is allowed. */
typedef struct script {
    const int32_t *ids;
    size_t n, n_prompt;
    float logits[N_VOCAB];
} script;

static sp_status sync_script(void *ctx, const int32_t *tokens, size_t n, const float **logits, sp_error *err)
{
    script *s = ctx;
    (void)tokens, (void)err;
    for (int i = 0; i < N_VOCAB; i++) s->logits[i] = -(float)i / 100;
    if (n - s->n_prompt < s->n) s->logits[s->ids[n - s->n_prompt]] = 5;
    *logits = s->logits;
    return SP_OK;
}

typedef struct outcome {
    sp_finish finish;
    char reasoning[200], content[200];
    size_t n_tokens;
    float first_logprob;
} outcome;

static outcome reply(const char *schema, const char *wish, sp_generate_options o)
{
    sp_tokenizer *t = open_tiny_deepseek();
    sp_error err = SP_ERROR_NONE;
    sp_tokens ids = {0};
    sp_generator *g;
    sp_step step;
    outcome out = {.n_tokens = 0};
    sp_grammar *grammar = compile(schema);
    assert_ok(sp_tokenizer_encode(t, &ids, wish, strlen(wish), SP_ENCODE_SPECIAL, &err), err);
    script s = {.ids = ids.ids, .n = ids.n, .n_prompt = 1};
    sp_generate_source source = {
        .ctx = &s, .sync = sync_script, .capacity = 300, .vocab_size = N_VOCAB, .tokenizer = t};
    o.sampler.temperature = 0;
    o.grammar = grammar;
    assert_ok(sp_generator_create_over(&g, &source, (const int32_t[]){257}, 1, &o, &err), err);
    do {
        assert_ok(sp_generator_next(g, &step, NULL, NULL, &err), err);
        if (out.n_tokens++ == 0) out.first_logprob = step.sample.logprob;
    } while (step.finish == SP_FINISH_NONE);
    out.finish = step.finish;
    snprintf(out.reasoning, sizeof out.reasoning, "%s", sp_reply_reasoning(sp_generator_reply(g)));
    snprintf(out.content, sizeof out.content, "%s", sp_reply_content(sp_generator_reply(g)));
    sp_generator_destroy(g);
    sp_grammar_destroy(grammar);
    sp_tokens_clear(&ids);
    sp_tokenizer_close(t);
    return out;
}

static void test_replies(void **state)
{
    static const char *const schema = "{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[1,23]}},"
                                      "\"required\":[\"a\"],\"additionalProperties\":false}";
    sp_generate_options o = SP_GENERATE_OPTIONS_DEFAULTS;
    (void)state;
    SKIP_WITHOUT_JSON();
    outcome r = reply(schema, "{\"a\":23}<｜end▁of▁sentence｜>", o); /* as wished */
    assert_int_equal(r.finish, SP_FINISH_END);
    assert_string_equal(r.content, "{\"a\":23}");
    assert_int_equal(r.n_tokens, 9);
    r = reply(schema, "Sure! Here", o); /* what it did not want to say: the lowest allowed id each time */
    assert_int_equal(r.finish, SP_FINISH_END);
    assert_true(strstr(r.content, "\"a\"") != NULL);
    assert_true(r.first_logprob < -4); /* of all tokens: the wish had nearly all of the probability */
    o.max_tokens = 4;
    assert_int_equal(reply(schema, "{\"a\":23}", o).finish, SP_FINISH_LENGTH);
}

static void test_reasoning_is_free(void **state)
{
    sp_generate_options o = SP_GENERATE_OPTIONS_DEFAULTS;
    (void)state;
    SKIP_WITHOUT_JSON();
    o.format = SP_CHAT_R1;
    outcome r = reply(NULL, "so: [x</think>\n\n{\"<think>\":\"<｜\"}<｜end▁of▁sentence｜>", o);
    assert_int_equal(r.finish, SP_FINISH_END);
    assert_string_equal(r.reasoning, "so: [x");
    assert_true(r.content[0] == '{');
    o.think_budget = 3; /* the closing tag and its line breaks are forced */
    r = reply(NULL, "abcdef{}<｜end▁of▁sentence｜>", o);
    assert_string_equal(r.reasoning, "abc");
    assert_string_equal(r.content, "{}");
    assert_int_equal(r.finish, SP_FINISH_END);
    o.think_budget = -1;
    o.format = SP_CHAT_R1_0528; /* here the model opens its reasoning itself, or not */
    r = reply(NULL, "<think>hm</think>{}<｜end▁of▁sentence｜>", o);
    assert_string_equal(r.reasoning, "hm");
    assert_string_equal(r.content, "{}");
    r = reply(NULL, "{}<｜end▁of▁sentence｜>", o);
    assert_string_equal(r.reasoning, "");
    assert_string_equal(r.content, "{}");
    o.chat.think = SP_THINK_OFF;
    r = reply(NULL, "<think>{}<｜end▁of▁sentence｜>", o);
    assert_string_equal(r.reasoning, "");
}

static void test_failed_allocations(void **state)
{
    sp_error err = SP_ERROR_NONE;
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_tokenizer *t = open_tiny_deepseek();
    for (size_t s = 0; s < N_SCHEMAS; s++) {
        bool failed = true;
        for (int64_t n = 0; failed && n < 3000; n++) {
            sp_grammar *grammar = NULL;
            sp_matcher *m = NULL;
            uint64_t *mask;
            bool accepted;
            sp_mem_fail_after(n);
            sp_status status = schemas[s]
                                   ? sp_grammar_json_schema(&grammar, schemas[s], strlen(schemas[s]), &err)
                                   : sp_grammar_json_object(&grammar, &err);
            if (status == SP_OK) status = sp_matcher_create(&m, grammar, t, &err);
            if (status == SP_OK)
                status = sp_matcher_push(m,
                                         s == 4             ? "1"
                                         : s == 2 || s == 3 ? "["
                                                            : "{\"",
                                         s == 4 || s == 2 || s == 3 ? 1 : 2, &accepted, &err);
            if (status == SP_OK) status = sp_matcher_mask(m, &mask, NULL, &err);
            sp_mem_fail_after(-1);
            failed = status != SP_OK;
            if (failed && status != SP_E_NOMEM) fail_msg("%lld: %s", (long long)n, err.text);
            sp_matcher_destroy(m);
            sp_grammar_destroy(grammar);
        }
        assert_false(failed);
    }
    sp_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_object),
        cmocka_unit_test(test_blanks),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_unevaluated),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_items_that_differ),
        cmocka_unit_test(test_dialects),
        cmocka_unit_test(test_lookahead),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_masks_of_the_family),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_reasoning_is_free),
        cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
