/* SPDX-License-Identifier: MIT */
/* What the terminal can do: colours (NO_COLOR honoured), width (COLUMNS first). */
#ifndef SP_CLI_TERM_H
#define SP_CLI_TERM_H

#include <stdbool.h>

bool sp_term_is_tty(int fd);
bool sp_term_has_colour(int fd); /* a terminal, TERM is not "dumb", NO_COLOR is unset or empty */
int sp_term_width(int fd);       /* columns; 80 if unknown */

/* Columns that UTF-8 text takes: wide for CJK and emoji, none for combining marks. */
int sp_term_columns(const char *text, int len);

#endif
