/* SPDX-License-Identifier: MIT */
/* `sputnik chat`: a conversation in the terminal, or line by line through pipes. */
#include "cli/chat.h"

#include <string.h>

#include "cli/experts.h"
#include "cli/interrupt.h"

typedef struct chat_args {
    sp_session_args session;
    sp_sampling_args sampling;
    const char *system, *format, *load;
    int show_thinking, hide_thinking, no_history;
} chat_args;

static const chat_args chat_defaults = {
    SP_SESSION_ARGS_TALK, SP_SAMPLING_ARGS_DEFAULTS, NULL, NULL, NULL, 0, 0, 0};

static const sp_arg chat_table[] = {
    SP_STRING_ROW(chat_args, system, "system", 's', "TEXT", "system message"),
    SP_STRING_ROW(chat_args, load, "load", 0, "FILE", "go on with a saved conversation"),
    SP_STRING_ROW(chat_args, format, "format", 0, "NAME", "conversation format instead of the model's own"),
    SP_FLAG_ROW(chat_args, show_thinking, "show-thinking", 0,
                "leave the reasoning standing; write it to pipes too"),
    SP_FLAG_ROW(chat_args, hide_thinking, "hide-thinking", 0, "do not show the reasoning"),
    SP_FLAG_ROW(chat_args, no_history, "no-history", 0, "keep no history of what is typed"),
    SP_SAMPLING_ROWS(chat_args, sampling),
    SP_SESSION_ROWS(chat_args, session),
};

/* Asked by the session between chunks of work. */
static int check_cancel(void *ctx, size_t n_done, size_t n_total)
{
    sp_chat *chat = ctx;
    if (chat->filling && n_total > 64) sp_progress_set(&chat->progress, n_done, n_total);
    return sp_interrupt_seen();
}

static sp_status start(sp_chat *chat, const chat_args *args, sp_error *err)
{
    sp_session_options options;
    chat->tokenizer = sp_model_tokenizer(chat->model);
    if (!chat->tokenizer) return sp_fail(err, SP_E_UNSUPPORTED, "the model's files hold no vocabulary");
    chat->format = sp_model_chat_format(chat->model);
    if (args->format && !sp_chat_format_by_name(args->format, &chat->format))
        return sp_fail(err, SP_E_ARGUMENT, "option --format: \"%.60s\" is no conversation format",
                       args->format);
    if (chat->format == SP_CHAT_NONE)
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "the model has no conversation format: \"sputnik run --raw\" continues text");
    chat->sampling = args->sampling;
    chat->seed = args->sampling.seed;
    chat->show_thinking = args->show_thinking;
    chat->hide_thinking = args->hide_thinking;
    if (args->system && !(chat->system = sp_strdup(args->system)))
        return sp_fail_nomem(err, "system message", 0);
    sp_cli_session_options(&options, &args->session);
    options.cancel = check_cancel;
    options.cancel_ctx = chat;
    SP_TRY(sp_cli_begin_experts(chat->model, &args->session, &options, 1, err));
    SP_TRY(sp_session_create(&chat->session, chat->model, &options, err));
    if (args->load) SP_TRY(sp_chat_load(chat, args->load, err));
    sp_generate_options check;
    sp_logit_bias *bias = NULL;
    sp_status status = sp_cli_generate_options(&check, &bias, chat->model, &chat->sampling, err);
    sp_free(bias);
    return status;
}

static void greet(const sp_chat *chat)
{
    sp_model_info info;
    sp_model_get_info(chat->model, &info);
    printf("%s, %s, context %zu. /help lists the commands.\n",
           info.name && info.name[0] ? info.name : chat->model_name, info.architecture,
           sp_session_capacity(chat->session));
}

/* One message: a command or a turn. False to end. */
static bool handle(sp_chat *chat, const char *text)
{
    sp_error err = SP_ERROR_NONE;
    if (text[strspn(text, " \t\n")] == '\0') return true;
    if (text[0] == '/' && text[1] != '/' && !strchr(text, '\n')) return sp_chat_command(chat, text);
    if (text[0] == '/' && text[1] == '/') text++;
    sp_status status = sp_chat_add(chat, SP_ROLE_USER, text, NULL, &err);
    if (status == SP_OK) {
        size_t n = chat->n_turns;
        status = sp_chat_reply(chat, &err);
        if (chat->n_turns == n) sp_chat_drop_last(chat); /* no reply: the conversation is as before */
    }
    if (status != SP_OK) sp_cli_fail(&err, NULL);
    return true;
}

static int converse(sp_chat *chat, int with_history)
{
    sp_error err = SP_ERROR_NONE;
    sp_input *input = NULL;
    sp_buf text = {NULL, 0, 0};
    bool going = true;
    if (sp_input_create(&input, sp_chat_words, with_history, &err) != SP_OK) return sp_cli_fail(&err, NULL);
    chat->terminal = sp_input_is_terminal(input);
    sp_view_init(&chat->view, SP_VIEW_HIDE);
    if (chat->terminal) greet(chat);
    while (going) {
        sp_input_result result = sp_input_read(input, ">>> ", &text, &err);
        sp_interrupt_forget();
        if (result == SP_INPUT_FAILED) sp_cli_fail(&err, NULL);
        if (result == SP_INPUT_INTERRUPTED && chat->terminal) puts("\n(Ctrl-D or /quit leaves)");
        if (result == SP_INPUT_END || result == SP_INPUT_FAILED) break;
        if (result == SP_INPUT_TEXT) going = handle(chat, text.data);
    }
    if (chat->terminal && going) putchar('\n');
    sp_input_destroy(input);
    sp_buf_clear(&text);
    return err.code == SP_OK ? SP_EXIT_GOOD : SP_EXIT_FAILED;
}

static int run_chat(const void *options, char *const *operands, int n_operands)
{
    const chat_args *args = options;
    sp_error err = SP_ERROR_NONE;
    sp_chat *chat = sp_calloc(1, sizeof *chat);
    int code = SP_EXIT_FAILED;
    if (!chat) return sp_cli_say("out of memory");
    chat->model_name = n_operands > 0 ? operands[0] : "nano";
    if (sp_cli_open_model(&chat->model, chat->model_name, &args->session)) {
        sp_interrupt_catch();
        if (start(chat, args, &err) == SP_OK)
            code = converse(chat, !args->no_history);
        else
            code = sp_cli_fail(&err, NULL);
        if (code == SP_EXIT_FAILED && err.code == SP_E_ARGUMENT) code = SP_EXIT_USAGE;
    }
    sp_chat_clear_turns(chat);
    for (size_t i = 0; i < chat->n_kept; i++) sp_free(chat->kept[i]);
    sp_free(chat->kept);
    sp_free(chat->system);
    sp_session_destroy(chat->session);
    code = sp_cli_end_experts(chat->model, &args->session, code);
    sp_model_close(chat->model);
    sp_free(chat);
    return code;
}

const sp_command sp_command_chat = {
    "chat",
    "[MODEL]",
    "conversation in the terminal",
    "Without MODEL the built-in one (nano), once it exists. Ctrl-C stops a reply, Ctrl-D leaves.\n"
    "/help in the conversation lists its commands.",
    chat_table,
    sizeof chat_table / sizeof chat_table[0],
    &chat_defaults,
    sizeof chat_defaults,
    0,
    1,
    run_chat,
};
