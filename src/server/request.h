/* SPDX-License-Identifier: MIT */
/* Requests of the API as plain structs, read strictly from JSON: every member is known or named in a fault, every value has its type and
 * range. Nothing here knows HTTP or the model. A request's strings live in its arena and its JSON document; start at
 * sp_chat_request_parse(). */
#ifndef SP_SERVER_REQUEST_H
#define SP_SERVER_REQUEST_H

#include "base/json.h"

#include <sputnik/generate.h>

#define SP_REQUEST_STOPS_MAX 16
#define SP_REQUEST_TOOLS_MAX 128
#define SP_REQUEST_CHOICES_MAX 32

/* Why a request is refused: HTTP status, the parameter and a code for programs ("" where there is none), a sentence for people. */
typedef struct sp_fault {
    int status; /* 0: none */
    char param[96];
    char code[48];
    char text[SP_ERROR_TEXT_CAP];
} sp_fault;

/* Fill the fault, unless it is filled already; returns false, so that a failing function is one line. */
bool sp_fault_set(sp_fault *fault, int status, const char *param, const char *code, const char *fmt, ...)
    SP_PRINTF(5, 6);
bool sp_fault_nomem(sp_fault *fault);

/* --- reading members ------------------------------------------------------------------------------------ */

/* Where the reader stands in the document, for the names in faults. */
typedef struct sp_intake {
    sp_arena *arena;
    sp_fault *fault;
    char path[96]; /* "messages[2].content" */
} sp_intake;

typedef struct sp_field sp_field;
struct sp_field {
    const char *name;
    /* Read a value that is not null into the struct. */
    bool (*read)(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);
    size_t offset;   /* of what the readers below fill */
    double min, max; /* of numbers */
};

/* Read every member of an object by its field; the table ends with a NULL name. A member that is null counts as absent. Faults: not an
 * object, an unknown member (400), what the field's reader says. */
bool sp_read_members(sp_intake *reader, const sp_json *object, const sp_field *fields, void *target);

/* Step into a member or element for the time of a call: `mark` gets what sp_intake_leave needs. */
size_t sp_intake_enter(sp_intake *reader, const char *name);
size_t sp_intake_enter_at(sp_intake *reader, size_t i);
void sp_intake_leave(sp_intake *reader, size_t mark);

/* A fault at the place where the reader stands. */
bool sp_intake_fail(sp_intake *reader, int status, const char *code, const char *fmt, ...) SP_PRINTF(4, 5);
bool sp_intake_expect(sp_intake *reader, const sp_json *value,
                      sp_json_type type);                            /* 400 if it is of another type */
void *sp_intake_alloc(sp_intake *reader, size_t count, size_t size); /* zeroed; NULL with a fault */
/* Text without NUL bytes, borrowed from the document; NULL with a fault. */
const char *sp_intake_text(sp_intake *reader, const sp_json *value);

/* Readers for tables: double, int64_t, bool, const char *; and for what is accepted and has no effect. */
bool sp_read_number(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);
bool sp_read_integer(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);
bool sp_read_flag(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);
bool sp_read_text(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);
bool sp_read_ignored(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);

/* JSON text of a value, reals in the shortest form that reads back the same; in the arena. NULL with a fault. */
const char *sp_intake_dump(sp_intake *reader, const sp_json *value);

/* Parse a body: one JSON object, nested at most SP_RAWJSON_MAX_DEPTH deep, UTF-8. */
bool sp_request_open(sp_json **root, const char *body, size_t len, sp_fault *fault);

/* --- what all endpoints that generate share ------------------------------------------------------------- */

typedef struct sp_request_common {
    const char *model;
    double temperature, top_p, min_p, frequency_penalty, presence_penalty,
        repetition_penalty;                   /* NAN: not given */
    int64_t top_k, max_tokens, n, n_logprobs; /* -1: not given */
    bool has_seed;
    int64_t seed;
    sp_logit_bias *bias;
    size_t n_bias;
    const char **stop;
    size_t n_stop;
    bool stream, include_usage;
} sp_request_common;

void sp_request_common_init(sp_request_common *common);

/* Custom readers of common fields; `target` is a struct that begins with sp_request_common. */
bool sp_read_seed(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);
bool sp_read_stop(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);
bool sp_read_logit_bias(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);
bool sp_read_stream_options(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);

#define SP_COMMON(member) offsetof(sp_request_common, member)

/* Rows for tables of requests that begin with sp_request_common. */
#define SP_COMMON_FIELDS                                                                                     \
    {"model", sp_read_text, SP_COMMON(model), 0, 0},                                                         \
        {"temperature", sp_read_number, SP_COMMON(temperature), 0, 2},                                       \
        {"top_p", sp_read_number, SP_COMMON(top_p), 0, 1},                                                   \
        {"min_p", sp_read_number, SP_COMMON(min_p), 0, 0.999999},                                            \
        {"top_k", sp_read_integer, SP_COMMON(top_k), 0, 2147483647},                                         \
        {"frequency_penalty", sp_read_number, SP_COMMON(frequency_penalty), -2, 2},                          \
        {"presence_penalty", sp_read_number, SP_COMMON(presence_penalty), -2, 2},                            \
        {"repetition_penalty", sp_read_number, SP_COMMON(repetition_penalty), 0.01, 100},                    \
        {"repeat_penalty", sp_read_number, SP_COMMON(repetition_penalty), 0.01, 100},                        \
        {"max_tokens", sp_read_integer, SP_COMMON(max_tokens), 1, 2147483647},                               \
        {"n", sp_read_integer, SP_COMMON(n), 1, SP_REQUEST_CHOICES_MAX}, {"seed", sp_read_seed, 0, 0, 0},    \
        {"stop", sp_read_stop, 0, 0, 0}, {"logit_bias", sp_read_logit_bias, 0, 0, 0},                        \
        {"stream", sp_read_flag, SP_COMMON(stream), 0, 0},                                                   \
        {"stream_options", sp_read_stream_options, 0, 0, 0},                                                 \
    {                                                                                                        \
        "user", sp_read_ignored, 0, 0, 0                                                                     \
    }

/* --- conversations -------------------------------------------------------------------------------------- */

typedef struct sp_request_tool {
    const char *name;
    const char *parameters; /* JSON Schema as text; NULL: none given */
    bool strict;
} sp_request_tool;

typedef enum sp_tool_choice {
    SP_TOOL_CHOICE_AUTO,
    SP_TOOL_CHOICE_NONE,
    SP_TOOL_CHOICE_REQUIRED,
    SP_TOOL_CHOICE_NAMED
} sp_tool_choice;

typedef enum sp_response_format {
    SP_RESPONSE_TEXT,
    SP_RESPONSE_JSON_OBJECT,
    SP_RESPONSE_JSON_SCHEMA
} sp_response_format;

/* One message; `reasoning` of the message is what the client sent and is for the policy to judge. */
typedef struct sp_chat_request {
    sp_request_common common;
    sp_message *messages;
    size_t n_messages;
    bool prefix;        /* the last message is the beginning of the reply */
    const char *system; /* Anthropic's, on its way into the messages */
    const char *tools;  /* JSON as sp_chat_options wants it; NULL: none */
    sp_request_tool *tool;
    size_t n_tools;
    sp_tool_choice tool_choice;
    const char *tool_name; /* NAMED */
    bool one_call;         /* parallel_tool_calls: false */
    sp_response_format response_format;
    const char *schema; /* JSON_SCHEMA */
    sp_think think;
    int64_t think_budget;    /* -1: no limit; -2: not given */
    const char *think_param; /* which member asked for thinking; NULL: none */
    bool logprobs;
    int64_t top_logprobs; /* -1: not given */

    sp_json *root;
    sp_arena *arena;
} sp_chat_request;

/* False with a fault. To be cleared in any case. */
bool sp_chat_request_parse(sp_chat_request *request, const char *body, size_t len, sp_fault *fault);
void sp_chat_request_clear(sp_chat_request *request);

/* The same from Anthropic's dialect. With `count_only` max_tokens need not be there. */
bool sp_anthropic_request_parse(sp_chat_request *request, const char *body, size_t len, bool count_only,
                                sp_fault *fault);

/* Checks that need the whole conversation: tools named that exist, prefix last, and so on. */
bool sp_chat_request_check(const sp_chat_request *request, sp_fault *fault);

/* Parts that both dialects fill. */
bool sp_chat_request_set_effort(sp_intake *reader, sp_chat_request *request, const sp_json *value);
bool sp_read_thinking(sp_intake *reader, const sp_field *field, const sp_json *value, void *target);
const char *sp_read_parts(sp_intake *reader,
                          const sp_json *value); /* text or [{"type":"text","text"}]; NULL with a fault */

/* --- plain completions ---------------------------------------------------------------------------------- */

typedef struct sp_prompt {
    const char *text; /* NULL: ids */
    size_t len;
    int32_t *ids;
    size_t n_ids;
} sp_prompt;

#define SP_REQUEST_PROMPTS_MAX 32

typedef struct sp_text_request {
    sp_request_common common;
    sp_prompt *prompts;
    size_t n_prompts;
    const char *suffix;
    bool echo;
    int64_t best_of; /* -1: not given */

    sp_json *root;
    sp_arena *arena;
} sp_text_request;

bool sp_text_request_parse(sp_text_request *request, const char *body, size_t len, sp_fault *fault);
void sp_text_request_clear(sp_text_request *request);

/* --- tokens --------------------------------------------------------------------------------------------- */

typedef struct sp_tokenize_request {
    const char *content;
    bool add_special, parse_special, with_pieces;
    int32_t *tokens;
    size_t n_tokens;

    sp_json *root;
    sp_arena *arena;
} sp_tokenize_request;

bool sp_tokenize_request_parse(sp_tokenize_request *request, const char *body, size_t len, sp_fault *fault);
bool sp_detokenize_request_parse(sp_tokenize_request *request, const char *body, size_t len, sp_fault *fault);
void sp_tokenize_request_clear(sp_tokenize_request *request);

/* Ids from a JSON array, each 0 or more. */
bool sp_read_ids(sp_intake *reader, const sp_json *value, int32_t **ids, size_t *n);

#endif
