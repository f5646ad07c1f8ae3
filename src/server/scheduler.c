/* SPDX-License-Identifier: MIT */
/* The scheduler's life and what other threads ask of it. The engine thread's own work is in scheduler_queue.c (who comes next) and
 * scheduler_step.c (a pass). Start at run_engine(). */
#include "server/scheduler_parts.h"

#include "base/clock.h"
#include "infer/session_parts.h"

#include <string.h>

#define SLOTS_MAX SP_SESSION_BATCH_MAX

/* --- the engine thread ---------------------------------------------------------------------------------- */

/* End all that is there as cancelled. */
static void cut_off(sp_scheduler *s)
{
    for (int32_t i = 0; i < s->options.n_slots; i++) {
        sp_slot *slot = &s->slots[i];
        if (!slot->job) continue;
        slot->job->finish = SP_FINISH_CANCELLED;
        sp_scheduler_vacate(s, slot);
    }
    for (;;) {
        pthread_mutex_lock(&s->mutex);
        sp_job *job = s->first;
        if (job) sp_scheduler_unqueue(s, NULL, job);
        pthread_mutex_unlock(&s->mutex);
        if (!job) return;
        job->finish = SP_FINISH_CANCELLED;
        sp_scheduler_retire(s, job);
    }
}

/* Sleep while there is nothing to do. False: it is time to end. */
static bool await_work(sp_scheduler *s)
{
    pthread_mutex_lock(&s->mutex);
    while (!s->is_ending && !s->first && s->stats.n_running == 0) pthread_cond_wait(&s->work, &s->mutex);
    bool is_idle = !s->first && s->stats.n_running == 0;
    bool goes_on = !s->is_ending || (!is_idle && sp_seconds() < s->end_s);
    pthread_mutex_unlock(&s->mutex);
    return goes_on;
}

static void *run_engine(void *ctx)
{
    sp_scheduler *s = ctx;
    while (await_work(s)) {
        double start = sp_seconds();
        sp_scheduler_admit(s);
        sp_scheduler_step(s);
        pthread_mutex_lock(&s->mutex);
        s->stats.busy_s += sp_seconds() - start;
        if (s->options.prefixes) sp_prefix_cache_get_stats(s->options.prefixes, &s->stats.prefixes);
        pthread_mutex_unlock(&s->mutex);
    }
    cut_off(s);
    return NULL;
}

/* --- creation and end ----------------------------------------------------------------------------------- */

static sp_status check_options(sp_scheduler_options *o, sp_error *err)
{
    if (o->n_slots == 0) o->n_slots = SP_SCHEDULER_SLOTS_DEFAULT;
    if (o->n_queue == 0) o->n_queue = SP_SCHEDULER_QUEUE_DEFAULT;
    if (o->prompt_chunk == 0) o->prompt_chunk = SP_SCHEDULER_CHUNK_DEFAULT;
    if (o->n_slots < 1 || o->n_slots > SLOTS_MAX)
        return sp_fail(err, SP_E_ARGUMENT, "scheduler: n_slots: %d is not from 1 to %d", o->n_slots,
                       SLOTS_MAX);
    if (o->n_queue < 1 || o->n_queue > 1 << 20)
        return sp_fail(err, SP_E_ARGUMENT, "scheduler: n_queue: %d is out of range", o->n_queue);
    if (o->prompt_chunk < 1 || o->prompt_chunk > 1 << 16)
        return sp_fail(err, SP_E_ARGUMENT, "scheduler: prompt_chunk: %d is out of range", o->prompt_chunk);
    return SP_OK;
}

static sp_status fill_scheduler(sp_scheduler *s, sp_error *err)
{
    const sp_scheduler_options *o = &s->options;
    sp_session_options session = SP_SESSION_OPTIONS_DEFAULTS;
    session.n_ctx = o->n_ctx;
    session.n_threads = o->n_threads;
    session.cache_type = o->cache_type;
    s->n_rows = (size_t)o->prompt_chunk > SP_SESSION_BATCH_DEFAULT ? (size_t)o->prompt_chunk
                                                                   : SP_SESSION_BATCH_DEFAULT;
    s->n_rows += (size_t)o->n_slots;
    s->tokens = sp_malloc_array(s->n_rows, sizeof *s->tokens);
    s->slots = sp_calloc((size_t)o->n_slots, sizeof *s->slots);
    if (!s->tokens || !s->slots) return sp_fail_nomem(err, "scheduler", s->n_rows * sizeof *s->tokens);
    SP_TRY(sp_session_create(&s->slots[0].session, s->model, &session, err));
    s->capacity = sp_session_capacity(s->slots[0].session);
    return SP_OK;
}

static void free_scheduler(sp_scheduler *s)
{
    for (int32_t i = s->options.n_slots; s->slots && i-- > 0;) sp_session_destroy(s->slots[i].session);
    sp_free(s->slots);
    sp_free(s->tokens);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->mutex);
    sp_free(s);
}

sp_status sp_scheduler_create(sp_scheduler **scheduler, const sp_model *model,
                              const sp_scheduler_options *options, sp_error *err)
{
    sp_scheduler_options o = *options;
    *scheduler = NULL;
    SP_TRY(check_options(&o, err));
    sp_scheduler *s = sp_calloc(1, sizeof *s);
    if (!s) return sp_fail_nomem(err, "scheduler", sizeof *s);
    s->model = model;
    s->options = o;
    s->stats.n_slots = o.n_slots;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->work, NULL);
    sp_status status = fill_scheduler(s, err);
    if (status == SP_OK && pthread_create(&s->thread, NULL, run_engine, s) != 0)
        status = sp_fail(err, SP_E_NOMEM, "scheduler: no thread can be started");
    if (status != SP_OK) {
        free_scheduler(s);
        return status;
    }
    *scheduler = s;
    return SP_OK;
}

void sp_scheduler_drain(sp_scheduler *s)
{
    pthread_mutex_lock(&s->mutex);
    s->is_draining = true;
    pthread_mutex_unlock(&s->mutex);
}

void sp_scheduler_destroy(sp_scheduler *s, double grace_s)
{
    if (!s) return;
    pthread_mutex_lock(&s->mutex);
    s->is_draining = s->is_ending = true;
    s->end_s = sp_seconds() + grace_s;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    free_scheduler(s);
}

/* --- what other threads ask ----------------------------------------------------------------------------- */

static sp_status enqueue(sp_scheduler *s, sp_job *job, const char *owner, sp_error *err)
{
    if (s->is_draining) return sp_fail(err, SP_E_LIMIT, "the server is stopping");
    if (s->stats.n_waiting >= s->options.n_queue)
        return sp_fail(err, SP_E_LIMIT, "%d requests are waiting already", s->stats.n_waiting);
    job->owner = sp_scheduler_find_owner(s, owner);
    if (!job->owner) return sp_fail_nomem(err, "owner", strlen(owner));
    job->submitted_s = sp_seconds();
    *(s->last ? &s->last->next : &s->first) = job;
    s->last = job;
    s->stats.n_waiting++;
    pthread_cond_signal(&s->work);
    return SP_OK;
}

sp_status sp_scheduler_submit(sp_scheduler *s, const sp_job_request *request, void (*wake)(void *ctx),
                              void *ctx, sp_job **job, sp_error *err)
{
    sp_job *j;
    *job = NULL;
    SP_TRY(sp_job_create(&j, s->model, s->capacity, request, err));
    j->wake = wake;
    j->wake_ctx = ctx;
    pthread_mutex_lock(&s->mutex);
    sp_status status = enqueue(s, j, request->owner, err);
    *job = status == SP_OK ? j : NULL; /* before the engine can call wake with it */
    pthread_mutex_unlock(&s->mutex);
    if (status != SP_OK) {
        j->grammar = NULL; /* the caller keeps it */
        sp_job_unref(j);
        sp_job_unref(j);
    }
    return status;
}

/* A slot comes free once in reply_s / n_slots on average; the job needs the one after those that wait before it. Before any job has
 * ended, all that is known is that they take no less than the first of them has taken so far. */
double sp_scheduler_wait(sp_scheduler *s)
{
    pthread_mutex_lock(&s->mutex);
    double reply_s = s->reply_s;
    if (reply_s <= 0 && s->stats.n_running > 0) reply_s = sp_seconds() - s->busy_since_s;
    int32_t n_ahead = s->stats.n_running + s->stats.n_waiting - s->options.n_slots;
    double wait_s = n_ahead < 0 ? 0 : (n_ahead + 1) * reply_s / s->options.n_slots;
    pthread_mutex_unlock(&s->mutex);
    return wait_s;
}

int32_t sp_scheduler_context(const sp_scheduler *s)
{
    return (int32_t)s->capacity;
}

void sp_scheduler_get_stats(sp_scheduler *s, sp_scheduler_stats *stats)
{
    pthread_mutex_lock(&s->mutex);
    *stats = s->stats;
    pthread_mutex_unlock(&s->mutex);
}
