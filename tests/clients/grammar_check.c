/* SPDX-License-Identifier: MIT */
/* Judges texts by schemas, for tests in other languages. Each line of standard input is
 *   {"schema": ..., "texts": ["...", ...]}          "schema" left out: any JSON object
 * and is answered by a line
 *   {"status": "SP_OK", "error": "", "accepted": [true, ...]}
 * where a text is accepted if it is complete and nothing in it is against the grammar. With "samples": N there is a list of
 * N random texts of the grammar besides. */
#include "base/json.h"
#include "base/rng.h"
#include "text/grammar_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool judge(const sp_grammar *grammar, const char *text, size_t len)
{
    sp_matcher *matcher;
    bool accepted = false;
    if (sp_matcher_create(&matcher, grammar, NULL, NULL) != SP_OK) exit(1);
    for (size_t i = 0; i < len; i++) {
        if (sp_matcher_push(matcher, text + i, 1, &accepted, NULL) != SP_OK) exit(1);
        if (!accepted) break;
    }
    accepted = accepted && sp_matcher_is_complete(matcher);
    sp_matcher_destroy(matcher);
    return accepted;
}

#define SAMPLE_MAX 1500
#define SAMPLE_PATIENCE 60 /* bytes after which what closes is preferred */

/* One random byte that the matcher takes, -1: there is none. */
static int draw_byte(sp_matcher *matcher, uint64_t seed, size_t at)
{
    static const char closing[] = "\"}]";
    int first = (int)(sp_rng_uniform(seed, 1, at * 2) * 96) + 32;
    bool close = at > SAMPLE_PATIENCE || sp_rng_uniform(seed, 1, at * 2 + 1) < 0.3, accepted;
    for (int i = close ? -3 : 0; i < 256; i++) {
        char byte = i < 0 ? closing[i + 3] : (char)((first + i) & 255);
        if (sp_matcher_push(matcher, &byte, 1, &accepted, NULL) != SP_OK) exit(1);
        if (accepted) return (unsigned char)byte;
    }
    return -1;
}

/* A random text of the grammar; false if it gets too long. A dead end ends the program. */
static bool draw_sample(const sp_grammar *grammar, uint64_t seed, sp_buf *out)
{
    sp_matcher *matcher;
    if (sp_matcher_create(&matcher, grammar, NULL, NULL) != SP_OK) exit(1);
    size_t at = 0;
    bool done = false;
    for (; !done && at < SAMPLE_MAX; at++) {
        done = sp_matcher_is_complete(matcher) && sp_rng_uniform(seed, 2, at) < 0.5;
        int byte = done ? 0 : draw_byte(matcher, seed, at);
        if (byte < 0 && !sp_matcher_is_complete(matcher)) {
            fprintf(stderr, "grammar_check: a dead end after %.*s\n", (int)out->len,
                    out->data ? out->data : "");
            exit(1);
        }
        done |= byte < 0;
        if (!done) sp_buf_append(out, &(char){(char)byte}, 1, NULL);
    }
    sp_matcher_destroy(matcher);
    return done;
}

static void put_samples(const sp_grammar *grammar, int64_t n, sp_buf *out)
{
    bool some = false;
    sp_buf_puts(out, ", \"samples\": [", NULL);
    for (int64_t i = 0; i < n; i++) {
        sp_buf text = {NULL, 0, 0};
        if (draw_sample(grammar, (uint64_t)i, &text)) {
            if (some) sp_buf_puts(out, ", ", NULL);
            sp_json_put_string(out, text.data ? text.data : "", text.len, NULL);
            some = true;
        }
        sp_buf_clear(&text);
    }
    sp_buf_puts(out, "]", NULL);
}

static void answer(const sp_json *line)
{
    const sp_json *schema = sp_json_get(line, "schema"), *texts = sp_json_get(line, "texts");
    sp_error err = SP_ERROR_NONE;
    sp_grammar *grammar = NULL;
    sp_buf text = {NULL, 0, 0}, out = {NULL, 0, 0};
    sp_status status;
    if (schema) {
        if (sp_json_dump(&text, schema, SP_JSON_COMPACT, NULL) != SP_OK) exit(1);
        status = sp_grammar_json_schema(&grammar, text.data, text.len, &err);
    } else {
        status = sp_grammar_json_object(&grammar, &err);
    }
    sp_buf_printf(&out, NULL, "{\"status\": \"%s\", \"error\": ", sp_status_name(status));
    sp_json_put_string(&out, err.text, strlen(err.text), NULL);
    sp_buf_puts(&out, ", \"accepted\": [", NULL);
    for (size_t i = 0; status == SP_OK && i < sp_json_size(texts); i++) {
        size_t len = 0;
        const char *one = sp_json_string(sp_json_at(texts, i), &len);
        sp_buf_printf(&out, NULL, "%s%s", i ? ", " : "", one && judge(grammar, one, len) ? "true" : "false");
    }
    sp_buf_puts(&out, "]", NULL);
    if (status == SP_OK) put_samples(grammar, sp_json_int(sp_json_get(line, "samples"), 0), &out);
    printf("%s}\n", out.data);
    fflush(stdout);
    sp_grammar_destroy(grammar);
    sp_buf_clear(&text);
    sp_buf_clear(&out);
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        sp_error err = SP_ERROR_NONE;
        sp_json *root;
        if (sp_json_parse(line, (size_t)n, &root, &err) != SP_OK) {
            fprintf(stderr, "grammar_check: %s\n", err.text);
            return 1;
        }
        answer(root);
        sp_json_destroy(root);
    }
    free(line);
    return 0;
}
