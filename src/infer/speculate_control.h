/* SPDX-License-Identifier: MIT */
/* How many drafts are worth evaluating: what passes and guesses have cost, how often drafts of which kind came
 * true, and the choice that promises most tokens per second. Arithmetic alone: it is told times and reads no
 * clock. Its choices change the speed of a reply, never its tokens. Start at sp_draft_choose(). */
#ifndef SP_INFER_SPECULATE_CONTROL_H
#define SP_INFER_SPECULATE_CONTROL_H

#include <sputnik/session.h>

#include <stdbool.h>

/* Kinds of drafts, by what is known before they are evaluated. */
enum {
    SP_DRAFT_LOOKUP,                      /* prompt lookup, by the length of the match: 6 kinds */
    SP_DRAFT_LAYER = SP_DRAFT_LOOKUP + 6, /* prediction layer, by depth (1, 2, more) and share: 3 x 6 kinds */
    SP_DRAFT_DEPTH = SP_DRAFT_LAYER + 18, /* prediction layer, whatever the share, by depth (1 to 4, more) */
    SP_DRAFT_KINDS = SP_DRAFT_DEPTH + 5
};

typedef struct sp_draft_count {
    double tried, kept; /* recent ones */
} sp_draft_count;

typedef struct sp_draft_control {
    double pass_s[SP_SESSION_DRAFTS_MAX + 2]; /* [rows] seconds of a pass; 0: not measured yet */
    int pass_n[SP_SESSION_DRAFTS_MAX + 2];    /* how many of the first ones were seen */
    double first_s, more_s;                   /* of the prediction layer's first guess, of each further one */
    sp_draft_count counts[SP_DRAFT_KINDS];
    int64_t n_passes, last_plain, last_drafted; /* passes so far; the last ones of each sort */
    int64_t patience, n_trials; /* plain passes before drafting is tried again; how often it was */
    int n_trying;               /* passes of the trial under way that are left */
} sp_draft_control;

/* Drafts that could be evaluated: chance[i] that draft i comes true if those before it do. */
typedef struct sp_draft_offer {
    int n;
    double chance[SP_SESSION_DRAFTS_MAX];
    double first_s, more_s; /* seconds to make the first, and each further one */
} sp_draft_offer;

typedef enum sp_drafter { SP_DRAFTER_NONE, SP_DRAFTER_LOOKUP, SP_DRAFTER_LAYER } sp_drafter;

typedef struct sp_draft_choice {
    sp_drafter drafter;
    int n;        /* drafts to evaluate, as far as can be said before */
    int n_least;  /* so many at least, worth it or not: their cost is to be known */
    double per_s; /* tokens per second that it promises */
} sp_draft_choice;

void sp_draft_control_init(sp_draft_control *control);

/* Kind of the draft behind `length` equal tokens; of the layer's guess number `depth` (from 0) with this share. */
int sp_draft_kind_lookup(size_t length);
int sp_draft_kind_layer(size_t depth, float share);
int sp_draft_kind_depth(size_t depth);

/* What the layer promises before it has guessed. */
void sp_draft_offer_layer(const sp_draft_control *control, int n_most, sp_draft_offer *offer);

/* Plain decoding, lookup or layer (NULL or n = 0: not to be had). Every so often a pass of the sort that is not
 * in use, so that it is known what that would cost. */
sp_draft_choice sp_draft_choose(sp_draft_control *control, const sp_draft_offer *lookup,
                                const sp_draft_offer *layer);

/* Whether one more row that is used with probability `chance` is worth evaluating, and making for spend_s, where
 * per_s tokens per second are to be had. */
bool sp_draft_is_worth(const sp_draft_control *control, int n_rows, double chance, double spend_s,
                       double per_s);

double sp_draft_chance(const sp_draft_control *control, int kind);
double sp_draft_pass_s(const sp_draft_control *control, int n_rows);

/* Experience. A single time that is far off (the processor was taken away) counts little. */
void sp_draft_learn(sp_draft_control *control, int kind, bool kept);
void sp_draft_learn_pass(sp_draft_control *control, int n_rows, double seconds);
void sp_draft_learn_s(double *mean, double seconds);

#endif
