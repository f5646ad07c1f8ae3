/* SPDX-License-Identifier: MIT */
/* Who asks: the key of a request, looked up once per exchange; and errors in the words of the dialect that is spoken at a path. */
#include "server/server.h"

#include "base/json.h"
#include "server/http_exchange.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct error_kind {
    int status;
    const char *openai, *anthropic;
} error_kind;

static const error_kind kinds[] = {
    {400, "invalid_request_error", "invalid_request_error"},
    {401, "authentication_error", "authentication_error"},
    {402, "insufficient_balance", "billing_error"},
    {403, "permission_error", "permission_error"},
    {404, "invalid_request_error", "not_found_error"},
    {413, "invalid_request_error", "request_too_large"},
    {422, "invalid_request_error", "invalid_request_error"},
    {429, "rate_limit_error", "rate_limit_error"},
    {500, "server_error", "api_error"},
    {503, "server_error", "overloaded_error"},
};

static const error_kind *kind_of(int status)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].status == status) return &kinds[i];
    return status >= 500 ? &kinds[8] : &kinds[0];
}

static sp_status put_text(sp_buf *body, const char *text)
{
    return text ? sp_json_put_string(body, text, strlen(text), NULL) : sp_buf_puts(body, "null", NULL);
}

/* Its own corner, and its endpoints where its clients look for them without one. */
static bool is_anthropic(const char *path)
{
    static const char messages[] = "/messages";
    if (strncmp(path, "/beta/", 6) == 0) path += 5;
    if (strncmp(path, "/v1/", 4) == 0) path += 3;
    if (strncmp(path, "/anthropic/", 11) == 0) return true;
    size_t n = sizeof messages - 1;
    return strncmp(path, messages, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static sp_status put_error(sp_buf *body, const sp_exchange *x, int status, const char *param,
                           const char *code, const char *text)
{
    const error_kind *kind = kind_of(status);
    if (is_anthropic(sp_exchange_path(x))) {
        SP_TRY(sp_buf_printf(body, NULL,
                             "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", kind->anthropic));
        SP_TRY(put_text(body, text));
        return sp_buf_puts(body, "}}", NULL);
    }
    SP_TRY(sp_buf_puts(body, "{\"error\":{\"message\":", NULL));
    SP_TRY(put_text(body, text));
    SP_TRY(sp_buf_printf(body, NULL, ",\"type\":\"%s\",\"param\":", kind->openai));
    SP_TRY(put_text(body, param));
    SP_TRY(sp_buf_puts(body, ",\"code\":", NULL));
    SP_TRY(put_text(body, code));
    return sp_buf_puts(body, "}}", NULL);
}

void sp_server_fail(sp_exchange *x, int status, const char *param, const char *code, const char *fmt, ...)
{
    static const char poor[] =
        "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":null}}";
    char text[512];
    sp_buf body = {NULL, 0, 0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sp_exchange_note(x, "error", text);
    if (put_error(&body, x, status, param, code, text) == SP_OK)
        sp_exchange_reply(x, status, "application/json", body.data, body.len);
    else
        sp_exchange_reply(x, 500, "application/json", poor, sizeof poor - 1);
    sp_buf_clear(&body);
}

/* --- keys ----------------------------------------------------------------------------------------------- */

/* "Bearer KEY", or the Anthropic side's x-api-key. */
static const char *key_of(const sp_exchange *x)
{
    const char *bearer = sp_exchange_header(x, "Authorization");
    if (bearer && strncasecmp(bearer, "Bearer ", 7) == 0) return bearer + 7 + strspn(bearer + 7, " ");
    return sp_exchange_header(x, "x-api-key");
}

static bool refuse(sp_exchange *x, const char *key, sp_admission admission, double retry_s)
{
    char seconds[32];
    switch (admission) {
    case SP_ADMIT: return true;
    case SP_ADMIT_UNKNOWN:
        sp_exchange_set_header(x, "WWW-Authenticate", "Bearer");
        sp_server_fail(x, 401, NULL, "invalid_api_key",
                       key ? "the API key is unknown, revoked or expired"
                           : "an API key is needed: 'Authorization: Bearer KEY'");
        break;
    case SP_ADMIT_SPENT:
        sp_server_fail(x, 402, NULL, "insufficient_balance", "the budget of this API key is spent");
        break;
    case SP_ADMIT_LIMITED:
        snprintf(seconds, sizeof seconds, "%.0f", retry_s > 1 ? ceil(retry_s) : 1.0);
        sp_exchange_set_header(x, "Retry-After", seconds);
        sp_server_fail(x, 429, NULL, "rate_limit_exceeded",
                       "the limit of this API key is reached; try again in %s s", seconds);
        break;
    }
    return false;
}

bool sp_server_admit(sp_server *server, sp_exchange *x, sp_key_info *key)
{
    memset(key, 0, sizeof *key);
    if (!server->options.need_keys) return true;
    if (x->was_admitted) {
        *key = x->key;
        return true;
    }
    sp_error err = SP_ERROR_NONE;
    const char *text = key_of(x);
    sp_admission admission = SP_ADMIT_UNKNOWN;
    double retry_s = 0;
    if (!server->meter) {
        sp_server_fail(x, 503, NULL, "meter_error", "keys are demanded, but there is no store of keys");
        return false;
    }
    bool is_free = strcmp(sp_exchange_method(x), "GET") == 0; /* a balance is told when it is spent, too */
    sp_status status = SP_OK;
    if (text && text[0])
        status = is_free ? sp_meter_identify(server->meter, text, &admission, key, &err)
                         : sp_meter_admit(server->meter, text, &admission, key, &retry_s, &err);
    if (status != SP_OK) {
        sp_server_fail(x, 503, NULL, "meter_error", "%s", err.text);
        return false;
    }
    if (key->id[0]) sp_exchange_note(x, "key", key->id);
    x->was_admitted = refuse(x, text, admission, retry_s);
    x->key = *key;
    return x->was_admitted;
}
