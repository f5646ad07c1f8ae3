/* SPDX-License-Identifier: MIT */
/* A generator over a session. The loop itself is in generate_core.c. */
#include <sputnik/generate.h>

#include "infer/generate_core.h"

static sp_status sync_session(void *ctx, const int32_t *tokens, size_t n, const float **logits, sp_error *err)
{
    sp_session *session = ctx;
    sp_status status = sp_session_sync(session, tokens, n, err);
    *logits = sp_session_logits(session);
    return status;
}

sp_status sp_generator_create(sp_generator **generator, sp_session *session, const int32_t *prompt, size_t n,
                              const sp_generate_options *options, sp_error *err)
{
    const sp_model *model = sp_session_model(session);
    sp_model_info info;
    sp_model_get_info(model, &info);
    sp_generate_source source = {session, sync_session, sp_session_capacity(session), info.vocab_size,
                                 sp_model_tokenizer(model)};
    return sp_generator_create_over(generator, &source, prompt, n, options, err);
}
