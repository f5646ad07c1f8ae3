/* SPDX-License-Identifier: MIT */
/* Questions are taken from a shared counter by the threads of a pool, each with its own session. Invariant: results are handed
 * over under one lock, and none after an error. */
#include "eval/answer.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "tensor/kernels.h"

typedef struct job {
    const sp_model *model;
    const sp_eval_question *questions;
    const sp_eval_options *options;
    sp_session **sessions; /* one per thread */
    pthread_mutex_t lock;  /* over done() and the error */
    atomic_bool stopped;
    sp_status status;
    sp_error err;
} job;

static void stop_job(job *j, sp_status status, const sp_error *err)
{
    pthread_mutex_lock(&j->lock);
    if (j->status == SP_OK) {
        j->status = status;
        j->err = *err;
    }
    atomic_store(&j->stopped, true);
    pthread_mutex_unlock(&j->lock);
}

/* The prediction layer's likeliest token after `next`, which the session has not seen yet. */
static sp_status draft(sp_session *session, int32_t next, int32_t n_vocab, int32_t *guess, sp_error *err)
{
    const float *logits;
    SP_TRY(sp_session_predict_next2(session, next, &logits, err));
    *guess = (int32_t)sp_find_largest(logits, n_vocab);
    return SP_OK;
}

/* Compare the last guess with the token that came, and make the next one. */
static sp_status follow_drafts(sp_session *session, int32_t id, int32_t n_vocab, int32_t *guess,
                               sp_eval_reply *reply, sp_error *err)
{
    if (*guess >= 0) {
        reply->n_drafts++;
        reply->n_accepted += *guess == id;
    }
    return draft(session, id, n_vocab, guess, err);
}

/* Run the generator to its end; counts go to *reply. */
static sp_status generate(sp_generator *generator, sp_session *session, sp_eval_reply *reply, const job *j,
                          sp_error *err)
{
    int32_t guess = -1;
    sp_model_info info;
    sp_model_get_info(j->model, &info);
    sp_step step = {.finish = SP_FINISH_NONE};
    const sp_reply *text = sp_generator_reply(generator);
    while (step.finish == SP_FINISH_NONE) {
        if (atomic_load(&j->stopped)) return sp_fail(err, SP_E_CANCELLED, "stopped");
        bool is_thinking = sp_reply_is_thinking(text);
        SP_TRY(sp_generator_next(generator, &step, NULL, NULL, err));
        if (step.sample.id < 0) continue;
        reply->n_tokens++;
        reply->n_reasoning += is_thinking && sp_reply_is_thinking(text);
        if (j->options->drafts)
            SP_TRY(follow_drafts(session, step.sample.id, info.vocab_size, &guess, reply, err));
    }
    reply->finish = step.finish;
    reply->reasoning = sp_reply_reasoning(text);
    reply->content = sp_reply_content(text);
    if (!reply->reasoning) reply->reasoning = "";
    if (!reply->content) reply->content = "";
    return SP_OK;
}

static sp_status hand_over(job *j, size_t i, const sp_eval_reply *reply, sp_error *err)
{
    sp_status status = SP_OK;
    pthread_mutex_lock(&j->lock);
    if (j->status == SP_OK && j->options->done && j->options->done(j->options->ctx, i, reply))
        status = sp_fail(err, SP_E_CANCELLED, "cancelled");
    pthread_mutex_unlock(&j->lock);
    return status;
}

static sp_status answer_one(job *j, size_t i, sp_session *session, sp_error *err)
{
    const sp_eval_question *q = &j->questions[i];
    sp_chat_format format = sp_model_chat_format(j->model);
    sp_generate_options options = SP_GENERATE_OPTIONS_DEFAULTS;
    sp_generator *generator = NULL;
    sp_tokens prompt = {NULL, 0, 0};
    sp_eval_reply reply;
    sp_status status;
    double start = sp_seconds();
    memset(&reply, 0, sizeof reply);
    options.sampler.temperature = 0;
    options.max_tokens = j->options->max_tokens;
    options.format = format;
    options.chat.think = j->options->think;
    SP_GOTO(done, status,
            sp_chat_render(format, sp_model_tokenizer(j->model), &prompt, q->messages, q->n_messages,
                           &options.chat, err));
    options.chat = sp_chat_reply_options(format, q->messages, q->n_messages, &options.chat);
    SP_GOTO(done, status, sp_generator_create(&generator, session, prompt.ids, prompt.n, &options, err));
    SP_GOTO(done, status, generate(generator, session, &reply, j, err));
    reply.n_prompt = prompt.n;
    reply.seconds = sp_seconds() - start;
    status = hand_over(j, i, &reply, err);
done:
    sp_generator_destroy(generator);
    sp_tokens_clear(&prompt);
    return status;
}

static void answer_range(void *ctx, size_t begin, size_t end, int thread)
{
    job *j = ctx;
    for (size_t i = begin; i < end && !atomic_load(&j->stopped); i++) {
        sp_error err = SP_ERROR_NONE;
        sp_status status = answer_one(j, i, j->sessions[thread], &err);
        if (status == SP_OK) continue;
        if (status != SP_E_CANCELLED) sp_fail_prefix(&err, status, "question %zu", i + 1);
        stop_job(j, status, &err);
    }
}

sp_status sp_eval_answer(const sp_model *model, const sp_eval_question *questions, size_t n,
                         const sp_eval_options *options, sp_error *err)
{
    job j = {.model = model, .questions = questions, .options = options, .err = SP_ERROR_NONE};
    sp_session_options session = SP_SESSION_OPTIONS_DEFAULTS;
    sp_pool *pool = NULL;
    int n_sessions = 0;
    if (!sp_model_tokenizer(model)) return sp_fail(err, SP_E_UNSUPPORTED, "the model has no vocabulary");
    if (sp_model_chat_format(model) == SP_CHAT_NONE)
        return sp_fail(err, SP_E_UNSUPPORTED, "the model has no conversation format");
    if (pthread_mutex_init(&j.lock, NULL) != 0) return sp_fail_nomem(err, "lock", sizeof j.lock);
    SP_GOTO(done, j.status, sp_pool_create(&pool, options->n_threads, &j.err));
    int n_threads = sp_pool_threads(pool);
    j.sessions = sp_calloc((size_t)n_threads, sizeof(sp_session *));
    if (!j.sessions) {
        j.status = sp_fail_nomem(&j.err, "sessions", (uint64_t)n_threads * sizeof(sp_session *));
        goto done;
    }
    session.n_threads = 1;
    session.n_ctx = options->n_ctx;
    for (; n_sessions < n_threads; n_sessions++)
        SP_GOTO(done, j.status, sp_session_create(&j.sessions[n_sessions], model, &session, &j.err));
    sp_pool_run(pool, n, 1, answer_range, &j);
done:
    for (int i = 0; i < n_sessions; i++) sp_session_destroy(j.sessions[i]);
    sp_free(j.sessions);
    sp_pool_destroy(pool);
    pthread_mutex_destroy(&j.lock);
    if (j.status != SP_OK && err) *err = j.err;
    return j.status;
}

void sp_eval_interval(size_t k, size_t n, double *low, double *high)
{
    const double z = 1.959963984540054; /* the normal distribution's 97.5 % point */
    double count = (double)n, p = n ? (double)k / count : 0.5, z2 = z * z;
    *low = 0;
    *high = 1;
    if (n == 0) return;
    double middle = (p + z2 / (2 * count)) / (1 + z2 / count);
    double half = z / (1 + z2 / count) * sqrt(p * (1 - p) / count + z2 / (4 * count * count));
    if (k > 0) *low = fmax(0, middle - half);
    if (k < n) *high = fmin(1, middle + half);
}
