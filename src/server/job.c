/* SPDX-License-Identifier: MIT */
/* Jobs: their events, and the choice of their tokens over logits that the engine has evaluated. The engine's side collects what
 * one step brings in `fresh`, without a lock, and publishes it at once. Start at sp_job_write() and sp_job_take(). */
#include "server/scheduler_parts.h"

#include "base/clock.h"
#include "infer/generate_core.h"
#include "infer/session_parts.h"
#include "text/reply.h"

#include <string.h>

/* Events that may wait before text of several tokens shares one. */
#define EVENTS_MANY 64

void sp_event_clear(sp_event *event)
{
    sp_free(event->text);
    event->text = NULL;
}

static void clear_events(sp_job_events *events)
{
    while (events->first) {
        sp_job_event *e = events->first;
        events->first = e->next;
        sp_buf_clear(&e->text);
        sp_free(e);
    }
    *events = (sp_job_events){NULL, NULL, 0};
}

static void append_event(sp_job_events *events, sp_job_event *e)
{
    e->next = NULL;
    *(events->last ? &events->last->next : &events->first) = e;
    events->last = e;
    events->n++;
}

/* Append all of `more`. */
static void join_events(sp_job_events *events, const sp_job_events *more)
{
    if (!more->first) return;
    *(events->last ? &events->last->next : &events->first) = more->first;
    events->last = more->last;
    events->n += more->n;
}

/* --- creation and end ----------------------------------------------------------------------------------- */

/* Logits of the job's slot, if they are those after tokens[0..n), be it that the last was guessed and evaluated ahead. */
static sp_status give_logits(void *ctx, const int32_t *tokens, size_t n, const float **logits, sp_error *err)
{
    sp_job *job = ctx;
    sp_session *session = job->session;
    if (session && session->n + 1 == n && sp_session_foresaw(session, tokens, n))
        SP_TRY(sp_session_sync(session, tokens, n, err));
    *logits = session && session->n == n ? sp_session_logits(session) : NULL;
    job->is_short = *logits == NULL;
    return job->is_short ? sp_fail(err, SP_E_NOT_FOUND, "these tokens are not evaluated yet") : SP_OK;
}

static sp_status check_prompt(const sp_job_request *request, size_t capacity, int32_t vocab_size,
                              sp_error *err)
{
    if (request->n_prompt == 0) return sp_fail(err, SP_E_ARGUMENT, "the prompt is empty");
    if (request->n_prompt > capacity)
        return sp_fail(err, SP_E_ARGUMENT, "the prompt has %zu tokens, the context holds %zu",
                       request->n_prompt, capacity);
    for (size_t i = 0; i < request->n_prompt; i++)
        if (request->prompt[i] < 0 || request->prompt[i] >= vocab_size)
            return sp_fail(err, SP_E_ARGUMENT,
                           "token %zu of the prompt: id %d is outside the vocabulary of %d", i,
                           request->prompt[i], vocab_size);
    return SP_OK;
}

static sp_status fill_job(sp_job *job, const sp_model *model, size_t capacity, const sp_job_request *request,
                          sp_error *err)
{
    sp_generate_source source = {.ctx = job,
                                 .sync = give_logits,
                                 .capacity = capacity,
                                 .vocab_size = sp_model_net(model)->hp->vocab_size,
                                 .tokenizer = sp_model_tokenizer(model)};
    SP_TRY(check_prompt(request, capacity, source.vocab_size, err));
    job->prompt = sp_malloc_array(request->n_prompt, sizeof *job->prompt);
    if (!job->prompt) return sp_fail_nomem(err, "prompt", request->n_prompt * sizeof *job->prompt);
    memcpy(job->prompt, request->prompt, request->n_prompt * sizeof *job->prompt);
    job->n_prompt = job->usage.n_prompt = request->n_prompt;
    job->want_tokens = request->want_tokens || request->generate.sampler.n_logprobs > 0;
    job->speculate = request->generate.speculate;
    job->n_draft = request->generate.n_draft;
    sp_generate_options options = request->generate;
    if (request->grammar) options.grammar = request->grammar;
    return sp_generator_create_over(&job->generator, &source, job->prompt, job->n_prompt, &options, err);
}

static void free_job(sp_job *job)
{
    clear_events(&job->events);
    clear_events(&job->fresh);
    sp_generator_destroy(job->generator);
    sp_grammar_destroy(job->grammar);
    sp_free(job->prompt);
    pthread_cond_destroy(&job->woken);
    pthread_mutex_destroy(&job->mutex);
    sp_free(job);
}

sp_status sp_job_create(sp_job **job, const sp_model *model, size_t capacity, const sp_job_request *request,
                        sp_error *err)
{
    *job = NULL;
    sp_job *j = sp_calloc(1, sizeof *j);
    if (!j) return sp_fail_nomem(err, "job", sizeof *j);
    pthread_mutex_init(&j->mutex, NULL);
    pthread_cond_init(&j->woken, NULL);
    atomic_init(&j->is_released, false);
    j->n_refs = 2;
    sp_status status = fill_job(j, model, capacity, request, err);
    if (status != SP_OK) {
        free_job(j);
        return status;
    }
    j->grammar = request->grammar;
    *job = j;
    return SP_OK;
}

void sp_job_unref(sp_job *job)
{
    pthread_mutex_lock(&job->mutex);
    bool is_last = --job->n_refs == 0;
    pthread_mutex_unlock(&job->mutex);
    if (is_last) free_job(job);
}

void sp_job_leave(sp_job *job)
{
    sp_generator_destroy(job->generator);
    sp_speculator_destroy(job->speculator);
    job->generator = NULL;
    job->speculator = NULL;
    job->session = NULL;
    sp_job_unref(job);
}

/* --- the client's side ---------------------------------------------------------------------------------- */

bool sp_job_take(sp_job *job, sp_event *event)
{
    pthread_mutex_lock(&job->mutex);
    sp_job_event *e = job->events.first;
    bool found = e || job->is_over;
    if (e) {
        job->events.first = e->next;
        if (!e->next) job->events.last = NULL;
        job->events.n--;
        *event = e->event;
        event->text = e->text.data;
        event->len = e->text.len;
    } else if (job->is_over) {
        *event = job->last;
        job->is_over = false;
    }
    pthread_mutex_unlock(&job->mutex);
    sp_free(e);
    return found;
}

void sp_job_get_usage(const sp_job *job, sp_job_usage *usage)
{
    sp_job *j = (sp_job *)(uintptr_t)job; /* for the lock alone */
    pthread_mutex_lock(&j->mutex);
    *usage = j->usage;
    pthread_mutex_unlock(&j->mutex);
}

void sp_job_release(sp_job *job)
{
    if (!job) return;
    pthread_mutex_lock(&job->mutex);
    atomic_store(&job->is_released, true);
    while (job->is_waking) pthread_cond_wait(&job->woken, &job->mutex);
    pthread_mutex_unlock(&job->mutex);
    sp_job_unref(job);
}

/* --- the engine's side ---------------------------------------------------------------------------------- */

void sp_job_fail(sp_job *job, const sp_error *error)
{
    if (job->has_failed) return;
    job->has_failed = true;
    job->error = *error;
}

static sp_job_event *add_event(sp_job *job, sp_event_type type, sp_reply_part part)
{
    sp_job_event *e = sp_calloc(1, sizeof *e);
    if (!e) return NULL;
    e->event.type = type;
    e->event.part = part;
    append_event(&job->fresh, e);
    return e;
}

/* New text of the reply; stretches of one part that follow each other are one event. A call begins without text. */
static int collect_text(void *ctx, sp_reply_part part, const char *text, size_t len)
{
    sp_job *job = ctx;
    sp_job_event *e = job->fresh.last;
    sp_error error = SP_ERROR_NONE;
    if (part == SP_REPLY_TOOL_CALL && len == 0) {
        const sp_tool_call *calls;
        size_t n = sp_reply_tool_calls(sp_generator_reply(job->generator), &calls);
        e = add_event(job, SP_EVENT_CALL, part);
        text = calls[n - 1].name;
        len = strlen(text);
    } else if (!e || e->event.type != SP_EVENT_TEXT || e->event.part != part) {
        e = add_event(job, SP_EVENT_TEXT, part);
    }
    if (!e || sp_buf_append(&e->text, text, len, &error) != SP_OK) {
        sp_fail_nomem(&error, "an event", len);
        sp_job_fail(job, &error);
    }
    return 0;
}

/* The token's event goes before its text, which came while it was chosen. */
static void add_token(sp_job *job, const sp_sample *sample, sp_reply_part part)
{
    sp_job_events texts = job->fresh;
    sp_error error = SP_ERROR_NONE;
    job->fresh = (sp_job_events){NULL, NULL, 0};
    sp_job_event *e = add_event(job, SP_EVENT_TOKEN, part);
    if (e)
        e->event.sample = *sample;
    else
        sp_job_fail(job, (sp_fail_nomem(&error, "an event", sizeof *e), &error));
    join_events(&job->fresh, &texts);
}

static sp_reply_part current_part(const sp_reply *reply)
{
    return reply->state == SP_IN_REASONING ? SP_REPLY_REASONING
           : reply->state == SP_IN_CALLS   ? SP_REPLY_TOOL_CALL
                                           : SP_REPLY_CONTENT;
}

static bool is_mark(const sp_reply *reply, int32_t id)
{
    for (int m = 0; m < SP_MARK_COUNT; m++)
        if (reply->ids[m] == id) return true;
    return false;
}

/* One token, its events in job->fresh. */
static void write_token(sp_job *job)
{
    const sp_reply *reply = sp_generator_reply(job->generator);
    sp_reply_part part = current_part(reply);
    sp_step step;
    sp_error error = SP_ERROR_NONE;
    sp_status status = sp_generator_next(job->generator, &step, collect_text, job, &error);
    if (job->is_short) return;
    if (status != SP_OK) {
        sp_job_fail(job, &error);
        return;
    }
    bool is_token = step.sample.id >= 0;
    job->n_reasoning += is_token && part == SP_REPLY_REASONING;
    if (is_token && job->want_tokens && step.finish != SP_FINISH_END && !is_mark(reply, step.sample.id))
        add_token(job, &step.sample, part);
    job->finish = step.finish;
}

void sp_job_write(sp_job *job)
{
    sp_job_events written = {NULL, NULL, 0}; /* apart, so that no token's text joins the one before it */
    job->is_short = false;
    while (job->finish == SP_FINISH_NONE && !job->has_failed && !job->is_short) {
        write_token(job);
        join_events(&written, &job->fresh);
        job->fresh = (sp_job_events){NULL, NULL, 0};
    }
    job->fresh = written;
}

size_t sp_job_pending(const sp_job *job, size_t first, int32_t *ids, size_t n_most)
{
    size_t n_reply, n = 0;
    const int32_t *reply = sp_generator_tokens(job->generator, &n_reply);
    size_t n_all = job->n_prompt + n_reply;
    for (size_t i = first; i < n_all && n < n_most; i++)
        ids[n++] = i < job->n_prompt ? job->prompt[i] : reply[i - job->n_prompt];
    return n_all - first;
}

/* Text goes on in the last event if the reader lags far behind. */
static bool join_text(sp_job_events *events, const sp_job_event *e)
{
    sp_job_event *last = events->last;
    if (events->n < EVENTS_MANY || e->event.type != SP_EVENT_TEXT) return false;
    if (last->event.type != SP_EVENT_TEXT || last->event.part != e->event.part) return false;
    return sp_buf_append(&last->text, e->text.data, e->text.len, NULL) == SP_OK;
}

static void queue_fresh(sp_job *job)
{
    sp_job_event *next;
    for (sp_job_event *e = job->fresh.first; e; e = next) {
        next = e->next;
        if (!join_text(&job->events, e)) {
            append_event(&job->events, e);
            continue;
        }
        sp_buf_clear(&e->text);
        sp_free(e);
    }
    job->fresh = (sp_job_events){NULL, NULL, 0};
}

/* Bring the usage up to date. */
static void count_usage(sp_job *job)
{
    double now = sp_seconds();
    size_t n_reply = 0;
    if (job->admitted_s > 0) sp_generator_tokens(job->generator, &n_reply);
    job->usage.n_reply = n_reply;
    job->usage.n_reasoning = job->n_reasoning;
    job->usage.waited_s = (job->admitted_s > 0 ? job->admitted_s : now) - job->submitted_s;
    if (job->admitted_s > 0) job->usage.prompt_s = (job->read_s > 0 ? job->read_s : now) - job->admitted_s;
    if (job->read_s > 0) job->usage.reply_s = now - job->read_s;
    job->usage.n_cached = job->n_cached;
}

void sp_job_publish(sp_job *job)
{
    bool ends = job->finish != SP_FINISH_NONE || job->has_failed;
    pthread_mutex_lock(&job->mutex);
    bool must_wake = !job->events.first && (job->fresh.first || ends);
    count_usage(job);
    queue_fresh(job);
    if (ends) {
        job->last = (sp_event){.type = job->has_failed ? SP_EVENT_ERROR : SP_EVENT_DONE,
                               .finish = job->finish,
                               .usage = job->usage,
                               .error = job->error};
        job->is_over = true;
    }
    job->is_waking = must_wake = must_wake && job->wake && !atomic_load(&job->is_released);
    pthread_mutex_unlock(&job->mutex);
    if (!must_wake) return;
    job->wake(job->wake_ctx);
    pthread_mutex_lock(&job->mutex);
    job->is_waking = false;
    pthread_cond_signal(&job->woken);
    pthread_mutex_unlock(&job->mutex);
}
