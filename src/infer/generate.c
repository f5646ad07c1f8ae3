/* SPDX-License-Identifier: MIT */
/* A generator over a session, with or without guesses ahead. The loop itself is in generate_core.c. */
#include <sputnik/generate.h>

#include "base/error.h"
#include "infer/generate_core.h"
#include "infer/speculate.h"

static sp_status sync_session(void *ctx, const int32_t *tokens, size_t n, const float **logits, sp_error *err)
{
    sp_session *session = ctx;
    sp_status status = sp_session_sync(session, tokens, n, err);
    *logits = sp_session_logits(session);
    return status;
}

static void destroy_speculator(void *ctx)
{
    sp_speculator_destroy(ctx);
}

sp_status sp_generator_create(sp_generator **generator, sp_session *session, const int32_t *prompt, size_t n,
                              const sp_generate_options *options, sp_error *err)
{
    const sp_model *model = sp_session_model(session);
    sp_speculator *speculator = NULL;
    sp_model_info info;
    *generator = NULL;
    sp_model_get_info(model, &info);
    sp_generate_source source = {.ctx = session,
                                 .sync = sync_session,
                                 .capacity = sp_session_capacity(session),
                                 .vocab_size = info.vocab_size,
                                 .tokenizer = sp_model_tokenizer(model)};
    if (options->speculate != SP_SPECULATE_OFF) {
        sp_speculator_options o = {.speculate = options->speculate, .n_draft = options->n_draft};
        SP_TRY(sp_speculator_create(&speculator, session, &o, err));
        source.ctx = speculator;
        source.sync = sp_speculator_sync;
        source.drafts = sp_speculator_stats(speculator);
        source.destroy = destroy_speculator;
    }
    sp_status status = sp_generator_create_over(generator, &source, prompt, n, options, err);
    if (status != SP_OK) sp_speculator_destroy(speculator);
    return status;
}
