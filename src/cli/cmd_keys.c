/* SPDX-License-Identifier: MIT */
/* `sputnik keys`: the API keys of a server. A running server sees changes with the next request. */
#include "cli/store.h"

#include <string.h>
#include <time.h>

#include "base/file.h"

typedef struct keys_args {
    const char *store, *name;
    int64_t requests_per_minute, tokens_per_minute;
    double budget, expires;
    int json;
} keys_args;

static const keys_args keys_defaults = {.budget = -1};

static const sp_arg keys_table[] = {
    SP_STORE_ROW(keys_args, store),
    SP_STRING_ROW(keys_args, name, "name", 0, "TEXT", "add: a name for people"),
    SP_INT_ROW(keys_args, requests_per_minute, "requests-per-minute", 0, 0, 1e9,
               "add: most requests in 60 seconds (0: no limit)"),
    SP_INT_ROW(keys_args, tokens_per_minute, "tokens-per-minute", 0, 0, 1e12,
               "add: most tokens, read and written, in 60 seconds (0: no limit)"),
    {"budget", 0, SP_ARG_FLOAT, offsetof(keys_args, budget), "USD", NULL, 0, 1e9,
     "add: dollars that may be spent (no limit)"},
    {"expires", 0, SP_ARG_FLOAT, offsetof(keys_args, expires), "DAYS", NULL, 0, 36500,
     "add: days for which it is good (0: for ever)"},
    SP_JSON_ROW(keys_args, json),
};

static const char *state_of(const sp_key_info *info)
{
    if (info->revoked) return "revoked";
    if (info->expires > 0 && info->expires <= (int64_t)time(NULL)) return "expired";
    if (info->budget >= 0 && info->spent >= info->budget) return "spent";
    return "good";
}

static sp_status put_key(sp_buf *out, const sp_key_info *info, const char *key, sp_error *err)
{
    char amount[32];
    SP_TRY(sp_buf_printf(out, err, "{\"id\":\"%s\",", info->id));
    if (key) SP_TRY(sp_buf_printf(out, err, "\"key\":\"%s\",", key));
    SP_TRY(sp_buf_puts(out, "\"name\":", err));
    SP_TRY(sp_cli_put_text(out, info->name[0] ? info->name : NULL, err));
    SP_TRY(sp_buf_printf(out, err,
                         ",\"hint\":\"%s\",\"state\":\"%s\",\"requests_per_minute\":%lld,"
                         "\"tokens_per_minute\":%lld,\"budget_usd\":%s",
                         info->hint, state_of(info), (long long)info->requests_per_minute,
                         (long long)info->tokens_per_minute,
                         info->budget < 0 ? "null" : sp_cli_dollars(amount, info->budget)));
    return sp_buf_printf(out, err, ",\"spent_usd\":%s,\"created\":%lld,\"expires\":%lld,\"last_used\":%lld}",
                         sp_cli_dollars(amount, info->spent), (long long)info->created,
                         (long long)info->expires, (long long)info->last_used);
}

static sp_status add(sp_meter *meter, const keys_args *args, sp_buf *out, sp_error *err)
{
    char key[SP_KEY_TEXT_CAP];
    sp_key_info info;
    sp_key_options options = {.name = args->name,
                              .requests_per_minute = args->requests_per_minute,
                              .tokens_per_minute = args->tokens_per_minute,
                              .budget = args->budget < 0 ? -1 : (int64_t)llround(args->budget * 1e9)};
    if (args->expires > 0) options.expires = (int64_t)time(NULL) + (int64_t)ceil(args->expires * 86400);
    SP_TRY(sp_meter_add_key(meter, &options, key, &info, err));
    if (args->json) {
        SP_TRY(put_key(out, &info, key, err));
        return sp_buf_puts(out, "\n", err);
    }
    sp_cli_hint("keep it: the store has no more than its hash, under the id %s", info.id);
    return sp_buf_printf(out, err, "%s\n", key);
}

/* ---- list ---- */

typedef struct key_list {
    sp_buf *out;
    bool json;
    size_t n;
    sp_status status;
    sp_error err;
} key_list;

static const char *day_of(char buf[16], int64_t seconds, const char *otherwise)
{
    time_t moment = (time_t)seconds;
    struct tm utc;
    if (seconds == 0 || !gmtime_r(&moment, &utc) || strftime(buf, 16, "%Y-%m-%d", &utc) == 0)
        return otherwise;
    return buf;
}

static const char *limit_of(char buf[32], int64_t limit)
{
    if (limit == 0) return "-";
    snprintf(buf, 32, "%lld", (long long)limit);
    return buf;
}

static sp_status put_row(sp_buf *out, const sp_key_info *info, sp_error *err)
{
    char requests[32], tokens[32], budget[32], spent[32], used[16], expires[16];
    return sp_buf_printf(out, err, "%-15s ..%-5s %8s %10s %12s %12s  %-10s  %-10s  %-8s %s\n", info->id,
                         info->hint, limit_of(requests, info->requests_per_minute),
                         limit_of(tokens, info->tokens_per_minute),
                         info->budget < 0 ? "-" : sp_cli_short_dollars(budget, info->budget),
                         sp_cli_short_dollars(spent, info->spent), day_of(used, info->last_used, "-"),
                         day_of(expires, info->expires, "-"), state_of(info), info->name);
}

static int list_key(void *ctx, const sp_key_info *info)
{
    key_list *list = ctx;
    list->status = SP_OK;
    if (list->json) {
        list->status = sp_buf_puts(list->out, list->n ? ",\n " : "\n ", &list->err);
        if (list->status == SP_OK) list->status = put_key(list->out, info, NULL, &list->err);
    } else {
        list->status = put_row(list->out, info, &list->err);
    }
    list->n++;
    return list->status == SP_OK ? 0 : 1;
}

static sp_status list(sp_meter *meter, const keys_args *args, sp_buf *out, sp_error *err)
{
    key_list state = {.out = out, .json = args->json, .err = SP_ERROR_NONE};
    if (args->json)
        SP_TRY(sp_buf_puts(out, "[", err));
    else
        SP_TRY(sp_buf_printf(out, err, "%-15s %-7s %8s %10s %12s %12s  %-10s  %-10s  %-8s %s\n", "id", "key",
                             "requests", "tokens", "budget $", "spent $", "used", "expires", "state",
                             "name"));
    SP_TRY(sp_meter_list_keys(meter, list_key, &state, err));
    if (state.status != SP_OK) {
        *err = state.err;
        return state.status;
    }
    return args->json ? sp_buf_puts(out, state.n ? "\n]\n" : "]\n", err) : SP_OK;
}

/* What only `add` takes, if it was given. */
static const char *find_stranger(const keys_args *args)
{
    return args->name                  ? "name"
           : args->requests_per_minute ? "requests-per-minute"
           : args->tokens_per_minute   ? "tokens-per-minute"
           : args->budget >= 0         ? "budget"
           : args->expires > 0         ? "expires"
                                       : NULL;
}

static int run_keys(const void *options, char *const *operands, int n_operands)
{
    const keys_args *args = options;
    const char *action = operands[0];
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    sp_buf out = {NULL, 0, 0};
    sp_status status;
    bool is_add = strcmp(action, "add") == 0, is_revoke = strcmp(action, "revoke") == 0;
    if (!is_add && !is_revoke && strcmp(action, "list") != 0)
        return sp_cli_usage(&sp_command_keys, "found \"%.40s\", expected add, list or revoke", action);
    if (!is_add && find_stranger(args))
        return sp_cli_usage(&sp_command_keys, "%s takes no --%s", action, find_stranger(args));
    if (is_revoke && n_operands < 2)
        return sp_cli_usage(&sp_command_keys, "revoke: expected the id or the name of a key");
    if (!is_revoke && n_operands > 1)
        return sp_cli_usage(&sp_command_keys, "%s: expected nothing, found \"%.60s\"", action, operands[1]);
    if (!sp_cli_open_store(&meter, args->store, is_add)) return SP_EXIT_FAILED;
    if (is_add)
        status = add(meter, args, &out, &err);
    else if (is_revoke)
        status = sp_meter_revoke_key(meter, operands[1], &err);
    else
        status = list(meter, args, &out, &err);
    if (status == SP_OK)
        fwrite(out.data ? out.data : "", 1, out.len, stdout);
    else
        sp_cli_fail(&err, NULL);
    sp_buf_clear(&out);
    sp_meter_close(meter);
    return status == SP_OK ? SP_EXIT_GOOD : SP_EXIT_FAILED;
}

const sp_command sp_command_keys = {
    "keys",
    "add|list|revoke [KEY]",
    "API keys of a server: add, list, revoke",
    "add writes a new key to standard output, once: the store has only its hash. revoke takes a key's id or\n"
    "name. A running server obeys from the next request on.",
    keys_table,
    sizeof keys_table / sizeof keys_table[0],
    &keys_defaults,
    sizeof keys_defaults,
    1,
    2,
    run_keys,
};
