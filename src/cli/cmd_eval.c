/* SPDX-License-Identifier: MIT */
/* `sputnik eval`: the share of exercises that a model answers right. Each line of the file is a conversation whose last reply is
 * left to the model, greedily, and graded with the task's checker (data/task.h). Start at run_eval(). */
#include "cli/cli.h"

#include <string.h>

#include "base/json.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "data/corpus.h"
#include "data/task.h"
#include "eval/answer.h"

enum { MESSAGES_MAX = 4096, GROUPS_MAX = 256 };

typedef struct eval_args {
    int64_t n, n_threads, max_tokens, n_ctx, failures;
    int kinds, drafts, json;
} eval_args;

static const eval_args eval_defaults = {0, 0, 512, 0, 0, 0, 0, 0};

static const sp_arg eval_table[] = {
    SP_INT_ROW(eval_args, n, "items", 'n', 0, 1e12, "only the first N lines (0: all)"),
    SP_INT_ROW(eval_args, n_threads, "threads", 't', 0, 256,
               "replies at once, a thread each (0: one per processor)"),
    SP_INT_ROW(eval_args, max_tokens, "max-tokens", 0, 1, 16777216, "most tokens of a reply (512)"),
    SP_CONTEXT_ROW(eval_args, n_ctx),
    SP_INT_ROW(eval_args, failures, "failures", 0, 0, 1e9, "print the first N wrong replies"),
    SP_FLAG_ROW(eval_args, kinds, "kinds", 0, "a row for each kind of problem, too"),
    SP_FLAG_ROW(eval_args, drafts, "drafts", 0,
                "how often the prediction layer guesses the token after the next"),
    SP_JSON_ROW(eval_args, json),
};

/* A line of the file: everything but the messages points into its JSON. */
typedef struct item {
    sp_json *root;
    sp_message *messages;
    size_t n_messages;
    sp_task task;
    const char *kind, *problem, *answer;
    bool is_done, is_right;
    size_t n_reasoning, n_tokens, n_drafts, n_accepted;
    char *reasoning, *content; /* kept of wrong replies that are to be printed */
    sp_finish finish;
} item;

/* Sums over the items of a task, or of a kind of it. */
typedef struct group {
    sp_task task;
    const char *kind; /* NULL: all kinds */
    size_t n, n_right, n_reasoning, n_tokens, n_drafts, n_accepted;
} group;

typedef struct evaluation {
    const eval_args *args;
    sp_corpus *corpus;
    item *items;
    size_t n, n_done;
    sp_progress progress;
    double seconds;
    group groups[GROUPS_MAX];
    size_t n_groups;
} evaluation;

/* --- reading --- */

static const char *text_of(const sp_json *object, const char *name)
{
    return sp_json_string(sp_json_get(object, name), NULL);
}

static bool read_message(sp_message *m, const sp_json *message)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const char *role = text_of(message, "role");
    m->content = text_of(message, "content");
    m->reasoning = text_of(message, "reasoning_content");
    for (int k = 0; role && k < 3; k++) {
        if (strcmp(role, roles[k]) != 0) continue;
        m->role = (sp_role)k;
        return m->content != NULL;
    }
    return false;
}

static sp_status read_item(item *it, const sp_corpus *corpus, size_t i, sp_error *err)
{
    char where[160];
    sp_document document;
    sp_corpus_where(corpus, i, where, sizeof where);
    SP_TRY(sp_corpus_read(corpus, i, &document, err));
    it->root = document.root;
    size_t n = sp_json_size(document.messages);
    const char *task = text_of(it->root, "task");
    it->answer = text_of(it->root, "answer");
    it->problem = text_of(it->root, "problem");
    it->kind = text_of(it->root, "kind");
    if (!it->problem) it->problem = "";
    if (!it->kind) it->kind = "";
    if (!it->answer) return sp_fail(err, SP_E_FORMAT, "%s: no text under \"answer\"", where);
    if (!task || !sp_task_by_name(task, strlen(task), &it->task))
        return sp_fail(err, SP_E_FORMAT, "%s: task \"%.40s\" is unknown", where, task ? task : "(none)");
    if (n < 1 || n > MESSAGES_MAX)
        return sp_fail(err, SP_E_FORMAT, "%s: %zu messages, expected 1 to %d", where, n, MESSAGES_MAX);
    it->messages = sp_calloc(n, sizeof *it->messages);
    if (!it->messages) return sp_fail_nomem(err, "messages", n * sizeof *it->messages);
    for (size_t k = 0; k < n; k++)
        if (!read_message(&it->messages[k], sp_json_at(document.messages, k)))
            return sp_fail(err, SP_E_FORMAT, "%s: message %zu has no role that is known, or no content",
                           where, k);
    /* the last reply is the model's to write */
    if (it->messages[n - 1].role == SP_ROLE_ASSISTANT) n--;
    if (n == 0 || it->messages[n - 1].role != SP_ROLE_USER)
        return sp_fail(err, SP_E_FORMAT, "%s: no question before the last reply", where);
    it->n_messages = n;
    return SP_OK;
}

static sp_status read_items(evaluation *e, const char *path, sp_error *err)
{
    SP_TRY(sp_corpus_open(&e->corpus, &path, 1, NULL, err));
    size_t n = sp_corpus_count(e->corpus);
    if (n > 0 && !sp_corpus_is_json(e->corpus, 0))
        return sp_fail(err, SP_E_FORMAT, "%s: expected a file named .jsonl or .ndjson", path);
    if (e->args->n > 0 && (uint64_t)e->args->n < n) n = (size_t)e->args->n;
    if (n == 0) return sp_fail(err, SP_E_FORMAT, "%s: no items", path);
    e->items = sp_calloc(n, sizeof *e->items);
    if (!e->items) return sp_fail_nomem(err, "items", n * sizeof *e->items);
    for (; e->n < n; e->n++) {
        sp_status status = read_item(&e->items[e->n], e->corpus, e->n, err);
        if (status == SP_OK) continue;
        e->n++; /* what was read of it is freed with the rest */
        return status;
    }
    return SP_OK;
}

static void clear_items(evaluation *e)
{
    for (size_t i = 0; i < e->n; i++) {
        sp_json_destroy(e->items[i].root);
        sp_free(e->items[i].messages);
        sp_free(e->items[i].reasoning);
        sp_free(e->items[i].content);
    }
    sp_free(e->items);
    sp_corpus_close(e->corpus);
}

/* --- grading --- */

static int grade(void *ctx, size_t i, const sp_eval_reply *reply)
{
    evaluation *e = ctx;
    item *it = &e->items[i];
    it->is_done = true;
    it->n_tokens = reply->n_tokens;
    it->n_reasoning = reply->n_reasoning;
    it->finish = reply->finish;
    it->n_drafts = reply->n_drafts;
    it->n_accepted = reply->n_accepted;
    it->is_right =
        reply->finish == SP_FINISH_END && sp_task_check(it->task, it->problem, it->answer, reply->content);
    if (!it->is_right && e->args->failures > 0) { /* which are the first is known at the end only */
        it->reasoning = sp_strdup(reply->reasoning);
        it->content = sp_strdup(reply->content);
    }
    sp_progress_set(&e->progress, ++e->n_done, e->n);
    return sp_interrupt_seen();
}

static sp_status answer_items(evaluation *e, const sp_model *model, sp_error *err)
{
    sp_eval_options options = {.n_threads = (int)e->args->n_threads,
                               .max_tokens = e->args->max_tokens,
                               .n_ctx = (int32_t)e->args->n_ctx,
                               .think = SP_THINK_ON,
                               .drafts = e->args->drafts,
                               .done = grade,
                               .ctx = e};
    sp_eval_question *questions = sp_calloc(e->n, sizeof *questions);
    if (!questions) return sp_fail_nomem(err, "questions", e->n * sizeof *questions);
    for (size_t i = 0; i < e->n; i++)
        questions[i] = (sp_eval_question){e->items[i].messages, e->items[i].n_messages};
    double start = sp_seconds();
    sp_interrupt_catch();
    sp_progress_start(&e->progress, "eval", SP_PROGRESS_ITEMS, 0);
    sp_status status = sp_eval_answer(model, questions, e->n, &options, err);
    sp_progress_finish(&e->progress);
    e->seconds = sp_seconds() - start;
    sp_free(questions);
    return status;
}

/* --- the report --- */

static void add_to_group(evaluation *e, const item *it, const char *kind)
{
    size_t k = 0;
    for (; k < e->n_groups; k++) {
        const group *g = &e->groups[k];
        if (g->task != it->task || !g->kind != !kind) continue;
        if (!kind || strcmp(g->kind, kind) == 0) break;
    }
    /* more kinds than any task has: the tasks' own rows, for which there is always room, still count them */
    if (k == e->n_groups && k >= (size_t)(kind ? GROUPS_MAX - SP_TASK_COUNT : GROUPS_MAX)) return;
    if (k == e->n_groups) e->groups[e->n_groups++] = (group){.task = it->task, .kind = kind};
    group *g = &e->groups[k];
    g->n++;
    g->n_right += it->is_right;
    g->n_reasoning += it->n_reasoning;
    g->n_tokens += it->n_tokens;
    g->n_drafts += it->n_drafts;
    g->n_accepted += it->n_accepted;
}

static void sum_up(evaluation *e)
{
    for (int task = 0; task < SP_TASK_COUNT; task++) {
        for (size_t i = 0; i < e->n; i++)
            if (e->items[i].is_done && e->items[i].task == (sp_task)task) add_to_group(e, &e->items[i], NULL);
        for (size_t i = 0; i < e->n && e->args->kinds; i++) {
            const item *it = &e->items[i];
            if (it->is_done && it->task == (sp_task)task && it->kind[0]) add_to_group(e, it, it->kind);
        }
    }
}

static void print_group(const group *g)
{
    char name[64];
    double low, high;
    sp_eval_interval(g->n_right, g->n, &low, &high);
    if (g->kind)
        snprintf(name, sizeof name, "  %.40s", g->kind);
    else
        snprintf(name, sizeof name, "%s", sp_task_name(g->task));
    printf("%-12s %6zu %8zu  %6.2f %%  %6.2f-%-6.2f %10.1f %8.1f", name, g->n, g->n_right,
           100 * (double)g->n_right / (double)g->n, 100 * low, 100 * high,
           (double)g->n_reasoning / (double)g->n, (double)g->n_tokens / (double)g->n);
    if (g->n_drafts) printf("  %6.2f %%", 100 * (double)g->n_accepted / (double)g->n_drafts);
    putchar('\n');
}

static void print_failures(const evaluation *e)
{
    int64_t left = e->args->failures;
    for (size_t i = 0; i < e->n && left > 0; i++) {
        const item *it = &e->items[i];
        char where[160];
        if (!it->is_done || it->is_right) continue;
        left--;
        sp_corpus_where(e->corpus, i, where, sizeof where);
        printf("\n%s  %s%s%s  expected %s  (%s after %zu tokens)\n", where, sp_task_name(it->task),
               it->kind[0] ? ":" : "", it->kind, it->answer, sp_finish_name(it->finish), it->n_tokens);
        printf("user: %s\n<think>\n%s\n</think>\n%s\n", it->messages[it->n_messages - 1].content,
               it->reasoning ? it->reasoning : "", it->content ? it->content : "");
    }
}

static void print_report(const evaluation *e)
{
    size_t n_tokens = 0;
    printf("%-12s %6s %8s  %8s  %13s %10s %8s%s\n", "task", "items", "correct", "accuracy", "95 % interval",
           "reasoning", "tokens", e->args->drafts ? "    drafts" : "");
    for (size_t k = 0; k < e->n_groups; k++) {
        print_group(&e->groups[k]);
        if (!e->groups[k].kind) n_tokens += e->groups[k].n_tokens;
    }
    printf("%zu replies of %zu tokens in %.1f s, %.0f tokens/s\n", e->n_done, n_tokens, e->seconds,
           e->seconds > 0 ? (double)n_tokens / e->seconds : 0);
    print_failures(e);
}

static sp_status put_failure(sp_buf *out, const evaluation *e, const item *it, sp_error *err)
{
    const char *const names[] = {"task", "kind", "answer", "finish", "reasoning", "content"};
    const char *const values[] = {sp_task_name(it->task),     it->kind,      it->answer,
                                  sp_finish_name(it->finish), it->reasoning, it->content};
    SP_TRY(sp_buf_printf(out, err, "{\"line\": %zu", (size_t)(it - e->items) + 1));
    for (int k = 0; k < 6; k++) {
        SP_TRY(sp_buf_printf(out, err, ", \"%s\": ", names[k]));
        SP_TRY(sp_cli_put_text(out, values[k] ? values[k] : "", err));
    }
    return sp_buf_puts(out, "}", err);
}

static sp_status print_json(const evaluation *e, sp_buf *out, sp_error *err)
{
    int64_t left = e->args->failures;
    SP_TRY(sp_buf_puts(out, "{\"tasks\": [", err));
    for (size_t k = 0; k < e->n_groups; k++) {
        const group *g = &e->groups[k];
        double low, high, n = (double)g->n;
        sp_eval_interval(g->n_right, g->n, &low, &high);
        SP_TRY(sp_buf_printf(out, err, "%s\n {\"task\": \"%s\", \"kind\": ", k ? "," : "",
                             sp_task_name(g->task)));
        SP_TRY(g->kind ? sp_cli_put_text(out, g->kind, err) : sp_buf_puts(out, "null", err));
        SP_TRY(sp_buf_printf(
            out, err,
            ", \"items\": %zu, \"correct\": %zu, \"accuracy\": %.6g, \"low\": %.6g, \"high\": %.6g, "
            "\"reasoning_tokens\": %.6g, \"tokens\": %.6g, \"drafts\": %zu, \"accepted\": %zu}",
            g->n, g->n_right, (double)g->n_right / n, low, high, (double)g->n_reasoning / n,
            (double)g->n_tokens / n, g->n_drafts, g->n_accepted));
    }
    SP_TRY(sp_buf_printf(out, err, "],\n \"seconds\": %.3f, \"failures\": [", e->seconds));
    const char *comma = "";
    for (size_t i = 0; i < e->n && left > 0; i++) {
        if (!e->items[i].is_done || e->items[i].is_right) continue;
        left--;
        SP_TRY(sp_buf_puts(out, comma, err));
        SP_TRY(put_failure(out, e, &e->items[i], err));
        comma = ",\n  ";
    }
    return sp_buf_puts(out, "]}\n", err);
}

static int run_eval(const void *options, char *const *operands, int n_operands)
{
    evaluation e;
    sp_error err = SP_ERROR_NONE;
    sp_buf out = {NULL, 0, 0};
    sp_model *model = NULL;
    sp_status status;
    memset(&e, 0, sizeof e);
    e.args = options;
    (void)n_operands;
    if (!sp_cli_open_model(&model, operands[0], NULL)) return SP_EXIT_FAILED;
    SP_GOTO(done, status, read_items(&e, operands[1], &err));
    status = answer_items(&e, model, &err); /* after Ctrl-C: what there is */
    if (status != SP_OK && status != SP_E_CANCELLED) goto done;
    sum_up(&e);
    if (!e.args->json)
        print_report(&e);
    else if (print_json(&e, &out, &err) != SP_OK)
        status = err.code;
    if (out.data) fwrite(out.data, 1, out.len, stdout);
done:
    if (status != SP_OK) sp_cli_fail(&err, NULL);
    sp_buf_clear(&out);
    clear_items(&e);
    sp_model_close(model);
    return status == SP_OK ? SP_EXIT_GOOD : SP_EXIT_FAILED;
}

const sp_command sp_command_eval = {
    "eval",
    "MODEL FILE",
    "share of exercises that a model answers right",
    "FILE is JSONL as \"sputnik data generate\" writes it: {\"task\", \"messages\", \"answer\"}. The last "
    "reply of each line\n"
    "is left to the model, without randomness, and graded.",
    eval_table,
    sizeof eval_table / sizeof eval_table[0],
    &eval_defaults,
    sizeof eval_defaults,
    2,
    2,
    run_eval,
};
