/* SPDX-License-Identifier: MIT */
/* Between the parts of checkpoints: checkpoint.c writes and reads tensors, checkpoint_state.c owns training.json and the sums,
 * checkpoint_list.c the folders of a run. */
#ifndef SP_TRAIN_CHECKPOINT_PARTS_H
#define SP_TRAIN_CHECKPOINT_PARTS_H

#include "train/checkpoint.h"

#define SP_CHECKPOINT_MODEL "model.safetensors"
#define SP_CHECKPOINT_OPTIMIZER "optimizer.safetensors"
#define SP_CHECKPOINT_STATE "training.json"

/* Write dir/training.json with the sums of every file that is in dir. */
sp_status sp_checkpoint_seal(const char *dir, const sp_train_state *state, sp_error *err);

/* Read dir/training.json, whose own sum must fit. SP_E_FORMAT; SP_E_UNSUPPORTED: another version. verify also compares size and
 * sum of every file that it names; SP_E_FORMAT names the file. */
sp_status sp_checkpoint_read_state(const char *dir, sp_train_state *state, sp_error *err);
sp_status sp_checkpoint_verify(const char *dir, sp_train_state *state, sp_error *err);

/* "step-%08lld" into name; the step of such a name, -1 for any other. */
void sp_checkpoint_name(char name[32], int64_t step);
int64_t sp_checkpoint_step(const char *name);

/* Remove the oldest checkpoints before `step`, so that n_keep with that one remain. */
sp_status sp_checkpoint_prune(const char *run_dir, int64_t step, int n_keep, sp_error *err);

#endif
