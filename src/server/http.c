/* SPDX-License-Identifier: MIT */
/* The callbacks of libmicrohttpd. A request goes: on_line (its first line) → on_request with the head, with pieces of the body, with all of
 * it, and again after each waiting until there is an answer to queue → read_answer as the client takes it → on_completed. A connection
 * that waits is suspended; http_watch.c looks after it. Start at on_request(). */
#include "server/http.h"

#include "base/clock.h"
#include "base/hash.h"
#include "server/http_watch.h"
#include "server/server.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if SP_HAVE_MICROHTTPD
#include <microhttpd.h>
#include <netdb.h>
#include <sys/random.h>
#include <sys/socket.h>

/* Parsing and rendering take little; the processors are the engine's. */
#define N_THREADS 2
#define HEAD_BYTES ((size_t)32 << 10)  /* of a connection: request line, headers, and a piece of the body */
#define PIECE_BYTES ((size_t)16 << 10) /* of an answer */
#define BODIES_AT_ONCE 8               /* bodies of the largest size that may be in memory at once */
#define SHORT_BODY_BYTES ((size_t)64 << 10)
#define STOP_WAIT_MS 5000

struct sp_http {
    sp_http_options options;
    struct MHD_Daemon *daemon;
    MHD_socket listen_fd; /* once quiet: to be closed at the end */
    sp_watch *watch;
    uint64_t salt;
    atomic_ullong n_requests;
    atomic_size_t n_active, body_bytes;
    bool is_quiet;
};

typedef struct client {
    sp_watched *watched;
    bool is_extra; /* one more than may be connected */
} client;

typedef struct request {
    sp_http *http;
    client *client;
    sp_exchange *x;
    struct MHD_Connection *connection;
    size_t body_bytes;
    bool has_head, has_arrived, is_queued, is_active;
} request;

static client *client_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* --- the request ---------------------------------------------------------------------------------------- */

static void suspend(void *connection)
{
    MHD_suspend_connection(connection);
}

static void resume(void *connection)
{
    MHD_resume_connection(connection);
}

static void set_peer(sp_exchange *x, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    socklen_t len = address && address->sa_family == AF_INET6  ? sizeof(struct sockaddr_in6)
                    : address && address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                               : 0;
    char text[NI_MAXHOST];
    if (len == 0 || getnameinfo(address, len, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0)
        strcpy(text, "local");
    const char *from = strncmp(text, "::ffff:", 7) == 0 && strchr(text, '.') ? text + 7 : text;
    snprintf(x->peer, sizeof x->peer, "%.*s", (int)sizeof x->peer - 1, from);
}

static void *on_line(void *cls, const char *uri, struct MHD_Connection *connection)
{
    sp_http *http = cls;
    client *from = client_of(connection);
    request *r = from ? sp_calloc(1, sizeof *r) : NULL;
    if (!r || !(r->x = sp_exchange_create())) {
        sp_free(r);
        return NULL;
    }
    uint64_t number = atomic_fetch_add(&http->n_requests, 1);
    snprintf(r->x->id, sizeof r->x->id, "req-%016llx",
             (unsigned long long)sp_hash(http->salt, &number, sizeof number));
    r->http = http;
    r->client = from;
    r->connection = connection;
    r->x->suspend = suspend;
    r->x->resume = resume;
    r->x->connection = connection;
    set_peer(r->x, connection);
    r->x->path = sp_strndup(uri, strcspn(uri, "?")); /* for the log; decoded, it comes with the head */
    sp_watch_begin(http->watch, from->watched, r->x);
    return r;
}

typedef struct field_sink {
    sp_fields *fields;
    bool failed;
} field_sink;

static enum MHD_Result add_field(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    field_sink *sink = cls;
    (void)kind;
    if (!sp_fields_add(sink->fields, name, value ? value : "")) sink->failed = true;
    return sink->failed ? MHD_NO : MHD_YES;
}

static bool fill_head(request *r, const char *path, const char *method, const char *version)
{
    sp_exchange *x = r->x;
    field_sink headers = {&x->headers, false}, query = {&x->query, false};
    sp_free(x->path);
    x->method = sp_strdup(method);
    x->path = sp_strdup(path);
    x->is_http10 = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, add_field, &headers);
    MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, add_field, &query);
    return x->method && x->path && !headers.failed && !query.failed;
}

/* --- the answer ----------------------------------------------------------------------------------------- */

static void count_active(request *r)
{
    if (r->is_active) return;
    r->is_active = true;
    atomic_fetch_add(&r->http->n_active, 1);
}

static ssize_t read_answer(void *cls, uint64_t position, char *data, size_t max)
{
    request *r = cls;
    sp_exchange *x = r->x;
    (void)position;
    switch (sp_exchange_ask(x)) {
    case SP_EXCHANGE_WAIT: return 0;
    case SP_EXCHANGE_END:
        return x->out_of_memory ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    case SP_EXCHANGE_GONE: return MHD_CONTENT_READER_END_WITH_ERROR;
    case SP_EXCHANGE_DATA: break;
    }
    size_t n = x->out.len - x->out_taken;
    if (n > max) n = max;
    memcpy(data, x->out.data + x->out_taken, n);
    x->out_taken += n;
    x->n_sent += n;
    return (ssize_t)n;
}

static enum MHD_Result queue_answer(request *r)
{
    sp_exchange *x = r->x;
    struct MHD_Response *response;
    if (x->out_of_memory && !r->is_queued) {
        x->out.len = x->out_taken = 0;
        x->out_of_memory = false;
        x->has_reply = false;
        sp_server_fail(x, 500, NULL, NULL, "out of memory");
    }
    if (x->has_ended) {
        response = MHD_create_response_from_buffer(x->out.len, x->out.data, MHD_RESPMEM_MUST_COPY);
        x->n_sent = x->out.len;
    } else {
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE_BYTES, read_answer, r, NULL);
    }
    if (!response) return MHD_NO;
    for (size_t i = 0; i < x->answer_headers.n; i++)
        MHD_add_response_header(response, x->answer_headers.items[i].name, x->answer_headers.items[i].value);
    count_active(r);
    r->is_queued = true;
    enum MHD_Result result = MHD_queue_response(r->connection, (unsigned)x->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result go_on(request *r)
{
    sp_exchange *x = r->x;
    if (!x->has_answerer || x->has_reply) {
        if (!x->has_reply) sp_server_fail(x, 500, NULL, NULL, "nothing answered this request");
        return queue_answer(r);
    }
    switch (sp_exchange_ask(x)) {
    case SP_EXCHANGE_WAIT: return MHD_YES;
    case SP_EXCHANGE_GONE: return MHD_NO;
    case SP_EXCHANGE_END:
    case SP_EXCHANGE_DATA: break;
    }
    return queue_answer(r);
}

/* --- the request's way ---------------------------------------------------------------------------------- */

/* Beside libmicrohttpd, where it lets nothing be queued and closes the connection next. */
static void send_plainly(request *r, const char *answer)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info || r->http->options.tls_cert) return;
    ssize_t n = send((int)info->connect_fd, answer, strlen(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n; /* who does not take it has none */
}

static const char large_answer[] =
    "HTTP/1.1 413 Payload Too Large\r\nContent-Type: application/json\r\nContent-Length: 101\r\nConnection: "
    "close\r\n\r\n"
    "{\"error\":{\"message\":\"the body is too "
    "large\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}";

static const char late_answer[] = "HTTP/1.1 408 Request Timeout\r\nContent-Type: "
                                  "application/json\r\nContent-Length: 114\r\nConnection: close\r\n\r\n"
                                  "{\"error\":{\"message\":\"the request did not arrive in "
                                  "time\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}";

/* Refused already, but with so short a body that it is better read, and the connection kept, than cut off. */
static bool is_short(const sp_exchange *x, const char *length)
{
    if (sp_exchange_header(x, "Transfer-Encoding")) return false;
    return !length || (strlen(length) < 8 && strtoul(length, NULL, 10) <= SHORT_BODY_BYTES);
}

static enum MHD_Result take_head(request *r, const char *path, const char *method, const char *version)
{
    sp_http *http = r->http;
    sp_exchange *x = r->x;
    r->has_head = true;
    if (!fill_head(r, path, method, version)) return MHD_NO;
    http->options.head(http->options.ctx, x);
    const char *length = sp_exchange_header(x, "Content-Length");
    if (!x->has_reply && r->client->is_extra) {
        sp_exchange_set_header(x, "Connection", "close");
        sp_exchange_set_header(x, "Retry-After", "1");
        sp_server_fail(x, 503, NULL, "too_many_connections", "more than %zu connections",
                       http->options.max_connections);
    }
    if (!x->has_reply && length &&
        (strlen(length) > 15 || strtoull(length, NULL, 10) > http->options.max_body_bytes))
        sp_server_fail(x, 413, NULL, "body_too_large", "the body has %.20s bytes, at most %zu are read",
                       length, http->options.max_body_bytes);
    if (!x->has_reply || is_short(x, length)) return MHD_YES;
    sp_watch_arrived(http->watch, r->client->watched);
    return queue_answer(r);
}

/* Nothing can be queued amid a body. In plain text the answer goes out all the same and the connection ends; under TLS the rest is read
 * and forgotten, for no longer than a request may take. */
static enum MHD_Result refuse_body(request *r)
{
    sp_exchange *x = r->x;
    if (r->http->options.tls_cert) {
        sp_exchange_set_header(x, "Connection", "close");
        sp_server_fail(x, 413, NULL, "body_too_large", "the body has more than %zu bytes",
                       r->http->options.max_body_bytes);
        return MHD_YES;
    }
    x->status = 413;
    sp_exchange_note(x, "error", "body too large");
    send_plainly(r, large_answer);
    return MHD_NO;
}

/* A piece of the body; MHD_NO ends the connection. */
static enum MHD_Result take_piece(request *r, const char *piece, size_t n)
{
    sp_http *http = r->http;
    sp_exchange *x = r->x;
    if (x->has_reply) return MHD_YES;
    if (x->body.len + n > http->options.max_body_bytes) return refuse_body(r);
    size_t all = atomic_fetch_add(&http->body_bytes, n) + n;
    r->body_bytes += n;
    if (all / BODIES_AT_ONCE > http->options.max_body_bytes ||
        sp_buf_append(&x->body, piece, n, NULL) != SP_OK) {
        x->status = 503;
        sp_exchange_note(x, "error", "too many bodies at once");
        return MHD_NO;
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *piece, size_t *n_piece,
                                  void **con_cls)
{
    sp_http *http = cls;
    request *r = *con_cls;
    (void)connection;
    if (!r) return MHD_NO;
    if (!r->has_head) return take_head(r, path, method, version);
    if (*n_piece > 0) {
        size_t n = *n_piece;
        *n_piece = 0;
        return take_piece(r, piece, n);
    }
    if (!r->has_arrived) {
        r->has_arrived = true;
        sp_watch_arrived(http->watch, r->client->watched);
        count_active(r);
        if (!r->x->has_reply) http->options.handle(http->options.ctx, r->x);
        if (r->x->has_answerer && !r->x->has_reply) sp_watch_guard(http->watch, r->client->watched);
    }
    return go_on(r);
}

static void note_end(request *r, enum MHD_RequestTerminationCode end)
{
    sp_exchange *x = r->x;
    if (!r->is_queued && x->status == 200) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_HTTP_STATUS);
        x->status = info && info->http_status > 0 ? (int)info->http_status : 499;
    }
    if (end == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED)
        sp_exchange_note(x, "ended", "timeout");
    else if (end == MHD_REQUEST_TERMINATED_DAEMON_SHUTDOWN)
        sp_exchange_note(x, "ended", "server stopped");
    else if (end != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        sp_exchange_note(x, "ended", "client gone");
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode end)
{
    sp_http *http = cls;
    request *r = *con_cls;
    (void)connection;
    if (!r) return;
    *con_cls = NULL;
    sp_watch_end(http->watch, r->client->watched);
    note_end(r, end);
    sp_exchange_close(r->x); /* it may have something for the log */
    if (http->options.done) http->options.done(http->options.ctx, r->x);
    sp_exchange_destroy(r->x);
    atomic_fetch_sub(&http->body_bytes, r->body_bytes);
    if (r->is_active) atomic_fetch_sub(&http->n_active, 1);
    sp_free(r);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    sp_http *http = cls;
    client *c = *context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        c = sp_calloc(1, sizeof *c);
        if (c && !(c->watched = sp_watch_add(http->watch, (int)info->connect_fd))) {
            sp_free(c);
            c = NULL;
        }
        if (c) c->is_extra = sp_watch_count(http->watch) > http->options.max_connections;
        *context = c;
    } else if (c) {
        sp_watch_remove(http->watch, c->watched);
        sp_free(c);
        *context = NULL;
    }
}

static void on_log(void *cls, const char *fmt, va_list args)
{
    sp_http *http = cls;
    char text[512];
    vsnprintf(text, sizeof text, fmt, args);
    if (strstr(text, "application error"))
        return; /* a client has gone, or was refused amid its body: its own line says so */
    text[strcspn(text, "\n")] = '\0';
    if (http->options.log) http->options.log(http->options.ctx, text);
}

/* --- the daemon ----------------------------------------------------------------------------------------- */

static sp_status start_daemon(sp_http *http, sp_error *err)
{
    const sp_http_options *o = &http->options;
    size_t limit = o->max_connections + o->max_connections / 4 + 16; /* those beyond are told so */
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}};
    if (o->tls_cert) {
        flags |= MHD_USE_TLS;
        tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)o->tls_cert};
        tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)o->tls_key};
    }
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, http,
        MHD_OPTION_LISTEN_SOCKET, o->listen_fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)N_THREADS,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)limit, MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEAD_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(o->request_timeout_s + 1), MHD_OPTION_URI_LOG_CALLBACK,
        on_line, http, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (http->daemon) return SP_OK;
    return sp_fail(err, SP_E_IO, "http: libmicrohttpd %s did not start%s", MHD_get_version(),
                   o->tls_cert ? ": are certificate and key PEM texts that belong together?" : "");
}

sp_status sp_http_check(sp_error *err)
{
    (void)err;
    return SP_OK;
}

sp_status sp_http_start(sp_http **out, const sp_http_options *options, sp_error *err)
{
    sp_http *http = sp_calloc(1, sizeof *http);
    *out = NULL;
    if (!http) return sp_fail_nomem(err, "http", sizeof *http);
    http->options = *options;
    if (getrandom(&http->salt, sizeof http->salt, 0) != (ssize_t)sizeof http->salt)
        http->salt = (uint64_t)(sp_seconds() * 1e9);
    sp_status status =
        sp_watch_create(&http->watch, options->request_timeout_s, options->tls_cert ? "" : late_answer, err);
    if (status == SP_OK) status = start_daemon(http, err);
    if (status == SP_OK) {
        *out = http;
        return SP_OK;
    }
    sp_watch_destroy(http->watch);
    sp_free(http);
    return status;
}

void sp_http_quiesce(sp_http *http)
{
    if (http->is_quiet) return;
    http->is_quiet = true;
    http->listen_fd = MHD_quiesce_daemon(http->daemon);
    /* new clients are refused from now on, but the daemon's threads may still take the socket from their epoll sets */
    if (http->listen_fd != MHD_INVALID_SOCKET && !http->options.is_shared)
        shutdown(http->listen_fd, SHUT_RDWR);
}

size_t sp_http_connections(sp_http *http)
{
    return sp_watch_count(http->watch);
}

size_t sp_http_active(sp_http *http)
{
    return atomic_load(&http->n_active);
}

void sp_http_stop(sp_http *http)
{
    if (!http) return;
    sp_http_quiesce(http);
    sp_watch_abandon_all(http->watch);
    /* a suspended connection must have been resumed before the daemon ends */
    for (int waited = 0; sp_http_active(http) > 0 && waited < STOP_WAIT_MS; waited += 10) usleep(10000);
    MHD_stop_daemon(http->daemon);
    if (http->listen_fd != MHD_INVALID_SOCKET) close(http->listen_fd);
    sp_watch_destroy(http->watch);
    sp_free(http);
}

#else

sp_status sp_http_check(sp_error *err)
{
    return sp_fail(err, SP_E_UNSUPPORTED, "serving: this program was built without libmicrohttpd");
}

sp_status sp_http_start(sp_http **http, const sp_http_options *options, sp_error *err)
{
    (void)options;
    *http = NULL;
    return sp_http_check(err);
}

void sp_http_quiesce(sp_http *http)
{
    (void)http;
}

size_t sp_http_connections(sp_http *http)
{
    (void)http;
    return 0;
}

size_t sp_http_active(sp_http *http)
{
    (void)http;
    return 0;
}

void sp_http_stop(sp_http *http)
{
    (void)http;
}

#endif
