/* SPDX-License-Identifier: MIT */
/* One reply, token by token: evaluate, sample or force, divide the text, decide whether it ends. Start at
 * sp_generator_next().
 *
 * Invariants: 1. tokens = prompt, then every token of the reply, forced and ending ones included. 2. A token
 * is sampled from (seed, position, history) alone, so a call whose evaluation failed can be repeated. 3. Once
 * `finish` is set nothing changes. */
#include "infer/generate_core.h"

#include "infer/loop_guard.h"
#include "infer/sampler_parts.h"
#include "infer/stop.h"
#include "text/chat_build.h"
#include "text/grammar_match.h"
#include "text/reply.h"

#include <math.h>
#include <string.h>

/* Tokens by which closing the reasoning waits for the end of a character. */
#define MAX_PATIENCE 8

struct sp_generator {
    sp_generate_source source;
    int64_t max_tokens, think_budget;
    bool ignore_end;
    sp_chat_format format;
    sp_sampler *sampler;
    sp_reply *reply;
    sp_loop_guard *guard; /* NULL: off */
    sp_stop stop;
    sp_buf shown; /* scratch of the stop filter */
    sp_tokens tokens;
    size_t n_prompt;
    int64_t n_thinking;  /* tokens of reasoning so far */
    sp_tokens forced;    /* what closes the reasoning */
    size_t n_forced;     /* of them already given out */
    bool closed;         /* the budget or an early end closed the reasoning */
    sp_matcher *matcher; /* of the content; NULL: no grammar */
    bool may_think;      /* a tag that opens reasoning may come before the grammar's first token */
    float *logits;       /* scratch (vocab_size), made when the reasoning has been closed */
    sp_finish finish;
    size_t loop_period, loop_repeats;
};

const char *sp_finish_name(sp_finish finish)
{
    static const char *const names[] = {"none", "end", "stop", "length", "context", "loop", "cancelled"};
    return (unsigned)finish < sizeof names / sizeof names[0] ? names[finish] : "none";
}

/* --- creation ------------------------------------------------------------------------------------------- */

static bool has_text(const sp_tokenizer *tokenizer, int32_t id)
{
    size_t len = 0;
    sp_tokenizer_piece(tokenizer, id, &len);
    return len > 0;
}

/* A sampler that never chooses ids without text: those beyond the vocabulary's end by n_valid, gaps by a ban.
 */
static sp_status create_sampler(sp_generator *g, const sp_sampler_options *options, sp_error *err)
{
    sp_sampler_options o = *options;
    const sp_tokenizer *tokenizer = g->source.tokenizer;
    int32_t n_text = g->source.vocab_size, n_gaps = 0;
    if (tokenizer) {
        if (sp_tokenizer_size(tokenizer) < n_text) n_text = sp_tokenizer_size(tokenizer);
        while (n_text > 0 && !has_text(tokenizer, n_text - 1)) n_text--;
        if (n_text == 0) n_text = g->source.vocab_size, tokenizer = NULL;
    }
    if (o.n_valid <= 0 || o.n_valid > n_text) o.n_valid = o.n_valid < 0 ? o.n_valid : n_text;
    for (int32_t id = 0; tokenizer && id < n_text; id++) n_gaps += !has_text(tokenizer, id);
    if (n_gaps == 0) return sp_sampler_create(&g->sampler, g->source.vocab_size, &o, err);
    sp_logit_bias *bias = sp_malloc_array(o.n_logit_bias + (size_t)n_gaps, sizeof *bias);
    if (!bias) return sp_fail_nomem(err, "logit bias", (uint64_t)n_gaps * sizeof *bias);
    if (o.n_logit_bias) memcpy(bias, o.logit_bias, o.n_logit_bias * sizeof *bias);
    for (int32_t id = 0; id < n_text; id++)
        if (!has_text(tokenizer, id)) bias[o.n_logit_bias++] = (sp_logit_bias){id, -INFINITY};
    o.logit_bias = bias;
    sp_status status = sp_sampler_create(&g->sampler, g->source.vocab_size, &o, err);
    sp_free(bias);
    return status;
}

/* The ids that close the reasoning as the format writes it. */
static sp_status make_closing(sp_generator *g, sp_error *err)
{
    const char *text = g->format == SP_CHAT_V31 ? SP_THINK_CLOSE : "\n" SP_THINK_CLOSE "\n\n";
    sp_chat_build build = {{NULL, 0, 0}, NULL, 0, 0};
    if (!g->source.tokenizer) return SP_OK;
    sp_status status = sp_chat_build_control(&build, text, err);
    if (status == SP_OK) status = sp_chat_build_encode(&build, g->source.tokenizer, &g->forced, err);
    sp_chat_build_clear(&build);
    g->n_forced = g->forced.n;
    return status;
}

/* Text on its way to the record: content passes the stop strings; other parts flush what they held back. */
static sp_status filter_text(void *ctx, sp_reply_part part, const char *text, size_t len, sp_error *err)
{
    sp_generator *g = ctx;
    if (g->stop.hit) return SP_OK;
    g->shown.len = 0;
    SP_TRY(part == SP_REPLY_CONTENT ? sp_stop_push(&g->stop, &g->shown, text, len, err)
                                    : sp_stop_flush(&g->stop, &g->shown, err));
    if (g->shown.len) SP_TRY(sp_reply_record(g->reply, SP_REPLY_CONTENT, g->shown.data, g->shown.len, err));
    return part == SP_REPLY_CONTENT ? SP_OK : sp_reply_record(g->reply, part, text, len, err);
}

/* Formats whose prompts leave it to the model to open its reasoning keep that choice. */
static sp_status begin_grammar(sp_generator *g, const sp_generate_options *o, sp_error *err)
{
    if (!o->grammar) return SP_OK;
    if (!g->source.tokenizer)
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "generate: a grammar needs the model's vocabulary, which its files lack");
    g->may_think = (o->format == SP_CHAT_R1_0528 || o->format == SP_CHAT_QWEN3) &&
                   o->chat.think != SP_THINK_OFF && !sp_reply_is_thinking(g->reply) && o->think_budget != 0;
    return sp_matcher_create(&g->matcher, o->grammar, g->source.tokenizer, err);
}

static sp_status fill_generator(sp_generator *g, const int32_t *prompt, size_t n,
                                const sp_generate_options *o, sp_error *err)
{
    g->max_tokens = o->max_tokens;
    g->think_budget = o->think_budget;
    g->ignore_end = o->ignore_end != 0;
    g->format = o->format;
    g->n_prompt = n;
    SP_TRY(sp_tokens_append(&g->tokens, prompt, n, err));
    SP_TRY(create_sampler(g, &o->sampler, err));
    SP_TRY(sp_reply_create(&g->reply, o->format, g->source.tokenizer, &o->chat, err));
    SP_TRY(sp_stop_init(&g->stop, o->stop, o->n_stop, err));
    if (o->n_stop) sp_reply_set_filter(g->reply, filter_text, g);
    SP_TRY(begin_grammar(g, o, err));
    if (o->loop_guard) SP_TRY(sp_loop_guard_create(&g->guard, err));
    return o->think_budget >= 0 || g->matcher ? make_closing(g, err) : SP_OK;
}

sp_status sp_generator_create_over(sp_generator **generator, const sp_generate_source *source,
                                   const int32_t *prompt, size_t n, const sp_generate_options *options,
                                   sp_error *err)
{
    *generator = NULL;
    if (n == 0) return sp_fail(err, SP_E_ARGUMENT, "generate: the prompt is empty");
    if (n > source->capacity)
        return sp_fail(err, SP_E_LIMIT, "generate: the prompt has %zu tokens, the context holds %zu", n,
                       source->capacity);
    sp_generator *g = sp_calloc(1, sizeof *g);
    if (!g) return sp_fail_nomem(err, "generator", sizeof *g);
    g->source = *source;
    sp_status status = fill_generator(g, prompt, n, options, err);
    if (status != SP_OK) {
        g->source.destroy = NULL;
        sp_generator_destroy(g);
        return status;
    }
    *generator = g;
    return SP_OK;
}

void sp_generator_destroy(sp_generator *generator)
{
    if (!generator) return;
    if (generator->source.destroy) generator->source.destroy(generator->source.ctx);
    sp_sampler_destroy(generator->sampler);
    sp_reply_destroy(generator->reply);
    sp_loop_guard_destroy(generator->guard);
    sp_matcher_destroy(generator->matcher);
    sp_stop_clear(&generator->stop);
    sp_buf_clear(&generator->shown);
    sp_tokens_clear(&generator->tokens);
    sp_tokens_clear(&generator->forced);
    sp_free(generator->logits);
    sp_free(generator);
}

/* --- one token ------------------------------------------------------------------------------------------ */

/* Logits without the tag that would open reasoning again, once the budget has closed it and until the answer
 * begins. */
static sp_status forbid_thinking(sp_generator *g, const float **logits, sp_error *err)
{
    int32_t open = g->reply->ids[SP_MARK_THINK_OPEN];
    size_t n = (size_t)g->source.vocab_size;
    if (!g->closed || g->reply->spoke || open < 0 || (size_t)open >= n) return SP_OK;
    if (!g->logits) g->logits = sp_malloc_array(n, sizeof *g->logits);
    if (!g->logits) return sp_fail_nomem(err, "logits", n * sizeof *g->logits);
    memcpy(g->logits, *logits, n * sizeof *g->logits);
    g->logits[open] = -INFINITY;
    *logits = g->logits;
    return SP_OK;
}

/* Begin to force the closing tag when the budget is spent, at the end of a character. */
static void check_budget(sp_generator *g)
{
    bool spent = g->think_budget >= 0 && g->n_thinking >= g->think_budget;
    if (!spent || !sp_reply_is_thinking(g->reply) || g->n_forced < g->forced.n) return;
    if (sp_reply_holds_text(g->reply) && g->n_thinking < g->think_budget + MAX_PATIENCE) return;
    g->n_forced = 0;
    g->closed = true;
}

/* Tokens that the grammar allows here, NULL in the reasoning; *done: the content is complete and no token ends it. */
static sp_status find_mask(sp_generator *g, uint64_t **mask, bool *done, sp_error *err)
{
    size_t n_allowed;
    int32_t open = g->reply->ids[SP_MARK_THINK_OPEN];
    if (!g->matcher || g->reply->state != SP_IN_CONTENT) return SP_OK;
    g->reply->plain = !g->may_think;
    SP_TRY(sp_matcher_mask(g->matcher, mask, &n_allowed, err));
    *done = n_allowed == 0 && sp_matcher_is_complete(g->matcher);
    if (g->may_think && open >= 0) (*mask)[open >> 6] |= 1ull << (open & 63);
    return SP_OK;
}

/* The matcher follows the content: tokens that it allowed, and what ended a reasoning whose tag is no token. */
static sp_status follow_grammar(sp_generator *g, const sp_step *step, sp_reply_state before, sp_error *err)
{
    const sp_tokenizer *tokenizer = g->source.tokenizer;
    int32_t id = step->sample.id;
    bool accepted = true;
    size_t len;
    const char *piece = sp_tokenizer_piece(tokenizer, id, &len);
    if (g->reply->state == SP_IN_REASONING) {
        g->may_think = false;
        return SP_OK;
    }
    if (step->forced || sp_tokenizer_is_special(tokenizer, id) || sp_tokenizer_is_end(tokenizer, id))
        return SP_OK;
    if (before == SP_IN_REASONING) {
        piece = g->reply->content.data ? g->reply->content.data : "";
        len = g->reply->content.len;
    }
    g->may_think = false;
    SP_TRY(sp_matcher_push(g->matcher, piece, len, &accepted, err));
    if (accepted) return SP_OK;
    return sp_fail(err, SP_E_RANGE, "generate: what follows the reasoning does not fit the grammar");
}

/* A reply with a grammar owes content: where it would end amid its reasoning, the reasoning ends instead. */
static void turn_early_end(sp_generator *g, sp_step *step)
{
    bool ends = sp_tokenizer_is_end(g->source.tokenizer, step->sample.id) && !g->ignore_end;
    if (!ends || !sp_reply_is_thinking(g->reply) || g->forced.n == 0) return;
    step->sample = (sp_sample){.id = g->forced.ids[0]};
    step->forced = 1;
    g->n_forced = 0;
    g->closed = true;
}

static sp_status choose_token(sp_generator *g, sp_step *step, bool *done, sp_error *err)
{
    const float *logits = NULL;
    uint64_t *mask = NULL;
    check_budget(g);
    if (g->n_forced < g->forced.n) {
        step->sample.id = g->forced.ids[g->n_forced];
        step->forced = 1;
        return SP_OK;
    }
    SP_TRY(find_mask(g, &mask, done, err));
    if (*done) return SP_OK;
    SP_TRY(g->source.sync(g->source.ctx, g->tokens.ids, g->tokens.n, &logits, err));
    SP_TRY(forbid_thinking(g, &logits, err));
    sp_history history = {g->tokens.ids, g->tokens.n, g->n_prompt};
    int32_t n_masked = mask ? sp_tokenizer_size(g->source.tokenizer) : 0;
    SP_TRY(sp_sampler_sample_masked(g->sampler, logits, mask, n_masked, &history, &step->sample, err));
    if (g->matcher) turn_early_end(g, step);
    return SP_OK;
}

static sp_finish decide_finish(sp_generator *g, const sp_step *step, sp_status told)
{
    int32_t id = step->sample.id;
    int64_t n_reply = (int64_t)(g->tokens.n - g->n_prompt);
    bool end = g->source.tokenizer && sp_tokenizer_is_end(g->source.tokenizer, id);
    size_t period = g->guard ? sp_loop_guard_push(g->guard, id, &g->loop_repeats) : 0;
    if (end && !g->ignore_end && !step->forced) return SP_FINISH_END;
    if (g->stop.hit) return SP_FINISH_STOP;
    if (told == SP_E_CANCELLED) return SP_FINISH_CANCELLED;
    if (period) {
        g->loop_period = period;
        return SP_FINISH_LOOP;
    }
    if (g->max_tokens >= 0 && n_reply >= g->max_tokens) return SP_FINISH_LENGTH;
    return g->tokens.n > g->source.capacity ? SP_FINISH_CONTEXT : SP_FINISH_NONE;
}

/* The reply is over: pass on what is held back. It may still complete a stop string. */
static sp_status end_reply(sp_generator *g, sp_finish finish, sp_reply_fn fn, void *ctx, sp_error *err)
{
    g->finish = finish;
    if (finish == SP_FINISH_CANCELLED) fn = NULL;
    sp_status status = sp_reply_finish(g->reply, fn, ctx, err);
    if (status != SP_OK && status != SP_E_CANCELLED) return status;
    g->shown.len = 0;
    SP_TRY(sp_stop_flush(&g->stop, &g->shown, err));
    if (g->shown.len) SP_TRY(sp_reply_record(g->reply, SP_REPLY_CONTENT, g->shown.data, g->shown.len, err));
    if (g->stop.hit && finish != SP_FINISH_CANCELLED) g->finish = SP_FINISH_STOP;
    return SP_OK;
}

sp_status sp_generator_next(sp_generator *generator, sp_step *step, sp_reply_fn fn, void *ctx, sp_error *err)
{
    sp_generator *g = generator;
    *step = (sp_step){.sample = {.id = -1}, .finish = g->finish};
    if (g->finish != SP_FINISH_NONE) return SP_OK;
    bool none = g->max_tokens == 0, done = false;
    sp_status status = none ? SP_OK : choose_token(g, step, &done, err);
    if (none || done || status == SP_E_CANCELLED) {
        *step = (sp_step){.sample = {.id = -1}};
        SP_TRY(end_reply(g,
                         none   ? SP_FINISH_LENGTH
                         : done ? SP_FINISH_END
                                : SP_FINISH_CANCELLED,
                         fn, ctx, err));
        step->finish = g->finish;
        return SP_OK;
    }
    if (status == SP_OK) status = sp_tokens_push(&g->tokens, step->sample.id, err);
    if (status != SP_OK) return status;
    g->n_forced += step->forced != 0;
    sp_reply_state before = g->reply->state;
    status = sp_reply_push(g->reply, step->sample.id, fn, ctx, err);
    if (status != SP_OK && status != SP_E_CANCELLED) return status;
    if (g->matcher) SP_TRY(follow_grammar(g, step, before, err));
    g->n_thinking += before == SP_IN_REASONING && sp_reply_is_thinking(g->reply) && !step->forced;
    sp_finish finish = decide_finish(g, step, status);
    if (finish == SP_FINISH_NONE) return SP_OK;
    SP_TRY(end_reply(g, finish, fn, ctx, err));
    step->finish = g->finish;
    return SP_OK;
}

const sp_reply *sp_generator_reply(const sp_generator *generator)
{
    return generator->reply;
}

const int32_t *sp_generator_tokens(const sp_generator *generator, size_t *n)
{
    *n = generator->tokens.n - generator->n_prompt;
    return generator->tokens.ids + generator->n_prompt;
}

const int32_t *sp_generator_timeline(const sp_generator *generator, size_t *n)
{
    *n = generator->tokens.n;
    return generator->tokens.ids;
}

size_t sp_generator_loop(const sp_generator *generator, size_t *repeats)
{
    if (repeats) *repeats = generator->loop_period ? generator->loop_repeats : 0;
    return generator->loop_period;
}

void sp_generator_drafts(const sp_generator *generator, sp_draft_stats *stats)
{
    static const sp_draft_stats none;
    *stats = generator->source.drafts ? *generator->source.drafts : none;
}
