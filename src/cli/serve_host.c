/* SPDX-License-Identifier: MIT */
/* sd_listen_fds(3) and sd_notify(3) describe the two protocols. */
#include "cli/serve_host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_FD 3

sp_status sp_host_socket(int *fd, sp_error *err)
{
    int64_t pid = 0, n = 0;
    const char *pid_text = getenv("LISTEN_PID"), *n_text = getenv("LISTEN_FDS");
    bool ours = pid_text && n_text && sp_parse_int(pid_text, &pid) && sp_parse_int(n_text, &n) &&
                pid == (int64_t)getpid() && n >= 1;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    *fd = -1;
    if (!ours) return SP_OK;
    if (n > 1) /* clients of the others would wait for ever */
        return sp_fail(err, SP_E_ARGUMENT,
                       "the service manager gives %lld sockets, one is supported: leave a single Listen line",
                       (long long)n);
    int listens = 0, flags = fcntl(FIRST_FD, F_GETFL);
    socklen_t len = sizeof listens;
    if (getsockopt(FIRST_FD, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens)
        return sp_fail(
            err, SP_E_ARGUMENT,
            "what the service manager gives is no listening stream socket (ListenStream=, Accept=no)");
    fcntl(FIRST_FD, F_SETFD, FD_CLOEXEC);
    if (flags >= 0) fcntl(FIRST_FD, F_SETFL, flags | O_NONBLOCK);
    *fd = FIRST_FD;
    return SP_OK;
}

void sp_host_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) return;
    memcpy(address.sun_path, path, n);
    if (path[0] == '@') address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    close(fd);
}

void sp_host_raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

sp_status sp_host_log_open(sp_host_log *log, const char *path, sp_error *err)
{
    log->fd = STDERR_FILENO;
    if (!path || strcmp(path, "-") == 0) return SP_OK;
    log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    return log->fd >= 0 ? SP_OK : sp_fail(err, SP_E_IO, "log file \"%.200s\": %s", path, strerror(errno));
}

void sp_host_log_line(const sp_host_log *log, const char *line)
{
    char end[] = "\n";
    struct iovec parts[2] = {{(void *)(uintptr_t)line, strlen(line)}, {end, 1}};
    ssize_t n = writev(log->fd, parts, 2); /* one call, so that lines of several threads stay whole */
    (void)n;
}

void sp_host_log_close(sp_host_log *log)
{
    if (log->fd >= 0 && log->fd != STDERR_FILENO) close(log->fd);
    log->fd = STDERR_FILENO;
}
