/* SPDX-License-Identifier: MIT */
/* A MODEL argument to a path: an existing file or directory, else a model that `pull` has fetched. */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "cli/hub.h"

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

char *sp_cli_locate(const char *model)
{
    sp_error err = SP_ERROR_NONE;
    sp_hub_ref ref;
    char *path = NULL;
    if (sp_file_exists(model) || sp_file_is_dir(model)) {
        path = sp_strdup(model);
        if (!path) sp_cli_say("out of memory");
        return path;
    }
    if (strcasecmp(model, "nano") == 0) {
        sp_cli_say("nano: the built-in model does not exist yet");
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
