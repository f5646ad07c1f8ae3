/* SPDX-License-Identifier: MIT */
/* The table of tasks, the split, and items made of them. A generator draws from a Philox stream named by (split, task,
 * item), so that no item depends on another. Start at sp_task_item_make(). */
#include "data/task.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/rng.h"
#include "data/task_parts.h"

enum { TEST_SHARE = 16, DRAWS_MAX = 200000, CHAT_PERCENT = 10 };

/* Weights are shares of lines: more where accuracy is promised and where an item teaches little per token. */
static const sp_task_row task_rows[SP_TASK_COUNT] = {
    [SP_TASK_ADD] = {"add", 12, sp_task_add_draw, sp_task_add_write},
    [SP_TASK_SUB] = {"sub", 12, sp_task_sub_draw, sp_task_sub_write},
    [SP_TASK_MUL] = {"mul", 14, sp_task_mul_draw, sp_task_mul_write},
    [SP_TASK_DIV] = {"div", 7, sp_task_div_draw, sp_task_div_write},
    [SP_TASK_COMPARE] = {"compare", 5, sp_task_compare_draw, sp_task_compare_write},
    [SP_TASK_SORT] = {"sort", 12, sp_task_sort_draw, sp_task_sort_write},
    [SP_TASK_LETTERS] = {"count", 12, sp_task_letters_draw, sp_task_letters_write},
    [SP_TASK_REVERSE] = {"reverse", 6, sp_task_reverse_draw, sp_task_reverse_write},
    [SP_TASK_PARITY] = {"parity", 3, sp_task_parity_draw, sp_task_parity_write},
    [SP_TASK_COUNTDOWN] = {"countdown", 16, sp_task_countdown_draw, sp_task_countdown_write},
    [SP_TASK_STORY] = {"word", 7, sp_task_story_draw, sp_task_story_write},
    [SP_TASK_TALK] = {"talk", 4, sp_task_talk_draw, sp_task_talk_write},
};

const char *sp_task_name(sp_task task)
{
    return task_rows[task].name;
}

int sp_task_weight(sp_task task)
{
    return task_rows[task].weight;
}

bool sp_task_by_name(const char *name, size_t len, sp_task *task)
{
    for (int i = 0; i < SP_TASK_COUNT; i++) {
        if (strlen(task_rows[i].name) != len || memcmp(task_rows[i].name, name, len) != 0) continue;
        *task = (sp_task)i;
        return true;
    }
    return false;
}

bool sp_task_is_test(const char *problem)
{
    return sp_hash(SP_HASH_SEED, problem, strlen(problem)) % TEST_SHARE == 0;
}

/* --- draws --- */

static uint32_t draw_word(sp_draw *draw)
{
    if (draw->left == 0) {
        sp_rng_block(draw->seed, draw->stream, draw->index++, draw->block);
        draw->left = 4;
    }
    return draw->block[--draw->left];
}

int sp_draw_below(sp_draw *draw, int n)
{
    assert(n >= 1);
    return (int)(((uint64_t)draw_word(draw) * (uint64_t)n) >> 32);
}

int sp_draw_range(sp_draw *draw, int low, int high)
{
    return low + sp_draw_below(draw, high - low + 1);
}

bool sp_draw_chance(sp_draw *draw, int percent)
{
    return sp_draw_below(draw, 100) < percent;
}

int sp_draw_weighted(sp_draw *draw, const int *weights, int n)
{
    int sum = 0, i = 0;
    for (int k = 0; k < n; k++) sum += weights[k];
    int at = sp_draw_below(draw, sum);
    while (at >= weights[i]) at -= weights[i++];
    return i;
}

int sp_draw_number(sp_draw *draw, int digits)
{
    static const int powers[] = {1, 10, 100, 1000, 10000};
    assert(digits >= 1 && digits <= 4);
    return sp_draw_range(draw, digits == 1 ? 0 : powers[digits - 1], powers[digits] - 1);
}

/* --- text --- */

void sp_task_put(sp_task_text *text, const char *fmt, ...)
{
    va_list args;
    size_t room = sizeof text->s - text->n;
    va_start(args, fmt);
    int n = vsnprintf(text->s + text->n, room, fmt, args);
    va_end(args);
    assert(n >= 0 && (size_t)n < room);
    text->n += (size_t)n < room ? (size_t)n : room - 1;
}

static void fill_template(sp_task_text *text, const char *template, const char *const *values)
{
    for (const char *at = template; *at;) {
        size_t n = strcspn(at, "$");
        sp_task_put(text, "%.*s", (int)n, at);
        at += n;
        if (!*at) break;
        sp_task_put(text, "%s", values[at[1] - 'a']);
        at += 2;
    }
}

void sp_task_ask(sp_draw *draw, sp_task_turn *turn, const char *const *templates, int n_templates,
                 const char *const *values)
{
    sp_task_text *user = &turn->user;
    fill_template(user, templates[sp_draw_below(draw, n_templates)], values);
    if (sp_draw_chance(draw, 25))
        for (char *at = user->s; *at; at++)
            if (*at >= 'A' && *at <= 'Z') *at = (char)(*at - 'A' + 'a');
    bool drop = sp_draw_chance(draw, 25);
    if (drop && user->n > 1 && strchr("?.!", user->s[user->n - 1])) user->s[--user->n] = '\0';
    while (user->n > 1 && user->s[user->n - 1] == ' ') user->s[--user->n] = '\0';
}

/* --- items --- */

static sp_status make_turn(sp_draw *draw, sp_task_turn *turn, const sp_task_spec *spec, sp_error *err)
{
    const sp_task_row *row = &task_rows[spec->task];
    sp_problem problem;
    for (int k = 0; k < DRAWS_MAX; k++) {
        memset(&problem, 0, sizeof problem);
        memcpy(problem.kind, spec->kind, sizeof problem.kind);
        row->draw(draw, &problem);
        if (!problem.key[0] || (spec->kind[0] && strcmp(problem.kind, spec->kind) != 0)) continue;
        if (sp_task_is_test(problem.key) != (spec->split == SP_TASK_TEST)) continue;
        memset(turn, 0, sizeof *turn);
        turn->task = spec->task;
        memcpy(turn->kind, problem.kind, sizeof turn->kind);
        memcpy(turn->problem, problem.key, sizeof turn->problem);
        row->write(draw, &problem, turn);
        return SP_OK;
    }
    return sp_fail(err, SP_E_ARGUMENT, "task %s: no problem of kind \"%.8s\"", row->name, spec->kind);
}

static sp_task draw_task(sp_draw *draw)
{
    int weights[SP_TASK_COUNT];
    for (int i = 0; i < SP_TASK_COUNT; i++) weights[i] = task_rows[i].weight;
    return (sp_task)sp_draw_weighted(draw, weights, SP_TASK_COUNT);
}

sp_status sp_task_item_make(sp_task_item *item, const sp_task_spec *spec, uint64_t i, sp_error *err)
{
    sp_draw draw = {spec->seed, ((uint64_t)spec->split << 60 | (uint64_t)spec->task << 52) + i, 0, {0}, 0};
    item->n_turns = 1;
    if (sp_draw_chance(&draw, CHAT_PERCENT)) item->n_turns = sp_draw_range(&draw, 2, SP_TASK_TURNS_MAX);
    for (int k = 0; k < item->n_turns; k++) {
        sp_task_spec any = *spec;
        if (k < item->n_turns - 1) {
            any.task = draw_task(&draw);
            any.kind[0] = '\0';
        }
        SP_TRY(make_turn(&draw, &item->turns[k], &any, err));
    }
    return SP_OK;
}

static sp_status put_member(sp_buf *line, const char *lead, const char *text, sp_error *err)
{
    SP_TRY(sp_buf_puts(line, lead, err));
    return sp_json_put_string(line, text, strlen(text), err);
}

sp_status sp_task_item_write(sp_buf *line, const sp_task_item *item, sp_error *err)
{
    const sp_task_turn *last = &item->turns[item->n_turns - 1];
    SP_TRY(put_member(line, "{\"task\": ", sp_task_name(last->task), err));
    SP_TRY(put_member(line, ", \"kind\": ", last->kind, err));
    SP_TRY(put_member(line, ", \"problem\": ", last->problem, err));
    SP_TRY(sp_buf_puts(line, ", \"messages\": [", err));
    for (int k = 0; k < item->n_turns; k++) {
        const sp_task_turn *turn = &item->turns[k];
        SP_TRY(sp_buf_puts(line, k ? ", " : "", err));
        SP_TRY(put_member(line, "{\"role\": \"user\", \"content\": ", turn->user.s, err));
        SP_TRY(
            put_member(line, "}, {\"role\": \"assistant\", \"reasoning_content\": ", turn->reasoning.s, err));
        SP_TRY(put_member(line, ", \"content\": ", turn->content.s, err));
        SP_TRY(sp_buf_puts(line, "}", err));
    }
    SP_TRY(put_member(line, "], \"answer\": ", last->answer, err));
    return sp_buf_puts(line, "}\n", err);
}

/* --- files of several tasks --- */

static sp_status add_spec(sp_task_mix *mix, const char *part, size_t len, const sp_task_spec *base,
                          sp_error *err)
{
    sp_task_spec spec = *base;
    const char *colon = memchr(part, ':', len);
    size_t n = colon ? (size_t)(colon - part) : len, n_kind = colon ? len - n - 1 : 0;
    if (!sp_task_by_name(part, n, &spec.task))
        return sp_fail(err, SP_E_ARGUMENT, "task \"%.*s\" is unknown", len > 40 ? 40 : (int)len, part);
    if (n_kind >= sizeof spec.kind || mix->n == SP_TASK_SPECS_MAX)
        return sp_fail(err, SP_E_ARGUMENT, "task \"%.*s\": too long", len > 40 ? 40 : (int)len, part);
    if (colon) memcpy(spec.kind, colon + 1, n_kind);
    mix->weights[mix->n] = sp_task_weight(spec.task);
    mix->specs[mix->n++] = spec;
    return SP_OK;
}

sp_status sp_task_mix_init(sp_task_mix *mix, const char *list, uint64_t seed, sp_task_split split,
                           sp_error *err)
{
    sp_task_spec spec = {SP_TASK_ADD, "", seed, split};
    memset(mix, 0, sizeof *mix);
    if (strcmp(list, "all") == 0) {
        for (int i = 0; i < SP_TASK_COUNT; i++)
            SP_TRY(add_spec(mix, sp_task_name((sp_task)i), strlen(sp_task_name((sp_task)i)), &spec, err));
        return SP_OK;
    }
    for (const char *at = list;;) {
        size_t n = strcspn(at, ",");
        SP_TRY(add_spec(mix, at, n, &spec, err));
        if (!at[n]) return SP_OK;
        at += n + 1;
    }
}

void sp_task_mix_even(sp_task_mix *mix)
{
    for (size_t i = 0; i < mix->n; i++) mix->weights[i] = 1;
}

sp_status sp_task_mix_next(sp_task_mix *mix, sp_task_item *item, sp_error *err)
{
    size_t best = 0;
    int64_t sum = 0;
    for (size_t i = 0; i < mix->n; i++) {
        sum += mix->weights[i];
        mix->credit[i] += mix->weights[i];
        if (mix->credit[i] > mix->credit[best]) best = i;
    }
    mix->credit[best] -= sum;
    return sp_task_item_make(item, &mix->specs[best], mix->next[best]++, err);
}
