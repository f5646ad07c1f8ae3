/* SPDX-License-Identifier: MIT */
/* Where threads run: the processors of this process, pinning a thread to one of them, and how long a thread has
 * really run. On systems without these calls every function reports that it could not, and callers go on. */
#ifndef SP_BASE_PLACE_H
#define SP_BASE_PLACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define SP_PLACE_MAX_CPUS 1024 /* the size of cpu_set_t; on larger machines nothing is pinned */

typedef struct sp_place {
    int n_cpus;                      /* processors that the process may use; 0: unknown */
    int16_t cpus[SP_PLACE_MAX_CPUS]; /* their numbers, ascending */
} sp_place;

/* The affinity mask of the calling thread. */
void sp_place_read(sp_place *place);

/* The processor that the calling thread is on; negative: unknown. */
int sp_place_here(void);

/* Restrict a thread to one processor, or let it use all of `place` again. A thread that waits for its processor
 * moves at once. False when the system refuses. */
bool sp_place_pin(pthread_t thread, int cpu);
bool sp_place_unpin(pthread_t thread, const sp_place *place);

/* Nanoseconds for which a thread has run so far; false: unknown. */
bool sp_place_run_time(pthread_t thread, int64_t *ns);

#endif
