/* SPDX-License-Identifier: MIT */
/* A request under way: its jobs, what has been read of them, and the dialect that writes it. The functions that take events and write
 * text know no exchange and no engine, so that tests can hand them events. Start at sp_run_take(). */
#ifndef SP_SERVER_API_RUN_H
#define SP_SERVER_API_RUN_H

#include "server/request.h"
#include "server/server.h"
#include "text/call_scan.h"

typedef struct sp_run sp_run;

/* A call of a tool as the reply made it. */
typedef struct sp_run_call {
    char id[40];
    char *name;
    sp_buf arguments;
} sp_run_call;

typedef struct sp_choice {
    sp_job *job;
    int index;
    bool shares_prompt; /* with the choice before it: its prompt is counted there */
    size_t n_prompt;    /* tokens */
    bool is_started, is_done;
    sp_finish finish;
    sp_job_usage usage;
    sp_buf reasoning, content; /* whole texts; of streams, only what is needed at the end */
    sp_run_call *calls;
    size_t n_calls, calls_cap;
    size_t n_job_calls; /* calls that the job has reported; with one_call only the first is passed on */
    sp_call_scan scan;  /* of the content, where a call of any tool was forced */
    size_t n_passed;    /* bytes of the content, up to the end of what went to that call's arguments */
    sp_sample *samples; /* tokens of the content whose log-probabilities were asked for */
    size_t n_samples, samples_cap;
    size_t n_pending;    /* the last of them whose text has not come yet */
    size_t text_offset;  /* characters before samples[0] */
    bool has_spoken;     /* content has come */
    int block, n_blocks; /* for a dialect's use */
} sp_choice;

/* How the content is to be read when a call was forced. */
typedef enum sp_forced_call {
    SP_FORCED_NONE,
    SP_FORCED_NAMED, /* it is the arguments of run->forced_name */
    SP_FORCED_ANY /* it is {"name": ..., "arguments": ...}, which choice->content keeps until a call has been made of it */
} sp_forced_call;

typedef struct sp_dialect {
    const char *id_prefix, *call_prefix; /* of the ids it makes up */
    const char *object,
        *chunk_object; /* names of a body and of a piece of a stream, where the head has one */
    /* Streams. `begin` once per choice before anything else of it; `text` for new text of a part, `call` when a call begins, whose
     * arguments follow in pieces (`call_text`); `finish` when a choice is over, `end` when all are. */
    sp_status (*begin)(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err);
    sp_status (*text)(sp_run *run, sp_choice *choice, sp_reply_part part, const char *text, size_t len,
                      sp_buf *out, sp_error *err);
    sp_status (*call)(sp_run *run, sp_choice *choice, size_t i, sp_buf *out, sp_error *err);
    sp_status (*call_text)(sp_run *run, sp_choice *choice, size_t i, const char *arguments, size_t len,
                           sp_buf *out, sp_error *err);
    sp_status (*finish)(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err);
    sp_status (*end)(sp_run *run, sp_buf *out, sp_error *err);
    sp_status (*idle)(sp_run *run, sp_buf *out, sp_error *err);
    /* No stream: the whole body. */
    sp_status (*whole)(sp_run *run, sp_buf *out, sp_error *err);
    /* An error as a body, or as an event of a stream that has begun. */
    sp_status (*fail)(bool event, const sp_fault *fault, sp_buf *out, sp_error *err);
} sp_dialect;

extern const sp_dialect sp_dialect_chat, sp_dialect_text, sp_dialect_anthropic;

struct sp_run {
    sp_server *server;
    sp_exchange *exchange; /* NULL in tests */
    const sp_dialect *dialect;
    sp_key_info key;
    char id[80];
    char *model; /* the id that was asked for */
    char *endpoint;
    int64_t created;
    double began;
    sp_buf head; /* what each chunk or body begins with, written once */
    bool stream, include_usage;
    bool thinks; /* replies of this model may hold reasoning */
    bool one_call;
    int64_t n_logprobs; /* -1: none */
    sp_forced_call forced;
    char *forced_name;
    char *stop_string; /* the only one, if there is just one */
    char **echo;       /* text before choice i, or NULL */
    sp_choice *choices;
    size_t n_choices, n_done;
    bool is_started; /* something has been sent */
    bool is_booked;
    sp_fault fault; /* of the engine */
};

/* Zeroed run with n choices; NULL out of memory. */
sp_run *sp_run_create(sp_server *server, sp_exchange *x, const sp_dialect *dialect, const char *model,
                      size_t n_choices);
void sp_run_destroy(sp_run *run); /* releases the jobs; accepts NULL */

/* Take one event of a choice's job and write what it makes to say. */
sp_status sp_run_take(sp_run *run, sp_choice *choice, const sp_event *event, sp_buf *out, sp_error *err);

/* Every choice is over (or run->fault is set): the last words. */
sp_status sp_run_end(sp_run *run, sp_buf *out, sp_error *err);

typedef struct sp_run_usage {
    size_t n_prompt, n_cached, n_reply, n_reasoning;
} sp_run_usage;

sp_run_usage sp_run_usage_of(const sp_run *run);

/* Does the choice end in calls? */
bool sp_choice_calls(const sp_run *run, const sp_choice *choice);

/* --- with the engine (api_serve.c) ---------------------------------------------------------------------- */

/* What a handler needs to begin: who asks. False: it has been answered. */
bool sp_api_admit(sp_server *server, sp_exchange *x, sp_key_info *key);

bool sp_api_check_model(const sp_server *server, const char *model, sp_fault *fault);

/* Refuse in the dialect's form. */
void sp_api_fail(sp_exchange *x, const sp_dialect *dialect, const sp_fault *fault);

/* A fault from an error of the library. */
bool sp_api_fault_of(sp_fault *fault, const char *param, const sp_error *err);

/* Options of a reply: the server's, then the request's. */
bool sp_api_options(const sp_server *server, const sp_request_common *common, sp_generate_options *options,
                    sp_fault *fault);

/* Submit the i-th choice's job; the seed is the request's (or a random one) plus `seed_index`. The grammar is taken over in any case. */
bool sp_api_submit(sp_run *run, size_t i, const sp_tokens *prompt, const sp_generate_options *options,
                   sp_grammar *grammar, sp_fault *fault);

/* Hand the run to its exchange, which destroys it. */
void sp_api_answer(sp_run *run);

/* Answer with a JSON body, or 500 if `status` says that there was no memory for it. */
void sp_api_reply_json(sp_exchange *x, const sp_buf *body, sp_status status);

uint64_t sp_api_random(void);

/* --- prompts (api_prompt.c) ----------------------------------------------------------------------------- */

typedef struct sp_chat_plan {
    sp_tokens prompt;
    sp_generate_options generate; /* format and chat are set; its pointers are the request's */
    sp_forced_call forced;
    const char *forced_name;
    const char *grammar;   /* schema as text; "" for any object; NULL: none */
    bool grammar_fallback; /* any object will do if the schema cannot be honoured */
    const char *grammar_param;
    sp_buf schema; /* owns a schema that was put together */
} sp_chat_plan;

/* The model's prompt for a conversation, and how the reply is to be read. To be cleared in any case. */
bool sp_chat_plan_make(sp_chat_plan *plan, const sp_server *server, const sp_chat_request *request,
                       sp_fault *fault);
void sp_chat_plan_clear(sp_chat_plan *plan);
bool sp_chat_plan_grammar(const sp_chat_plan *plan, sp_grammar **grammar, sp_fault *fault);
bool sp_api_check_length(const sp_server *server, size_t n_prompt, const char *param, sp_fault *fault);
bool sp_format_thinks(sp_chat_format format);

/* Parse is done: plan, submit, answer. */
void sp_api_chat(sp_server *server, sp_exchange *x, const sp_dialect *dialect, const sp_key_info *key,
                 const sp_chat_request *request);

/* --- pieces of JSON ------------------------------------------------------------------------------------- */

sp_status sp_put_text(sp_buf *out, const char *text, sp_error *err); /* as a JSON string; NULL: null */
/* {"error":{"message","type","param","code"}} */
sp_status sp_put_error(sp_buf *out, const sp_fault *fault, sp_error *err);
/* The usage object of OpenAI's form with the vendor's members. */
sp_status sp_put_usage(const sp_run *run, sp_buf *out, sp_error *err);
/* What OpenAI's two dialects share: why a reply ended (a reply that only repeated itself was cut as a too long one is, since they have
 * no word for it); all up to the list of choices; from its end to that of a chunk (`reason` NULL: the choice goes on); and the
 * dialects' end, idle and fail. */
const char *sp_choice_reason(const sp_run *run, const sp_choice *choice);
sp_status sp_put_head(sp_run *run, sp_buf *out, sp_error *err);
sp_status sp_put_chunk_end(const sp_run *run, const char *reason, sp_buf *out, sp_error *err);
sp_status sp_put_stream_end(sp_run *run, sp_buf *out, sp_error *err);
sp_status sp_put_keep_alive(sp_run *run, sp_buf *out, sp_error *err);
sp_status sp_put_fault(bool event, const sp_fault *fault, sp_buf *out, sp_error *err);
/* "logprobs" objects of samples [from, to) of a choice. */
sp_status sp_put_chat_logprobs(const sp_run *run, const sp_choice *choice, size_t from, size_t to,
                               sp_buf *out, sp_error *err);
sp_status sp_put_text_logprobs(const sp_run *run, sp_choice *choice, size_t from, size_t to, sp_buf *out,
                               sp_error *err);

#endif
