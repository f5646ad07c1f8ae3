/* SPDX-License-Identifier: MIT */
/* Sums, differences, products and quotients, worked digit by digit from the right. Every digit is a token of its own and
 * operands are written with equal width, so that each step looks back a fixed number of tokens:
 *   347+586      634-347      47*86                 847/6
 *   7+6=13       4-7=7b1      7*6=42                08=6*1+2
 *   4+8+1=13     3-4-1=8b1    4*6+4=24+4=28         24=6*4+0
 *   3+5+1=09     6-3-1=2      7*8=56 ... 0282+3760  07=6*1+1 */
#include "data/task_parts.h"

#include <stdio.h>
#include <string.h>

int sp_count_digits(int n)
{
    int digits = 1;
    while (n >= 10) {
        n /= 10;
        digits++;
    }
    return digits;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

void sp_task_key(sp_problem *p, char op, int a, int b)
{
    bool swap = (op == '+' || op == '*') && a > b;
    snprintf(p->key, sizeof p->key, "%d%c%d", swap ? b : a, op, swap ? a : b);
}

/* --- worked steps --- */

void sp_work_add(sp_task_text *text, int a, int b, int width)
{
    int n = larger(larger(sp_count_digits(a), sp_count_digits(b)), width), carry = 0;
    if (n > 1) sp_task_put(text, "%0*d+%0*d\n", n, a, n, b);
    for (int k = 0; k < n; k++) {
        int x = a % 10, y = b % 10, sum = x + y + carry;
        if (k == 0)
            sp_task_put(text, "%d+%d=%02d", x, y, sum);
        else
            sp_task_put(text, "\n%d+%d+%d=%02d", x, y, carry, sum);
        carry = sum / 10;
        a /= 10;
        b /= 10;
    }
}

void sp_work_sub(sp_task_text *text, int a, int b)
{
    int n = sp_count_digits(a), borrow = 0;
    if (n > 1) sp_task_put(text, "%0*d-%0*d\n", n, a, n, b);
    for (int k = 0; k < n; k++) {
        int x = a % 10, y = b % 10, rest = x - y - borrow, next = rest < 0;
        if (k == 0)
            sp_task_put(text, "%d-%d=%d", x, y, rest + 10 * next);
        else
            sp_task_put(text, "\n%d-%d-%d=%d", x, y, borrow, rest + 10 * next);
        if (k < n - 1) sp_task_put(text, "b%d", next);
        borrow = next;
        a /= 10;
        b /= 10;
    }
}

/* a times one digit. */
static void work_partial(sp_task_text *text, int a, int y)
{
    int carry = 0;
    for (int k = 0; k == 0 || a > 0; k++) {
        int x = a % 10, product = x * y;
        if (k == 0)
            sp_task_put(text, "%d*%d=%02d", x, y, product);
        else
            sp_task_put(text, "\n%d*%d+%d=%02d+%d=%02d", x, y, carry, product, carry, product + carry);
        carry = (product + carry) / 10;
        a /= 10;
    }
}

void sp_work_mul(sp_task_text *text, int a, int b)
{
    int x = larger(a, b), y = smaller(a, b);
    if (sp_count_digits(x) == sp_count_digits(y)) {
        x = a;
        y = b;
    }
    if (x >= 10) sp_task_put(text, "%d*%d\n", x, y);
    work_partial(text, x, y % 10);
    if (y < 10) return;
    sp_task_put(text, "\n");
    work_partial(text, x, y / 10);
    sp_task_put(text, "\n");
    sp_work_add(text, x * (y % 10), x * (y / 10) * 10, 4);
}

void sp_work_div(sp_task_text *text, int a, int b)
{
    int power = 1, rest = 0;
    while (power * 10 <= a) power *= 10;
    sp_task_put(text, "%d/%d", a, b);
    for (; power > 0; power /= 10) {
        int part = rest * 10 + a / power % 10;
        sp_task_put(text, "\n%02d=%d*%d+%d", part, b, part / b, part % b);
        rest = part % b;
    }
}

/* --- drawing --- */

/* Digits of both operands of a sum or a difference. */
static void draw_digits(sp_draw *draw, int *n_a, int *n_b)
{
    static const int weights[] = {3, 10, 55, 14, 18}; /* 1x1, 2x2, 3x3, 4x4, any */
    int form = sp_draw_weighted(draw, weights, 5);
    *n_a = form < 4 ? form + 1 : sp_draw_range(draw, 1, 4);
    *n_b = form < 4 ? form + 1 : sp_draw_range(draw, 1, 4);
}

static void put_kind(sp_problem *p)
{
    snprintf(p->kind, sizeof p->kind, "%dx%d", sp_count_digits(p->n[0]) % 10, sp_count_digits(p->n[1]) % 10);
}

void sp_task_add_draw(sp_draw *draw, sp_problem *p)
{
    int n_a, n_b;
    draw_digits(draw, &n_a, &n_b);
    p->n[0] = sp_draw_number(draw, n_a);
    p->n[1] = sp_draw_number(draw, n_b);
    sp_task_key(p, '+', p->n[0], p->n[1]);
    put_kind(p);
}

void sp_task_sub_draw(sp_draw *draw, sp_problem *p)
{
    int n_a, n_b;
    draw_digits(draw, &n_a, &n_b);
    int a = sp_draw_number(draw, n_a), b = sp_draw_number(draw, n_b);
    p->n[0] = larger(a, b);
    p->n[1] = smaller(a, b);
    sp_task_key(p, '-', p->n[0], p->n[1]);
    put_kind(p);
}

void sp_task_mul_draw(sp_draw *draw, sp_problem *p)
{
    static const int weights[] = {8, 14, 66, 12}; /* 1x1, 2x1, 2x2, 3x1 */
    static const int digits[][2] = {{1, 1}, {2, 1}, {2, 2}, {3, 1}};
    int form = sp_draw_weighted(draw, weights, 4), swap = sp_draw_below(draw, 2);
    p->n[swap] = sp_draw_number(draw, digits[form][0]);
    p->n[!swap] = sp_draw_number(draw, digits[form][1]);
    sp_task_key(p, '*', p->n[0], p->n[1]);
    put_kind(p);
}

void sp_task_div_draw(sp_draw *draw, sp_problem *p)
{
    static const int weights[] = {8, 32, 40, 20};
    p->n[0] = sp_draw_number(draw, 1 + sp_draw_weighted(draw, weights, 4));
    p->n[1] = sp_draw_chance(draw, 85) ? sp_draw_range(draw, 2, 9) : sp_draw_range(draw, 10, 15);
    if (sp_draw_chance(draw, 25)) p->n[0] -= p->n[0] % p->n[1];
    sp_task_key(p, '/', p->n[0], p->n[1]);
    put_kind(p);
}

/* --- writing --- */

/* The question with both operands, and the reply "a op b = answer". */
static void put_reply(sp_task_turn *turn, const sp_problem *p, char op)
{
    sp_task_put(&turn->content, "%d %c %d = %s", p->n[0], op, p->n[1], turn->answer);
}

static void print_operands(char text[2][12], const sp_problem *p)
{
    snprintf(text[0], 12, "%d", p->n[0]);
    snprintf(text[1], 12, "%d", p->n[1]);
}

void sp_task_add_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    static const char *const templates[] = {
        "What is $a + $b?",
        "$a + $b",
        "$a+$b",
        "$a + $b = ?",
        "$a+$b=",
        "Add $a and $b.",
        "Calculate $a + $b.",
        "What is $a plus $b?",
        "$a plus $b",
        "What is the sum of $a and $b?",
        "Compute $a+$b.",
        "How much is $a + $b?",
        "Find the sum of $a and $b.",
        "Please add $a to $b.",
        "Can you add $a and $b?",
        "What do you get if you add $a and $b?",
    };
    char operands[2][12];
    print_operands(operands, p);
    SP_TASK_ASK(draw, turn, templates, ((const char *const[]){operands[0], operands[1]}));
    sp_work_add(&turn->reasoning, p->n[0], p->n[1], 1);
    snprintf(turn->answer, sizeof turn->answer, "%d", p->n[0] + p->n[1]);
    put_reply(turn, p, '+');
}

void sp_task_sub_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    static const char *const templates[] = {
        "What is $a - $b?",
        "$a - $b",
        "$a-$b",
        "$a - $b = ?",
        "$a-$b=",
        "Subtract $b from $a.",
        "Calculate $a - $b.",
        "What is $a minus $b?",
        "$a minus $b",
        "What is the difference between $a and $b?",
        "Compute $a-$b.",
        "How much is $a - $b?",
        "Take $b away from $a.",
        "Please subtract $b from $a.",
        "Can you work out $a - $b?",
        "What is left if you take $b from $a?",
    };
    char operands[2][12];
    print_operands(operands, p);
    SP_TASK_ASK(draw, turn, templates, ((const char *const[]){operands[0], operands[1]}));
    sp_work_sub(&turn->reasoning, p->n[0], p->n[1]);
    snprintf(turn->answer, sizeof turn->answer, "%d", p->n[0] - p->n[1]);
    put_reply(turn, p, '-');
}

void sp_task_mul_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    static const char *const templates[] = {
        "What is $a * $b?",
        "$a * $b",
        "$a*$b",
        "$a * $b = ?",
        "$a*$b=",
        "Multiply $a by $b.",
        "Calculate $a * $b.",
        "What is $a times $b?",
        "$a times $b",
        "What is the product of $a and $b?",
        "Compute $a*$b.",
        "How much is $a x $b?",
        "$a x $b",
        "Please multiply $a and $b.",
        "Can you work out $a * $b?",
        "Find the product of $a and $b.",
    };
    char operands[2][12];
    print_operands(operands, p);
    SP_TASK_ASK(draw, turn, templates, ((const char *const[]){operands[0], operands[1]}));
    sp_work_mul(&turn->reasoning, p->n[0], p->n[1]);
    snprintf(turn->answer, sizeof turn->answer, "%d", p->n[0] * p->n[1]);
    put_reply(turn, p, '*');
}

void sp_task_div_write(sp_draw *draw, const sp_problem *p, sp_task_turn *turn)
{
    static const char *const templates[] = {
        "What is $a / $b?",
        "$a / $b",
        "$a/$b",
        "$a / $b = ?",
        "Divide $a by $b.",
        "Calculate $a / $b.",
        "What is $a divided by $b?",
        "$a divided by $b",
        "Compute $a/$b.",
        "What is $a / $b with remainder?",
        "Divide $a by $b with remainder.",
        "What are the quotient and remainder of $a / $b?",
        "How many times does $b go into $a?",
        "Can you divide $a by $b?",
    };
    char operands[2][12];
    print_operands(operands, p);
    SP_TASK_ASK(draw, turn, templates, ((const char *const[]){operands[0], operands[1]}));
    sp_work_div(&turn->reasoning, p->n[0], p->n[1]);
    snprintf(turn->answer, sizeof turn->answer, "%d remainder %d", p->n[0] / p->n[1], p->n[0] % p->n[1]);
    put_reply(turn, p, '/');
}
