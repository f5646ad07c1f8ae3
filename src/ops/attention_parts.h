/* SPDX-License-Identifier: MIT */
/* What the two ways of attention share: row by row over the kernels, in inference's order (attention.c), and by
 * blocks of rows as matrix products: all backward passes, and with a BLAS training's forward passes too
 * (attention_blocks.c). */
#ifndef SP_OPS_ATTENTION_PARTS_H
#define SP_OPS_ATTENTION_PARTS_H

#include "ops/ops_parts.h"

/* What the backward pass needs again. */
typedef struct sp_attention_saved {
    sp_attend a;
    const sp_span *spans;
    int n_spans;
    const float *stats; /* (T, nh, 2) each softmax's maximum and 1 / sum */
} sp_attention_saved;

/* y (T, nh v_dim) and, unless NULL, stats; keys and values are float32. */
void sp_attention_forward_blocks(sp_ops *ops, const sp_tensor *q, const sp_attend *a, const sp_span *spans,
                                 int n_spans, sp_tensor *y, float *stats);

void sp_attention_backward_blocks(sp_ops *ops, const sp_node *node);

#endif
