/* SPDX-License-Identifier: MIT */
/* Seeded text generators: the exercises that sputnik-nano learns from and is graded on. Item i of a task is a pure
 * function of (seed, split, task, kind, i), so any line can be named and repeated. Thread-safe: no state.
 *
 * Training and test are disjoint by construction: sp_hash of the problem's canonical text (operands in order of size
 * where the order does not matter, the word, the sorted numbers and the target) modulo 16 is 0 for test problems,
 * anything else for training ones. Problems that fall on the other side are drawn again. The text does not name the
 * task, so that a sum kept for the test occurs in no word problem of the training set either. */
#ifndef SP_DATA_TASK_H
#define SP_DATA_TASK_H

#include "base/mem.h"

typedef enum sp_task {
    SP_TASK_ADD,
    SP_TASK_SUB,
    SP_TASK_MUL,
    SP_TASK_DIV,
    SP_TASK_COMPARE,
    SP_TASK_SORT,
    SP_TASK_LETTERS, /* "count" */
    SP_TASK_REVERSE,
    SP_TASK_PARITY,
    SP_TASK_COUNTDOWN,
    SP_TASK_STORY, /* "word" */
    SP_TASK_TALK,
    SP_TASK_COUNT
} sp_task;

typedef enum sp_task_split { SP_TASK_TRAIN, SP_TASK_TEST } sp_task_split;

const char *sp_task_name(sp_task task); /* "add", "sub", ... */
bool sp_task_by_name(const char *name, size_t len, sp_task *task);
int sp_task_weight(sp_task task); /* share of a mixed file, in lines of sp_task_weights_sum() */

/* Room for a text; generators never fill it (asserted). */
typedef struct sp_task_text {
    size_t n;
    char s[1536];
} sp_task_text;

/* A question and its reply. */
typedef struct sp_task_turn {
    sp_task task;
    char kind[8]; /* "3x3" digits of both operands, "5" numbers to sort, ...; empty if there is one kind */
    char problem[96]; /* canonical text: what the split is decided by */
    char answer[96];  /* what is graded */
    sp_task_text user, reasoning, content;
} sp_task_turn;

enum { SP_TASK_TURNS_MAX = 3 };

/* A conversation; the last turn is of the item's task and the one that is graded. */
typedef struct sp_task_item {
    int n_turns;
    sp_task_turn turns[SP_TASK_TURNS_MAX];
} sp_task_item;

typedef struct sp_task_spec {
    sp_task task;
    char kind[8]; /* only problems of this kind; empty: any */
    uint64_t seed;
    sp_task_split split;
} sp_task_spec;

/* Item i. SP_E_ARGUMENT if the task has no problem of that kind. */
sp_status sp_task_item_make(sp_task_item *item, const sp_task_spec *spec, uint64_t i, sp_error *err);

/* One line of JSON: {"task", "kind", "problem", "messages": [{"role", "content", "reasoning_content"}...], "answer"}. */
sp_status sp_task_item_write(sp_buf *line, const sp_task_item *item, sp_error *err);

/* True if this canonical problem belongs to the test split. */
bool sp_task_is_test(const char *problem);

/* Grade a reply's content (the text after the reasoning). Exact for most tasks; any expression that uses each number once
 * and gives the target passes for Countdown; small talk must name sputnik-nano. */
bool sp_task_check(sp_task task, const char *problem, const char *answer, const char *content);

/* ---- files of several tasks ---------------------------------------------------------------------------- */

enum { SP_TASK_SPECS_MAX = 64 };

/* Which task comes next, and which of its items. Smooth weighted round-robin: after n lines each task has had its share
 * to within one line. Zero-initialise the counters. */
typedef struct sp_task_mix {
    size_t n;
    sp_task_spec specs[SP_TASK_SPECS_MAX];
    int weights[SP_TASK_SPECS_MAX];
    int64_t credit[SP_TASK_SPECS_MAX];
    uint64_t next[SP_TASK_SPECS_MAX]; /* items made so far */
} sp_task_mix;

/* "add,sort:5,mul:2x2" or "all". `is_even`: equal shares instead of the table's weights. SP_E_ARGUMENT names the part that is
 * unknown. */
sp_status sp_task_mix_init(sp_task_mix *mix, const char *list, uint64_t seed, sp_task_split split,
                           sp_error *err);
void sp_task_mix_even(sp_task_mix *mix);
sp_status sp_task_mix_next(sp_task_mix *mix, sp_task_item *item, sp_error *err);

#endif
