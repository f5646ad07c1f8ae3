/* SPDX-License-Identifier: MIT */
/* One progress bar on standard error, drawn only on a terminal: "label  [#####     ]  42 %  1.1 GiB of 2.6
 * GiB  8 MiB/s". */
#ifndef SP_CLI_PROGRESS_H
#define SP_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sp_progress {
    char label[64];
    uint64_t first; /* where this run began, for the rate */
    double started, drawn;
    bool active; /* standard error is a terminal */
    bool bytes;  /* counts are bytes */
} sp_progress;

typedef enum sp_progress_unit { SP_PROGRESS_ITEMS, SP_PROGRESS_BYTES } sp_progress_unit;

void sp_progress_start(sp_progress *progress, const char *label, sp_progress_unit unit, uint64_t first);
void sp_progress_set(sp_progress *progress, uint64_t done, uint64_t total); /* total 0: unknown */
void sp_progress_finish(sp_progress *progress);                             /* removes the bar */

#endif
