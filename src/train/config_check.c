/* SPDX-License-Identifier: MIT */
/* What follows from several keys: defaults that depend on others, keys that only one kind has, and contradictions. Start at
 * sp_config_complete(). */
#include "train/config_parts.h"

#include <string.h>

#define V3_WARMUP 2000 /* steps */
#define PASS_ROWS 16   /* default of rows per pass, at most */

static void fill_defaults(sp_train_config *c, const sp_json *root)
{
    sp_schedule *s = &c->schedule;
    if (!sp_config_given(root, "schedule", "warmup"))
        s->warmup_steps = s->steps / 10 < V3_WARMUP ? s->steps / 10 : V3_WARMUP;
    if (!sp_config_given(root, "run", "stop_at")) c->stop_at = s->steps;
    if (!sp_config_given(root, "schedule", "rows_first")) {
        s->rows_first = s->rows;
        s->rows_ramp = 0.0;
    }
    if (!sp_config_given(root, "run", "micro_rows")) {
        c->micro_rows = PASS_ROWS;
        while (s->rows % c->micro_rows || s->rows_first % c->micro_rows) c->micro_rows--;
    }
    s->rows_multiple = c->micro_rows;
}

/* A key of one kind is refused beside another kind: it would have no effect. */
static sp_status check_kinds(const sp_train_config *c, const sp_json *root, sp_error *err)
{
    static const struct {
        const char *section, *key;
        unsigned kinds; /* bits */
        const char *of;
    } rows[] = {
        {"schedule", "end_factor", 1u << SP_LR_COSINE | 1u << SP_LR_LINEAR, "\"cosine\" and \"linear\""},
        {"schedule", "first_drop", 1u << SP_LR_MULTISTEP, "\"multistep\""},
        {"schedule", "second_drop", 1u << SP_LR_MULTISTEP, "\"multistep\""},
        {"optimizer", "momentum", 1u << SP_OPTIMIZER_MUON, "\"muon\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool optimizer = strcmp(rows[i].section, "optimizer") == 0;
        unsigned kind = optimizer ? (unsigned)c->optimizer.kind : (unsigned)c->schedule.kind;
        if (sp_config_given(root, rows[i].section, rows[i].key) && !(rows[i].kinds >> kind & 1))
            return sp_fail(err, SP_E_FORMAT, "%s.%s: has no effect, it belongs to %s.kind %s",
                           rows[i].section, rows[i].key, rows[i].section, rows[i].of);
    }
    if (sp_config_given(root, "schedule", "rows_ramp") && !sp_config_given(root, "schedule", "rows_first"))
        return sp_fail(err, SP_E_FORMAT, "schedule.rows_ramp: has no effect without schedule.rows_first");
    return SP_OK;
}

static sp_status check_schedule(const sp_train_config *c, sp_error *err)
{
    const sp_schedule *s = &c->schedule;
    if (s->warmup_steps > s->steps)
        return sp_fail(err, SP_E_FORMAT, "schedule.warmup: %lld is more than schedule.steps %lld",
                       (long long)s->warmup_steps, (long long)s->steps);
    if (c->stop_at > s->steps)
        return sp_fail(err, SP_E_FORMAT, "run.stop_at: %lld is more than schedule.steps %lld",
                       (long long)c->stop_at, (long long)s->steps);
    if (s->rows_first > s->rows)
        return sp_fail(err, SP_E_FORMAT, "schedule.rows_first: %lld is more than schedule.rows %lld",
                       (long long)s->rows_first, (long long)s->rows);
    if (s->rows % c->micro_rows)
        return sp_fail(err, SP_E_FORMAT, "run.micro_rows: %d does not divide schedule.rows %lld",
                       c->micro_rows, (long long)s->rows);
    if (s->rows_first % c->micro_rows)
        return sp_fail(err, SP_E_FORMAT, "run.micro_rows: %d does not divide schedule.rows_first %lld",
                       c->micro_rows, (long long)s->rows_first);
    if (s->kind == SP_LR_MULTISTEP && s->first_drop > s->second_drop)
        return sp_fail(err, SP_E_FORMAT, "schedule.first_drop: %g lies behind schedule.second_drop %g",
                       s->first_drop, s->second_drop);
    return SP_OK;
}

static sp_status check_experts(const sp_train_config *c, sp_error *err)
{
    const sp_hparams *hp = &c->hp;
    if (c->expert_ranks > 1 && hp->n_routed_experts == 0)
        return sp_fail(err, SP_E_FORMAT, "run.expert_ranks: the model has no routed experts");
    if (c->expert_ranks > 1 && hp->n_routed_experts % c->expert_ranks)
        return sp_fail(err, SP_E_FORMAT, "run.expert_ranks: %d does not divide model.n_routed_experts %d",
                       c->expert_ranks, hp->n_routed_experts);
    if (c->expert_ranks % c->expert_nodes)
        return sp_fail(err, SP_E_FORMAT, "run.expert_nodes: %d does not divide run.expert_ranks %d",
                       c->expert_nodes, c->expert_ranks);
    if (c->expert_nodes > 1 && hp->n_group % c->expert_nodes)
        return sp_fail(err, SP_E_FORMAT, "run.expert_nodes: %d does not divide model.n_group %d",
                       c->expert_nodes, hp->n_group);
    return SP_OK;
}

sp_status sp_config_complete(sp_train_config *c, const sp_json *root, sp_error *err)
{
    fill_defaults(c, root);
    SP_TRY(check_kinds(c, root, err));
    SP_TRY(check_schedule(c, err));
    SP_TRY(check_experts(c, err));
    if (c->sequence > c->hp.max_position_embeddings)
        return sp_fail(err, SP_E_FORMAT, "data.sequence: %d is more than model.max_position_embeddings %d",
                       c->sequence, c->hp.max_position_embeddings);
    if (c->optimizer.bf16_moments && c->optimizer.kind != SP_OPTIMIZER_ADAMW)
        return sp_fail(err, SP_E_FORMAT, "optimizer.bf16_moments: needs the optimizer.kind \"adamw\"");
    if (c->optimizer.bf16_moments && c->optimizer.beta2 > SP_BF16_MOMENTS_BETA2)
        return sp_fail(err, SP_E_FORMAT,
                       "optimizer.bf16_moments: needs an optimizer.beta2 of at most %g, found %g",
                       SP_BF16_MOMENTS_BETA2, c->optimizer.beta2);
    if (c->bf16_activations && !c->recompute)
        return sp_fail(err, SP_E_FORMAT, "run.bf16_activations: needs run.recompute");
    for (int i = 0; i < 2 && c->n_validation == 0; i++) {
        const char *key = i ? "validate_every" : "validate_rows";
        if (sp_config_given(root, "run", key))
            return sp_fail(err, SP_E_FORMAT, "run.%s: has no effect without data.validation", key);
    }
    return SP_OK;
}
