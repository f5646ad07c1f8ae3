/* SPDX-License-Identifier: MIT */
#include "server/server_parts.h"

#include "model/model_parts.h"

uint64_t sp_server_fingerprint(const sp_model *model)
{
    return sp_model_fingerprint(model);
}
