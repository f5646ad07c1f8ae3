/* SPDX-License-Identifier: MIT */
/* Models larger than memory on the command line: --ram, the plan, the hot set beside the model. */
#ifndef SP_CLI_EXPERTS_H
#define SP_CLI_EXPERTS_H

#include "cli/cli.h"

/* "16G", "4.5G", "800M", "16GiB" or bytes; multiples of 1024. SP_E_ARGUMENT otherwise. */
sp_status sp_cli_parse_ram(const char *text, uint64_t *n_bytes, sp_error *err);

/* If the user said --ram: print the plan to a terminal, load the shared weights and let experts come from disk. Before
 * the first session; `options` describes the largest one. */
sp_status sp_cli_begin_experts(sp_model *model, const sp_session_args *args,
                               const sp_session_options *options, int32_t n_sessions, sp_error *err);

/* Before the model is closed: keep what was learned, write the trace, tell a terminal what came from where. The exit
 * status: `code`, or that of failure if the trace cannot be written. */
int sp_cli_end_experts(const sp_model *model, const sp_session_args *args, int code);

/* The plan for so much memory on standard output. */
sp_status sp_cli_print_plan(const sp_model *model, const char *ram, int json, sp_error *err);

#endif
