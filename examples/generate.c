/* SPDX-License-Identifier: MIT */
/* Continue a text, token by token.
 *     cc generate.c $(pkg-config --cflags --libs sputnik) -o generate && ./generate model.gguf "Once upon a time" 50 */
#include <sputnik/sputnik.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_text(void *ctx, sp_reply_part part, const char *text, size_t len)
{
    (void)ctx;
    (void)part;
    fwrite(text, 1, len, stdout);
    fflush(stdout);
    return 0; /* anything else would stop the reply */
}

static sp_status continue_text(const sp_model *model, const char *prompt, int64_t max_tokens, sp_error *err)
{
    sp_session_options session_options = SP_SESSION_OPTIONS_DEFAULTS;
    sp_generate_options options = SP_GENERATE_OPTIONS_DEFAULTS;
    const sp_tokenizer *tokenizer = sp_model_tokenizer(model);
    sp_tokens tokens = {NULL, 0, 0};
    sp_session *session = NULL;
    sp_generator *generator = NULL;
    sp_step step = {.finish = SP_FINISH_NONE};
    if (!tokenizer) {
        fprintf(stderr, "the model has no vocabulary\n");
        return SP_E_UNSUPPORTED;
    }
    options.max_tokens = max_tokens;
    options.sampler.seed = 42; /* the same seed gives the same text */
    unsigned flags = sp_tokenizer_adds_bos(tokenizer) ? SP_ENCODE_BOS : 0;
    sp_status status = sp_tokenizer_encode(tokenizer, &tokens, prompt, strlen(prompt), flags, err);
    if (status == SP_OK) status = sp_session_create(&session, model, &session_options, err);
    if (status == SP_OK)
        status = sp_generator_create(&generator, session, tokens.ids, tokens.n, &options, err);
    while (status == SP_OK && step.finish == SP_FINISH_NONE)
        status = sp_generator_next(generator, &step, print_text, NULL, err);
    printf("\n[%s]\n", sp_finish_name(step.finish));
    sp_generator_destroy(generator);
    sp_session_destroy(session);
    sp_tokens_clear(&tokens);
    return status;
}

int main(int argc, char **argv)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: generate MODEL PROMPT [TOKENS]\n");
        return 2;
    }
    sp_status status = sp_model_open(&model, argv[1], &err);
    if (status == SP_OK) {
        printf("%s", argv[2]);
        status = continue_text(model, argv[2], argc > 3 ? atoll(argv[3]) : 50, &err);
    }
    if (status != SP_OK) fprintf(stderr, "generate: %s\n", err.text);
    sp_model_close(model);
    return status == SP_OK ? 0 : 1;
}
