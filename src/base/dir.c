/* SPDX-License-Identifier: MIT */
/* Folders. POSIX, with Linux's exchange of two names where there is one. Start at sp_dir_list(). */
#include "base/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define MAX_NAMES ((size_t)1 << 20)
#define MAX_DEPTH 16

static sp_status add_name(sp_names_list *list, const char *name, sp_error *err)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 16;
        char **more = cap <= MAX_NAMES ? sp_realloc_array(list->names, cap, sizeof *more) : NULL;
        if (!more) return sp_fail_nomem(err, "list of names", cap * sizeof *more);
        list->names = more;
        list->cap = cap;
    }
    char *copy = sp_strdup(name);
    if (!copy) return sp_fail_nomem(err, "name", strlen(name));
    list->names[list->n++] = copy;
    return SP_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

sp_status sp_dir_list(sp_names_list *list, const char *path, sp_error *err)
{
    DIR *dir = opendir(path);
    if (!dir) return sp_fail_errno(err, "cannot list", path);
    sp_status status = SP_OK;
    const struct dirent *entry;
    while (status == SP_OK && (errno = 0, entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = add_name(list, entry->d_name, err);
    if (status == SP_OK && errno) status = sp_fail_errno(err, "cannot list", path);
    closedir(dir);
    if (status != SP_OK)
        sp_names_list_clear(list);
    else if (list->n)
        qsort(list->names, list->n, sizeof *list->names, compare_names);
    return status;
}

void sp_names_list_clear(sp_names_list *list)
{
    for (size_t i = 0; i < list->n; i++) sp_free(list->names[i]);
    sp_free(list->names);
    *list = (sp_names_list){NULL, 0, 0};
}

/* Remove `name` in the open folder `parent`. Without the library's memory, so that cleaning up after a failed allocation works. Returns
 * 0 or an errno. */
static int remove_at(int parent, const char *name, int depth)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return errno;
    if (depth == MAX_DEPTH) return ELOOP;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int code = errno;
        if (fd >= 0) close(fd);
        return code == ENOENT ? 0 : code;
    }
    int failed = 0;
    const struct dirent *entry;
    while (!failed && (errno = 0, entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            failed = remove_at(dirfd(dir), entry->d_name, depth + 1);
    closedir(dir);
    if (!failed && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT) failed = errno;
    return failed;
}

sp_status sp_dir_remove(const char *path, sp_error *err)
{
    errno = remove_at(AT_FDCWD, path, 0);
    return errno == 0 ? SP_OK : sp_fail_errno(err, "cannot remove", path);
}

sp_status sp_dir_sync(const char *path, sp_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return sp_fail_errno(err, "cannot open", path);
    /* some file systems cannot flush a folder and say so; then there is nothing to wait for */
    bool failed = fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP;
    sp_status status = failed ? sp_fail_errno(err, "cannot flush", path) : SP_OK;
    close(fd);
    return status;
}

/* 0 if the two names were exchanged in one step; errno is set otherwise. */
static int exchange(const char *a, const char *b)
{
#ifdef RENAME_EXCHANGE
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
#else
    (void)a, (void)b;
    errno = ENOSYS;
    return -1;
#endif
}

/* Without an exchange: the former folder steps aside first. A kill in between leaves nothing at `path`. */
static int exchange_slowly(const char *from, const char *path, const char *aside)
{
    if (rename(path, aside) != 0) return -1;
    if (rename(from, path) == 0) return rename(aside, from);
    int code = errno;
    if (rename(aside, path) != 0) return -1;
    errno = code;
    return -1;
}

static sp_status sync_parent(const char *path, sp_error *err)
{
    const char *base = sp_path_base(path);
    if (base == path) return sp_dir_sync(".", err);
    char *parent = sp_strndup(path, (size_t)(base - path));
    if (!parent) return sp_fail_nomem(err, "path", strlen(path));
    sp_status status = sp_dir_sync(parent, err);
    sp_free(parent);
    return status;
}

sp_status sp_dir_place(const char *from, const char *path, sp_error *err)
{
    if (!sp_file_exists(path)) {
        if (rename(from, path) != 0) return sp_fail_errno(err, "cannot rename to", path);
    } else if (exchange(from, path) != 0) {
        size_t n = strlen(from) + 8;
        char *aside = sp_malloc(n);
        if (!aside) return sp_fail_nomem(err, "path", n);
        snprintf(aside, n, "%s.old", from);
        int failed = exchange_slowly(from, path, aside);
        sp_free(aside);
        if (failed) return sp_fail_errno(err, "cannot rename to", path);
    }
    return sync_parent(path, err);
}

sp_status sp_dir_hold(int *hold, const char *path, sp_error *err)
{
    *hold = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*hold < 0) return sp_fail_errno(err, "cannot open", path);
    if (flock(*hold, LOCK_EX | LOCK_NB) == 0) return SP_OK;
    bool taken = errno == EWOULDBLOCK;
    close(*hold);
    *hold = -1;
    return taken ? sp_fail(err, SP_E_ARGUMENT, "another process is using \"%s\"", path) : SP_OK;
}

void sp_dir_release(int hold)
{
    if (hold >= 0) close(hold);
}
