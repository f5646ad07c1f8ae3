/* SPDX-License-Identifier: MIT */
/* Stand-ins until their owners' functions exist: weak, so that those win. To be removed with the last of them. */
#include "server/server.h"

#define WEAK __attribute__((weak))

WEAK sp_status sp_scheduler_submit(sp_scheduler *scheduler, const sp_job_request *request,
                                   void (*wake)(void *ctx), void *ctx, sp_job **job, sp_error *err)
{
    (void)scheduler, (void)request, (void)wake, (void)ctx, (void)job;
    return sp_fail(err, SP_E_UNSUPPORTED, "not built");
}
WEAK double sp_scheduler_wait(sp_scheduler *scheduler)
{
    (void)scheduler;
    return 0;
}
WEAK int32_t sp_scheduler_context(const sp_scheduler *scheduler)
{
    (void)scheduler;
    return 4096;
}
WEAK bool sp_job_take(sp_job *job, sp_event *event)
{
    (void)job, (void)event;
    return false;
}
WEAK void sp_job_get_usage(const sp_job *job, sp_job_usage *usage)
{
    (void)job, (void)usage;
}
WEAK const sp_tool_call *sp_job_tool_call(const sp_job *job, size_t i)
{
    (void)job, (void)i;
    return NULL;
}
WEAK void sp_job_release(sp_job *job)
{
    (void)job;
}
WEAK sp_status sp_grammar_json_object(sp_grammar **grammar, sp_error *err)
{
    *grammar = NULL;
    return sp_fail(err, SP_E_UNSUPPORTED, "not built");
}
WEAK sp_status sp_grammar_json_schema(sp_grammar **grammar, const char *schema, size_t len, sp_error *err)
{
    (void)schema, (void)len;
    *grammar = NULL;
    return sp_fail(err, SP_E_UNSUPPORTED, "not built");
}
WEAK void sp_grammar_destroy(sp_grammar *grammar)
{
    (void)grammar;
}
WEAK const char *sp_exchange_path(const sp_exchange *x)
{
    (void)x;
    return "";
}
WEAK const char *sp_exchange_peer(const sp_exchange *x)
{
    (void)x;
    return "";
}
WEAK const void *sp_exchange_body(const sp_exchange *x, size_t *len)
{
    (void)x;
    *len = 0;
    return NULL;
}
WEAK const char *sp_exchange_id(const sp_exchange *x)
{
    (void)x;
    return "";
}
WEAK void sp_exchange_note(sp_exchange *x, const char *name, const char *value)
{
    (void)x, (void)name, (void)value;
}
WEAK void sp_exchange_set_status(sp_exchange *x, int status)
{
    (void)x, (void)status;
}
WEAK void sp_exchange_set_header(sp_exchange *x, const char *name, const char *value)
{
    (void)x, (void)name, (void)value;
}
WEAK void sp_exchange_reply(sp_exchange *x, int status, const char *content_type, const void *body,
                            size_t len)
{
    (void)x, (void)status, (void)content_type, (void)body, (void)len;
}
WEAK void sp_exchange_answer(sp_exchange *x, const sp_answerer *answerer)
{
    (void)x, (void)answerer;
}
WEAK void sp_exchange_wake(sp_exchange *x)
{
    (void)x;
}
WEAK bool sp_server_admit(sp_server *server, sp_exchange *x, sp_key_info *key)
{
    (void)server, (void)x, (void)key;
    return false;
}
WEAK void sp_server_fail(sp_exchange *x, int status, const char *param, const char *code, const char *fmt,
                         ...)
{
    (void)x, (void)status, (void)param, (void)code, (void)fmt;
}
WEAK const sp_route sp_routes_page[] = {{NULL, NULL, NULL, false}};
