/* SPDX-License-Identifier: MIT */
/* What a token costs in a loaded model: the bytes that it has to read from memory and the multiplications of its matrix
 * products. Counted from shapes and storage formats, not measured. */
#ifndef SP_PLAN_COST_H
#define SP_PLAN_COST_H

#include <sputnik/model.h>

typedef struct sp_cost {
    double fixed_bytes;    /* weights that every step reads, whatever its number of rows */
    double expert_bytes;   /* all routed experts */
    double n_experts;      /* of a layer; 0: no routed experts */
    double n_used;         /* of them for a token */
    double products;       /* multiply-adds with weights for a token, without the head */
    double head_products;  /* the head's */
    double cache_elements; /* key-value cache elements for a token of context */
} sp_cost;

/* Prediction layers are not counted: plain decoding does not use them. */
void sp_cost_of_model(sp_cost *cost, const sp_model *model);

/* Bytes of weights that a step of n_rows tokens reads: of the experts those that are expected to be chosen when all
 * are equally likely. */
double sp_cost_step_bytes(const sp_cost *cost, double n_rows);

/* Bytes of an element of the key-value cache, by the name of its type ("f32", "f16", "bf16", "q8_0"). */
double sp_cost_cache_width(const char *type);

#endif
