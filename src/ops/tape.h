/* SPDX-License-Identifier: MIT */
/* The tape: what an op leaves behind when a trainer records, and nothing in inference (sp_ops.tape == NULL).
 *
 * Contract for every op in ops.h. (1) It computes its output at once, into the arena. (2) When a tape
 * records, it calls sp_tape_record with its inputs, its output, a backward function and whatever that
 * function needs again (all in the same arena, which then lives until the backward pass is over). (3) Its
 * backward adds to the gradients of parameters and of activations through sp_tape_grad, never overwrites
 * them, because an activation may have several users. (4) Outputs are new tensors or views; an op never
 * changes its inputs, so that saved inputs stay valid; what a caller hands in beside tensors (ids, positions,
 * targets) it keeps until the backward pass is over. (5) Every sum of a backward pass runs in an order that
 * depends on shapes alone: gradients have the same bits for any number of threads. (6) It asks for gradients
 * before it marks the arena to give scratch memory back. (7) Once an op's backward has run, every reader of its
 * output has, and the output's memory is used again, as is that of outputs that a block has released. The blocks of model/ call ops only and therefore need
 * no second version for training. */
#ifndef SP_OPS_TAPE_H
#define SP_OPS_TAPE_H

#include "tensor/tensor.h"

struct sp_ops;

typedef struct sp_node sp_node;

/* Add this node's share to the gradients of its inputs, given its output's gradient. */
typedef void (*sp_backward_fn)(struct sp_ops *ops, const sp_node *node);

#define SP_NODE_MAX_INPUTS 4

struct sp_node {
    sp_node *previous; /* in order of recording; backward runs from the last to the first */
    sp_backward_fn backward;
    const sp_tensor *inputs[SP_NODE_MAX_INPUTS]; /* NULL where an input is absent */
    const sp_tensor *output;
    const void *saved; /* op-specific, in the arena */
    float *grad; /* of the output, same shape, dense; NULL until somebody asks and after the node has run */
    bool owned;  /* the output's elements are its own, not another tensor's, and still there */
    bool fp8;    /* the op's products are simulated in FP8 (sp_ops) */
    const sp_tensor *whole; /* a view's gradient is the part of this tensor's from `first` on; else NULL */
    int64_t first;
};

typedef struct sp_spare sp_spare;

typedef struct sp_tape {
    sp_node *last;
    size_t n_nodes;
    sp_spare *spares; /* gradients that are no longer needed, for later ones of the same size */
} sp_tape;

/* Record an op; does nothing without a tape. A failed allocation is left in ops->status. */
void sp_tape_record(struct sp_ops *ops, sp_tensor *output, const sp_tensor *const *inputs, int n_inputs,
                    sp_backward_fn backward, const void *saved);

/* For an op that cannot be differentiated (a quantised weight, a key-value cache that is not float32):
 * recording it fails with SP_E_UNSUPPORTED in ops->status. */
void sp_tape_refuse(struct sp_ops *ops);

/* The dense, zero-initialised float gradient of a recorded tensor; NULL if no tape knows it (a constant). */
float *sp_tape_grad(struct sp_ops *ops, const sp_tensor *tensor);

/* Mark a tensor as a leaf whose gradient is wanted (parameters, inputs under test). */
void sp_tape_leaf(struct sp_ops *ops, sp_tensor *tensor);

/* The same with a gradient in the caller's memory (dense, the tensor's shape, not zeroed here): backward
 * passes add to it, so that several of them accumulate. */
void sp_tape_parameter(struct sp_ops *ops, sp_tensor *tensor, float *grad);

/* Nobody reads this tensor's elements again, neither an op to come nor a backward pass (that of its users: of products, norms,
 * SwiGLU, attention and combining; views, sums, concatenation and rotation read nothing): their memory is used again. Does
 * nothing without a tape, and for elements that are another tensor's. */
void sp_tape_release(struct sp_ops *ops, const sp_tensor *tensor);

/* Run all backward functions from the last op to the first, starting from d(output) = seed (dense, output's
 * shape). Afterwards leaves have their gradients; the memory of all others, and of all outputs, was used again on the way. */
void sp_tape_backward(struct sp_ops *ops, const sp_tensor *output, const float *seed);

#endif
