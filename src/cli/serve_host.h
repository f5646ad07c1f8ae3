/* SPDX-License-Identifier: MIT */
/* What surrounds a server: its log, the service manager that may have started it (systemd's protocols, spoken by hand). */
#ifndef SP_CLI_SERVE_HOST_H
#define SP_CLI_SERVE_HOST_H

#include "cli/cli.h"

/* *fd: the socket that the service manager has bound for us, -1 if there is none. SP_E_ARGUMENT: several, or of another kind. */
sp_status sp_host_socket(int *fd, sp_error *err);

/* Tell the service manager, if there is one: "READY=1", "STOPPING=1". */
void sp_host_notify(const char *state);

/* Let as many files be open as the system allows. */
void sp_host_raise_files(void);

/* Lines to a file, appended to; NULL or "-": standard error. */
typedef struct sp_host_log {
    int fd;
} sp_host_log;

sp_status sp_host_log_open(sp_host_log *log, const char *path, sp_error *err);
void sp_host_log_line(const sp_host_log *log, const char *line); /* any thread */
void sp_host_log_close(sp_host_log *log);

#endif
