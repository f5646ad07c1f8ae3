/* SPDX-License-Identifier: MIT */
/* One JSON file describes a run. Every key is listed in config.c's tables with its default and range; an unknown key, a wrong
 * type, a value out of range and sections that contradict each other are errors that name the key ("optimizer.lr: ...").
 * Paths in it are relative to the file's folder. */
#ifndef SP_TRAIN_CONFIG_H
#define SP_TRAIN_CONFIG_H

#include "base/json.h"
#include "train/loader.h"
#include "model/hparams.h"
#include "train/optimizer.h"
#include "train/schedule.h"

typedef struct sp_train_config {
    char *path, *text; /* of the file, for the report and the fingerprint */
    /* "model": the published config.json's keys (model_type, hidden_size, ...); vocab_size may be left out: the tokenizer's */
    sp_hparams hp;
    double init_deviation; /* "initializer_range", 0.006 */
    bool scale_residual;
    /* "data" */
    char *tokenizer;  /* folder with tokenizer.json; NULL: none is copied into checkpoints */
    sp_source *train; /* "train": [{"path", "weight"}] */
    size_t n_train;
    sp_source *validation;
    size_t n_validation;
    int32_t sequence;        /* tokens per row */
    sp_cut cut;              /* "stream" or "whole" */
    bool document_attention; /* "attention": "document" keeps documents of a row apart, "row" (V3) does not */
    /* "optimizer", "schedule", "mtp", "moe" */
    sp_optimizer_options optimizer;
    double clip; /* of the gradients' norm; 1; 0: none */
    sp_schedule schedule;
    double balance_factor; /* of the sequence-wise balance loss: 1e-4 */
    /* "run" */
    char *out;       /* folder of checkpoints, metrics.jsonl, report.html */
    char *init;      /* model whose weights the run begins with; NULL: drawn from the seed */
    int64_t stop_at; /* the run's last step, at most schedule.steps: a first stage of a longer course */
    uint64_t seed;
    int32_t micro_rows; /* rows of one pass */
    int32_t threads;    /* 0: one per processor (and per process) */
    int64_t validate_every, validate_rows;
    int64_t checkpoint_every;
    int32_t checkpoint_keep; /* newest ones that are kept; 0: all */
    int64_t log_every;
    bool recompute;        /* activations of a layer are computed again in the backward pass */
    bool bf16_activations; /* the kept inputs of layers are stored as bfloat16; needs recompute */
    bool fp8;              /* simulate V3's FP8 products */
    double spike_factor; /* a loss above this many deviations over its running mean stops the run; 0: never */
    int32_t expert_ranks; /* processes that share the experts of a layer; 1 */
    int32_t expert_nodes; /* "node-limited": processes per node are expert_ranks / expert_nodes */
} sp_train_config;

sp_status sp_train_config_load(sp_train_config *config, const char *path, sp_error *err);
sp_status sp_train_config_parse(sp_train_config *config, const char *text, size_t len, const char *folder,
                                sp_error *err);
void sp_train_config_clear(sp_train_config *config);

/* Hash of what a resumed run must share with the one before: model, data, sequence, optimizer kind, seed. */
uint64_t sp_train_config_fingerprint(const sp_train_config *config);

#endif
