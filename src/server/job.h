/* SPDX-License-Identifier: MIT */
/* A job: one reply that the engine thread is to generate, and the queue of its events. The API side (HTTP threads) submits it, takes its
 * events and releases it; the engine side (scheduler.c) adds events. Every function here may be called from any thread. */
#ifndef SP_SERVER_JOB_H
#define SP_SERVER_JOB_H

#include <sputnik/generate.h>
#include <sputnik/grammar.h>

typedef struct sp_job sp_job;

/* What is to be generated. All that it points to is copied, but the grammar, which the job takes over when it has been submitted. */
typedef struct sp_job_request {
    const int32_t *prompt; /* ids, at least one */
    size_t n_prompt;
    sp_generate_options generate;
    sp_grammar *grammar; /* what the content may be; NULL: anything */
    const char
        *owner; /* whose job it is (the API key's id, or the client's address), for fairness; never NULL */
    bool want_tokens; /* SP_EVENT_TOKEN even where the sampler reports no alternatives */
} sp_job_request;

typedef struct sp_job_usage {
    size_t n_prompt, n_cached;   /* of the prompt, how many came from a cache: a multiple of SP_PREFIX_UNIT */
    size_t n_reply, n_reasoning; /* tokens of the reply, of them reasoning */
    double waited_s, prompt_s, reply_s; /* in the queue, reading the prompt, writing the reply */
} sp_job_usage;

typedef enum sp_event_type {
    SP_EVENT_TOKEN, /* one token with its log-probabilities, before its text; only if they were asked for, and neither for the token that
                       ends the reply nor for marks (thinking tags, tool markers) */
    SP_EVENT_TEXT, /* new text of one part: reasoning, content, or the arguments of the newest call; whole characters. What one token
                       brings to a part is one event; where the reader lags far behind, tokens without SP_EVENT_TOKEN share one */
    SP_EVENT_CALL, /* a tool call begins: its name is the text */
    SP_EVENT_DONE, /* the reply is over: finish and usage; nothing follows */
    SP_EVENT_ERROR /* the engine failed: error; nothing follows */
} sp_event_type;

typedef struct sp_event {
    sp_event_type type;
    sp_reply_part part; /* TOKEN, TEXT */
    char *text;         /* TEXT, CALL: NUL-terminated, owned by the event */
    size_t len;
    sp_sample sample; /* TOKEN */
    sp_finish finish; /* DONE */
    sp_job_usage usage;
    sp_error error; /* ERROR */
} sp_event;

void sp_event_clear(sp_event *event);

/* The next event; false if there is none now. */
bool sp_job_take(sp_job *job, sp_event *event);

/* What the job has used so far; after SP_EVENT_DONE: in all. */
void sp_job_get_usage(const sp_job *job, sp_job_usage *usage);

/* The client has gone, or has read everything: the job leaves the engine within one step; it is freed when both sides are done
 * with it. `wake` is not called any more when this returns, so no lock that it takes may be held. Accepts NULL. */
void sp_job_release(sp_job *job);

#endif
