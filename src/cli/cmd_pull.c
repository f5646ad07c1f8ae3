/* SPDX-License-Identifier: MIT */
/* `sputnik pull`: fetch a published model from the Hugging Face hub into the cache. Asks the hub for the
 * repository's files, chooses those of one model, downloads what is not there yet, and lists them as complete
 * (hub.h). */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/download.h"
#include "cli/hub.h"

typedef struct pull_args {
    int list;
    int64_t n_retries;
    double retry_s;
} pull_args;

static const pull_args pull_defaults = {0, 6, 1};

static const sp_arg pull_table[] = {
    SP_FLAG_ROW(pull_args, list, "list", 0, "list the names that are known, or the files of NAME"),
    SP_INT_ROW(pull_args, n_retries, "retries", 0, 0, 1000, "failures in a row before giving up (default 6)"),
    SP_FLOAT_ROW(pull_args, retry_s, "retry-delay", 0, 0, 30,
                 "seconds before the first new attempt; doubles each time"),
};

#define MAX_LIST_BYTES ((size_t)64 << 20)
#define MAX_LIST_PAGES 1000

typedef struct pull {
    const pull_args *args;
    sp_hub_ref ref;
    sp_net net;
    char endpoint[512];
    sp_hub_files files, chosen, known; /* on the hub; of the model; pulled before */
    char label[48];
    const char *model; /* points into chosen, or "." */
    char *dir;
    int lock_fd;
} pull;

static sp_status read_environment(pull *p, sp_error *err)
{
    const char *endpoint = getenv("HF_ENDPOINT"), *token = getenv("HF_TOKEN");
    if (!endpoint || !endpoint[0]) endpoint = "https://huggingface.co";
    size_t n = strlen(endpoint);
    while (n > 0 && endpoint[n - 1] == '/') n--;
    if (n >= sizeof p->endpoint ||
        (strncmp(endpoint, "https://", 8) != 0 && strncmp(endpoint, "http://", 7) != 0))
        return sp_fail(err, SP_E_ARGUMENT, "HF_ENDPOINT: found \"%.100s\", expected an http or https address",
                       endpoint);
    memcpy(p->endpoint, endpoint, n);
    p->endpoint[n] = '\0';
    p->net.https_only = endpoint[4] == 's';
    for (const char *c = token; c && *c; c++)
        if (*c <= ' ' || *c > '~')
            return sp_fail(err, SP_E_ARGUMENT, "HF_TOKEN: a character that no token has, at place %zu",
                           (size_t)(c - token) + 1);
    p->net.token = token && token[0] ? token : NULL;
    return SP_OK;
}

/* A path or name in a URL: everything but letters, digits and "-._~/" is percent-encoded. */
static sp_status put_encoded(sp_buf *url, const char *text, sp_error *err)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                     strchr("-._~/", *c);
        SP_TRY(plain ? sp_buf_append(url, c, 1, err) : sp_buf_printf(url, err, "%%%02X", *c));
    }
    return SP_OK;
}

/* The next page as the hub names it, but always at our endpoint (a mirror may pass the hub's own links on).
 */
static sp_status follow_link(const pull *p, sp_buf *url, const char *next, sp_error *err)
{
    const char *path = strstr(next, "/api/models/");
    if (!path) return sp_fail(err, SP_E_FORMAT, "file list: the link to its next page is \"%.100s\"", next);
    url->len = 0;
    return sp_buf_printf(url, err, "%s%s", p->endpoint, path);
}

static sp_status list_files(pull *p, sp_error *err)
{
    sp_buf url = {NULL, 0, 0}, body = {NULL, 0, 0};
    sp_status status;
    SP_GOTO(done, status, sp_buf_printf(&url, err, "%s/api/models/", p->endpoint));
    SP_GOTO(done, status, put_encoded(&url, p->ref.repo, err));
    SP_GOTO(done, status, sp_buf_puts(&url, "/tree/", err));
    SP_GOTO(done, status, put_encoded(&url, p->ref.revision, err));
    SP_GOTO(done, status, sp_buf_puts(&url, "?recursive=true", err));
    for (int page = 0;; page++) {
        char *next = NULL;
        SP_GOTO(done, status, sp_net_get(&p->net, url.data, MAX_LIST_BYTES, &body, &next, err));
        status = sp_hub_parse_tree(body.data ? body.data : "", body.len, &p->files, err);
        bool more = next != NULL;
        if (status == SP_OK && more) status = follow_link(p, &url, next, err);
        sp_free(next);
        if (status != SP_OK || !more) break;
        if (page >= MAX_LIST_PAGES) {
            status = sp_fail(err, SP_E_LIMIT, "file list: more than %d pages", MAX_LIST_PAGES);
            break;
        }
    }
done:
    sp_buf_clear(&url);
    sp_buf_clear(&body);
    return status;
}

static sp_status lock_folder(pull *p, sp_error *err)
{
    char *path = sp_path_join(p->dir, ".lock");
    if (!path) return sp_fail_nomem(err, "file name", 0);
    p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    sp_status status = SP_OK;
    if (p->lock_fd < 0)
        status = sp_fail(err, SP_E_IO, "\"%s\": %s", path, strerror(errno));
    else if (flock(p->lock_fd, LOCK_EX | LOCK_NB) != 0)
        status = sp_fail(err, SP_E_IO, "another sputnik is pulling %s", p->ref.repo);
    sp_free(path);
    return status;
}

/* True if an earlier pull has verified these very bytes and they are still there. */
static bool is_present(const pull *p, const sp_hub_file *file, const char *path)
{
    uint64_t size = 0;
    if (sp_file_size(path, &size, NULL) != SP_OK || size != file->size) return false;
    for (size_t i = 0; i < p->known.n; i++)
        if (strcmp(p->known.items[i].path, file->path) == 0)
            return file->sha256[0] && strcmp(p->known.items[i].sha256, file->sha256) == 0;
    char hex[65]; /* complete, but the pull was ended before the list was written */
    return file->sha256[0] && sp_file_sha256(path, "verifying", hex, NULL) == SP_OK &&
           strcmp(hex, file->sha256) == 0;
}

static sp_status make_folder(const char *path, sp_error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = sp_strndup(path, (size_t)(slash - path));
    if (!folder) return sp_fail_nomem(err, "file name", strlen(path));
    sp_status status = sp_dir_create(folder, err);
    sp_free(folder);
    return status;
}

static sp_status fetch_file(pull *p, size_t i, sp_error *err)
{
    const sp_hub_file *file = &p->chosen.items[i];
    sp_buf url = {NULL, 0, 0};
    char label[64];
    sp_status status;
    char *path = sp_path_join(p->dir, file->path);
    if (!path) return sp_fail_nomem(err, "file name", strlen(file->path));
    if (is_present(p, file, path)) {
        sp_free(path);
        return SP_OK;
    }
    SP_GOTO(done, status, make_folder(path, err));
    SP_GOTO(done, status, sp_buf_printf(&url, err, "%s/", p->endpoint));
    SP_GOTO(done, status, put_encoded(&url, p->ref.repo, err));
    SP_GOTO(done, status, sp_buf_puts(&url, "/resolve/", err));
    SP_GOTO(done, status, put_encoded(&url, p->ref.revision, err));
    SP_GOTO(done, status, sp_buf_puts(&url, "/", err));
    SP_GOTO(done, status, put_encoded(&url, file->path, err));
    snprintf(label, sizeof label, "%zu/%zu %.40s", i + 1, p->chosen.n, sp_path_base(file->path));
    sp_download download = {url.data, path, label, file->size, file->sha256};
    status = sp_net_download(&p->net, &download, err);
done:
    sp_buf_clear(&url);
    sp_free(path);
    return status;
}

static sp_status fetch_all(pull *p, sp_error *err)
{
    char *known_model = NULL;
    SP_TRY(sp_hub_choose(&p->files, p->ref.quant, &p->chosen, p->label, &p->model, err));
    SP_TRY(sp_hub_dir(&p->ref, &p->dir, err));
    SP_TRY(sp_dir_create(p->dir, err));
    SP_TRY(lock_folder(p, err));
    sp_status status = sp_hub_read_list(p->dir, p->label, &p->known, &known_model, NULL);
    sp_free(known_model);
    if (status == SP_E_NOMEM) return sp_fail_nomem(err, "list of files", 0);
    for (size_t i = 0; i < p->chosen.n; i++) SP_TRY(fetch_file(p, i, err));
    return sp_hub_write_list(p->dir, p->label, &p->chosen, p->model, err);
}

static int print_names(void)
{
    for (size_t i = 0; sp_hub_names[i].name; i++)
        printf("%-34s %s\n", sp_hub_names[i].name, sp_hub_names[i].repo);
    return SP_EXIT_GOOD;
}

static sp_status run_pull_steps(pull *p, sp_error *err)
{
    SP_TRY(read_environment(p, err));
    SP_TRY(sp_net_open(&p->net, err));
    SP_TRY(list_files(p, err));
    if (p->args->list) {
        for (size_t i = 0; i < p->files.n; i++) {
            char size[32];
            printf("%10s  %s\n", sp_cli_size(size, (double)p->files.items[i].size), p->files.items[i].path);
        }
        return SP_OK;
    }
    SP_TRY(fetch_all(p, err));
    if (strcmp(p->model, ".") == 0)
        puts(p->dir);
    else
        printf("%s/%s\n", p->dir, p->model);
    return SP_OK;
}

static int run_pull(const void *options, char *const *operands, int n_operands)
{
    sp_error err = SP_ERROR_NONE;
    pull p;
    memset(&p, 0, sizeof p);
    p.args = options;
    p.lock_fd = -1;
    p.net.n_retries = p.args->n_retries;
    p.net.retry_s = p.args->retry_s;
    if (n_operands == 0)
        return p.args->list
                   ? print_names()
                   : sp_cli_usage(&sp_command_pull, "expected NAME[:QUANT], or --list for the names");
    if (!sp_hub_parse(operands[0], &p.ref)) {
        const char *nearest = sp_hub_nearest(operands[0]);
        sp_cli_say("\"%.200s\" is no name that pull knows, nor ORG/REPO[@REVISION][:QUANT]", operands[0]);
        sp_cli_hint(nearest ? "did you mean %s?" : "\"sputnik pull --list\" lists the %s",
                    nearest ? nearest : "names");
        return SP_EXIT_FAILED;
    }
    sp_status status = run_pull_steps(&p, &err);
    if (status != SP_OK)
        sp_cli_fail(&err, status == SP_E_NETWORK
                              ? "what has arrived is kept: the same command goes on from there"
                              : NULL);
    if (p.lock_fd >= 0) close(p.lock_fd);
    sp_net_close(&p.net);
    sp_hub_files_clear(&p.files);
    sp_hub_files_clear(&p.chosen);
    sp_hub_files_clear(&p.known);
    sp_free(p.dir);
    return status == SP_OK ? SP_EXIT_GOOD : SP_EXIT_FAILED;
}

const sp_command sp_command_pull = {
    "pull",
    "[NAME[:QUANT]]",
    "fetch a published model (resumable, verified)",
    "NAME is one of \"sputnik pull --list\" or ORG/REPO[@REVISION] on the Hugging Face hub. QUANT chooses "
    "among\n"
    "GGUF files (default Q4_K_M, else what there is). Prints the path; other commands take the NAME as "
    "MODEL.\n"
    "Environment: HF_ENDPOINT, HF_TOKEN; SPUTNIK_CACHE or XDG_CACHE_HOME for the cache directory.",
    pull_table,
    sizeof pull_table / sizeof pull_table[0],
    &pull_defaults,
    sizeof pull_defaults,
    0,
    1,
    run_pull,
};
