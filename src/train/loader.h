/* SPDX-License-Identifier: MIT */
/* Batches by name. The rows of a training run are numbered 0, 1, 2, ... over all steps; what row g holds is a pure function
 * of (shards, options, g), so that any step can be fetched, resumed and audited without the steps before it.
 *   source: rows are dealt to the sources by a pattern of 65,536 places in which each source has its share, spread evenly:
 *     after any number of rows each source has had its weight's share, give or take one row per source.
 *   order: the k-th row of a source with N sequences is sequence permute(seed, source, k / N)(k % N): every sequence once in
 *     each epoch of the source, in a new order each time.
 *   cut: SP_CUT_STREAM takes the documents as one stream and cuts it every T tokens (sequence i predicts tokens iT+1 .. iT+T;
 *     the stream's last, shorter rest is left out). SP_CUT_WHOLE puts whole documents into a sequence, in the shard's order, until
 *     the next does not fit; only documents above T+1 tokens are cut, every T tokens; the rest of a row is padding.
 * The first token of a document is never learnt: nothing before it tells of it. */
#ifndef SP_TRAIN_LOADER_H
#define SP_TRAIN_LOADER_H

#include "format/shard.h"

#define SP_LOADER_SOURCES_MAX 256

typedef enum sp_cut { SP_CUT_STREAM, SP_CUT_WHOLE } sp_cut;

typedef struct sp_source {
    const char *path;
    double weight; /* 0: as many as the source has sequences. Either all sources have a weight or none. */
} sp_source;

typedef struct sp_loader_options {
    uint32_t n_tokens; /* T, of a sequence */
    uint32_t n_rows;   /* B, sequences of a step on all ranks together */
    uint64_t seed;
    sp_cut cut;
    int32_t pad; /* id in padding */
} sp_loader_options;

typedef struct sp_loader sp_loader; /* immutable: shared by threads */

/* Errors: those of the shards, SP_E_ARGUMENT (weights, sizes, a shard without a whole sequence, shards of different
 * vocabularies), SP_E_NOMEM. */
sp_status sp_loader_open(sp_loader **loader, const sp_source *sources, size_t n_sources,
                         const sp_loader_options *options, sp_error *err);
void sp_loader_close(sp_loader *loader); /* accepts NULL */

/* Rows to fill; the arrays are the caller's. Padding: tokens and targets are `pad`, mask 0. */
typedef struct sp_rows {
    int32_t *tokens, *targets; /* (n, T) */
    uint8_t *mask;             /* (n, T) 1 where the target is learnt */
    int32_t
        *segments; /* (n, T) or NULL: the token's document, counted from 0 within the row; -1 in padding */
} sp_rows;

/* Rows first .. first + n - 1 of the run (for schedules of the batch size). Cannot fail. */
void sp_loader_get_rows(const sp_loader *loader, uint64_t first, uint32_t n, sp_rows *batch);

/* Rank's part of step `step`: B / n_ranks rows. SP_E_ARGUMENT unless n_ranks divides B and rank < n_ranks. */
sp_status sp_loader_get_batch(const sp_loader *loader, uint64_t step, uint32_t rank, uint32_t n_ranks,
                              sp_rows *batch, sp_error *err);

/* Where row g comes from: tokens begin .. end - 1 of the source's shard. */
typedef struct sp_row_place {
    uint32_t source;
    uint64_t epoch, sequence; /* of the source */
    uint64_t begin, end;
    uint64_t first_document, last_document;
} sp_row_place;

void sp_loader_locate(const sp_loader *loader, uint64_t row, sp_row_place *place);

uint64_t sp_loader_sequences(const sp_loader *loader, size_t source); /* in one epoch */
const sp_shard *sp_loader_shard(const sp_loader *loader, size_t source);

#endif
