/* SPDX-License-Identifier: MIT */
/* Grading. What a reply must hold is read out of its content: the text after the last "=", the first number, the last word,
 * ...; then it is compared with the answer, or for Countdown evaluated. Replies come from a model: any bytes. */
#include "data/task.h"

#include <stdlib.h>
#include <string.h>

#include "data/task_parts.h"

enum { NUMBERS_MAX = 8, DEPTH_MAX = 16 };

/* --- expressions --- */

typedef struct parser {
    const char *at;
    int *numbers;
    int n, depth;
    bool good;
} parser;

static int64_t read_sum(parser *p);

static void skip_blanks(parser *p)
{
    while (*p->at == ' ') p->at++;
}

static int64_t read_factor(parser *p)
{
    int64_t value = 0;
    skip_blanks(p);
    if (*p->at == '(') {
        p->at++;
        if (++p->depth > DEPTH_MAX) p->good = false;
        if (p->good) value = read_sum(p);
        p->depth--;
        skip_blanks(p);
        if (*p->at++ != ')' || !p->good) {
            p->at--;
            p->good = false;
        }
        return value;
    }
    int digits = 0;
    while (*p->at >= '0' && *p->at <= '9' && digits < 7) {
        value = value * 10 + (*p->at++ - '0');
        digits++;
    }
    if (digits == 0 || digits == 7 || p->n == NUMBERS_MAX)
        p->good = false;
    else
        p->numbers[p->n++] = (int)value;
    return value;
}

static int64_t read_product(parser *p)
{
    int64_t value = read_factor(p);
    for (;;) {
        skip_blanks(p);
        char op = *p->at;
        if (!p->good || (op != '*' && op != '/')) return value;
        p->at++;
        int64_t next = read_factor(p);
        if (!p->good) return 0;
        if (op == '/' && (next == 0 || value % next != 0)) p->good = false;
        if (op == '*' && (llabs(value) > 1000000 || llabs(next) > 1000000)) p->good = false;
        if (p->good) value = op == '*' ? value * next : value / next;
    }
}

static int64_t read_sum(parser *p)
{
    int64_t value = read_product(p);
    for (;;) {
        skip_blanks(p);
        char op = *p->at;
        if (!p->good || (op != '+' && op != '-')) return value;
        p->at++;
        int64_t next = read_product(p);
        value = op == '+' ? value + next : value - next;
    }
}

bool sp_task_evaluate(const char *text, int64_t *value, int *numbers, int *n)
{
    parser p = {text, numbers, 0, 0, true};
    *value = read_sum(&p);
    *n = p.n;
    return p.good && !*p.at;
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* problem: "3,5,7:22", sorted; text: "(5*7)-13" or "(5*7)-13 = 22" */
static bool check_countdown(const char *problem, const char *content)
{
    char expression[128];
    int numbers[NUMBERS_MAX], n;
    int64_t value;
    size_t len = strcspn(content, "=");
    while (len > 0 && (content[len - 1] == ' ' || content[len - 1] == '.')) len--;
    if (len >= sizeof expression) return false;
    memcpy(expression, content, len);
    expression[len] = '\0';
    if (!sp_task_evaluate(expression, &value, numbers, &n)) return false;
    qsort(numbers, (size_t)n, sizeof *numbers, compare_ints);
    char *at;
    for (int i = 0; i < n; i++) {
        if (strtol(problem, &at, 10) != numbers[i] || at == problem) return false;
        if (*at != (i < n - 1 ? ',' : ':')) return false;
        problem = at + 1;
    }
    return strtol(problem, &at, 10) == value && at != problem && !*at;
}

/* --- texts --- */

static const char *const blanks = " \t\r\n";

/* content[0..len) without surrounding blanks and a full stop at the end is `answer`. */
static bool is_answer(const char *text, size_t len, const char *answer)
{
    while (len > 0 && strchr(blanks, *text)) {
        text++;
        len--;
    }
    while (len > 0 && (strchr(blanks, text[len - 1]) || text[len - 1] == '.')) len--;
    return len == strlen(answer) && memcmp(text, answer, len) == 0;
}

static bool is_after_equals(const char *content, const char *answer)
{
    const char *equals = strrchr(content, '=');
    const char *text = equals ? equals + 1 : content;
    return is_answer(text, strlen(text), answer);
}

/* The first number in the content. */
static bool is_first_number(const char *content, const char *answer)
{
    const char *at = strpbrk(content, "0123456789");
    return at && is_answer(at, strspn(at, "0123456789"), answer);
}

static bool has_word(const char *content, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = content; *at;) {
        size_t len = strcspn(at, " ,.\n\"'?!");
        if (len == n && memcmp(at, word, n) == 0) return true;
        at += len;
        if (*at) at++;
    }
    return false;
}

static bool check_compare(const char *answer, const char *content)
{
    if (strchr("<>=", answer[0]) || strcmp(answer, "equal") == 0) {
        static const char *const signs[] = {"<", ">", "=", "equal"};
        for (int i = 0; i < 4; i++)
            if (has_word(content, signs[i]) != (strcmp(signs[i], answer) == 0)) return false;
        return true;
    }
    return is_first_number(content, answer) && !has_word(content, "equal");
}

bool sp_task_check(sp_task task, const char *problem, const char *answer, const char *content)
{
    switch (task) {
    case SP_TASK_ADD:
    case SP_TASK_SUB:
    case SP_TASK_MUL:
    case SP_TASK_DIV: return is_after_equals(content, answer);
    case SP_TASK_COMPARE: return check_compare(answer, content);
    case SP_TASK_LETTERS:
    case SP_TASK_STORY: return is_first_number(content, answer);
    case SP_TASK_PARITY:
        return has_word(content, "odd") != has_word(content, "even") && has_word(content, answer);
    case SP_TASK_COUNTDOWN: return check_countdown(problem, content);
    case SP_TASK_TALK: return strstr(content, answer) != NULL;
    default: return is_answer(content, strlen(content), answer);
    }
}
