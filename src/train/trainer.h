/* SPDX-License-Identifier: MIT */
/* A run: parameters, optimizer, data and the position in them, and the loop that takes steps, validates, writes checkpoints and
 * metrics. A step is a pure function of (configuration, state before it, number of processes): a run that was stopped and
 * resumed has the same bits as one that never stopped. One thread calls; work is spread over the configuration's threads. */
#ifndef SP_TRAIN_TRAINER_H
#define SP_TRAIN_TRAINER_H

#include "base/comm.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/metrics.h"

typedef struct sp_trainer sp_trainer;

/* How a run begins in a folder that may hold checkpoints. SP_START_LOOK, or'ed to one of the others, writes and removes nothing:
 * such a trainer tells what the run would begin with, also while another process runs, and takes no steps. */
typedef enum sp_start {
    SP_START_NEW, /* SP_E_ARGUMENT if there are any */
    SP_START_RESUME, /* from the newest whole one, SP_E_FORMAT if none is whole; from the beginning if there are none */
    SP_START_RESTART, /* remove them first */
    SP_START_LOOK = 4,
} sp_start;

/* What the caller hears of a run. Functions may be NULL. */
typedef struct sp_train_events {
    void (*on_notice)(void *ctx,
                      const char *text); /* a skipped checkpoint, a saved one, the reason of a stop */
    void (*on_step)(void *ctx, const sp_step_metrics *metrics); /* every log_every steps */
    bool (*should_stop)(void *ctx);                             /* asked after every step */
    void *ctx;
} sp_train_events;

/* The configuration must outlive the trainer; comm may be NULL. Errors: those of shards, tokenizer, checkpoints; SP_E_ARGUMENT,
 * also where another process trains into the folder. */
sp_status sp_trainer_create(sp_trainer **trainer, const sp_train_config *config, sp_comm *comm,
                            sp_start start, const sp_train_events *events, sp_error *err);
void sp_trainer_destroy(sp_trainer *trainer); /* accepts NULL */

/* Until the last step, or until should_stop (then with a checkpoint), or an error. SP_E_RANGE: the loss or a gradient is no
 * number, or the loss has jumped; nothing of that step is kept, and the text names the checkpoint to go on from. */
sp_status sp_trainer_run(sp_trainer *trainer, sp_error *err);

/* For tests and tools: one step; the state as it is. */
sp_status sp_trainer_step(sp_trainer *trainer, sp_step_metrics *metrics, sp_error *err);
sp_status sp_trainer_validate(sp_trainer *trainer, sp_step_metrics *metrics, sp_error *err);
sp_parameters *sp_trainer_parameters(sp_trainer *trainer);
const sp_train_state *sp_trainer_state(const sp_trainer *trainer);

#endif
