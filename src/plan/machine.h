/* SPDX-License-Identifier: MIT */
/* A machine's ceilings, measured: how fast it reads memory, multiplies 8-bit integers and float32, and reads a file at
 * random places past the page cache. What a model's speed is compared with. */
#ifndef SP_PLAN_MACHINE_H
#define SP_PLAN_MACHINE_H

#include "base/error.h"

#include <stdint.h>

typedef enum sp_ceiling_kind {
    SP_CEILING_MEMORY,  /* bytes read per second, in pages of 2 MB where the system grants them */
    SP_CEILING_INT8,    /* operations per second: a multiplication and an addition are two */
    SP_CEILING_FLOAT32, /* the same */
    SP_CEILING_DISK,    /* bytes per second of 4 MiB reads at random places; threads: reads under way */
    SP_CEILING_NODE,    /* bytes per second that one memory node's processors read from one node's memory */
} sp_ceiling_kind;

typedef struct sp_ceiling {
    sp_ceiling_kind kind;
    char how[40]; /* the instructions, or the nodes */
    int n_threads;
    double per_s;
} sp_ceiling;

#define SP_MACHINE_MAX 64

typedef struct sp_machine {
    sp_ceiling ceilings[SP_MACHINE_MAX];
    int n_ceilings;
} sp_machine;

const char *sp_ceiling_name(sp_ceiling_kind kind); /* "memory", "int8", "float32", "disk", "node" */

/* Add ceilings for a number of threads, the best of several short runs each: about a second of work.
 * Errors: SP_E_NOMEM, SP_E_ARGUMENT (threads). */
sp_status sp_machine_measure(sp_machine *machine, int n_threads, sp_error *err);

/* Add what each of several memory nodes' processors read from each node's memory; nothing where there is one node or the
 * system does not allow to choose. Of more than four nodes the first four. */
sp_status sp_machine_measure_nodes(sp_machine *machine, sp_error *err);

/* Add those of a disk, read through a file that is there, of 64 MiB at least: SP_E_ARGUMENT if it is smaller; SP_E_IO also where
 * the file system has no direct reads. */
sp_status sp_machine_measure_disk(sp_machine *machine, const char *path, sp_error *err);

/* The highest of a kind for a number of threads; 0: not measured. */
double sp_machine_best(const sp_machine *machine, sp_ceiling_kind kind, int n_threads);

#endif
