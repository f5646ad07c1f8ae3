/* SPDX-License-Identifier: MIT */
/* Between expert_reader.c (files, threads) and expert_uring.c. */
#ifndef SP_INFER_EXPERT_READER_PARTS_H
#define SP_INFER_EXPERT_READER_PARTS_H

#include "infer/expert_reader.h"

#include <pthread.h>

typedef struct sp_uring sp_uring;

typedef struct sp_read_file {
    const char *path;
    int fd;
    bool direct; /* O_DIRECT; else the pages are dropped after each read */
} sp_read_file;

struct sp_reader {
    sp_reader_owner owner;
    sp_read_file *files;
    int n_files;
    int depth;
    sp_uring *uring; /* NULL: threads */
    pthread_t *threads;
    int n_threads;
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    uint64_t generation; /* of wakes, under mutex */
    int n_busy;          /* under mutex */
    bool quit;           /* under mutex */
};

/* Account for what one system call brought: result bytes or -errno. True when the piece is done, false when it has to
 * go on at n_read. */
bool sp_reader_advance(sp_reader *reader, sp_read_piece *piece, int64_t result);

/* SP_E_UNSUPPORTED if the build or the kernel has none. */
sp_status sp_uring_create(sp_uring **uring, sp_reader *reader, sp_error *err);
void sp_uring_wake(sp_uring *uring);
void sp_uring_destroy(sp_uring *uring);

#endif
