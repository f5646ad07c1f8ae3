/* SPDX-License-Identifier: MIT */
/* Processes that work together: MPI's world where the program was started by mpirun (and built with MPI), otherwise one
 * process. All functions are collective: every process calls them in the same order, one thread at a time. Sums run in the
 * order of ranks, so the same number of processes gives the same bits. A process that fails must call sp_comm_abort; a lost
 * one ends the others (MPI's rule). */
#ifndef SP_BASE_COMM_H
#define SP_BASE_COMM_H

#include <sputnik/status.h>

typedef struct sp_comm sp_comm;

/* argc and argv may be NULL. Only the program's main calls it, once. SP_E_UNSUPPORTED: started by mpirun but built without MPI. */
sp_status sp_comm_open(sp_comm **comm, sp_error *err);
void sp_comm_close(sp_comm *comm); /* accepts NULL */
_Noreturn void sp_comm_abort(sp_comm *comm, int code);

int sp_comm_rank(const sp_comm *comm); /* 0 for NULL */
int sp_comm_size(const sp_comm *comm); /* 1 for NULL */

/* values[i] becomes the sum over processes. */
sp_status sp_comm_sum(sp_comm *comm, double *values, size_t n, sp_error *err);

/* Process r's part of `values` is [begins[r], begins[r + 1]). reduce: the own part becomes the sum over all processes, the rest
 * is left undefined. gather: every process gets every part from its owner. */
sp_status sp_comm_reduce_parts(sp_comm *comm, float *values, const int64_t *begins, sp_error *err);
sp_status sp_comm_gather_parts(sp_comm *comm, float *values, const int64_t *begins, sp_error *err);

/* All to all: send[send_begins[r] .. send_begins[r + 1]) goes to process r, in elements of `size` bytes; likewise received. */
sp_status sp_comm_exchange(sp_comm *comm, const void *send, const int64_t *send_begins, void *receive,
                           const int64_t *receive_begins, size_t size, sp_error *err);

/* `n` bytes of process `root` for everybody. */
sp_status sp_comm_broadcast(sp_comm *comm, void *data, size_t n, int root, sp_error *err);
sp_status sp_comm_barrier(sp_comm *comm, sp_error *err);

/* Processes of `comm` that give the same colour, in order of rank. */
sp_status sp_comm_split(sp_comm **part, sp_comm *comm, int colour, sp_error *err);

#endif
