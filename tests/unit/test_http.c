/* SPDX-License-Identifier: MIT */
/* Routes, hosts and origins, the head of a request, and the meeting of wakers and the HTTP thread: on exchanges without sockets. */
#include "test_util.h"

#include "base/mem.h"
#include "server/http_exchange.h"
#include "server/ops.h"
#include "server/router.h"

#include <string.h>

static sp_exchange *make(const char *method, const char *path, const char *host)
{
    sp_exchange *x = sp_exchange_create();
    assert_non_null(x);
    x->method = sp_strdup(method);
    x->path = sp_strdup(path);
    if (host) assert_true(sp_fields_add(&x->headers, "host", host));
    return x;
}

/* Status that the router gives to a head; 0: it lets it pass. */
static int status_of(sp_server *server, sp_exchange *x)
{
    sp_router_head(server, x);
    int status = x->has_reply ? x->status : 0;
    sp_exchange_destroy(x);
    return status;
}

static void test_hosts(void **state)
{
    static const char *const names[] = {"box.example"};
    static const char *const good[] = {"localhost",   "LOCALHOST:8080", "127.0.0.1",   "10.1.2.3:80",
                                       "[::1]",       "[fe80::1]:81",   "a.localhost", "me.lan",
                                       "box.example", "box.example.:80"};
    static const char *const bad[] = {
        "",    "evil.example",  "localhost.evil.example", "127.0.0.1.nip.io", "[::1",         "[evil]",
        ":80", "localhost:80x", "localhost:80:1",         "x localhost",      "a.box.example"};
    sp_server_options options = {.host = "me.lan", .hosts = names, .n_hosts = 1};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!sp_router_host_allowed(&options, good[i])) fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (sp_router_host_allowed(&options, bad[i])) fail_msg("allowed: %s", bad[i]);
}

static void test_origins(void **state)
{
    sp_server_options options = {.host = "127.0.0.1"};
    (void)state;
    assert_true(sp_router_origin_allowed(&options, "http://localhost:8080", "localhost:8080"));
    assert_false(sp_router_origin_allowed(&options, "http://localhost:9090", "localhost:8080"));
    assert_false(sp_router_origin_allowed(&options, "null", "localhost:8080"));
    options.cors_origin = "https://a.example";
    assert_true(sp_router_origin_allowed(&options, "https://a.example", "localhost:8080"));
    assert_false(sp_router_origin_allowed(&options, "https://b.example", "localhost:8080"));
    options.cors_origin = "*";
    assert_true(sp_router_origin_allowed(&options, "https://b.example", "localhost:8080"));
}

static void test_routes(void **state)
{
    static sp_server server;
    char allowed[64];
    (void)state;
    const sp_route *route = sp_router_find(&server, "POST", "/v1/chat/completions", allowed);
    assert_non_null(route);
    assert_ptr_equal(route, sp_router_find(&server, "POST", "/chat/completions", NULL));
    assert_ptr_equal(route, sp_router_find(&server, "POST", "/beta/chat/completions", NULL));
    assert_ptr_equal(route, sp_router_find(&server, "POST", "/beta/v1/chat/completions", NULL));
    route = sp_router_find(&server, "POST", "/v1/messages", NULL);
    assert_non_null(route);
    assert_ptr_equal(route->handle, sp_router_find(&server, "POST", "/anthropic/v1/messages", NULL)->handle);
    assert_non_null(sp_router_find(&server, "POST", "/v1/messages/count_tokens", NULL));
    assert_null(sp_router_find(&server, "POST", "/v2/chat/completions", allowed));
    assert_string_equal(allowed, "");
    assert_null(sp_router_find(&server, "PUT", "/v1/chat/completions", allowed));
    assert_string_equal(allowed, "POST");
    assert_null(sp_router_find(&server, "POST", "/health", allowed));
    assert_string_equal(allowed, "GET, HEAD");
    assert_non_null(sp_router_find(&server, "HEAD", "/health", NULL));
    assert_non_null(sp_router_find(&server, "GET", "/models/org/name", NULL));
    assert_string_equal(sp_router_find(&server, "GET", "/v1/models", NULL)->path, "/models");
    assert_null(sp_router_find(&server, "GET", "/", NULL)); /* the page is not asked for */
}

#define LONG_PART "/1234567890123456789012345678901234567890"

static void test_heads(void **state)
{
    static sp_server server;
    (void)state;
    server.options.host = "127.0.0.1";
    assert_int_equal(status_of(&server, make("GET", "/health", "localhost")), 0);
    assert_int_equal(status_of(&server, make("GET", "/health", NULL)), 400);
    assert_int_equal(status_of(&server, make("GET", "/health", "evil.example")), 403);
    assert_int_equal(status_of(&server, make("GET", "/none", "localhost")), 404);
    sp_exchange *lost =
        make("GET", LONG_PART LONG_PART LONG_PART, "localhost"); /* what there is stays whole all the same */
    sp_router_head(&server, lost);
    assert_int_equal(lost->status, 404);
    assert_non_null(strstr(lost->out.data, "; there are /chat/completions, "));
    assert_non_null(strstr(lost->out.data, ", /metrics\""));
    sp_exchange_destroy(lost);
    assert_int_equal(status_of(&server, make("PUT", "/health", "localhost")), 405);
    assert_int_equal(status_of(&server, make("OPTIONS", "/health", "localhost")), 405);

    sp_exchange *x = make("GET", "/health", NULL);
    x->is_http10 = true;
    assert_int_equal(status_of(&server, x), 0);

    x = make("GET", "/health", "localhost");
    sp_fields_add(&x->headers, "Host", "localhost");
    assert_int_equal(status_of(&server, x), 400);

    x = make("POST", "/v1/chat/completions", "localhost");
    sp_fields_add(&x->headers, "Content-Length", "5");
    sp_fields_add(&x->headers, "Transfer-Encoding", "chunked");
    assert_int_equal(status_of(&server, x), 400);

    x = make("POST", "/v1/chat/completions", "localhost");
    sp_fields_add(&x->headers, "Origin", "http://evil.example");
    assert_int_equal(status_of(&server, x), 403);

    server.options.need_keys = true; /* and no store: nobody comes in, but health stays open */
    assert_int_equal(status_of(&server, make("GET", "/v1/models", "localhost")), 503);
    assert_int_equal(status_of(&server, make("GET", "/health", "localhost")), 0);
    server.options.need_keys = false;
    server.is_stopping = true;
    assert_int_equal(status_of(&server, make("GET", "/v1/models", "localhost")), 503);
    server.is_stopping = false;
    server.is_loading = true;
    assert_int_equal(status_of(&server, make("GET", "/v1/models", "localhost")), 503);
    assert_int_equal(status_of(&server, make("GET", "/metrics", "localhost")), 503);
    assert_int_equal(status_of(&server, make("GET", "/health", "localhost")), 0);
    server.is_loading = false;
}

static void test_keys(void **state)
{
    static sp_server server;
    sp_key_options options = {.name = "a", .budget = -1, .requests_per_minute = 2};
    sp_key_info info;
    char key[SP_KEY_TEXT_CAP], header[SP_KEY_TEXT_CAP + 16];
    (void)state;
    if (sp_meter_open(&server.meter, NULL, NULL) != SP_OK) skip(); /* built without SQLite */
    server.options.host = "127.0.0.1";
    server.options.need_keys = true;
    assert_int_equal(sp_meter_add_key(server.meter, &options, key, &info, NULL), SP_OK);
    snprintf(header, sizeof header, "bearer %s", key);
    for (int i = 0; i < 3; i++) {
        sp_key_info found;
        sp_exchange *x = make("POST", "/v1/chat/completions", "localhost");
        sp_fields_add(&x->headers, "Authorization", header);
        sp_router_head(&server, x);
        assert_int_equal(x->has_reply ? x->status : 0, i < 2 ? 0 : 429);
        if (i < 2) { /* the handler asks again; it counts once */
            assert_true(sp_server_admit(&server, x, &found));
            assert_string_equal(found.id, info.id);
        } else {
            assert_non_null(sp_fields_get(&x->answer_headers, "Retry-After"));
        }
        sp_exchange_destroy(x);
    }
    sp_exchange *x = make("GET", "/v1/models", "localhost");
    sp_fields_add(&x->headers, "x-api-key", "sk-none");
    assert_int_equal(status_of(&server, x), 401);
    sp_meter_close(server.meter);
    server.meter = NULL;
}

static void test_fail_dialects(void **state)
{
    sp_exchange *x = make("GET", "/v1/x", NULL);
    (void)state;
    sp_server_fail(x, 422, "top_p", NULL, "too \"much\"");
    assert_string_equal(x->out.data,
                        "{\"error\":{\"message\":\"too \\\"much\\\"\",\"type\":\"invalid_request_error\","
                        "\"param\":\"top_p\",\"code\":null}}");
    sp_exchange_destroy(x);
    static const char *const paths[] = {"/anthropic/v1/x", "/messages", "/v1/messages",
                                        "/v1/messages/count_tokens"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        x = make("GET", paths[i], NULL);
        sp_server_fail(x, 404, NULL, NULL, "no");
        assert_string_equal(
            x->out.data, "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":\"no\"}}");
        sp_exchange_destroy(x);
    }
}

/* --- the meeting ---------------------------------------------------------------------------------------- */

typedef struct script {
    const char *words[8]; /* "" : nothing to say; NULL: the end */
    int n_asked, n_idle, n_closed;
    int n_suspended, n_resumed;
    bool wake_within; /* an event comes while it is being asked */
} script;

static sp_answer write_word(void *ctx, sp_exchange *x, bool idle, sp_buf *out)
{
    script *s = ctx;
    const char *word = s->words[s->n_asked++];
    s->n_idle += idle;
    if (s->wake_within) {
        s->wake_within = false;
        sp_exchange_wake(x);
    }
    if (!word) return SP_ANSWER_END;
    sp_buf_puts(out, word, NULL);
    return SP_ANSWER_WAIT;
}

static void close_script(void *ctx)
{
    ((script *)ctx)->n_closed++;
}

static void suspend(void *ctx)
{
    ((script *)ctx)->n_suspended++;
}

static void resume(void *ctx)
{
    ((script *)ctx)->n_resumed++;
}

static sp_exchange *begin(script *s)
{
    sp_answerer answerer = {s, write_word, close_script};
    sp_exchange *x = sp_exchange_create();
    x->suspend = suspend;
    x->resume = resume;
    x->connection = s;
    sp_exchange_answer(x, &answerer);
    return x;
}

static void take(sp_exchange *x, const char *expected)
{
    assert_int_equal(sp_exchange_ask(x), SP_EXCHANGE_DATA);
    assert_int_equal(x->out.len - x->out_taken, strlen(expected));
    assert_memory_equal(x->out.data + x->out_taken, expected, strlen(expected));
    x->out_taken = x->out.len;
}

static void test_wait_and_wake(void **state)
{
    script s = {.words = {"", "one", "", "two", NULL}};
    sp_exchange *x = begin(&s);
    (void)state;
    assert_int_equal(sp_exchange_ask(x), SP_EXCHANGE_WAIT);
    assert_int_equal(s.n_suspended, 1);
    sp_exchange_wake(x);
    sp_exchange_wake(x); /* a second one before the thread comes resumes nothing twice */
    assert_int_equal(s.n_resumed, 1);
    take(x, "one");
    assert_int_equal(sp_exchange_ask(x), SP_EXCHANGE_WAIT);
    sp_exchange_wake(x);
    take(x, "two");
    assert_int_equal(sp_exchange_ask(x), SP_EXCHANGE_END);
    assert_int_equal(s.n_closed, 1);
    sp_exchange_destroy(x);
    assert_int_equal(s.n_closed, 1);
    assert_int_equal(s.n_suspended, 2);
}

static void test_wake_while_asked(void **state)
{
    script s = {.words = {"", "late", NULL}, .wake_within = true};
    sp_exchange *x = begin(&s);
    (void)state;
    take(x, "late"); /* it is asked again instead of waiting for a wake that has been */
    assert_int_equal(s.n_suspended, 0);
    sp_exchange_destroy(x);
    assert_int_equal(s.n_closed, 1);
}

static void test_idle_and_gone(void **state)
{
    script s = {.words = {"", ":", "", NULL}};
    sp_exchange *x = begin(&s);
    (void)state;
    assert_int_equal(sp_exchange_ask(x), SP_EXCHANGE_WAIT);
    sp_exchange_remind(x, x->last_sent + SP_EXCHANGE_IDLE_S - 1);
    assert_int_equal(s.n_resumed, 0);
    sp_exchange_remind(x, x->last_sent + SP_EXCHANGE_IDLE_S + 1);
    assert_int_equal(s.n_resumed, 1);
    /* the connection comes back: being asked for the first time after a resume counts as idle only where nobody woke it */
    take(x, ":");
    assert_int_equal(s.n_idle, 1);
    assert_true(x->first_sent == 0);
    assert_int_equal(sp_exchange_ask(x), SP_EXCHANGE_WAIT);
    sp_exchange_abandon(x);
    assert_int_equal(s.n_resumed, 2);
    assert_int_equal(sp_exchange_ask(x), SP_EXCHANGE_GONE);
    assert_int_equal(s.n_closed, 1);
    sp_exchange_destroy(x);
    assert_int_equal(s.n_closed, 1);
}

static void test_whole_answer(void **state)
{
    sp_exchange *x = sp_exchange_create();
    (void)state;
    sp_exchange_reply(x, 201, "text/plain", "hello", 5);
    sp_exchange_reply(x, 500, "text/plain", "again", 5); /* the first counts */
    assert_int_equal(x->status, 201);
    take(x, "hello");
    assert_int_equal(sp_exchange_ask(x), SP_EXCHANGE_END);
    sp_exchange_destroy(x);
}

/* --- the log line --------------------------------------------------------------------------------------- */

static void keep_line(void *ctx, const char *line)
{
    snprintf(ctx, 1024, "%s", line);
}

static void test_log_line(void **state)
{
    static sp_server server;
    char line[1024] = "";
    sp_exchange *x = make("POST", "/v1/\xff", NULL);
    (void)state;
    server.options.log = keep_line;
    server.options.ctx = line;
    server.ops = sp_ops_create();
    x->status = 400;
    sp_buf_puts(&x->body, "secret", NULL);
    sp_exchange_note(x, "tokens", "12");
    sp_exchange_note(x, "version", "012");
    sp_ops_done(&server, x);
    assert_non_null(strstr(line, "\"level\":\"warn\",\"event\":\"request\""));
    assert_non_null(strstr(line, "\"path\":\"/v1/\xef\xbf\xbd\",\"status\":400"));
    assert_non_null(strstr(line, "\"tokens\":12,\"version\":\"012\"}"));
    assert_null(strstr(line, "secret"));
    server.options.log_prompts = true;
    sp_ops_done(&server, x);
    assert_non_null(strstr(line, "\"request\":\"secret\""));
    sp_buf metrics = {NULL, 0, 0};
    assert_int_equal(sp_ops_write_metrics(&server, &metrics, NULL), SP_OK);
    assert_non_null(strstr(metrics.data, "sputnik_requests_total{route=\"other\",status=\"400\"} 2\n"));
    sp_buf_clear(&metrics);
    sp_ops_destroy(server.ops);
    server.ops = NULL;
    sp_exchange_destroy(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),         cmocka_unit_test(test_origins),
        cmocka_unit_test(test_routes),        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_keys),          cmocka_unit_test(test_fail_dialects),
        cmocka_unit_test(test_wait_and_wake), cmocka_unit_test(test_wake_while_asked),
        cmocka_unit_test(test_idle_and_gone), cmocka_unit_test(test_whole_answer),
        cmocka_unit_test(test_log_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
