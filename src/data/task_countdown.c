/* SPDX-License-Identifier: MIT */
/* Countdown: use every number once with + - * / to make the target. Results in between are whole numbers from 1 to 99.
 * Three numbers always end as (x op y) op c, so the search takes each number in turn as c, writes the last steps that would
 * reach the target, then the results of the other two until one of them is the first number of such a step:
 *   13,5,7:22
 *   9+13,35-13      with 13 last: 9 or 35 is needed
 *   5+7=12,7-5=2,5*7=35!
 *   35-13=22
 * Two numbers are the line of results alone. Four numbers split off the last one first ("22+2"), then search three. */
#include "data/task_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOP = 99, LENGTH_MAX = 250 };

typedef struct search {
    sp_task_text *text;
    char expression[64];
} search;

typedef struct step {
    int left, right, value;
    char op;
    bool is_right; /* of a last step: the number that is needed stands on the right */
} step;

static int apply(step *s, int left, char op, int right, int value)
{
    *s = (step){left, right, value, op, false};
    return value >= 1 && value <= TOP;
}

static int apply_right(step *s, int left, char op, int value)
{
    *s = (step){left, value, value, op, true};
    return value >= 1 && value <= TOP;
}

/* What two numbers give, in the fixed order + - * /. */
static int list_results(step out[4], int a, int b)
{
    int n = 0, x = a > b ? a : b, y = a > b ? b : a;
    n += apply(&out[n], a, '+', b, a + b);
    n += apply(&out[n], x, '-', y, x - y);
    n += apply(&out[n], a, '*', b, a * b);
    if (y > 1 && x % y == 0) n += apply(&out[n], x, '/', y, x / y);
    return n;
}

/* Last steps that use c and give t; `value` is the number still needed. */
static int list_needed(step out[6], int c, int t)
{
    int n = 0;
    n += apply(&out[n], t - c, '+', c, t - c);
    n += apply(&out[n], t + c, '-', c, t + c);
    n += apply_right(&out[n], c, '-', c - t);
    if (c > 1 && t % c == 0) n += apply(&out[n], t / c, '*', c, t / c);
    if (c > 1) n += apply(&out[n], t * c, '/', c, t * c);
    if (c % t == 0 && c > t) n += apply_right(&out[n], c, '/', c / t);
    return n;
}

static bool search_two(search *s, int a, int b, const int *needed, int n_needed, step *hit)
{
    step results[4];
    int n = list_results(results, a, b);
    for (int i = 0; i < n; i++) {
        step r = results[i];
        sp_task_put(s->text, "%s%d%c%d=%d", i ? "," : "", r.left, r.op, r.right, r.value);
        for (int k = 0; k < n_needed; k++) {
            if (needed[k] != r.value) continue;
            sp_task_put(s->text, "!");
            *hit = r;
            return true;
        }
    }
    return false;
}

/* The expression of the last step, with the pair in the place of the number that was needed. */
static void finish_three(search *s, const step *last, const step *pair)
{
    char inner[32];
    int total = last->op == '+'   ? last->left + last->right
                : last->op == '-' ? last->left - last->right
                : last->op == '*' ? last->left * last->right
                                  : last->left / last->right;
    snprintf(inner, sizeof inner, "(%d%c%d)", pair->left, pair->op, pair->right);
    sp_task_put(s->text, "\n%d%c%d=%d", last->left, last->op, last->right, total);
    if (!last->is_right)
        snprintf(s->expression, sizeof s->expression, "%s%c%d", inner, last->op, last->right);
    else
        snprintf(s->expression, sizeof s->expression, "%d%c%s", last->left, last->op, inner);
}

static bool search_three(search *s, const int n[3], int target)
{
    for (int k = 0; k < 3; k++) {
        step needed[6], pair;
        int values[6], c = n[k], n_needed = list_needed(needed, c, target);
        sp_task_put(s->text, "\n");
        for (int i = 0; i < n_needed; i++) {
            values[i] = needed[i].value;
            sp_task_put(s->text, "%s%d%c%d", i ? "," : "", needed[i].left, needed[i].op, needed[i].right);
        }
        sp_task_put(s->text, "\n");
        if (!search_two(s, n[k == 0], n[k == 2 ? 1 : 2], values, n_needed, &pair)) continue;
        int i = 0;
        while (values[i] != pair.value) i++;
        finish_three(s, &needed[i], &pair);
        return true;
    }
    return false;
}

static void put_numbers(sp_task_text *text, const int *numbers, int n, int target)
{
    for (int i = 0; i < n; i++) sp_task_put(text, "%s%d", i ? "," : "", numbers[i]);
    sp_task_put(text, ":%d", target);
}

static bool search_four(search *s, const int n[4], int target)
{
    char inner[64];
    for (int k = 0; k < 2; k++) {
        int t = k == 0 ? target - n[3] : target + n[3];
        char op = k == 0 ? '+' : '-';
        if (t < 1 || t > TOP) continue;
        sp_task_put(s->text, "\n%d%c%d\n", t, op, n[3]);
        put_numbers(s->text, n, 3, t);
        if (s->text->n > LENGTH_MAX || !search_three(s, n, t)) continue;
        sp_task_put(s->text, "\n%d%c%d=%d", t, op, n[3], target);
        memcpy(inner, s->expression, sizeof inner);
        snprintf(s->expression, sizeof s->expression, "(%.50s)%c%d", inner, op, n[3]);
        return true;
    }
    return false;
}

static bool work_countdown(search *s, const sp_problem *p)
{
    step hit;
    put_numbers(s->text, p->n, p->n_numbers, p->target);
    if (p->n_numbers == 3) return search_three(s, p->n, p->target);
    if (p->n_numbers == 4) return search_four(s, p->n, p->target);
    sp_task_put(s->text, "\n");
    if (!search_two(s, p->n[0], p->n[1], &p->target, 1, &hit)) return false;
    snprintf(s->expression, sizeof s->expression, "%d%c%d", hit.left, hit.op, hit.right);
    return true;
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

void sp_task_countdown_draw(sp_draw *draw, sp_problem *p)
{
    static const int weights[] = {12, 80, 8}; /* 2, 3, 4 numbers */
    sp_task_text text = {.n = 0};
    search s = {&text, ""};
    int sorted[SP_PROBLEM_NUMBERS], n = 0, high = sp_draw_chance(draw, 50) ? 10 : 20;
    p->n_numbers = 2 + sp_draw_weighted(draw, weights, 3);
    if (p->kind[0]) p->n_numbers = p->kind[0] - '0';
    if (p->n_numbers < 2 || p->n_numbers > 4) return;
    for (int i = 0; i < p->n_numbers; i++) p->n[i] = sp_draw_range(draw, 1, high);
    /* random targets are rarely within reach of two numbers: draw until one is, a few times */
    for (int k = 0; k < 8 && !s.expression[0]; k++) {
        text.n = 0;
        p->target = sp_draw_range(draw, 1, TOP);
        if (!work_countdown(&s, p)) s.expression[0] = '\0';
    }
    if (!s.expression[0] || text.n > LENGTH_MAX) return;
    memcpy(sorted, p->n, sizeof sorted);
    qsort(sorted, (size_t)p->n_numbers, sizeof *sorted, compare_ints);
    for (int i = 0; i < p->n_numbers; i++)
        n += snprintf(p->key + n, sizeof p->key - (size_t)n, "%s%d", i ? "," : "", sorted[i]);
    snprintf(p->key + n, sizeof p->key - (size_t)n, ":%d", p->target);
    snprintf(p->kind, sizeof p->kind, "%d", p->n_numbers);
}

void sp_task_countdown_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    static const char *const templates[] = {
        "Use $a to make $b.",
        "Make $b from $a.",
        "Make $b out of $a.",
        "Countdown: $a, target $b",
        "Countdown: numbers $a; target $b.",
        "Using $a, reach $b.",
        "How can you get $b from $a?",
        "Combine $a to get $b.",
        "Use each of $a once to make $b.",
        "Use the numbers $a exactly once with + - * / to make $b.",
        "numbers: $a target: $b",
        "Can you make $b with $a?",
        "Find an expression with $a that equals $b.",
        "Reach the target $b with the numbers $a.",
    };
    sp_task_text list = {.n = 0};
    char target[12];
    search s = {&turn->reasoning, ""};
    bool use_and = sp_draw_chance(draw, 40);
    const char *comma = !use_and && sp_draw_chance(draw, 25) ? " " : ", ";
    for (int i = 0; i < p->n_numbers; i++)
        sp_task_put(&list, "%s%d", i == 0 ? "" : use_and && i == p->n_numbers - 1 ? " and " : comma, p->n[i]);
    snprintf(target, sizeof target, "%d", p->target);
    SP_TASK_ASK(draw, turn, templates, ((const char *const[]){list.s, target}));
    work_countdown(&s, p);
    sp_task_put(&turn->content, "%s = %d", s.expression, p->target);
    snprintf(turn->answer, sizeof turn->answer, "%s", s.expression);
}
