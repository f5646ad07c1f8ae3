/* SPDX-License-Identifier: MIT */
/* Options from a file: a JSON object whose keys are long names of a command's options. */
#ifndef SP_CLI_ARGS_CONFIG_H
#define SP_CLI_ARGS_CONFIG_H

#include "base/json.h"
#include "cli/args.h"

/* The texts that options point into, until the options are not used any more. */
typedef struct sp_args_config {
    sp_json *root;
} sp_args_config;

/* Set what the file says. A flag's value is true or false, that of a list one text or an array. Errors: SP_E_ARGUMENT with file and key (an
 * unknown key, a value of the wrong kind), those of reading the file and of JSON. */
sp_status sp_args_config_load(sp_args_config *config, const sp_command *command, const char *path,
                              void *options, sp_error *err);
void sp_args_config_clear(sp_args_config *config);

#endif
