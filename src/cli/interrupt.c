/* SPDX-License-Identifier: MIT */
/* The handler of signals that ask for an end. A second one while the first is not yet answered ends the program. */
#include "cli/interrupt.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    if (interrupted) _exit(128 + number);
    interrupted = 1;
}

void sp_interrupt_catch(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal; /* no SA_RESTART: reading a line ends too */
    sigaction(SIGINT, &action, NULL);
}

void sp_interrupt_catch_all(void)
{
    sp_interrupt_catch();
    struct sigaction action, hangup;
    sigaction(SIGINT, NULL, &action);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGHUP, NULL, &hangup);
    if (hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL); /* ignored: by nohup */
}

bool sp_interrupt_seen(void)
{
    return interrupted != 0;
}

const volatile int *sp_interrupt_flag(void)
{
    return &interrupted;
}

void sp_interrupt_forget(void)
{
    interrupted = 0;
}
