/* SPDX-License-Identifier: MIT */
/* POST /chat/completions, and what its two dialects share of a conversation's way to the engine. Start at sp_api_chat(). */
#include "server/api_parts.h"

#include <string.h>

static bool copy_text(char **copy, const char *text, sp_fault *fault)
{
    *copy = text ? sp_strdup(text) : NULL;
    return !text || *copy || sp_fault_nomem(fault);
}

/* A run for the request; NULL with a fault. */
static sp_run *create_run(sp_server *server, sp_exchange *x, const sp_dialect *dialect,
                          const sp_chat_request *request, const sp_chat_plan *plan, sp_fault *fault)
{
    const sp_request_common *c = &request->common;
    sp_run *run = sp_run_create(server, x, dialect, c->model, c->n < 1 ? 1 : (size_t)c->n);
    if (!run) {
        sp_fault_nomem(fault);
        return NULL;
    }
    run->stream = c->stream;
    run->include_usage = c->include_usage;
    run->n_logprobs = c->n_logprobs;
    run->one_call = request->one_call;
    run->forced = plan->forced;
    run->thinks = sp_format_thinks(server->format);
    if (copy_text(&run->forced_name, plan->forced_name, fault) &&
        copy_text(&run->stop_string, c->n_stop == 1 ? c->stop[0] : NULL, fault))
        return run;
    sp_run_destroy(run);
    return NULL;
}

static bool submit_all(sp_run *run, const sp_chat_plan *plan, sp_fault *fault)
{
    sp_generate_options options = plan->generate;
    for (size_t i = 0; i < run->n_choices; i++) {
        sp_grammar *grammar = NULL;
        run->choices[i].shares_prompt = i > 0;
        if (!sp_chat_plan_grammar(plan, &grammar, fault)) return false;
        if (!sp_api_submit(run, i, &plan->prompt, &options, grammar, fault)) return false;
        options.sampler.seed++;
    }
    return true;
}

void sp_api_chat(sp_server *server, sp_exchange *x, const sp_dialect *dialect, const sp_key_info *key,
                 const sp_chat_request *request)
{
    sp_fault fault = {0};
    sp_chat_plan plan = {.forced = SP_FORCED_NONE};
    sp_run *run = NULL;
    bool good = sp_api_check_model(server, request->common.model, &fault) &&
                sp_chat_plan_make(&plan, server, request, &fault);
    if (good) run = create_run(server, x, dialect, request, &plan, &fault);
    if (run) {
        run->key = *key;
        good = submit_all(run, &plan, &fault);
    }
    sp_chat_plan_clear(&plan);
    if (run && good) {
        sp_api_answer(run);
        return;
    }
    sp_run_destroy(run);
    sp_api_fail(x, dialect, &fault);
}

void sp_handle_chat(sp_server *server, sp_exchange *x)
{
    sp_key_info key = {0};
    sp_chat_request request;
    sp_fault fault = {0};
    size_t len = 0;
    if (!sp_api_admit(server, x, &key)) return;
    const char *body = sp_exchange_body(x, &len);
    if (sp_chat_request_parse(&request, body, len, &fault))
        sp_api_chat(server, x, &sp_dialect_chat, &key, &request);
    else
        sp_api_fail(x, &sp_dialect_chat, &fault);
    sp_chat_request_clear(&request);
}
