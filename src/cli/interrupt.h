/* SPDX-License-Identifier: MIT */
/* Ctrl-C as a flag instead of the program's end, for work that must stop in an orderly way. */
#ifndef SP_CLI_INTERRUPT_H
#define SP_CLI_INTERRUPT_H

#include <stdbool.h>

void sp_interrupt_catch(void);
/* Also SIGTERM and SIGUSR1, what launchers and batch systems send before they end a job, and SIGHUP of a terminal that closes. */
void sp_interrupt_catch_all(void);
bool sp_interrupt_seen(void);
const volatile int *sp_interrupt_flag(void); /* not 0 once seen */
void sp_interrupt_forget(void);

#endif
