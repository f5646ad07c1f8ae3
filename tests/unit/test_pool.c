/* SPDX-License-Identifier: MIT */
/* The thread pool: every item once, whatever the threads, the sizes, the gaps between jobs and the machine's load;
 * chunks begin at multiples of the grain. */
#include "base/pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/place.h"
#include "test_util.h"

#define MAX_ITEMS 5000

typedef struct count_job {
    unsigned char seen[MAX_ITEMS]; /* an item belongs to one chunk, so no two threads share one */
    size_t n, grain;
    int n_threads;
    _Atomic int n_bad;
} count_job;

static void count_items(void *ctx, size_t begin, size_t end, int thread)
{
    count_job *job = ctx;
    bool good = begin < end && end <= job->n && begin % job->grain == 0 && thread >= 0 &&
                thread < job->n_threads && (end == job->n || end % job->grain == 0);
    if (!good) atomic_fetch_add(&job->n_bad, 1);
    for (size_t i = begin; i < end && i < MAX_ITEMS; i++) job->seen[i]++;
}

static void check_job(sp_pool *pool, count_job *job, size_t n, size_t grain)
{
    memset(job->seen, 0, sizeof job->seen);
    job->n = n;
    job->grain = grain;
    job->n_threads = sp_pool_threads(pool);
    atomic_store(&job->n_bad, 0);
    sp_pool_run(pool, n, grain, count_items, job);
    assert_int_equal(atomic_load(&job->n_bad), 0);
    for (size_t i = 0; i < MAX_ITEMS; i++) assert_int_equal(job->seen[i], i < n);
}

static void nap(long ns)
{
    nanosleep(&(struct timespec){0, ns}, NULL);
}

static void test_every_item_once(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 7, 64, 65, 1000, MAX_ITEMS};
    static const size_t grains[] = {1, 2, 5, 64, 4999};
    count_job *job = calloc(1, sizeof *job);
    for (int n_threads = 1; n_threads <= 9; n_threads += n_threads < 4 ? 1 : 5) {
        sp_pool *pool;
        sp_error err = SP_ERROR_NONE;
        assert_ok(sp_pool_create(&pool, n_threads, &err), err);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (size_t g = 0; g < sizeof grains / sizeof grains[0]; g++)
                check_job(pool, job, sizes[i], grains[g]);
        nap(2000000); /* workers fall asleep */
        check_job(pool, job, 3, 1);
        check_job(pool, job, MAX_ITEMS, 3);
        sp_pool_destroy(pool);
    }
    check_job(NULL, job, 100, 7);
    free(job);
}

/* Many short jobs, some after pauses about as long as the workers spin, so that they fall asleep and are woken
 * at every point of their loop. */
static void test_short_jobs(void **state)
{
    (void)state;
    count_job *job = calloc(1, sizeof *job);
    sp_pool *pool;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_pool_create(&pool, 4, &err), err);
    for (int i = 0; i < 3000; i++) {
        check_job(pool, job, (size_t)(2 + i % 40), (size_t)(1 + i % 3));
        if (i % 16 == 0) nap((i / 16 % 8) * 20000);
    }
    sp_pool_destroy(pool);
    free(job);
}

/* A chunk that lasts many times longer than the caller waits before it looks for stalled workers. */
static void hold_first(void *ctx, size_t begin, size_t end, int thread)
{
    count_items(ctx, begin, end, thread);
    if (thread == 0) return;
    if (begin % 2) {
        nap(3000000); /* off its processor */
    } else {
        struct timespec start, now;
        clock_gettime(CLOCK_MONOTONIC, &start);
        do {
            clock_gettime(CLOCK_MONOTONIC, &now);
        } while ((now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec < 1000000);
    }
}

static void test_slow_chunks(void **state)
{
    (void)state;
    count_job *job = calloc(1, sizeof *job);
    int n_cpus = sp_cpu_count();
    for (int extra = 0; extra < 2; extra++) { /* as many threads as processors, and more */
        sp_pool *pool;
        sp_error err = SP_ERROR_NONE;
        int n_threads = (n_cpus < 8 ? n_cpus : 8) + extra;
        assert_ok(sp_pool_create(&pool, n_threads, &err), err);
        for (int i = 0; i < 6; i++) {
            memset(job->seen, 0, sizeof job->seen);
            job->n = 16;
            job->grain = 1;
            job->n_threads = n_threads;
            sp_pool_run(pool, 16, 1, hold_first, job);
            for (size_t k = 0; k < 16; k++) assert_int_equal(job->seen[k], 1);
        }
        sp_pool_destroy(pool);
    }
    assert_int_equal(atomic_load(&job->n_bad), 0);
    free(job);
}

/* The caller's thread keeps the processors that it may use. */
static void test_caller_is_not_pinned(void **state)
{
    (void)state;
    static sp_place before, after;
    count_job *job = calloc(1, sizeof *job);
    sp_pool *pool;
    sp_error err = SP_ERROR_NONE;
    sp_place_read(&before);
    assert_ok(sp_pool_create(&pool, 0, &err), err);
    for (int i = 0; i < 100; i++) check_job(pool, job, 100, 1);
    sp_place_read(&after);
    sp_pool_destroy(pool);
    assert_int_equal(before.n_cpus, after.n_cpus);
    assert_memory_equal(before.cpus, after.cpus, sizeof before.cpus);
    free(job);
}

static void test_wrong_counts(void **state)
{
    (void)state;
    sp_pool *pool;
    sp_error err = SP_ERROR_NONE;
    assert_int_equal(sp_pool_create(&pool, -1, &err), SP_E_ARGUMENT);
    assert_int_equal(sp_pool_create(&pool, SP_POOL_MAX_THREADS + 1, &err), SP_E_ARGUMENT);
    assert_null(pool);
    sp_pool_destroy(NULL);
    assert_int_equal(sp_pool_threads(NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_item_once), cmocka_unit_test(test_short_jobs),
        cmocka_unit_test(test_slow_chunks),     cmocka_unit_test(test_caller_is_not_pinned),
        cmocka_unit_test(test_wrong_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
