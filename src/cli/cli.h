/* SPDX-License-Identifier: MIT */
/* What the commands share: the table of commands, messages, the shared options, and opening a model for work.
 * Messages go to standard error as "sputnik: text" and, where there is one, "hint: text". */
#ifndef SP_CLI_CLI_H
#define SP_CLI_CLI_H

#include "base/clock.h"
#include "cli/args.h"

#include <sputnik/sputnik.h>

#include <math.h>
#include <stdio.h>

enum { SP_EXIT_GOOD = 0, SP_EXIT_FAILED = 1, SP_EXIT_USAGE = 2 };

/* One per command file. */
extern const sp_command sp_command_bench;
extern const sp_command sp_command_chat;
extern const sp_command sp_command_convert;
extern const sp_command sp_command_data;
extern const sp_command sp_command_eval;
extern const sp_command sp_command_inspect;
extern const sp_command sp_command_keys;
extern const sp_command sp_command_logits;
extern const sp_command sp_command_perplexity;
extern const sp_command sp_command_pull;
extern const sp_command sp_command_run;
extern const sp_command sp_command_serve;
extern const sp_command sp_command_synth;
extern const sp_command sp_command_tokenize;
extern const sp_command sp_command_train;
extern const sp_command sp_command_usage;

/* All commands, in the order of the help; ends with NULL. */
extern const sp_command *const sp_commands[];

void sp_help_print(const sp_command *command, FILE *out);

/* Print "sputnik: ..." and return SP_EXIT_FAILED, or SP_EXIT_USAGE (with a pointer to the help of `command`).
 */
int sp_cli_fail(const sp_error *err, const char *hint);
int sp_cli_say(const char *fmt, ...) SP_PRINTF(1, 2);
int sp_cli_usage(const sp_command *command, const char *fmt, ...) SP_PRINTF(2, 3);
void sp_cli_hint(const char *fmt, ...) SP_PRINTF(1, 2);

/* Flush standard output: SP_EXIT_GOOD, or SP_EXIT_FAILED with a message if something could not be written. */
int sp_cli_flush(void);

/* All of standard input, or of a file ("-": standard input). */
sp_status sp_cli_read(sp_buf *buf, const char *path, sp_error *err);

/* Ids separated by white space, commas or brackets. Errors: SP_E_FORMAT with the word and its offset. */
sp_status sp_cli_parse_ids(sp_tokens *tokens, const char *text, size_t len, sp_error *err);

/* ---- options shared by commands that evaluate a model -------------------------------------------------- */

typedef struct sp_session_args {
    int64_t n_threads;
    int64_t n_ctx;
    int64_t n_batch;
    const char *cache_type;
    const char *ram, *reader, *expert_trace; /* see cli/experts.h */
    int no_hot_set;
    const char *numa; /* who gets memory on machines with several memory nodes; decision 19 */
    int no_mmap;
} sp_session_args;

/* Commands that measure a model keep its cache in full precision; those that talk take half of it, as the field
 * does. */
#define SP_SESSION_ARGS_WITH(cache_type)                                                                     \
    {                                                                                                        \
        0, 0, 0, cache_type, NULL, "auto", NULL, 0, "auto", 0                                                \
    }
#define SP_SESSION_ARGS_DEFAULTS SP_SESSION_ARGS_WITH("f32")
#define SP_SESSION_ARGS_TALK SP_SESSION_ARGS_WITH("f16")

/* A number's digits, for help texts. */
#define SP_DIGITS_OF(number) #number
#define SP_DIGITS(number) SP_DIGITS_OF(number)

#define SP_THREADS_ROW(type, member)                                                                         \
    SP_INT_ROW(type, member, "threads", 't', 0, 256, "threads (0: one per processor)")
#define SP_BATCH_ROW(type, member)                                                                           \
    SP_INT_ROW(type, member, "batch", 0, 0, 65536,                                                           \
               "tokens evaluated at once (0: " SP_DIGITS(SP_SESSION_BATCH_DEFAULT) ")")
#define SP_CACHE_ROW(type, member)                                                                           \
    SP_CHOICE_ROW(type, member, "cache-type", 0, "f32|f16|bf16|q8_0", "storage of the key-value cache")
#define SP_CONTEXT_ROW(type, member)                                                                         \
    SP_INT_ROW(type, member, "context", 'c', 0, 16777216,                                                    \
               "most tokens held (0: as trained, at most " SP_DIGITS(SP_SESSION_CONTEXT_DEFAULT) ")")
#define SP_JSON_ROW(type, member) SP_FLAG_ROW(type, member, "json", 0, "write JSON")

/* Models larger than memory. */
#define SP_EXPERT_ROWS(type, member)                                                                         \
    SP_STRING_ROW(type, member.ram, "ram", 0, "SIZE",                                                        \
                  "leave routed experts on disk and take at most this much memory, e.g. 16G"),               \
        SP_CHOICE_ROW(type, member.reader, "reader", 0, "auto|io_uring|pread",                               \
                      "with --ram: how experts are read"),                                                   \
        SP_FLAG_ROW(type, member.no_hot_set, "no-hot-set", 0,                                                \
                    "with --ram: neither read nor write what was learned, MODEL.hot"),                       \
        SP_STRING_ROW(type, member.expert_trace, "expert-trace", 0, "FILE",                                  \
                      "with --ram: write which experts were used")

/* How weights come into memory, and where. */
#define SP_MEMORY_ROWS(type, member)                                                                         \
    SP_FLAG_ROW(type, member.no_mmap, "no-mmap", 0,                                                          \
                "copy the weights into huge pages instead of mapping the file"),                             \
        SP_CHOICE_ROW(type, member.numa, "numa", 0, "auto|distribute|isolate|off",                           \
                      "several memory nodes: use all alike, or the one where it starts")

#define SP_SESSION_ROWS(type, member)                                                                        \
    SP_THREADS_ROW(type, member.n_threads), SP_CONTEXT_ROW(type, member.n_ctx),                              \
        SP_BATCH_ROW(type, member.n_batch), SP_CACHE_ROW(type, member.cache_type),                           \
        SP_EXPERT_ROWS(type, member), SP_MEMORY_ROWS(type, member)

#define SP_DRAFT_ROWS(type, speculate, n_draft)                                                              \
    SP_CHOICE_ROW(type, speculate, "speculate", 0, "auto|off|mtp|lookup",                                    \
                  "who guesses tokens ahead; changes the speed alone"),                                      \
        SP_INT_ROW(type, n_draft, "draft", 0, 0, SP_SESSION_DRAFTS_MAX,                                      \
                   "most tokens guessed at once (0: " SP_DIGITS(SP_DRAFTS_DEFAULT) ")")

/* Settings of the sampler and of the rules that end a reply; NAN and -2 mean that the user said nothing. */
typedef struct sp_sampling_args {
    int64_t seed; /* -1: from the clock */
    double temperature, top_p, min_p;
    int64_t top_k;
    double repetition_penalty, frequency_penalty, presence_penalty;
    int64_t max_tokens;
    const char *think;
    int no_loop_guard;
    sp_str_list stop;
    sp_str_list logit_bias;
    const char *speculate;
    int64_t n_draft;
} sp_sampling_args;

#define SP_SAMPLING_ARGS_DEFAULTS                                                                            \
    {                                                                                                        \
        -1, (double)NAN, (double)NAN, 0, 0, 1, 0, 0, -1, NULL, 0, {NULL, 0}, {NULL, 0}, "auto", 0            \
    }

#define SP_SETTING_ROWS(type, member)                                                                        \
    SP_INT_ROW(type, member.max_tokens, "max-tokens", 'n', -1, 16777216,                                     \
               "most tokens of a reply (-1: no limit)"),                                                     \
        SP_INT_ROW(type, member.seed, "seed", 0, -1, 9.2e18, "seed of the draws (-1: a new one each time)"), \
        SP_FLOAT_ROW(type, member.temperature, "temp", 0, 0, 100,                                            \
                     "temperature (0: always the likeliest token)"),                                         \
        SP_FLOAT_ROW(type, member.top_p, "top-p", 0, 0, 1, "keep the likeliest tokens with this much mass"), \
        SP_INT_ROW(type, member.top_k, "top-k", 0, 0, 16777216, "keep the N likeliest tokens (0: all)"),     \
        SP_FLOAT_ROW(type, member.min_p, "min-p", 0, 0, 1,                                                   \
                     "keep tokens with this share of the likeliest one's probability"),                      \
        SP_FLOAT_ROW(type, member.repetition_penalty, "repetition-penalty", 0, 0.01, 100,                    \
                     "above 1: seen tokens become less likely"),                                             \
        SP_FLOAT_ROW(type, member.frequency_penalty, "frequency-penalty", 0, -100, 100,                      \
                     "taken off a logit per occurrence"),                                                    \
        SP_FLOAT_ROW(type, member.presence_penalty, "presence-penalty", 0, -100, 100,                        \
                     "taken off a logit once seen"),                                                         \
        SP_STRING_ROW(type, member.think, "think", 0, "off|auto|N",                                          \
                      "reasoning: none, as trained, or at most N tokens")

/* All of them; the lists are not changed by /set. */
#define SP_SAMPLING_ROWS(type, member)                                                                       \
    SP_SETTING_ROWS(type, member),                                                                           \
        SP_STRINGS_ROW(type, member.stop, "stop", 0, "TEXT",                                                 \
                       "end the reply before this text (may be repeated)"),                                  \
        SP_STRINGS_ROW(type, member.logit_bias, "logit-bias", 0, "ID=X",                                     \
                       "add X to a token's logit (may be repeated; -100 bans)"),                             \
        SP_FLAG_ROW(type, member.no_loop_guard, "no-loop-guard", 0, "let a reply repeat itself for ever"),   \
        SP_DRAFT_ROWS(type, member.speculate, member.n_draft)

/* ---- opening ------------------------------------------------------------------------------------------- */

/* MODEL argument to a path (free with sp_free): an existing file or directory, or a pulled model. Prints what
 * is wrong and returns NULL. */
char *sp_cli_locate(const char *model);

/* --numa, for this thread and those that start later. Only who asked for a mode by name hears that the system does not go
 * along. */
void sp_cli_place_memory(const char *mode);

/* Before the work whose result is to be written there: could sp_writer_open do it. */
sp_status sp_cli_check_output(const char *path, sp_error *err);

/* Locate and open; prints what is wrong and returns false. The first also does what
 * sp_cli_place_memory does, and sees whether --expert-trace can be written: `args` may be NULL, for defaults. */
bool sp_cli_open_model(sp_model **model, const char *name, const sp_session_args *args);
bool sp_cli_open_tokenizer(sp_tokenizer **tokenizer, const char *name);

/* Session options from the arguments (n_ctx as given). */
void sp_cli_session_options(sp_session_options *options, const sp_session_args *args);

/* Fill generate options: the user's settings, else those published with the model, else 0.6 / 0.95. The lists
 * point into `args`; *bias is allocated (sp_free it after use). SP_E_ARGUMENT for a malformed --think or
 * --logit-bias. */
sp_status sp_cli_generate_options(sp_generate_options *options, sp_logit_bias **bias, const sp_model *model,
                                  const sp_sampling_args *args, sp_error *err);

/* A word of the choice "speculate". */
sp_speculate sp_cli_speculate(const char *word);

/* "off", "auto" or a number of tokens to the two settings. SP_E_ARGUMENT otherwise. */
sp_status sp_cli_parse_think(const char *text, sp_generate_options *options, sp_error *err);

/* Bytes for people: "1.1 GiB". */
const char *sp_cli_size(char buf[32], double n_bytes);

/* "231 thousand", "1.78 billion" in buf; returns buf. */
const char *sp_cli_count(char buf[32], double n);

/* Append a number as JSON: null for NaN and infinities. */
sp_status sp_cli_put_number(sp_buf *buf, double value, sp_error *err);
sp_status sp_cli_put_text(sp_buf *buf, const char *text, sp_error *err);

#endif
