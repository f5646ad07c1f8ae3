/* SPDX-License-Identifier: MIT */
/* The store of routed experts: a bounded number of slots in memory, and reads of what is not there (decision 13).
 * Implements model/expert_source.h. Invariants: (1) an expert that a visit has asked for and not yet given back is not
 * thrown away; (2) a visit waits only while none of its experts is in memory, so visits cannot wait for each other. */
#ifndef SP_INFER_EXPERT_STORE_H
#define SP_INFER_EXPERT_STORE_H

#include "infer/expert_policy.h"
#include "infer/expert_reader.h"
#include "model/expert_source.h"

enum { SP_EXPERT_GATE, SP_EXPERT_UP, SP_EXPERT_DOWN, SP_EXPERT_PARTS };

/* A matrix of an expert: where it lies, and its shape and format (data is not followed). */
typedef struct sp_expert_part {
    const sp_tensor *tensor;
    int file;
    uint64_t offset;
} sp_expert_part;

/* Experts are numbered layer * n_experts + expert. */
typedef struct sp_expert_store_options {
    const char *const *files;
    int n_files;
    int32_t n_layers, n_experts; /* n_experts per layer */
    const sp_expert_part (
        *parts)[SP_EXPERT_PARTS]; /* (n_layers * n_experts); a tensor of NULL: there is none */
    int64_t n_slots;              /* at least 1 */
    sp_reader_kind reader;
    int depth;  /* reads under way; 0: 16 */
    int record; /* keep a trace of the visits */
} sp_expert_store_options;

typedef struct sp_expert_store sp_expert_store;

/* Bytes of a slot for these experts: the largest expert with its blocks' edges. */
size_t sp_expert_slot_bytes(const sp_expert_store_options *options);

sp_status sp_expert_store_create(sp_expert_store **store, const sp_expert_store_options *options,
                                 sp_error *err);
void sp_expert_store_destroy(sp_expert_store *store); /* no visit may be open; accepts NULL */

const sp_expert_source *sp_expert_store_source(const sp_expert_store *store);

/* The scores, for hot sets: before the first visit, or by sp_expert_store_scores() at any time. */
sp_status sp_expert_store_set_scores(sp_expert_store *store, const double *scores,
                                     sp_error *err); /* and begin to fetch the best */
void sp_expert_store_scores(sp_expert_store *store, double *scores);

typedef struct sp_expert_store_stats {
    /* Experts wanted: kept in memory from before, read or being read because they were guessed, neither. */
    uint64_t n_hits, n_foreseen, n_misses;
    uint64_t n_guessed, n_guessed_right;
    uint64_t n_read_bytes, n_reads; /* everything that was read; n_reads counts experts */
    double wait_s;                  /* visits waited, all together */
    const char *reader;
} sp_expert_store_stats;

void sp_expert_store_stats_get(sp_expert_store *store, sp_expert_store_stats *stats);

/* Whether an expert is in memory now, for tests. */
bool sp_expert_store_holds(sp_expert_store *store, int32_t layer, int32_t expert);

/* The recorded visits: layer, n, n experts, and so on; owned by the store. */
const int32_t *sp_expert_store_trace(const sp_expert_store *store, size_t *n);

#endif
