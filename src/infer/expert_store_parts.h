/* SPDX-License-Identifier: MIT */
/* The inside of the expert store, shared by expert_store.c (visits) and expert_slots.c (memory and reads). Everything
 * that changes is under the mutex. */
#ifndef SP_INFER_EXPERT_STORE_PARTS_H
#define SP_INFER_EXPERT_STORE_PARTS_H

#include "infer/expert_store.h"

#include <pthread.h>

/* Guesses from this one on share a record. */
#define SP_GUESS_RANKS 16

/* A stretch of a file that goes into a slot, widened to whole blocks. */
typedef struct sp_expert_span {
    int file;
    uint64_t offset; /* multiple of SP_READ_ALIGN */
    size_t n_bytes;  /* multiple of SP_READ_ALIGN */
    size_t n_needed; /* bytes from offset to the end of the last matrix */
    size_t at;       /* in the slot */
} sp_expert_span;

/* Where an expert's matrices lie in the files and in a slot. */
typedef struct sp_expert_place {
    const sp_tensor *tensor[SP_EXPERT_PARTS];
    size_t at[SP_EXPERT_PARTS];
    sp_expert_span span[SP_EXPERT_PARTS];
    int n_spans;
    int n_pieces; /* of at most SP_READ_PIECE bytes; 0: there is no such expert */
} sp_expert_place;

void sp_expert_place_make(sp_expert_place *place, const sp_expert_part part[SP_EXPERT_PARTS]);
size_t sp_expert_place_bytes(const sp_expert_place *place);

typedef enum sp_slot_state { SP_SLOT_FREE, SP_SLOT_LOADING, SP_SLOT_READY, SP_SLOT_FAILED } sp_slot_state;

typedef struct sp_slot {
    sp_slot_state state;
    int32_t key; /* the expert, -1 if free */
    int next_piece, n_flying;
    bool failed;    /* while pieces are still flying */
    bool protected; /* guessed, and its layer has not begun yet */
    bool guessed;   /* read because of a guess, and not wanted by anybody yet */
    bool
        joined; /* the reading began before those who want the expert now asked: a failure may be out of date */
    bool abandoned; /* a wrong guess of which some pieces are still flying: no others are read */
    bool touched;   /* an expert was once read into it whole: its memory has pages */
    sp_read_piece failure;
} sp_slot;

typedef struct sp_expert_key {
    int32_t slot;    /* -1: not in memory */
    int32_t wanted;  /* visits that have asked for it and not given it back */
    uint8_t guessed; /* by the last guess for its layer: 1 + its rank there; 0: not */
} sp_expert_key;

struct sp_expert_store {
    sp_expert_source source;
    int32_t n_layers, n_experts;
    size_t n_keys;
    sp_expert_place *places; /* (n_keys) */
    sp_expert_key *keys;     /* (n_keys) */
    sp_slot *slots;          /* (n_slots) */
    int64_t n_slots;
    int32_t *loading; /* (n_loading) slots being read, in the order in which they were asked for */
    int64_t n_loading;
    char *memory; /* n_slots * slot_bytes */
    size_t slot_bytes, memory_bytes;
    sp_reader *reader;
    int32_t *hot; /* (n_hot) keys to fetch into free slots, best first */
    size_t n_hot, next_hot;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* a slot became ready, failed or free */
    sp_expert_policy policy;
    uint64_t n_passes;
    double guess_share[SP_GUESS_RANKS]; /* of guesses that come true, over some time, by likelihood */
    sp_expert_store_stats stats;
    bool record;
    int32_t *trace;
    size_t n_trace, trace_cap;
};

/* A slot for the expert, which is not in memory, and its reads in line; false if every slot is in use. A guess takes no
 * slot of another guess. */
bool sp_slot_load(sp_expert_store *store, int32_t key, bool guess);

/* Throw away guesses that are not all read; nobody will want them now. */
void sp_slot_drop_guesses(sp_expert_store *store);

/* The last visit gave the expert back. */
void sp_slot_let_go(sp_expert_store *store, int32_t key);

/* For the reader. */
bool sp_slot_take(void *ctx, int n_busy, sp_read_piece *piece);
void sp_slot_done(void *ctx, const sp_read_piece *piece);

#endif
