/* SPDX-License-Identifier: MIT */
/* The inside of the prefix cache, shared by prefix_cache.c (what is known, and what stays in memory) and prefix_cache_disk.c (the
 * files and the thread that writes them).
 *
 * A unit is named by the SHA-256 of what its rows depend on: model, storage, instruction set and all ids up to and with its
 * own. So one table of names is the whole tree: a child is found by its name, and is of use only while all before it is known.
 *
 * Invariants, all under `mutex`: 1. `kept` holds the units that memory is for, and a unit stands in it behind the units before
 * it in its text; so the oldest of all is a leaf, unless nothing else is kept. 2. Rows of a kept unit are freed by the cache's one
 * user alone, so that he may copy them without the lock. 3. A queued unit keeps its rows until the writer is done with it.
 * 4. A unit without rows and without file is not in the table. */
#ifndef SP_INFER_PREFIX_CACHE_PARTS_H
#define SP_INFER_PREFIX_CACHE_PARTS_H

#include "base/mem.h"
#include "base/sha256.h"
#include "infer/prefix_cache.h"

#include <pthread.h>

#define SP_PREFIX_QUEUE_MAX 32 /* units on their way to the disk; more are forgotten instead */

typedef struct sp_unit sp_unit;

typedef enum sp_unit_list_id { SP_LIST_KEPT, SP_LIST_DISK, SP_LIST_COUNT } sp_unit_list_id;

typedef struct sp_unit_list {
    sp_unit *newest, *oldest;
} sp_unit_list;

struct sp_unit {
    uint8_t name[32];
    sp_unit *same_bucket;
    struct {
        sp_unit *newer, *older;
    } links[SP_LIST_COUNT];
    uint8_t *rows; /* NULL: not in memory */
    bool is_kept, is_queued;
    uint64_t n_file_bytes;       /* 0: no file */
    int32_t ids[SP_PREFIX_UNIT]; /* where there are rows */
};

struct sp_prefix_cache {
    const sp_model *model;
    sp_cache_type type;
    uint64_t memory_bytes, disk_bytes;
    uint64_t fingerprint;
    size_t n_row_bytes; /* of one unit */
    char *dir;          /* the model's own; NULL: none */
    sp_sha256 root;     /* of the names: what every unit depends on */

    pthread_mutex_t mutex;
    sp_unit **buckets;
    size_t n_buckets, n_known; /* a power of two; units in the table */
    sp_unit_list lists[SP_LIST_COUNT];
    sp_prefix_cache_stats stats;

    pthread_t writer;
    pthread_cond_t work, done;
    sp_unit *queue[SP_PREFIX_QUEUE_MAX];
    size_t n_queued, next_queued; /* the writer's own unit included */
    bool has_writer, is_ending;
};

/* The table and its lists; with the mutex held. */
sp_unit *sp_prefix_find(const sp_prefix_cache *c, const uint8_t name[32]);
sp_unit *sp_prefix_add(sp_prefix_cache *c, const uint8_t name[32]); /* NULL: no memory */
void sp_prefix_drop_if_empty(sp_prefix_cache *c, sp_unit *unit);
void sp_prefix_unlink(sp_prefix_cache *c, sp_unit_list_id id, sp_unit *unit);
void sp_prefix_link(sp_prefix_cache *c, sp_unit_list_id id, sp_unit *unit, sp_unit *after); /* NULL: newest */

/* Make the folder, look what is in it, start the writer. */
sp_status sp_prefix_disk_open(sp_prefix_cache *c, const char *dir, sp_error *err);

/* End the writer; what is kept in memory is written, as far as the budget goes. */
void sp_prefix_disk_close(sp_prefix_cache *c);

/* Hand a unit with rows to the writer; false if too many wait. With the mutex held. */
bool sp_prefix_disk_queue(sp_prefix_cache *c, sp_unit *unit);

/* The file has been of use; with the mutex held. */
void sp_prefix_disk_touch(sp_prefix_cache *c, sp_unit *unit);

/* Read the unit's file into rows (n_row_bytes) and check it against its name and these ids; without the mutex. A file that is not
 * what it should be is removed and forgotten. */
bool sp_prefix_disk_read(sp_prefix_cache *c, const uint8_t name[32], const int32_t *ids, uint8_t *rows);

#endif
