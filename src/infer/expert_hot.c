/* SPDX-License-Identifier: MIT */
/* The hot set's file: text, a line "sputnik-hot 1 FINGERPRINT LAYERS EXPERTS", then "LAYER EXPERT SCORE" for every expert
 * whose score is worth keeping. Parsing takes bytes and trusts nothing. Start at sp_hot_parse(). */
#include "infer/expert_stream.h"

#include "base/file.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOT_MAX_BYTES ((size_t)64 << 20)
#define LEAST_SCORE 0.01
#define MOST_SCORE 1e6

/* The next line in buf, without its end; false at the end of the text or if the line is too long to be one of ours. */
static bool next_line(const char **text, size_t *len, char buf[160])
{
    const char *end = *len > 0 ? memchr(*text, '\n', *len) : NULL;
    size_t n = end ? (size_t)(end - *text) : *len;
    if (*len == 0 || n >= 160) return false;
    memcpy(buf, *text, n);
    buf[n] = '\0';
    size_t step = end ? n + 1 : n;
    *text += step;
    *len -= step;
    return true;
}

sp_status sp_hot_parse(double *scores, int32_t n_layers, int32_t n_experts, uint64_t fingerprint,
                       const char *text, size_t len, sp_error *err)
{
    char line[160];
    uint64_t found = 0;
    int64_t layers = 0, experts = 0;
    if (!next_line(&text, &len, line) ||
        sscanf(line, "sputnik-hot 1 %16" SCNx64 " %9" SCNd64 " %9" SCNd64, &found, &layers, &experts) != 3)
        return sp_fail(err, SP_E_FORMAT,
                       "hot set: line 1: expected \"sputnik-hot 1 FINGERPRINT LAYERS EXPERTS\"");
    if (found != fingerprint || layers != n_layers || experts != n_experts)
        return sp_fail(err, SP_E_UNSUPPORTED, "hot set: it is another model's");
    memset(scores, 0, (size_t)n_layers * (size_t)n_experts * sizeof *scores);
    for (int n = 2; len > 0; n++) {
        int64_t layer = -1, expert = -1;
        double score = -1;
        if (!next_line(&text, &len, line) ||
            sscanf(line, "%9" SCNd64 " %9" SCNd64 " %30lf", &layer, &expert, &score) != 3 || layer < 0 ||
            layer >= n_layers || expert < 0 || expert >= n_experts || !(score >= 0 && score <= MOST_SCORE))
            return sp_fail(err, SP_E_FORMAT, "hot set: line %d: expected a layer, an expert and a score", n);
        scores[layer * n_experts + expert] = score;
    }
    return SP_OK;
}

sp_status sp_hot_read(double *scores, int32_t n_layers, int32_t n_experts, uint64_t fingerprint,
                      const char *path, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    sp_status status = sp_file_read(&text, path, HOT_MAX_BYTES, err);
    if (status == SP_OK)
        status =
            sp_hot_parse(scores, n_layers, n_experts, fingerprint, text.data ? text.data : "", text.len, err);
    sp_buf_clear(&text);
    return status;
}

static sp_status print_hot(sp_buf *text, const sp_expert_stream *stream, const double *scores, sp_error *err)
{
    SP_TRY(sp_buf_printf(text, err, "sputnik-hot 1 %016" PRIx64 " %d %d\n", stream->fingerprint,
                         stream->n_layers, stream->n_experts));
    for (int32_t l = 0; l < stream->n_layers; l++) {
        for (int32_t e = 0; e < stream->n_experts; e++) {
            double score = scores[(int64_t)l * stream->n_experts + e];
            if (score >= LEAST_SCORE)
                SP_TRY(
                    sp_buf_printf(text, err, "%d %d %.4g\n", l, e, score < MOST_SCORE ? score : MOST_SCORE));
        }
    }
    return SP_OK;
}

sp_status sp_model_save_hot(const sp_model *model, const char *path, sp_error *err)
{
    const sp_expert_stream *stream = sp_model_experts_owner(model);
    if (!stream) return sp_fail(err, SP_E_ARGUMENT, "hot set: the model's experts do not come from disk");
    size_t n = (size_t)stream->n_layers * (size_t)stream->n_experts;
    double *scores = sp_calloc(n, sizeof *scores);
    sp_buf text = {NULL, 0, 0};
    if (!scores) return sp_fail_nomem(err, "hot set", (uint64_t)n * sizeof *scores);
    sp_expert_store_scores(stream->store, scores);
    sp_status status = print_hot(&text, stream, scores, err);
    if (status == SP_OK) status = sp_file_write(path, &text, err);
    sp_buf_clear(&text);
    sp_free(scores);
    return status;
}

sp_status sp_model_save_expert_trace(const sp_model *model, const char *path, sp_error *err)
{
    const sp_expert_stream *stream = sp_model_experts_owner(model);
    if (!stream) return sp_fail(err, SP_E_ARGUMENT, "trace: the model's experts do not come from disk");
    size_t n = 0;
    const int32_t *trace = sp_expert_store_trace(stream->store, &n);
    sp_buf text = {NULL, 0, 0};
    sp_status status =
        sp_buf_printf(&text, err, "sputnik-experts 1 %d %d\n", stream->n_layers, stream->n_experts);
    for (size_t i = 0; status == SP_OK && i < n;) {
        int32_t layer = trace[i], count = trace[i + 1];
        status = sp_buf_printf(&text, err, "%d:", layer);
        for (int32_t j = 0; j < count && status == SP_OK; j++)
            status = sp_buf_printf(&text, err, " %d", trace[i + 2 + (size_t)j]);
        if (status == SP_OK) status = sp_buf_puts(&text, "\n", err);
        i += 2 + (size_t)count;
    }
    if (status == SP_OK) status = sp_file_write(path, &text, err);
    sp_buf_clear(&text);
    return status;
}
