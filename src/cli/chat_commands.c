/* SPDX-License-Identifier: MIT */
/* The slash commands of `sputnik chat`. */
#include "cli/chat.h"

#include <string.h>

const char *const sp_chat_words[] = {"/help",  "/system", "/think", "/set",  "/save", "/load",
                                     "/regen", "/tokens", "/clear", "/quit", NULL};

static const sp_arg settings_table[] = {SP_SETTING_ROWS(sp_chat, sampling)};
static const sp_chat settings_defaults;

static int run_nothing(const void *options, char *const *operands, int n_operands)
{
    (void)options;
    (void)operands;
    return n_operands;
}

const sp_command sp_chat_settings = {
    "chat",
    "",
    "",
    NULL,
    settings_table,
    sizeof settings_table / sizeof settings_table[0],
    &settings_defaults,
    sizeof settings_defaults,
    0,
    0,
    run_nothing,
};

sp_status sp_chat_set(sp_chat *chat, const char *name, const char *value, sp_error *err)
{
    sp_buf option = {NULL, 0, 0};
    sp_args_result result;
    char **kept = sp_realloc_array(chat->kept, chat->n_kept + 1, sizeof *kept);
    if (!kept) return sp_fail_nomem(err, "setting", (chat->n_kept + 1) * sizeof *kept);
    chat->kept = kept;
    SP_TRY(sp_buf_printf(&option, err, "--%s=%s", name, value));
    kept[chat->n_kept++] = option.data;
    sp_status status = sp_args_parse(&sp_chat_settings, 1, &option.data, chat, &result, err);
    sp_free(result.operands);
    return status;
}

static void show_help(void)
{
    fputs(
        "/system [TEXT]     show or set the system message; \"/system -\" removes it\n"
        "/think [off|auto|N]  show or set the reasoning; \"/think show\" prints the last one,\n"
        "                   \"/think hide\" and \"/think fold\" say how the next ones appear\n"
        "/set [NAME VALUE]  show or change a setting (temp, top-p, top-k, min-p, seed, max-tokens, ...)\n"
        "/save FILE         write the conversation as JSON\n"
        "/load FILE         read it back\n"
        "/regen             reply again to the last message\n"
        "/tokens            tokens of the context and of the last reply\n"
        "/clear             forget the conversation\n"
        "/quit              leave (also Ctrl-D)\n"
        "Ctrl-C stops a reply. A line that ends with \\ continues; \"\"\" begins and ends a block of lines.\n"
        "A message that begins with / is written with two of them.\n",
        stdout);
}

static void set_system(sp_chat *chat, const char *text)
{
    if (!text[0]) {
        printf("system: %s\n", chat->system ? chat->system : "(none)");
        return;
    }
    bool removed = strcmp(text, "-") == 0;
    char *copy = removed ? NULL : sp_strdup(text);
    if (!copy && !removed) {
        sp_cli_say("out of memory");
        return;
    }
    sp_free(chat->system);
    chat->system = copy;
    if (chat->format == SP_CHAT_R1 || chat->format == SP_CHAT_R1_0528)
        if (copy) puts("note: R1 models are meant to be used without a system message");
}

static void show_last_reasoning(const sp_chat *chat)
{
    for (size_t i = chat->n_turns; i-- > 0;) {
        if (!chat->turns[i].reasoning) continue;
        const char *dim = chat->view.colour ? "\033[2m" : "", *undim = chat->view.colour ? "\033[22m" : "";
        fputs(dim, stdout);
        sp_view_write(&chat->view, chat->turns[i].reasoning, strlen(chat->turns[i].reasoning));
        printf("%s\n", undim);
        return;
    }
    puts("no reasoning yet");
}

static void set_think(sp_chat *chat, const char *text)
{
    sp_generate_options options = SP_GENERATE_OPTIONS_DEFAULTS;
    sp_error err = SP_ERROR_NONE;
    if (strcmp(text, "show") == 0) {
        show_last_reasoning(chat);
    } else if (strcmp(text, "hide") == 0 || strcmp(text, "fold") == 0 || strcmp(text, "open") == 0) {
        chat->hide_thinking = text[0] == 'h';
        chat->show_thinking = text[0] == 'o';
    } else if (!text[0]) {
        printf("thinking: %s\n", chat->sampling.think ? chat->sampling.think : "auto");
    } else if (sp_cli_parse_think(text, &options, &err) != SP_OK ||
               sp_chat_set(chat, "think", text, &err) != SP_OK) {
        sp_cli_fail(&err, "/think off, /think auto, /think N, /think show, /think hide, /think fold");
    }
}

static void show_settings(const sp_chat *chat)
{
    sp_generate_options options;
    sp_logit_bias *bias = NULL;
    sp_error err = SP_ERROR_NONE;
    if (sp_cli_generate_options(&options, &bias, chat->model, &chat->sampling, &err) != SP_OK) {
        sp_cli_fail(&err, NULL);
    } else {
        const sp_sampler_options *s = &options.sampler;
        printf("temp %g, top-p %g, top-k %d, min-p %g, repetition-penalty %g, frequency-penalty %g,\n"
               "presence-penalty %g, max-tokens %lld, think %s, ",
               (double)s->temperature, (double)s->top_p, (int)s->top_k, (double)s->min_p,
               (double)s->repetition_penalty, (double)s->frequency_penalty, (double)s->presence_penalty,
               (long long)options.max_tokens, chat->sampling.think ? chat->sampling.think : "auto");
        if (chat->sampling.seed < 0)
            puts("seed from the clock");
        else
            printf("seed %lld\n", (long long)chat->sampling.seed);
    }
    sp_free(bias);
}

static void change_setting(sp_chat *chat, const char *text)
{
    char name[40];
    sp_error err = SP_ERROR_NONE;
    size_t n = strcspn(text, " =");
    if (!text[0]) {
        show_settings(chat);
        return;
    }
    if (n >= sizeof name || text[n] == '\0') {
        sp_cli_say("/set: expected a name and a value");
        sp_cli_hint("/set temp 0.7");
        return;
    }
    memcpy(name, text, n);
    name[n] = '\0';
    const char *value = text + n + 1;
    value += strspn(value, " ");
    if (sp_chat_set(chat, name, value, &err) != SP_OK)
        sp_cli_fail(&err, "/set shows the settings");
    else if (strcmp(name, "seed") == 0)
        chat->seed = chat->sampling.seed;
}

static void regenerate(sp_chat *chat)
{
    sp_error err = SP_ERROR_NONE;
    sp_turn old = {SP_ROLE_ASSISTANT, NULL, NULL};
    if (chat->n_turns == 0) {
        sp_cli_say("/regen: there is no message to reply to");
        return;
    }
    if (chat->turns[chat->n_turns - 1].role == SP_ROLE_ASSISTANT) old = chat->turns[--chat->n_turns];
    if (chat->seed >= 0) chat->seed++; /* else every reply has a new one */
    size_t n = chat->n_turns;
    if (sp_chat_reply(chat, &err) != SP_OK) sp_cli_fail(&err, NULL);
    if (chat->n_turns == n && old.content) {
        chat->turns[chat->n_turns++] = old; /* no new reply: the old one stays, in the place it had */
        return;
    }
    sp_free(old.content);
    sp_free(old.reasoning);
}

static void show_tokens(const sp_chat *chat)
{
    printf("context: %zu of %zu tokens; last reply: %zu tokens after a prompt of %zu, %zu of them cached\n",
           sp_session_length(chat->session), sp_session_capacity(chat->session), chat->stats.n_reply,
           chat->stats.n_prompt, chat->stats.n_reused);
}

static void use_file(sp_chat *chat, const char *path, bool save)
{
    sp_error err = SP_ERROR_NONE;
    if (!path[0]) {
        sp_cli_say("/%s: expected a file name", save ? "save" : "load");
        return;
    }
    if ((save ? sp_chat_save(chat, path, &err) : sp_chat_load(chat, path, &err)) != SP_OK)
        sp_cli_fail(&err, NULL);
    else
        printf("%s %zu messages\n", save ? "saved" : "loaded", chat->n_turns);
}

bool sp_chat_command(sp_chat *chat, const char *text)
{
    size_t n = strcspn(text, " \t");
    const char *argument = text + n + strspn(text + n, " \t");
    const char *word = NULL;
    size_t n_matches = 0;
    for (size_t i = 0; sp_chat_words[i]; i++) { /* an unambiguous beginning is enough */
        if (strncmp(sp_chat_words[i], text, n) != 0) continue;
        word = sp_chat_words[i];
        n_matches++;
        if (strlen(word) == n) {
            n_matches = 1;
            break;
        }
    }
    if (n_matches != 1 || n < 2) {
        sp_cli_say("unknown command \"%.*s\"", n > 40 ? 40 : (int)n, text);
        sp_cli_hint("/help lists the commands");
    } else if (strcmp(word, "/quit") == 0) {
        return false;
    } else if (strcmp(word, "/help") == 0) {
        show_help();
    } else if (strcmp(word, "/system") == 0) {
        set_system(chat, argument);
    } else if (strcmp(word, "/think") == 0) {
        set_think(chat, argument);
    } else if (strcmp(word, "/set") == 0) {
        change_setting(chat, argument);
    } else if (strcmp(word, "/save") == 0 || strcmp(word, "/load") == 0) {
        use_file(chat, argument, word[1] == 's');
    } else if (strcmp(word, "/regen") == 0) {
        regenerate(chat);
    } else if (strcmp(word, "/tokens") == 0) {
        show_tokens(chat);
    } else {
        sp_chat_clear_turns(chat);
    }
    fflush(stdout);
    return true;
}
