/* SPDX-License-Identifier: MIT */
/* `sputnik serve`: options to the server's parts, which are made in order, run, and taken down in reverse. Start at run_serve(). */
#include "cli/store.h"

#include <signal.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "cli/experts.h"
#include "cli/interrupt.h"
#include "cli/serve_host.h"
#include "server/server.h"

#define MIN_BODY_BYTES 1024

typedef struct serve_args {
    const char *config, *host, *store, *keys, *api_name, *prefix_memory, *prefix_dir, *prefix_disk, *cors,
        *tls_cert, *tls_key, *max_body, *log_file, *price, *reasoning_policy;
    sp_str_list alias, allow_host;
    int64_t port, slots, queue, prompt_chunk, max_connections;
    double request_timeout, grace;
    int require_keys, insecure, log_prompts, no_page, map_temperature;
    sp_session_args session;
    sp_sampling_args sampling;
} serve_args;

static const serve_args serve_defaults = {.host = "127.0.0.1",
                                          .prefix_memory = "1G",
                                          .prefix_disk = "16G",
                                          .max_body = "16M",
                                          .price = "auto",
                                          .reasoning_policy = "ignore",
                                          .port = 8080,
                                          .max_connections = 512,
                                          .request_timeout = 30,
                                          .grace = 30,
                                          .session = SP_SESSION_ARGS_TALK,
                                          .sampling = SP_SAMPLING_ARGS_DEFAULTS};

static const sp_arg serve_table[] = {
    SP_CONFIG_ROW(serve_args, config),
    SP_STRING_ROW(serve_args, host, "host", 0, "ADDRESS", "address to listen on (127.0.0.1)"),
    SP_INT_ROW(serve_args, port, "port", 'p', 0, 65535, "port to listen on (8080; 0: any free one)"),
    SP_STRING_ROW(serve_args, keys, "keys", 0, "FILE",
                  "demand API keys, which lie in this store with the ledger"),
    SP_FLAG_ROW(serve_args, require_keys, "require-keys", 0, "demand API keys of --store"),
    SP_STRING_ROW(serve_args, store, "store", 0, "FILE",
                  "where usage is booked (with --require-keys: in the user's data folder; else nowhere)"),
    SP_FLAG_ROW(serve_args, insecure, "insecure", 0, "listen beyond this machine without keys all the same"),
    SP_STRING_ROW(serve_args, api_name, "api-name", 0, "NAME",
                  "the model's id in the API (as the file calls it)"),
    SP_STRINGS_ROW(serve_args, alias, "alias", 0, "NAME", "another id that is accepted (may be repeated)"),
    SP_INT_ROW(serve_args, slots, "slots", 0, 0, 256,
               "replies generated at once (0: " SP_DIGITS(SP_SCHEDULER_SLOTS_DEFAULT) ")"),
    SP_INT_ROW(serve_args, queue, "queue", 0, 0, 65536,
               "replies that may wait (0: " SP_DIGITS(SP_SCHEDULER_QUEUE_DEFAULT) ")"),
    SP_INT_ROW(serve_args, prompt_chunk, "prompt-chunk", 0, 0, 65536,
               "prompt tokens per step while replies run (0: " SP_DIGITS(SP_SCHEDULER_CHUNK_DEFAULT) ")"),
    SP_STRING_ROW(serve_args, prefix_memory, "prefix-memory", 0, "SIZE",
                  "memory for prompts' prefixes (1G; 0: none)"),
    SP_STRING_ROW(serve_args, prefix_dir, "prefix-dir", 0, "DIR", "keep prefixes here across restarts"),
    SP_STRING_ROW(serve_args, prefix_disk, "prefix-disk", 0, "SIZE", "most bytes there (16G)"),
    SP_STRING_ROW(serve_args, cors, "cors", 0, "ORIGIN", "let pages of this origin use the API (*: all)"),
    SP_STRINGS_ROW(serve_args, allow_host, "allow-host", 0, "NAME",
                   "a name that this server is reached by (may be repeated; *: any)"),
    SP_STRING_ROW(serve_args, tls_cert, "tls-cert", 0, "FILE", "PEM certificate: HTTPS"),
    SP_STRING_ROW(serve_args, tls_key, "tls-key", 0, "FILE", "its PEM key"),
    SP_STRING_ROW(serve_args, max_body, "max-body", 0, "SIZE", "longest request (16M)"),
    SP_INT_ROW(serve_args, max_connections, "max-connections", 0, 1, 65536, "most connections at once (512)"),
    SP_FLOAT_ROW(serve_args, request_timeout, "request-timeout", 0, 0.1, 86400,
                 "seconds for a request to arrive as a whole (30)"),
    SP_FLOAT_ROW(serve_args, grace, "grace", 0, 0, 86400, "seconds for running replies after SIGTERM (30)"),
    SP_FLAG_ROW(serve_args, log_prompts, "log-prompts", 0, "write requests' bodies to the log"),
    SP_STRING_ROW(serve_args, log_file, "log-file", 0, "FILE",
                  "append the log there instead of standard error"),
    SP_FLAG_ROW(serve_args, no_page, "no-page", 0, "no chat page at /"),
    SP_STRING_ROW(serve_args, price, "price", 0, "HIT/MISS/OUT",
                  "dollars per million tokens, or chat, reasoner, auto: the vendor's (auto)"),
    SP_CHOICE_ROW(serve_args, reasoning_policy, "reasoning-policy", 0, "ignore|reject|require",
                  "reasoning_content in messages that clients send back (ignore)"),
    SP_FLAG_ROW(serve_args, map_temperature, "map-temperature", 0,
                "map temperatures as DeepSeek-V3-0324's card does"),
    SP_SAMPLING_ROWS(serve_args, sampling),
    SP_SESSION_ROWS(serve_args, session),
};

/* What is made for a run, in this order. */
typedef struct serving {
    const serve_args *args;
    sp_buf cert, key;
    sp_prefix_cache_options prefix_options;
    sp_host_log log;
    sp_meter *meter;
    sp_model *model;
    sp_logit_bias *bias;
    sp_prefix_cache *prefixes;
    sp_scheduler *scheduler;
    sp_server server;
} serving;

/* --- callbacks ------------------------------------------------------------------------------------------ */

static void write_log(void *ctx, const char *line)
{
    const serving *s = ctx;
    sp_host_log_line(&s->log, line);
}

static void on_ready(void *ctx, const char *host, int port)
{
    const serving *s = ctx;
    const char *scheme = s->args->tls_cert ? "https" : "http";
    bool wide = strchr(host, ':') != NULL;
    if (port == 0)
        fprintf(stderr, "sputnik: %s answers at %s\n", s->server.name, host);
    else
        fprintf(stderr, "sputnik: %s answers at %s://%s%s%s:%d/\n", s->server.name, scheme, wide ? "[" : "",
                host, wide ? "]" : "", port);
    sp_host_notify("READY=1");
}

static void on_stopping(void *ctx)
{
    (void)ctx;
    sp_host_notify("STOPPING=1");
}

/* --- options -------------------------------------------------------------------------------------------- */

static bool thinks(sp_chat_format format)
{
    sp_chat_options options = SP_CHAT_OPTIONS_DEFAULTS;
    return sp_chat_starts_thinking(format, &options);
}

/* "auto" is that of chat until the model is known. */
static sp_status parse_price(sp_price *price, const char *text, sp_error *err)
{
    char rest[8];
    if (strcmp(text, "chat") == 0 || strcmp(text, "auto") == 0) {
        *price = sp_price_chat;
        return SP_OK;
    }
    if (strcmp(text, "reasoner") == 0) {
        *price = sp_price_reasoner;
        return SP_OK;
    }
    if (sscanf(text, "%lf/%lf/%lf%7s", &price->hit, &price->miss, &price->output, rest) == 3 &&
        price->hit >= 0 && price->miss >= 0 && price->output >= 0 &&
        price->hit + price->miss + price->output < 1e9)
        return SP_OK;
    return sp_fail(err, SP_E_ARGUMENT,
                   "option --price: found \"%.60s\", expected HIT/MISS/OUT such as 0.07/0.27/1.10", text);
}

static sp_status parse_size(uint64_t *size, const char *option, const char *text, sp_error *err)
{
    sp_status status = sp_cli_parse_ram(text, size, err);
    return status == SP_OK ? status : sp_fail_prefix(err, status, "option --%s", option);
}

/* What could never match: an origin as a page has it in its address line, a host with its port. */
static sp_status check_names(const serve_args *args, sp_error *err)
{
    const char *cors = args->cors, *host = cors ? strstr(cors, "://") : NULL;
    if (cors && strcmp(cors, "*") != 0 && (!host || !host[3] || host[3 + strcspn(host + 3, "/ ")]))
        return sp_fail(
            err, SP_E_ARGUMENT,
            "option --cors: found \"%.100s\", expected * or an origin such as https://chat.example.org",
            cors);
    for (size_t i = 0; i < args->allow_host.n; i++) {
        const char *name = args->allow_host.items[i];
        if (name[0] && !name[strcspn(name, "/: ")]) continue;
        return sp_fail(
            err, SP_E_ARGUMENT,
            "option --allow-host: found \"%.100s\", expected a name such as llm.example.org, without port",
            name);
    }
    return SP_OK;
}

static sp_status read_tls(serving *s, sp_error *err)
{
    const serve_args *args = s->args;
    if (!args->tls_cert != !args->tls_key)
        return sp_fail(err, SP_E_ARGUMENT, "options --tls-cert and --tls-key go together");
    if (!args->tls_cert) return SP_OK;
    SP_TRY(sp_file_read(&s->cert, args->tls_cert, (size_t)1 << 20, err));
    SP_TRY(sp_file_read(&s->key, args->tls_key, (size_t)1 << 20, err));
    s->server.options.tls_cert = s->cert.data;
    s->server.options.tls_key = s->key.data;
    return SP_OK;
}

static sp_status fill_options(serving *s, sp_error *err)
{
    const serve_args *args = s->args;
    sp_server_options *o = &s->server.options;
    uint64_t max_body = 0;
    o->host = args->host;
    o->port = (int)args->port;
    o->model_name = args->api_name;
    o->aliases = args->alias.items;
    o->n_aliases = args->alias.n;
    o->need_keys = args->keys || args->require_keys;
    o->insecure = args->insecure;
    o->hosts = args->allow_host.items;
    o->n_hosts = args->allow_host.n;
    o->cors_origin = args->cors;
    o->max_connections = (size_t)args->max_connections;
    o->request_timeout_s = args->request_timeout;
    o->grace_s = args->grace;
    o->log_prompts = args->log_prompts;
    o->page = !args->no_page;
    o->reasoning = strcmp(args->reasoning_policy, "reject") == 0    ? SP_REASONING_REJECT
                   : strcmp(args->reasoning_policy, "require") == 0 ? SP_REASONING_REQUIRE
                                                                    : SP_REASONING_IGNORE;
    o->map_temperature = args->map_temperature;
    o->log = write_log;
    o->ready = on_ready;
    o->stopping = on_stopping;
    o->ctx = s;
    SP_TRY(sp_host_socket(&o->listen_fd, err));
    SP_TRY(check_names(args, err));
    SP_TRY(parse_size(&max_body, "max-body", args->max_body, err));
    if (max_body < MIN_BODY_BYTES)
        return sp_fail(err, SP_E_ARGUMENT, "option --max-body: found \"%.60s\", expected at least 1K",
                       args->max_body);
    o->max_body_bytes = (size_t)max_body;
    SP_TRY(parse_price(&o->price, args->price, err));
    s->prefix_options.dir = args->prefix_dir;
    SP_TRY(parse_size(&s->prefix_options.memory_bytes, "prefix-memory", args->prefix_memory, err));
    SP_TRY(parse_size(&s->prefix_options.disk_bytes, "prefix-disk", args->prefix_disk, err));
    return read_tls(s, err);
}

/* What depends on the model. */
static sp_status fill_model_options(serving *s, sp_error *err)
{
    const serve_args *args = s->args;
    sp_server_options *o = &s->server.options;
    if (strcmp(args->price, "auto") == 0 && thinks(s->server.format)) o->price = sp_price_reasoner;
    o->max_tokens = args->sampling.max_tokens;
    o->fixed_seed = args->sampling.seed >= 0;
    return sp_cli_generate_options(&o->generate, &s->bias, s->model, &args->sampling, err);
}

/* --- parts ---------------------------------------------------------------------------------------------- */

static sp_status open_meter(serving *s, sp_error *err)
{
    const serve_args *args = s->args;
    char *path = NULL;
    size_t n_keys = 0;
    const char *given = args->keys ? args->keys : args->store;
    if (args->keys && args->store)
        return sp_fail(err, SP_E_ARGUMENT,
                       "options --keys and --store both name the store: give one of them");
    if (!given && !args->require_keys) return SP_OK; /* nobody could read what it holds */
    SP_TRY(sp_cli_store_path(&path, given, err));
    sp_status status = sp_meter_open(&s->meter, path, err);
    if (status == SP_OK && s->server.options.need_keys) status = sp_meter_count_keys(s->meter, &n_keys, err);
    if (status == SP_OK && s->server.options.need_keys && n_keys == 0)
        sp_cli_hint("no API key exists yet: \"sputnik keys add --store %s\" makes one", path);
    sp_free(path);
    return status;
}

static sp_status start_engine(serving *s, sp_error *err)
{
    const serve_args *args = s->args;
    sp_session_options session;
    sp_scheduler_options options = {.n_slots = (int32_t)args->slots,
                                    .n_queue = (int32_t)args->queue,
                                    .prompt_chunk = (int32_t)args->prompt_chunk};
    sp_model_info info;
    sp_model_get_info(s->model, &info);
    if (sp_cli_speculate(args->sampling.speculate) == SP_SPECULATE_MTP && info.n_mtp_layers == 0)
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "--speculate mtp: this model has no multi-token-prediction layer");
    sp_cli_session_options(&session, &args->session);
    int32_t n_slots = args->slots > 0 ? (int32_t)args->slots : SP_SCHEDULER_SLOTS_DEFAULT;
    SP_TRY(sp_cli_begin_experts(s->model, &args->session, &session, n_slots, err));
    if (s->prefix_options.memory_bytes > 0 || s->prefix_options.dir)
        SP_TRY(sp_prefix_cache_create(&s->prefixes, s->model, session.cache_type, &s->prefix_options, err));
    options.n_ctx = session.n_ctx;
    options.n_threads = session.n_threads;
    options.cache_type = session.cache_type;
    options.prefixes = s->prefixes;
    return sp_scheduler_create(&s->scheduler, s->model, &options, err);
}

/* All that can fail before the model is loaded, which may take minutes. */
static sp_status prepare(serving *s, sp_error *err)
{
    SP_TRY(fill_options(s, err));
    if (s->args->prefix_dir) SP_TRY(sp_dir_create(s->args->prefix_dir, err));
    SP_TRY(sp_host_log_open(&s->log, s->args->log_file, err));
    SP_TRY(open_meter(s, err));
    s->server.meter = s->meter;
    signal(SIGPIPE, SIG_IGN);
    sp_host_raise_files();
    return sp_server_start(&s->server, err);
}

static sp_status serve(serving *s, sp_error *err)
{
    sp_server *server = &s->server;
    server->model = s->model;
    server->tokenizer = sp_model_tokenizer(s->model);
    server->format = sp_model_chat_format(s->model);
    if (!server->tokenizer) return sp_fail(err, SP_E_UNSUPPORTED, "the model's files hold no vocabulary");
    SP_TRY(fill_model_options(s, err));
    SP_TRY(start_engine(s, err));
    server->scheduler = s->scheduler;
    sp_interrupt_catch_all();
    return sp_server_run(server, sp_interrupt_flag(), err);
}

static int take_down(serving *s, int code)
{
    sp_server_stop(&s->server);
    sp_scheduler_destroy(s->scheduler, 0);
    sp_prefix_cache_destroy(s->prefixes);
    sp_free(s->bias);
    code = sp_cli_end_experts(s->model, &s->args->session, code);
    sp_model_close(s->model);
    sp_meter_close(s->meter);
    sp_host_log_close(&s->log);
    sp_buf_clear(&s->cert);
    sp_buf_clear(&s->key);
    return code;
}

static int run_serve(const void *options, char *const *operands, int n_operands)
{
    sp_error err = SP_ERROR_NONE;
    serving *s = sp_calloc(1, sizeof *s);
    int code = SP_EXIT_FAILED;
    if (!s) return sp_cli_say("out of memory");
    s->args = options;
    s->log.fd = -1;
    const char *name = n_operands > 0 ? operands[0] : "nano";
    s->server.options.asked_name = name;
    sp_status status = prepare(s, &err);
    if (status == SP_OK && sp_cli_open_model(&s->model, name, &s->args->session)) {
        status = serve(s, &err);
        if (status == SP_OK) code = SP_EXIT_GOOD;
    }
    if (status != SP_OK) sp_cli_fail(&err, NULL);
    if (status == SP_E_ARGUMENT) code = SP_EXIT_USAGE;
    code = take_down(s, code);
    sp_free(s);
    return code;
}

const sp_command sp_command_serve = {
    "serve",
    "[MODEL]",
    "answer over HTTP as OpenAI's and DeepSeek's API, with a chat page",
    "Without MODEL the built-in one (nano). Once the model is loaded, a line on standard error says where it "
    "answers; the log\n"
    "is there, too, one JSON object per request. SIGTERM and Ctrl-C let running replies finish, a second one "
    "ends at once.",
    serve_table,
    sizeof serve_table / sizeof serve_table[0],
    &serve_defaults,
    sizeof serve_defaults,
    0,
    1,
    run_serve,
};
