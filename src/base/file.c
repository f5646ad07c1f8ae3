/* SPDX-License-Identifier: MIT */
/* Memory maps, whole-file reads, reads at places and the atomic writer. POSIX only. Start at sp_map_open() and
 * sp_writer_open(). */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

sp_status sp_map_open(sp_map *map, const char *path, sp_error *err)
{
    *map = (sp_map){NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return sp_fail_errno(err, "cannot open", path);
    sp_status status = SP_OK;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        status = sp_fail_errno(err, "cannot stat", path);
    } else if (!S_ISREG(st.st_mode)) {
        status = sp_fail(err, SP_E_IO, "\"%s\" is not a regular file", path);
    } else if (st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = sp_fail_errno(err, "cannot map", path);
        else
            *map = (sp_map){data, (size_t)st.st_size};
    }
    close(fd);
    return status;
}

void sp_map_close(sp_map *map)
{
    if (map->data) munmap((void *)(uintptr_t)map->data, map->len);
    *map = (sp_map){NULL, 0};
}

void sp_map_want_huge(const void *data, size_t n_bytes)
{
#if defined(MADV_HUGEPAGE)
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data & ~(page - 1);
    if (n_bytes > 0) madvise((void *)begin, (uintptr_t)data + n_bytes - begin, MADV_HUGEPAGE);
#else
    (void)data;
    (void)n_bytes;
#endif
}

/* --- reads at places ------------------------------------------------------------------------------------ */

sp_status sp_file_open(sp_file *file, const char *path, sp_error *err)
{
    *file = (sp_file){open(path, O_RDONLY | O_CLOEXEC), path};
    return file->fd >= 0 ? SP_OK : sp_fail_errno(err, "cannot open", path);
}

sp_status sp_file_read_at(const sp_file *file, void *data, size_t n_bytes, uint64_t offset, sp_error *err)
{
    char *to = data;
    while (n_bytes > 0) {
        ssize_t n = pread(file->fd, to, n_bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return sp_fail_errno(err, "cannot read", file->path);
        if (n == 0)
            return sp_fail(err, SP_E_IO, "\"%s\" ends at byte %llu, %zu too early", file->path,
                           (unsigned long long)offset, n_bytes);
        to += n;
        offset += (uint64_t)n;
        n_bytes -= (size_t)n;
    }
    return SP_OK;
}

void sp_file_forget(const sp_file *file, size_t n_bytes, uint64_t offset)
{
#if defined(POSIX_FADV_DONTNEED)
    posix_fadvise(file->fd, (off_t)offset, (off_t)n_bytes, POSIX_FADV_DONTNEED);
#else
    (void)file;
    (void)n_bytes;
    (void)offset;
#endif
}

void sp_file_close(sp_file *file)
{
    if (file->fd >= 0) close(file->fd);
    file->fd = -1;
}

/* --- whole files ---------------------------------------------------------------------------------------- */

static sp_status read_all(sp_buf *buf, FILE *file, const char *path, size_t max_bytes, sp_error *err)
{
    char chunk[65536];
    size_t total = 0, n;
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0) {
        total += n;
        if (total > max_bytes)
            return sp_fail(err, SP_E_LIMIT, "\"%s\" is larger than the limit of %zu bytes", path, max_bytes);
        SP_TRY(sp_buf_append(buf, chunk, n, err));
    }
    return ferror(file) ? sp_fail_errno(err, "cannot read", path) : sp_buf_reserve(buf, 0, err);
}

sp_status sp_file_read(sp_buf *buf, const char *path, size_t max_bytes, sp_error *err)
{
    FILE *file = fopen(path, "rbe");
    if (!file) return sp_fail_errno(err, "cannot open", path);
    sp_status status = read_all(buf, file, path, max_bytes, err);
    fclose(file);
    return status;
}

bool sp_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool sp_file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

sp_status sp_file_size(const char *path, uint64_t *size, sp_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0) return sp_fail_errno(err, "cannot stat", path);
    *size = (uint64_t)st.st_size;
    return SP_OK;
}

sp_status sp_dir_create(const char *path, sp_error *err)
{
    char *copy = sp_strdup(path);
    if (!copy) return sp_fail_nomem(err, "path", strlen(path));
    sp_status status = SP_OK;
    for (char *p = copy + 1; status == SP_OK && *copy; p++) {
        if (*p != '/' && *p != '\0') continue;
        char end = *p;
        *p = '\0';
        if (mkdir(copy, 0777) != 0) {
            int code = errno;
            if (!sp_file_is_dir(copy)) {
                errno = code;
                status = sp_fail_errno(err, "cannot create directory", copy);
            }
        }
        *p = end;
        if (end == '\0') break;
    }
    sp_free(copy);
    return status;
}

char *sp_path_join(const char *dir, const char *name)
{
    size_t n_dir = strlen(dir), n_name = strlen(name);
    while (n_dir > 1 && dir[n_dir - 1] == '/') n_dir--;
    char *path = sp_malloc(n_dir + n_name + 2);
    if (!path) return NULL;
    memcpy(path, dir, n_dir);
    path[n_dir] = '/';
    memcpy(path + n_dir + 1, name, n_name + 1);
    return path;
}

const char *sp_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* --- atomic writer -------------------------------------------------------------------------------------- */

struct sp_writer {
    FILE *file;
    char *path;
    char *tmp_path;
    uint64_t offset;
    bool committed;
};

sp_status sp_writer_open(sp_writer **writer, const char *path, sp_error *err)
{
    *writer = NULL;
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) /* renaming would replace a device such as /dev/null */
        return sp_fail(err, SP_E_IO, "\"%s\" exists and is not a regular file", path);
    sp_writer *w = sp_calloc(1, sizeof *w);
    if (!w) return sp_fail_nomem(err, "file writer", sizeof *w);
    sp_status status = SP_OK;
    size_t n_tmp = strlen(path) + 32;
    w->path = sp_strdup(path);
    w->tmp_path = sp_malloc(n_tmp);
    if (!w->path || !w->tmp_path) {
        status = sp_fail_nomem(err, "file writer", n_tmp);
        goto done;
    }
    snprintf(w->tmp_path, n_tmp, "%s.tmp.%ld", path, (long)getpid());
    w->file = fopen(w->tmp_path, "wbe");
    if (!w->file) {
        status = sp_fail_errno(err, "cannot create", path);
        goto done;
    }
    setvbuf(w->file, NULL, _IOFBF, 1 << 20);
    *writer = w;
done:
    if (status != SP_OK) sp_writer_close(w);
    return status;
}

sp_status sp_writer_write(sp_writer *writer, const void *data, size_t n, sp_error *err)
{
    if (n && fwrite(data, 1, n, writer->file) != n) return sp_fail_errno(err, "cannot write", writer->path);
    writer->offset += n;
    return SP_OK;
}

uint64_t sp_writer_offset(const sp_writer *writer)
{
    return writer->offset;
}

sp_status sp_writer_pad(sp_writer *writer, size_t alignment, sp_error *err)
{
    static const char zeros[256];
    size_t left = (size_t)((alignment - writer->offset % alignment) % alignment);
    while (left) {
        size_t n = left < sizeof zeros ? left : sizeof zeros;
        SP_TRY(sp_writer_write(writer, zeros, n, err));
        left -= n;
    }
    return SP_OK;
}

sp_status sp_writer_commit(sp_writer *writer, sp_error *err)
{
    bool written = fflush(writer->file) == 0 && fsync(fileno(writer->file)) == 0;
    if (!written) return sp_fail_errno(err, "cannot write", writer->path);
    int closed = fclose(writer->file);
    writer->file = NULL;
    if (closed != 0) return sp_fail_errno(err, "cannot write", writer->path);
    if (rename(writer->tmp_path, writer->path) != 0)
        return sp_fail_errno(err, "cannot rename to", writer->path);
    writer->committed = true;
    return SP_OK;
}

void sp_writer_close(sp_writer *writer)
{
    if (!writer) return;
    if (writer->file) fclose(writer->file);
    if (!writer->committed && writer->tmp_path) unlink(writer->tmp_path);
    sp_free(writer->path);
    sp_free(writer->tmp_path);
    sp_free(writer);
}

sp_status sp_file_write(const char *path, const sp_buf *bytes, sp_error *err)
{
    sp_writer *writer;
    SP_TRY(sp_writer_open(&writer, path, err));
    sp_status status = sp_writer_write(writer, bytes->data, bytes->len, err);
    if (status == SP_OK) status = sp_writer_commit(writer, err);
    sp_writer_close(writer);
    return status;
}
