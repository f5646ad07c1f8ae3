/* SPDX-License-Identifier: MIT */
/* The token loop of a reply over anything that gives logits for a list of tokens: a session (generate.c) or,
 * in tests, a script. Everything but the creation of a generator is public (<sputnik/generate.h>). */
#ifndef SP_INFER_GENERATE_CORE_H
#define SP_INFER_GENERATE_CORE_H

#include <sputnik/generate.h>

typedef struct sp_generate_source {
    void *ctx;
    /* Logits (vocab_size) after tokens[0..n), valid until the next call. SP_E_CANCELLED ends the reply. */
    sp_status (*sync)(void *ctx, const int32_t *tokens, size_t n, const float **logits, sp_error *err);
    size_t capacity; /* most tokens that sync takes */
    int32_t vocab_size;
    const sp_tokenizer *tokenizer; /* NULL: ids only */
    const sp_draft_stats *drafts;  /* NULL: none are made */
    void (*destroy)(void *ctx);    /* of a ctx that the generator owns; NULL: it does not */
} sp_generate_source;

/* As sp_generator_create, over a source, which is copied. On failure the ctx is still the caller's. */
sp_status sp_generator_create_over(sp_generator **generator, const sp_generate_source *source,
                                   const int32_t *prompt, size_t n, const sp_generate_options *options,
                                   sp_error *err);

/* The prompt and the reply so far. */
const int32_t *sp_generator_timeline(const sp_generator *generator, size_t *n);

#endif
