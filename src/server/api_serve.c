/* SPDX-License-Identifier: MIT */
/* Runs between the engine and their exchange: jobs are submitted, their events taken when the exchange is woken, usage booked before the
 * last words are sent. Start at sp_api_answer(). */
#include "server/api_run.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

uint64_t sp_api_random(void)
{
    uint64_t value = 0;
    /* at most 256 bytes are never cut short once the system has booted */
    if (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value) value ^= (uint64_t)(sp_seconds() * 1e9);
    return value;
}

bool sp_api_admit(sp_server *server, sp_exchange *x, sp_key_info *key)
{
    return sp_server_admit(server, x, key);
}

bool sp_api_check_model(const sp_server *server, const char *model, sp_fault *fault)
{
    const char *asked = server->options.asked_name;
    if (strcmp(model, server->name) == 0 || (asked && strcmp(model, asked) == 0)) return true;
    for (size_t i = 0; i < server->options.n_aliases; i++)
        if (strcmp(model, server->options.aliases[i]) == 0) return true;
    return sp_fault_set(fault, 404, "model", "model_not_found",
                        "the model '%.80s' does not exist; this server has '%s'", model, server->name);
}

void sp_api_fail(sp_exchange *x, const sp_dialect *dialect, const sp_fault *fault)
{
    sp_buf body = {NULL, 0, 0};
    static const char fallback[] =
        "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":null}}";
    sp_exchange_note(x, "error", fault->text);
    if (dialect->fail(false, fault, &body, NULL) == SP_OK)
        sp_exchange_reply(x, fault->status, "application/json", body.data, body.len);
    else
        sp_exchange_reply(x, 500, "application/json", fallback, sizeof fallback - 1);
    sp_buf_clear(&body);
}

bool sp_api_fault_of(sp_fault *fault, const char *param, const sp_error *err)
{
    switch (err->code) {
    case SP_E_NOMEM: return sp_fault_nomem(fault);
    case SP_E_UNSUPPORTED: return sp_fault_set(fault, 400, param, "unsupported_value", "%s", err->text);
    case SP_E_ARGUMENT:
    case SP_E_RANGE:
    case SP_E_FORMAT:
    case SP_E_LIMIT: return sp_fault_set(fault, 400, param, "invalid_value", "%s", err->text);
    default: return sp_fault_set(fault, 500, NULL, "server_error", "%s", err->text);
    }
}

/* --- options -------------------------------------------------------------------------------------------- */

static void set_if_given(float *option, double value)
{
    if (!isnan(value)) *option = (float)value;
}

/* What the API's temperature means for the model: docs of V3-0324. */
static double map_temperature(double t)
{
    return t <= 1 ? 0.3 * t : t - 0.7;
}

bool sp_api_options(const sp_server *server, const sp_request_common *c, sp_generate_options *options,
                    sp_fault *fault)
{
    sp_sampler_options *s = &options->sampler;
    int32_t n_vocab = server->tokenizer ? sp_tokenizer_size(server->tokenizer) : 0;
    *options = server->options.generate;
    set_if_given(&s->temperature,
                 server->options.map_temperature ? map_temperature(c->temperature) : c->temperature);
    set_if_given(&s->top_p, c->top_p);
    if (s->top_p <= 0) s->top_p = 1e-9f; /* the likeliest token alone */
    set_if_given(&s->min_p, c->min_p);
    set_if_given(&s->frequency_penalty, c->frequency_penalty);
    set_if_given(&s->presence_penalty, c->presence_penalty);
    set_if_given(&s->repetition_penalty, c->repetition_penalty);
    if (c->top_k >= 0) s->top_k = (int32_t)c->top_k;
    if (c->has_seed)
        s->seed = (uint64_t)c->seed;
    else if (!server->options.fixed_seed)
        s->seed = sp_api_random();
    if (c->n_bias > 0) { /* else the server's own */
        s->logit_bias = c->bias;
        s->n_logit_bias = c->n_bias;
    }
    s->n_logprobs = c->n_logprobs > 0 ? (int32_t)c->n_logprobs : 0;
    options->max_tokens = c->max_tokens > 0            ? c->max_tokens
                          : server->options.max_tokens ? server->options.max_tokens
                                                       : -1;
    options->stop = c->stop;
    options->n_stop = c->n_stop;
    for (size_t i = 0; i < c->n_bias; i++)
        if (c->bias[i].id >= n_vocab)
            return sp_fault_set(fault, 400, "logit_bias", "invalid_value",
                                "'logit_bias' names the token %d, but ids end at %d", (int)c->bias[i].id,
                                (int)n_vocab - 1);
    return true;
}

/* --- jobs ----------------------------------------------------------------------------------------------- */

static void wake_exchange(void *ctx)
{
    sp_exchange_wake(ctx);
}

static bool fail_full(sp_run *run, sp_fault *fault)
{
    char text[32];
    double wait = sp_scheduler_wait(run->server->scheduler);
    snprintf(text, sizeof text, "%.0f", wait > 1 ? ceil(wait) : 1.0);
    sp_exchange_set_header(run->exchange, "Retry-After", text);
    return sp_fault_set(fault, 429, NULL, "rate_limit_exceeded",
                        "too many requests wait already; try again in %s s", text);
}

bool sp_api_submit(sp_run *run, size_t i, const sp_tokens *prompt, const sp_generate_options *options,
                   sp_grammar *grammar, sp_fault *fault)
{
    sp_error err = SP_ERROR_NONE;
    sp_choice *choice = &run->choices[i];
    sp_job_request request = {.prompt = prompt->ids,
                              .n_prompt = prompt->n,
                              .generate = *options,
                              .grammar = grammar,
                              .want_tokens = run->n_logprobs >= 0};
    request.owner = run->key.id[0] ? run->key.id : sp_exchange_peer(run->exchange);
    if (!request.owner) request.owner = "";
    choice->n_prompt = prompt->n;
    sp_status status = sp_scheduler_submit(run->server->scheduler, &request, wake_exchange, run->exchange,
                                           &choice->job, &err);
    if (status == SP_OK) return true;
    choice->job = NULL;
    sp_grammar_destroy(grammar);
    return status == SP_E_LIMIT ? fail_full(run, fault) : sp_api_fault_of(fault, NULL, &err);
}

/* --- booking -------------------------------------------------------------------------------------------- */

static void note_count(sp_exchange *x, const char *name, size_t n)
{
    char text[32];
    snprintf(text, sizeof text, "%zu", n);
    sp_exchange_note(x, name, text);
}

static void note_run(sp_run *run, const sp_run_usage *usage)
{
    sp_exchange *x = run->exchange;
    sp_exchange_note(x, "model", run->model);
    note_count(x, "prompt_tokens", usage->n_prompt);
    note_count(x, "cached_tokens", usage->n_cached);
    note_count(x, "completion_tokens", usage->n_reply);
    if (run->fault.status) sp_exchange_note(x, "error", run->fault.text);
    if (run->n_choices == 1 && run->choices[0].is_done)
        sp_exchange_note(x, "finish", sp_finish_name(run->choices[0].finish));
}

/* What replies that have not ended have used. A job that still waited has used nothing. */
static void count_unfinished(sp_run *run)
{
    for (size_t i = 0; i < run->n_choices; i++) {
        sp_choice *choice = &run->choices[i];
        if (choice->is_done || !choice->job) continue;
        sp_job_get_usage(choice->job, &choice->usage);
        if (choice->usage.prompt_s <= 0) choice->n_prompt = choice->usage.n_cached = 0;
    }
}

static void book_run(sp_run *run, bool cancelled)
{
    sp_error err = SP_ERROR_NONE;
    count_unfinished(run);
    sp_run_usage usage = sp_run_usage_of(run);
    run->is_booked = true;
    note_run(run, &usage);
    if (!run->server->meter) return;
    sp_ledger_row row = {.request_id = sp_exchange_id(run->exchange),
                         .key_id = run->key.id[0] ? run->key.id : NULL,
                         .endpoint = run->endpoint,
                         .model = run->model,
                         .n_hit = usage.n_cached,
                         .n_miss = usage.n_prompt - usage.n_cached,
                         .n_reply = usage.n_reply,
                         .n_reasoning = usage.n_reasoning,
                         .price = run->server->options.price,
                         .vendor_price = run->thinks ? sp_price_reasoner : sp_price_chat,
                         .seconds = sp_seconds() - run->began,
                         .cancelled = cancelled};
    if (sp_meter_book(run->server->meter, &row, &err) == SP_OK) return;
    sp_exchange_note(run->exchange, "meter", err.text);
    if (!cancelled) sp_fault_set(&run->fault, 503, NULL, "meter_error", "%s", err.text);
}

/* --- the exchange's side -------------------------------------------------------------------------------- */

/* What the cache had of the prompt is known by the first event; a dialect may say it at the beginning. */
static void note_cached(sp_choice *choice)
{
    sp_job_usage usage;
    sp_job_get_usage(choice->job, &usage);
    choice->usage.n_cached = usage.n_cached;
}

static sp_status take_events(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    sp_event event;
    sp_status status = SP_OK;
    while (status == SP_OK && !run->fault.status && choice->job && !choice->is_done &&
           sp_job_take(choice->job, &event)) {
        if (!choice->is_started) note_cached(choice);
        status = sp_run_take(run, choice, &event, out, err);
        sp_event_clear(&event);
    }
    return status;
}

/* Status and headers, before anything is sent. */
static void start_answer(sp_run *run, bool failed)
{
    sp_exchange *x = run->exchange;
    if (run->is_started) return;
    run->is_started = true;
    if (failed) sp_exchange_set_status(x, run->fault.status);
    bool stream = run->stream && !failed;
    sp_exchange_set_header(x, "Content-Type",
                           stream ? "text/event-stream; charset=utf-8" : "application/json");
    if (!stream) return;
    sp_exchange_set_header(x, "Cache-Control", "no-cache");
    sp_exchange_set_header(x, "X-Accel-Buffering", "no");
}

static sp_answer write_run(void *ctx, sp_exchange *x, bool idle, sp_buf *out)
{
    sp_run *run = ctx;
    sp_error err = SP_ERROR_NONE;
    size_t before = out->len;
    bool over = false;
    sp_status status = SP_OK;
    (void)x;
    for (size_t i = 0; status == SP_OK && i < run->n_choices; i++)
        status = take_events(run, &run->choices[i], out, &err);
    if (out->len > before) start_answer(run, false);
    if (status == SP_OK && (run->fault.status || run->n_done == run->n_choices)) {
        over = true;
        book_run(run, false);
        status = sp_run_end(run, out, &err);
        start_answer(run, run->fault.status != 0);
    }
    if (status == SP_OK && !over && idle && out->len == before) {
        status = run->stream ? run->dialect->idle(run, out, &err) : sp_buf_puts(out, "\n", &err);
        start_answer(run, false);
    }
    if (status != SP_OK) {
        /* out of memory in the middle: the answer is cut off, which the client sees */
        sp_exchange_note(run->exchange, "error", err.text);
        return SP_ANSWER_END;
    }
    return over ? SP_ANSWER_END : SP_ANSWER_WAIT;
}

static void close_run(void *ctx)
{
    sp_run *run = ctx;
    if (!run->is_booked) book_run(run, true);
    sp_run_destroy(run);
}

void sp_api_answer(sp_run *run)
{
    sp_answerer answerer = {run, write_run, close_run};
    sp_exchange_answer(run->exchange, &answerer);
}

void sp_api_reply_json(sp_exchange *x, const sp_buf *body, sp_status status)
{
    if (status == SP_OK)
        sp_exchange_reply(x, 200, "application/json", body->data, body->len);
    else
        sp_server_fail(x, 500, NULL, "out_of_memory", "the server is out of memory");
}
