/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as a training configuration. What is accepted must keep what the trainer relies on; what is refused must say
 * why. Inputs that could name a file of this machine are passed over. */
#include "train/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void check_promises(const sp_train_config *c)
{
    const sp_schedule *s = &c->schedule;
    if (!c->out || !c->text || c->n_train == 0 || c->n_train > SP_LOADER_SOURCES_MAX) abort();
    for (size_t i = 0; i < c->n_train; i++)
        if (!c->train[i].path || !(c->train[i].weight >= 0.0)) abort();
    if (c->micro_rows < 1 || s->rows % c->micro_rows || s->rows_first % c->micro_rows) abort();
    if (s->steps < 1 || s->warmup_steps < 0 || s->warmup_steps > s->steps || s->rows_first > s->rows) abort();
    if (!(s->lr > 0.0) || !(s->rows_ramp >= 0.0 && s->rows_ramp <= 1.0)) abort();
    if (c->sequence < 1 || c->sequence > c->hp.max_position_embeddings) abort();
    if (c->expert_ranks % c->expert_nodes) abort();
    if (c->expert_ranks > 1 && c->hp.n_routed_experts % c->expert_ranks) abort();
    sink += sp_train_config_fingerprint(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_train_config config;
    sp_error err = SP_ERROR_NONE;
    if (size == 0 || memchr(data, '/', size) || memchr(data, '\\', size)) return 0;
    if (sp_train_config_parse(&config, (const char *)data, size, "/nowhere", &err) == SP_OK)
        check_promises(&config);
    else if (err.code == SP_OK || !err.text[0] || config.text)
        abort();
    sp_train_config_clear(&config);
    return 0;
}
