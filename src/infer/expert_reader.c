/* SPDX-License-Identifier: MIT */
/* The reader's files and its threads. Each thread takes a piece, reads it to the end, and reports it. Short reads go on
 * where they stopped; a read of nothing is the file's end. Start at sp_reader_create(). */
#include "infer/expert_reader_parts.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* More threads than this help no disk. */
#define MAX_THREADS 8

bool sp_reader_advance(sp_reader *reader, sp_read_piece *piece, int64_t result)
{
    const sp_read_file *file = &reader->files[piece->file];
    if (result == -EINTR || result == -EAGAIN) return false;
    if (result < 0) {
        piece->error = (int)-result;
        return true;
    }
    size_t before = piece->n_read;
    piece->n_read += (size_t)result;
    if (piece->n_read < piece->n_needed) {
        /* a direct read begins on a block; a file that ends within one gives the same part of it for ever */
        size_t next = piece->n_read & ~(SP_READ_ALIGN - 1);
        if (result > 0 && next > before) {
            piece->n_read = next;
            return false;
        }
        piece->error = -1;
    }
#if defined(POSIX_FADV_DONTNEED)
    if (!file->direct)
        posix_fadvise(file->fd, (off_t)piece->offset, (off_t)piece->n_bytes, POSIX_FADV_DONTNEED);
#endif
    return true;
}

static void read_piece(sp_reader *reader, sp_read_piece *piece)
{
    int fd = reader->files[piece->file].fd;
    int64_t result;
    do {
        result = pread(fd, piece->data + piece->n_read, piece->n_bytes - piece->n_read,
                       (off_t)(piece->offset + piece->n_read));
        if (result < 0) result = -errno;
    } while (!sp_reader_advance(reader, piece, result));
}

static void *run_thread(void *arg)
{
    sp_reader *reader = arg;
    pthread_mutex_lock(&reader->mutex);
    while (!reader->quit) {
        uint64_t seen = reader->generation;
        int n_busy = reader->n_busy;
        sp_read_piece piece;
        pthread_mutex_unlock(&reader->mutex);
        bool taken = reader->owner.take(reader->owner.ctx, n_busy, &piece);
        pthread_mutex_lock(&reader->mutex);
        if (!taken) {
            while (reader->generation == seen && !reader->quit)
                pthread_cond_wait(&reader->woken, &reader->mutex);
            continue;
        }
        reader->n_busy++;
        pthread_mutex_unlock(&reader->mutex);
        piece.n_read = 0;
        piece.error = 0;
        read_piece(reader, &piece);
        reader->owner.done(reader->owner.ctx, &piece);
        pthread_mutex_lock(&reader->mutex);
        reader->n_busy--; /* this thread asks again: nobody else has to be woken */
    }
    pthread_mutex_unlock(&reader->mutex);
    return NULL;
}

static sp_status open_files(sp_reader *reader, const char *const *files, sp_error *err)
{
    for (int i = 0; i < reader->n_files; i++) {
        sp_read_file *file = &reader->files[i];
        file->path = files[i];
#if defined(O_DIRECT)
        file->fd = open(files[i], O_RDONLY | O_CLOEXEC | O_DIRECT);
        file->direct = file->fd >= 0;
#endif
        if (!file->direct) file->fd = open(files[i], O_RDONLY | O_CLOEXEC);
        if (file->fd < 0) return sp_fail_errno(err, "cannot open", files[i]);
    }
    return SP_OK;
}

static sp_status start_threads(sp_reader *reader, sp_error *err)
{
    int n = reader->depth < MAX_THREADS ? reader->depth : MAX_THREADS;
    reader->threads = sp_calloc((size_t)n, sizeof *reader->threads);
    if (!reader->threads) return sp_fail_nomem(err, "reader threads", (uint64_t)n * sizeof *reader->threads);
    for (int i = 0; i < n; i++) {
        if (pthread_create(&reader->threads[i], NULL, run_thread, reader) != 0)
            return sp_fail(err, SP_E_NOMEM, "reader: the system refuses to start thread %d of %d", i + 1, n);
        reader->n_threads++;
    }
    return SP_OK;
}

sp_status sp_reader_create(sp_reader **out, const char *const *files, int n_files, sp_reader_kind kind,
                           int depth, const sp_reader_owner *owner, sp_error *err)
{
    *out = NULL;
    sp_reader *reader = sp_calloc(1, sizeof *reader);
    if (!reader) return sp_fail_nomem(err, "reader", sizeof *reader);
    sp_status status;
    reader->owner = *owner;
    reader->depth = depth;
    pthread_mutex_init(&reader->mutex, NULL);
    pthread_cond_init(&reader->woken, NULL);
    reader->files = sp_calloc((size_t)n_files, sizeof *reader->files);
    if (!reader->files) {
        status = sp_fail_nomem(err, "reader", (uint64_t)n_files * sizeof *reader->files);
        goto done;
    }
    for (int i = 0; i < n_files; i++) reader->files[i].fd = -1;
    reader->n_files = n_files;
    SP_GOTO(done, status, open_files(reader, files, err));
    if (kind != SP_READER_THREADS) {
        sp_error why = SP_ERROR_NONE;
        status = sp_uring_create(&reader->uring, reader, &why);
        if (status != SP_OK && kind == SP_READER_URING) {
            if (err) *err = why;
            goto done;
        }
    }
    status = reader->uring ? SP_OK : start_threads(reader, err);
    if (status == SP_OK) *out = reader;
done:
    if (status != SP_OK) sp_reader_destroy(reader);
    return status;
}

void sp_reader_wake(sp_reader *reader)
{
    if (reader->uring) {
        sp_uring_wake(reader->uring);
        return;
    }
    pthread_mutex_lock(&reader->mutex);
    reader->generation++;
    pthread_cond_broadcast(&reader->woken);
    pthread_mutex_unlock(&reader->mutex);
}

void sp_reader_destroy(sp_reader *reader)
{
    if (!reader) return;
    sp_uring_destroy(reader->uring);
    pthread_mutex_lock(&reader->mutex);
    reader->quit = true;
    pthread_cond_broadcast(&reader->woken);
    pthread_mutex_unlock(&reader->mutex);
    for (int i = 0; i < reader->n_threads; i++) pthread_join(reader->threads[i], NULL);
    for (int i = 0; i < reader->n_files; i++)
        if (reader->files[i].fd >= 0) close(reader->files[i].fd);
    pthread_cond_destroy(&reader->woken);
    pthread_mutex_destroy(&reader->mutex);
    sp_free(reader->threads);
    sp_free(reader->files);
    sp_free(reader);
}

const char *sp_reader_kind_name(const sp_reader *reader)
{
    return reader->uring ? "io_uring" : "pread";
}

sp_status sp_reader_fail(const sp_reader *reader, const sp_read_piece *piece, sp_error *err)
{
    const char *path = reader->files[piece->file].path;
    if (piece->error < 0)
        return sp_fail_at(err, SP_E_IO, (int64_t)piece->offset,
                          "\"%s\": expected %zu bytes, found %zu: the file was cut while it was in use", path,
                          piece->n_needed, piece->n_read);
    return sp_fail_at(err, SP_E_IO, (int64_t)piece->offset, "cannot read \"%s\": %s", path,
                      strerror(piece->error));
}

/* --- a list of pieces ----------------------------------------------------------------------------------- */

typedef struct piece_list {
    sp_read_piece *pieces;
    size_t n, n_taken, n_done;
    const sp_read_piece *failed;
    pthread_mutex_t mutex;
    pthread_cond_t finished;
} piece_list;

static bool take_listed(void *ctx, int n_busy, sp_read_piece *piece)
{
    piece_list *list = ctx;
    (void)n_busy;
    pthread_mutex_lock(&list->mutex);
    bool any = list->n_taken < list->n && !list->failed;
    if (any) {
        *piece = list->pieces[list->n_taken];
        piece->tag = (int64_t)list->n_taken++;
    }
    pthread_mutex_unlock(&list->mutex);
    return any;
}

static void finish_listed(void *ctx, const sp_read_piece *piece)
{
    piece_list *list = ctx;
    pthread_mutex_lock(&list->mutex);
    list->pieces[piece->tag] = *piece;
    if (piece->error != 0 && !list->failed) list->failed = &list->pieces[piece->tag];
    list->n_done++;
    pthread_cond_signal(&list->finished);
    pthread_mutex_unlock(&list->mutex);
}

sp_status sp_read_pieces(const char *const *files, int n_files, sp_reader_kind kind, int depth,
                         sp_read_piece *pieces, size_t n, sp_error *err)
{
    if (n == 0) return SP_OK;
    piece_list list = {.pieces = pieces, .n = n};
    sp_reader *reader = NULL;
    sp_reader_owner owner = {&list, take_listed, finish_listed};
    pthread_mutex_init(&list.mutex, NULL);
    pthread_cond_init(&list.finished, NULL);
    sp_status status = sp_reader_create(&reader, files, n_files, kind, depth, &owner, err);
    if (status == SP_OK) {
        sp_reader_wake(reader);
        pthread_mutex_lock(&list.mutex);
        while (list.failed ? list.n_done < list.n_taken : list.n_done < n)
            pthread_cond_wait(&list.finished, &list.mutex);
        pthread_mutex_unlock(&list.mutex);
        if (list.failed) status = sp_reader_fail(reader, list.failed, err);
    }
    sp_reader_destroy(reader);
    pthread_cond_destroy(&list.finished);
    pthread_mutex_destroy(&list.mutex);
    return status;
}
