/* SPDX-License-Identifier: MIT */
/* `sputnik data`: generated exercises, raw text to a tokenizer and to token shards, and what a step of training would read. Each action
 * takes the options that its row in `uses` names; others are refused. */
#include "cli/cli.h"

#include <string.h>

#include "base/json.h"
#include "base/pool.h"
#include "train/loader.h"
#include "data/pack.h"
#include "data/task.h"
#include "data/tokenizer_write.h"
#include "text/pretoken.h"
#include "text/tokenizer.h"

#define PRE_DEFAULT "deepseek-v3"

typedef struct data_args {
    int64_t n_threads, vocab_size, min_count, seed, seq, batch, step, ranks, rank;
    const char *pre, *chat_template, *tokenizer, *chat_format, *separator;
    double fim_rate;
    int64_t count;
    const char *task, *split;
    int no_special, shuffle, whole, even, json;
    sp_str_list special;
} data_args;

/* -1 and NULL: the user said nothing */
static const data_args data_defaults = {.n_threads = -1,
                                        .vocab_size = -1,
                                        .min_count = -1,
                                        .seed = -1,
                                        .seq = -1,
                                        .batch = -1,
                                        .step = -1,
                                        .ranks = -1,
                                        .rank = -1,
                                        .count = -1,
                                        .fim_rate = -1};

static const sp_arg data_table[] = {
    SP_INT_ROW(data_args, vocab_size, "vocab-size", 0, 256, SP_BPE_TOKENS_MAX,
               "tokenizer: number of ids (8192)"),
    SP_CHOICE_ROW(data_args, pre, "pre", 0, "deepseek-v3|deepseek-llm|deepseek-coder|qwen2|llama-bpe|gpt-2",
                  "tokenizer: pre-tokenizer (" PRE_DEFAULT ")"),
    SP_STRINGS_ROW(
        data_args, special, "special", 0, "TEXT",
        "tokenizer: special tokens instead of DeepSeek-V3's (begin, end, others; may be repeated)"),
    SP_FLAG_ROW(data_args, no_special, "no-special", 0, "tokenizer: no special tokens"),
    SP_INT_ROW(data_args, min_count, "min-count", 0, 1, 1e15, "tokenizer: leave rarer pairs alone (2)"),
    SP_STRING_ROW(data_args, chat_template, "chat-template", 0, "FILE",
                  "tokenizer: Jinja template to put beside it"),
    SP_STRING_ROW(data_args, tokenizer, "tokenizer", 0, "MODEL", "pack: model or folder with the vocabulary"),
    SP_CHOICE_ROW(data_args, chat_format, "chat-format", 0, "llm|coder|v2.5|r1|r1-0528|v3.1|qwen|qwen3",
                  "pack: conversation format (as detected)"),
    SP_FLOAT_ROW(data_args, fim_rate, "fim-rate", 0, 0, 1,
                 "pack: share of texts turned to fill-in-the-middle (0)"),
    SP_FLAG_ROW(data_args, shuffle, "shuffle", 0, "pack: documents in an order drawn from the seed"),
    SP_STRING_ROW(data_args, separator, "separator", 0, "TEXT",
                  "tokenizer, pack: cuts text files into documents"),
    SP_INT_ROW(data_args, seed, "seed", 0, 0, 9.2e18, "pack, show, generate: seed of all that is drawn (0)"),
    SP_INT_ROW(data_args, step, "step", 0, 0, 1e15, "show: the step (0)"),
    SP_INT_ROW(data_args, seq, "seq", 0, 1, 16777216, "show: tokens of a sequence (1024)"),
    SP_INT_ROW(data_args, batch, "batch", 0, 1, 16777216, "show: sequences of a step, on all ranks (8)"),
    SP_INT_ROW(data_args, ranks, "ranks", 0, 1, 16777216, "show: number of ranks (1)"),
    SP_INT_ROW(data_args, rank, "rank", 0, 0, 16777215, "show: only this rank's part"),
    SP_FLAG_ROW(data_args, whole, "whole", 0, "show: sequences of whole documents instead of one stream"),
    SP_STRING_ROW(data_args, task, "task", 0, "NAME[:KIND][,...]", "generate: which tasks (all)"),
    SP_INT_ROW(data_args, count, "count", 0, 0, 1e12, "generate: number of lines (1000)"),
    SP_CHOICE_ROW(data_args, split, "split", 0, "train|test", "generate: which side of the split (train)"),
    SP_FLAG_ROW(data_args, even, "even", 0, "generate: as many lines of each task, not by weight"),
    SP_INT_ROW(data_args, n_threads, "threads", 't', 0, 256,
               "tokenizer, pack: threads (0: one per processor)"),
    SP_JSON_ROW(data_args, json),
};

static int64_t or_else(int64_t value, int64_t otherwise)
{
    return value < 0 ? otherwise : value;
}

/* The first option given that `action` does not take, NULL if all fit. Each option's help starts with its actions. */
static const char *find_stranger(const data_args *args, const char *action)
{
    for (size_t i = 0; i < sizeof data_table / sizeof *data_table; i++) {
        const sp_arg *arg = &data_table[i];
        const char *colon = strchr(arg->help, ':'), *word = strstr(arg->help, action);
        size_t size = arg->type == SP_ARG_FLAG      ? sizeof(int)
                      : arg->type == SP_ARG_STRINGS ? sizeof(sp_str_list)
                                                    : 8;
        if (!colon || (word && word < colon)) continue;
        if (memcmp((const char *)args + arg->offset, (const char *)&data_defaults + arg->offset, size) != 0)
            return arg->name;
    }
    return NULL;
}

/* --- tokenizer --- */

/* What would fail after the counting else. */
static sp_status prepare_folder(const char *dir, sp_error *err)
{
    SP_TRY(sp_dir_create(dir, err));
    char *path = sp_path_join(dir, "tokenizer.json");
    sp_status status = path ? sp_cli_check_output(path, err) : sp_fail_nomem(err, "path", strlen(dir));
    sp_free(path);
    return status;
}

static sp_status save_tokenizer(const char *dir, const sp_bpe_vocab *vocab, const data_args *args,
                                const char *chat_template, sp_error *err)
{
    size_t n = args->special.n;
    bool own = !n && !args->no_special;
    sp_tokenizer_style style = {args->pre ? args->pre : PRE_DEFAULT,
                                own     ? sp_v3_specials[0]
                                : n > 1 ? args->special.items[0]
                                        : NULL,
                                own ? sp_v3_specials[1]
                                : n ? args->special.items[n > 1]
                                    : NULL,
                                own ? sp_v3_specials[2] : NULL, chat_template};
    return sp_tokenizer_save(dir, vocab, &style, err);
}

static sp_status train_tokenizer(const data_args *args, char *const *paths, size_t n_paths, sp_pool *pool,
                                 sp_error *err)
{
    sp_corpus *corpus = NULL;
    sp_word_table words = {.n = 0};
    sp_bpe_vocab vocab = {.n_tokens = 0};
    sp_buf chat = {NULL, 0, 0};
    bool own = !args->special.n && !args->no_special;
    const char *const *specials = own ? sp_v3_specials : args->special.items;
    size_t n_specials = own ? sp_v3_specials_count : args->special.n;
    sp_count_options count = {args->pre ? args->pre : PRE_DEFAULT, specials, n_specials, pool};
    sp_bpe_train_options options = {(int32_t)or_else(args->vocab_size, 8192),
                                    (uint64_t)or_else(args->min_count, 2), specials, n_specials};
    double start = sp_seconds();
    sp_status status;
    SP_GOTO(done, status,
            sp_corpus_open(&corpus, (const char *const *)(paths + 1), n_paths - 1, args->separator, err));
    if (args->chat_template) SP_GOTO(done, status, sp_file_read(&chat, args->chat_template, 1 << 20, err));
    SP_GOTO(done, status, prepare_folder(paths[0], err));
    SP_GOTO(done, status, sp_word_table_count(&words, corpus, &count, err));
    double counted = sp_seconds();
    SP_GOTO(done, status, sp_bpe_train(&vocab, &words, &options, err));
    SP_GOTO(done, status, save_tokenizer(paths[0], &vocab, args, chat.data, err));
    double end = sp_seconds();
    if (args->json)
        printf("{\"n_tokens\": %d, \"n_merges\": %zu, \"n_words\": %zu, \"n_bytes\": %llu, \"count_s\": "
               "%.3f, \"merge_s\": "
               "%.3f}\n",
               (int)vocab.n_tokens, vocab.n_merges, words.n, (unsigned long long)sp_corpus_bytes(corpus),
               counted - start, end - counted);
    else
        printf("%s: %d ids, %zu merges from %zu different words\n", paths[0], (int)vocab.n_tokens,
               vocab.n_merges, words.n);
    if (vocab.n_tokens < options.vocab_size)
        sp_cli_hint("the text has too few pairs for %d ids; more text or a lower --min-count gives more",
                    (int)options.vocab_size);
done:
    sp_buf_clear(&chat);
    sp_bpe_vocab_clear(&vocab);
    sp_word_table_clear(&words);
    sp_corpus_close(corpus);
    return status;
}

/* --- pack --- */

static sp_status pack_files(const data_args *args, char *const *paths, size_t n_paths, sp_pool *pool,
                            const sp_tokenizer *tokenizer, sp_error *err)
{
    sp_corpus *corpus = NULL;
    sp_shard_builder builder = {.vocab_size = (uint32_t)sp_tokenizer_size(tokenizer)};
    sp_pack_counts counts;
    sp_pack_options options = {
        tokenizer,     args->fim_rate < 0 ? 0 : args->fim_rate, (uint64_t)or_else(args->seed, 0),
        args->shuffle, sp_chat_format_detect(tokenizer),        pool};
    sp_status status;
    if (args->chat_format && !sp_chat_format_by_name(args->chat_format, &options.chat_format))
        return sp_fail(err, SP_E_ARGUMENT, "--chat-format \"%.40s\" is unknown", args->chat_format);
    sp_vocab_hash(builder.vocab_hash, tokenizer);
    SP_GOTO(done, status,
            sp_corpus_open(&corpus, (const char *const *)(paths + 1), n_paths - 1, args->separator, err));
    SP_GOTO(done, status, sp_cli_check_output(paths[0], err));
    SP_GOTO(done, status, sp_pack_corpus(&builder, corpus, &options, &counts, err));
    SP_GOTO(done, status, sp_shard_save(&builder, paths[0], err));
    printf(
        args->json
            ? "{\"n_tokens\": %llu, \"n_documents\": %llu, \"n_learnt\": %llu, \"texts\": %llu, \"filled\": "
              "%llu, \"conversations\": %llu, \"n_bytes\": %llu}\n"
            : "%llu tokens in %llu documents, %llu learnt; %llu texts (%llu fill-in-the-middle), %llu "
              "conversations; %llu bytes of input\n",
        (unsigned long long)builder.n_tokens, (unsigned long long)builder.n_documents,
        (unsigned long long)builder.n_learnt, (unsigned long long)counts.texts,
        (unsigned long long)counts.filled, (unsigned long long)counts.conversations,
        (unsigned long long)sp_corpus_bytes(corpus));
done:
    sp_shard_builder_clear(&builder);
    sp_corpus_close(corpus);
    return status;
}

/* --- show --- */

/* "PATH=WEIGHT" or "PATH"; *path is allocated. */
static sp_status read_source(sp_source *source, char **path, const char *text, sp_error *err)
{
    const char *equals = strrchr(text, '=');
    *source = (sp_source){NULL, 0};
    *path = equals && !sp_file_exists(text) ? sp_strndup(text, (size_t)(equals - text)) : sp_strdup(text);
    if (!*path) return sp_fail_nomem(err, "path", strlen(text));
    source->path = *path;
    if (equals && !sp_file_exists(text) &&
        (!sp_parse_float(equals + 1, &source->weight) || !(source->weight > 0)))
        return sp_fail(err, SP_E_ARGUMENT, "weight \"%.40s\": expected a number above 0", equals + 1);
    return SP_OK;
}

static void print_row(const data_args *args, const sp_loader *loader, char *const *paths, uint64_t row,
                      bool first)
{
    sp_row_place p;
    sp_loader_locate(loader, row, &p);
    printf(args->json
               ? "%s{\"row\": %llu, \"shard\": %u, \"epoch\": %llu, \"sequence\": %llu, \"tokens\": [%llu, "
                 "%llu], "
                 "\"documents\": [%llu, %llu]}"
               : "%srow %llu  shard %u  epoch %llu  sequence %llu  tokens %llu-%llu  documents %llu-%llu",
           args->json && !first ? ", " : "", (unsigned long long)row, (unsigned)p.source,
           (unsigned long long)p.epoch, (unsigned long long)p.sequence, (unsigned long long)p.begin,
           (unsigned long long)p.end - 1, (unsigned long long)p.first_document,
           (unsigned long long)p.last_document);
    if (!args->json) printf("  %s\n", sp_path_base(paths[p.source]));
}

static sp_status show_step(const data_args *args, const sp_loader *loader, char *const *paths, sp_error *err)
{
    uint64_t batch = (uint64_t)or_else(args->batch, 8), ranks = (uint64_t)or_else(args->ranks, 1);
    uint64_t rows = batch / ranks, step = (uint64_t)or_else(args->step, 0);
    if (batch % ranks || or_else(args->rank, 0) >= (int64_t)ranks)
        return sp_fail(err, SP_E_ARGUMENT, "rank %lld of %llu cannot share %llu sequences",
                       (long long)or_else(args->rank, 0), (unsigned long long)ranks,
                       (unsigned long long)batch);
    uint64_t first = step * batch + (args->rank < 0 ? 0 : (uint64_t)args->rank * rows);
    uint64_t n = args->rank < 0 ? batch : rows;
    if (args->json) printf("{\"step\": %llu, \"rows\": [", (unsigned long long)step);
    for (uint64_t i = 0; i < n; i++) print_row(args, loader, paths, first + i, i == 0);
    if (args->json) printf("]}\n");
    return SP_OK;
}

static sp_status show_shards(const data_args *args, char *const *operands, size_t n, sp_error *err)
{
    sp_loader_options options = {(uint32_t)or_else(args->seq, 1024), (uint32_t)or_else(args->batch, 8),
                                 (uint64_t)or_else(args->seed, 0), args->whole ? SP_CUT_WHOLE : SP_CUT_STREAM,
                                 0};
    sp_loader *loader = NULL;
    sp_source *sources = sp_calloc(n, sizeof *sources);
    char **paths = sp_calloc(n, sizeof *paths);
    sp_status status = sources && paths ? SP_OK : sp_fail_nomem(err, "sources", n);
    for (size_t i = 0; i < n && status == SP_OK; i++)
        status = read_source(&sources[i], &paths[i], operands[i], err);
    if (status == SP_OK) status = sp_loader_open(&loader, sources, n, &options, err);
    for (size_t i = 0; i < n && status == SP_OK && !args->json; i++) {
        const sp_shard *s = sp_loader_shard(loader, i);
        printf("shard %zu  %llu tokens  %llu documents  %llu sequences an epoch  vocabulary of %u%s\n", i,
               (unsigned long long)s->n_tokens, (unsigned long long)s->n_documents,
               (unsigned long long)sp_loader_sequences(loader, i), (unsigned)s->vocab_size,
               s->mask ? "  masked" : "");
    }
    if (status == SP_OK) status = show_step(args, loader, paths, err);
    sp_loader_close(loader);
    for (size_t i = 0; paths && i < n; i++) sp_free(paths[i]);
    sp_free(paths);
    sp_free(sources);
    return status;
}

/* --- generate --- */

static sp_status generate(const data_args *args, const char *path, sp_error *err)
{
    sp_task_split split = args->split && strcmp(args->split, "test") == 0 ? SP_TASK_TEST : SP_TASK_TRAIN;
    int64_t count = or_else(args->count, 1000);
    sp_task_mix mix;
    sp_task_item item;
    sp_buf line = {NULL, 0, 0};
    sp_writer *writer = NULL;
    sp_status status;
    SP_GOTO(done, status,
            sp_task_mix_init(&mix, args->task ? args->task : "all", (uint64_t)or_else(args->seed, 0), split,
                             err));
    if (args->even) sp_task_mix_even(&mix);
    SP_GOTO(done, status, sp_writer_open(&writer, path, err));
    for (int64_t i = 0; i < count; i++) {
        line.len = 0;
        SP_GOTO(done, status, sp_task_mix_next(&mix, &item, err));
        SP_GOTO(done, status, sp_task_item_write(&line, &item, err));
        SP_GOTO(done, status, sp_writer_write(writer, line.data, line.len, err));
    }
    uint64_t n_bytes = sp_writer_offset(writer);
    SP_GOTO(done, status, sp_writer_commit(writer, err));
    printf(args->json ? "{\"lines\": %lld, \"n_bytes\": %llu}\n" : "%lld lines, %llu bytes\n",
           (long long)count, (unsigned long long)n_bytes);
done:
    sp_writer_close(writer);
    sp_buf_clear(&line);
    return status;
}

enum { TOKENIZER, PACK, SHOW, GENERATE, N_ACTIONS };

static int run_data(const void *options, char *const *operands, int n_operands)
{
    static const char *const actions[] = {"tokenizer", "pack", "show", "generate"};
    const data_args *args = options;
    sp_error err = SP_ERROR_NONE;
    sp_tokenizer *tokenizer = NULL;
    sp_pool *pool = NULL;
    sp_status status;
    size_t action = 0, n = (size_t)n_operands - 1;
    while (action < N_ACTIONS && strcmp(operands[0], actions[action]) != 0) action++;
    if (action == N_ACTIONS)
        return sp_cli_usage(&sp_command_data, "\"%.40s\": expected tokenizer, pack, show or generate",
                            operands[0]);
    const char *stranger = find_stranger(args, actions[action]);
    if (stranger)
        return sp_cli_usage(&sp_command_data, "--%s does not go with %s", stranger, actions[action]);
    if (args->no_special && args->special.n)
        return sp_cli_usage(&sp_command_data, "--no-special goes without --special");
    if (n < (action >= SHOW ? 1u : 2u))
        return sp_cli_usage(&sp_command_data, "%s: a FILE is missing", actions[action]);
    if (action == GENERATE && n > 1) return sp_cli_usage(&sp_command_data, "generate writes one FILE");
    if (action == PACK && !args->tokenizer) return sp_cli_usage(&sp_command_data, "pack needs --tokenizer");
    if (action == PACK && !sp_cli_open_tokenizer(&tokenizer, args->tokenizer)) return SP_EXIT_FAILED;
    SP_GOTO(done, status, sp_pool_create(&pool, (int)or_else(args->n_threads, 0), &err));
    if (action == TOKENIZER)
        status = train_tokenizer(args, operands + 1, n, pool, &err);
    else if (action == PACK)
        status = pack_files(args, operands + 1, n, pool, tokenizer, &err);
    else if (action == SHOW)
        status = show_shards(args, operands + 1, n, &err);
    else
        status = generate(args, operands[1], &err);
done:
    sp_pool_destroy(pool);
    sp_tokenizer_close(tokenizer);
    return status == SP_OK ? SP_EXIT_GOOD : sp_cli_fail(&err, NULL);
}

const sp_command sp_command_data = {
    "data",
    "tokenizer|pack|show|generate FILE...",
    "text to tokenizers and token shards for training",
    "tokenizer DIR FILE...   train a byte-level BPE vocabulary, write tokenizer.json into DIR\n"
    "pack SHARD FILE...      encode text and JSONL ({\"text\"} or {\"messages\"}) into a token shard\n"
    "show SHARD[=WEIGHT]...  which documents a step of training reads\n"
    "generate JSONL          exercises with worked answers: arithmetic, sorting, spelling, Countdown, ...\n"
    "Files named .jsonl or .ndjson hold a document per line, others are text.",
    data_table,
    sizeof data_table / sizeof data_table[0],
    &data_defaults,
    sizeof data_defaults,
    1,
    4096,
    run_data,
};
