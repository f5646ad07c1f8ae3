/* SPDX-License-Identifier: MIT */
/* `sputnik run`: one reply to one prompt. The answer goes to standard output; reasoning is shown, dimmed, on
 * a terminal only, unless the user asks otherwise. --json writes one object when the reply is complete. */
#include "cli/cli.h"

#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/experts.h"
#include "cli/run_json.h"
#include "cli/term.h"
#include "cli/view.h"

#define LONG_CONTEXT 32768

typedef struct run_args {
    sp_session_args session;
    sp_sampling_args sampling;
    const char *system, *format, *json_schema;
    sp_int_list tokens;
    int64_t n_logprobs;
    int raw, special, show_thinking, hide_thinking, ids, json, json_object;
} run_args;

static const run_args run_defaults = {
    SP_SESSION_ARGS_TALK, SP_SAMPLING_ARGS_DEFAULTS, NULL, NULL, NULL, {NULL, 0}, 0, 0, 0, 0, 0, 0, 0, 0};

static const sp_arg run_table[] = {
    SP_FLAG_ROW(run_args, raw, "raw", 0, "continue the prompt as text, without a conversation's template"),
    SP_FLAG_ROW(run_args, special, "special", 0, "with --raw: special tokens in the prompt become their ids"),
    SP_INTS_ROW(run_args, tokens, "tokens", 0, 0, INT32_MAX, "continue these ids instead of a PROMPT"),
    SP_STRING_ROW(run_args, system, "system", 's', "TEXT", "system message"),
    SP_STRING_ROW(run_args, format, "format", 0, "NAME", "conversation format instead of the model's own"),
    SP_FLAG_ROW(run_args, show_thinking, "show-thinking", 0,
                "write the reasoning even where there is no terminal"),
    SP_FLAG_ROW(run_args, hide_thinking, "hide-thinking", 0, "do not write the reasoning"),
    SP_STRING_ROW(run_args, json_schema, "json-schema", 0, "FILE",
                  "the answer is JSON that is valid under this JSON Schema"),
    SP_FLAG_ROW(run_args, json_object, "json-object", 0, "the answer is a JSON object"),
    SP_SAMPLING_ROWS(run_args, sampling),
    SP_SESSION_ROWS(run_args, session),
    SP_FLAG_ROW(run_args, ids, "ids", 0, "write the reply's token ids instead of its text"),
    SP_INT_ROW(run_args, n_logprobs, "logprobs", 0, 0, SP_MAX_LOGPROBS,
               "with --json: log-probabilities of N alternatives per token"),
    SP_JSON_ROW(run_args, json),
};

typedef struct run_state {
    const run_args *args;
    sp_model *model;
    const sp_tokenizer *tokenizer;
    sp_session *session;
    sp_generator *generator;
    sp_generate_options options;
    sp_grammar *grammar;
    sp_logit_bias *bias;
    sp_tokens prompt;
    sp_view view;
    sp_run_record record;
} run_state;

static int show_text(void *ctx, sp_reply_part part, const char *text, size_t len)
{
    run_state *run = ctx;
    if (!run->args->json && !run->args->ids) sp_view_put(&run->view, part, text, len);
    return 0;
}

static sp_status render_chat(run_state *run, const sp_buf *text, sp_error *err)
{
    sp_message messages[2];
    size_t n = 0;
    sp_chat_format format = sp_model_chat_format(run->model);
    memset(messages, 0, sizeof messages);
    if (run->args->format && !sp_chat_format_by_name(run->args->format, &format))
        return sp_fail(err, SP_E_ARGUMENT, "option --format: \"%.60s\" is no conversation format",
                       run->args->format);
    if (format == SP_CHAT_NONE)
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "the model has no conversation format: use --raw to continue the prompt as text");
    if (text->data && memchr(text->data, 0, text->len))
        return sp_fail(err, SP_E_ARGUMENT, "prompt: a NUL byte; expected text");
    if (run->args->system) {
        messages[n].role = SP_ROLE_SYSTEM;
        messages[n++].content = run->args->system;
    }
    messages[n].role = SP_ROLE_USER;
    messages[n++].content = text->data ? text->data : "";
    run->options.format = format;
    return sp_chat_render(format, run->tokenizer, &run->prompt, messages, n, &run->options.chat, err);
}

/* A prompt that was written with its begin-of-sentence token gets no other one. */
static void drop_second_bos(run_state *run)
{
    sp_tokens *prompt = &run->prompt;
    int32_t bos = sp_tokenizer_bos(run->tokenizer);
    if (bos < 0 || prompt->n < 2 || prompt->ids[0] != bos || prompt->ids[1] != bos) return;
    prompt->n--;
    memmove(prompt->ids, prompt->ids + 1, prompt->n * sizeof *prompt->ids);
}

static sp_status make_prompt(run_state *run, const char *operand, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    const run_args *args = run->args;
    sp_status status = SP_OK;
    for (size_t i = 0; i < args->tokens.n; i++)
        SP_TRY(sp_tokens_push(&run->prompt, (int32_t)args->tokens.items[i], err));
    if (args->tokens.n > 0) return SP_OK;
    if (!run->tokenizer)
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "the model's files hold no vocabulary: give the prompt's ids with --tokens");
    if (strcmp(operand, "-") == 0)
        status = sp_cli_read(&text, "-", err);
    else
        status = sp_buf_puts(&text, operand, err);
    if (status == SP_OK && args->raw) {
        unsigned flags = (sp_tokenizer_adds_bos(run->tokenizer) ? SP_ENCODE_BOS : 0u) |
                         (args->special ? SP_ENCODE_SPECIAL : 0u);
        status = sp_tokenizer_encode(run->tokenizer, &run->prompt, text.data ? text.data : "", text.len,
                                     flags, err);
        if (status == SP_OK) drop_second_bos(run);
    } else if (status == SP_OK) {
        status = render_chat(run, &text, err);
    }
    sp_buf_clear(&text);
    if (status == SP_OK && run->prompt.n == 0) return sp_fail(err, SP_E_ARGUMENT, "the prompt is empty");
    return status;
}

/* Generate to the end, showing or recording each step. */
static sp_status produce(run_state *run, sp_error *err)
{
    sp_step step;
    double start = sp_seconds();
    do {
        SP_TRY(sp_generator_next(run->generator, &step, show_text, run, err));
        if (run->record.n_tokens == 0) run->record.first_s = sp_seconds() - start;
        if (step.sample.id < 0) continue;
        if (run->view.thinking) run->view.n_think_tokens++;
        if (run->args->ids && !run->args->json)
            printf("%s%d", run->record.n_tokens ? " " : "", (int)step.sample.id);
        run->record.n_tokens++;
        if (run->args->json)
            SP_TRY(sp_run_record_add(&run->record, run->tokenizer, &step, run->args->n_logprobs > 0, err));
    } while (step.finish == SP_FINISH_NONE);
    run->record.total_s = sp_seconds() - start;
    run->record.finish = step.finish;
    sp_generator_drafts(run->generator, &run->record.drafts);
    if (run->args->ids && !run->args->json) putchar('\n');
    if (!run->args->json && !run->args->ids) sp_view_finish(&run->view);
    return SP_OK;
}

static void note_finish(const run_state *run)
{
    size_t repeats = 0;
    size_t length = sp_generator_loop(run->generator, &repeats);
    const sp_reply *reply = sp_generator_reply(run->generator);
    const char *content = sp_reply_content(reply), *reasoning = sp_reply_reasoning(reply);
    if (run->record.finish == SP_FINISH_LOOP) {
        sp_cli_say("the reply only repeated itself (%zu tokens, %zu times) and was ended", length, repeats);
        sp_cli_hint("--no-loop-guard lets it go on; --repetition-penalty 1.1 may help");
    } else if (!run->args->json && !run->args->ids && reasoning && reasoning[0] && !(content && content[0])) {
        sp_cli_say("the reply ended (%s) before its reasoning did: there is no answer",
                   sp_finish_name(run->record.finish));
        sp_cli_hint("a larger -n, or --think N to limit the reasoning");
    }
}

static sp_status make_grammar(run_state *run, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    if (run->args->json_object) return sp_grammar_json_object(&run->grammar, err);
    if (!run->args->json_schema) return SP_OK;
    sp_status status = sp_cli_read(&text, run->args->json_schema, err);
    if (status == SP_OK)
        status = sp_grammar_json_schema(&run->grammar, text.data ? text.data : "", text.len, err);
    sp_buf_clear(&text);
    return status;
}

/* Room for the prompt and the reply. A huge -n means "no limit", not a cache of that size: then the context
 * is the one that the model was trained for, or a long one if that is short. */
static int32_t fit_context(const run_state *run, int64_t max_tokens)
{
    sp_model_info info;
    sp_model_get_info(run->model, &info);
    int64_t n_prompt = (int64_t)run->prompt.n, wanted = n_prompt + max_tokens + 64;
    int64_t most = info.n_ctx_train > LONG_CONTEXT ? info.n_ctx_train : LONG_CONTEXT;
    if (most < n_prompt + 64) most = n_prompt + 64;
    int64_t n_ctx = wanted < most ? wanted : most;
    return n_ctx <= 1 << 28 ? (int32_t)n_ctx : 0;
}

static sp_status run_all(run_state *run, const char *operand, sp_error *err)
{
    sp_session_options session_options;
    const run_args *args = run->args;
    SP_TRY(sp_cli_generate_options(&run->options, &run->bias, run->model, &args->sampling, err));
    run->options.sampler.n_logprobs = (int32_t)args->n_logprobs;
    SP_TRY(make_grammar(run, err));
    run->options.grammar = run->grammar;
    SP_TRY(make_prompt(run, operand, err));
    sp_cli_session_options(&session_options, &args->session);
    if (session_options.n_ctx == 0 && args->sampling.max_tokens >= 0)
        session_options.n_ctx = fit_context(run, args->sampling.max_tokens);
    SP_TRY(sp_cli_begin_experts(run->model, &args->session, &session_options, 1, err));
    SP_TRY(sp_session_create(&run->session, run->model, &session_options, err));
    SP_TRY(sp_generator_create(&run->generator, run->session, run->prompt.ids, run->prompt.n, &run->options,
                               err));
    SP_TRY(produce(run, err));
    if (args->json)
        SP_TRY(sp_run_record_print(&run->record, sp_generator_reply(run->generator), run->prompt.n,
                                   run->options.sampler.seed, err));
    note_finish(run);
    return SP_OK;
}

static int check_usage(const run_args *args, int n_operands)
{
    if ((args->tokens.n > 0) == (n_operands > 1))
        return sp_cli_usage(&sp_command_run, "expected either a PROMPT (\"-\": standard input) or --tokens");
    if (args->special && !args->raw) return sp_cli_usage(&sp_command_run, "--special goes with --raw only");
    if (args->raw && args->system) return sp_cli_usage(&sp_command_run, "--raw goes without --system");
    if (args->json_schema && args->json_object)
        return sp_cli_usage(&sp_command_run, "--json-schema and --json-object exclude each other");
    if (args->n_logprobs > 0 && !args->json)
        return sp_cli_usage(&sp_command_run, "--logprobs goes with --json only");
    return SP_EXIT_GOOD;
}

static int run_run(const void *options, char *const *operands, int n_operands)
{
    sp_error err = SP_ERROR_NONE;
    run_state run;
    memset(&run, 0, sizeof run);
    run.args = options;
    int code = check_usage(run.args, n_operands);
    if (code != SP_EXIT_GOOD) return code;
    if (!sp_cli_open_model(&run.model, operands[0], &run.args->session)) return SP_EXIT_FAILED;
    run.tokenizer = sp_model_tokenizer(run.model);
    bool show = run.args->show_thinking || sp_term_is_tty(STDOUT_FILENO);
    sp_view_init(&run.view, run.args->hide_thinking || !show ? SP_VIEW_HIDE : SP_VIEW_STREAM);
    sp_status status = run_all(&run, n_operands > 1 ? operands[1] : "", &err);
    if (status != SP_OK) {
        sp_cli_fail(&err, NULL);
        code = status == SP_E_ARGUMENT ? SP_EXIT_USAGE : SP_EXIT_FAILED;
    }
    sp_generator_destroy(run.generator);
    sp_grammar_destroy(run.grammar);
    sp_session_destroy(run.session);
    sp_run_record_clear(&run.record);
    sp_tokens_clear(&run.prompt);
    sp_free(run.bias);
    code = sp_cli_end_experts(run.model, &run.args->session, code);
    sp_model_close(run.model);
    return code;
}

const sp_command sp_command_run = {
    "run",
    "MODEL [PROMPT]",
    "one answer on standard output",
    "PROMPT \"-\" is standard input. The answer goes to standard output. Reasoning is shown, dimmed, on a\n"
    "terminal; elsewhere only with --show-thinking, between <think> and </think>.\n"
    "Temperature and top-p are those published with the model unless given.",
    run_table,
    sizeof run_table / sizeof run_table[0],
    &run_defaults,
    sizeof run_defaults,
    1,
    2,
    run_run,
};
