/* SPDX-License-Identifier: MIT */
/* The multi-token-prediction layer of a session: what it thinks of the token after the next, and chains of such
 * guesses. The layer's row i reads the hidden state of position i and the token at i + 1. A chain goes on with
 * the layer's own hidden state in place of the model's (DeepSeek-V3 report, section 2.2, where each further depth has
 * a module of its own; checkpoints ship one): its rows lie beyond mtp_n and are overwritten by the next
 * evaluation of these positions. Start at sp_session_guess(). */
#include "infer/session_parts.h"

#include <string.h>

/* Hidden states (n, h) as the operations take them. */
static sp_tensor view_hidden(const sp_session *s, const float *data, size_t n)
{
    int64_t width = s->net->hp->hidden_size;
    return (sp_tensor){.dtype = SP_DTYPE_F32,
                       .n_dims = 2,
                       .shape = {(int64_t)n, width, 1, 1},
                       .row_bytes = (size_t)width * sizeof *data,
                       .data = (void *)(uintptr_t)data};
}

/* Fill rows [position, position + n) of the layer's cache: the last row's hidden state after the norm, (1, h), NULL on
 * failure. `from` (n, h) are the hidden states that the layer reads, tokens[i] what follows position + i. */
static sp_tensor *predict_rows(sp_session *s, sp_ops *ops, const float *from, const int32_t *tokens,
                               size_t position, size_t n)
{
    sp_tensor hidden = view_hidden(s, from, n);
    sp_stretch stretch = {&s->mtp_cache, 0, (int64_t)n, (int64_t)position};
    sp_batch batch = {tokens, s->positions + position, (int64_t)n, &stretch, 1, NULL, SP_KEEP_ALL};
    return sp_net_predict_last(ops, s->net, &s->net->weights->mtp[0], &hidden, &batch);
}

static sp_status check_layer(const sp_session *s, int32_t next_token, sp_error *err)
{
    if (s->net->weights->n_mtp == 0)
        return sp_fail(err, SP_E_UNSUPPORTED, "session: this model has no multi-token-prediction layer");
    if (s->n == 0) return sp_fail(err, SP_E_ARGUMENT, "session: nothing has been evaluated yet");
    if (next_token < 0 || next_token >= s->net->hp->vocab_size)
        return sp_fail(err, SP_E_RANGE, "session: id %d is outside the vocabulary of %d", next_token,
                       s->net->hp->vocab_size);
    return SP_OK;
}

/* Run the layer over all positions that it has not seen; the last one's hidden state goes to s->guess. */
static sp_status read_timeline(sp_session *s, int32_t next_token, sp_ops *ops, sp_error *err)
{
    size_t width = (size_t)s->net->hp->hidden_size;
    s->mtp_next = -1;
    s->n_guesses = 0;
    while (s->mtp_n < s->n) {
        size_t left = s->n - s->mtp_n, n = left < (size_t)s->n_batch ? left : (size_t)s->n_batch;
        sp_arena_reset(s->arena);
        sp_ops_init(ops, s->pool, s->arena);
        int32_t *tokens = sp_arena_alloc(s->arena, n * sizeof *tokens);
        if (!tokens) return sp_session_fail_pass(ops, err);
        for (size_t i = 0; i < n; i++)
            tokens[i] = s->mtp_n + i + 1 < s->n ? s->tokens[s->mtp_n + i + 1] : next_token;
        sp_tensor *out = predict_rows(s, ops, s->hidden + s->mtp_n * width, tokens, s->mtp_n, n);
        if (!out) return sp_session_fail_pass(ops, err);
        s->mtp_n += n;
        if (s->mtp_n == s->n) memcpy(s->guess, out->data, width * sizeof *s->guess);
    }
    s->mtp_n = s->n - 1; /* the last row stands on a token that may not come */
    s->mtp_next = next_token;
    s->n_guesses = 1;
    return SP_OK;
}

/* The head over s->guess: (V), NULL on failure. */
static float *guess_logits(sp_session *s, sp_ops *ops)
{
    sp_tensor hidden = view_hidden(s, s->guess, 1);
    sp_tensor *logits = sp_op_linear_exact(ops, &hidden, s->net->weights->mtp[0].head, NULL);
    return logits ? logits->data : NULL;
}

sp_status sp_session_predict_next2(sp_session *s, int32_t next_token, const float **logits, sp_error *err)
{
    sp_ops ops;
    SP_TRY(check_layer(s, next_token, err));
    SP_TRY(read_timeline(s, next_token, &ops, err));
    *logits = guess_logits(s, &ops);
    return *logits ? SP_OK : sp_session_fail_pass(&ops, err);
}

static sp_status choose_guess(sp_session *s, sp_ops *ops, sp_guess *guess, sp_error *err)
{
    size_t n = (size_t)s->net->hp->vocab_size;
    float *logits = guess_logits(s, ops);
    if (!logits) return sp_session_fail_pass(ops, err);
    guess->id = (int32_t)sp_find_largest(logits, (int64_t)n);
    guess->share = 1.0f / ops->kernels->exp_sum(n, logits[guess->id], logits);
    s->last_guess = guess->id;
    return SP_OK;
}

sp_status sp_session_guess(sp_session *s, int32_t next_token, sp_guess *guess, size_t *n_rows, sp_error *err)
{
    sp_ops ops;
    SP_TRY(check_layer(s, next_token, err));
    *n_rows = s->n - s->mtp_n;
    SP_TRY(read_timeline(s, next_token, &ops, err));
    return choose_guess(s, &ops, guess, err);
}

sp_status sp_session_guess_more(sp_session *s, sp_guess *guess, sp_error *err)
{
    sp_ops ops;
    size_t position = s->n - 1 + s->n_guesses;
    if (s->n_guesses == 0) return sp_fail(err, SP_E_ARGUMENT, "session: there is no guess to go on from");
    if (position + 1 >= (size_t)s->n_ctx)
        return sp_fail(err, SP_E_LIMIT, "session: a guess beyond the context of %d", s->n_ctx);
    sp_arena_reset(s->arena);
    sp_ops_init(&ops, s->pool, s->arena);
    sp_tensor *out = predict_rows(s, &ops, s->guess, &s->last_guess, position, 1);
    if (!out) return sp_session_fail_pass(&ops, err);
    memcpy(s->guess, out->data, (size_t)s->net->hp->hidden_size * sizeof *s->guess);
    s->n_guesses++;
    return choose_guess(s, &ops, guess, err);
}
