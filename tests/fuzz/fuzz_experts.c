/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as a hot set and as a trace of experts. Checked: what is accepted is in range, and a trace can be
 * replayed with no more hits than uses. */
#include "infer/expert_replay.h"
#include "infer/expert_stream.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static void fuzz_trace(const char *text, size_t size)
{
    sp_expert_trace trace;
    sp_expert_replay_result result;
    if (sp_expert_trace_parse(&trace, text, size, NULL) != SP_OK) return;
    for (size_t i = 0; i < trace.n; i += 2 + (size_t)trace.items[i + 1]) {
        REQUIRE(trace.items[i] >= 0 && trace.items[i] < trace.n_layers);
        for (int32_t j = 0; j < trace.items[i + 1]; j++)
            REQUIRE(trace.items[i + 2 + (size_t)j] >= 0 && trace.items[i + 2 + (size_t)j] < trace.n_experts);
    }
    sp_expert_replay replay = {trace.items, trace.n, trace.n_layers, trace.n_experts, 3};
    if ((int64_t)trace.n_layers * trace.n_experts < 4096 &&
        sp_expert_replay_run(&result, &replay, NULL) == SP_OK)
        REQUIRE(result.policy <= result.n_uses && result.lru <= result.n_uses &&
                result.optimum <= result.n_uses);
    sp_expert_trace_clear(&trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double scores[2 * 12];
    const char *text = (const char *)data;
    if (sp_hot_parse(scores, 2, 12, 0xab, text, size, NULL) == SP_OK)
        for (int i = 0; i < 24; i++) REQUIRE(scores[i] >= 0 && scores[i] <= 1e6);
    fuzz_trace(text, size);
    return 0;
}
