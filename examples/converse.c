/* SPDX-License-Identifier: MIT */
/* A conversation through standard input and output, reasoning on standard error. The session keeps what it has evaluated,
 * so each turn costs only its new tokens.
 *     cc converse.c $(pkg-config --cflags --libs sputnik) -o converse && ./converse model.gguf */
#include <sputnik/sputnik.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MESSAGES 64

static int print_part(void *ctx, sp_reply_part part, const char *text, size_t len)
{
    (void)ctx;
    fwrite(text, 1, len, part == SP_REPLY_REASONING ? stderr : stdout);
    fflush(stdout);
    return 0;
}

/* Answer messages[0..n); *answer (free it) gets the content. */
static sp_status reply(sp_session *session, const sp_message *messages, size_t n, char **answer,
                       sp_error *err)
{
    const sp_model *model = sp_session_model(session);
    sp_generate_options options = SP_GENERATE_OPTIONS_DEFAULTS;
    sp_tokens tokens = {NULL, 0, 0};
    sp_generator *generator = NULL;
    sp_step step = {.finish = SP_FINISH_NONE};
    options.format = sp_model_chat_format(model);
    options.max_tokens = 512;
    sp_status status =
        sp_chat_render(options.format, sp_model_tokenizer(model), &tokens, messages, n, &options.chat, err);
    if (status == SP_OK)
        status = sp_generator_create(&generator, session, tokens.ids, tokens.n, &options, err);
    while (status == SP_OK && step.finish == SP_FINISH_NONE)
        status = sp_generator_next(generator, &step, print_part, NULL, err);
    if (status == SP_OK) *answer = strdup(sp_reply_content(sp_generator_reply(generator)));
    sp_generator_destroy(generator);
    sp_tokens_clear(&tokens);
    return status;
}

int main(int argc, char **argv)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model = NULL;
    sp_session *session = NULL;
    sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
    sp_message messages[MAX_MESSAGES] = {{.role = SP_ROLE_USER}};
    char *kept[MAX_MESSAGES], line[4096];
    size_t n = 0;
    if (argc != 2) return 2;
    sp_status status = sp_model_open(&model, argv[1], &err);
    if (status == SP_OK) status = sp_session_create(&session, model, &options, &err);
    while (status == SP_OK && n + 2 <= MAX_MESSAGES && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        messages[n] = (sp_message){.role = SP_ROLE_USER, .content = kept[n] = strdup(line)};
        n++;
        status = reply(session, messages, n, &kept[n], &err);
        if (status != SP_OK) break;
        messages[n] = (sp_message){.role = SP_ROLE_ASSISTANT, .content = kept[n]};
        n++;
        printf("\n");
    }
    if (status != SP_OK) fprintf(stderr, "converse: %s\n", err.text);
    while (n > 0) free(kept[--n]);
    sp_session_destroy(session);
    sp_model_close(model);
    return status == SP_OK ? 0 : 1;
}
