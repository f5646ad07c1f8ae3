/* SPDX-License-Identifier: MIT */
/* The thread pool: a job's units are laid out as one share per thread, stretches that follow each other, and whoever
 * finishes the last ones ends it. A thread takes from its own share's front, so that what it reads goes on where it
 * stopped, and when that is empty from the ends of others'. Invariants: (1) a thread reads a job's fields only while it
 * holds units of that job, which it takes out of a share; (2) the caller leaves sp_pool_run only when `n_open` is 0: all
 * units are done, and no thread reads the fields any more. So a worker that sleeps through a job delays nobody, and one
 * that was late takes units of the next job instead. Start at sp_pool_run(). */
#include "base/pool.h"

#include "base/mem.h"

#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/* How long a thread spins before it sleeps: longer than what lies between two jobs of a pass, far shorter than a
 * scheduler's slice. */
#define SPIN_NS 50000
#define SPIN_ROUNDS 32 /* between two looks at the clock */
/* A worker that ran for less than half of this time has been taken off its processor. */
#define STALL_NS 50000
#define STALL_SLEEP_NS 1000000 /* between later looks */
/* A chunk is this part of what is left of a share: few trips to it, small chunks at the end. */
#define SHARE_PARTS 2

typedef struct worker {
    sp_pool *pool;
    int index;
    pthread_t thread;
    _Atomic int home;     /* the processor it is pinned to; negative: none */
    int node;             /* without a home: the memory node it is held to; negative: none */
    _Atomic int cpu;      /* where it began its last job */
    _Atomic bool working; /* may hold units */
    _Atomic bool moved;   /* pinned to the caller's processor for a moment */
    int64_t run_ns;       /* the caller's note of its running time */
} worker;

/* Units that nobody has taken yet: [low half, high half). */
typedef struct share {
    _Atomic uint64_t units;
    char apart[56];
} share;

struct sp_pool {
    int n_threads; /* including the caller */
    int n_started;
    int caller_cpu;  /* the processor that is no worker's home; negative: there are no homes */
    worker *workers; /* (n_threads), the first unused */
    share *shares;   /* (n_threads) */
    sp_place place;
    pthread_mutex_t mutex;
    pthread_cond_t work_ready;
    pthread_cond_t work_done;
    /* the current job */
    sp_pool_fn fn;
    void *ctx;
    size_t n;
    size_t grain;
    size_t n_units;        /* stretches of `grain` items */
    char apart[64];        /* what threads spin on shares no cache line with the fields above */
    _Atomic size_t n_left; /* in the shares, about */
    _Atomic bool quit;
    _Atomic int n_asleep;
    char apart_too[64];
    _Atomic size_t n_open;
    _Atomic bool caller_waits;
};

static inline void relax_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t read_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static uint64_t pack_units(size_t first, size_t end)
{
    return (uint64_t)first | (uint64_t)end << 32;
}

/* The caller has the first share that is not empty. `n_left` comes first, so that it is never below what is there. */
static void lay_shares(sp_pool *pool)
{
    size_t n = pool->n_units, n_threads = (size_t)pool->n_threads, first = 0;
    atomic_store(&pool->n_left, n);
    for (size_t i = 0; i < n_threads; i++) {
        size_t end = (n * (i + 1) + n_threads - 1) / n_threads;
        atomic_store_explicit(&pool->shares[i].units, pack_units(first, end), memory_order_release);
        first = end;
    }
}

/* Take units from the front or the end of a share; their number, 0 when it is empty. */
static size_t take_from(sp_pool *pool, int owner, bool front, size_t *begin, size_t *end)
{
    _Atomic uint64_t *units = &pool->shares[owner].units;
    uint64_t now = atomic_load_explicit(units, memory_order_relaxed), rest;
    size_t first, last, take;
    do {
        first = (size_t)(now & UINT32_MAX);
        last = (size_t)(now >> 32);
        if (first >= last) return 0;
        take = (last - first - 1) / SHARE_PARTS + 1;
        rest = front ? pack_units(first + take, last) : pack_units(first, last - take);
    } while (!atomic_compare_exchange_weak_explicit(units, &now, rest, memory_order_acquire,
                                                    memory_order_relaxed));
    atomic_fetch_sub_explicit(&pool->n_left, take, memory_order_relaxed);
    if (!front) first = last - take;
    *begin = first * pool->grain;
    *end = first + take == pool->n_units ? pool->n : (first + take) * pool->grain;
    return take;
}

static size_t take_units(sp_pool *pool, int thread, size_t *begin, size_t *end)
{
    size_t take = take_from(pool, thread, true, begin, end);
    for (int i = 1; take == 0 && i < pool->n_threads && atomic_load(&pool->n_left) != 0; i++)
        take = take_from(pool, (thread + i) % pool->n_threads, false, begin, end);
    return take;
}

/* Take units until none are left; the number of those done, which stay open until the thread reports them. */
static size_t run_units(sp_pool *pool, int thread)
{
    size_t begin, end, take, n_done = 0;
    while ((take = take_units(pool, thread, &begin, &end)) > 0) {
        pool->fn(pool->ctx, begin, end, thread);
        n_done += take;
    }
    return n_done;
}

/* --- workers -------------------------------------------------------------------------------------------- */

/* Back from the caller's processor, to wait in the queue of the one it was taken off. */
static void go_home(worker *self)
{
    if (!atomic_load_explicit(&self->moved, memory_order_acquire)) return;
    atomic_store(&self->moved, false);
    int home = atomic_load(&self->home);
    sp_place_pin(pthread_self(), home >= 0 ? home : atomic_load(&self->cpu));
    if (home < 0 && self->node < 0) sp_place_unpin(pthread_self(), &self->pool->place);
    if (home < 0 && self->node >= 0) sp_place_pin_node(pthread_self(), &self->pool->place, self->node);
}

static bool is_called(sp_pool *pool)
{
    return atomic_load(&pool->n_left) != 0 || atomic_load(&pool->quit);
}

static void await_job(worker *self)
{
    sp_pool *pool = self->pool;
    int64_t start = 0, now;
    do {
        go_home(self);
        for (int i = 0; i < SPIN_ROUNDS; i++) {
            if (is_called(pool)) return;
            relax_cpu();
        }
        now = read_ns(CLOCK_MONOTONIC);
        if (start == 0) start = now;
    } while (now - start < SPIN_NS);
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_asleep, 1);
    while (!is_called(pool)) pthread_cond_wait(&pool->work_ready, &pool->mutex);
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *arg)
{
    worker *self = arg;
    sp_pool *pool = self->pool;
    if (atomic_load(&self->home) >= 0) sp_place_pin(pthread_self(), atomic_load(&self->home));
    if (self->node >= 0) sp_place_pin_node(pthread_self(), &pool->place, self->node);
    for (;;) {
        await_job(self);
        if (atomic_load(&pool->quit)) return NULL;
        atomic_store_explicit(&self->cpu, sp_place_here(), memory_order_relaxed);
        atomic_store(&self->working, true);
        size_t n_done = run_units(pool, self->index);
        atomic_store(&self->working, false);
        if (n_done == 0 || atomic_fetch_sub(&pool->n_open, n_done) != n_done) continue;
        if (!atomic_load(&pool->caller_waits)) continue;
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_signal(&pool->work_done);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* --- the caller ----------------------------------------------------------------------------------------- */

/* The system has moved the caller to a worker's home: that worker goes where the caller was. */
static void keep_apart(sp_pool *pool)
{
    int here = pool->caller_cpu < 0 ? -1 : sp_place_here();
    if (here == pool->caller_cpu) return;
    for (int i = 1; i < pool->n_threads; i++) {
        worker *w = &pool->workers[i];
        if (atomic_load(&w->home) != here) continue;
        atomic_store(&w->home, pool->caller_cpu);
        sp_place_pin(w->thread, pool->caller_cpu);
        pool->caller_cpu = here;
        return;
    }
}

static void wake_workers(sp_pool *pool)
{
    int n_asleep = atomic_load(&pool->n_asleep);
    if (n_asleep == 0) return;
    size_t n_useful = pool->n_units - 1;
    pthread_mutex_lock(&pool->mutex);
    if (n_useful >= (size_t)n_asleep)
        pthread_cond_broadcast(&pool->work_ready);
    else
        for (size_t i = 0; i < n_useful; i++) pthread_cond_signal(&pool->work_ready);
    pthread_mutex_unlock(&pool->mutex);
}

/* True when all units are done within the time. */
static bool spin_until_done(sp_pool *pool, int64_t ns)
{
    int64_t start = 0, now;
    do {
        for (int i = 0; i < SPIN_ROUNDS; i++) {
            if (atomic_load_explicit(&pool->n_open, memory_order_acquire) == 0) return true;
            relax_cpu();
        }
        now = read_ns(CLOCK_MONOTONIC);
        if (start == 0) start = now;
    } while (now - start < ns);
    return false;
}

static bool sleep_until_done(sp_pool *pool, int64_t ns)
{
    struct timespec until;
    int64_t end = read_ns(CLOCK_REALTIME) + ns; /* the clock of pthread_cond_timedwait */
    until.tv_sec = (time_t)(end / 1000000000);
    until.tv_nsec = (long)(end % 1000000000);
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_waits, true);
    int rc = 0;
    while (atomic_load(&pool->n_open) != 0 && rc == 0)
        rc = pthread_cond_timedwait(&pool->work_done, &pool->mutex, &until);
    atomic_store(&pool->caller_waits, false);
    pthread_mutex_unlock(&pool->mutex);
    return atomic_load(&pool->n_open) == 0;
}

static void note_run_times(sp_pool *pool)
{
    for (int i = 1; i < pool->n_threads; i++) {
        worker *w = &pool->workers[i];
        if (!atomic_load(&w->working) || !sp_place_run_time(w->thread, &w->run_ns)) w->run_ns = -1;
    }
}

/* Workers that hold units and have hardly run since the note was taken come to the caller's processor, which the
 * caller is about to leave: other processes keep them off their own for milliseconds. */
static void fetch_stalled(sp_pool *pool)
{
    int here = sp_place_here();
    for (int i = 1; i < pool->n_threads; i++) {
        worker *w = &pool->workers[i];
        int64_t run_ns;
        if (w->run_ns < 0 || !atomic_load(&w->working) || atomic_load(&w->moved)) continue;
        if (!sp_place_run_time(w->thread, &run_ns) || run_ns - w->run_ns > STALL_NS / 2) continue;
        if (sp_place_pin(w->thread, here)) atomic_store(&w->moved, true);
    }
}

static void await_workers(sp_pool *pool)
{
    if (spin_until_done(pool, SPIN_NS)) return;
    note_run_times(pool);
    if (spin_until_done(pool, STALL_NS)) return;
    do {
        fetch_stalled(pool);
        note_run_times(pool);
    } while (!sleep_until_done(pool, STALL_SLEEP_NS));
}

void sp_pool_run(sp_pool *pool, size_t n, size_t grain, sp_pool_fn fn, void *ctx)
{
    if (n == 0) return;
    if (grain == 0) grain = 1;
    if ((n - 1) / grain >= UINT32_MAX) grain *= n / grain / UINT32_MAX + 1; /* shares count in 32 bits */
    if (!pool || pool->n_threads == 1 || n <= grain) {
        fn(ctx, 0, n, 0);
        return;
    }
    keep_apart(pool);
    pool->fn = fn;
    pool->ctx = ctx;
    pool->n = n;
    pool->grain = grain;
    pool->n_units = (n - 1) / grain + 1;
    atomic_store_explicit(&pool->n_open, pool->n_units, memory_order_relaxed);
    lay_shares(pool);
    wake_workers(pool);
    size_t n_done = run_units(pool, 0);
    if (atomic_fetch_sub(&pool->n_open, n_done) != n_done) await_workers(pool);
}

/* --- creation ------------------------------------------------------------------------------------------- */

int sp_cpu_count(void)
{
    sp_place place;
    sp_place_read(&place);
    long online = place.n_cpus ? place.n_cpus : sysconf(_SC_NPROCESSORS_ONLN);
    if (online < 1) return 1;
    return online < SP_POOL_MAX_THREADS ? (int)online : SP_POOL_MAX_THREADS;
}

void sp_pool_spread(const sp_place *place, int caller_cpu, int n_threads, int8_t *nodes)
{
    int n_on[SP_PLACE_MAX_NODES] = {0}, n_cpus[SP_PLACE_MAX_NODES];
    for (int k = 0; k < place->n_nodes; k++) n_cpus[k] = sp_place_node_cpus(place, k);
    nodes[0] = (int8_t)sp_place_node_of(place, caller_cpu);
    n_on[nodes[0]]++;
    for (int i = 1; i < n_threads; i++) {
        int best = 0;
        for (int k = 1; k < place->n_nodes; k++)
            if ((n_on[k] + 1) * n_cpus[best] < (n_on[best] + 1) * n_cpus[k]) best = k;
        nodes[i] = (int8_t)best;
        n_on[best]++;
    }
}

/* With fewer threads than processors the system finds the idle ones better than a fixed choice, which other processes may
 * make too; but it may crowd one memory node, so each thread is held to a node. */
static void choose_nodes(sp_pool *pool, int here)
{
    int8_t nodes[SP_POOL_MAX_THREADS];
    if (here < 0 || pool->place.n_nodes < 2 || pool->n_threads > pool->place.n_cpus) return;
    sp_pool_spread(&pool->place, here, pool->n_threads, nodes);
    for (int i = 1; i < pool->n_threads; i++) pool->workers[i].node = nodes[i];
}

/* One processor for each worker and one for the caller, where it is now; -1 for all unless there are as many
 * threads as processors. */
static void choose_homes(sp_pool *pool)
{
    int here = sp_place_here(), n = 1;
    pool->caller_cpu = -1;
    for (int i = 0; i < pool->n_threads; i++) pool->workers[i].home = pool->workers[i].node = -1;
    if (here < 0 || pool->n_threads != pool->place.n_cpus) {
        choose_nodes(pool, here);
        return;
    }
    pool->caller_cpu = here;
    for (int i = 0; i < pool->place.n_cpus && n < pool->n_threads; i++)
        if (pool->place.cpus[i] != here) pool->workers[n++].home = pool->place.cpus[i];
}

static sp_status start_workers(sp_pool *pool, sp_error *err)
{
    choose_homes(pool);
    for (int i = 1; i < pool->n_threads; i++) {
        worker *w = &pool->workers[i];
        w->pool = pool;
        w->index = i;
        if (pthread_create(&w->thread, NULL, work, w) != 0)
            return sp_fail(err, SP_E_NOMEM, "threads: the system refuses to start thread %d of %d", i + 1,
                           pool->n_threads);
        pool->n_started++;
    }
    return SP_OK;
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
    sp_place_read(&pool->place);
    pool->workers = sp_calloc((size_t)n_threads, sizeof *pool->workers);
    pool->shares = sp_calloc((size_t)n_threads, sizeof *pool->shares);
    sp_status status =
        pool->workers && pool->shares
            ? start_workers(pool, err)
            : sp_fail_nomem(err, "thread pool",
                            (uint64_t)n_threads * (sizeof *pool->workers + sizeof *pool->shares));
    if (status != SP_OK) {
        sp_pool_destroy(pool);
        return status;
    }
    *out = pool;
    return SP_OK;
}

void sp_pool_destroy(sp_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->quit, true);
    pthread_cond_broadcast(&pool->work_ready);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 1; i <= pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->work_ready);
    pthread_cond_destroy(&pool->work_done);
    pthread_mutex_destroy(&pool->mutex);
    sp_free(pool->workers);
    sp_free(pool->shares);
    sp_free(pool);
}

int sp_pool_threads(const sp_pool *pool)
{
    return pool ? pool->n_threads : 1;
}
