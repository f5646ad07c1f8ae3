/* SPDX-License-Identifier: MIT */
/* The default place of the server's store. */
#include "cli/store.h"

#include <stdlib.h>

#include "base/file.h"

sp_status sp_cli_store_path(char **path, const char *given, sp_error *err)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    sp_buf dir = {NULL, 0, 0};
    sp_status status;
    *path = NULL;
    if (given) {
        *path = sp_strdup(given);
        return *path ? SP_OK : sp_fail_nomem(err, "store", 0);
    }
    if (data && data[0] == '/')
        status = sp_buf_printf(&dir, err, "%s/sputnik", data);
    else if (home && home[0] == '/')
        status = sp_buf_printf(&dir, err, "%s/.local/share/sputnik", home);
    else
        return sp_fail(err, SP_E_NOT_FOUND, "no folder for the store: XDG_DATA_HOME and HOME are unset");
    if (status == SP_OK) status = sp_dir_create(dir.data, err);
    if (status == SP_OK) {
        *path = sp_path_join(dir.data, "server.db");
        if (!*path) status = sp_fail_nomem(err, "store", 0);
    }
    sp_buf_clear(&dir);
    return status;
}

bool sp_cli_open_store(sp_meter **meter, const char *given, bool may_create)
{
    sp_error err = SP_ERROR_NONE;
    char *path = NULL;
    sp_status status = sp_cli_store_path(&path, given, &err);
    if (status == SP_OK && !may_create && !sp_file_exists(path)) {
        sp_cli_say("store \"%.200s\": there is none", path);
        sp_cli_hint("\"sputnik keys add\" and \"sputnik serve\" make one");
        sp_free(path);
        return false;
    }
    if (status == SP_OK) status = sp_meter_open(meter, path, &err);
    if (status != SP_OK) sp_cli_fail(&err, NULL);
    sp_free(path);
    return status == SP_OK;
}

const char *sp_cli_dollars(char buf[32], int64_t billionths)
{
    snprintf(buf, 32, "%lld.%09lld", (long long)(billionths / 1000000000),
             (long long)(billionths % 1000000000));
    return buf;
}

const char *sp_cli_short_dollars(char buf[32], int64_t billionths)
{
    int64_t millionths = billionths / 1000 + (billionths % 1000 >= 500);
    snprintf(buf, 32, "%lld.%06lld", (long long)(millionths / 1000000), (long long)(millionths % 1000000));
    return buf;
}
