/* SPDX-License-Identifier: MIT */
/* Many questions to one model: greedy replies in its own conversation format, several sessions side by side, each with one
 * thread. A reply depends on its question alone, so the number of threads changes nothing but the time. Grading is the
 * caller's. Start at sp_eval_answer(). */
#ifndef SP_EVAL_ANSWER_H
#define SP_EVAL_ANSWER_H

#include <sputnik/sputnik.h>

/* A conversation up to the user's last message. Strings and list stay the caller's. */
typedef struct sp_eval_question {
    const sp_message *messages;
    size_t n_messages;
} sp_eval_question;

typedef struct sp_eval_reply {
    const char *reasoning, *content; /* valid during the call; content is "" if the reply never got there */
    size_t n_prompt, n_reasoning, n_tokens; /* tokens: of the prompt, of the reasoning, of the whole reply */
    double seconds;                         /* of the reply, prompt included */
    sp_finish finish;
    size_t n_drafts, n_accepted; /* guesses of the prediction layer, and those that the next token met */
} sp_eval_reply;

typedef struct sp_eval_options {
    int n_threads;      /* sessions at work; 0: one per processor */
    int64_t max_tokens; /* of a reply; -1: until the context is full */
    int32_t n_ctx;      /* 0: as trained */
    sp_think think;
    bool drafts; /* measure how often speculation one token ahead would be right; needs a prediction layer */
    /* Called once per question, in any order, from any thread but never twice at once. A non-zero return stops:
     * sp_eval_answer returns SP_E_CANCELLED. */
    int (*done)(void *ctx, size_t i, const sp_eval_reply *reply);
    void *ctx;
} sp_eval_options;

/* Errors: SP_E_UNSUPPORTED (no vocabulary or no conversation format), SP_E_LIMIT (a prompt longer than the context),
 * SP_E_CANCELLED, SP_E_NOMEM. The first error ends the run; it is prefixed with "question N". */
sp_status sp_eval_answer(const sp_model *model, const sp_eval_question *questions, size_t n,
                         const sp_eval_options *options, sp_error *err);

/* 95 % Wilson interval of a share k of n (Wilson 1927): 0 and 1 for n = 0. */
void sp_eval_interval(size_t k, size_t n, double *low, double *high);

#endif
