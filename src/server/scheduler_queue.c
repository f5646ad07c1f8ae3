/* SPDX-License-Identifier: MIT */
/* Who comes next, and into which slot. Owners take turns; within one, first come is first. A job whose prompt begins as one that
 * is being read waits for that one's units rather than evaluate them twice. Start at sp_scheduler_admit(). */
#include "server/scheduler_parts.h"

#include "base/clock.h"
#include "infer/session_parts.h"

#include <string.h>

/* --- owners --------------------------------------------------------------------------------------------- */

sp_owner *sp_scheduler_find_owner(sp_scheduler *s, const char *name)
{
    sp_owner *owner = s->owners;
    while (owner && strcmp(owner->name, name) != 0) owner = owner->next;
    if (!owner) {
        size_t len = strlen(name) + 1;
        owner = sp_calloc(1, sizeof *owner + len);
        if (!owner) return NULL;
        memcpy(owner->name, name, len);
        owner->next = s->owners;
        s->owners = owner;
    }
    owner->n_jobs++;
    return owner;
}

void sp_scheduler_drop_owner(sp_scheduler *s, sp_owner *owner)
{
    if (--owner->n_jobs > 0) return;
    sp_owner **at = &s->owners;
    while (*at != owner) at = &(*at)->next;
    *at = owner->next;
    sp_free(owner);
}

/* --- the queue ------------------------------------------------------------------------------------------ */

void sp_scheduler_unqueue(sp_scheduler *s, sp_job *before, sp_job *job)
{
    *(before ? &before->next : &s->first) = job->next;
    if (s->last == job) s->last = before;
    job->next = NULL;
    s->stats.n_waiting--;
}

void sp_scheduler_retire(sp_scheduler *s, sp_job *job)
{
    bool is_over = job->has_failed || job->finish != SP_FINISH_NONE;
    bool has_run = job->admitted_s > 0;
    size_t n_reply = 0;
    sp_generator_tokens(job->generator, &n_reply);
    pthread_mutex_lock(&s->mutex);
    s->stats.n_jobs++;
    s->stats.n_failed += job->has_failed;
    s->stats.n_cancelled += !is_over || job->finish == SP_FINISH_CANCELLED;
    s->stats.n_running -= has_run;
    s->stats.reply_tokens += n_reply;
    s->stats.reasoning_tokens += job->n_reasoning;
    if (has_run) {
        double held_s = sp_seconds() - job->admitted_s;
        s->reply_s = s->reply_s > 0 ? s->reply_s + (held_s - s->reply_s) / 8 : held_s;
    }
    sp_scheduler_drop_owner(s, job->owner);
    pthread_mutex_unlock(&s->mutex);
    if (is_over) sp_job_publish(job); /* now that the place is free, for the client may come again at once */
    sp_job_leave(job);
}

void sp_scheduler_vacate(sp_scheduler *s, sp_slot *slot)
{
    sp_job *job = slot->job;
    slot->job = NULL;
    sp_scheduler_retire(s, job);
    if (slot->session) sp_scheduler_remember(s, slot);
}

/* Jobs whose clients have gone leave the queue. */
static void drop_released(sp_scheduler *s)
{
    sp_job *gone = NULL;
    pthread_mutex_lock(&s->mutex);
    for (sp_job *before = NULL, *job = s->first, *next; job; job = next) {
        next = job->next;
        if (!atomic_load(&job->is_released)) {
            before = job;
            continue;
        }
        sp_scheduler_unqueue(s, before, job);
        job->next = gone;
        gone = job;
    }
    pthread_mutex_unlock(&s->mutex);
    while (gone) {
        sp_job *job = gone;
        gone = job->next;
        sp_scheduler_retire(s, job);
    }
}

/* --- slots ---------------------------------------------------------------------------------------------- */

/* Tokens of a text that may come from elsewhere: whole units. */
static size_t whole_units(size_t n)
{
    return n / SP_PREFIX_UNIT * SP_PREFIX_UNIT;
}

void sp_scheduler_remember(sp_scheduler *s, sp_slot *slot)
{
    size_t n = whole_units(slot->session->n);
    if (!s->options.prefixes || n == slot->n_stored) return;
    sp_prefix_cache_store(s->options.prefixes, slot->session);
    slot->n_stored = n;
    s->n_stores++;
}

static size_t shared_tokens(const sp_slot *slot, const sp_job *job)
{
    return slot->session ? sp_session_shares(slot->session, job->prompt, job->n_prompt - 1) : 0;
}

/* The free slot that holds most of the prompt; of equals one that has been used before if prefixes are kept elsewhere, and
 * the one whose timeline is the oldest. NULL if none is free. */
static sp_slot *choose_slot(sp_scheduler *s, const sp_job *job, size_t *n_shared)
{
    sp_slot *best = NULL;
    for (int32_t i = 0; i < s->options.n_slots; i++) {
        sp_slot *slot = &s->slots[i];
        if (slot->job) continue;
        size_t n = whole_units(shared_tokens(slot, job));
        bool is_better = !best || n > *n_shared;
        if (best && n == *n_shared && slot->session && best->session) is_better = slot->turn < best->turn;
        if (best && n == *n_shared && !slot->session && best->session) is_better = !s->options.prefixes;
        if (!is_better) continue;
        best = slot;
        *n_shared = n;
    }
    return best;
}

/* What the prefix cache knows of the job's prompt; asked again only after it may have changed. */
static size_t known_tokens(sp_scheduler *s, sp_job *job)
{
    if (job->known_at != s->n_stores + 1) {
        job->n_known = sp_prefix_cache_match(s->options.prefixes, job->prompt, job->n_prompt - 1);
        job->known_at = s->n_stores + 1;
    }
    return job->n_known;
}

/* What is being read is known to those that wait. */
static void remember_readers(sp_scheduler *s)
{
    for (int32_t i = 0; i < s->options.n_slots; i++)
        if (s->slots[i].job && s->slots[i].session->n < s->slots[i].job->n_prompt)
            sp_scheduler_remember(s, &s->slots[i]);
}

/* Whether a job that still reads its prompt will soon give a longer prefix of this job's than can be had now. */
static bool must_wait(sp_scheduler *s, sp_job *job)
{
    for (int32_t i = 0; s->options.prefixes && i < s->options.n_slots; i++) {
        const sp_slot *slot = &s->slots[i];
        if (!slot->job || slot->session->n >= slot->job->n_prompt) continue;
        size_t most = job->n_prompt < slot->job->n_prompt ? job->n_prompt - 1 : slot->job->n_prompt, n = 0;
        while (n < most && job->prompt[n] == slot->job->prompt[n]) n++;
        n = whole_units(n);
        if (n == 0 || n <= known_tokens(s, job)) continue;
        if (n > slot->session->n) return true;
    }
    return false;
}

/* --- admission ------------------------------------------------------------------------------------------ */

/* Take from the queue the job whose turn it is; NULL if none can begin. */
static sp_job *pick_job(sp_scheduler *s)
{
    pthread_mutex_lock(&s->mutex);
    sp_job *best = NULL, *best_before = NULL;
    for (sp_job *before = NULL, *job = s->first; job; before = job, job = job->next) {
        if (best && job->owner->turn >= best->owner->turn) continue;
        if (must_wait(s, job)) continue;
        best = job;
        best_before = before;
    }
    if (best) {
        sp_scheduler_unqueue(s, best_before, best);
        if (s->stats.n_running++ == 0) s->busy_since_s = sp_seconds();
        best->owner->turn = ++s->turn;
    }
    pthread_mutex_unlock(&s->mutex);
    return best;
}

/* The slot's session becomes the longest known beginning of the prompt. */
static void begin_reading(sp_scheduler *s, sp_slot *slot, sp_job *job)
{
    sp_session *session = slot->session;
    size_t n_loaded = 0;
    if (s->options.prefixes)
        sp_prefix_cache_load(s->options.prefixes, session, job->prompt, job->n_prompt, &n_loaded, NULL);
    sp_session_truncate(session, sp_session_shares(session, job->prompt, job->n_prompt - 1));
    job->n_cached = whole_units(session->n);
    slot->n_stored = 0; /* the cache may have less of it than the slot */
}

static void place_job(sp_scheduler *s, sp_job *job)
{
    size_t n_shared = 0;
    sp_slot *slot = choose_slot(s, job, &n_shared);
    sp_error error = SP_ERROR_NONE;
    job->admitted_s = sp_seconds();
    slot->job = job;
    slot->turn = s->turn;
    if (!slot->session && sp_session_create_guest(&slot->session, s->slots[0].session, &error) != SP_OK) {
        sp_job_fail(job, &error);
        sp_scheduler_vacate(s, slot);
        return;
    }
    job->session = slot->session;
    begin_reading(s, slot, job);
    pthread_mutex_lock(&s->mutex);
    s->stats.cached_tokens += job->n_cached;
    pthread_mutex_unlock(&s->mutex);
}

void sp_scheduler_admit(sp_scheduler *s)
{
    drop_released(s);
    pthread_mutex_lock(&s->mutex);
    bool may_begin = s->first && s->stats.n_running < s->options.n_slots;
    pthread_mutex_unlock(&s->mutex);
    if (may_begin) remember_readers(s);
    while (s->stats.n_running < s->options.n_slots) { /* written by this thread alone */
        sp_job *job = pick_job(s);
        if (!job) return;
        place_job(s, job);
    }
}
