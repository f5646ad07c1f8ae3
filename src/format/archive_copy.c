/* SPDX-License-Identifier: MIT */
/* A model's tensors in memory of our own instead of the map (decision 19): each file's stretch from the first tensor to the
 * last is read in pieces by the pool's threads, and the entries are pointed there. Start at sp_archive_copy(). */
#include "format/archive_parts.h"

#include <stdatomic.h>

/* Read at once: two huge pages, and enough for a disk to be busy. */
#define PIECE ((size_t)4 << 20)
/* A copy begins as far into a page as its file's bytes do, so tensors keep their alignment. */
#define PAGE ((uint64_t)4096)

/* A file's stretch and where it goes. */
typedef struct stretch {
    uint64_t begin, end; /* in the file; equal: it has no tensors */
    size_t first_piece;
    char *copy;
    sp_file file;
} stretch;

typedef struct copy_job {
    stretch *stretches; /* (n_files) */
    size_t n_files, n_pieces;
    bool forget;
    _Atomic bool failed;
    sp_error error; /* of the thread that set `failed` */
} copy_job;

static void find_stretches(copy_job *job, const sp_archive *archive)
{
    for (size_t i = 0; i < archive->n_entries; i++) {
        const sp_entry *e = &archive->entries[i];
        stretch *s = &job->stretches[e->file];
        uint64_t end = e->file_offset + e->n_bytes;
        if (!e->tensor.data || e->n_bytes == 0) continue;
        if (s->end == 0) s->begin = e->file_offset;
        if (e->file_offset < s->begin) s->begin = e->file_offset;
        if (end > s->end) s->end = end;
    }
    for (size_t i = 0; i < job->n_files; i++) {
        stretch *s = &job->stretches[i];
        s->begin -= s->begin % PAGE;
        s->first_piece = job->n_pieces;
        job->n_pieces += (size_t)((s->end - s->begin + PIECE - 1) / PIECE);
    }
}

static sp_status open_stretches(copy_job *job, const sp_archive *archive, sp_error *err)
{
    for (size_t i = 0; i < job->n_files; i++) {
        stretch *s = &job->stretches[i];
        if (s->end == s->begin) continue;
        s->copy = sp_pages_map((size_t)(s->end - s->begin));
        if (!s->copy) return sp_fail_nomem(err, "a copy of the weights", s->end - s->begin);
        SP_TRY(sp_file_open(&s->file, archive->files[i].path, err));
    }
    return SP_OK;
}

static sp_status read_piece(const copy_job *job, size_t piece, sp_error *err)
{
    const stretch *s = &job->stretches[job->n_files - 1];
    while (s->first_piece > piece || s->end == s->begin) s--;
    uint64_t at = (uint64_t)(piece - s->first_piece) * PIECE, left = s->end - s->begin - at;
    size_t n = left < PIECE ? (size_t)left : PIECE;
    SP_TRY(sp_file_read_at(&s->file, s->copy + at, n, s->begin + at, err));
    if (job->forget) sp_file_forget(&s->file, n, s->begin + at);
    return SP_OK;
}

static void read_pieces(void *ctx, size_t begin, size_t end, int thread)
{
    copy_job *job = ctx;
    sp_error err = SP_ERROR_NONE;
    (void)thread;
    for (size_t i = begin; i < end && !atomic_load(&job->failed); i++)
        if (read_piece(job, i, &err) != SP_OK && !atomic_exchange(&job->failed, true)) job->error = err;
}

/* Where a pointer into one of the maps points in the copies; scales may lie in another file than their matrix. What is in
 * no map (data that had to be realigned) stays. */
static const void *moved(const copy_job *job, const sp_archive *archive, const void *data)
{
    for (size_t i = 0; i < job->n_files; i++) {
        const stretch *s = &job->stretches[i];
        const sp_map *map = &archive->files[i].map;
        uint64_t at = (uint64_t)((uintptr_t)data - (uintptr_t)map->data);
        if (map->data && at < map->len && s->copy && at >= s->begin && at < s->end)
            return s->copy + (at - s->begin);
    }
    return data;
}

static void point_to_copies(const copy_job *job, sp_archive *archive)
{
    for (size_t i = 0; i < archive->n_entries; i++) {
        sp_tensor *t = &archive->entries[i].tensor;
        if (t->data) t->data = (void *)(uintptr_t)moved(job, archive, t->data);
        if (t->scale) t->scale = moved(job, archive, t->scale);
    }
    for (size_t i = 0; i < job->n_files; i++) {
        const stretch *s = &job->stretches[i];
        archive->files[i].copy = s->copy;
        archive->files[i].copy_bytes = (size_t)(s->end - s->begin);
    }
}

sp_status sp_archive_copy(sp_archive *archive, sp_pool *pool, bool forget, sp_error *err)
{
    if (archive->n_files == 0 || sp_archive_is_copied(archive)) return SP_OK;
    copy_job job = {.n_files = archive->n_files, .forget = forget, .error = SP_ERROR_NONE};
    job.stretches = sp_calloc(job.n_files, sizeof *job.stretches);
    if (!job.stretches)
        return sp_fail_nomem(err, "a copy of the weights", job.n_files * sizeof *job.stretches);
    for (size_t i = 0; i < job.n_files; i++) job.stretches[i].file.fd = -1;
    find_stretches(&job, archive);
    sp_status status = open_stretches(&job, archive, err);
    if (status == SP_OK) {
        sp_pool_run(pool, job.n_pieces, 1, read_pieces, &job);
        if (atomic_load(&job.failed)) {
            status = job.error.code;
            if (err) *err = job.error;
        }
    }
    if (status == SP_OK) point_to_copies(&job, archive);
    for (size_t i = 0; i < job.n_files; i++) {
        stretch *s = &job.stretches[i];
        sp_file_close(&s->file);
        if (status != SP_OK) sp_pages_unmap(s->copy, (size_t)(s->end - s->begin));
    }
    sp_free(job.stretches);
    return status;
}

bool sp_archive_is_copied(const sp_archive *archive)
{
    for (size_t i = 0; i < archive->n_files; i++)
        if (archive->files[i].copy) return true;
    return false;
}

void sp_archive_want_huge(const sp_archive *archive)
{
    for (size_t i = 0; i < archive->n_files; i++) {
        const sp_map *map = &archive->files[i].map;
        sp_map_want_huge(map->data, map->len);
    }
}
