/* SPDX-License-Identifier: MIT */
/* Small helpers of the unit tests: paths into the source tree and to ../shared, whole files, temporary files.
 */
#ifndef SP_TEST_UTIL_H
#define SP_TEST_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"

/* "<source tree>/<relative>", in one of several rotating buffers. */
static inline const char *test_path(const char *relative)
{
    static char paths[8][1024];
    static unsigned next;
    const char *root = getenv("SP_SOURCE_DIR");
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", root ? root : ".", relative);
    return path;
}

/* A path under ../shared/data, or NULL (with a line that says so) where that folder is absent. */
static inline const char *shared_path(const char *relative)
{
    char joined[512];
    snprintf(joined, sizeof joined, "../shared/data/%s", relative);
    const char *path = test_path(joined);
    if (sp_file_exists(path)) return path;
    printf("[ skipped ] %s is absent\n", path);
    return NULL;
}

static inline sp_buf read_whole(const char *path)
{
    sp_buf buf = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    if (sp_file_read(&buf, path, (size_t)1 << 30, &err) != SP_OK) fail_msg("%s", err.text);
    return buf;
}

#define assert_ok(call, err)                                                                                 \
    do {                                                                                                     \
        if ((call) != SP_OK) fail_msg("%s: %s", #call, (err).text);                                          \
    } while (0)

#endif
