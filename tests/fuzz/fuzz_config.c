/* SPDX-License-Identifier: MIT */
/* Fuzz target: config.json to hyper-parameters. What passes the checks must keep the promises that the engine relies on. */
#include "model/hparams.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_promises(const sp_hparams *hp)
{
    int32_t half = sp_hparams_rope_dim(hp) / 2;
    if (half <= 0 || hp->num_attention_heads % hp->num_key_value_heads != 0) abort();
    if (hp->n_routed_experts > 0 &&
        (hp->num_experts_per_tok < 1 || hp->num_experts_per_tok > hp->n_routed_experts))
        abort();
    double *omega = calloc((size_t)half, sizeof *omega);
    if (!omega) return;
    sp_hparams_rope_frequencies(hp, omega);
    for (int32_t i = 0; i < half; i++)
        if (isnan(omega[i])) abort();
    free(omega);
    if (sp_hparams_param_count(hp) <= 0 || !(sp_hparams_softmax_scale(hp) > 0.0)) abort();
    sp_hparams_is_expert_layer(hp, hp->num_hidden_layers - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_json *root;
    sp_hparams hp;
    sp_error err = SP_ERROR_NONE;
    if (sp_json_parse((const char *)data, size, &root, &err) != SP_OK) return 0;
    if (sp_hparams_from_config(&hp, root, &err) == SP_OK) check_promises(&hp);
    sp_json_destroy(root);
    return 0;
}
