/* SPDX-License-Identifier: MIT */
/* GET /models, GET /models/{id}, GET /user/balance. */
#include "server/api_parts.h"

#include <inttypes.h>
#include <string.h>

static sp_status put_model(const sp_server *server, const char *id, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{\"id\":", err));
    SP_TRY(sp_put_text(out, id, err));
    return sp_buf_printf(out, err,
                         ",\"object\":\"model\",\"created\":%" PRId64
                         ",\"owned_by\":\"sputnik\",\"context_length\":%d}",
                         server->started, (int)sp_scheduler_context(server->scheduler));
}

static sp_status put_models(const sp_server *server, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{\"object\":\"list\",\"data\":[", err));
    SP_TRY(put_model(server, server->name, out, err));
    for (size_t i = 0; i < server->options.n_aliases; i++) {
        SP_TRY(sp_buf_puts(out, ",", err));
        SP_TRY(put_model(server, server->options.aliases[i], out, err));
    }
    return sp_buf_puts(out, "]}", err);
}

void sp_handle_models(sp_server *server, sp_exchange *x)
{
    sp_key_info key = {0};
    sp_buf body = {NULL, 0, 0};
    if (!sp_api_admit(server, x, &key)) return;
    sp_status status = put_models(server, &body, NULL);
    sp_api_reply_json(x, &body, status);
    sp_buf_clear(&body);
}

void sp_handle_model(sp_server *server, sp_exchange *x)
{
    static const char mark[] = "/models/";
    sp_key_info key = {0};
    sp_fault fault = {0};
    sp_buf body = {NULL, 0, 0};
    if (!sp_api_admit(server, x, &key)) return;
    const char *path = sp_exchange_path(x), *at = strstr(path, mark);
    const char *id = at ? at + sizeof mark - 1 : "";
    if (!sp_api_check_model(server, id, &fault)) {
        sp_api_fail(x, &sp_dialect_chat, &fault);
        return;
    }
    sp_status status = put_model(server, id, &body, NULL);
    sp_api_reply_json(x, &body, status);
    sp_buf_clear(&body);
}

/* Billionths of a dollar as dollars and cents, rounded down. */
static sp_status put_money(const char *name, int64_t amount, sp_buf *out, sp_error *err)
{
    int64_t cents = amount / 10000000;
    const char *sign = cents < 0 ? "-" : "";
    if (cents < 0) cents = -cents;
    return sp_buf_printf(out, err, ",\"%s\":\"%s%" PRId64 ".%02d\"", name, sign, cents / 100,
                         (int)(cents % 100));
}

/* A key without a budget is always available and has no sums to show. */
static sp_status put_balance(const sp_balance *balance, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_printf(out, err, "{\"is_available\":%s,\"balance_infos\":[",
                         balance->is_available ? "true" : "false"));
    if (balance->total != INT64_MAX) {
        SP_TRY(sp_buf_puts(out, "{\"currency\":\"USD\"", err));
        SP_TRY(put_money("total_balance", balance->total, out, err));
        SP_TRY(put_money("granted_balance", balance->granted, out, err));
        SP_TRY(put_money("topped_up_balance", balance->topped_up, out, err));
        SP_TRY(sp_buf_puts(out, "}", err));
    }
    return sp_buf_puts(out, "]}", err);
}

void sp_handle_balance(sp_server *server, sp_exchange *x)
{
    sp_key_info key = {0};
    sp_error err = SP_ERROR_NONE;
    sp_buf body = {NULL, 0, 0};
    sp_balance balance = {true, INT64_MAX, INT64_MAX, INT64_MAX};
    if (!sp_api_admit(server, x, &key)) return;
    if (server->meter && key.id[0] && sp_meter_balance(server->meter, key.id, &balance, &err) != SP_OK) {
        sp_server_fail(x, 503, NULL, "meter_error", "%s", err.text);
        return;
    }
    sp_status status = put_balance(&balance, &body, NULL);
    sp_api_reply_json(x, &body, status);
    sp_buf_clear(&body);
}
