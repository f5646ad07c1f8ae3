/* SPDX-License-Identifier: MIT */
/* The chat page as it is served: every file of it, whole, with its type, revalidated by ETag, under a policy that lets it reach nothing
 * but this server. What the page does in a browser is tested by tests/clients/test_page.py. */
#include "test_util.h"

#include "server/http_exchange.h"
#include "server/page.h"
#include "server/server.h"

typedef struct answer {
    sp_exchange *x;
    int status;
} answer;

/* Ask the page's own handlers, as the router does. Headers may be NULL. */
static answer get(const char *path, const char *accept_encoding, const char *if_none_match)
{
    static sp_server server = {.options = {.page = true}};
    sp_exchange *x = sp_exchange_create();
    assert_non_null(x);
    x->method = sp_strdup("GET");
    x->path = sp_strdup(path);
    if (accept_encoding) sp_fields_add(&x->headers, "Accept-Encoding", accept_encoding);
    if (if_none_match) sp_fields_add(&x->headers, "If-None-Match", if_none_match);
    for (const sp_route *route = sp_routes_page; route->method; route++) {
        if (strcmp(route->path, path) != 0) continue;
        assert_true(route->is_open);
        route->handle(&server, x);
        return (answer){x, x->status};
    }
    fail_msg("no route for %s", path);
    return (answer){NULL, 0};
}

static const char *header(const answer *a, const char *name)
{
    const char *value = sp_fields_get(&a->x->answer_headers, name);
    return value ? value : "";
}

static bool starts_with(const sp_buf *buf, const char *text)
{
    return buf->len >= strlen(text) && memcmp(buf->data, text, strlen(text)) == 0;
}

static void every_asset_is_served_whole(void **state)
{
    (void)state;
    size_t n = 0;
    for (; sp_page_assets[n]; n++) {
        const sp_page_asset *asset = sp_page_assets[n];
        answer a = get(asset->path, "gzip, br", NULL);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.x->out.len, asset->len);
        assert_memory_equal(a.x->out.data, asset->data, asset->len);
        assert_true(asset->len > 100);
        assert_string_equal(header(&a, "ETag"), asset->etag);
        assert_string_equal(header(&a, "Content-Encoding"), asset->is_packed ? "gzip" : "");
        assert_string_equal(header(&a, "X-Content-Type-Options"), "nosniff");
        assert_string_equal(header(&a, "Cache-Control"), "no-cache");
        assert_string_equal(header(&a, "Content-Security-Policy"), sp_page_policy);
        sp_exchange_destroy(a.x);
    }
    assert_true(n >= 14);
}

static void types_are_what_browsers_demand(void **state)
{
    (void)state;
    static const char *const types[][2] = {{"/", "text/html; charset=utf-8"},
                                           {"/assets/main.js", "text/javascript; charset=utf-8"},
                                           {"/assets/style.css", "text/css; charset=utf-8"},
                                           {"/assets/icon.svg", "image/svg+xml"}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        answer a = get(types[i][0], NULL, NULL);
        assert_int_equal(a.status, 200);
        assert_string_equal(header(&a, "Content-Type"), types[i][1]);
        sp_exchange_destroy(a.x);
    }
    answer page = get("/", NULL, NULL);
    assert_true(starts_with(&page.x->out, "<!doctype html>"));
    sp_exchange_destroy(page.x);
}

/* A line like <script src="assets/x.js"> of the page leads to an asset. */
static void what_the_page_names_is_there(void **state)
{
    (void)state;
    const sp_page_asset *page = sp_page_find("/");
    assert_non_null(page);
    char *html = sp_calloc(1, page->len + 1);
    memcpy(html, page->data, page->len);
    size_t n = 0;
    for (char *at = strstr(html, "\"assets/"); at; at = strstr(at + 1, "\"assets/"), n++) {
        char path[256];
        snprintf(path, sizeof path, "/%.*s", (int)strcspn(at + 1, "\""), at + 1);
        assert_non_null(sp_page_find(path));
    }
    assert_true(n >= 4);
    assert_null(strstr(html, "http://"));
    assert_null(strstr(html, "https://"));
    assert_null(strstr(html, "style=")); /* the policy forbids both */
    assert_null(strstr(html, "onclick"));
    sp_free(html);
}

static void what_the_client_has_is_not_sent_again(void **state)
{
    (void)state;
    const sp_page_asset *asset = sp_page_find("/assets/main.js");
    char list[128];
    snprintf(list, sizeof list, "\"other\", W/%s", asset->etag);
    answer a = get(asset->path, "gzip", list);
    assert_int_equal(a.status, 304);
    assert_int_equal(a.x->out.len, 0);
    assert_string_equal(header(&a, "ETag"), asset->etag);
    sp_exchange_destroy(a.x);
    assert_int_equal(sp_page_status(asset, "*", NULL), 304);
    assert_int_equal(sp_page_status(asset, "\"0123456789abcdef\"", NULL), 200);
    snprintf(list, sizeof list, "%s0\"", asset->etag); /* ours is only its beginning */
    assert_int_equal(sp_page_status(asset, list, NULL), 200);
}

static void packed_files_go_to_who_unpacks(void **state)
{
    (void)state;
    static const unsigned char data[] = {0x1f, 0x8b};
    const sp_page_asset packed = {"/x.js", "text/javascript", "\"1\"", data, sizeof data, true};
    static const char *const takers[] = {"gzip", "br, gzip", "deflate,gzip;q=0.5", "*", "gzip;q=1"};
    static const char *const others[] = {"", "br", "gzip;q=0", "gzip;q=0.0, br", "x-gzip2", "identity"};
    for (size_t i = 0; i < sizeof takers / sizeof takers[0]; i++)
        assert_int_equal(sp_page_status(&packed, NULL, takers[i]), 200);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(sp_page_status(&packed, NULL, others[i]), 406);
    assert_int_equal(sp_page_status(&packed, NULL, NULL), 406);
    for (size_t i = 0; sp_page_assets[i]; i++)
        if (sp_page_assets[i]->is_packed) assert_memory_equal(sp_page_assets[i]->data, data, sizeof data);
}

static void the_policy_lets_nothing_else_in(void **state)
{
    (void)state;
    static const char *const parts[] = {"default-src 'none'",   "script-src 'self'", "connect-src 'self'",
                                        "img-src 'self' data:", "base-uri 'none'",   "frame-ancestors 'none'",
                                        "form-action 'none'"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_non_null(strstr(sp_page_policy, parts[i]));
    assert_null(strstr(sp_page_policy, "unsafe"));
    assert_null(strstr(sp_page_policy, "http"));
}

static void other_paths_have_no_asset(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "", "/assets", "/assets/", "/assets/../main.js", "/assets/main.js/", "/index.html.in"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) assert_null(sp_page_find(paths[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_asset_is_served_whole),
        cmocka_unit_test(types_are_what_browsers_demand),
        cmocka_unit_test(what_the_page_names_is_there),
        cmocka_unit_test(what_the_client_has_is_not_sent_again),
        cmocka_unit_test(packed_files_go_to_who_unpacks),
        cmocka_unit_test(the_policy_lets_nothing_else_in),
        cmocka_unit_test(other_paths_have_no_asset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
