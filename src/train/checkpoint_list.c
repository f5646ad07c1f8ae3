/* SPDX-License-Identifier: MIT */
/* The checkpoints of a run's folder: which is the newest whole one, which are old, what a kill left behind. Hidden names
 * ".step-...tmp" are checkpoints that are being written or removed. Start at sp_checkpoint_newest(). */
#include "train/checkpoint_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"

void sp_checkpoint_name(char name[32], int64_t step)
{
    snprintf(name, 32, "step-%08lld", (long long)step);
}

int64_t sp_checkpoint_step(const char *name)
{
    if (strncmp(name, "step-", 5) != 0) return -1;
    size_t n = strspn(name + 5, "0123456789");
    if (n < 8 || n > 18 || name[5 + n] != '\0') return -1;
    return strtoll(name + 5, NULL, 10);
}

static int compare_steps(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The steps of the checkpoints in run_dir, ascending; a folder that is not there has none. */
static sp_status list_steps(const char *run_dir, int64_t **steps, size_t *n, sp_error *err)
{
    sp_names_list list = {NULL, 0, 0};
    *steps = NULL;
    *n = 0;
    sp_status status = sp_dir_list(&list, run_dir, err);
    if (status == SP_E_NOT_FOUND) return SP_OK;
    if (status != SP_OK) return status;
    *steps = sp_calloc(list.n + 1, sizeof **steps);
    if (!*steps) status = sp_fail_nomem(err, "list of checkpoints", list.n * sizeof **steps);
    for (size_t i = 0; *steps && i < list.n; i++) {
        int64_t step = sp_checkpoint_step(list.names[i]);
        if (step >= 0) (*steps)[(*n)++] = step;
    }
    if (*n) qsort(*steps, *n, sizeof **steps, compare_steps);
    sp_names_list_clear(&list);
    return status;
}

sp_status sp_checkpoint_clean(const char *run_dir, sp_error *err)
{
    sp_names_list list = {NULL, 0, 0};
    sp_status status = sp_dir_list(&list, run_dir, err);
    if (status == SP_E_NOT_FOUND) return SP_OK;
    for (size_t i = 0; status == SP_OK && i < list.n; i++) {
        if (strncmp(list.names[i], ".step-", 6) != 0) continue;
        char *path = sp_path_join(run_dir, list.names[i]);
        status = path ? sp_dir_remove(path, err) : sp_fail_nomem(err, "path", strlen(run_dir));
        sp_free(path);
    }
    sp_names_list_clear(&list);
    return status;
}

static char *step_path(const char *run_dir, int64_t step)
{
    char name[32];
    sp_checkpoint_name(name, step);
    return sp_path_join(run_dir, name);
}

sp_status sp_checkpoint_last(char **path, const char *run_dir, sp_error *err)
{
    int64_t *steps;
    size_t n;
    *path = NULL;
    SP_TRY(list_steps(run_dir, &steps, &n, err));
    if (n > 0) *path = step_path(run_dir, steps[n - 1]);
    sp_free(steps);
    return n == 0 || *path ? SP_OK : sp_fail_nomem(err, "path", strlen(run_dir));
}

/* Why a checkpoint is passed over; running out of memory or being refused by the system is no reason. */
static bool is_broken(sp_status status)
{
    return status == SP_E_FORMAT || status == SP_E_UNSUPPORTED || status == SP_E_LIMIT ||
           status == SP_E_NOT_FOUND;
}

sp_status sp_checkpoint_newest(char **path, const char *run_dir, sp_buf *skipped, sp_error *err)
{
    int64_t *steps = NULL;
    size_t n;
    sp_status status;
    *path = NULL;
    SP_GOTO(done, status, list_steps(run_dir, &steps, &n, err));
    while (n > 0 && !*path) {
        sp_train_state state;
        sp_error why = SP_ERROR_NONE;
        char *candidate = step_path(run_dir, steps[--n]);
        status = candidate ? sp_checkpoint_verify(candidate, &state, &why)
                           : sp_fail_nomem(&why, "path", strlen(run_dir));
        if (status == SP_OK) {
            *path = candidate;
            break;
        }
        sp_free(candidate);
        char name[32];
        sp_checkpoint_name(name, steps[n]);
        if (!is_broken(status)) {
            status = sp_fail(err, status, "%s: %s", name, why.text);
            goto done;
        }
        status = skipped ? sp_buf_printf(skipped, err, "%s: %s\n", name, why.text) : SP_OK;
        if (status != SP_OK) goto done;
    }
done:
    sp_free(steps);
    return status;
}

/* First out of sight, then removed: a kill in between leaves no half checkpoint under its name. */
static sp_status remove_step(const char *run_dir, int64_t step, sp_error *err)
{
    char name[48];
    snprintf(name, sizeof name, ".step-%08lld.old.tmp", (long long)step);
    char *path = step_path(run_dir, step), *hidden = sp_path_join(run_dir, name);
    sp_status status = SP_OK;
    if (!path || !hidden)
        status = sp_fail_nomem(err, "path", strlen(run_dir));
    else if ((status = sp_dir_remove(hidden, err)) == SP_OK)
        status = rename(path, hidden) == 0 ? sp_dir_remove(hidden, err) : sp_dir_remove(path, err);
    sp_free(path);
    sp_free(hidden);
    return status;
}

sp_status sp_checkpoint_prune(const char *run_dir, int64_t step, int n_keep, sp_error *err)
{
    int64_t *steps;
    size_t n, n_before = 0;
    SP_TRY(list_steps(run_dir, &steps, &n, err));
    sp_status status = SP_OK;
    while (n_before < n && steps[n_before] < step) n_before++;
    for (size_t i = 0; status == SP_OK && n_before - i >= (size_t)n_keep && i < n_before; i++)
        status = remove_step(run_dir, steps[i], err);
    sp_free(steps);
    return status;
}

sp_status sp_checkpoint_remove_all(const char *run_dir, sp_error *err)
{
    int64_t *steps;
    size_t n;
    SP_TRY(list_steps(run_dir, &steps, &n, err));
    sp_status status = SP_OK;
    for (size_t i = 0; status == SP_OK && i < n; i++) status = remove_step(run_dir, steps[i], err);
    sp_free(steps);
    return status == SP_OK ? sp_checkpoint_clean(run_dir, err) : status;
}
