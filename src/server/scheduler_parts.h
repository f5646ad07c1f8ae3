/* SPDX-License-Identifier: MIT */
/* The inside of jobs and of the engine thread, shared by job.c and scheduler*.c.
 *
 * A job has two sides. The client's side and the queue of events are under job->mutex; what the engine alone uses has no lock. Two
 * references: the client's ends with sp_job_release, the engine's when the job has left it; whoever is last frees. The order of
 * locks is scheduler->mutex before job->mutex, and neither is held while `wake` runs. */
#ifndef SP_SERVER_SCHEDULER_PARTS_H
#define SP_SERVER_SCHEDULER_PARTS_H

#include "base/mem.h"
#include "infer/speculate.h"
#include "server/scheduler.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct sp_job_event {
    struct sp_job_event *next;
    sp_event event;
    sp_buf text; /* the event's, until it is taken */
} sp_job_event;

typedef struct sp_job_events {
    sp_job_event *first, *last;
    size_t n;
} sp_job_events;

/* Whose jobs wait or run: fairness is between owners. */
typedef struct sp_owner {
    struct sp_owner *next;
    size_t n_jobs;
    uint64_t turn; /* when a job of his was last admitted; 0: none yet */
    char name[];
} sp_owner;

struct sp_job {
    pthread_mutex_t mutex;
    pthread_cond_t woken; /* a call of wake is over */
    int n_refs;
    bool is_waking;
    bool is_over; /* `last` is the final event, to come after the queue */
    sp_job_events events;
    sp_event last;
    sp_job_usage usage;
    atomic_bool is_released;

    /* constant */
    void (*wake)(void *ctx);
    void *wake_ctx;
    int32_t *prompt;
    size_t n_prompt;
    bool want_tokens;
    sp_speculate speculate;
    int32_t n_draft;
    sp_grammar *grammar;

    /* under the scheduler's mutex */
    sp_job *next; /* in the queue */
    sp_owner *owner;
    double submitted_s;

    /* the engine's */
    sp_generator *generator;
    sp_session *session;       /* NULL: waiting */
    sp_speculator *speculator; /* NULL: nothing was guessed ahead yet */
    sp_job_events fresh;       /* events of the step under way */
    bool is_short;             /* of logits: the generator wants some that are not there */
    bool has_failed;
    sp_finish finish; /* of the reply; NONE: it goes on */
    sp_error error;
    size_t n_cached, n_reasoning;
    size_t n_known,
        known_at; /* tokens that the prefix cache knew when it was last asked, and n_stores then */
    double admitted_s, read_s; /* when its slot was given, and when the prompt had been read; 0: not yet */
};

/* A job with its generator. On failure the grammar is still the caller's. */
sp_status sp_job_create(sp_job **job, const sp_model *model, size_t capacity, const sp_job_request *request,
                        sp_error *err);
void sp_job_unref(sp_job *job);

/* All the job's ids so far from position `first` on: their number; `ids` gets at most n_most of them. */
size_t sp_job_pending(const sp_job *job, size_t first, int32_t *ids, size_t n_most);

/* Choose tokens until the generator wants logits that are not there or the reply ends. Other jobs may do so at the same time. */
void sp_job_write(sp_job *job);

void sp_job_fail(sp_job *job, const sp_error *error);

/* Give the events of this step to the client, the final one included if the job has finished or failed. */
void sp_job_publish(sp_job *job);

/* The engine is done with the job, which has published its last event or was released. */
void sp_job_leave(sp_job *job);

typedef struct sp_slot {
    sp_session *session; /* NULL: not made yet */
    sp_job *job;         /* NULL: free */
    uint64_t turn;       /* of the admission */
    size_t n_stored;     /* tokens that the prefix cache was given last */
} sp_slot;

struct sp_scheduler {
    const sp_model *model;
    sp_scheduler_options options; /* defaults filled in */
    size_t capacity;              /* of a slot */
    pthread_t thread;

    pthread_mutex_t mutex;
    pthread_cond_t work;  /* a job has come, or the end */
    sp_job *first, *last; /* waiting, in order of arrival */
    sp_owner *owners;
    bool is_draining, is_ending;
    double end_s;   /* when what still runs is cut off */
    double reply_s; /* running mean of the time that a job holds its slot; 0: none has ended yet */
    double
        busy_since_s; /* when the first of those that run now, or their predecessors without a break, was admitted */
    sp_scheduler_stats stats;

    /* the engine's */
    sp_slot *slots;  /* (n_slots) */
    uint64_t turn;   /* admissions so far */
    size_t n_stores; /* how often the prefix cache may have changed */
    int32_t *tokens; /* (n_rows) of the pass under way */
    size_t n_rows;
};

/* scheduler_queue.c: admission. The engine thread's. */
void sp_scheduler_admit(sp_scheduler *s);
void sp_scheduler_remember(sp_scheduler *s, sp_slot *slot);     /* its whole units go to the prefix cache */
void sp_scheduler_drop_owner(sp_scheduler *s, sp_owner *owner); /* one job less; with the mutex held */
sp_owner *sp_scheduler_find_owner(sp_scheduler *s,
                                  const char *name); /* one job more; NULL: no memory; with the mutex held */

/* scheduler_step.c: one pass over the running slots. False if none runs. */
bool sp_scheduler_step(sp_scheduler *s);

/* Take the job that follows `before` (NULL: the first) from the queue; with the mutex held. */
void sp_scheduler_unqueue(sp_scheduler *s, sp_job *before, sp_job *job);

/* The job leaves its slot, whose timeline is remembered, and retires. */
void sp_scheduler_vacate(sp_scheduler *s, sp_slot *slot);

/* Count a job by how it ended, tell its client, leave it. */
void sp_scheduler_retire(sp_scheduler *s, sp_job *job);

#endif
