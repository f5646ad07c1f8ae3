/* SPDX-License-Identifier: MIT */
/* A reply: session, sampler and the rules that end a reply, one token per call. Thin loops (a terminal, a
 * server, a benchmark, rollouts) stand on this. One generator belongs to one thread. */
#ifndef SPUTNIK_GENERATE_H
#define SPUTNIK_GENERATE_H

#include <sputnik/chat.h>
#include <sputnik/grammar.h>
#include <sputnik/sampler.h>
#include <sputnik/session.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sp_finish {
    SP_FINISH_NONE,    /* still going */
    SP_FINISH_END,     /* the model ended its reply */
    SP_FINISH_STOP,    /* a stop string was produced */
    SP_FINISH_LENGTH,  /* max_tokens */
    SP_FINISH_CONTEXT, /* the session is full */
    SP_FINISH_LOOP,    /* the loop guard: the reply only repeats itself */
    SP_FINISH_CANCELLED
} sp_finish;

SP_API const char *sp_finish_name(sp_finish finish); /* "end", "stop", ... */

/* Who guesses tokens ahead. Guesses change the speed of a reply and nothing else: drafting stops by itself where it
 * makes the reply slower. */
typedef enum sp_speculate {
    SP_SPECULATE_AUTO, /* whichever of the two promises more */
    SP_SPECULATE_OFF,
    SP_SPECULATE_MTP,   /* the model's multi-token-prediction layer */
    SP_SPECULATE_LOOKUP /* what followed the same words earlier in the text */
} sp_speculate;

#define SP_DRAFTS_DEFAULT 8 /* what 0 drafts stand for */

typedef struct sp_generate_options {
    sp_sampler_options sampler;
    int64_t max_tokens;      /* of the reply; -1: until the context is full */
    const char *const *stop; /* stop strings; text from the first one on is withheld */
    size_t n_stop;
    int ignore_end;        /* non-zero: end-of-sentence does not stop (benchmarks) */
    int loop_guard;        /* on by default */
    int64_t think_budget;  /* tokens of reasoning before it is closed; -1: no limit */
    sp_chat_format format; /* how to read the reply; SP_CHAT_NONE: all is content */
    sp_chat_options chat;  /* as used for the prompt */
    sp_speculate speculate;
    int32_t n_draft; /* most tokens guessed at once, at most SP_SESSION_DRAFTS_MAX; 0: SP_DRAFTS_DEFAULT */
    const sp_grammar *grammar; /* what the content may be; NULL: anything; outlives the generator */
} sp_generate_options;

#define SP_GENERATE_OPTIONS_DEFAULTS                                                                         \
    {                                                                                                        \
        SP_SAMPLER_OPTIONS_DEFAULTS, -1, NULL, 0, 0, 1, -1, SP_CHAT_NONE, SP_CHAT_OPTIONS_DEFAULTS,          \
            SP_SPECULATE_AUTO, 0, NULL                                                                       \
    }

typedef struct sp_generator sp_generator;

/* Start a reply to prompt[0..n). Evaluates nothing yet. The session must outlive the generator. SP_E_UNSUPPORTED:
 * SP_SPECULATE_MTP with a model that has no such layer, or a grammar with one that has no vocabulary. */
SP_API sp_status sp_generator_create(sp_generator **generator, sp_session *session, const int32_t *prompt,
                                     size_t n, const sp_generate_options *options, sp_error *err);
SP_API void sp_generator_destroy(sp_generator *generator);

typedef struct sp_step {
    sp_sample sample; /* the token of this step (forced ones too); id -1 if the step only finished */
    int forced;       /* non-zero: inserted to close the reasoning, not sampled */
    sp_finish finish; /* not NONE: this was the last step */
} sp_step;

/* Next token. `fn` (may be NULL) gets the new text, split into reasoning, content and tool calls, stop
 * strings withheld. */
SP_API sp_status sp_generator_next(sp_generator *generator, sp_step *step, sp_reply_fn fn, void *ctx,
                                   sp_error *err);

/* The whole reply so far. Owned by the generator. */
SP_API const sp_reply *sp_generator_reply(const sp_generator *generator);
SP_API const int32_t *sp_generator_tokens(const sp_generator *generator,
                                          size_t *n); /* reply only, ending id included */

/* What the loop guard found: length in tokens of the repeated passage and how often; 0 if it did not act. */
SP_API size_t sp_generator_loop(const sp_generator *generator, size_t *repeats);

/* What guessing has brought so far, the prompt's own evaluation not counted. All 0 with SP_SPECULATE_OFF. */
typedef struct sp_draft_stats {
    size_t n_tokens; /* tokens whose logits were asked for */
    size_t n_passes; /* passes through the model that this took */
    size_t n_mtp_drafted, n_mtp_accepted;
    size_t n_lookup_drafted, n_lookup_accepted;
} sp_draft_stats;

SP_API void sp_generator_drafts(const sp_generator *generator, sp_draft_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
