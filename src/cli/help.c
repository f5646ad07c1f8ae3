/* SPDX-License-Identifier: MIT */
/* The help of a command, written from its table. */
#include "cli/cli.h"

#include <string.h>

static void print_option(const sp_arg *arg, FILE *out)
{
    char left[96];
    int n = arg->letter ? snprintf(left, sizeof left, "  -%c, --%s", arg->letter, arg->name)
                        : snprintf(left, sizeof left, "      --%s", arg->name);
    if (arg->value) snprintf(left + n, sizeof left - (size_t)n, " %s", arg->value);
    if (strlen(left) <= 28)
        fprintf(out, "%-30s%s\n", left, arg->help);
    else
        fprintf(out, "%s\n%30s%s\n", left, "", arg->help);
}

void sp_help_print(const sp_command *command, FILE *out)
{
    fprintf(out, "Usage: sputnik %s%s%s [options]\n\n%s\n", command->name, command->operands[0] ? " " : "",
            command->operands, command->summary);
    if (command->notes) fprintf(out, "\n%s\n", command->notes);
    fputs("\nOptions:\n", out);
    for (size_t i = 0; i < command->n_args; i++) print_option(&command->args[i], out);
    fputs("  -h, --help                  show this help\n", out);
}
