/* SPDX-License-Identifier: MIT */
/* --ram: sizes, the plan as text and JSON, the hot set's place. Start at sp_cli_begin_experts(). */
#include "cli/experts.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/term.h"
#include "model/model_parts.h"

sp_status sp_cli_parse_ram(const char *text, uint64_t *n_bytes, sp_error *err)
{
    static const struct {
        const char *unit;
        double size;
    } units[] = {{"", 1},         {"K", 0x1p10},   {"M", 0x1p20},   {"G", 0x1p30},  {"T", 0x1p40},
                 {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
    char number[32];
    double value = 0;
    size_t n = strspn(text, "0123456789.");
    for (size_t i = 0; n > 0 && n < sizeof number && i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(text + n, units[i].unit) != 0) continue;
        memcpy(number, text, n);
        number[n] = '\0';
        if (!sp_parse_float(number, &value) || value * units[i].size >= 0x1p62) break;
        *n_bytes = (uint64_t)(value * units[i].size);
        return SP_OK;
    }
    return sp_fail(err, SP_E_ARGUMENT, "memory: found \"%.40s\", expected a size such as 16G or 900M", text);
}

/* "MODEL.gguf.hot", or "experts.hot" in a directory. NULL when out of memory. */
static char *hot_path(const sp_model *model)
{
    const char *path = sp_archive_path(sp_model_archive(model));
    if (sp_file_is_dir(path)) return sp_path_join(path, "experts.hot");
    sp_buf name = {NULL, 0, 0};
    return sp_buf_printf(&name, NULL, "%s.hot", path) == SP_OK ? name.data : NULL;
}

/* --- the plan ------------------------------------------------------------------------------------------- */

static void print_size(FILE *out, const char *what, double n_bytes, const char *more)
{
    char size[32];
    fprintf(out, "  %-22s %10s%s\n", what, sp_cli_size(size, n_bytes), more);
}

static void print_plan(FILE *out, const sp_expert_plan *plan, uint64_t ram)
{
    char size[32], note[96];
    fprintf(out, "memory %s\n", sp_cli_size(size, (double)ram));
    print_size(out, "shared weights", (double)plan->shared_bytes, "  held");
    print_size(out, "sessions", (double)plan->session_bytes, "  at their longest");
    print_size(out, "rest", (double)plan->reserve_bytes, "  activations, vocabulary");
    snprintf(note, sizeof note, "  %lld of %lld, %s each", (long long)plan->n_slots,
             (long long)plan->n_experts, sp_cli_size(size, (double)plan->slot_bytes));
    print_size(out, "experts in memory", (double)plan->n_slots * (double)plan->slot_bytes, note);
    snprintf(note, sizeof note, "  %lld per token, %.0f %% of them in memory (%s)", (long long)plan->n_used,
             100 * plan->hit_rate, plan->learned ? "as learned" : "if all are used alike");
    print_size(out, "experts on disk", (double)plan->expert_bytes, note);
    if (plan->tokens_per_s > 0) {
        fprintf(out, "expected at least %.2f tokens per second: disk %s/s", plan->tokens_per_s,
                sp_cli_size(size, plan->disk_per_s));
        fprintf(out, ", memory %s/s\n", sp_cli_size(size, plan->memory_per_s));
    }
}

static void print_plan_json(const sp_expert_plan *p, uint64_t ram)
{
    printf("{\"ram_bytes\":%llu,\"shared_bytes\":%llu,\"session_bytes\":%llu,\"reserve_bytes\":%llu,"
           "\"expert_bytes\":%llu,\"slot_bytes\":%llu,\"n_slots\":%lld,\"n_experts\":%lld,\"n_used\":%lld,"
           "\"least_ram\":%llu,\"hit_rate\":%.6g,\"learned\":%s,\"disk_per_s\":%.6g,\"memory_per_s\":%.6g,"
           "\"tokens_per_s\":%.6g}\n",
           (unsigned long long)ram, (unsigned long long)p->shared_bytes, (unsigned long long)p->session_bytes,
           (unsigned long long)p->reserve_bytes, (unsigned long long)p->expert_bytes,
           (unsigned long long)p->slot_bytes, (long long)p->n_slots, (long long)p->n_experts,
           (long long)p->n_used, (unsigned long long)p->least_ram, p->hit_rate, p->learned ? "true" : "false",
           p->disk_per_s, p->memory_per_s, p->tokens_per_s);
}

sp_status sp_cli_print_plan(const sp_model *model, const char *ram, int json, sp_error *err)
{
    sp_expert_options options = SP_EXPERT_OPTIONS_DEFAULTS;
    sp_expert_plan plan;
    SP_TRY(sp_cli_parse_ram(ram, &options.ram_bytes, err));
    char *hot = hot_path(model);
    options.hot_path = hot;
    sp_status status = sp_model_plan_experts(model, &options, &plan, err);
    if (status == SP_OK) status = sp_model_measure_experts(model, &options, &plan, err);
    sp_free(hot);
    if (status != SP_OK) return status;
    if (json)
        print_plan_json(&plan, options.ram_bytes);
    else
        print_plan(stdout, &plan, options.ram_bytes);
    return SP_OK;
}

/* --- around a run --------------------------------------------------------------------------------------- */

sp_status sp_cli_begin_experts(sp_model *model, const sp_session_args *args,
                               const sp_session_options *session, int32_t n_sessions, sp_error *err)
{
    static const struct {
        const char *word;
        sp_expert_reader reader;
    } readers[] = {{"auto", SP_EXPERT_READER_AUTO},
                   {"io_uring", SP_EXPERT_READER_URING},
                   {"pread", SP_EXPERT_READER_THREADS}};
    sp_expert_options options = SP_EXPERT_OPTIONS_DEFAULTS;
    sp_expert_plan plan;
    sp_status status = SP_OK;
    if (!args->ram) {
        if (args->expert_trace)
            return sp_fail(err, SP_E_ARGUMENT, "option --expert-trace: goes with --ram only");
        return SP_OK;
    }
    SP_TRY(sp_cli_parse_ram(args->ram, &options.ram_bytes, err));
    char *hot = args->no_hot_set ? NULL : hot_path(model);
    options.session = session;
    options.n_sessions = n_sessions;
    options.hot_path = hot;
    options.n_threads = (int32_t)args->n_threads;
    options.record = args->expert_trace != NULL;
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
        if (strcmp(args->reader, readers[i].word) == 0) options.reader = readers[i].reader;
    if (sp_term_is_tty(STDERR_FILENO)) {
        SP_GOTO(done, status, sp_model_plan_experts(model, &options, &plan, err));
        SP_GOTO(done, status, sp_model_measure_experts(model, &options, &plan, err));
        print_plan(stderr, &plan, options.ram_bytes);
    }
    status = sp_model_stream_experts(model, &options, err);
done:
    sp_free(hot);
    return status;
}

static void print_stats(const sp_expert_stats *s)
{
    char size[32];
    double wanted = (double)(s->n_hits + s->n_foreseen + s->n_misses);
    fprintf(stderr, "experts: %.1f %% of %.0f in memory (%lld slots), %s read by %s, %.1f s waited",
            wanted > 0 ? 100 * (double)s->n_hits / wanted : 0, wanted, (long long)s->n_slots,
            sp_cli_size(size, (double)s->n_read_bytes), s->reader, s->wait_s);
    if (s->n_guessed > 0)
        fprintf(stderr, ", %.0f %% of %llu guesses right",
                100 * (double)s->n_guessed_right / (double)s->n_guessed, (unsigned long long)s->n_guessed);
    fputc('\n', stderr);
}

int sp_cli_end_experts(const sp_model *model, const sp_session_args *args, int code)
{
    sp_expert_stats stats;
    sp_error err = SP_ERROR_NONE;
    if (!model || !args->ram || !sp_model_expert_stats(model, &stats)) return code;
    if (sp_term_is_tty(STDERR_FILENO)) print_stats(&stats);
    if (args->expert_trace && sp_model_save_expert_trace(model, args->expert_trace, &err) != SP_OK) {
        sp_cli_fail(&err, NULL);
        if (code == SP_EXIT_GOOD) code = SP_EXIT_FAILED;
    }
    char *hot =
        args->no_hot_set || stats.n_hits + stats.n_foreseen + stats.n_misses == 0 ? NULL : hot_path(model);
    if (hot) sp_model_save_hot(model, hot, NULL); /* a folder that cannot be written costs speed alone */
    sp_free(hot);
    return code;
}
