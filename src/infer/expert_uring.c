/* SPDX-License-Identifier: MIT */
/* The reader's io_uring side: one thread owns the ring. It fills the ring from the owner, waits for completions, and is
 * woken through an eventfd that is itself read in the ring, so that no other thread touches the ring. Source: the
 * manual pages of liburing. Start at run_ring(). */
#include "infer/expert_reader_parts.h"

#if SP_HAVE_URING

#include "base/mem.h"

#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct sp_uring {
    sp_reader *reader;
    struct io_uring ring;
    bool ring_ready, started;
    int event; /* eventfd */
    uint64_t event_value;
    sp_read_piece *pieces; /* (depth) */
    int *idle;             /* (n_idle) numbers of pieces not under way */
    int n_idle;
    pthread_t thread;
    _Atomic bool quit;
};

/* Completions of the eventfd carry this number, pieces their own. */
#define EVENT_TAG UINT64_MAX

static void queue_event(sp_uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring); /* the ring has a place for everything under way */
    io_uring_prep_read(sqe, u->event, &u->event_value, sizeof u->event_value, 0);
    sqe->user_data = EVENT_TAG;
}

/* Memory without pages gets them while its read is submitted. Where the system is slow at that (0.4 to 0.6 GB/s per
 * processor in a virtual machine whose host has taken free memory back), this thread alone would do it, and the disk would
 * wait: such reads are left to the kernel's threads, several of which do it at once. */
static void queue_piece(sp_uring *u, int i)
{
    sp_read_piece *p = &u->pieces[i];
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    io_uring_prep_read(sqe, u->reader->files[p->file].fd, p->data + p->n_read,
                       (unsigned)(p->n_bytes - p->n_read), p->offset + p->n_read);
    sqe->user_data = (uint64_t)i;
    if (p->fresh) io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
}

static void fill_ring(sp_uring *u)
{
    sp_reader *reader = u->reader;
    while (u->n_idle > 0) {
        int i = u->idle[u->n_idle - 1];
        if (!reader->owner.take(reader->owner.ctx, reader->depth - u->n_idle, &u->pieces[i])) return;
        u->n_idle--;
        u->pieces[i].n_read = 0;
        u->pieces[i].error = 0;
        queue_piece(u, i);
    }
}

/* One completion. */
static void complete(sp_uring *u, uint64_t tag, int result)
{
    if (tag == EVENT_TAG) {
        if (!atomic_load(&u->quit)) queue_event(u);
        return;
    }
    int i = (int)tag;
    sp_read_piece *p = &u->pieces[i];
    if (!sp_reader_advance(u->reader, p, result)) {
        queue_piece(u, i);
        return;
    }
    u->reader->owner.done(u->reader->owner.ctx, p);
    u->idle[u->n_idle++] = i;
}

static void *run_ring(void *arg)
{
    sp_uring *u = arg;
    queue_event(u);
    for (;;) {
        bool quit = atomic_load(&u->quit);
        if (!quit) fill_ring(u);
        if (quit && u->n_idle == u->reader->depth) return NULL;
        io_uring_submit_and_wait(&u->ring, 1);
        struct io_uring_cqe *cqe;
        while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
            uint64_t tag = cqe->user_data;
            int result = cqe->res;
            io_uring_cqe_seen(&u->ring, cqe);
            complete(u, tag, result);
        }
    }
}

sp_status sp_uring_create(sp_uring **out, sp_reader *reader, sp_error *err)
{
    *out = NULL;
    sp_uring *u = sp_calloc(1, sizeof *u);
    if (!u) return sp_fail_nomem(err, "reader", sizeof *u);
    sp_status status = SP_OK;
    u->reader = reader;
    u->event = -1;
    u->pieces = sp_calloc((size_t)reader->depth, sizeof *u->pieces);
    u->idle = sp_calloc((size_t)reader->depth, sizeof *u->idle);
    if (!u->pieces || !u->idle) {
        status = sp_fail_nomem(err, "reader", (uint64_t)reader->depth * sizeof *u->pieces);
        goto done;
    }
    for (int i = 0; i < reader->depth; i++) u->idle[u->n_idle++] = i;
    int result = io_uring_queue_init((unsigned)reader->depth + 2, &u->ring, 0);
    if (result < 0) {
        status = sp_fail(err, SP_E_UNSUPPORTED, "io_uring: %s", strerror(-result));
        goto done;
    }
    u->ring_ready = true;
    u->event = eventfd(0, EFD_CLOEXEC);
    u->started = u->event >= 0 && pthread_create(&u->thread, NULL, run_ring, u) == 0;
    if (!u->started) status = sp_fail(err, SP_E_UNSUPPORTED, "io_uring: %s", strerror(errno));
done:
    if (status == SP_OK)
        *out = u;
    else
        sp_uring_destroy(u);
    return status;
}

void sp_uring_wake(sp_uring *u)
{
    uint64_t one = 1;
    ssize_t written;
    do written = write(u->event, &one, sizeof one);
    while (written < 0 && errno == EINTR);
}

void sp_uring_destroy(sp_uring *u)
{
    if (!u) return;
    if (u->started) {
        atomic_store(&u->quit, true);
        sp_uring_wake(u);
        pthread_join(u->thread, NULL);
    }
    if (u->ring_ready) io_uring_queue_exit(&u->ring);
    if (u->event >= 0) close(u->event);
    sp_free(u->idle);
    sp_free(u->pieces);
    sp_free(u);
}

#else

sp_status sp_uring_create(sp_uring **uring, sp_reader *reader, sp_error *err)
{
    (void)reader;
    *uring = NULL;
    return sp_fail(err, SP_E_UNSUPPORTED, "io_uring: this build has none (SP_WITH_URING)");
}

void sp_uring_wake(sp_uring *uring)
{
    (void)uring;
}

void sp_uring_destroy(sp_uring *uring)
{
    (void)uring;
}

#endif
