/* SPDX-License-Identifier: MIT */
/* A pass over k drafts and the token before them takes T(k + 1) seconds and yields 1 + p1 + p1 p2 + ... tokens in
 * the mean, so the best k has the largest quotient; a draft more is worth it as long as what it adds to the
 * tokens over what it adds to the time is above the quotient. T is learned per number of rows, as it has steps
 * where kernels treat rows together, and bends where arithmetic outgrows the reading of weights. */
#include "infer/speculate_control.h"

#include <math.h>
#include <string.h>

/* Drafting passes are tried after so many plain ones, each time twice as many while it loses; a plain pass after
 * so many drafting ones, and half-way to it one with a draft more than seems best. A retry costs at most a few
 * passes' time, so below 1 % of what lies between. */
#define FIRST_PATIENCE 32
#define MOST_PATIENCE 1024
/* Passes of a trial: the first finds weights and code cold that the next ones find in the cache. */
#define TRIAL_PASSES 4
#define PLAIN_EVERY 64
/* Counts are halved at this number of trials: the recent text decides. */
#define COUNT_CAP 64.0
/* Weight of the first opinion, in trials. */
#define PRIOR_WEIGHT 2.0
/* Cost of a further row, and of a guess, before any was measured; in passes of one row. */
#define FIRST_ROW_COST 0.25
#define FIRST_GUESS_COST 0.125
#define MIN_TIME 1e-9
/* What drafting must promise over plain decoding: estimates that are this close decide nothing. */
#define MIN_GAIN 1.03
/* First times of a pass, of which the shortest counts: they may be those of cold memory, and say nothing about the others. */
#define COLD_PASSES 4

static const float shares[] = {0.5f, 0.8f, 0.95f, 0.99f, 0.999f};
static const size_t lengths[] = {4, 5, 7, 10, 16};

void sp_draft_control_init(sp_draft_control *control)
{
    memset(control, 0, sizeof *control);
    control->patience = FIRST_PATIENCE;
}

int sp_draft_kind_lookup(size_t length)
{
    int at = 0;
    while (at < 5 && length >= lengths[at]) at++;
    return SP_DRAFT_LOOKUP + at;
}

int sp_draft_kind_layer(size_t depth, float share)
{
    int at = 0;
    while (at < 5 && share >= shares[at]) at++;
    return SP_DRAFT_LAYER + 6 * (int)(depth < 2 ? depth : 2) + at;
}

int sp_draft_kind_depth(size_t depth)
{
    return SP_DRAFT_DEPTH + (int)(depth < 4 ? depth : 4);
}

/* First opinion of a kind. Lookup learns from every pass, drafted or not, so it may begin low. */
static double prior(int kind)
{
    static const double by_length[] = {0.2, 0.3, 0.4, 0.5, 0.6, 0.7};
    static const double by_share[] = {0.3, 0.6, 0.85, 0.95, 0.98, 0.99};
    if (kind < SP_DRAFT_LAYER) return by_length[kind - SP_DRAFT_LOOKUP];
    if (kind < SP_DRAFT_DEPTH) return by_share[(kind - SP_DRAFT_LAYER) % 6];
    return 0.8;
}

double sp_draft_chance(const sp_draft_control *control, int kind)
{
    const sp_draft_count *c = &control->counts[kind];
    return (c->kept + PRIOR_WEIGHT * prior(kind)) / (c->tried + PRIOR_WEIGHT);
}

void sp_draft_learn(sp_draft_control *control, int kind, bool kept)
{
    sp_draft_count *c = &control->counts[kind];
    if (c->tried >= COUNT_CAP) {
        c->tried /= 2;
        c->kept /= 2;
    }
    c->tried += 1;
    c->kept += kept;
}

/* Times have a floor and outliers above it: fall at once, rise slowly. */
void sp_draft_learn_s(double *mean, double seconds)
{
    if (!(seconds > MIN_TIME)) seconds = MIN_TIME;
    if (*mean <= 0)
        *mean = seconds;
    else if (seconds < *mean)
        *mean += (seconds - *mean) / 2;
    else
        *mean += (fmin(seconds, 2 * *mean) - *mean) / 8;
}

void sp_draft_learn_pass(sp_draft_control *control, int n_rows, double seconds)
{
    if (n_rows < 1 || n_rows > SP_SESSION_DRAFTS_MAX + 1) return;
    double *t = control->pass_s, before = t[n_rows];
    sp_draft_learn_s(&t[n_rows], seconds);
    if (control->pass_n[n_rows] < COLD_PASSES) {
        if (seconds > MIN_TIME && seconds < t[n_rows]) t[n_rows] = seconds;
        control->pass_n[n_rows]++;
    } else { /* what changes one slowly, the context's length or the machine's load, changes all */
        for (int i = 1; i < SP_SESSION_DRAFTS_MAX + 2; i++)
            if (i != n_rows) t[i] *= t[n_rows] / before;
    }
    control->n_passes++;
    *(n_rows == 1 ? &control->last_plain : &control->last_drafted) = control->n_passes;
}

/* Measured, else on the line between the measured neighbours, else with an assumed cost per row. */
double sp_draft_pass_s(const sp_draft_control *control, int n_rows)
{
    const double *t = control->pass_s;
    int below = n_rows, above = n_rows;
    while (below > 1 && t[below] <= 0) below--;
    while (above < SP_SESSION_DRAFTS_MAX + 1 && t[above] <= 0) above++;
    if (below == n_rows) return t[n_rows];
    if (t[above] > 0) return t[below] + (t[above] - t[below]) * (n_rows - below) / (above - below);
    double slope = below > 1 ? (t[below] - t[1]) / (below - 1) : t[1] * FIRST_ROW_COST;
    return t[below] + fmax(slope, 0) * (n_rows - below);
}

void sp_draft_offer_layer(const sp_draft_control *control, int n_most, sp_draft_offer *offer)
{
    double assumed = control->pass_s[1] * FIRST_GUESS_COST;
    offer->n = n_most;
    for (int i = 0; i < n_most; i++)
        offer->chance[i] = sp_draft_chance(control, sp_draft_kind_depth((size_t)i));
    offer->more_s = control->more_s > 0 ? control->more_s : control->first_s > 0 ? control->first_s : assumed;
    offer->first_s = control->first_s > 0 ? control->first_s : offer->more_s;
}

/* The best number of drafts of an offer, at least one. */
static sp_draft_choice best_of(const sp_draft_control *control, sp_drafter drafter,
                               const sp_draft_offer *offer)
{
    sp_draft_choice best = {drafter, 0, 0, 0};
    double reach = 1, tokens = 1;
    for (int i = 0; offer && i < offer->n; i++) {
        reach *= offer->chance[i];
        tokens += reach;
        double seconds = sp_draft_pass_s(control, i + 2) + offer->first_s + i * offer->more_s;
        if (tokens / seconds > best.per_s) best = (sp_draft_choice){drafter, i + 1, 0, tokens / seconds};
    }
    return best;
}

/* Evaluate at least n drafts, as far as they are offered. */
static sp_draft_choice demand(sp_draft_choice choice, const sp_draft_offer *offer, int n)
{
    choice.n_least = n < offer->n ? n : offer->n;
    if (choice.n < choice.n_least) choice.n = choice.n_least;
    return choice;
}

sp_draft_choice sp_draft_choose(sp_draft_control *control, const sp_draft_offer *lookup,
                                const sp_draft_offer *layer)
{
    sp_draft_choice plain = {SP_DRAFTER_NONE, 0, 0, 0};
    if (control->pass_s[1] <= 0) return plain;
    plain.per_s = 1 / control->pass_s[1];
    const sp_draft_offer *offer = lookup;
    sp_draft_choice drafted = best_of(control, SP_DRAFTER_LOOKUP, lookup);
    sp_draft_choice other = best_of(control, SP_DRAFTER_LAYER, layer);
    if (other.per_s > drafted.per_s) {
        drafted = other;
        offer = layer;
    }
    if (drafted.n == 0) return plain;
    int64_t n_drafting = control->n_passes - control->last_plain;
    if (drafted.per_s > MIN_GAIN * plain.per_s) {
        control->patience = FIRST_PATIENCE;
        control->n_trying = 0;
        if (n_drafting >= PLAIN_EVERY) return plain;
        return n_drafting == PLAIN_EVERY / 2 ? demand(drafted, offer, drafted.n + 1) : drafted;
    }
    if (control->n_trying == 0) {
        if (control->n_passes - control->last_drafted < control->patience) return plain;
        if (control->patience < MOST_PATIENCE) control->patience *= 2;
        control->last_drafted = control->n_passes;
        control->n_trying = TRIAL_PASSES;
        control->n_trials++;
    }
    control->n_trying--;
    return demand(drafted, offer, control->n_trials % 2 ? 1 : 2);
}

bool sp_draft_is_worth(const sp_draft_control *control, int n_rows, double chance, double spend_s,
                       double per_s)
{
    double row_s = sp_draft_pass_s(control, n_rows) - sp_draft_pass_s(control, n_rows - 1);
    return chance > (fmax(row_s, 0) + spend_s) * per_s;
}
