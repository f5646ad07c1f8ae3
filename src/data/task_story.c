/* SPDX-License-Identifier: MIT */
/* Short word problems. Each template reduces to one or two operations, worked as their own tasks work them, one after the
 * other. */
#include "data/task_parts.h"

#include <stdio.h>
#include <string.h>

/* $a $b $c: numbers; $d: a name; $e: things; $f: another name. */
typedef struct story {
    const char *ops;
    const char *text;
} story;

static const story stories[] = {
    {"+", "$d has $a $e and buys $b more. How many $e does $d have now?"},
    {"+", "$d has $a $e and $f has $b. How many $e do they have together?"},
    {"+", "There are $a $e in one box and $b in another. How many $e are there in all?"},
    {"+", "$d read $a pages on Monday and $b pages on Tuesday. How many pages is that?"},
    {"+", "A film of $a minutes follows a show of $b minutes. How many minutes do they take?"},
    {"+", "A bus drives $a km and then $b km. How far does it drive?"},
    {"-", "$d has $a $e and gives $b to $f. How many $e are left?"},
    {"-", "There are $a $e in a box. $d takes out $b. How many $e are still in the box?"},
    {"-", "A book has $a pages. $d has read $b. How many pages are left?"},
    {"-", "$d has $a coins and spends $b. How many coins remain?"},
    {"-", "$d has $a $e, $f has $b. How many more does $d have?"},
    {"-", "A trip is $a km long. After $b km, how many km are left?"},
    {"*", "There are $a boxes with $b $e each. How many $e are there?"},
    {"*", "$d buys $a bags of $b $e. How many $e is that?"},
    {"*", "A pen costs $a coins. How many coins do $b pens cost?"},
    {"*", "$d reads $a pages a day for $b days. How many pages is that?"},
    {"*", "A garden has $a rows of $b trees. How many trees are there?"},
    {"/", "$d shares $a $e equally among $b friends. How many does each get?"},
    {"/", "$a $e are packed in boxes of $b. How many boxes are needed?"},
    {"/", "$d reads $b pages a day. How many days does a book of $a pages take?"},
    {"/", "$b tickets cost $a coins. What does one ticket cost?"},
    {"+-", "$d has $a $e, finds $b more and gives away $c. How many $e are left?"},
    {"+-", "A bus has $a people. $b get on and $c get off. How many people are on the bus?"},
    {"-+", "$d has $a coins, spends $b and earns $c. How many coins does $d have?"},
    {"--", "$d has $a $e, gives $b to $f and loses $c. How many $e are left?"},
    {"++", "$d picks $a $e, $f picks $b and their friend picks $c. How many $e is that in all?"},
    {"*+", "$d has $a boxes of $b $e and $c more $e. How many $e does $d have?"},
    {"*-", "$d buys $a bags of $b $e and eats $c. How many $e are left?"},
    {"*+", "A ticket costs $a coins. $d buys $b tickets and a drink for $c coins. How many coins is that?"},
};

static const char *const names[] = {"Tom",   "Anna", "Ben",  "Mia",  "Sam", "Lena", "Max",
                                    "Ida",   "Leo",  "Nora", "Paul", "Eva", "Omar", "Ruth",
                                    "Aisha", "Ken",  "Yuki", "Carl", "Zoe", "Hugo"};
static const char *const things[] = {"apples",  "coins",   "books",  "stamps", "marbles", "eggs",
                                     "cards",   "pens",    "shells", "stones", "nuts",    "oranges",
                                     "pencils", "flowers", "cakes",  "balls"};

static int calculate(int a, char op, int b)
{
    return op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : a / b;
}

void sp_task_story_draw(sp_draw *draw, sp_problem *p)
{
    p->form = sp_draw_below(draw, (int)(sizeof stories / sizeof *stories));
    const char *ops = stories[p->form].ops;
    int digits = sp_draw_chance(draw, 25) ? 3 : sp_draw_chance(draw, 70) ? 2 : 1;
    if (ops[0] == '*') {
        p->n[0] = sp_draw_range(draw, 2, sp_draw_chance(draw, 50) ? 9 : 60);
        p->n[1] = sp_draw_range(draw, 2, 9);
        if (sp_draw_chance(draw, 50)) {
            int swap = p->n[0];
            p->n[0] = p->n[1];
            p->n[1] = swap;
        }
    } else if (ops[0] == '/') {
        p->n[1] = sp_draw_range(draw, 2, 9);
        p->n[0] = p->n[1] * sp_draw_range(draw, 2, 40);
    } else {
        p->n[0] = sp_draw_number(draw, digits);
        p->n[1] = sp_draw_number(draw, digits);
        if (ops[0] == '-' && p->n[1] >= p->n[0]) return;
    }
    if (p->n[0] < 2 || p->n[1] < 2) return;
    int first = calculate(p->n[0], ops[0], p->n[1]);
    snprintf(p->kind, sizeof p->kind, "%s", ops);
    if (!ops[1]) {
        sp_task_key(p, ops[0], p->n[0], p->n[1]);
        return;
    }
    p->n[2] = sp_draw_number(draw, first < 20 || sp_draw_chance(draw, 40) ? 1 : digits == 3 ? 3 : 2);
    if (p->n[2] < 2 || (ops[1] == '-' && p->n[2] > first)) return;
    snprintf(p->key, sizeof p->key, "%d%c%d%c%d", p->n[0], ops[0], p->n[1], ops[1], p->n[2]);
}

static int work_step(sp_task_text *text, int a, char op, int b)
{
    if (op == '+') sp_work_add(text, a, b, 1);
    if (op == '-') sp_work_sub(text, a, b);
    if (op == '*') sp_work_mul(text, a, b);
    if (op == '/') sp_work_div(text, a, b);
    return calculate(a, op, b);
}

void sp_task_story_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    const char *ops = stories[p->form].ops;
    int name = sp_draw_below(draw, 20), other = (name + 1 + sp_draw_below(draw, 19)) % 20;
    char text[3][12];
    for (int i = 0; i < 3; i++) snprintf(text[i], sizeof text[i], "%d", p->n[i]);
    const char *const values[] = {text[0],     text[1], text[2], names[name], things[sp_draw_below(draw, 16)],
                                  names[other]};
    sp_task_ask(draw, turn, &stories[p->form].text, 1, values);
    int result = work_step(&turn->reasoning, p->n[0], ops[0], p->n[1]);
    if (ops[1]) {
        sp_task_put(&turn->reasoning, "\n");
        result = work_step(&turn->reasoning, result, ops[1], p->n[2]);
    }
    sp_task_put(&turn->content, "The answer is %d.", result);
    snprintf(turn->answer, sizeof turn->answer, "%d", result);
}
