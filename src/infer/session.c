/* SPDX-License-Identifier: MIT */
/* Sessions: one timeline each. evaluate() runs one pass over new tokens of one or more sessions; everything
 * else decides what to evaluate. Invariants: (1) cache rows [0, n + n_ahead) belong to tokens[0, n + n_ahead);
 * (2) `has_logits` means that logits are those after token n - 1, and those of the drafts follow; (3) with
 * prediction layers, hidden rows [0, n + n_ahead) are stored, and rows [0, mtp_n) of the prediction cache are
 * valid, mtp_n < n or 0; (4) n_ahead > 0 only with logits. Start at sp_session_sync(). */
#include "infer/session_parts.h"

#include <string.h>

/* Rows whose logits are computed at once when every position is asked for: bounds memory at rows *
 * vocabulary. */
#define SCORE_ROWS 32

int32_t sp_session_context(const sp_model *model, const sp_session_options *options)
{
    int32_t trained = sp_model_net(model)->hp->max_position_embeddings;
    if (options->n_ctx > 0) return options->n_ctx;
    return trained < SP_SESSION_CONTEXT_DEFAULT ? trained : SP_SESSION_CONTEXT_DEFAULT;
}

sp_dtype sp_session_cache_dtype(const sp_session_options *options)
{
    static const sp_dtype dtypes[] = {[SP_CACHE_F32] = SP_DTYPE_F32,
                                      [SP_CACHE_F16] = SP_DTYPE_F16,
                                      [SP_CACHE_BF16] = SP_DTYPE_BF16,
                                      [SP_CACHE_Q8_0] = SP_DTYPE_Q8_0};
    return dtypes[options->cache_type];
}

static sp_status check_options(const sp_session_options *o, sp_error *err)
{
    if (o->n_ctx < 0 || o->n_ctx > 1 << 28)
        return sp_fail(err, SP_E_ARGUMENT, "session: n_ctx: %d is out of range", o->n_ctx);
    if (o->n_batch < 0 || o->n_batch > 1 << 16)
        return sp_fail(err, SP_E_ARGUMENT, "session: n_batch: %d is out of range", o->n_batch);
    if (o->cache_type < SP_CACHE_F32 || o->cache_type > SP_CACHE_Q8_0)
        return sp_fail(err, SP_E_ARGUMENT, "session: cache_type: %d is not known", (int)o->cache_type);
    return SP_OK;
}

static sp_status init_caches(sp_session *s, sp_error *err)
{
    const sp_net *net = s->net;
    sp_dtype dtype = sp_session_cache_dtype(&s->options);
    SP_TRY(sp_cache_init(&s->cache, net->hp, net->hp->num_hidden_layers, s->n_ctx, dtype, err));
    if (net->weights->n_mtp == 0) return SP_OK;
    SP_TRY(sp_cache_init(&s->mtp_cache, net->hp, 1, s->n_ctx, dtype, err));
    size_t width = (size_t)net->hp->hidden_size;
    s->hidden = sp_calloc((size_t)s->n_ctx, width * sizeof *s->hidden);
    s->guess = sp_calloc(width, sizeof *s->guess);
    return s->hidden && s->guess
               ? SP_OK
               : sp_fail_nomem(err, "hidden states", (uint64_t)s->n_ctx * width * sizeof(float));
}

static sp_status create_session(sp_session **session, const sp_model *model,
                                const sp_session_options *options, const sp_session *host, sp_error *err)
{
    static const sp_session_options defaults = SP_SESSION_OPTIONS_DEFAULTS;
    *session = NULL;
    if (!options) options = &defaults;
    SP_TRY(check_options(options, err));
    sp_session *s = sp_calloc(1, sizeof *s);
    if (!s) return sp_fail_nomem(err, "session", sizeof *s);
    sp_status status;
    s->model = model;
    s->net = sp_model_net(model);
    s->options = *options;
    s->n_ctx = sp_session_context(model, options);
    s->n_batch = options->n_batch ? options->n_batch : SP_SESSION_BATCH_DEFAULT;
    s->mtp_next = -1;
    s->logits_cap = 1;
    sp_draft_control_init(&s->control);
    s->tokens = sp_calloc((size_t)s->n_ctx, sizeof *s->tokens);
    s->positions = sp_calloc((size_t)s->n_ctx, sizeof *s->positions);
    s->logits = sp_calloc((size_t)s->net->hp->vocab_size, sizeof *s->logits);
    s->is_guest = host != NULL;
    s->arena = host ? host->arena : sp_arena_create(1 << 20);
    s->pool = host ? host->pool : NULL;
    if (!s->tokens || !s->positions || !s->logits || !s->arena) {
        status = sp_fail_nomem(err, "session", (uint64_t)s->n_ctx * sizeof *s->tokens);
        goto done;
    }
    for (int32_t i = 0; i < s->n_ctx; i++) s->positions[i] = i;
    SP_GOTO(done, status, init_caches(s, err));
    if (!host) SP_GOTO(done, status, sp_pool_create(&s->pool, options->n_threads, err));
    *session = s;
done:
    if (status != SP_OK) sp_session_destroy(s);
    return status;
}

sp_status sp_session_create(sp_session **session, const sp_model *model, const sp_session_options *options,
                            sp_error *err)
{
    return create_session(session, model, options, NULL, err);
}

sp_status sp_session_create_guest(sp_session **session, const sp_session *host, sp_error *err)
{
    return create_session(session, host->model, &host->options, host, err);
}

void sp_session_destroy(sp_session *s)
{
    if (!s) return;
    if (!s->is_guest) {
        sp_pool_destroy(s->pool);
        sp_arena_destroy(s->arena);
    }
    sp_cache_clear(&s->cache);
    sp_cache_clear(&s->mtp_cache);
    sp_free(s->hidden);
    sp_free(s->guess);
    sp_free(s->logits);
    sp_free(s->positions);
    sp_free(s->tokens);
    sp_free(s);
}

/* --- one pass ------------------------------------------------------------------------------------------- */

sp_status sp_session_fail_pass(const sp_ops *ops, sp_error *err)
{
    sp_status status = ops->status;
    if (ops->error.code != SP_OK) {
        if (err) *err = ops->error;
        return ops->error.code;
    }
    if (status == SP_OK) status = SP_E_NOMEM; /* of the arena, outside any op */
    if (status == SP_E_NOMEM) return sp_fail(err, status, "session: out of memory while evaluating");
    return sp_fail(err, status, "session: evaluation failed: %s", sp_status_message(status));
}

static void keep_hidden(sp_session *s, const sp_tensor *hidden, int64_t row, int64_t n_rows, int64_t position)
{
    if (!s->hidden) return;
    size_t width = (size_t)s->net->hp->hidden_size;
    for (int64_t i = 0; i < n_rows; i++)
        memcpy(s->hidden + (size_t)(position + i) * width, sp_tensor_row(hidden, row + i),
               width * sizeof *s->hidden);
}

/* Logits of every row from `first_row` on, handed to the scorer in order, SCORE_ROWS at a time. */
static sp_status score_rows(sp_ops *ops, sp_session *s, const sp_tensor *hidden, int64_t first_row,
                            const sp_scorer *scorer, sp_error *err)
{
    for (int64_t row = first_row; row < sp_tensor_rows(hidden); row += SCORE_ROWS) {
        int64_t left = sp_tensor_rows(hidden) - row, n = left < SCORE_ROWS ? left : SCORE_ROWS;
        sp_arena_mark mark = sp_arena_save(ops->arena);
        sp_tensor *logits = sp_net_logits(ops, s->net, sp_op_rows(ops, hidden, row, n));
        if (!logits) return sp_session_fail_pass(ops, err);
        for (int64_t i = 0; i < n; i++)
            if (scorer->fn(scorer->ctx, s->n + (size_t)(row + i), sp_tensor_row(logits, i)) != 0)
                return sp_fail(err, SP_E_CANCELLED, "session: cancelled while scoring");
        memcpy(s->logits, sp_tensor_row(logits, n - 1), (size_t)s->net->hp->vocab_size * sizeof *s->logits);
        sp_ops_restore(ops, mark);
    }
    return SP_OK;
}

/* Room for the logits of the last token and of n_ahead drafts. */
static sp_status reserve_logits(sp_session *s, size_t n_ahead, sp_error *err)
{
    size_t n_vocab = (size_t)s->net->hp->vocab_size, n_rows = n_ahead + 1;
    if (n_rows <= s->logits_cap) return SP_OK;
    float *logits = sp_realloc_array(s->logits, n_rows, n_vocab * sizeof *logits);
    if (!logits) return sp_fail_nomem(err, "logits", (uint64_t)n_rows * n_vocab * sizeof *logits);
    s->logits = logits;
    s->logits_cap = n_rows;
    return SP_OK;
}

static bool wants_logits(const sp_part *part, int i)
{
    return part->want_logits && (!part->wants || part->wants[i]);
}

/* Copy the logits after each session's last token and after the drafts, where they are wanted. */
static sp_status keep_last_logits(sp_ops *ops, const sp_part *part, const sp_stretch *stretches,
                                  const sp_tensor *hidden, sp_error *err)
{
    sp_session *lead = part->sessions[0];
    size_t n_each = part->n_ahead + 1, n_rows = 0;
    size_t n_bytes = n_each * (size_t)lead->net->hp->vocab_size * sizeof(float);
    int32_t *rows = sp_arena_alloc(ops->arena, (size_t)part->n_sessions * n_each * sizeof *rows);
    if (!rows) return sp_session_fail_pass(ops, err);
    for (int i = 0; i < part->n_sessions; i++)
        for (size_t j = n_each; wants_logits(part, i) && j > 0; j--)
            rows[n_rows++] = (int32_t)(stretches[i].row + stretches[i].n_rows - (int64_t)j);
    if (n_rows == 0) return SP_OK;
    sp_tensor *logits = sp_net_logits(ops, lead->net, sp_op_gather(ops, hidden, rows, (int64_t)n_rows));
    if (!logits) return sp_session_fail_pass(ops, err);
    n_rows = 0;
    for (int i = 0; i < part->n_sessions; i++) {
        if (!wants_logits(part, i)) continue;
        memcpy(part->sessions[i]->logits, sp_tensor_row(logits, (int64_t)n_rows), n_bytes);
        n_rows += n_each;
    }
    return SP_OK;
}

/* The timeline is about to grow by this token: the prediction layer's row that stands on it becomes valid. */
static void settle_guess(sp_session *s, int32_t token)
{
    if (s->mtp_next == token) s->mtp_n = s->n;
    s->mtp_next = -1;
    s->n_guesses = 0;
}

/* Append part->n[i] tokens to each session in one pass of the first session's threads. */
static sp_status evaluate(const sp_part *part, const sp_scorer *scorer, sp_error *err)
{
    sp_session *lead = part->sessions[0];
    int n_sessions = part->n_sessions;
    sp_arena_reset(lead->arena);
    sp_ops ops;
    sp_ops_init(&ops, lead->pool, lead->arena);
    int64_t n_rows = 0;
    for (int i = 0; i < n_sessions; i++) n_rows += part->n[i];
    sp_stretch *stretches = sp_arena_alloc(lead->arena, (size_t)n_sessions * sizeof *stretches);
    int32_t *tokens = sp_arena_alloc(lead->arena, (size_t)n_rows * 2 * sizeof *tokens);
    if (!stretches || !tokens) return sp_session_fail_pass(&ops, err);
    int32_t *positions = tokens + n_rows;
    int64_t row = 0;
    for (int i = 0; i < n_sessions; i++) {
        sp_session *s = part->sessions[i];
        stretches[i] = (sp_stretch){&s->cache, row, part->n[i], (int64_t)s->n};
        memcpy(tokens + row, part->tokens[i], (size_t)part->n[i] * sizeof *tokens);
        memcpy(positions + row, s->positions + s->n, (size_t)part->n[i] * sizeof *positions);
        row += part->n[i];
        s->has_logits = false;
        s->n_ahead = s->logits_row = 0;
    }
    sp_batch batch = {tokens, positions, n_rows, stretches, n_sessions, NULL, SP_KEEP_ALL};
    sp_tensor *hidden = sp_net_forward(&ops, lead->net, &batch);
    if (!hidden) return sp_session_fail_pass(&ops, err);
    for (int i = 0; i < n_sessions; i++)
        keep_hidden(part->sessions[i], hidden, stretches[i].row, stretches[i].n_rows, stretches[i].position);
    if (scorer) {
        int64_t skip = scorer->first > lead->n ? (int64_t)(scorer->first - lead->n) : 0;
        SP_TRY(score_rows(&ops, lead, hidden, skip, scorer, err));
    } else if (part->want_logits) {
        SP_TRY(keep_last_logits(&ops, part, stretches, hidden, err));
    }
    if (ops.status != SP_OK) return sp_session_fail_pass(&ops, err);
    for (int i = 0; i < n_sessions; i++) {
        sp_session *s = part->sessions[i];
        settle_guess(s, part->tokens[i][0]);
        memmove(s->tokens + s->n, part->tokens[i], (size_t)part->n[i] * sizeof *s->tokens);
        s->n += (size_t)part->n[i] - part->n_ahead;
        s->n_ahead = part->n_ahead;
        s->has_logits = wants_logits(part, i);
    }
    return SP_OK;
}

sp_status sp_session_pass(const sp_part *part, sp_error *err)
{
    return evaluate(part, NULL, err);
}

/* --- timelines ------------------------------------------------------------------------------------------ */

static sp_status check_tokens(const sp_session *s, const int32_t *tokens, size_t n, sp_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= s->net->hp->vocab_size)
            return sp_fail(err, SP_E_RANGE, "session: token %zu: id %d is outside the vocabulary of %d", i,
                           tokens[i], s->net->hp->vocab_size);
    return SP_OK;
}

void sp_session_truncate(sp_session *s, size_t n)
{
    if (n >= s->n) return;
    s->n = n;
    s->has_logits = false;
    s->n_ahead = s->logits_row = 0;
    s->mtp_next = -1;
    s->n_guesses = 0;
    size_t mtp_max = n > 0 ? n - 1 : 0;
    if (s->mtp_n > mtp_max) s->mtp_n = mtp_max;
}

size_t sp_session_shares(const sp_session *s, const int32_t *tokens, size_t n)
{
    size_t i = 0;
    while (i < n && i < s->n && s->tokens[i] == tokens[i]) i++;
    return i;
}

void sp_session_adopt(sp_session *s, const int32_t *tokens, size_t n)
{
    s->has_logits = false;
    s->n_ahead = s->logits_row = 0;
    s->mtp_next = -1;
    s->n_guesses = 0;
    memcpy(s->tokens + s->n, tokens, n * sizeof *tokens);
    s->n += n;
}

/* Guesses of what follows the tokens of an extension. */
typedef struct drafts {
    const int32_t *ids;
    size_t n;
} drafts;

/* Take into the timeline the drafts that turn out to be in tokens[0..n), of which the session holds all before. */
static void take_drafts(sp_session *s, const int32_t *tokens, size_t n)
{
    while (sp_session_foresaw(s, tokens, n)) {
        settle_guess(s, tokens[s->n]);
        s->n++;
        s->n_ahead--;
        s->logits_row++;
    }
}

/* Evaluate tokens[s->n .. n) in chunks, and the drafts with the last of them. */
static sp_status extend(sp_session *s, const int32_t *tokens, size_t n, drafts ahead, const sp_scorer *scorer,
                        sp_error *err)
{
    size_t begin = s->n;
    while (s->n < n) {
        if (s->options.cancel && s->options.cancel(s->options.cancel_ctx, s->n - begin, n - begin) != 0)
            return sp_fail(err, SP_E_CANCELLED, "session: cancelled after %zu of %zu tokens", s->n - begin,
                           n - begin);
        int64_t left = (int64_t)(n - s->n), count = left < s->n_batch ? left : s->n_batch;
        const int32_t *next = tokens + s->n;
        sp_part part = {&s, &next, &count, 1, count == left, NULL, 0};
        if (count == left && ahead.n > 0) { /* one list of both, where the tokens will stand */
            SP_TRY(reserve_logits(s, ahead.n, err));
            s->n_ahead = 0;
            memmove(s->tokens + s->n, next, (size_t)count * sizeof *next);
            memcpy(s->tokens + n, ahead.ids, ahead.n * sizeof *ahead.ids);
            next = s->tokens + s->n;
            count += (int64_t)ahead.n;
            part.n_ahead = ahead.n;
        }
        SP_TRY(evaluate(&part, scorer, err));
    }
    return SP_OK;
}

static sp_status check_timeline(const sp_session *s, const int32_t *tokens, size_t n, sp_error *err)
{
    if (n == 0) return sp_fail(err, SP_E_ARGUMENT, "session: expected at least one token");
    if (n > (size_t)s->n_ctx)
        return sp_fail(err, SP_E_LIMIT, "session: %zu tokens do not fit into a context of %d", n, s->n_ctx);
    return check_tokens(s, tokens, n, err);
}

sp_status sp_session_sync_ahead(sp_session *s, const int32_t *tokens, size_t n, const int32_t *guesses,
                                size_t n_guesses, sp_error *err)
{
    SP_TRY(check_timeline(s, tokens, n, err));
    SP_TRY(check_tokens(s, guesses, n_guesses, err));
    size_t keep = sp_session_shares(s, tokens, n), room = (size_t)s->n_ctx - n;
    if (keep == s->n) {
        take_drafts(s, tokens, n);
        keep = s->n;
    }
    if (keep == n && !(s->n == n && s->has_logits)) keep = n - 1; /* the last token again, for its logits */
    sp_session_truncate(s, keep);
    s->reused = keep;
    drafts ahead = {guesses, n_guesses < room ? n_guesses : room};
    if (ahead.n > SP_SESSION_DRAFTS_MAX) ahead.n = SP_SESSION_DRAFTS_MAX;
    return extend(s, tokens, n, ahead, NULL, err);
}

sp_status sp_session_sync(sp_session *s, const int32_t *tokens, size_t n, sp_error *err)
{
    return sp_session_sync_ahead(s, tokens, n, NULL, 0, err);
}

sp_status sp_session_score(sp_session *s, const int32_t *tokens, size_t n, size_t first, sp_logits_fn fn,
                           void *ctx, sp_error *err)
{
    SP_TRY(check_timeline(s, tokens, n, err));
    if (first >= n)
        return sp_fail(err, SP_E_ARGUMENT, "session: first position %zu is not below %zu", first, n);
    size_t keep = sp_session_shares(s, tokens, n);
    if (keep > first) keep = first;
    sp_session_truncate(s, keep);
    s->reused = keep;
    sp_scorer scorer = {fn, ctx, first};
    return extend(s, tokens, n, (drafts){NULL, 0}, &scorer, err);
}

static sp_status check_advance(sp_session *const *sessions, const int32_t *const *tokens, const size_t *n,
                               size_t n_sessions, sp_error *err)
{
    for (size_t i = 0; i < n_sessions; i++) {
        const sp_session *s = sessions[i];
        if (s->model != sessions[0]->model)
            return sp_fail(err, SP_E_ARGUMENT, "session: session %zu belongs to another model", i);
        if (n[i] == 0)
            return sp_fail(err, SP_E_ARGUMENT, "session: session %zu: expected at least one token", i);
        if (n[i] > (size_t)s->n_ctx - s->n)
            return sp_fail(err, SP_E_LIMIT,
                           "session: session %zu: %zu + %zu tokens do not fit into a context of %d", i, s->n,
                           n[i], s->n_ctx);
        SP_TRY(check_tokens(s, tokens[i], n[i], err));
        for (size_t j = 0; j < i; j++)
            if (sessions[j] == s)
                return sp_fail(err, SP_E_ARGUMENT, "session: session %zu is given twice", i);
    }
    return SP_OK;
}

sp_status sp_session_advance(sp_session *const *sessions, const int32_t *const *tokens, const size_t *n,
                             size_t n_sessions, sp_error *err)
{
    if (n_sessions == 0) return SP_OK;
    if (n_sessions > SP_SESSION_BATCH_MAX)
        return sp_fail(err, SP_E_LIMIT, "session: %zu sessions exceed the maximum of %d", n_sessions,
                       SP_SESSION_BATCH_MAX);
    SP_TRY(check_advance(sessions, tokens, n, n_sessions, err));
    size_t most = 0, done = 0;
    for (size_t i = 0; i < n_sessions; i++) most = n[i] > most ? n[i] : most;
    size_t share = (size_t)sessions[0]->n_batch / n_sessions;
    if (share == 0) share = 1;
    sp_session *some[SP_SESSION_BATCH_MAX];
    const int32_t *next[SP_SESSION_BATCH_MAX];
    int64_t count[SP_SESSION_BATCH_MAX];
    for (; done < most; done += share) {
        sp_part part = {some, next, count, 0, true, NULL, 0};
        for (size_t i = 0; i < n_sessions; i++) {
            if (n[i] <= done) continue;
            some[part.n_sessions] = sessions[i];
            next[part.n_sessions] = tokens[i] + done;
            count[part.n_sessions++] = (int64_t)(n[i] - done < share ? n[i] - done : share);
        }
        SP_TRY(evaluate(&part, NULL, err));
    }
    return SP_OK;
}

/* --- small answers -------------------------------------------------------------------------------------- */

const float *sp_session_logits(const sp_session *s)
{
    return s->has_logits ? s->logits + s->logits_row * (size_t)s->net->hp->vocab_size : NULL;
}

size_t sp_session_length(const sp_session *s)
{
    return s->n;
}

const int32_t *sp_session_tokens(const sp_session *s)
{
    return s->tokens;
}

size_t sp_session_capacity(const sp_session *s)
{
    return (size_t)s->n_ctx;
}

const sp_model *sp_session_model(const sp_session *s)
{
    return s->model;
}

size_t sp_session_reused(const sp_session *s)
{
    return s->reused;
}
