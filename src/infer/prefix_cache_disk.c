/* SPDX-License-Identifier: MIT */
/* The prefix cache's files: one per unit, named by the unit's name in hexadecimal, in a folder of the model's own. A header,
 * the ids, the rows; the header holds a SHA-256 of all the rest. Files are written under a hidden name and renamed; they are not
 * flushed, since a file that a crash tore is found out by its sum. A thread writes, so that the engine need not wait; reading is
 * the user's. Start at sp_prefix_disk_open(). */
#include "infer/prefix_cache_parts.h"

#include "base/dir.h"
#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UNIT_MAGIC "SPUTNIKP"
#define UNIT_VERSION 1
#define PATH_CAP 4096

typedef struct unit_header {
    char magic[8];
    uint32_t version;
    uint32_t n_ids;
    uint64_t n_row_bytes;
    uint8_t name[32];
    uint8_t sum[32]; /* of this header with zeros here, the ids and the rows */
} unit_header;

static uint64_t file_bytes(const sp_prefix_cache *c)
{
    return sizeof(unit_header) + SP_PREFIX_UNIT * sizeof(int32_t) + c->n_row_bytes;
}

static void fill_header(const sp_prefix_cache *c, unit_header *h, const uint8_t name[32], const int32_t *ids,
                        const uint8_t *rows)
{
    sp_sha256 sha;
    memset(h, 0, sizeof *h);
    memcpy(h->magic, UNIT_MAGIC, sizeof h->magic);
    h->version = UNIT_VERSION;
    h->n_ids = SP_PREFIX_UNIT;
    h->n_row_bytes = c->n_row_bytes;
    memcpy(h->name, name, sizeof h->name);
    sp_sha256_init(&sha);
    sp_sha256_add(&sha, h, sizeof *h);
    sp_sha256_add(&sha, ids, SP_PREFIX_UNIT * sizeof *ids);
    sp_sha256_add(&sha, rows, c->n_row_bytes);
    sp_sha256_end(&sha, h->sum);
}

static void make_path(const sp_prefix_cache *c, const uint8_t name[32], const char *before, const char *after,
                      char path[PATH_CAP])
{
    char hex[65];
    sp_sha256_hex(name, hex);
    snprintf(path, PATH_CAP, "%s/%s%s%s", c->dir, before, hex, after);
}

/* --- one file ------------------------------------------------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = write(fd, (const char *)data + done, n - done);
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

static bool read_all(int fd, void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = read(fd, (char *)data + done, n - done);
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

/* When a file was last of use is its time of change, set by hand: the system's own steps are longer than a write. */
static void mark_used(const char *path)
{
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[1] = times[0];
    utimensat(AT_FDCWD, path, times, 0);
}

static bool write_unit(const sp_prefix_cache *c, const sp_unit *unit)
{
    char path[PATH_CAP], hidden[PATH_CAP], pid[32];
    unit_header header;
    snprintf(pid, sizeof pid, ".%ld", (long)getpid());
    make_path(c, unit->name, "", "", path);
    make_path(c, unit->name, ".", pid, hidden);
    fill_header(c, &header, unit->name, unit->ids, unit->rows);
    int fd = open(hidden, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    bool done = write_all(fd, &header, sizeof header) && write_all(fd, unit->ids, sizeof unit->ids) &&
                write_all(fd, unit->rows, c->n_row_bytes);
    done = close(fd) == 0 && done;
    if (done) mark_used(hidden);
    done = done && rename(hidden, path) == 0;
    if (!done) unlink(hidden);
    return done;
}

static bool read_unit(const sp_prefix_cache *c, int fd, const uint8_t name[32], const int32_t *ids,
                      uint8_t *rows)
{
    unit_header found, expected;
    int32_t found_ids[SP_PREFIX_UNIT];
    char beyond;
    if (!read_all(fd, &found, sizeof found) || !read_all(fd, found_ids, sizeof found_ids)) return false;
    if (!read_all(fd, rows, c->n_row_bytes) || read(fd, &beyond, 1) != 0) return false;
    fill_header(c, &expected, name, ids, rows);
    return memcmp(&found, &expected, sizeof found) == 0 && memcmp(ids, found_ids, sizeof found_ids) == 0;
}

/* --- the files as a whole ------------------------------------------------------------------------------- */

/* The unit's file is there, and the newest. */
static void count_file(sp_prefix_cache *c, sp_unit *unit, uint64_t n_bytes)
{
    unit->n_file_bytes = n_bytes;
    sp_prefix_link(c, SP_LIST_DISK, unit, NULL);
    c->stats.n_disk_units++;
    c->stats.n_disk_bytes += n_bytes;
}

/* The unit's file is no more. */
static void forget_file(sp_prefix_cache *c, sp_unit *unit)
{
    sp_prefix_unlink(c, SP_LIST_DISK, unit);
    c->stats.n_disk_units--;
    c->stats.n_disk_bytes -= unit->n_file_bytes;
    unit->n_file_bytes = 0;
    sp_prefix_drop_if_empty(c, unit);
}

/* Remove the files that were of no use for longest until n_bytes fit. */
static bool fit_files(sp_prefix_cache *c, uint64_t n_bytes)
{
    while (c->stats.n_disk_bytes > 0 && c->stats.n_disk_bytes + n_bytes > c->disk_bytes) {
        sp_unit *oldest = c->lists[SP_LIST_DISK].oldest;
        char path[PATH_CAP];
        make_path(c, oldest->name, "", "", path);
        unlink(path);
        forget_file(c, oldest);
    }
    return n_bytes <= c->disk_bytes;
}

void sp_prefix_disk_touch(sp_prefix_cache *c, sp_unit *unit)
{
    char path[PATH_CAP];
    if (unit->n_file_bytes == 0) return;
    make_path(c, unit->name, "", "", path);
    mark_used(path);
    sp_prefix_unlink(c, SP_LIST_DISK, unit);
    sp_prefix_link(c, SP_LIST_DISK, unit, NULL);
}

bool sp_prefix_disk_read(sp_prefix_cache *c, const uint8_t name[32], const int32_t *ids, uint8_t *rows)
{
    char path[PATH_CAP];
    make_path(c, name, "", "", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_sound = fd >= 0 && read_unit(c, fd, name, ids, rows);
    if (fd >= 0) close(fd);
    if (is_sound) return true;
    if (fd >= 0) unlink(path);
    pthread_mutex_lock(&c->mutex);
    sp_unit *unit = sp_prefix_find(c, name);
    if (fd >= 0) c->stats.n_damaged++;
    if (unit && unit->n_file_bytes > 0) forget_file(c, unit);
    pthread_mutex_unlock(&c->mutex);
    return false;
}

/* --- the writer ----------------------------------------------------------------------------------------- */

bool sp_prefix_disk_queue(sp_prefix_cache *c, sp_unit *unit)
{
    if (!c->dir || c->n_queued == SP_PREFIX_QUEUE_MAX) return false;
    c->queue[(c->next_queued + c->n_queued++) % SP_PREFIX_QUEUE_MAX] = unit;
    unit->is_queued = true;
    pthread_cond_signal(&c->work);
    return true;
}

/* Write one unit, which has no file, within the budget. The mutex is held, but not while writing. */
static void spill(sp_prefix_cache *c, sp_unit *unit)
{
    if (!fit_files(c, file_bytes(c))) return;
    pthread_mutex_unlock(&c->mutex);
    bool done = write_unit(c, unit);
    pthread_mutex_lock(&c->mutex);
    if (done) count_file(c, unit, file_bytes(c));
}

static void *run_writer(void *ctx)
{
    sp_prefix_cache *c = ctx;
    pthread_mutex_lock(&c->mutex);
    for (;;) {
        while (c->n_queued == 0 && !c->is_ending) pthread_cond_wait(&c->work, &c->mutex);
        if (c->n_queued == 0) break;
        sp_unit *unit = c->queue[c->next_queued];
        spill(c, unit);
        c->next_queued = (c->next_queued + 1) % SP_PREFIX_QUEUE_MAX;
        c->n_queued--;
        unit->is_queued = false;
        if (!unit->is_kept) {
            sp_free(unit->rows);
            unit->rows = NULL;
            sp_prefix_drop_if_empty(c, unit);
        }
        if (c->n_queued == 0) pthread_cond_broadcast(&c->done);
    }
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

void sp_prefix_cache_flush(sp_prefix_cache *c)
{
    pthread_mutex_lock(&c->mutex);
    while (c->n_queued > 0) pthread_cond_wait(&c->done, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
}

/* --- opening and closing -------------------------------------------------------------------------------- */

typedef struct found_file {
    uint8_t name[32];
    struct timespec used;
    uint64_t n_bytes;
} found_file;

static int compare_age(const void *a, const void *b)
{
    const struct timespec *x = &((const found_file *)a)->used, *y = &((const found_file *)b)->used;
    if (x->tv_sec != y->tv_sec) return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* 64 hexadecimal digits, lower case. */
static bool parse_name(const char *hex, uint8_t name[32])
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(hex) != 64) return false;
    for (int i = 0; i < 64; i++) {
        const char *digit = strchr(digits, hex[i]);
        if (!digit) return false;
        name[i / 2] = (uint8_t)(i % 2 ? name[i / 2] | (digit - digits) : (digit - digits) << 4);
    }
    return true;
}

/* Look what files are there, oldest first; what was never finished is removed. */
static sp_status scan_folder(sp_prefix_cache *c, sp_error *err)
{
    sp_names_list list = {NULL, 0, 0};
    size_t n = 0;
    SP_TRY(sp_dir_list(&list, c->dir, err));
    found_file *files = sp_malloc_array(list.n, sizeof *files);
    for (size_t i = 0; files && i < list.n; i++) {
        char path[PATH_CAP];
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", c->dir, list.names[i]);
        if (list.names[i][0] == '.') unlink(path);
        if (!parse_name(list.names[i], files[n].name) || stat(path, &info) != 0) continue;
        files[n].used = info.st_mtim;
        files[n++].n_bytes = (uint64_t)info.st_size + (info.st_size == 0);
    }
    if (n > 1) qsort(files, n, sizeof *files, compare_age);
    for (size_t i = 0; i < n; i++) {
        sp_unit *unit = sp_prefix_add(c, files[i].name);
        if (unit) count_file(c, unit, files[i].n_bytes);
    }
    sp_status status = files ? SP_OK : sp_fail_nomem(err, "prefix cache", list.n * sizeof *files);
    sp_names_list_clear(&list);
    sp_free(files);
    fit_files(c, 0);
    return status;
}

sp_status sp_prefix_disk_open(sp_prefix_cache *c, const char *dir, sp_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "prefix-%016llx", (unsigned long long)c->fingerprint);
    c->dir = sp_path_join(dir, name);
    if (!c->dir) return sp_fail_nomem(err, "path", strlen(dir));
    if (strlen(c->dir) + 128 > PATH_CAP)
        return sp_fail(err, SP_E_ARGUMENT, "prefix cache: the folder's name is too long");
    SP_TRY(sp_dir_create(c->dir, err));
    if (access(c->dir, W_OK | X_OK) != 0) return sp_fail_errno(err, "cannot write to", c->dir);
    SP_TRY(scan_folder(c, err));
    c->has_writer = pthread_create(&c->writer, NULL, run_writer, c) == 0;
    return c->has_writer ? SP_OK : sp_fail(err, SP_E_NOMEM, "prefix cache: no thread can be started");
}

/* Write what is kept, the newest as far as the budget goes, in such an order that files are as old as their units: the
 * beginnings of texts last. */
static void spill_kept(sp_prefix_cache *c)
{
    uint64_t n_bytes = 0;
    sp_unit *unit = c->lists[SP_LIST_KEPT].newest, *last = NULL;
    for (; unit && n_bytes + file_bytes(c) <= c->disk_bytes; unit = unit->links[SP_LIST_KEPT].older) {
        n_bytes += file_bytes(c);
        last = unit;
    }
    for (unit = last; unit; unit = unit->links[SP_LIST_KEPT].newer) {
        if (unit->n_file_bytes > 0)
            sp_prefix_disk_touch(c, unit);
        else
            spill(c, unit);
    }
}

void sp_prefix_disk_close(sp_prefix_cache *c)
{
    if (!c->has_writer) return;
    pthread_mutex_lock(&c->mutex);
    c->is_ending = true;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->mutex);
    pthread_join(c->writer, NULL);
    pthread_mutex_lock(&c->mutex);
    spill_kept(c);
    pthread_mutex_unlock(&c->mutex);
}
