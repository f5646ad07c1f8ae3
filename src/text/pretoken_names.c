/* SPDX-License-Identifier: MIT */
/* The pre-tokenizers that are known by name: the names that GGUF files carry in tokenizer.ggml.pre, their
 * aliases, and the published patterns, in the publishers' own notation (see pretoken.h).
 * Sources: the tokenizer.json files of DeepSeek LLM, Coder and V3, of Qwen2 and of Llama 3; GPT-2's encoder.
 */
#include "text/pretoken_parts.h"

#include <string.h>

/* Cased letters of Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee, Deseret, ... as DeepSeek LLM's
 * tokenizer.json lists them (inside of a class). */
#define LETTERS                                                                                              \
    "\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"                \
    "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}"                    \
    "\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}"                           \
    "\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}"            \
    "\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}"                           \
    "\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}"                           \
    "\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}"                   \
    "\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}"                  \
    "\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}"                           \
    "\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}"                   \
    "\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}"                             \
    "\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}"                   \
    "\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}"                            \
    "\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}"                           \
    "\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}"                           \
    "\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}"                     \
    "\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"

/* Han, and what the publishers' ranges take with it (U+0800-4E00, Hangul syllables and Jamo extensions). */
#define CJK_WIDE "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SIGNS_AND_SPACE " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const char sp_pretok_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum { PATTERNS_MAX = 6 };

typedef struct named_rules {
    const char *name;
    const char *patterns[PATTERNS_MAX];
} named_rules;

static const named_rules named[] = {
    {"deepseek-llm",
     {"[\\r\\n]", "\\s?[A-Za-z" LETTERS "]+",
      "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+", "\\s+$",
      CJK_WIDE, "\\p{N}"}},
    {"deepseek-coder", {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK_WIDE, "\\p{N}"}},
    {"deepseek-v3",
     {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
      "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {"qwen2", {CONTRACTIONS "|" WORDS "|\\p{N}|" SIGNS_AND_SPACE}},
    {"llama-bpe", {CONTRACTIONS "|" WORDS "|\\p{N}{1,3}|" SIGNS_AND_SPACE}},
    {"gpt-2", {sp_pretok_gpt2}},
};

static const struct {
    const char *alias, *name;
} aliases[] = {
    {"deepseek-r1-qwen", "qwen2"}, {"llama3", "llama-bpe"}, {"llama-v3", "llama-bpe"}, {"gpt2", "gpt-2"},
    {"default", "gpt-2"},
};

const char *sp_pretok_canonical(const char *name)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(name, aliases[i].alias) == 0) return aliases[i].name;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strcmp(name, named[i].name) == 0) return named[i].name;
    return NULL;
}

static sp_status add_named(sp_pretok_rules *rules, const named_rules *entry, sp_error *err)
{
    for (int k = 0; k < PATTERNS_MAX && entry->patterns[k]; k++)
        SP_TRY(sp_pretok_rules_add(rules, entry->patterns[k], strlen(entry->patterns[k]), err));
    return SP_OK;
}

sp_status sp_pretok_rules_named(sp_pretok_rules *rules, const char *name, sp_error *err)
{
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strcmp(name, named[i].name) == 0) return add_named(rules, &named[i], err);
    return sp_fail(err, SP_E_UNSUPPORTED, "tokenizer: pre-tokenizer \"%s\" is unknown", name);
}

const char *sp_pretok_published(const char *name, size_t i)
{
    const char *canonical = sp_pretok_canonical(name);
    for (size_t k = 0; canonical && i < PATTERNS_MAX && k < sizeof named / sizeof *named; k++)
        if (strcmp(canonical, named[k].name) == 0) return named[k].patterns[i];
    return NULL;
}

static bool same_rules(const sp_pretok_rules *a, const sp_pretok_rules *b)
{
    if (a->n != b->n) return false;
    for (int i = 0; i < a->n; i++) {
        const sp_buf *x = &a->patterns[i], *y = &b->patterns[i];
        if (x->len != y->len || memcmp(x->data, y->data, x->len) != 0) return false;
    }
    return true;
}

sp_status sp_pretok_rules_identify(const sp_pretok_rules *rules, const char **name, sp_error *err)
{
    *name = NULL;
    for (size_t i = 0; i < sizeof named / sizeof *named && !*name; i++) {
        sp_pretok_rules candidate = {.n = 0};
        sp_status status = add_named(&candidate, &named[i], err);
        if (status == SP_OK && same_rules(rules, &candidate)) *name = named[i].name;
        sp_pretok_rules_clear(&candidate);
        if (status != SP_OK) return status;
    }
    return SP_OK;
}
