/* SPDX-License-Identifier: MIT */
/* The thread pool: a job is published under a generation number; workers spin for a moment on that number,
 * then sleep on a condition variable. Chunks are taken from an atomic counter. Invariants: (1) `generation`
 * changes only while `n_running` is 0; (2) the caller leaves sp_pool_run only when every worker has left the
 * job, so a job's fields are never read after it returns. Start at sp_pool_run(). */
#include "base/pool.h"

#include "base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

/* About 20 microseconds at 3 GHz: longer than the gap between two ops, far shorter than a scheduler slice. */
#define SPIN_ROUNDS 2000

typedef struct worker {
    sp_pool *pool;
    int index;
    pthread_t thread;
} worker;

struct sp_pool {
    int n_threads; /* including the caller */
    int n_started;
    worker *workers;
    pthread_mutex_t mutex;
    pthread_cond_t work_ready;
    pthread_cond_t work_done;
    _Atomic uint64_t generation;
    _Atomic int n_running; /* workers that have not finished the current job */
    _Atomic int n_asleep;
    _Atomic bool quit;
    bool caller_waits; /* under mutex */
    /* the current job */
    sp_pool_fn fn;
    void *ctx;
    size_t n;
    size_t grain;
    _Atomic size_t next;
};

static inline void relax_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void run_chunks(sp_pool *pool, int thread)
{
    for (;;) {
        size_t begin = atomic_fetch_add_explicit(&pool->next, pool->grain, memory_order_relaxed);
        if (begin >= pool->n) return;
        size_t end = pool->n - begin < pool->grain ? pool->n : begin + pool->grain;
        pool->fn(pool->ctx, begin, end, thread);
    }
}

/* Wait until the generation differs from `seen`; returns the new one. */
static uint64_t await_job(sp_pool *pool, uint64_t seen)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        uint64_t now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (now != seen) return now;
        relax_cpu();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_asleep, 1);
    while (atomic_load(&pool->generation) == seen) pthread_cond_wait(&pool->work_ready, &pool->mutex);
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->mutex);
    return atomic_load(&pool->generation);
}

static void *work(void *arg)
{
    worker *self = arg;
    sp_pool *pool = self->pool;
    uint64_t seen = 0;
    for (;;) {
        seen = await_job(pool, seen);
        if (atomic_load(&pool->quit)) return NULL;
        run_chunks(pool, self->index);
        if (atomic_fetch_sub_explicit(&pool->n_running, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&pool->mutex);
            if (pool->caller_waits) pthread_cond_signal(&pool->work_done);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

static void publish(sp_pool *pool)
{
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->n_asleep) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->work_ready);
    pthread_mutex_unlock(&pool->mutex);
}

static void await_workers(sp_pool *pool)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_explicit(&pool->n_running, memory_order_acquire) == 0) return;
        relax_cpu();
    }
    pthread_mutex_lock(&pool->mutex);
    pool->caller_waits = true;
    while (atomic_load(&pool->n_running) != 0) pthread_cond_wait(&pool->work_done, &pool->mutex);
    pool->caller_waits = false;
    pthread_mutex_unlock(&pool->mutex);
}

void sp_pool_run(sp_pool *pool, size_t n, size_t grain, sp_pool_fn fn, void *ctx)
{
    if (n == 0) return;
    if (grain == 0) grain = 1;
    if (!pool || pool->n_threads == 1 || n <= grain) {
        fn(ctx, 0, n, 0);
        return;
    }
    pool->fn = fn;
    pool->ctx = ctx;
    pool->n = n;
    pool->grain = grain;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->n_running, pool->n_threads - 1, memory_order_release);
    publish(pool);
    run_chunks(pool, 0);
    await_workers(pool);
}

int sp_cpu_count(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int n = CPU_COUNT(&set);
        if (n >= 1) return n < SP_POOL_MAX_THREADS ? n : SP_POOL_MAX_THREADS;
    }
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (online < 1) return 1;
    return online < SP_POOL_MAX_THREADS ? (int)online : SP_POOL_MAX_THREADS;
}

sp_status sp_pool_create(sp_pool **out, int n_threads, sp_error *err)
{
    *out = NULL;
    if (n_threads == 0) n_threads = sp_cpu_count();
    if (n_threads < 1 || n_threads > SP_POOL_MAX_THREADS)
        return sp_fail(err, SP_E_ARGUMENT, "threads: expected 1 to %d, found %d", SP_POOL_MAX_THREADS,
                       n_threads);
    sp_pool *pool = sp_calloc(1, sizeof *pool);
    if (!pool) return sp_fail_nomem(err, "thread pool", sizeof *pool);
    pool->n_threads = n_threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work_ready, NULL);
    pthread_cond_init(&pool->work_done, NULL);
    pool->workers = sp_calloc((size_t)n_threads, sizeof *pool->workers);
    if (!pool->workers) {
        sp_pool_destroy(pool);
        return sp_fail_nomem(err, "thread pool", (uint64_t)n_threads * sizeof *pool->workers);
    }
    for (int i = 1; i < n_threads; i++) {
        worker *w = &pool->workers[i];
        *w = (worker){pool, i, 0};
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            sp_pool_destroy(pool);
            return sp_fail(err, SP_E_NOMEM, "threads: the system refuses to start thread %d of %d", i + 1,
                           n_threads);
        }
        pool->n_started++;
    }
    *out = pool;
    return SP_OK;
}

void sp_pool_destroy(sp_pool *pool)
{
    if (!pool) return;
    atomic_store(&pool->quit, true);
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->generation, 1);
    pthread_cond_broadcast(&pool->work_ready);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 1; i <= pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->work_ready);
    pthread_cond_destroy(&pool->work_done);
    pthread_mutex_destroy(&pool->mutex);
    sp_free(pool->workers);
    sp_free(pool);
}

int sp_pool_threads(const sp_pool *pool)
{
    return pool ? pool->n_threads : 1;
}
