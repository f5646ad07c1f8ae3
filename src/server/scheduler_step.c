/* SPDX-License-Identifier: MIT */
/* One pass over the running slots: the tokens that replies have grown by, and part of what jobs still have to read; then every
 * job that has its logits chooses. A reply that is alone may have guesses evaluated ahead of it (infer/speculate.h); beside others
 * that would be at their cost. Start at sp_scheduler_step(). */
#include "server/scheduler_parts.h"

#include "base/clock.h"
#include "infer/generate_core.h"
#include "infer/session_parts.h"

/* Tokens beyond the last evaluated one that count as a reply's growth: one, or those that closed its reasoning. */
#define GROWTH_MAX 32

/* How many times less than the oldest reader one has to read to go first. */
#define MUCH_LESS 4

/* The pass under way. */
typedef struct pass {
    sp_slot *slots[SP_SESSION_BATCH_MAX];
    sp_session *sessions[SP_SESSION_BATCH_MAX];
    const int32_t *tokens[SP_SESSION_BATCH_MAX];
    int64_t n[SP_SESSION_BATCH_MAX];
    bool wants[SP_SESSION_BATCH_MAX];
    int n_sessions;
    size_t n_rows;
} pass;

static size_t count_pending(const sp_slot *slot)
{
    return slot->job ? sp_job_pending(slot->job, slot->session->n, NULL, 0) : 0;
}

static bool is_reading(const sp_slot *slot)
{
    return slot->job && slot->session->n < slot->job->n_prompt;
}

static void add_rows(sp_scheduler *s, pass *p, sp_slot *slot, size_t n)
{
    int i = p->n_sessions++;
    int32_t *tokens = s->tokens + p->n_rows;
    size_t n_pending = sp_job_pending(slot->job, slot->session->n, tokens, n);
    p->slots[i] = slot;
    p->sessions[i] = slot->session;
    p->tokens[i] = tokens;
    p->n[i] = (int64_t)n;
    p->wants[i] = n == n_pending;
    p->n_rows += n;
}

static bool is_added(const pass *p, const sp_slot *slot)
{
    for (int i = 0; i < p->n_sessions; i++)
        if (p->slots[i] == slot) return true;
    return false;
}

/* Of those that read and are not in the pass yet, the one that came first or the one with least to read; NULL: none. */
static sp_slot *next_reader(sp_scheduler *s, const pass *p, bool shortest)
{
    sp_slot *best = NULL;
    for (int32_t i = 0; i < s->options.n_slots; i++) {
        sp_slot *slot = &s->slots[i];
        if (!is_reading(slot) || is_added(p, slot)) continue;
        if (!best || (shortest ? count_pending(slot) < count_pending(best) : slot->turn < best->turn))
            best = slot;
    }
    return best;
}

static size_t add_reader(sp_scheduler *s, pass *p, sp_slot *slot, size_t n_rows)
{
    size_t n = count_pending(slot);
    if (n > n_rows) n = n_rows;
    add_rows(s, p, slot, n);
    return n;
}

/* Readers in order of arrival, each as far as the rows go: one prompt read whole is worth more than two read by half. But who
 * has little to read does not wait behind one who has several times as much: such ones get up to half of the rows first. */
static void add_readers(sp_scheduler *s, pass *p, size_t n_rows)
{
    sp_slot *oldest = next_reader(s, p, false), *slot;
    size_t most = oldest ? count_pending(oldest) / MUCH_LESS : 0, left = n_rows / 2;
    while (left > 0 && (slot = next_reader(s, p, true)) && count_pending(slot) <= most)
        left -= add_reader(s, p, slot, left);
    left += n_rows - n_rows / 2;
    while (left > 0 && (slot = next_reader(s, p, false))) left -= add_reader(s, p, slot, left);
}

static void compose_pass(sp_scheduler *s, pass *p)
{
    size_t chunk = (size_t)s->options.prompt_chunk;
    p->n_sessions = 0;
    p->n_rows = 0;
    for (int32_t i = 0; i < s->options.n_slots; i++) {
        sp_slot *slot = &s->slots[i];
        if (!slot->job || is_reading(slot)) continue;
        size_t n = count_pending(slot), room = s->n_rows - p->n_rows - chunk;
        if (n > GROWTH_MAX) n = GROWTH_MAX;
        if (n > room) n = room;
        if (n > 0) add_rows(s, p, slot, n);
    }
    if (p->n_sessions == 0 && chunk < SP_SESSION_BATCH_DEFAULT) chunk = SP_SESSION_BATCH_DEFAULT;
    add_readers(s, p, chunk);
}

static void write_jobs(void *ctx, size_t begin, size_t end, int thread)
{
    sp_slot **slots = ctx;
    (void)thread;
    for (size_t i = begin; i < end; i++) sp_job_write(slots[i]->job);
}

/* Every job that has its logits chooses, on all threads: over a large vocabulary that takes milliseconds each. */
static void choose_tokens(sp_scheduler *s, pass *p, bool drafted)
{
    sp_slot *ready[SP_SESSION_BATCH_MAX];
    size_t n_ready = 0;
    double now = sp_seconds();
    for (int i = 0; i < p->n_sessions; i++) {
        sp_slot *slot = p->slots[i];
        if (!p->wants[i]) continue;
        if (slot->job->read_s == 0) {
            slot->job->read_s = now;
            sp_scheduler_remember(s, slot);
        }
        ready[n_ready++] = slot;
    }
    sp_pool_run(s->slots[0].session->pool, n_ready, 1, write_jobs, ready);
    if (drafted) {
        pthread_mutex_lock(&s->mutex);
        s->stats.accepted_tokens += p->sessions[0]->logits_row;
        pthread_mutex_unlock(&s->mutex);
    }
    for (size_t i = 0; i < n_ready; i++) {
        sp_job *job = ready[i]->job;
        if (job->finish != SP_FINISH_NONE || job->has_failed)
            sp_scheduler_vacate(s, ready[i]);
        else
            sp_job_publish(job);
    }
}

static void fail_pass(sp_scheduler *s, pass *p, const sp_error *error)
{
    for (int i = 0; i < p->n_sessions; i++) {
        sp_job_fail(p->slots[i]->job, error);
        sp_scheduler_vacate(s, p->slots[i]);
    }
}

/* Whether the pass is the next token of the only job there is. */
static bool is_alone(sp_scheduler *s, const pass *p)
{
    pthread_mutex_lock(&s->mutex);
    bool alone = s->stats.n_running == 1 && !s->first;
    pthread_mutex_unlock(&s->mutex);
    return alone && p->n[0] == 1 && p->wants[0] && !is_reading(p->slots[0]);
}

/* Evaluate the last token of a job, and what may follow it. */
static sp_status evaluate_ahead(sp_scheduler *s, sp_job *job, size_t *n_drafted, sp_error *err)
{
    sp_speculator_options options = {job->speculate, job->n_draft, s->options.always_drafts, NULL};
    int32_t ids[SP_SESSION_DRAFTS_MAX];
    size_t n;
    const int32_t *tokens = sp_generator_timeline(job->generator, &n);
    if (!job->speculator) SP_TRY(sp_speculator_create(&job->speculator, job->session, &options, err));
    SP_TRY(sp_speculator_propose(job->speculator, tokens, n, ids, n_drafted, err));
    double start = sp_seconds();
    SP_TRY(sp_session_sync_ahead(job->session, tokens, n, ids, *n_drafted, err));
    sp_speculator_note_pass(job->speculator, *n_drafted + 1, sp_seconds() - start);
    return SP_OK;
}

static sp_status evaluate(sp_scheduler *s, const pass *p, size_t *n_drafted, sp_error *err)
{
    sp_job *job = p->slots[0]->job;
    if (job->speculate != SP_SPECULATE_OFF && is_alone(s, p)) return evaluate_ahead(s, job, n_drafted, err);
    sp_part part = {p->sessions, p->tokens, p->n, p->n_sessions, true, p->wants, 0};
    return sp_session_pass(&part, err);
}

bool sp_scheduler_step(sp_scheduler *s)
{
    pass p;
    sp_error error = SP_ERROR_NONE;
    uint64_t n_read = 0;
    size_t n_drafted = 0;
    for (int32_t i = 0; i < s->options.n_slots; i++)
        if (s->slots[i].job && atomic_load(&s->slots[i].job->is_released))
            sp_scheduler_vacate(s, &s->slots[i]);
    compose_pass(s, &p);
    if (p.n_sessions == 0) return false;
    for (int i = 0; i < p.n_sessions; i++) n_read += is_reading(p.slots[i]) ? (uint64_t)p.n[i] : 0;
    sp_status status = evaluate(s, &p, &n_drafted, &error);
    pthread_mutex_lock(&s->mutex);
    s->stats.n_steps++;
    s->stats.prompt_tokens += n_read;
    s->stats.drafted_tokens += n_drafted;
    pthread_mutex_unlock(&s->mutex);
    if (status == SP_OK)
        choose_tokens(s, &p, n_drafted > 0);
    else
        fail_pass(s, &p, &error);
    return true;
}
