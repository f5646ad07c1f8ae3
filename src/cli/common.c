/* SPDX-License-Identifier: MIT */
/* Messages, reading input, and turning shared options into the library's structs. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/json.h"
#include "base/place.h"
#include "model/model_parts.h"

int sp_cli_fail(const sp_error *err, const char *hint)
{
    fflush(stdout);
    fprintf(stderr, "sputnik: %s\n", err->text[0] ? err->text : sp_status_message(err->code));
    if (hint) sp_cli_hint("%s", hint);
    return SP_EXIT_FAILED;
}

int sp_cli_say(const char *fmt, ...)
{
    va_list args;
    fflush(stdout);
    fputs("sputnik: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return SP_EXIT_FAILED;
}

int sp_cli_usage(const sp_command *command, const char *fmt, ...)
{
    va_list args;
    fflush(stdout);
    fprintf(stderr, "sputnik: %s: ", command->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    sp_cli_hint("sputnik help %s", command->name);
    return SP_EXIT_USAGE;
}

void sp_cli_hint(const char *fmt, ...)
{
    va_list args;
    fputs("hint: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

int sp_cli_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return SP_EXIT_GOOD;
    fprintf(stderr, "sputnik: standard output: %s\n", strerror(errno));
    return SP_EXIT_FAILED;
}

#define MAX_INPUT_BYTES ((size_t)1 << 32)

sp_status sp_cli_read(sp_buf *buf, const char *path, sp_error *err)
{
    if (strcmp(path, "-") != 0) return sp_file_read(buf, path, MAX_INPUT_BYTES, err);
    char chunk[65536];
    for (;;) {
        size_t n = fread(chunk, 1, sizeof chunk, stdin);
        if (n == 0) break;
        if (buf->len + n > MAX_INPUT_BYTES)
            return sp_fail(err, SP_E_LIMIT, "standard input: more than 4 GiB");
        SP_TRY(sp_buf_append(buf, chunk, n, err));
    }
    if (ferror(stdin)) return sp_fail(err, SP_E_IO, "standard input: %s", strerror(errno));
    return SP_OK;
}

sp_status sp_cli_parse_ids(sp_tokens *tokens, const char *text, size_t len, sp_error *err)
{
    static const char between[] = " \t\r\n\v\f,[]";
    for (size_t i = 0; i < len;) {
        if (memchr(between, text[i], sizeof between - 1)) {
            i++;
            continue;
        }
        size_t n = 0;
        while (i + n < len && !memchr(between, text[i + n], sizeof between - 1)) n++;
        char word[32];
        int64_t id = -1;
        bool good = n < sizeof word;
        if (good) {
            memcpy(word, text + i, n);
            word[n] = '\0';
            good = strlen(word) == n && sp_parse_int(word, &id) && id >= 0 && id <= INT32_MAX;
        }
        if (!good)
            return sp_fail_at(err, SP_E_FORMAT, (int64_t)i,
                              "token ids: found \"%.*s\", expected whole numbers from 0",
                              n > 40 ? 40 : (int)n, text + i);
        SP_TRY(sp_tokens_push(tokens, (int32_t)id, err));
        i += n;
    }
    return SP_OK;
}

void sp_cli_place_memory(const char *mode)
{
    sp_place place;
    if (strcmp(mode, "off") == 0) return;
    sp_place_read(&place);
    bool isolate = strcmp(mode, "isolate") == 0;
    sp_place_outcome outcome = isolate ? sp_place_isolate(&place) : sp_place_interleave(&place);
    if (strcmp(mode, "auto") == 0) return;
    if (outcome == SP_PLACE_REFUSED)
        sp_cli_say("option --numa %s: %s; going on without", mode, strerror(errno));
    if (outcome == SP_PLACE_KEPT)
        sp_cli_say("option --numa %s: the memory policy that the process was started with stays", mode);
}

/* Weights that were in the system's cache stay where their first reader was: said to who asks for several nodes. */
static void check_spread(const sp_model *model)
{
    enum { N_SAMPLES = 256 };
    const sp_archive *archive = sp_model_archive(model);
    const void *samples[N_SAMPLES];
    int n_on[SP_PLACE_MAX_NODES], n = 0;
    size_t count = sp_archive_count(archive);
    sp_place place;
    sp_place_read(&place);
    for (size_t i = 0; place.n_nodes > 1 && i < N_SAMPLES; i++) {
        const sp_entry *e = sp_archive_at(archive, i * count / N_SAMPLES);
        if (e && e->tensor.data) samples[n++] = (const char *)e->tensor.data + e->n_bytes / N_SAMPLES * i;
    }
    int n_found = n > 0 ? sp_place_find(&place, samples, n, n_on) : 0;
    for (int k = 0; k < place.n_nodes && 2 * n_found > n; k++) {
        if (4 * n_on[k] < 3 * n_found) continue;
        sp_cli_say("option --numa distribute: %d %% of the file's cached pages are on node %d",
                   100 * n_on[k] / n_found, place.nodes[k]);
        sp_cli_hint("--no-mmap spreads a copy");
    }
}

sp_status sp_cli_check_output(const char *path, sp_error *err)
{
    sp_writer *writer; /* what is written appears by a rename: closed at once, it leaves no trace */
    SP_TRY(sp_writer_open(&writer, path, err));
    sp_writer_close(writer);
    return SP_OK;
}

bool sp_cli_open_model(sp_model **model, const char *name, const sp_session_args *args)
{
    static const sp_session_args defaults = SP_SESSION_ARGS_DEFAULTS;
    sp_error err = SP_ERROR_NONE;
    sp_model_options options = SP_MODEL_OPTIONS_DEFAULTS;
    if (!args) args = &defaults;
    if (args->no_mmap && args->ram) {
        sp_cli_say("option --no-mmap: not with --ram, which copies what every token needs by itself");
        return false;
    }
    if (args->ram && args->expert_trace && sp_cli_check_output(args->expert_trace, &err) != SP_OK) {
        sp_cli_fail(&err, NULL);
        return false;
    }
    char *path = sp_cli_locate(name);
    if (!path) return false;
    sp_cli_place_memory(args->numa);
    if (args->no_mmap) options.load = SP_LOAD_COPY;
    options.n_threads = (int32_t)args->n_threads;
    sp_status status = sp_model_open_with(model, path, &options, &err);
    sp_free(path);
    if (status != SP_OK)
        sp_cli_fail(&err, status == SP_E_FORMAT ? "\"sputnik inspect\" shows what the file holds" : NULL);
    else if (strcmp(args->numa, "distribute") == 0 && !args->no_mmap && !args->ram)
        check_spread(*model);
    return status == SP_OK;
}

bool sp_cli_open_tokenizer(sp_tokenizer **tokenizer, const char *name)
{
    sp_error err = SP_ERROR_NONE;
    char *path = sp_cli_locate(name);
    if (!path) return false;
    sp_status status = sp_tokenizer_open(tokenizer, path, &err);
    sp_free(path);
    if (status != SP_OK) sp_cli_fail(&err, NULL);
    return status == SP_OK;
}

void sp_cli_session_options(sp_session_options *options, const sp_session_args *args)
{
    sp_session_options defaults = SP_SESSION_OPTIONS_DEFAULTS;
    *options = defaults;
    options->n_threads = (int32_t)args->n_threads;
    options->n_ctx = (int32_t)args->n_ctx;
    options->n_batch = (int32_t)args->n_batch;
    if (strcmp(args->cache_type, "f16") == 0) options->cache_type = SP_CACHE_F16;
    if (strcmp(args->cache_type, "bf16") == 0) options->cache_type = SP_CACHE_BF16;
    if (strcmp(args->cache_type, "q8_0") == 0) options->cache_type = SP_CACHE_Q8_0;
}

sp_speculate sp_cli_speculate(const char *word)
{
    return strcmp(word, "off") == 0      ? SP_SPECULATE_OFF
           : strcmp(word, "mtp") == 0    ? SP_SPECULATE_MTP
           : strcmp(word, "lookup") == 0 ? SP_SPECULATE_LOOKUP
                                         : SP_SPECULATE_AUTO;
}

sp_status sp_cli_parse_think(const char *text, sp_generate_options *options, sp_error *err)
{
    int64_t budget = -1;
    options->chat.think = SP_THINK_AUTO;
    options->think_budget = -1;
    if (!text || strcmp(text, "auto") == 0) return SP_OK;
    if (strcmp(text, "off") == 0) {
        options->chat.think = SP_THINK_OFF;
        return SP_OK;
    }
    options->chat.think = SP_THINK_ON;
    if (strcmp(text, "on") == 0) return SP_OK;
    if (!sp_parse_int(text, &budget) || budget < 0 || budget > 16777216)
        return sp_fail(err, SP_E_ARGUMENT,
                       "thinking: found \"%.40s\", expected off, auto or a number of tokens", text);
    options->think_budget = budget;
    return SP_OK;
}

static sp_status parse_bias(sp_logit_bias *bias, const char *text, sp_error *err)
{
    char id_text[16];
    int64_t id = -1;
    double value = 0;
    size_t n = strcspn(text, "=");
    if (n < sizeof id_text && text[n] == '=') {
        memcpy(id_text, text, n);
        id_text[n] = '\0';
        if (sp_parse_int(id_text, &id) && id >= 0 && id <= INT32_MAX &&
            sp_parse_float(text + n + 1, &value)) {
            bias->id = (int32_t)id;
            bias->bias = (float)value;
            return SP_OK;
        }
    }
    return sp_fail(err, SP_E_ARGUMENT,
                   "option --logit-bias: found \"%.60s\", expected ID=X, a token id and a number", text);
}

/* --logit-bias; *bias is the caller's to free, too. */
static sp_status read_biases(sp_sampler_options *sampler, sp_logit_bias **bias, const sp_model *model,
                             const sp_str_list *texts, sp_error *err)
{
    sp_model_info info;
    sp_model_get_info(model, &info);
    int32_t n_ids = info.vocab_size; /* the head's rows: those that pad it are no ids */
    if (sampler->n_valid > 0 && sampler->n_valid < n_ids) n_ids = sampler->n_valid;
    *bias = sp_malloc_array(texts->n, sizeof **bias);
    if (!*bias) return sp_fail_nomem(err, "logit bias", texts->n * sizeof **bias);
    for (size_t i = 0; i < texts->n; i++) {
        SP_TRY(parse_bias(&(*bias)[i], texts->items[i], err));
        if ((*bias)[i].id < n_ids) continue;
        return sp_fail(err, SP_E_ARGUMENT, "option --logit-bias: found token %d, but the vocabulary has %d",
                       (int)(*bias)[i].id, (int)n_ids);
    }
    sampler->logit_bias = *bias;
    sampler->n_logit_bias = texts->n;
    return SP_OK;
}

sp_status sp_cli_generate_options(sp_generate_options *options, sp_logit_bias **bias, const sp_model *model,
                                  const sp_sampling_args *args, sp_error *err)
{
    sp_generate_options defaults = SP_GENERATE_OPTIONS_DEFAULTS;
    *options = defaults;
    *bias = NULL;
    sp_sampler_options *sampler = &options->sampler;
    float temperature = -1, top_p = -1;
    sp_model_recommended(model, &temperature, &top_p);
    if (temperature >= 0) sampler->temperature = temperature;
    if (top_p > 0) sampler->top_p = top_p;
    if (!isnan(args->temperature)) sampler->temperature = (float)args->temperature;
    if (!isnan(args->top_p)) sampler->top_p = (float)args->top_p;
    sampler->min_p = (float)args->min_p;
    sampler->top_k = (int32_t)args->top_k;
    sampler->repetition_penalty = (float)args->repetition_penalty;
    sampler->frequency_penalty = (float)args->frequency_penalty;
    sampler->presence_penalty = (float)args->presence_penalty;
    sampler->seed = (uint64_t)args->seed;
    if (args->seed < 0) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        sampler->seed = (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec;
        sampler->seed &= ((uint64_t)1 << 53) - 1; /* readers of --json keep numbers as doubles */
    }
    const sp_tokenizer *tokenizer = sp_model_tokenizer(model);
    if (tokenizer) sampler->n_valid = sp_tokenizer_size(tokenizer);
    options->max_tokens = args->max_tokens;
    options->stop = args->stop.items;
    options->n_stop = args->stop.n;
    options->loop_guard = !args->no_loop_guard;
    options->speculate = sp_cli_speculate(args->speculate);
    options->n_draft = (int32_t)args->n_draft;
    SP_TRY(sp_cli_parse_think(args->think, options, err));
    return args->logit_bias.n ? read_biases(sampler, bias, model, &args->logit_bias, err) : SP_OK;
}

const char *sp_cli_count(char buf[32], double n)
{
    static const char *const words[] = {"", " thousand", " million", " billion"};
    int scale = 0;
    for (; n >= 999.5 && scale < 3; scale++) n /= 1000;
    snprintf(buf, 32, "%.3g%s", n, words[scale]);
    return buf;
}

const char *sp_cli_size(char buf[32], double n_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int i = 0;
    while (n_bytes >= 1024 && i < 4) {
        n_bytes /= 1024;
        i++;
    }
    snprintf(buf, 32, i == 0 ? "%.0f %s" : "%.1f %s", n_bytes, units[i]);
    return buf;
}

sp_status sp_cli_put_number(sp_buf *buf, double value, sp_error *err)
{
    if (!isfinite(value)) return sp_buf_puts(buf, "null", err);
    return sp_buf_printf(buf, err, "%.9g", value);
}

sp_status sp_cli_put_text(sp_buf *buf, const char *text, sp_error *err)
{
    if (!text) return sp_buf_puts(buf, "null", err);
    return sp_json_put_string(buf, text, strlen(text), err);
}
