/* SPDX-License-Identifier: MIT */
/* Comparing, sorting, and odd or even. Numbers are written with equal width, so that digits in one column compare:
 *   047,374     586,012,347         4 even     11,01,12,13
 *   0<3         012:586,347                    3 odd
 *               347:586
 *               586
 * Sorting takes the smallest (or largest) number out of the list until one is left. */
#include "data/task_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- compare --- */

enum { FORM_LARGER, FORM_SMALLER, FORM_SIGN };

void sp_task_compare_draw(sp_draw *draw, sp_problem *p)
{
    static const char *const kinds[] = {"larger", "smaller", "sign"};
    int digits = sp_draw_range(draw, 1, 4), kin = sp_draw_below(draw, 100);
    int a = sp_draw_number(draw, digits), b = sp_draw_number(draw, digits);
    if (kin < 15) b = sp_draw_number(draw, sp_draw_range(draw, 1, 4));
    if (kin >= 15 && kin < 25) b = a;
    if (kin >= 25 && kin < 60) { /* equal leading digits */
        int keep = digits > 2 ? sp_draw_range(draw, 1, digits - 1) : 1, power = 1;
        for (int k = keep; k < digits; k++) power *= 10;
        b = a - a % power + b % power;
    }
    p->form = sp_draw_below(draw, 3);
    snprintf(p->kind, sizeof p->kind, "%s", kinds[p->form]);
    p->n[0] = a;
    p->n[1] = b;
    snprintf(p->key, sizeof p->key, "%d?%d", a < b ? a : b, a < b ? b : a);
}

static void work_compare(sp_task_text *text, int a, int b)
{
    int n = sp_count_digits(a > b ? a : b), power = 1;
    for (int k = 1; k < n; k++) power *= 10;
    sp_task_put(text, "%0*d,%0*d", n, a, n, b);
    for (; power > 0; power /= 10) {
        int x = a / power % 10, y = b / power % 10;
        sp_task_put(text, "\n%d%c%d", x, x < y ? '<' : x > y ? '>' : '=', y);
        if (x != y) return;
    }
}

void sp_task_compare_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    static const char *const large[] = {
        "Which is larger, $a or $b?",        "Which number is bigger: $a or $b?",
        "What is the larger of $a and $b?",  "Which is greater, $a or $b?",
        "$a or $b, which is more?",          "Which one is larger, $a or $b?",
        "What is the maximum of $a and $b?", "Tell me the bigger number: $a, $b.",
    };
    static const char *const small[] = {
        "Which is smaller, $a or $b?",       "Which number is less: $a or $b?",
        "What is the smaller of $a and $b?", "Which is lower, $a or $b?",
        "$a or $b, which is less?",          "Which one is smaller, $a or $b?",
        "What is the minimum of $a and $b?", "Tell me the smaller number: $a, $b.",
    };
    static const char *const sign[] = {
        "Compare $a and $b.",
        "Compare $a with $b.",
        "$a ? $b: which sign, <, > or =?",
        "Put <, > or = between $a and $b.",
        "Is $a less than, greater than or equal to $b?",
        "How do $a and $b compare?",
    };
    int a = p->n[0], b = p->n[1];
    char text[2][12];
    snprintf(text[0], sizeof text[0], "%d", a);
    snprintf(text[1], sizeof text[1], "%d", b);
    const char *const values[] = {text[0], text[1]};
    work_compare(&turn->reasoning, a, b);
    if (p->form == FORM_SIGN) {
        SP_TASK_ASK(draw, turn, sign, values);
        snprintf(turn->answer, sizeof turn->answer, "%c", a < b ? '<' : a > b ? '>' : '=');
        sp_task_put(&turn->content, "%d %s %d", a, turn->answer, b);
        return;
    }
    if (p->form == FORM_LARGER)
        SP_TASK_ASK(draw, turn, large, values);
    else
        SP_TASK_ASK(draw, turn, small, values);
    if (a == b) {
        snprintf(turn->answer, sizeof turn->answer, "equal");
        sp_task_put(&turn->content, "%d and %d are equal.", a, b);
        return;
    }
    bool first = p->form == FORM_LARGER ? a > b : a < b;
    snprintf(turn->answer, sizeof turn->answer, "%s", text[first ? 0 : 1]);
    sp_task_put(&turn->content, "%s is %s than %s.", text[first ? 0 : 1],
                p->form == FORM_LARGER ? "larger" : "smaller", text[first ? 1 : 0]);
}

/* --- sort --- */

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

void sp_task_sort_draw(sp_draw *draw, sp_problem *p)
{
    static const int weights[] = {18, 20, 47, 15}; /* 3 to 6 numbers */
    static const int most[] = {9, 99, 99, 999, 999, 999, 999};
    p->n_numbers = 3 + sp_draw_weighted(draw, weights, 4);
    p->form = sp_draw_chance(draw, 40); /* 1: descending */
    int limit = most[sp_draw_below(draw, 7)], low = limit == 999 && sp_draw_chance(draw, 60) ? 100 : 0;
    for (int i = 0; i < p->n_numbers; i++) {
        p->n[i] = sp_draw_range(draw, low, limit);
        for (int k = 0; k < i; k++)
            if (p->n[k] == p->n[i]) return; /* all different: else the problem stays without a key */
    }
    int sorted[SP_PROBLEM_NUMBERS], n = 0;
    memcpy(sorted, p->n, sizeof sorted);
    qsort(sorted, (size_t)p->n_numbers, sizeof *sorted, compare_ints);
    for (int i = 0; i < p->n_numbers; i++)
        n += snprintf(p->key + n, sizeof p->key - (size_t)n, "%s%d", i ? "," : "", sorted[i]);
    p->kind[0] = (char)('0' + p->n_numbers); /* 3 to 6 */
    p->kind[1] = '\0';
}

static void put_list(sp_task_text *text, const int *numbers, int n, int width)
{
    for (int i = 0; i < n; i++) sp_task_put(text, "%s%0*d", i ? "," : "", width, numbers[i]);
}

/* Leaves the numbers in order in list[0..n). */
static void work_sort(sp_task_text *text, int *list, int n, bool is_descending)
{
    int rest[SP_PROBLEM_NUMBERS], width = 1;
    memcpy(rest, list, (size_t)n * sizeof *rest);
    for (int i = 0; i < n; i++)
        if (sp_count_digits(rest[i]) > width) width = sp_count_digits(rest[i]);
    put_list(text, rest, n, width);
    for (int left = n; left > 0; left--) {
        int best = 0;
        for (int i = 1; i < left; i++)
            if (is_descending ? rest[i] > rest[best] : rest[i] < rest[best]) best = i;
        list[n - left] = rest[best];
        memmove(rest + best, rest + best + 1, (size_t)(left - best - 1) * sizeof *rest);
        sp_task_put(text, "\n%0*d%s", width, list[n - left], left > 1 ? ":" : "");
        put_list(text, rest, left - 1, width);
    }
}

void sp_task_sort_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    static const char *const up[] = {
        "Sort $a.",
        "Sort these numbers: $a",
        "Sort $a in ascending order.",
        "Sort from smallest to largest: $a",
        "Put $a in order.",
        "Put these numbers in ascending order: $a",
        "Arrange $a from smallest to largest.",
        "Order the numbers $a from low to high.",
        "$a sorted from smallest to largest?",
        "Can you sort $a?",
        "sort ascending: $a",
        "Please sort the list $a.",
    };
    static const char *const down[] = {
        "Sort $a in descending order.",
        "Sort from largest to smallest: $a",
        "Put these numbers in descending order: $a",
        "Arrange $a from largest to smallest.",
        "Order the numbers $a from high to low.",
        "$a sorted from largest to smallest?",
        "Can you sort $a in descending order?",
        "sort descending: $a",
        "Please sort the list $a from high to low.",
        "Put $a in descending order.",
    };
    static const char *const between[] = {", ", ", ", " ", ","};
    sp_task_text list = {.n = 0};
    int sorted[SP_PROBLEM_NUMBERS];
    const char *comma = between[sp_draw_below(draw, 4)];
    bool use_and = sp_draw_chance(draw, 20) && strcmp(comma, ", ") == 0;
    for (int i = 0; i < p->n_numbers; i++)
        sp_task_put(&list, "%s%d", i == 0 ? "" : use_and && i == p->n_numbers - 1 ? " and " : comma, p->n[i]);
    memcpy(sorted, p->n, sizeof sorted);
    const char *const values[] = {list.s};
    if (p->form)
        SP_TASK_ASK(draw, turn, down, values);
    else
        SP_TASK_ASK(draw, turn, up, values);
    work_sort(&turn->reasoning, sorted, p->n_numbers, p->form != 0);
    for (int i = 0; i < p->n_numbers; i++) sp_task_put(&turn->content, "%s%d", i ? ", " : "", sorted[i]);
    snprintf(turn->answer, sizeof turn->answer, "%.95s", turn->content.s);
}

/* --- parity --- */

void sp_task_parity_draw(sp_draw *draw, sp_problem *p)
{
    p->form = sp_draw_chance(draw, 35); /* 1: of the ones in a bit string */
    if (!p->form) {
        p->n[0] = sp_draw_number(draw, sp_draw_range(draw, 1, 4));
        snprintf(p->key, sizeof p->key, "%d", p->n[0]);
        snprintf(p->kind, sizeof p->kind, "number");
        return;
    }
    int n = sp_draw_range(draw, 4, 9);
    for (int i = 0; i < n; i++) p->word[i] = (char)('0' + sp_draw_below(draw, 2));
    snprintf(p->key, sizeof p->key, "bits %s", p->word);
    snprintf(p->kind, sizeof p->kind, "bits");
}

void sp_task_parity_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    static const char *const numbers[] = {
        "Is $a odd or even?",
        "Is $a even or odd?",
        "Is the number $a even or odd?",
        "$a: odd or even?",
        "odd or even: $a",
        "Is $a an even number?",
        "Is $a an odd number?",
        "Tell me if $a is odd or even.",
        "What is the parity of $a?",
        "Is $a even?",
        "Is $a odd?",
    };
    static const char *const bits[] = {
        "Is the number of ones in $a odd or even?",     "Is the count of 1s in $a even or odd?",
        "What is the parity of the bits $a?",           "Parity of the bit string $a?",
        "bits $a: odd or even number of ones?",         "Does $a have an odd or even number of ones?",
        "Are there an even or odd number of 1s in $a?", "Parity of the ones in $a",
    };
    char text[12];
    int odd;
    if (p->form) {
        int count = 0;
        SP_TASK_ASK(draw, turn, bits, ((const char *const[]){p->word}));
        for (int i = 0; p->word[i]; i++) {
            count += p->word[i] - '0';
            sp_task_put(&turn->reasoning, "%s%c%d", i ? "," : "", p->word[i], count);
        }
        odd = count % 2;
        sp_task_put(&turn->reasoning, "\n%d %s", count, odd ? "odd" : "even");
        sp_task_put(&turn->content, "The number of ones in %s is %s.", p->word, odd ? "odd" : "even");
    } else {
        snprintf(text, sizeof text, "%d", p->n[0]);
        SP_TASK_ASK(draw, turn, numbers, ((const char *const[]){text}));
        odd = p->n[0] % 2;
        sp_task_put(&turn->reasoning, "%d %s", p->n[0] % 10, odd ? "odd" : "even");
        sp_task_put(&turn->content, "%d is %s.", p->n[0], odd ? "odd" : "even");
    }
    snprintf(turn->answer, sizeof turn->answer, "%s", odd ? "odd" : "even");
}
