/* SPDX-License-Identifier: MIT */
/* What `sputnik run --json` collects while a reply is produced, and the object that it prints. */
#ifndef SP_CLI_RUN_JSON_H
#define SP_CLI_RUN_JSON_H

#include "base/mem.h"

#include <sputnik/generate.h>

typedef struct sp_run_record {
    size_t n_tokens;
    double first_s, total_s; /* until the first token; until the last */
    sp_finish finish;
    sp_draft_stats drafts;
    sp_buf ids;      /* "1,2,3" */
    sp_buf logprobs; /* one object per token, comma-separated; empty unless asked for */
} sp_run_record;

enum { SP_RECORD_IDS_ONLY = 0, SP_RECORD_LOGPROBS = 1 };

sp_status sp_run_record_add(sp_run_record *record, const sp_tokenizer *tokenizer, const sp_step *step,
                            int what, sp_error *err);
/* Append "drafts" as a JSON object, without a name. */
sp_status sp_run_put_drafts(sp_buf *out, const sp_draft_stats *drafts, sp_error *err);
sp_status sp_run_record_print(const sp_run_record *record, const sp_reply *reply, size_t n_prompt,
                              uint64_t seed, sp_error *err);
void sp_run_record_clear(sp_run_record *record);

#endif
