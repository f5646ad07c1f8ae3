/* SPDX-License-Identifier: MIT */
/* Thread pool. Each thread has a stretch of the items, of which it takes chunks in order, large ones first, so that
 * memory is read where it stopped; one that is done helps at the end of others' stretches, so a busy core slows only
 * the chunk it holds; a worker that the system has taken off its core in the middle of a
 * chunk is moved to the caller's core. Workers spin briefly after a job, then sleep. A function must compute
 * each item independently of the split (design: one answer). */
#ifndef SP_BASE_POOL_H
#define SP_BASE_POOL_H

#include "base/error.h"
#include "base/place.h"

#include <stddef.h>

#define SP_POOL_MAX_THREADS 256

typedef struct sp_pool sp_pool;

/* Process items [begin, end) of a job; `thread` is 0 <= thread < n_threads, for scratch memory only. */
typedef void (*sp_pool_fn)(void *ctx, size_t begin, size_t end, int thread);

/* n_threads >= 1 includes the calling thread; 0 means the number of online processors. Workers are pinned when
 * there are as many threads as processors, and held to a memory node when there are fewer and more than one node; the
 * calling thread never is. */
sp_status sp_pool_create(sp_pool **pool, int n_threads, sp_error *err);
void sp_pool_destroy(sp_pool *pool);
int sp_pool_threads(const sp_pool *pool); /* 1 for NULL */

/* Run fn over [0, n) in chunks of a multiple of `grain` items; returns when all are done. One caller at a time per
 * pool. A NULL pool runs on the calling thread. An empty job costs about 0.1 microseconds while workers spin. */
void sp_pool_run(sp_pool *pool, size_t n, size_t grain, sp_pool_fn fn, void *ctx);

int sp_cpu_count(void);

/* Which of the place's nodes each thread belongs on: as many on each, for its processors, with the caller (0) where it is. */
void sp_pool_spread(const sp_place *place, int caller_cpu, int n_threads, int8_t *nodes);

#endif
