/* SPDX-License-Identifier: MIT */
/* The server's life: a socket, the daemon, waiting for the model and for the stop, the grace time. Start at sp_server_run(). */
#include "server/server.h"

#include "base/clock.h"
#include "server/http.h"
#include "server/ops.h"
#include "server/router.h"
#include "server/server_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS 50000000

/* --- the socket ----------------------------------------------------------------------------------------- */

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_UNIX) return true;
    if (address->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    return address->ss_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* As users write it: of a socket that was given, where it really listens. */
static void name_address(char *text, size_t cap, const sp_server_options *o,
                         const struct sockaddr_storage *address, socklen_t len)
{
    snprintf(text, cap, "%s", o->host);
    if (o->listen_fd < 0) return;
    if (address->ss_family == AF_UNIX) {
        const char *path = ((const struct sockaddr_un *)address)->sun_path;
        int n = (int)len - (int)offsetof(struct sockaddr_un, sun_path);
        bool is_abstract = n > 1 && !path[0];
        snprintf(text, cap, "unix:%s%.*s", is_abstract ? "@" : "", n > 0 ? n - is_abstract : 0,
                 path + is_abstract);
    } else {
        getnameinfo((const struct sockaddr *)address, len, text, (socklen_t)cap, NULL, 0, NI_NUMERICHOST);
    }
}

static int port_of(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) return ntohs(((const struct sockaddr_in *)address)->sin_port);
    if (address->ss_family == AF_INET6) return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
    return 0;
}

static sp_status check_reach(const sp_server_options *o, const struct sockaddr_storage *address,
                             const char *name, sp_error *err)
{
    if (is_loopback(address) || o->need_keys || o->insecure) return SP_OK;
    return sp_fail(
        err, SP_E_ARGUMENT,
        "address %s can be reached from other machines, and no API keys are demanded: give --keys FILE, or "
        "--insecure if everybody who reaches it may use it",
        name);
}

static sp_status bind_one(int *fd, const struct addrinfo *info, const sp_server_options *o, sp_error *err)
{
    struct sockaddr_storage address;
    int one = 1;
    memset(&address, 0, sizeof address);
    memcpy(&address, info->ai_addr, info->ai_addrlen);
    SP_TRY(check_reach(o, &address, o->host, err));
    *fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0) return sp_fail(err, SP_E_IO, "socket: %s", strerror(errno));
    setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(*fd, info->ai_addr, info->ai_addrlen) == 0 && listen(*fd, 512) == 0) return SP_OK;
    int code = errno;
    close(*fd);
    *fd = -1;
    return sp_fail(err, SP_E_IO, "address %s, port %d: %s", o->host, o->port,
                   code == EADDRINUSE ? "another program listens there (--port takes another)"
                                      : strerror(code));
}

static sp_status open_socket(int *fd, const sp_server_options *o, sp_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *infos = NULL;
    char port[16];
    snprintf(port, sizeof port, "%d", o->port);
    int code = getaddrinfo(o->host, port, &hints, &infos);
    if (code != 0) return sp_fail(err, SP_E_ARGUMENT, "address \"%.100s\": %s", o->host, gai_strerror(code));
    sp_status status = SP_E_IO;
    for (const struct addrinfo *info = infos; info && status == SP_E_IO; info = info->ai_next)
        status = bind_one(fd, info, o, err);
    freeaddrinfo(infos);
    return status;
}

/* The given socket or a new one, and where it listens. */
static sp_status take_socket(sp_listener *out, const sp_server_options *o, sp_error *err)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    sp_status status = SP_OK;
    memset(&address, 0, sizeof address);
    out->fd = o->listen_fd;
    if (out->fd < 0) SP_TRY(open_socket(&out->fd, o, err));
    if (getsockname(out->fd, (struct sockaddr *)&address, &len) != 0) {
        status = sp_fail(err, SP_E_IO, "listening socket: %s", strerror(errno));
    } else {
        name_address(out->host, sizeof out->host, o, &address, len);
        out->port = port_of(&address);
        status = check_reach(o, &address, out->host, err);
    }
    if (status != SP_OK && o->listen_fd < 0) close(out->fd);
    return status;
}

/* --- hooks ---------------------------------------------------------------------------------------------- */

static void take_head(void *ctx, sp_exchange *x)
{
    sp_router_head(ctx, x);
}

static void handle(void *ctx, sp_exchange *x)
{
    x->route->handle(ctx, x);
}

static void finish(void *ctx, sp_exchange *x)
{
    sp_ops_done(ctx, x);
}

static void log_text(void *ctx, const char *text)
{
    sp_ops_log(ctx, "warn", "http", text);
}

/* --- life ----------------------------------------------------------------------------------------------- */

static void name_model(sp_server *server)
{
    sp_model_info info;
    sp_model_get_info(server->model, &info);
    const char *name = server->options.model_name  ? server->options.model_name
                       : info.name && info.name[0] ? info.name
                                                   : info.architecture;
    snprintf(server->name, sizeof server->name, "%s", name);
    snprintf(server->fingerprint, sizeof server->fingerprint, "fp_%010llx",
             (unsigned long long)(sp_server_fingerprint(server->model) & 0xffffffffffu));
}

static void nap(void)
{
    struct timespec pause = {0, POLL_NS};
    nanosleep(&pause, NULL); /* a signal ends it early */
}

static void serve(sp_server *server, sp_http *http, const volatile int *stop)
{
    while (!*stop) nap();
    server->is_stopping = true;
    if (server->options.stopping) server->options.stopping(server->options.ctx);
    sp_ops_log(server, "info", "stopping", "no more requests are taken");
    sp_http_quiesce(http);
    if (server->scheduler) sp_scheduler_drain(server->scheduler);
    double end = sp_seconds() + server->options.grace_s;
    while (sp_http_active(http) > 0 && sp_seconds() < end) nap();
}

static sp_status start_http(sp_server *server, sp_error *err)
{
    const sp_server_options *o = &server->options;
    sp_http_options options = {.listen_fd = server->at.fd,
                               .is_shared = o->listen_fd >= 0,
                               .tls_cert = o->tls_cert,
                               .tls_key = o->tls_key,
                               .max_body_bytes = o->max_body_bytes,
                               .max_connections = o->max_connections,
                               .request_timeout_s = o->request_timeout_s,
                               .head = take_head,
                               .handle = handle,
                               .done = finish,
                               .log = log_text,
                               .ctx = server};
    sp_status status = sp_http_start(&server->http, &options, err);
    if (status != SP_OK && o->listen_fd < 0) close(server->at.fd);
    return status;
}

sp_status sp_server_start(sp_server *server, sp_error *err)
{
    SP_TRY(sp_http_check(err));
    server->started = time(NULL);
    server->is_stopping = false;
    server->is_loading = true;
    server->http = NULL;
    server->ops = sp_ops_create();
    if (!server->ops) return sp_fail_nomem(err, "counters", 0);
    sp_status status = take_socket(&server->at, &server->options, err);
    if (status == SP_OK && server->options.listen_fd < 0) status = start_http(server, err);
    if (status != SP_OK) sp_server_stop(server);
    return status;
}

void sp_server_stop(sp_server *server)
{
    sp_http_stop(server->http);
    server->http = NULL;
    sp_ops_destroy(server->ops);
    server->ops = NULL;
}

sp_status sp_server_run(sp_server *server, const volatile int *stop, sp_error *err)
{
    const sp_server_options *o = &server->options;
    sp_status status = SP_OK;
    if (!server->ops) SP_TRY(sp_server_start(server, err));
    if (server->model) name_model(server);
    server->is_loading = false; /* all that was filled in before is seen by whoever sees this */
    if (!server->http) status = start_http(server, err);
    if (status == SP_OK) {
        if (o->ready) o->ready(o->ctx, server->at.host, server->at.port);
        serve(server, server->http, stop);
    }
    sp_server_stop(server);
    return status;
}
