/* SPDX-License-Identifier: MIT */
/* A MODEL argument to a path: an existing file or directory, the model that comes with the program, else one that `pull` has
 * fetched. */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/hub.h"
#include "train/checkpoint.h"

static void print_missing(const char *model)
{
    const char *nearest = sp_hub_nearest(model);
    sp_cli_say("model \"%.200s\": %s", model, strerror(ENOENT));
    if (nearest)
        sp_cli_hint("did you mean %s? \"sputnik pull %s\" fetches it", nearest, nearest);
    else
        sp_cli_hint("expected a GGUF file, a Hugging Face directory or a name that \"sputnik pull\" knows");
}

/* Names of files that are merely absent also have the form ORG/REPO. */
static bool looks_like_a_file(const char *model)
{
    size_t n = strlen(model);
    char folder[160];
    if (n >= 5 && strcasecmp(model + n - 5, ".gguf") == 0) return true;
    size_t len = strcspn(model, "/");
    if (model[len] == '\0' || len >= sizeof folder) return false;
    memcpy(folder, model, len);
    folder[len] = '\0';
    return sp_file_is_dir(folder);
}

/* The model that comes with the program: beside it in the build folder, or where `make install` puts it. */
static char *find_nano(void)
{
    static const char *const places[] = {"share/sputnik/nano.gguf", "../share/sputnik/nano.gguf"};
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    while (n > 0 && exe[n - 1] != '/') n--;
    exe[n > 0 ? n : 0] = '\0';
    for (size_t i = 0; n > 0 && i < sizeof places / sizeof places[0]; i++) {
        char *path = sp_path_join(exe, places[i]);
        if (path && sp_file_exists(path)) return path;
        sp_free(path);
    }
    return sp_file_exists(SP_DATA_DIR "/nano.gguf") ? sp_strdup(SP_DATA_DIR "/nano.gguf") : NULL;
}

/* The last checkpoint of a run's folder, NULL if it is none. */
static char *find_step(const char *folder)
{
    char *config = sp_path_join(folder, "config.json"), *path = NULL;
    bool is_model = !config || sp_file_exists(config);
    sp_free(config);
    if (!is_model && sp_file_is_dir(folder)) sp_checkpoint_last(&path, folder, NULL);
    return path;
}

char *sp_cli_locate(const char *model)
{
    sp_error err = SP_ERROR_NONE;
    sp_hub_ref ref;
    char *path = NULL;
    bool nano = strcasecmp(model, "nano") == 0; /* goes before a file of that name: that one is ./nano */
    if (nano && (path = find_nano()) != NULL) return path;
    if (sp_file_exists(model) || sp_file_is_dir(model)) {
        path = find_step(model);
        if (!path) path = sp_strdup(model);
        if (!path) sp_cli_say("out of memory");
        return path;
    }
    if (nano) {
        sp_cli_say("nano: the model that comes with the program, share/sputnik/nano.gguf, is not there");
        sp_cli_hint("\"sputnik pull deepseek-r1-distill-qwen-1.5b\" fetches a small model");
        return NULL;
    }
    if (looks_like_a_file(model) || !sp_hub_parse(model, &ref)) {
        print_missing(model);
        return NULL;
    }
    sp_status status = sp_hub_find(&ref, &path, &err);
    if (status == SP_OK) return path;
    sp_cli_say("model \"%.200s\": %s", model, err.text);
    if (status == SP_E_NOT_FOUND) sp_cli_hint("sputnik pull %s", model);
    return NULL;
}
