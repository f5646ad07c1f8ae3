/* SPDX-License-Identifier: MIT */
/* The line editor of the terminal: libedit with a history file, multi-line paste, and Ctrl-C that drops the
 * line. */
#ifndef SP_CLI_EDIT_H
#define SP_CLI_EDIT_H

#include "cli/input.h"

typedef struct sp_edit sp_edit;

/* NULL if the program is built without libedit or it cannot start: the caller reads plain lines. */
sp_edit *sp_edit_create(const char *const *words, int with_history);
void sp_edit_destroy(sp_edit *edit); /* accepts NULL; saves the history */

sp_input_result sp_edit_read(sp_edit *edit, const char *prompt, sp_buf *line, sp_error *err);

#endif
