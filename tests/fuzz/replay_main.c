/* SPDX-License-Identifier: MIT */
/* Replays a corpus through a fuzz target without a fuzzer: every file of the directories (or every file)
 * given as arguments once. Fails if there is none, so that a lost corpus is noticed. */
#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is copied to a block of its exact size, so that a sanitizer sees any byte read beyond it. */
static bool replay_file(const char *path)
{
    sp_buf buf = {0};
    sp_error err = SP_ERROR_NONE;
    if (sp_file_read(&buf, path, (size_t)1 << 30, &err) != SP_OK) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    uint8_t *copy = malloc(buf.len ? buf.len : 1);
    if (copy && buf.len) memcpy(copy, buf.data, buf.len);
    if (copy) LLVMFuzzerTestOneInput(copy, buf.len);
    bool good = copy != NULL;
    free(copy);
    sp_buf_clear(&buf);
    return good;
}

static long replay_dir(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d) return -1;
    long n = 0;
    for (struct dirent *e; n >= 0 && (e = readdir(d));) {
        if (e->d_name[0] == '.' || strncmp(e->d_name, "README", 6) == 0 ||
            strncmp(e->d_name, "LICENSE", 7) == 0)
            continue;
        char *path = sp_path_join(dir, e->d_name);
        n = path && replay_file(path) ? n + 1 : -1;
        sp_free(path);
    }
    closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    long total = 0;
    for (int i = 1; i < argc; i++) {
        long n = sp_file_is_dir(argv[i]) ? replay_dir(argv[i]) : replay_file(argv[i]) ? 1 : -1;
        if (n < 0) {
            fprintf(stderr, "cannot replay %s\n", argv[i]);
            return 1;
        }
        total += n;
    }
    printf("%ld inputs replayed\n", total);
    return total > 0 ? 0 : 1;
}
