/* SPDX-License-Identifier: MIT */
/* The server as a whole: what http.c, the API and the operation share. sp_server_run is all that the command line needs. */
#ifndef SP_SERVER_SERVER_H
#define SP_SERVER_SERVER_H

#include "server/exchange.h"
#include "server/meter.h"
#include "server/scheduler.h"

#include <stdatomic.h>

/* What to do with reasoning_content in messages that clients send back. */
typedef enum sp_reasoning_policy {
    SP_REASONING_IGNORE,
    SP_REASONING_REJECT,
    SP_REASONING_REQUIRE
} sp_reasoning_policy;

typedef struct sp_server_options {
    const char *host;           /* "127.0.0.1" */
    int port;                   /* 0: any free one, told by `ready` */
    int listen_fd;              /* a socket that is bound already (systemd); -1: none */
    const char *model_name;     /* id under which the model answers; NULL: from the file */
    const char *const *aliases; /* other ids that are accepted */
    size_t n_aliases;
    const char *asked_name;   /* as whoever started the server named the model; accepted too; NULL: nothing */
    bool need_keys;           /* requests without a valid key are 401 */
    bool insecure;            /* bind beyond loopback without keys all the same */
    const char *const *hosts; /* names accepted in Host beside loopback's and `host` */
    size_t n_hosts;
    const char *cors_origin;        /* NULL: no CORS headers; "*" or one origin */
    const char *tls_cert, *tls_key; /* PEM texts; NULL: plain HTTP */
    size_t max_body_bytes, max_connections;
    double request_timeout_s; /* for a request to arrive as a whole */
    double grace_s;           /* for running replies after stop */
    bool log_prompts;
    bool page; /* serve the chat page at / */
    sp_price price;
    sp_reasoning_policy reasoning;
    bool map_temperature; /* as the V3-0324 card: T <= 1 -> 0.3 T, above: T - 0.7 */
    int64_t max_tokens;   /* of a reply where the request says nothing; -1: until the context is full */
    sp_generate_options generate; /* other defaults of a reply */
    bool fixed_seed;              /* generate's seed for requests that give none; else a new one each time */
    /* One line of structured log (JSON, no newline). Any thread. */
    void (*log)(void *ctx, const char *line);
    /* The socket is bound (port 0: a local one, host is "unix:PATH"); later, no more connections are taken. */
    void (*ready)(void *ctx, const char *host, int port);
    void (*stopping)(void *ctx);
    void *ctx;
} sp_server_options;

struct sp_ops;  /* what has been counted: ops.h */
struct sp_http; /* http.h */

typedef struct sp_listener {
    int fd, port; /* port 0: it has none */
    char host[256];
} sp_listener;

typedef struct sp_server {
    sp_server_options options;
    const sp_model *model;
    const sp_tokenizer *tokenizer;
    sp_chat_format format;
    char name[128];       /* the model's id */
    char fingerprint[32]; /* system_fingerprint: "fp_" and some digits of the model's */
    int64_t started;      /* Unix seconds */
    sp_scheduler *scheduler;
    sp_meter *meter; /* NULL: built without SQLite */
    /* From sp_server_start to the end of sp_server_run. */
    struct sp_ops *ops;   /* not NULL: it has been started */
    struct sp_http *http; /* NULL: connections wait in the socket's queue */
    sp_listener at;
    atomic_bool is_loading, is_stopping;
} sp_server;

/* Before the model is loaded: take the address, and answer there that it is being loaded (503). On a socket that was given, nothing is
 * answered yet: clients of a service manager wait. Of `server` only what the command line says is read: of options neither price nor
 * generate, max_tokens, fixed_seed. Errors: SP_E_ARGUMENT (not loopback and no keys), SP_E_IO (the address is taken), SP_E_UNSUPPORTED (built without
 * libmicrohttpd). */
sp_status sp_server_start(sp_server *server, sp_error *err);

/* Serve until *stop is set (by a signal handler, say) and then until running replies have ended or grace_s is over. `server` has been filled
 * but for name, fingerprint, started, and what begins with sp_server_start, which this does if it has not been done; errors as there. Ends with
 * sp_server_stop. */
sp_status sp_server_run(sp_server *server, const volatile int *stop, sp_error *err);

/* Take back what sp_server_start has done, if it has: the model could not be loaded, say. */
void sp_server_stop(sp_server *server);

/* Who asks. Answers 401, 402 or 429 itself and returns false. key_id is "" on a server without keys. */
bool sp_server_admit(sp_server *server, sp_exchange *x, sp_key_info *key);

/* An endpoint. */
typedef struct sp_route {
    const char *method,
        *path; /* path as in "/chat/completions"; "/v1" and "/beta" before it are the router's business; "/models/{id}": whatever
                  follows the slash */
    void (*handle)(sp_server *server, sp_exchange *x);
    bool is_open; /* needs no key: health, page */
} sp_route;

/* Each file of endpoints has its table; NULL method ends it. */
extern const sp_route
    sp_routes_api[]; /* api_routes.c: chat, completions, models, balance, anthropic, tokenize */
extern const sp_route sp_routes_ops[];  /* ops.c: health, metrics */
extern const sp_route sp_routes_page[]; /* page.c: the page and what it loads */

/* An error as the dialect writes it: {"error":{"message","type","param","code"}}. `param` and `code` may be NULL. */
void sp_server_fail(sp_exchange *x, int status, const char *param, const char *code, const char *fmt, ...)
    SP_PRINTF(5, 6);

#endif
