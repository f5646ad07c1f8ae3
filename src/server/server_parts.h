/* SPDX-License-Identifier: MIT */
/* What server.c asks of the model's inside, whose names would meet the server's in one file. */
#ifndef SP_SERVER_SERVER_PARTS_H
#define SP_SERVER_SERVER_PARTS_H

#include <sputnik/model.h>

#include <stdint.h>

uint64_t sp_server_fingerprint(const sp_model *model);

#endif
