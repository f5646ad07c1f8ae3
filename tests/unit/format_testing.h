/* SPDX-License-Identifier: MIT */
/* Shared by the tests of src/format: temporary directories, small files, failing allocations, data folder. */
#ifndef SP_TESTS_FORMAT_TESTING_H
#define SP_TESTS_FORMAT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A fresh directory; remove_dir deletes its files and itself. */
static inline void make_dir(char dir[64])
{
    snprintf(dir, 64, "/tmp/sputnik-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static inline void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        unlink(path);
    }
    closedir(d);
    rmdir(dir);
}

static inline int count_files(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

static inline void put_file(const char *dir, const char *name, const void *data, size_t n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    if (n) assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static inline void put_text_file(const char *dir, const char *name, const char *text)
{
    put_file(dir, name, text, strlen(text));
}

/* "<source>/../shared/data/<name>" if it exists, else NULL after a line that says what is skipped. */
static inline const char *shared_data(char path[4096], const char *name)
{
    const char *source = getenv("SP_SOURCE_DIR");
    snprintf(path, 4096, "%s/../shared/data/%s", source ? source : ".", name);
    if (sp_file_exists(path)) return path;
    printf("skipped: ../shared/data/%s is absent\n", name);
    return NULL;
}

static inline const char *source_file(char path[4096], const char *name)
{
    const char *source = getenv("SP_SOURCE_DIR");
    snprintf(path, 4096, "%s/%s", source ? source : ".", name);
    return path;
}

static inline void assert_ok(sp_status status, const sp_error *err)
{
    if (status != SP_OK) fail_msg("%s: %s", sp_status_name(status), err->text);
}

static inline void assert_error(sp_status status, sp_status expected, const sp_error *err, const char *text)
{
    if (status != expected || !strstr(err->text, text)) {
        fail_msg("expected %s \"%s\", got %s \"%s\"", sp_status_name(expected), text, sp_status_name(status),
                 status == SP_OK ? "" : err->text);
    }
}

/* Run a step with the 1st, 2nd, ... allocation failing until it succeeds: each failure must be SP_E_NOMEM.
 * Leaks are found by the sanitizer build. Returns how many allocations the step makes. */
static inline int64_t sweep_allocations(sp_status (*step)(void *ctx, sp_error *err), void *ctx)
{
    for (int64_t n = 0; n < 100000; n++) {
        sp_error err = SP_ERROR_NONE;
        sp_mem_fail_after(n);
        sp_status status = step(ctx, &err);
        sp_mem_fail_after(-1);
        if (status == SP_OK) return n;
        if (status != SP_E_NOMEM) fail_msg("allocation %lld: %s", (long long)n, err.text);
    }
    fail_msg("more than 100000 allocations");
    return -1;
}

#endif
