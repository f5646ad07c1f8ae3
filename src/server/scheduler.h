/* SPDX-License-Identifier: MIT */
/* The engine thread: continuous batching of jobs over one model. A step evaluates the next token of every running job and up to a
 * chunk of prompt tokens of jobs that still read theirs; jobs join and leave between steps. A reply does not depend on what else
 * runs. docs/decisions/0016-server.md */
#ifndef SP_SERVER_SCHEDULER_H
#define SP_SERVER_SCHEDULER_H

#include "infer/prefix_cache.h"
#include "server/job.h"

typedef struct sp_scheduler sp_scheduler;

#define SP_SCHEDULER_SLOTS_DEFAULT 8
#define SP_SCHEDULER_QUEUE_DEFAULT 128
#define SP_SCHEDULER_CHUNK_DEFAULT                                                                           \
    128 /* on two cores, a 1.5B model reads 8 % more slowly in chunks of 64, and no faster in 256 */

typedef struct sp_scheduler_options {
    int32_t n_slots;      /* replies generated at once, 1..256; 0: SP_SCHEDULER_SLOTS_DEFAULT */
    int32_t n_queue;      /* jobs that may wait; 0: SP_SCHEDULER_QUEUE_DEFAULT */
    int32_t n_ctx;        /* tokens of each slot; 0: as sp_session_options */
    int32_t n_threads;    /* 0: one per processor */
    int32_t prompt_chunk; /* prompt tokens per step while replies run; 0: SP_SCHEDULER_CHUNK_DEFAULT */
    sp_cache_type cache_type;
    sp_prefix_cache *prefixes; /* NULL: none; outlives the scheduler and is used by its thread alone */
    bool always_drafts;        /* tests: guess ahead whatever it brings */
} sp_scheduler_options;

/* The model outlives the scheduler. */
sp_status sp_scheduler_create(sp_scheduler **scheduler, const sp_model *model,
                              const sp_scheduler_options *options, sp_error *err);

/* Queue a job. `wake(ctx)` is called from the engine thread, with no lock of this side held, whenever there are events after the
 * queue was empty; it is to be brief. Errors: SP_E_LIMIT (the queue is full or the scheduler is stopping: try later), SP_E_ARGUMENT (the prompt is longer
 * than a slot's context, options out of range), SP_E_NOMEM. On failure the grammar stays the caller's. */
sp_status sp_scheduler_submit(sp_scheduler *scheduler, const sp_job_request *request, void (*wake)(void *ctx),
                              void *ctx, sp_job **job, sp_error *err);

/* Seconds until a job submitted now would begin, by recent rates; 0 if a slot is free. */
double sp_scheduler_wait(sp_scheduler *scheduler);

/* Tokens that a slot holds. */
int32_t sp_scheduler_context(const sp_scheduler *scheduler);

typedef struct sp_scheduler_stats {
    int32_t n_slots, n_running, n_waiting;
    uint64_t n_jobs, n_cancelled, n_failed; /* since the start */
    uint64_t prompt_tokens, cached_tokens, reply_tokens, reasoning_tokens, n_steps;
    uint64_t drafted_tokens, accepted_tokens; /* guesses ahead that were evaluated; those that came true */
    double busy_s;
    sp_prefix_cache_stats prefixes;
} sp_scheduler_stats;

void sp_scheduler_get_stats(sp_scheduler *scheduler, sp_scheduler_stats *stats);

/* Take no more jobs; those that are there go on. */
void sp_scheduler_drain(sp_scheduler *scheduler);

/* End what still runs as SP_FINISH_CANCELLED after at most grace_s seconds, join the thread, free. Released jobs may outlive it. Accepts NULL. */
void sp_scheduler_destroy(sp_scheduler *scheduler, double grace_s);

#endif
