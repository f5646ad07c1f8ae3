/* SPDX-License-Identifier: MIT */
/* The transport over MPI 3. Everything travels as bytes; MPI itself adds nothing up, so sums have comm.c's order. Errors come
 * back as status, except in MPI_Init and after a process is lost, where MPI ends the job. */
#include "base/comm_parts.h"

#include "base/mem.h"

#if SP_HAVE_MPI

#include <mpi.h>

/* Messages in flight at once without a heap allocation. */
#define FEW 64

static sp_status check(int code, const char *what, sp_error *err)
{
    if (code == MPI_SUCCESS) return SP_OK;
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int len = 0;
    MPI_Error_string(code, text, &len);
    return sp_fail(err, SP_E_NETWORK, "mpi: %s: %.250s", what, text);
}

static MPI_Comm wire_of(const sp_comm *comm)
{
    return *(const MPI_Comm *)comm->wire;
}

/* A communicator that returns errors. */
static sp_status adopt(sp_comm *comm, MPI_Comm wire, sp_error *err)
{
    comm->wire = sp_malloc(sizeof wire);
    if (!comm->wire) return sp_fail_nomem(err, "communicator", sizeof wire);
    *(MPI_Comm *)comm->wire = wire;
    MPI_Comm_set_errhandler(wire, MPI_ERRORS_RETURN);
    MPI_Comm_rank(wire, &comm->rank);
    MPI_Comm_size(wire, &comm->size);
    return SP_OK;
}

sp_status sp_wire_open(sp_comm *comm, sp_error *err)
{
    int provided;
    MPI_Comm machine;
    SP_TRY(check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided), "start", err));
    comm->is_world = 1;
    SP_TRY(adopt(comm, MPI_COMM_WORLD, err));
    SP_TRY(check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine),
                 "start", err));
    MPI_Comm_size(machine, &comm->neighbours);
    return check(MPI_Comm_free(&machine), "start", err);
}

void sp_wire_close(sp_comm *comm)
{
    if (comm->is_world)
        MPI_Finalize();
    else
        MPI_Comm_free(comm->wire);
    sp_free(comm->wire);
}

void sp_wire_abort(int code)
{
    MPI_Abort(MPI_COMM_WORLD, code);
    for (;;) { /* it does not return, but its prototype does not say so */
    }
}

static int start_transfer(MPI_Comm wire, const sp_message *sends, int n_sends, const sp_message *receives,
                          int n_receives, MPI_Request *requests)
{
    int code = MPI_SUCCESS;
    for (int i = 0; i < n_receives && code == MPI_SUCCESS; i++)
        code = MPI_Irecv(receives[i].data, (int)receives[i].n_bytes, MPI_BYTE, receives[i].peer, 0, wire,
                         requests++);
    for (int i = 0; i < n_sends && code == MPI_SUCCESS; i++)
        code = MPI_Isend(sends[i].data, (int)sends[i].n_bytes, MPI_BYTE, sends[i].peer, 0, wire, requests++);
    return code;
}

sp_status sp_wire_transfer(sp_comm *comm, const sp_message *sends, int n_sends, const sp_message *receives,
                           int n_receives, sp_error *err)
{
    int n = n_sends + n_receives;
    MPI_Request few[FEW];
    MPI_Request *requests = n <= FEW ? few : sp_malloc_array((size_t)n, sizeof *requests);
    if (!requests) return sp_fail_nomem(err, "messages", (uint64_t)n * sizeof *requests);
    int code = start_transfer(wire_of(comm), sends, n_sends, receives, n_receives, requests);
    /* after a failure some messages may still be under way; the caller ends the job, so nobody reads them */
    if (code == MPI_SUCCESS) code = MPI_Waitall(n, requests, MPI_STATUSES_IGNORE);
    if (requests != few) sp_free(requests);
    return check(code, "message", err);
}

sp_status sp_wire_collect(sp_comm *comm, const void *own, void *all, size_t n_bytes, sp_error *err)
{
    return check(MPI_Allgather(own, (int)n_bytes, MPI_BYTE, all, (int)n_bytes, MPI_BYTE, wire_of(comm)),
                 "sum", err);
}

sp_status sp_wire_broadcast(sp_comm *comm, void *data, size_t n_bytes, int root, sp_error *err)
{
    return check(MPI_Bcast(data, (int)n_bytes, MPI_BYTE, root, wire_of(comm)), "broadcast", err);
}

sp_status sp_wire_barrier(sp_comm *comm, sp_error *err)
{
    return check(MPI_Barrier(wire_of(comm)), "barrier", err);
}

sp_status sp_wire_split(sp_comm *part, sp_comm *comm, int colour, sp_error *err)
{
    MPI_Comm wire;
    SP_TRY(check(MPI_Comm_split(wire_of(comm), colour, comm->rank, &wire), "split", err));
    return adopt(part, wire, err);
}

#else

#include <stdlib.h>

static sp_status refuse(sp_error *err)
{
    return sp_fail(err, SP_E_UNSUPPORTED, "this build has no MPI (SP_WITH_MPI): it runs as one process only");
}

sp_status sp_wire_open(sp_comm *comm, sp_error *err)
{
    (void)comm;
    return refuse(err);
}

void sp_wire_close(sp_comm *comm)
{
    (void)comm;
}

void sp_wire_abort(int code)
{
    exit(code);
}

sp_status sp_wire_transfer(sp_comm *comm, const sp_message *sends, int n_sends, const sp_message *receives,
                           int n_receives, sp_error *err)
{
    (void)comm, (void)sends, (void)n_sends, (void)receives, (void)n_receives;
    return refuse(err);
}

sp_status sp_wire_collect(sp_comm *comm, const void *own, void *all, size_t n_bytes, sp_error *err)
{
    (void)comm, (void)own, (void)all, (void)n_bytes;
    return refuse(err);
}

sp_status sp_wire_broadcast(sp_comm *comm, void *data, size_t n_bytes, int root, sp_error *err)
{
    (void)comm, (void)data, (void)n_bytes, (void)root;
    return refuse(err);
}

sp_status sp_wire_barrier(sp_comm *comm, sp_error *err)
{
    (void)comm;
    return refuse(err);
}

sp_status sp_wire_split(sp_comm *part, sp_comm *comm, int colour, sp_error *err)
{
    (void)part, (void)comm, (void)colour;
    return refuse(err);
}

#endif
