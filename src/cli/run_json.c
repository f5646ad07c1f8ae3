/* SPDX-License-Identifier: MIT */
/* The JSON object of `sputnik run --json`. */
#include "cli/run_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/cli.h"

static sp_status put_token(sp_buf *out, const sp_tokenizer *tokenizer, int32_t id, float logprob,
                           sp_error *err)
{
    size_t len = 0;
    const char *piece = tokenizer ? sp_tokenizer_piece(tokenizer, id, &len) : NULL;
    SP_TRY(sp_buf_printf(out, err, "{\"id\":%d,\"text\":", (int)id));
    if (piece)
        SP_TRY(sp_json_put_string(out, piece, len, err));
    else
        SP_TRY(sp_buf_puts(out, "null", err));
    SP_TRY(sp_buf_puts(out, ",\"logprob\":", err));
    return sp_cli_put_number(out, (double)logprob, err);
}

sp_status sp_run_record_add(sp_run_record *record, const sp_tokenizer *tokenizer, const sp_step *step,
                            int what, sp_error *err)
{
    const sp_sample *sample = &step->sample;
    sp_buf *out = &record->logprobs;
    SP_TRY(sp_buf_printf(&record->ids, err, "%s%d", record->ids.len ? "," : "", (int)sample->id));
    if (what == SP_RECORD_IDS_ONLY) return SP_OK;
    if (out->len) SP_TRY(sp_buf_puts(out, ",\n  ", err));
    SP_TRY(put_token(out, tokenizer, sample->id, sample->logprob, err));
    SP_TRY(sp_buf_puts(out, step->forced ? ",\"forced\":true,\"top\":[" : ",\"top\":[", err));
    for (int32_t i = 0; i < sample->n_top; i++) {
        if (i > 0) SP_TRY(sp_buf_puts(out, ",", err));
        SP_TRY(put_token(out, tokenizer, sample->top_ids[i], sample->top_logprobs[i], err));
        SP_TRY(sp_buf_puts(out, "}", err));
    }
    return sp_buf_puts(out, "]}", err);
}

static sp_status put_tool_calls(sp_buf *out, const sp_reply *reply, sp_error *err)
{
    const sp_tool_call *calls = NULL;
    size_t n = sp_reply_tool_calls(reply, &calls);
    SP_TRY(sp_buf_puts(out, ",\n \"tool_calls\":[", err));
    for (size_t i = 0; i < n; i++) {
        SP_TRY(sp_buf_puts(out, i ? ",{\"name\":" : "{\"name\":", err));
        SP_TRY(sp_cli_put_text(out, calls[i].name, err));
        SP_TRY(sp_buf_puts(out, ",\"arguments\":", err));
        SP_TRY(sp_cli_put_text(out, calls[i].arguments, err));
        SP_TRY(sp_buf_puts(out, "}", err));
    }
    return sp_buf_puts(out, "]", err);
}

sp_status sp_run_put_drafts(sp_buf *out, const sp_draft_stats *d, sp_error *err)
{
    double per_pass = d->n_passes > 0 ? (double)d->n_tokens / (double)d->n_passes : 1;
    return sp_buf_printf(out, err,
                         "{\"mtp_drafted\":%zu,\"mtp_accepted\":%zu,\"lookup_drafted\":%zu,"
                         "\"lookup_accepted\":%zu,\"passes\":%zu,\"tokens_per_pass\":%.3f}",
                         d->n_mtp_drafted, d->n_mtp_accepted, d->n_lookup_drafted, d->n_lookup_accepted,
                         d->n_passes, per_pass);
}

static sp_status put_object(const sp_run_record *record, const sp_reply *reply, size_t n_prompt,
                            uint64_t seed, sp_buf *out, sp_error *err)
{
    double decode_s = record->total_s - record->first_s;
    double per_s = record->n_tokens > 1 && decode_s > 0 ? (double)(record->n_tokens - 1) / decode_s : 0;
    SP_TRY(sp_buf_puts(out, "{\"content\":", err));
    SP_TRY(sp_cli_put_text(out, sp_reply_content(reply), err));
    SP_TRY(sp_buf_puts(out, ",\n \"reasoning\":", err));
    const char *reasoning = sp_reply_reasoning(reply);
    SP_TRY(sp_cli_put_text(out, reasoning && reasoning[0] ? reasoning : NULL, err));
    SP_TRY(put_tool_calls(out, reply, err));
    SP_TRY(sp_buf_printf(
        out, err,
        ",\n \"finish\":\"%s\",\"seed\":%" PRIu64
        ",\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu},\n"
        " \"timing\":{\"first_token_s\":%.4f,\"total_s\":%.4f,\"tokens_per_s\":%.3f},\n \"drafts\":",
        sp_finish_name(record->finish), seed, n_prompt, record->n_tokens, record->first_s, record->total_s,
        per_s));
    SP_TRY(sp_run_put_drafts(out, &record->drafts, err));
    SP_TRY(sp_buf_printf(out, err, ",\n \"ids\":[%s]", record->ids.data ? record->ids.data : ""));
    if (record->logprobs.data)
        SP_TRY(sp_buf_printf(out, err, ",\n \"logprobs\":[\n  %s]", record->logprobs.data));
    return sp_buf_puts(out, "}\n", err);
}

sp_status sp_run_record_print(const sp_run_record *record, const sp_reply *reply, size_t n_prompt,
                              uint64_t seed, sp_error *err)
{
    sp_buf out = {NULL, 0, 0};
    sp_status status = put_object(record, reply, n_prompt, seed, &out, err);
    if (status == SP_OK) fwrite(out.data, 1, out.len, stdout);
    sp_buf_clear(&out);
    return status;
}

void sp_run_record_clear(sp_run_record *record)
{
    sp_buf_clear(&record->ids);
    sp_buf_clear(&record->logprobs);
}
