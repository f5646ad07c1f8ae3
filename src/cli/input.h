/* SPDX-License-Identifier: MIT */
/* Lines that the user types: libedit with history where it is built in and both ends are terminals, plain
 * lines otherwise. A message may take several lines: a trailing backslash continues, """ begins and ends a
 * block, and a pasted text (bracketed paste) arrives as one message. */
#ifndef SP_CLI_INPUT_H
#define SP_CLI_INPUT_H

#include "base/mem.h"

typedef struct sp_input sp_input;

typedef enum sp_input_result {
    SP_INPUT_TEXT,
    SP_INPUT_END,         /* Ctrl-D, end of the file */
    SP_INPUT_INTERRUPTED, /* Ctrl-C: the line is dropped */
    SP_INPUT_FAILED       /* out of memory, a text above the limit */
} sp_input_result;

/* `words` (NULL-terminated, may be NULL) complete after Tab at the start of a line. `with_history` 0: none is
 * kept. */
sp_status sp_input_create(sp_input **input, const char *const *words, int with_history, sp_error *err);
void sp_input_destroy(sp_input *input); /* accepts NULL; saves the history */

/* True if the user types at a terminal. */
bool sp_input_is_terminal(const sp_input *input);

/* One message, without its last newline, into text (replaced). */
sp_input_result sp_input_read(sp_input *input, const char *prompt, sp_buf *text, sp_error *err);

#endif
