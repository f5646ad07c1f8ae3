/* SPDX-License-Identifier: MIT */
/* Members that every endpoint that generates has: sampling, stop strings, streaming; and the requests of plain completions and of
 * tokenize and detokenize. */
#include "server/request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void sp_request_common_init(sp_request_common *c)
{
    *c = (sp_request_common){.temperature = NAN,
                             .top_p = NAN,
                             .min_p = NAN,
                             .frequency_penalty = NAN,
                             .presence_penalty = NAN,
                             .repetition_penalty = NAN,
                             .top_k = -1,
                             .max_tokens = -1,
                             .n = -1,
                             .n_logprobs = -1};
}

bool sp_read_seed(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    sp_request_common *c = target;
    if (!sp_intake_expect(reader, value, SP_JSON_INT)) return false;
    c->seed = sp_json_int(value, 0);
    c->has_seed = true;
    return true;
}

bool sp_read_stop(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    sp_request_common *c = target;
    bool one = sp_json_is(value, SP_JSON_STRING);
    size_t n = one ? 1 : sp_json_size(value);
    if (!one && !sp_json_is(value, SP_JSON_ARRAY))
        return sp_intake_fail(reader, 400, "invalid_type", "'%s' must be a string or an array of strings",
                              reader->path);
    if (n > SP_REQUEST_STOPS_MAX)
        return sp_intake_fail(reader, 422, "invalid_value", "'%s' has %zu strings, but at most %d are taken",
                              reader->path, n, SP_REQUEST_STOPS_MAX);
    c->stop = sp_intake_alloc(reader, n, sizeof *c->stop);
    if (!c->stop) return false;
    for (size_t i = 0; i < n; i++) {
        size_t mark = one ? strlen(reader->path) : sp_intake_enter_at(reader, i);
        c->stop[i] = sp_intake_text(reader, one ? value : sp_json_at(value, i));
        if (!c->stop[i]) return false;
        if (!c->stop[i][0])
            return sp_intake_fail(reader, 422, "invalid_value", "'%s' is empty", reader->path);
        sp_intake_leave(reader, mark);
    }
    c->n_stop = n;
    return true;
}

/* {"1234": -100, ...}: token ids as text */
bool sp_read_logit_bias(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    sp_request_common *c = target;
    void *iter = NULL;
    const char *key;
    const sp_json *member;
    if (!sp_intake_expect(reader, value, SP_JSON_OBJECT)) return false;
    c->bias = sp_intake_alloc(reader, sp_json_size(value), sizeof *c->bias);
    if (!c->bias) return false;
    while (sp_json_next(value, &iter, &key, &member)) {
        char *end = NULL;
        size_t mark = sp_intake_enter(reader, key);
        long id = key[0] >= '0' && key[0] <= '9' ? strtol(key, &end, 10) : -1;
        double bias = sp_json_real(member, NAN);
        if (id < 0 || id > INT32_MAX || *end)
            return sp_intake_fail(reader, 400, "invalid_value", "'%s' is no token id", reader->path);
        if (isnan(bias)) return sp_intake_expect(reader, member, SP_JSON_REAL);
        if (bias < -100 || bias > 100)
            return sp_intake_fail(reader, 422, "invalid_value", "'%s' is %g, but must be from -100 to 100",
                                  reader->path, bias);
        c->bias[c->n_bias++] = (sp_logit_bias){(int32_t)id, (float)bias};
        sp_intake_leave(reader, mark);
    }
    return true;
}

bool sp_read_stream_options(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    static const sp_field fields[] = {{"include_usage", sp_read_flag, SP_COMMON(include_usage), 0, 0},
                                      {"include_obfuscation", sp_read_ignored, 0, 0, 0},
                                      {NULL, NULL, 0, 0, 0}};
    (void)field;
    return sp_read_members(reader, value, fields, target);
}

/* --- plain completions ---------------------------------------------------------------------------------- */

static bool read_prompt(sp_intake *reader, const sp_json *value, sp_prompt *prompt)
{
    if (sp_json_is(value, SP_JSON_STRING)) {
        prompt->text = sp_json_string(value, &prompt->len);
        return true;
    }
    if (!sp_json_is(value, SP_JSON_ARRAY))
        return sp_intake_fail(reader, 400, "invalid_type", "'%s' must be a string or an array of token ids",
                              reader->path);
    if (!sp_read_ids(reader, value, &prompt->ids, &prompt->n_ids)) return false;
    if (prompt->n_ids == 0)
        return sp_intake_fail(reader, 400, "invalid_value", "'%s' is empty", reader->path);
    return true;
}

/* A string, an array of ids, or an array of such. */
static bool read_prompts(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    sp_text_request *request = target;
    const sp_json *first = sp_json_is(value, SP_JSON_ARRAY) ? sp_json_at(value, 0) : NULL;
    bool many = sp_json_is(first, SP_JSON_STRING) || sp_json_is(first, SP_JSON_ARRAY);
    size_t n = many ? sp_json_size(value) : 1;
    if (n > SP_REQUEST_PROMPTS_MAX)
        return sp_intake_fail(reader, 422, "invalid_value", "'%s' has %zu prompts, but at most %d are taken",
                              reader->path, n, SP_REQUEST_PROMPTS_MAX);
    request->prompts = sp_intake_alloc(reader, n, sizeof *request->prompts);
    if (!request->prompts) return false;
    for (size_t i = 0; i < n; i++) {
        size_t mark = many ? sp_intake_enter_at(reader, i) : strlen(reader->path);
        if (!read_prompt(reader, many ? sp_json_at(value, i) : value, &request->prompts[i])) return false;
        sp_intake_leave(reader, mark);
    }
    request->n_prompts = n;
    return true;
}

static bool check_text_request(const sp_text_request *request, sp_fault *fault)
{
    int64_t n = request->common.n < 0 ? 1 : request->common.n;
    if (!request->common.model)
        return sp_fault_set(fault, 400, "model", "missing_required_parameter",
                            "the parameter 'model' is missing");
    if (request->n_prompts == 0)
        return sp_fault_set(fault, 400, "prompt", "missing_required_parameter",
                            "the parameter 'prompt' is missing");
    if ((int64_t)request->n_prompts * n > SP_REQUEST_CHOICES_MAX)
        return sp_fault_set(fault, 422, "n", "invalid_value",
                            "%zu prompts and n = %lld make more than %d choices", request->n_prompts,
                            (long long)n, SP_REQUEST_CHOICES_MAX);
    if (request->best_of >= 0 && request->best_of != n)
        return sp_fault_set(fault, 400, "best_of", "unsupported_value",
                            "'best_of' other than 'n' is not supported");
    for (size_t i = 0; request->suffix && i < request->n_prompts; i++)
        if (!request->prompts[i].text)
            return sp_fault_set(fault, 400, "suffix", "unsupported_value",
                                "'suffix' needs a prompt that is text");
    return true;
}

bool sp_text_request_parse(sp_text_request *request, const char *body, size_t len, sp_fault *fault)
{
    static const sp_field fields[] = {
        SP_COMMON_FIELDS,
        {"prompt", read_prompts, 0, 0, 0},
        {"suffix", sp_read_text, offsetof(sp_text_request, suffix), 0, 0},
        {"echo", sp_read_flag, offsetof(sp_text_request, echo), 0, 0},
        {"best_of", sp_read_integer, offsetof(sp_text_request, best_of), 1, 1e9},
        {"logprobs", sp_read_integer, SP_COMMON(n_logprobs), 0, SP_MAX_LOGPROBS},
        {NULL, NULL, 0, 0, 0}};
    *request = (sp_text_request){.best_of = -1};
    sp_request_common_init(&request->common);
    request->arena = sp_arena_create(1 << 12);
    if (!request->arena) return sp_fault_nomem(fault);
    if (!sp_request_open(&request->root, body, len, fault)) return false;
    sp_intake reader = {request->arena, fault, ""};
    return sp_read_members(&reader, request->root, fields, request) && check_text_request(request, fault);
}

void sp_text_request_clear(sp_text_request *request)
{
    sp_json_destroy(request->root);
    sp_arena_destroy(request->arena);
    *request = (sp_text_request){.best_of = -1};
}

/* --- tokens --------------------------------------------------------------------------------------------- */

static bool read_tokens(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    sp_tokenize_request *request = target;
    return sp_read_ids(reader, value, &request->tokens, &request->n_tokens);
}

static bool parse_tokens(sp_tokenize_request *request, const char *body, size_t len, const sp_field *fields,
                         sp_fault *fault)
{
    *request = (sp_tokenize_request){0};
    request->arena = sp_arena_create(1 << 12);
    if (!request->arena) return sp_fault_nomem(fault);
    if (!sp_request_open(&request->root, body, len, fault)) return false;
    sp_intake reader = {request->arena, fault, ""};
    return sp_read_members(&reader, request->root, fields, request);
}

bool sp_tokenize_request_parse(sp_tokenize_request *request, const char *body, size_t len, sp_fault *fault)
{
    static const sp_field fields[] = {
        {"model", sp_read_ignored, 0, 0, 0},
        {"content", sp_read_text, offsetof(sp_tokenize_request, content), 0, 0},
        {"add_special", sp_read_flag, offsetof(sp_tokenize_request, add_special), 0, 0},
        {"parse_special", sp_read_flag, offsetof(sp_tokenize_request, parse_special), 0, 0},
        {"with_pieces", sp_read_flag, offsetof(sp_tokenize_request, with_pieces), 0, 0},
        {NULL, NULL, 0, 0, 0}};
    if (!parse_tokens(request, body, len, fields, fault)) return false;
    return request->content ? true
                            : sp_fault_set(fault, 400, "content", "missing_required_parameter",
                                           "the parameter 'content' is missing");
}

bool sp_detokenize_request_parse(sp_tokenize_request *request, const char *body, size_t len, sp_fault *fault)
{
    static const sp_field fields[] = {
        {"model", sp_read_ignored, 0, 0, 0}, {"tokens", read_tokens, 0, 0, 0}, {NULL, NULL, 0, 0, 0}};
    if (!parse_tokens(request, body, len, fields, fault)) return false;
    return request->tokens ? true
                           : sp_fault_set(fault, 400, "tokens", "missing_required_parameter",
                                          "the parameter 'tokens' is missing");
}

void sp_tokenize_request_clear(sp_tokenize_request *request)
{
    sp_json_destroy(request->root);
    sp_arena_destroy(request->arena);
    *request = (sp_tokenize_request){0};
}
