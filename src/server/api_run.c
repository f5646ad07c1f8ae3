/* SPDX-License-Identifier: MIT */
/* Events of jobs into a request's state and, for streams, on to its dialect. No exchange, no engine. Start at sp_run_take(). */
#include "server/api_run.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

sp_run *sp_run_create(sp_server *server, sp_exchange *x, const sp_dialect *dialect, const char *model,
                      size_t n_choices)
{
    sp_run *run = sp_calloc(1, sizeof *run);
    if (!run) return NULL;
    run->server = server;
    run->exchange = x;
    run->dialect = dialect;
    run->created = (int64_t)time(NULL);
    run->began = sp_seconds();
    run->n_logprobs = -1;
    run->model = sp_strdup(model);
    run->endpoint = sp_strdup(x ? sp_exchange_path(x) : "");
    run->choices = sp_calloc(n_choices, sizeof *run->choices);
    const char *id = x ? sp_exchange_id(x) : "0";
    if (strncmp(id, "req-", 4) == 0) id += 4;
    snprintf(run->id, sizeof run->id, "%s%.60s", dialect->id_prefix, id);
    if (!run->model || !run->endpoint || !run->choices) {
        sp_run_destroy(run);
        return NULL;
    }
    run->n_choices = n_choices;
    for (size_t i = 0; i < n_choices; i++) run->choices[i].index = (int)i;
    return run;
}

static void clear_choice(sp_choice *choice)
{
    sp_job_release(choice->job);
    sp_buf_clear(&choice->reasoning);
    sp_buf_clear(&choice->content);
    for (size_t i = 0; i < choice->n_calls; i++) {
        sp_free(choice->calls[i].name);
        sp_buf_clear(&choice->calls[i].arguments);
    }
    sp_free(choice->calls);
    sp_free(choice->samples);
}

void sp_run_destroy(sp_run *run)
{
    if (!run) return;
    for (size_t i = 0; i < run->n_choices; i++) {
        clear_choice(&run->choices[i]);
        if (run->echo) sp_free(run->echo[i]);
    }
    sp_buf_clear(&run->head);
    sp_free(run->echo);
    sp_free(run->choices);
    sp_free(run->model);
    sp_free(run->endpoint);
    sp_free(run->forced_name);
    sp_free(run->stop_string);
    sp_free(run);
}

sp_run_usage sp_run_usage_of(const sp_run *run)
{
    sp_run_usage sum = {0, 0, 0, 0};
    for (size_t i = 0; i < run->n_choices; i++) {
        const sp_choice *choice = &run->choices[i];
        sum.n_reply += choice->usage.n_reply;
        sum.n_reasoning += choice->usage.n_reasoning;
        if (choice->shares_prompt) continue;
        sum.n_prompt += choice->n_prompt;
        sum.n_cached += choice->usage.n_cached;
    }
    return sum;
}

/* --- calls ---------------------------------------------------------------------------------------------- */

static sp_status begin_call(sp_run *run, sp_choice *choice, const char *name, sp_buf *out, sp_error *err)
{
    if (choice->n_calls == choice->calls_cap) {
        size_t cap = choice->calls_cap ? choice->calls_cap * 2 : 4;
        sp_run_call *calls = sp_realloc_array(choice->calls, cap, sizeof *calls);
        if (!calls) return sp_fail_nomem(err, "tool calls", cap * sizeof *calls);
        choice->calls = calls;
        choice->calls_cap = cap;
    }
    sp_run_call *call = &choice->calls[choice->n_calls];
    *call = (sp_run_call){.name = sp_strdup(name)};
    if (!call->name) return sp_fail_nomem(err, "tool call", strlen(name));
    snprintf(call->id, sizeof call->id, "%s%016llx%08llx", run->dialect->call_prefix,
             (unsigned long long)sp_api_random(), (unsigned long long)(sp_api_random() & 0xFFFFFFFF));
    choice->n_calls++;
    return run->stream && run->dialect->call ? run->dialect->call(run, choice, choice->n_calls - 1, out, err)
                                             : SP_OK;
}

/* More of the newest call's arguments. */
static sp_status pass_arguments(sp_run *run, sp_choice *choice, const char *text, size_t len, sp_buf *out,
                                sp_error *err)
{
    if (len == 0 || choice->n_calls == 0) return SP_OK;
    if (!run->stream || !run->dialect->call_text)
        return sp_buf_append(&choice->calls[choice->n_calls - 1].arguments, text, len, err);
    return run->dialect->call_text(run, choice, choice->n_calls - 1, text, len, out, err);
}

bool sp_choice_calls(const sp_run *run, const sp_choice *choice)
{
    (void)run;
    return choice->n_calls > 0 && (choice->finish == SP_FINISH_END || choice->finish == SP_FINISH_STOP);
}

/* A call that begins (SP_EVENT_CALL), or more of its arguments. */
static sp_status take_call(sp_run *run, sp_choice *choice, const sp_event *event, sp_buf *out, sp_error *err)
{
    bool begins = event->type == SP_EVENT_CALL;
    choice->n_job_calls += begins;
    if (run->one_call && choice->n_job_calls > 1) return SP_OK;
    return begins ? begin_call(run, choice, event->text, out, err)
                  : pass_arguments(run, choice, event->text, event->len, out, err);
}

static bool is_break(char c)
{
    return c == '\n' || c == '\r';
}

/* Content that names a tool and has its arguments: as much of a call as there is. */
static sp_status read_any_call(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    const sp_call_scan *scan = &choice->scan;
    const char *text = choice->content.data;
    sp_buf name = {NULL, 0, 0};
    sp_status status = SP_OK;
    sp_call_scan_read(&choice->scan, text, choice->content.len);
    if (!scan->has_args || !scan->name_end) return SP_OK;
    if (choice->n_calls == 0 && sp_call_scan_name(scan, text, &name, &status, err)) {
        choice->n_passed = scan->args;
        status = begin_call(run, choice, name.data, out, err);
    }
    sp_buf_clear(&name);
    if (status != SP_OK || choice->n_calls == 0) return status;
    size_t end = scan->args_end ? scan->args_end : scan->at, from = choice->n_passed;
    choice->n_passed = end;
    return pass_arguments(run, choice, text + from, end - from, out, err);
}

/* Content that is, or has, the arguments of the call that was forced. */
static sp_status take_arguments(sp_run *run, sp_choice *choice, const char *text, size_t len, sp_buf *out,
                                sp_error *err)
{
    bool any = run->forced == SP_FORCED_ANY;
    if (any) SP_TRY(sp_buf_append(&choice->content, text, len, err));
    if (any) return read_any_call(run, choice, out, err);
    /* clients parse what has come so far, and white space alone is no beginning of JSON to them */
    while (len && choice->n_calls == 0 && (is_break(*text) || *text == ' ' || *text == '\t')) text++, len--;
    if (len == 0) return SP_OK;
    if (choice->n_calls == 0) SP_TRY(begin_call(run, choice, run->forced_name, out, err));
    return pass_arguments(run, choice, text, len, out, err);
}

/* {"name": ...} alone: a call without arguments. */
static sp_status end_any_call(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    const sp_call_scan *scan = &choice->scan;
    sp_buf name = {NULL, 0, 0};
    sp_status status = SP_OK;
    if (scan->is_over && !scan->has_args &&
        sp_call_scan_name(scan, choice->content.data, &name, &status, err) && name.len) {
        status = begin_call(run, choice, name.data, out, err);
        if (status == SP_OK) status = pass_arguments(run, choice, "{}", 2, out, err);
    }
    sp_buf_clear(&name);
    return status;
}

/* The content of a forced call is complete. What is no call, of a reply that was cut, is content after all. */
static sp_status end_forced(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    if (choice->n_calls == 0)
        SP_TRY(run->forced == SP_FORCED_NAMED ? begin_call(run, choice, run->forced_name, out, err)
                                              : end_any_call(run, choice, out, err));
    if (choice->n_calls) choice->content.len = 0;
    if (!run->stream || choice->content.len == 0) return SP_OK;
    return run->dialect->text(run, choice, SP_REPLY_CONTENT, choice->content.data, choice->content.len, out,
                              err);
}

/* --- text and tokens ------------------------------------------------------------------------------------ */

static sp_status take_token(sp_run *run, sp_choice *choice, const sp_event *event, sp_error *err)
{
    if (run->n_logprobs < 0 || event->part != SP_REPLY_CONTENT || event->sample.id < 0) return SP_OK;
    if (run->server->tokenizer && (sp_tokenizer_is_special(run->server->tokenizer, event->sample.id) ||
                                   sp_tokenizer_is_end(run->server->tokenizer, event->sample.id)))
        return SP_OK;
    if (choice->n_samples == choice->samples_cap) {
        size_t cap = choice->samples_cap ? choice->samples_cap * 2 : 16;
        sp_sample *samples = sp_realloc_array(choice->samples, cap, sizeof *samples);
        if (!samples) return sp_fail_nomem(err, "log-probabilities", cap * sizeof *samples);
        choice->samples = samples;
        choice->samples_cap = cap;
    }
    choice->samples[choice->n_samples++] = event->sample;
    choice->n_pending++;
    return SP_OK;
}

/* Line breaks between reasoning and content are dropped from the text; their tokens go too, so that tokens spell the content. */
static void drop_breaks(sp_run *run, sp_choice *choice, const sp_event *event)
{
    size_t n = 0;
    if (choice->has_spoken || event->len == 0) return;
    choice->has_spoken = true;
    while (n < choice->n_pending && !is_break(event->text[0])) {
        size_t len = 0, k = 0;
        const char *piece = sp_tokenizer_piece(run->server->tokenizer, choice->samples[n].id, &len);
        while (k < len && is_break(piece[k])) k++;
        if (k < len) break;
        n++;
    }
    if (n == 0) return;
    memmove(choice->samples, choice->samples + n, (choice->n_samples - n) * sizeof *choice->samples);
    choice->n_samples -= n;
    choice->n_pending -= n;
}

static sp_status take_text(sp_run *run, sp_choice *choice, const sp_event *event, sp_buf *out, sp_error *err)
{
    bool content = event->part == SP_REPLY_CONTENT;
    if (content) drop_breaks(run, choice, event);
    if (content && run->forced != SP_FORCED_NONE)
        return take_arguments(run, choice, event->text, event->len, out, err);
    if (!run->stream) {
        if (content) choice->n_pending = 0;
        return sp_buf_append(content ? &choice->content : &choice->reasoning, event->text, event->len, err);
    }
    SP_TRY(run->dialect->text(run, choice, event->part, event->text, event->len, out, err));
    if (content) choice->n_samples = choice->n_pending = 0;
    return SP_OK;
}

static sp_status take_done(sp_run *run, sp_choice *choice, const sp_event *event, sp_buf *out, sp_error *err)
{
    choice->finish = event->finish;
    choice->usage = event->usage;
    if (run->forced != SP_FORCED_NONE) SP_TRY(end_forced(run, choice, out, err));
    choice->n_samples -= choice->n_pending; /* tokens whose text was withheld */
    choice->n_pending = 0;
    choice->is_done = true;
    run->n_done++;
    return run->stream && run->dialect->finish ? run->dialect->finish(run, choice, out, err) : SP_OK;
}

sp_status sp_run_take(sp_run *run, sp_choice *choice, const sp_event *event, sp_buf *out, sp_error *err)
{
    if (event->type == SP_EVENT_ERROR) {
        sp_fault_set(&run->fault, 500, NULL, "engine_error", "the engine failed: %s", event->error.text);
        return SP_OK;
    }
    if (run->stream && !choice->is_started && run->dialect->begin)
        SP_TRY(run->dialect->begin(run, choice, out, err));
    choice->is_started = true;
    switch (event->type) {
    case SP_EVENT_TOKEN: return take_token(run, choice, event, err);
    case SP_EVENT_TEXT:
        return event->part == SP_REPLY_TOOL_CALL ? take_call(run, choice, event, out, err)
                                                 : take_text(run, choice, event, out, err);
    case SP_EVENT_CALL: return take_call(run, choice, event, out, err);
    case SP_EVENT_DONE: return take_done(run, choice, event, out, err);
    case SP_EVENT_ERROR: break;
    }
    return SP_OK;
}

sp_status sp_run_end(sp_run *run, sp_buf *out, sp_error *err)
{
    if (run->fault.status) return run->dialect->fail(run->stream && run->is_started, &run->fault, out, err);
    return run->stream ? run->dialect->end(run, out, err) : run->dialect->whole(run, out, err);
}
