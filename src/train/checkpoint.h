/* SPDX-License-Identifier: MIT */
/* Checkpoints: folders `step-00001000` in the run's folder. Each is a Hugging Face model (config.json, model.safetensors in
 * float32, tokenizer files, generation_config.json), so that every command and `transformers` open it, plus
 *   optimizer.safetensors   "m.<name>", "v.<name>"
 *   training.json           version, step, rows seen, random seed, statistics of the loss, fingerprint, and every file's size and
 *                           SHA-256
 * A checkpoint is written under a temporary name, its files and folder are flushed, and it appears by one rename: a kill at any
 * moment and a full disk leave the ones before as they were. Loading verifies sizes and sums. */
#ifndef SP_TRAIN_CHECKPOINT_H
#define SP_TRAIN_CHECKPOINT_H

#include "model/parameters.h"
#include "train/optimizer.h"

typedef struct sp_train_state {
    int64_t step;   /* steps done */
    int64_t tokens; /* seen, padding excluded */
    uint64_t seed;
    uint64_t fingerprint;
    double loss_mean, loss_square; /* running mean and mean square (spike detection) */
    double seconds;                /* of training so far */
    int32_t n_ranks;               /* that wrote it */
} sp_train_state;

/* Write `run_dir`/step-%08lld; whole parameters and moments (all experts) must be here. tokenizer_dir may be NULL.
 * n_keep > 0 removes the oldest beyond that number afterwards, never the last whole one. Errors: SP_E_IO, SP_E_NOMEM. */
sp_status sp_checkpoint_save(const char *run_dir, const sp_parameters *parameters,
                             const sp_optimizer *optimizer, const sp_train_state *state,
                             const char *tokenizer_dir, int n_keep, sp_error *err);

/* The newest checkpoint of run_dir that is whole; *path is NULL (and SP_OK) if there is none. Broken ones are skipped and
 * their names appended to `skipped` (newline-separated, with the reason) if it is not NULL. Changes nothing. */
sp_status sp_checkpoint_newest(char **path, const char *run_dir, sp_buf *skipped, sp_error *err);

/* Remove what a kill left half written or half removed; only for the run's own process: another one may be writing. */
sp_status sp_checkpoint_clean(const char *run_dir, sp_error *err);

/* The one with the most steps, as it is: no sum is made, nothing is removed. *path is NULL (and SP_OK) if there is none. */
sp_status sp_checkpoint_last(char **path, const char *run_dir, sp_error *err);

/* Check every sum, then read. SP_E_FORMAT names file and tensor. `optimizer` may be NULL (weights alone). Only tensors that are
 * local in `parameters` are read. */
sp_status sp_checkpoint_load(const char *path, sp_parameters *parameters, sp_optimizer *optimizer,
                             sp_train_state *state, sp_error *err);

/* ---- where no process holds everything (parallel.h) ---- */

/* The arrays of floats that a checkpoint keeps of a parameter. */
typedef enum sp_checkpoint_part { SP_CHECKPOINT_VALUE, SP_CHECKPOINT_M, SP_CHECKPOINT_V } sp_checkpoint_part;

/* Moments that the optimizer leaves at zero are not kept. */
bool sp_checkpoint_has(const sp_optimizer *optimizer, const sp_parameter *p, sp_checkpoint_part part);

/* Floats of the largest array. */
int64_t sp_checkpoint_largest(const sp_parameters *parameters);

/* Gives the floats of what a checkpoint keeps, once each: all values, all m, all v, in the order of items. They must stay until
 * the next call. Of parameters and optimizer only names, shapes and options are looked at. */
typedef struct sp_checkpoint_source {
    const sp_parameters *parameters;
    const sp_optimizer *optimizer;
    sp_status (*fetch)(void *ctx, sp_checkpoint_part part, size_t item, const float **data, sp_error *err);
    void *ctx;
} sp_checkpoint_source;

sp_status sp_checkpoint_write(const char *run_dir, const sp_checkpoint_source *source,
                              const sp_train_state *state, const char *tokenizer_dir, int n_keep,
                              sp_error *err);

/* Takes them, in the same order, after everything has been checked and *state is set. `data` may be unaligned. */
typedef struct sp_checkpoint_sink {
    const sp_parameters *parameters;
    const sp_optimizer *optimizer; /* NULL: values alone */
    sp_status (*deliver)(void *ctx, sp_checkpoint_part part, size_t item, const void *data, sp_error *err);
    void *ctx;
    bool verified; /* sp_checkpoint_newest() has just found it whole: the sums are not made again */
} sp_checkpoint_sink;

sp_status sp_checkpoint_read(const char *path, const sp_checkpoint_sink *sink, sp_train_state *state,
                             sp_error *err);

/* Remove every checkpoint of run_dir, whole or not; other files stay. A folder that is not there is fine. */
sp_status sp_checkpoint_remove_all(const char *run_dir, sp_error *err);

#endif
