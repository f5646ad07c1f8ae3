/* SPDX-License-Identifier: MIT */
/* What ops.c counts and ops_metrics.c writes. */
#ifndef SP_SERVER_OPS_PARTS_H
#define SP_SERVER_OPS_PARTS_H

#include "server/ops.h"

#include <pthread.h>

#define SP_OPS_ROWS 256 /* pairs of route and status; more are not counted one by one */
#define SP_OPS_BUCKETS 12

typedef struct sp_ops_row {
    const char *route;
    int status;
    uint64_t n;
} sp_ops_row;

/* A histogram over sp_ops_bounds; the last count is what lies above them. */
typedef struct sp_ops_times {
    uint64_t counts[SP_OPS_BUCKETS + 1];
    double sum;
} sp_ops_times;

extern const double sp_ops_bounds[SP_OPS_BUCKETS];

struct sp_ops {
    pthread_mutex_t lock;
    sp_ops_row rows[SP_OPS_ROWS];
    size_t n_rows;
    sp_ops_times answer, first;
    uint64_t n_bytes;
};

#endif
