/* SPDX-License-Identifier: MIT */
/* Hit rates of the store's eviction, of LRU and of the offline optimum on a trace, by size of the cache. Start at
 * sp_bench_replay(). */
#include "cli/bench_experts.h"

#include <string.h>

#include "base/file.h"
#include "infer/expert_replay.h"

/* DeepSeek-V3's expert layers, and passes that keep the replay within seconds. */
#define ZIPF_LAYERS 58
#define ZIPF_EXPERTS 256
#define ZIPF_TOP_K 8
#define ZIPF_PASSES 200
#define MAX_TRACE_BYTES ((size_t)256 << 20)

static sp_status load_trace(sp_expert_trace *trace, const char *what, sp_error *err)
{
    double exponent = 0;
    if (strncmp(what, "zipf:", 5) == 0) {
        if (!sp_parse_float(what + 5, &exponent))
            return sp_fail(err, SP_E_ARGUMENT, "option --replay: found \"%.40s\", expected zipf:EXPONENT",
                           what);
        return sp_expert_trace_zipf(trace, ZIPF_LAYERS, ZIPF_EXPERTS, ZIPF_TOP_K, ZIPF_PASSES, exponent, 1,
                                    err);
    }
    sp_buf text = {NULL, 0, 0};
    sp_status status = sp_file_read(&text, what, MAX_TRACE_BYTES, err);
    if (status == SP_OK) status = sp_expert_trace_parse(trace, text.data ? text.data : "", text.len, err);
    sp_buf_clear(&text);
    return status;
}

static sp_status replay_size(const sp_expert_trace *trace, double share, bool first, int json, sp_error *err)
{
    sp_expert_replay_result r;
    int64_t n_keys = (int64_t)trace->n_layers * trace->n_experts,
            n_slots = (int64_t)(share * (double)n_keys + 0.5);
    if (n_slots < 1) n_slots = 1;
    sp_expert_replay replay = {trace->items, trace->n, trace->n_layers, trace->n_experts, n_slots};
    SP_TRY(sp_expert_replay_run(&r, &replay, err));
    double n = r.n_uses > 0 ? (double)r.n_uses : 1;
    double policy = (double)r.policy / n, lru = (double)r.lru / n, optimum = (double)r.optimum / n;
    if (json)
        printf("%s{\"share\":%.3g,\"n_slots\":%lld,\"n_uses\":%llu,\"hit_rate\":%.6g,\"lru\":%.6g,"
               "\"optimum\":%.6g}",
               first ? "[" : ",\n ", share, (long long)n_slots, (unsigned long long)r.n_uses, policy, lru,
               optimum);
    else
        printf("%7.0f %% %9lld %11.1f %% %9.1f %% %9.1f %%\n", 100 * share, (long long)n_slots, 100 * policy,
               100 * lru, 100 * optimum);
    fflush(stdout);
    return SP_OK;
}

int sp_bench_replay(const char *what, int json)
{
    static const double shares[] = {0.02, 0.05, 0.1, 0.2, 0.33, 0.5, 0.75};
    sp_error err = SP_ERROR_NONE;
    sp_expert_trace trace;
    sp_status status = load_trace(&trace, what, &err);
    if (status != SP_OK) {
        sp_cli_fail(&err, NULL);
        return status == SP_E_ARGUMENT ? SP_EXIT_USAGE : SP_EXIT_FAILED;
    }
    if (!json) printf("%9s %9s %13s %11s %11s\n", "cache", "experts", "hits", "LRU", "optimum");
    for (size_t i = 0; status == SP_OK && i < sizeof shares / sizeof shares[0]; i++)
        status = replay_size(&trace, shares[i], i == 0, json, &err);
    if (json && status == SP_OK) puts("]");
    sp_expert_trace_clear(&trace);
    return status == SP_OK ? SP_EXIT_GOOD : sp_cli_fail(&err, NULL);
}
