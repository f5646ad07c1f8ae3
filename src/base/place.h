/* SPDX-License-Identifier: MIT */
/* Where threads run and memory lies: the processors of this process and their memory nodes, holding a thread to some of
 * them, the policy by which pages get their node, and how long a thread has really run. On systems without these calls
 * every function reports that it could not, and callers go on. */
#ifndef SP_BASE_PLACE_H
#define SP_BASE_PLACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SP_PLACE_MAX_CPUS 1024 /* the size of cpu_set_t; on larger machines nothing is pinned */

#define SP_PLACE_MAX_NODES 64 /* further ones are left out, and their processors count to the first */

typedef struct sp_place {
    int n_cpus;                      /* processors that the process may use; 0: unknown */
    int16_t cpus[SP_PLACE_MAX_CPUS]; /* their numbers, ascending */
    uint8_t node[SP_PLACE_MAX_CPUS]; /* (n_cpus) which of `nodes` each belongs to */
    int n_nodes;                     /* memory nodes with any of these processors; 1 where nothing is known */
    int16_t nodes[SP_PLACE_MAX_NODES]; /* their numbers, ascending */
} sp_place;

/* The affinity mask of the calling thread, and the nodes. */
void sp_place_read(sp_place *place);

/* Fill in the nodes of the processors in `place` from a folder laid out like /sys/devices/system/node; one node where it
 * says nothing that can be read. */
void sp_place_read_nodes(sp_place *place, const char *folder);

/* Which of `nodes` a processor belongs to; 0: it is not in the list. */
int sp_place_node_of(const sp_place *place, int cpu);
int sp_place_node_cpus(const sp_place *place, int node); /* how many processors it has */

/* The processor that the calling thread is on; negative: unknown. */
int sp_place_here(void);

/* Restrict a thread to one processor, or let it use all of `place` again. A thread that waits for its processor
 * moves at once. False when the system refuses. */
bool sp_place_pin(pthread_t thread, int cpu);
bool sp_place_unpin(pthread_t thread, const sp_place *place);

/* Restrict a thread to the processors of one of the nodes. */
bool sp_place_pin_node(pthread_t thread, const sp_place *place, int node);

typedef enum sp_place_outcome {
    SP_PLACE_DONE,
    SP_PLACE_SAME,   /* there is one node */
    SP_PLACE_KEPT,   /* the process was started with a policy of its own, which stays */
    SP_PLACE_REFUSED /* by the system; errno says why */
} sp_place_outcome;

/* Of the calling thread and those that it starts from now on: new pages alternate between the nodes. */
sp_place_outcome sp_place_interleave(const sp_place *place);

/* The same threads keep to the node that the calling one is on, and so does what they touch first. */
sp_place_outcome sp_place_isolate(const sp_place *place);

/* New pages of this memory, whole pages, come from one of the nodes. False when the system refuses. */
bool sp_place_bind(void *data, size_t n_bytes, const sp_place *place, int node);

/* On which nodes pages of a file's map lie: n_on[k] of the n addresses are on place->nodes[k]; those that are not in the
 * system's cache count nowhere. The sum. */
int sp_place_find(const sp_place *place, const void *const *addresses, int n, int n_on[SP_PLACE_MAX_NODES]);

/* Nanoseconds for which a thread has run so far; false: unknown. */
bool sp_place_run_time(pthread_t thread, int64_t *ns);

#endif
