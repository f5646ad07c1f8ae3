/* SPDX-License-Identifier: MIT */
/* Collectives in a fixed order, over the messages of a transport. Large transfers go in rounds of pieces: in round k every
 * process posts the k-th piece to and from all partners and waits for them; both sides of a pair know its number of pieces, so
 * the process in the earliest round always finds its partners there or ahead. Start at sp_comm_exchange(). */
#include "base/comm_parts.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Floats of everybody's gradients that a process adds up at once, over all processes: 16 MiB. */
#define REDUCE_FLOATS ((int64_t)4 << 20)

sp_status sp_comm_open(sp_comm **comm, sp_comm_kind kind, sp_error *err)
{
    *comm = NULL;
    sp_comm *c = sp_calloc(1, sizeof *c);
    if (!c) return sp_fail_nomem(err, "communicator", sizeof *c);
    c->size = c->neighbours = 1;
    sp_status status = kind == SP_COMM_WORLD ? sp_wire_open(c, err) : SP_OK;
    if (status == SP_OK)
        *comm = c;
    else
        sp_free(c);
    return status;
}

void sp_comm_close(sp_comm *comm)
{
    if (!comm) return;
    if (comm->wire) sp_wire_close(comm);
    sp_free(comm);
}

void sp_comm_abort(sp_comm *comm, int code)
{
    if (comm && comm->wire) sp_wire_abort(code);
    exit(code);
}

int sp_comm_rank(const sp_comm *comm)
{
    return comm ? comm->rank : 0;
}

int sp_comm_size(const sp_comm *comm)
{
    return comm ? comm->size : 1;
}

int sp_comm_neighbours(const sp_comm *comm)
{
    return comm ? comm->neighbours : 1;
}

sp_status sp_comm_sum(sp_comm *comm, double *values, size_t n, sp_error *err)
{
    size_t size = (size_t)sp_comm_size(comm), chunk = SP_WIRE_PIECE / sizeof *values;
    if (size == 1 || n == 0) return SP_OK;
    if (chunk > n) chunk = n;
    double *all = sp_malloc_array(size * chunk, sizeof *all);
    if (!all) return sp_fail_nomem(err, "sums", size * chunk * sizeof *all);
    sp_status status = SP_OK;
    for (size_t first = 0; first < n && status == SP_OK; first += chunk) {
        size_t part = n - first < chunk ? n - first : chunk;
        status = sp_wire_collect(comm, values + first, all, part * sizeof *all, err);
        if (status == SP_OK) memcpy(values + first, all, part * sizeof *all);
        for (size_t r = 1; r < size && status == SP_OK; r++)
            for (size_t i = 0; i < part; i++) values[first + i] += all[r * part + i];
    }
    sp_free(all);
    return status;
}

/* --- all to all -------------------------------------------------------------------------------------------- */

/* One process's side of an all-to-all: bytes to and from every peer. */
typedef struct lanes {
    const char *send;
    char *receive;
    const int64_t *send_begins, *receive_begins; /* (size + 1) elements */
    size_t size;                                 /* of an element */
} lanes;

static size_t lane_bytes(const int64_t *begins, int r, size_t size)
{
    return (size_t)(begins[r + 1] - begins[r]) * size;
}

/* Piece `round` of what goes to (or comes from) peer r; n_bytes 0 past the end. */
static sp_message cut_piece(const char *base, const int64_t *begins, int r, size_t size, size_t round)
{
    size_t n = lane_bytes(begins, r, size), at = round * SP_WIRE_PIECE;
    if (at >= n) return (sp_message){NULL, 0, r};
    char *data = (char *)(uintptr_t)base + (size_t)begins[r] * size + at;
    return (sp_message){data, n - at < SP_WIRE_PIECE ? n - at : SP_WIRE_PIECE, r};
}

static sp_status run_rounds(sp_comm *comm, const lanes *l, sp_message *messages, sp_error *err)
{
    for (size_t round = 0;; round++) {
        int n_sends = 0, n_receives = 0;
        sp_message *sends = messages, *receives = messages + comm->size;
        for (int i = 1; i < comm->size; i++) { /* everybody begins with another peer */
            int to = (comm->rank + i) % comm->size, from = (comm->rank + comm->size - i) % comm->size;
            sends[n_sends] = cut_piece(l->send, l->send_begins, to, l->size, round);
            n_sends += sends[n_sends].n_bytes > 0;
            receives[n_receives] = cut_piece(l->receive, l->receive_begins, from, l->size, round);
            n_receives += receives[n_receives].n_bytes > 0;
        }
        if (n_sends + n_receives == 0) return SP_OK;
        SP_TRY(sp_wire_transfer(comm, sends, n_sends, receives, n_receives, err));
    }
}

sp_status sp_comm_exchange(sp_comm *comm, const void *send, const int64_t *send_begins, void *receive,
                           const int64_t *receive_begins, size_t size, sp_error *err)
{
    int n = sp_comm_size(comm), own = sp_comm_rank(comm);
    lanes l = {send, receive, send_begins, receive_begins, size};
    size_t n_own = lane_bytes(send_begins, own, size);
    assert(n_own == lane_bytes(receive_begins, own, size));
    if (n_own > 0)
        memmove(l.receive + (size_t)receive_begins[own] * size, l.send + (size_t)send_begins[own] * size,
                n_own);
    if (n == 1) return SP_OK;
    sp_message *messages = sp_malloc_array((size_t)n * 2, sizeof *messages);
    if (!messages) return sp_fail_nomem(err, "messages", (uint64_t)n * 2 * sizeof *messages);
    sp_status status = run_rounds(comm, &l, messages, err);
    sp_free(messages);
    return status;
}

sp_status sp_comm_pass(sp_comm *comm, void *data, size_t n, int from, int to, sp_error *err)
{
    int own = sp_comm_rank(comm);
    if (from == to || (own != from && own != to)) return SP_OK;
    for (size_t at = 0; at < n; at += SP_WIRE_PIECE) {
        sp_message m = {(char *)data + at, n - at < SP_WIRE_PIECE ? n - at : SP_WIRE_PIECE,
                        own == from ? to : from};
        SP_TRY(sp_wire_transfer(comm, &m, own == from, &m, own == to, err));
    }
    return SP_OK;
}

/* --- parts with owners -------------------------------------------------------------------------------------- */

static int64_t part_length(const int64_t *begins, int r, int64_t offset, int64_t chunk)
{
    int64_t n = begins[r + 1] - begins[r] - offset;
    return n < 0 ? 0 : n < chunk ? n : chunk;
}

/* own[i] = the sum over ranks, in their order, of everybody's value. */
static void add_ranks(float *own, const float *others, int64_t n, int rank, int size)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = 0.0;
        const float *other = others + i;
        for (int r = 0; r < size; r++) {
            sum += r == rank ? own[i] : *other;
            if (r != rank) other += n;
        }
        own[i] = (float)sum;
    }
}

/* One chunk of every part: to its owner, who gets everybody's and adds them up. */
static sp_status reduce_chunk(sp_comm *comm, float *values, const int64_t *begins, int64_t offset,
                              int64_t chunk, float *others, sp_message *messages, sp_error *err)
{
    sp_message *sends = messages, *receives = messages + comm->size;
    int n_sends = 0, n_receives = 0;
    int64_t n_own = part_length(begins, comm->rank, offset, chunk);
    for (int r = 0; r < comm->size; r++) {
        if (r == comm->rank) continue;
        int64_t n = part_length(begins, r, offset, chunk);
        if (n > 0)
            sends[n_sends++] = (sp_message){values + begins[r] + offset, (size_t)n * sizeof *values, r};
        if (n_own > 0) {
            receives[n_receives] =
                (sp_message){others + n_receives * n_own, (size_t)n_own * sizeof *values, r};
            n_receives++;
        }
    }
    if (n_sends + n_receives > 0) SP_TRY(sp_wire_transfer(comm, sends, n_sends, receives, n_receives, err));
    add_ranks(values + begins[comm->rank] + offset, others, n_own, comm->rank, comm->size);
    return SP_OK;
}

sp_status sp_comm_reduce_parts(sp_comm *comm, float *values, const int64_t *begins, sp_error *err)
{
    int n = sp_comm_size(comm);
    if (n == 1) return SP_OK;
    int64_t chunk = REDUCE_FLOATS / n + 1, longest = 0;
    for (int r = 0; r < n; r++)
        if (begins[r + 1] - begins[r] > longest) longest = begins[r + 1] - begins[r];
    if (chunk > longest) chunk = longest;
    float *others = sp_malloc_array((size_t)chunk * (size_t)n, sizeof *others);
    sp_message *messages = sp_malloc_array((size_t)n * 2, sizeof *messages);
    sp_status status = SP_OK;
    if (!others || !messages)
        status = sp_fail_nomem(err, "gradients of other processes", (uint64_t)chunk * 4);
    for (int64_t offset = 0; offset < longest && status == SP_OK; offset += chunk)
        status = reduce_chunk(comm, values, begins, offset, chunk, others, messages, err);
    sp_free(others);
    sp_free(messages);
    return status;
}

sp_status sp_comm_gather_parts(sp_comm *comm, float *values, const int64_t *begins, sp_error *err)
{
    int n = sp_comm_size(comm), own = sp_comm_rank(comm);
    if (n == 1) return SP_OK;
    sp_message *messages = sp_malloc_array((size_t)n * 2, sizeof *messages);
    if (!messages) return sp_fail_nomem(err, "messages", (uint64_t)n * 2 * sizeof *messages);
    sp_status status = SP_OK;
    int n_sends, n_receives;
    size_t round = 0;
    do {
        sp_message *sends = messages, *receives = messages + n;
        n_sends = n_receives = 0;
        sp_message mine = cut_piece((const char *)values, begins, own, sizeof *values, round);
        for (int r = 0; r < n; r++) {
            if (r == own) continue;
            sends[n_sends] = (sp_message){mine.data, mine.n_bytes, r};
            n_sends += mine.n_bytes > 0;
            receives[n_receives] = cut_piece((const char *)values, begins, r, sizeof *values, round);
            n_receives += receives[n_receives].n_bytes > 0;
        }
        if (n_sends + n_receives > 0)
            status = sp_wire_transfer(comm, sends, n_sends, receives, n_receives, err);
        round++;
    } while (status == SP_OK && n_sends + n_receives > 0);
    sp_free(messages);
    return status;
}

/* --- the rest ----------------------------------------------------------------------------------------------- */

sp_status sp_comm_broadcast(sp_comm *comm, void *data, size_t n, int root, sp_error *err)
{
    if (sp_comm_size(comm) == 1) return SP_OK;
    for (size_t at = 0; at < n; at += SP_WIRE_PIECE) {
        size_t part = n - at < SP_WIRE_PIECE ? n - at : SP_WIRE_PIECE;
        SP_TRY(sp_wire_broadcast(comm, (char *)data + at, part, root, err));
    }
    return SP_OK;
}

sp_status sp_comm_barrier(sp_comm *comm, sp_error *err)
{
    return sp_comm_size(comm) == 1 ? SP_OK : sp_wire_barrier(comm, err);
}

sp_status sp_comm_split(sp_comm **part, sp_comm *comm, int colour, sp_error *err)
{
    SP_TRY(sp_comm_open(part, SP_COMM_SINGLE, err));
    if (!comm || !comm->wire) return SP_OK;
    (*part)->neighbours = comm->neighbours;
    sp_status status = sp_wire_split(*part, comm, colour, err);
    if (status == SP_OK) return SP_OK;
    sp_free(*part);
    *part = NULL;
    return status;
}
