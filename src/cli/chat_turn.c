/* SPDX-License-Identifier: MIT */
/* One reply of a chat: the prompt from the turns, the generator, the view, and what is said when it ends. */
#include "cli/chat.h"

#include <string.h>

#include "cli/interrupt.h"

sp_status sp_chat_add(sp_chat *chat, sp_role role, const char *content, const char *reasoning, sp_error *err)
{
    sp_turn *turns = sp_realloc_array(chat->turns, chat->n_turns + 1, sizeof *turns);
    if (!turns) return sp_fail_nomem(err, "conversation", (chat->n_turns + 1) * sizeof *turns);
    chat->turns = turns;
    sp_turn turn = {role, sp_strdup(content), reasoning ? sp_strdup(reasoning) : NULL};
    if (!turn.content || (reasoning && !turn.reasoning)) {
        sp_free(turn.content);
        sp_free(turn.reasoning);
        return sp_fail_nomem(err, "message", strlen(content));
    }
    turns[chat->n_turns++] = turn;
    return SP_OK;
}

void sp_chat_drop_last(sp_chat *chat)
{
    if (chat->n_turns == 0) return;
    sp_turn *turn = &chat->turns[--chat->n_turns];
    sp_free(turn->content);
    sp_free(turn->reasoning);
}

void sp_chat_clear_turns(sp_chat *chat)
{
    while (chat->n_turns > 0) sp_chat_drop_last(chat);
    sp_free(chat->turns);
    chat->turns = NULL;
}

/* Ids of the conversation without its first `skip` turns. */
static sp_status render(const sp_chat *chat, size_t skip, const sp_chat_options *options, sp_tokens *tokens,
                        sp_error *err)
{
    size_t n = 0;
    sp_message *messages = sp_calloc(chat->n_turns + 1, sizeof *messages);
    if (!messages) return sp_fail_nomem(err, "messages", (chat->n_turns + 1) * sizeof *messages);
    if (chat->system) {
        messages[n].role = SP_ROLE_SYSTEM;
        messages[n++].content = chat->system;
    }
    for (size_t i = skip; i < chat->n_turns; i++) {
        messages[n].role = chat->turns[i].role;
        messages[n].content = chat->turns[i].content;
        messages[n++].reasoning = chat->turns[i].reasoning;
    }
    tokens->n = 0;
    sp_status status = sp_chat_render(chat->format, chat->tokenizer, tokens, messages, n, options, err);
    sp_free(messages);
    return status;
}

/* As render, leaving the oldest exchanges out until an eighth of the context (64 tokens at least) is free for
 * the reply. */
static sp_status render_fitting(const sp_chat *chat, const sp_chat_options *options, sp_tokens *tokens,
                                sp_error *err)
{
    size_t capacity = sp_session_capacity(chat->session);
    size_t room = capacity / 8 > 64 ? capacity / 8 : 64;
    size_t skip = 0;
    for (;;) {
        SP_TRY(render(chat, skip, options, tokens, err));
        if (tokens->n + room <= capacity || skip + 2 >= chat->n_turns) break;
        skip += 2;
    }
    if (tokens->n >= capacity)
        return sp_fail(err, SP_E_LIMIT, "the message takes %zu tokens, the context holds %zu", tokens->n,
                       capacity);
    if (skip > 0)
        sp_cli_say("the context of %zu tokens is full: the %zu oldest messages were left out", capacity,
                   skip);
    return SP_OK;
}

static int show_text(void *ctx, sp_reply_part part, const char *text, size_t len)
{
    sp_chat *chat = ctx;
    sp_view_put(&chat->view, part, text, len);
    return 0;
}

static sp_status produce(sp_chat *chat, sp_generator *generator, sp_error *err)
{
    sp_step step = {{0, 0, 0, {0}, {0}}, 0, SP_FINISH_NONE};
    double start = sp_seconds();
    sp_turn_stats *stats = &chat->stats;
    chat->filling = true;
    sp_progress_start(&chat->progress, "reading", SP_PROGRESS_ITEMS, 0);
    while (step.finish == SP_FINISH_NONE && !sp_interrupt_seen()) {
        sp_status status = sp_generator_next(generator, &step, show_text, chat, err);
        if (chat->filling) {
            sp_progress_finish(&chat->progress);
            chat->filling = false;
            stats->first_s = sp_seconds() - start;
            stats->n_reused = sp_session_reused(chat->session);
        }
        if (status == SP_E_CANCELLED && sp_interrupt_seen()) break;
        SP_TRY(status);
        if (step.sample.id < 0) continue;
        stats->n_reply++;
        if (chat->view.thinking) chat->view.n_think_tokens++;
    }
    stats->total_s = sp_seconds() - start;
    sp_generator_drafts(generator, &stats->drafts);
    stats->finish = step.finish != SP_FINISH_NONE ? step.finish : SP_FINISH_CANCELLED;
    return SP_OK;
}

static void print_status(const sp_chat *chat)
{
    const sp_turn_stats *s = &chat->stats;
    double decode_s = s->total_s - s->first_s;
    const char *dim = chat->view.colour ? "\033[2m" : "", *undim = chat->view.colour ? "\033[22m" : "";
    if (!chat->terminal) return;
    printf("%s", dim);
    if (s->n_reply > 1 && decode_s > 0)
        printf("%.1f tokens/s \xc2\xb7 ", (double)(s->n_reply - 1) / decode_s);
    printf("%zu tokens \xc2\xb7 prompt %zu (%zu cached) \xc2\xb7 ", s->n_reply, s->n_prompt, s->n_reused);
    size_t n_drafted = s->drafts.n_mtp_drafted + s->drafts.n_lookup_drafted;
    if (n_drafted > 0)
        printf("guessed %zu of %zu \xc2\xb7 ", s->drafts.n_mtp_accepted + s->drafts.n_lookup_accepted,
               n_drafted);
    printf("%s%s\n", sp_finish_name(s->finish), undim);
}

static bool is_unanswered(const sp_generator *generator)
{
    const sp_reply *reply = sp_generator_reply(generator);
    const char *content = sp_reply_content(reply), *reasoning = sp_reply_reasoning(reply);
    return reasoning && reasoning[0] && !(content && content[0]);
}

static void explain_finish(const sp_chat *chat, const sp_generator *generator)
{
    size_t repeats = 0;
    size_t length = sp_generator_loop(generator, &repeats);
    if (chat->stats.finish == SP_FINISH_LOOP) {
        sp_cli_say("the reply only repeated itself (%zu tokens, %zu times) and was ended", length, repeats);
        sp_cli_hint("/regen tries again; --no-loop-guard lets a reply go on");
    } else if (chat->stats.finish == SP_FINISH_CONTEXT) {
        sp_cli_say("the context of %zu tokens is full", sp_session_capacity(chat->session));
        sp_cli_hint("a larger one: sputnik chat -c N");
    } else if (chat->stats.finish != SP_FINISH_CANCELLED && is_unanswered(generator)) {
        sp_cli_say("the reply ended (%s) before its reasoning did: there is no answer",
                   sp_finish_name(chat->stats.finish));
        sp_cli_hint("a larger -n, or /think N to limit the reasoning");
    }
}

/* The reply's text becomes a turn. */
static sp_status keep_reply(sp_chat *chat, const sp_generator *generator, sp_error *err)
{
    const sp_reply *reply = sp_generator_reply(generator);
    const char *content = sp_reply_content(reply), *reasoning = sp_reply_reasoning(reply);
    if (chat->stats.finish == SP_FINISH_CANCELLED && (!content || !content[0])) return SP_OK;
    return sp_chat_add(chat, SP_ROLE_ASSISTANT, content ? content : "",
                       reasoning && reasoning[0] ? reasoning : NULL, err);
}

sp_status sp_chat_reply(sp_chat *chat, sp_error *err)
{
    sp_generate_options options;
    sp_logit_bias *bias = NULL;
    sp_generator *generator = NULL;
    sp_tokens tokens = {NULL, 0, 0};
    sp_status status;
    SP_GOTO(done, status, sp_cli_generate_options(&options, &bias, chat->model, &chat->sampling, err));
    if (chat->seed >= 0) options.sampler.seed = (uint64_t)chat->seed;
    options.format = chat->format;
    SP_GOTO(done, status, render_fitting(chat, &options.chat, &tokens, err));
    memset(&chat->stats, 0, sizeof chat->stats);
    chat->stats.n_prompt = tokens.n;
    sp_view_mode mode = chat->terminal ? (chat->show_thinking ? SP_VIEW_STREAM : SP_VIEW_FOLD)
                                       : (chat->show_thinking ? SP_VIEW_TAGS : SP_VIEW_HIDE);
    sp_view_init(&chat->view, chat->hide_thinking ? SP_VIEW_HIDE : mode);
    SP_GOTO(done, status,
            sp_generator_create(&generator, chat->session, tokens.ids, tokens.n, &options, err));
    sp_interrupt_forget();
    status = produce(chat, generator, err);
    sp_view_finish(&chat->view);
    if (status != SP_OK) goto done;
    print_status(chat);
    explain_finish(chat, generator);
    status = keep_reply(chat, generator, err);
done:
    sp_interrupt_forget();
    sp_generator_destroy(generator);
    sp_tokens_clear(&tokens);
    sp_free(bias);
    return status;
}
