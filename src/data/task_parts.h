/* SPDX-License-Identifier: MIT */
/* What the generators share: draws, text, and the worked steps that one task borrows from another. Each task draws
 * problems until one falls into the split, then writes it as question, reasoning, content and answer. */
#ifndef SP_DATA_TASK_PARTS_H
#define SP_DATA_TASK_PARTS_H

#include "data/task.h"

/* A stream of draws; a value is a function of (seed, stream, number of draws so far). */
typedef struct sp_draw {
    uint64_t seed, stream, index;
    uint32_t block[4];
    int left;
} sp_draw;

int sp_draw_below(sp_draw *draw, int n);             /* 0..n-1, n >= 1 */
int sp_draw_range(sp_draw *draw, int low, int high); /* both included */
bool sp_draw_chance(sp_draw *draw, int percent);
int sp_draw_weighted(sp_draw *draw, const int *weights, int n);

/* A number of exactly `digits` digits (0..9 for one). */
int sp_draw_number(sp_draw *draw, int digits);

void sp_task_put(sp_task_text *text, const char *fmt, ...) SP_PRINTF(2, 3);

enum { SP_PROBLEM_NUMBERS = 8, SP_WORD_MAX = 12 };

/* A problem before it is put into words; each task uses the members that it needs. */
typedef struct sp_problem {
    int n[SP_PROBLEM_NUMBERS];
    int n_numbers, target, form;
    char letter;
    char word[SP_WORD_MAX + 4];
    char kind[8]; /* draw() finds the kind that is wanted here, or nothing, and puts the kind that it drew */
    char key[96]; /* canonical text */
} sp_problem;

/* Write the user's text from one of the templates: "$a" is values[0], "$b" values[1], ... Sometimes lower-cased or without
 * its last punctuation. */
void sp_task_ask(sp_draw *draw, sp_task_turn *turn, const char *const *templates, int n_templates,
                 const char *const *values);
#define SP_TASK_ASK(draw, turn, list, values)                                                                \
    sp_task_ask(draw, turn, list, (int)(sizeof list / sizeof *list), values)

/* A row per task: draw() may leave the problem to be rejected and drawn again; write() gives question and reply. */
typedef struct sp_task_row {
    const char *name;
    int weight;
    void (*draw)(sp_draw *draw, sp_problem *problem);
    void (*write)(sp_draw *draw, const sp_problem *problem, sp_task_turn *turn);
} sp_task_row;

void sp_task_add_draw(sp_draw *draw, sp_problem *p);
void sp_task_add_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_sub_draw(sp_draw *draw, sp_problem *p);
void sp_task_sub_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_mul_draw(sp_draw *draw, sp_problem *p);
void sp_task_mul_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_div_draw(sp_draw *draw, sp_problem *p);
void sp_task_div_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_compare_draw(sp_draw *draw, sp_problem *p);
void sp_task_compare_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_sort_draw(sp_draw *draw, sp_problem *p);
void sp_task_sort_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_letters_draw(sp_draw *draw, sp_problem *p);
void sp_task_letters_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_reverse_draw(sp_draw *draw, sp_problem *p);
void sp_task_reverse_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_parity_draw(sp_draw *draw, sp_problem *p);
void sp_task_parity_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_countdown_draw(sp_draw *draw, sp_problem *p);
void sp_task_countdown_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_story_draw(sp_draw *draw, sp_problem *p);
void sp_task_story_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);
void sp_task_talk_draw(sp_draw *draw, sp_problem *p);
void sp_task_talk_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn);

/* ---- worked steps ---------------------------------------------------------------------------------------- */

int sp_count_digits(int n);
void sp_work_add(sp_task_text *text, int a, int b, int width); /* both written with at least `width` digits */
void sp_work_sub(sp_task_text *text, int a, int b);            /* a >= b >= 0 */
void sp_work_mul(sp_task_text *text, int a,
                 int b); /* a, b < 1000; b of at most 2 digits if a < 100, else 1 */
void sp_work_div(sp_task_text *text, int a, int b); /* b >= 1 */

/* Canonical texts of two operands: the smaller first where the order does not matter. */
void sp_task_key(sp_problem *p, char op, int a, int b);

/* ---- words ----------------------------------------------------------------------------------------------- */

extern const char *const sp_task_words[];
extern const int sp_task_words_count;

/* Evaluate "(5*7)-13" over whole numbers; false if malformed, a division leaves a remainder, or more than 8 numbers. The
 * numbers that occur go to numbers[0..*n). */
bool sp_task_evaluate(const char *text, int64_t *value, int *numbers, int *n);

#endif
