/* SPDX-License-Identifier: MIT */
/* Measuring a machine's ceilings: the loops of tensor/peak under the thread pool, and direct reads. Other programs only
 * take from a measurement, so the best of several short runs stands. Start at sp_machine_measure(). */
#include "plan/machine.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "tensor/peak.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_RUNS 5
#define RUN_SECONDS 0.02                 /* of arithmetic */
#define MEMORY_BYTES ((size_t)512 << 20) /* many times a last-level cache */
#define MEMORY_CHUNK ((size_t)1 << 20)
#define CHUNKS_PER_THREAD 8
#define NODES_MAX 4
#define DISK_READ ((size_t)4 << 20) /* about an expert's matrix */
#define DISK_LEAST ((uint64_t)64 << 20)
#define DISK_READS 48
#define DISK_DEPTH 8

const char *sp_ceiling_name(sp_ceiling_kind kind)
{
    static const char *const names[] = {"memory", "int8", "float32", "disk", "node"};
    return names[kind];
}

static void add_ceiling(sp_machine *m, sp_ceiling_kind kind, const char *how, int n_threads, double per_s)
{
    if (m->n_ceilings == SP_MACHINE_MAX) return;
    sp_ceiling *c = &m->ceilings[m->n_ceilings++];
    *c = (sp_ceiling){.kind = kind, .n_threads = n_threads, .per_s = per_s};
    snprintf(c->how, sizeof c->how, "%s", how);
}

double sp_machine_best(const sp_machine *machine, sp_ceiling_kind kind, int n_threads)
{
    double best = 0;
    for (int i = 0; i < machine->n_ceilings; i++) {
        const sp_ceiling *c = &machine->ceilings[i];
        if (c->kind == kind && c->n_threads == n_threads && c->per_s > best) best = c->per_s;
    }
    return best;
}

/* --- memory --------------------------------------------------------------------------------------------- */

typedef struct read_job {
    const char *data;
    _Atomic uint64_t sum; /* so that the loads are not left out */
} read_job;

static void read_chunks(void *ctx, size_t begin, size_t end, int thread)
{
    read_job *job = ctx;
    (void)thread;
    uint64_t sum = sp_peak_read(job->data + begin * MEMORY_CHUNK, (end - begin) * MEMORY_CHUNK);
    atomic_fetch_xor(&job->sum, sum);
}

static double read_best(sp_pool *pool, const char *data)
{
    double best = 0;
    read_job job = {data, 0};
    for (int i = 0; i < N_RUNS; i++) {
        double start = sp_seconds();
        sp_pool_run(pool, MEMORY_BYTES / MEMORY_CHUNK, 1, read_chunks, &job);
        double per_s = (double)MEMORY_BYTES / (sp_seconds() - start);
        if (per_s > best) best = per_s;
    }
    return best;
}

static sp_status measure_memory(sp_machine *machine, sp_pool *pool, sp_error *err)
{
    char *data = sp_pages_map(MEMORY_BYTES);
    if (!data) return sp_fail_nomem(err, "measuring memory", MEMORY_BYTES);
    memset(data, 1, MEMORY_BYTES);
    add_ceiling(machine, SP_CEILING_MEMORY, "read", sp_pool_threads(pool), read_best(pool, data));
    sp_pages_unmap(data, MEMORY_BYTES);
    return SP_OK;
}

/* The calling thread is on the node whose processors read, and so is the pool that it makes. */
static sp_status measure_link(sp_machine *machine, const sp_place *place, int from, int to, sp_error *err)
{
    sp_pool *pool = NULL;
    sp_status status = SP_OK;
    char how[40];
    char *data = sp_pages_map(MEMORY_BYTES);
    if (!data) return sp_fail_nomem(err, "measuring memory", MEMORY_BYTES);
    if (sp_place_bind(data, MEMORY_BYTES, place, to)) {
        memset(data, 1, MEMORY_BYTES);
        status = sp_pool_create(&pool, 0, err);
    }
    if (pool) {
        snprintf(how, sizeof how, "node %d reads node %d", place->nodes[from], place->nodes[to]);
        add_ceiling(machine, SP_CEILING_NODE, how, sp_pool_threads(pool), read_best(pool, data));
    }
    sp_pool_destroy(pool);
    sp_pages_unmap(data, MEMORY_BYTES);
    return status;
}

sp_status sp_machine_measure_nodes(sp_machine *machine, sp_error *err)
{
    sp_place place;
    sp_status status = SP_OK;
    sp_place_read(&place);
    int n = place.n_nodes < NODES_MAX ? place.n_nodes : NODES_MAX;
    for (int from = 0; n > 1 && from < n && status == SP_OK; from++) {
        if (!sp_place_pin_node(pthread_self(), &place, from)) break;
        for (int to = 0; to < n && status == SP_OK; to++)
            status = measure_link(machine, &place, from, to, err);
    }
    if (n > 1) sp_place_unpin(pthread_self(), &place);
    return status;
}

/* --- arithmetic ----------------------------------------------------------------------------------------- */

typedef struct peak_job {
    const sp_peak *peak;
    int64_t n_rounds; /* of one chunk */
} peak_job;

static void run_rounds(void *ctx, size_t begin, size_t end, int thread)
{
    const peak_job *job = ctx;
    (void)thread;
    job->peak->run(job->n_rounds * (int64_t)(end - begin));
}

static void measure_peak(sp_machine *machine, sp_pool *pool, const sp_peak *peak)
{
    int n_threads = sp_pool_threads(pool);
    size_t n_chunks = (size_t)n_threads * CHUNKS_PER_THREAD;
    double start, seconds, best = 0;
    int64_t n_rounds = 10000;
    do { /* how many rounds take about as long as a chunk should */
        n_rounds *= 2;
        start = sp_seconds();
        peak->run(n_rounds);
        seconds = sp_seconds() - start;
    } while (seconds < RUN_SECONDS / CHUNKS_PER_THREAD);
    peak_job job = {peak, n_rounds};
    for (int i = 0; i < N_RUNS; i++) {
        start = sp_seconds();
        sp_pool_run(pool, n_chunks, 1, run_rounds, &job);
        double per_s = (double)peak->ops * (double)n_rounds * (double)n_chunks / (sp_seconds() - start);
        if (per_s > best) best = per_s;
    }
    add_ceiling(machine, peak->kind == SP_PEAK_INT8 ? SP_CEILING_INT8 : SP_CEILING_FLOAT32, peak->name,
                n_threads, best);
}

sp_status sp_machine_measure(sp_machine *machine, int n_threads, sp_error *err)
{
    sp_pool *pool;
    SP_TRY(sp_pool_create(&pool, n_threads, err));
    sp_status status = measure_memory(machine, pool, err);
    size_t n;
    const sp_peak *list = sp_peak_list(&n);
    for (size_t i = 0; status == SP_OK && i < n; i++)
        if (sp_kernels_for(list[i].isa) && (list[i].isa != SP_ISA_SCALAR || n == 1))
            measure_peak(machine, pool, &list[i]);
    sp_pool_destroy(pool);
    return status;
}

/* --- disk ----------------------------------------------------------------------------------------------- */

typedef struct disk_job {
    int fd;
    uint64_t n_places; /* of DISK_READ bytes */
    char *data;        /* (DISK_DEPTH, DISK_READ) */
    uint64_t stream;
    _Atomic int error; /* errno of a failed read */
} disk_job;

static void read_places(void *ctx, size_t begin, size_t end, int thread)
{
    disk_job *job = ctx;
    for (size_t i = begin; i < end; i++) {
        uint32_t block[4];
        sp_rng_block(4096, job->stream, i, block);
        uint64_t place = (block[0] | (uint64_t)block[1] << 32) % job->n_places;
        ssize_t n =
            pread(job->fd, job->data + (size_t)thread * DISK_READ, DISK_READ, (off_t)(place * DISK_READ));
        if (n < 0) atomic_store(&job->error, errno);
    }
}

static sp_status measure_reads(sp_machine *machine, disk_job *job, int depth, const char *path, sp_error *err)
{
    sp_pool *pool;
    SP_TRY(sp_pool_create(&pool, depth, err));
    job->stream = (uint64_t)depth;
    double start = sp_seconds();
    sp_pool_run(pool, DISK_READS, 1, read_places, job);
    double seconds = sp_seconds() - start;
    sp_pool_destroy(pool);
    errno = atomic_load(&job->error);
    if (errno) return sp_fail_errno(err, "cannot read directly", path);
    add_ceiling(machine, SP_CEILING_DISK, "direct reads of 4 MiB", depth,
                DISK_READS * (double)DISK_READ / seconds);
    return SP_OK;
}

sp_status sp_machine_measure_disk(sp_machine *machine, const char *path, sp_error *err)
{
    struct stat st;
    disk_job job = {.fd = -1};
    sp_status status = SP_OK;
#if defined(O_DIRECT)
    job.fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
#else
    errno = EINVAL;
#endif
    if (job.fd < 0) return sp_fail_errno(err, "cannot open for direct reads", path);
    if (fstat(job.fd, &st) != 0)
        status = sp_fail_errno(err, "cannot stat", path);
    else if ((uint64_t)st.st_size < DISK_LEAST)
        status =
            sp_fail(err, SP_E_ARGUMENT, "\"%s\" has %lld bytes; expected at least %llu, to read at random",
                    path, (long long)st.st_size, (unsigned long long)DISK_LEAST);
    if (status == SP_OK) {
        job.n_places = (uint64_t)st.st_size / DISK_READ;
        job.data = sp_aligned_alloc(4096, DISK_DEPTH * DISK_READ);
        if (!job.data) status = sp_fail_nomem(err, "measuring the disk", DISK_DEPTH * DISK_READ);
    }
    if (status == SP_OK) status = measure_reads(machine, &job, 1, path, err);
    if (status == SP_OK) status = measure_reads(machine, &job, DISK_DEPTH, path, err);
    sp_free(job.data);
    close(job.fd);
    return status;
}
