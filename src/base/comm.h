/* SPDX-License-Identifier: MIT */
/* Processes that work together: MPI's world where mpirun or srun started the program (and it was built with MPI), otherwise
 * one process. All functions are collective unless they say otherwise: every process calls them in the same order, one thread
 * at a time. Sums run in the order of ranks, so the same number of processes gives the same bits. A process that fails must
 * call sp_comm_abort; a lost one ends the others (MPI's rule). NULL stands for one process everywhere. Counts may exceed 2^31.
 * Errors: SP_E_NOMEM, SP_E_NETWORK with MPI's own text. */
#ifndef SP_BASE_COMM_H
#define SP_BASE_COMM_H

#include "base/error.h"

#include <stddef.h>

typedef struct sp_comm sp_comm;

/* How the program was started; the library does not look at the environment. */
typedef enum sp_comm_kind {
    SP_COMM_SINGLE, /* alone */
    SP_COMM_WORLD,  /* by mpirun, srun or another of MPI's launchers */
} sp_comm_kind;

/* Only the program's main calls it, once, before it starts threads. SP_E_UNSUPPORTED: SP_COMM_WORLD in a build without MPI. */
sp_status sp_comm_open(sp_comm **comm, sp_comm_kind kind, sp_error *err);

/* Collective; ends MPI for the world's communicator. Parts made by sp_comm_split are closed first. */
void sp_comm_close(sp_comm *comm);

/* Not collective: ends all processes with this exit status, after which a launcher ends with it too. Prints nothing itself. A
 * process alone exits. */
_Noreturn void sp_comm_abort(sp_comm *comm, int code);

int sp_comm_rank(const sp_comm *comm);       /* 0 for NULL */
int sp_comm_size(const sp_comm *comm);       /* 1 for NULL */
int sp_comm_neighbours(const sp_comm *comm); /* processes of the world on this machine, this one included */

/* values[i] becomes the sum over processes. For few values: every process gets everybody's. */
sp_status sp_comm_sum(sp_comm *comm, double *values, size_t n, sp_error *err);

/* Process r's part of `values` is [begins[r], begins[r + 1]). reduce: the own part becomes the sum over all processes (added
 * up in double, rounded once), the rest is left undefined. gather: every process gets every part from its owner. */
sp_status sp_comm_reduce_parts(sp_comm *comm, float *values, const int64_t *begins, sp_error *err);
sp_status sp_comm_gather_parts(sp_comm *comm, float *values, const int64_t *begins, sp_error *err);

/* All to all: send[send_begins[r] .. send_begins[r + 1]) goes to process r, in elements of `size` bytes; likewise received.
 * Nothing is exchanged between two processes whose counts are zero: they do not even wait for each other. */
sp_status sp_comm_exchange(sp_comm *comm, const void *send, const int64_t *send_begins, void *receive,
                           const int64_t *receive_begins, size_t size, sp_error *err);

/* Not collective beyond the two processes: n bytes from one to the other; returns at once in all others. */
sp_status sp_comm_pass(sp_comm *comm, void *data, size_t n, int from, int to, sp_error *err);

/* `n` bytes of process `root` for everybody. */
sp_status sp_comm_broadcast(sp_comm *comm, void *data, size_t n, int root, sp_error *err);
sp_status sp_comm_barrier(sp_comm *comm, sp_error *err);

/* Processes of `comm` that give the same colour (>= 0), in order of rank. */
sp_status sp_comm_split(sp_comm **part, sp_comm *comm, int colour, sp_error *err);

#endif
