/* SPDX-License-Identifier: MIT */
/* What a transport offers to comm.c: messages of at most SP_WIRE_PIECE bytes and three collectives. The only transport is
 * MPI (comm_mpi.c); a build without it has the same functions, which fail. */
#ifndef SP_BASE_COMM_PARTS_H
#define SP_BASE_COMM_PARTS_H

#include "base/comm.h"

/* Far below MPI's limit of 2^31 - 1 elements. */
#define SP_WIRE_PIECE ((size_t)16 << 20)

struct sp_comm {
    int rank, size, neighbours;
    void *wire; /* MPI's communicator; NULL: one process */
    int is_world;
};

typedef struct sp_message {
    void *data; /* read only where it is sent */
    size_t n_bytes;
    int peer;
} sp_message;

/* Fill rank, size, neighbours and wire of the world. */
sp_status sp_wire_open(sp_comm *comm, sp_error *err);
void sp_wire_close(sp_comm *comm);
_Noreturn void sp_wire_abort(int code);

/* All messages at once; returns when the last one has arrived. Between two processes messages keep their order. */
sp_status sp_wire_transfer(sp_comm *comm, const sp_message *sends, int n_sends, const sp_message *receives,
                           int n_receives, sp_error *err);
/* Everybody's n_bytes, in order of rank, for everybody. */
sp_status sp_wire_collect(sp_comm *comm, const void *own, void *all, size_t n_bytes, sp_error *err);
sp_status sp_wire_broadcast(sp_comm *comm, void *data, size_t n_bytes, int root, sp_error *err);
sp_status sp_wire_barrier(sp_comm *comm, sp_error *err);
sp_status sp_wire_split(sp_comm *part, sp_comm *comm, int colour, sp_error *err);

#endif
