/* SPDX-License-Identifier: MIT */
/* Drafters and their bookkeeping. Two drafters: prompt lookup (Saxena 2023; the continuation of the longest
 * earlier passage that the text ends with) and the model's prediction layer (DeepSeek-V3 report, section 2.2). How many
 * drafts are worth it is decided by speculate_control.c. Verification needs no rule of its own: a token is a
 * pure function of seed, position, history and logits, and a row's logits have the same bits in any company, so
 * a draft is right exactly if the generator chooses it. Start at sp_speculator_sync(). */
#include "infer/speculate.h"

#include "base/clock.h"
#include "infer/session_parts.h"

#include <string.h>

#define LOOKUP_CAP 24 /* longer matches are no better */

/* A guess whose truth will be seen when position `at` is known. */
typedef struct draft {
    int32_t id;
    int kind;
    int depth_kind; /* -1: none */
} draft;

struct sp_speculator {
    sp_session *session;
    sp_speculator_options options;
    int n_most;
    bool lookup, layer;
    draft drafts[SP_SESSION_DRAFTS_MAX]; /* of the last pass */
    size_t n_drafts, n_judged, at;       /* draft i guesses position at + i */
    sp_drafter drafter;
    draft shadow; /* lookup's guess for position `at` where it was not evaluated */
    bool has_shadow;
    sp_draft_stats stats;
};

sp_status sp_speculator_create(sp_speculator **speculator, sp_session *session,
                               const sp_speculator_options *options, sp_error *err)
{
    bool has_layer = session->net->weights->n_mtp > 0;
    int most = options->n_draft > 0 ? options->n_draft : SP_DRAFTS_DEFAULT;
    *speculator = NULL;
    if (options->speculate == SP_SPECULATE_MTP && !has_layer)
        return sp_fail(err, SP_E_UNSUPPORTED, "speculation: this model has no multi-token-prediction layer");
    sp_speculator *s = sp_calloc(1, sizeof *s);
    if (!s) return sp_fail_nomem(err, "speculation", sizeof *s);
    s->session = session;
    s->options = *options;
    if (!s->options.clock) s->options.clock = sp_seconds;
    if (most > SP_SESSION_DRAFTS_MAX) most = SP_SESSION_DRAFTS_MAX;
    s->n_most = most < session->n_batch ? most : session->n_batch - 1;
    s->lookup = options->speculate != SP_SPECULATE_MTP;
    s->layer = options->speculate != SP_SPECULATE_LOOKUP && has_layer;
    *speculator = s;
    return SP_OK;
}

void sp_speculator_destroy(sp_speculator *speculator)
{
    sp_free(speculator);
}

const sp_draft_stats *sp_speculator_stats(const sp_speculator *speculator)
{
    return &speculator->stats;
}

/* --- prompt lookup -------------------------------------------------------------------------------------- */

size_t sp_lookup_find(const int32_t *tokens, size_t n, size_t *length)
{
    size_t best = 0, best_end = 0;
    for (size_t end = n > 0 ? n - 1 : 0; end >= SP_LOOKUP_MIN && best < LOOKUP_CAP; end--) {
        size_t same = 0;
        while (same < LOOKUP_CAP && same < end && tokens[end - 1 - same] == tokens[n - 1 - same]) same++;
        if (same <= best) continue;
        best = same;
        best_end = end;
    }
    *length = best;
    return best >= SP_LOOKUP_MIN ? best_end : 0;
}

/* What followed the passage; beyond the end of the text what was drafted itself, as a text with a period would go on. */
static size_t look_up(const int32_t *tokens, size_t n, size_t n_most, draft *drafts)
{
    size_t length, end = sp_lookup_find(tokens, n, &length);
    for (size_t i = 0; end > 0 && i < n_most; i++) {
        size_t from = end + i;
        drafts[i] =
            (draft){from < n ? tokens[from] : drafts[from - n].id, sp_draft_kind_lookup(length + i), -1};
    }
    return end > 0 ? n_most : 0;
}

/* --- prediction layer ----------------------------------------------------------------------------------- */

/* Ask the layer for draft number i; the time it takes is learned. */
static sp_status ask_layer(sp_speculator *s, int32_t next_token, size_t i, draft *d, sp_error *err)
{
    sp_draft_control *control = &s->session->control;
    double start = s->options.clock();
    sp_guess guess;
    size_t n_rows = 1;
    if (i == 0)
        SP_TRY(sp_session_guess(s->session, next_token, &guess, &n_rows, err));
    else
        SP_TRY(sp_session_guess_more(s->session, &guess, err));
    if (n_rows <= (size_t)s->n_most + 1) /* not where it had to read the prompt first */
        sp_draft_learn_s(i ? &control->more_s : &control->first_s, s->options.clock() - start);
    *d = (draft){guess.id, sp_draft_kind_layer(i, guess.share), sp_draft_kind_depth(i)};
    return SP_OK;
}

/* Guesses, as long as one more promises more tokens per second. */
static sp_status ask_layer_on(sp_speculator *s, int32_t next_token, size_t n_most, sp_draft_choice choice,
                              sp_error *err)
{
    const sp_draft_control *control = &s->session->control;
    size_t n_least = s->options.always ? n_most : (size_t)choice.n_least;
    double reach = 1;
    for (size_t i = 0; i < n_most; i++) {
        SP_TRY(ask_layer(s, next_token, i, &s->drafts[i], err));
        reach *= sp_draft_chance(control, s->drafts[i].kind);
        int n_rows = (int)i + 2;
        if (i + 1 > n_least && !sp_draft_is_worth(control, n_rows, reach, 0, choice.per_s)) break;
        s->n_drafts = i + 1;
        if (i + 1 == n_most) break;
        double next = reach * sp_draft_chance(control, sp_draft_kind_depth(i + 1));
        if (i + 1 >= n_least && !sp_draft_is_worth(control, n_rows + 1, next, control->more_s, choice.per_s))
            break;
    }
    return SP_OK;
}

/* --- choice --------------------------------------------------------------------------------------------- */

/* Compare what was drafted with what came. */
static void judge(sp_speculator *s, const int32_t *tokens, size_t n)
{
    sp_draft_control *control = &s->session->control;
    if (s->has_shadow && s->at < n) {
        sp_draft_learn(control, s->shadow.kind, tokens[s->at] == s->shadow.id);
        s->has_shadow = false;
    }
    while (s->n_judged < s->n_drafts && s->at + s->n_judged < n) {
        const draft *d = &s->drafts[s->n_judged];
        bool kept = tokens[s->at + s->n_judged] == d->id;
        sp_draft_learn(control, d->kind, kept);
        if (d->depth_kind >= 0) sp_draft_learn(control, d->depth_kind, kept);
        *(s->drafter == SP_DRAFTER_LAYER ? &s->stats.n_mtp_accepted : &s->stats.n_lookup_accepted) += kept;
        s->n_judged = kept ? s->n_judged + 1 : s->n_drafts;
    }
}

static sp_draft_choice choose(sp_speculator *s, const draft *found, size_t n_found, size_t n_most)
{
    sp_draft_offer lookup = {.n = (int)n_found}, layer = {.n = 0};
    if (s->options.always && n_found > 0) return (sp_draft_choice){SP_DRAFTER_LOOKUP, (int)n_found, 0, 0};
    if (s->options.always)
        return (sp_draft_choice){s->layer ? SP_DRAFTER_LAYER : SP_DRAFTER_NONE, (int)n_most, 0, 0};
    for (size_t i = 0; i < n_found; i++)
        lookup.chance[i] = sp_draft_chance(&s->session->control, found[i].kind);
    if (s->layer) sp_draft_offer_layer(&s->session->control, (int)n_most, &layer);
    return sp_draft_choose(&s->session->control, &lookup, &layer);
}

sp_status sp_speculator_propose(sp_speculator *s, const int32_t *tokens, size_t n, int32_t *ids,
                                size_t *n_ids, sp_error *err)
{
    size_t room = (size_t)s->session->n_ctx > n ? (size_t)s->session->n_ctx - n : 0;
    size_t n_most = (size_t)s->n_most < room ? (size_t)s->n_most : room, n_found = 0;
    draft found[SP_SESSION_DRAFTS_MAX];
    judge(s, tokens, n);
    *n_ids = s->n_drafts = s->n_judged = 0;
    s->at = n;
    s->has_shadow = false;
    if (n_most == 0) return SP_OK;
    if (s->lookup) n_found = look_up(tokens, n, n_most, found);
    sp_draft_choice choice = choose(s, found, n_found, n_most);
    s->drafter = choice.drafter;
    if (choice.drafter == SP_DRAFTER_LOOKUP) {
        s->n_drafts = (size_t)choice.n;
        memcpy(s->drafts, found, s->n_drafts * sizeof *found);
    } else if (n_found > 0) {
        s->shadow = found[0];
        s->has_shadow = true;
    }
    if (choice.drafter == SP_DRAFTER_LAYER) SP_TRY(ask_layer_on(s, tokens[n - 1], n_most, choice, err));
    for (size_t i = 0; i < s->n_drafts; i++) ids[i] = s->drafts[i].id;
    *n_ids = s->n_drafts;
    *(s->drafter == SP_DRAFTER_LAYER ? &s->stats.n_mtp_drafted : &s->stats.n_lookup_drafted) += s->n_drafts;
    return SP_OK;
}

void sp_speculator_note_pass(sp_speculator *s, size_t n_rows, double seconds)
{
    s->stats.n_passes++;
    sp_draft_learn_pass(&s->session->control, (int)n_rows, seconds);
}

sp_status sp_speculator_sync(void *speculator, const int32_t *tokens, size_t n, const float **logits,
                             sp_error *err)
{
    sp_speculator *s = speculator;
    sp_session *session = s->session;
    size_t n_ids = 0;
    int32_t ids[SP_SESSION_DRAFTS_MAX];
    bool is_next = session->n + 1 == n && session->n > 0;
    bool is_pass = is_next && !sp_session_foresaw(session, tokens, n);
    if (is_pass)
        SP_TRY(sp_speculator_propose(s, tokens, n, ids, &n_ids, err));
    else
        judge(s, tokens, n);
    double start = s->options.clock();
    SP_TRY(sp_session_sync_ahead(session, tokens, n, ids, n_ids, err));
    s->stats.n_tokens += is_next;
    if (is_pass) sp_speculator_note_pass(s, n_ids + 1, s->options.clock() - start);
    *logits = sp_session_logits(session);
    return SP_OK;
}
