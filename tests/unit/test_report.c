/* SPDX-License-Identifier: MIT */
/* The report: well-formed whatever the run holds, nothing unescaped, no spike lost, unreadable lines named. The page is
 * written so that it is also XML, which the small checker below relies on. */
#include "test_util.h"

#include "train/metrics.h"
#include "train/report_axis.h"
#include "train/run_log.h"

#include <math.h>

typedef struct fixture {
    char dir[64];
    char *jsonl, *other, *html;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/sputnik-report.XXXXXX");
    if (!mkdtemp(f->dir)) return -1;
    f->jsonl = sp_path_join(f->dir, "metrics.jsonl");
    f->other = sp_path_join(f->dir, "other.jsonl");
    f->html = sp_path_join(f->dir, "report.html");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    unlink(f->jsonl);
    unlink(f->other);
    unlink(f->html);
    int left = rmdir(f->dir);
    sp_free(f->jsonl);
    sp_free(f->other);
    sp_free(f->html);
    free(f);
    return left;
}

static void write_text(const char *path, const char *text, size_t len)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* A run of n steps over two expert layers (or none), with a spike of the loss at one step. */
static void write_run(const char *path, int64_t n, int32_t n_experts, int64_t spike)
{
    sp_error err = SP_ERROR_NONE;
    sp_metrics *metrics = NULL;
    float loads[2 * 64];
    assert_ok(sp_metrics_open(&metrics, path, 0, &err), err);
    for (int64_t step = 1; step <= n; step++) {
        double share = (double)step / (double)n;
        sp_step_metrics m = {
            .step = step, .tokens = step * 2048, .n_layers = n_experts ? 2 : 0, .n_experts = n_experts};
        for (int32_t i = 0; i < 2 * n_experts; i++)
            loads[i] = (float)(0.5 + (double)((i * 7 + step) % 11) / 10);
        m.loads = loads;
        m.max_load = n_experts ? 1.5 : 0;
        m.loss = step == spike ? 77.7 : 3 - 2 * share;
        m.lr = 1e-3 * (1 - share);
        m.grad_norm = 0.4;
        m.rows = 8;
        m.tokens_per_s = 6000 + (double)(step % 7);
        m.peak_share = 0.68;
        m.seconds = (double)step;
        m.validation_loss = step % (n / 4 ? n / 4 : 1) == 0 ? m.loss + 0.25 : -1;
        m.validation_mtp_accuracy = -1;
        assert_ok(sp_metrics_put(metrics, &m, &err), err);
    }
    sp_metrics_close(metrics);
}

static sp_buf report_of(const fixture *f, const char *title, const char *config)
{
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_report_write(f->html, f->jsonl, title, config, &err), err);
    return read_whole(f->html);
}

static void assert_has(const sp_buf *page, const char *text)
{
    if (!strstr(page->data, text)) fail_msg("the page lacks: %s", text);
}

static void assert_lacks(const sp_buf *page, const char *text)
{
    if (strstr(page->data, text)) fail_msg("the page holds: %s", text);
}

static size_t count_of(const sp_buf *page, const char *text)
{
    size_t n = 0;
    for (const char *at = page->data; (at = strstr(at, text)) != NULL; at += strlen(text)) n++;
    return n;
}

/* --- well-formedness ------------------------------------------------------------------------------------ */

/* Attributes from `at` to the end of the tag: name="value" without < inside. */
static const char *skip_attributes(const char *at)
{
    while (*at == ' ') {
        at++;
        size_t n = strcspn(at, "=<>\" /");
        if (n == 0 || at[n] != '=' || at[n + 1] != '"') fail_msg("attribute: %.40s", at);
        at += n + 2;
        at += strcspn(at, "<\"");
        if (*at != '"') fail_msg("unquoted: %.40s", at);
        at++;
    }
    return at;
}

/* Every tag is closed in order, every & is a reference, every value is quoted, no number is "nan" or "inf". */
static void assert_well_formed(const sp_buf *page)
{
    char open[64][24];
    int depth = 0;
    assert_int_equal(strlen(page->data), page->len); /* no NUL inside */
    assert_int_equal(strncmp(page->data, "<!DOCTYPE html>\n", 16), 0);
    for (const char *at = page->data + 16; *at;) {
        if (*at == '&') assert_true(strcspn(at, ";") < 7);
        if (*at++ != '<') continue;
        bool closes = *at == '/';
        at += closes;
        size_t n = strcspn(at, " />");
        assert_true(n > 0 && n < 24);
        if (closes) {
            if (--depth < 0 || strlen(open[depth]) != n || strncmp(open[depth], at, n) != 0)
                fail_msg("closed out of order: %.40s", at);
            at += n;
        } else {
            assert_true(depth < 64);
            snprintf(open[depth++], sizeof open[0], "%.*s", (int)n, at);
            at = skip_attributes(at + n);
            depth -= *at == '/';
            at += *at == '/';
        }
        if (*at++ != '>') fail_msg("tag: %.40s", at - 1);
    }
    assert_int_equal(depth, 0);
    assert_lacks(page, "\"nan");
    assert_lacks(page, "nan\"");
    assert_lacks(page, " nan");
    assert_lacks(page, "inf ");
    assert_int_equal(count_of(page, "<svg "), count_of(page, "<desc "));
    assert_int_equal(count_of(page, "<svg "), count_of(page, "role=\"img\" aria-labelledby="));
    assert_lacks(page, "<script");
    assert_lacks(page, "src=");
    assert_lacks(page, "href=");
    assert_lacks(page, "url(");
}

/* --- tests ---------------------------------------------------------------------------------------------- */

static void test_whole_run(void **state)
{
    const fixture *f = *state;
    write_run(f->jsonl, 400, 8, 0);
    sp_buf page = report_of(f, "A run", "{\"seed\": 1}");
    assert_well_formed(&page);
    assert_has(&page, "<title>A run</title>");
    assert_has(&page, "{&quot;seed&quot;: 1}");
    static const char *const titles[] = {"Loss",          "Learning rate",
                                         "Gradient norm", "Largest expert load",
                                         "Speed",         "Share of the machine&#39;s measured peak"};
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        char text[96];
        snprintf(text, sizeof text, "<strong>%s</strong>", titles[i]);
        assert_has(&page, text);
    }
    assert_lacks(&page, "<strong>Batch</strong>"); /* it never varies */
    assert_lacks(&page, "<strong>Balance loss</strong>");
    assert_has(&page, "Expert loads, Layer 1");
    assert_has(&page, "class=\"mark\"");
    assert_has(&page, "<dt>Best validation loss</dt><dd>1.25<small>at step 400</small>");
    assert_has(&page, "<dt>Steps</dt><dd>400</dd>");
    assert_has(&page, "<dt>Tokens</dt><dd>819k</dd>");
    assert_has(&page, "<dt>Time</dt><dd>7 min</dd>");
    assert_has(&page, "<dt>Tokens per second</dt><dd>6,003<small>median</small>");
    assert_has(&page, "step 400\nvalidation 1.25</title>");
    sp_buf again = report_of(f, "A run", "{\"seed\": 1}");
    assert_string_equal(page.data, again.data);
    sp_buf_clear(&page);
    sp_buf_clear(&again);
}

static void test_everything_is_escaped(void **state)
{
    const fixture *f = *state;
    write_run(f->jsonl, 4, 2, 0);
    sp_buf page =
        report_of(f, "<b>&\"'", "</pre></script><script>alert(1)</script>\x01\xff\xc3(&amp; ]]>\r\n");
    assert_well_formed(&page);
    assert_has(&page, "&lt;b&gt;&amp;&quot;&#39;");
    assert_has(&page, "&lt;/pre&gt;&lt;/script&gt;&lt;script&gt;alert(1)&lt;/"
                      "script&gt;\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD(&amp;amp; "
                      "]]&gt;\n");
    sp_buf_clear(&page);
}

/* The curve visits at most two points per bucket and still reaches the spike. */
static void test_long_run_keeps_its_spike(void **state)
{
    const fixture *f = *state;
    write_run(f->jsonl, 20000, 0, 12345);
    sp_buf page = report_of(f, "long", NULL);
    assert_well_formed(&page);
    assert_has(&page, "largest 77.7 at step 12,345");
    const char *path = strstr(page.data, "class=\"raw c0\" d=\"");
    assert_non_null(path);
    path += strlen("class=\"raw c0\" d=\"");
    size_t n = 0;
    double top = 1e9, at_x = 0;
    for (; *path != '"'; path += strcspn(path, "ML\"")) {
        char *end;
        double x = strtod(path + 1, &end), y = strtod(end, &end);
        if (y < top) {
            top = y;
            at_x = x;
        }
        n++;
        path = end;
    }
    assert_true(n <= 1000 && n > 900);
    assert_true(top < 50); /* near the upper end of the plot: 77.7 is the largest value */
    assert_true(fabs(at_x - (68 + 12345.0 / 20000 * (1120 - 16 - 68))) < 0.2);
    assert_true(page.len < 1 << 20);
    sp_buf_clear(&page);
}

static void test_run_without_experts(void **state)
{
    const fixture *f = *state;
    write_run(f->jsonl, 30, 0, 0);
    sp_buf page = report_of(f, "dense", "");
    assert_well_formed(&page);
    assert_lacks(&page, "expert");
    assert_lacks(&page, "Expert");
    assert_lacks(&page, "<details");
    sp_buf_clear(&page);
}

static void test_empty_run(void **state)
{
    const fixture *f = *state;
    static const char *const texts[] = {"", "{\"step\":1,\"lo"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_text(f->jsonl, texts[i], strlen(texts[i]));
        sp_buf page = report_of(f, "empty", "{}");
        assert_well_formed(&page);
        assert_has(&page, "No step has been logged yet.");
        assert_lacks(&page, "<svg");
        sp_buf_clear(&page);
    }
}

static void test_one_step(void **state)
{
    const fixture *f = *state;
    write_run(f->jsonl, 1, 4, 0);
    sp_buf page = report_of(f, "one", NULL);
    assert_well_formed(&page);
    assert_has(&page, "<strong>Loss</strong>");
    sp_buf_clear(&page);
}

static void test_missing_numbers(void **state)
{
    const fixture *f = *state;
    const char text[] =
        "{\"step\":1,\"loss\":null}\n{\"step\":1,\"grad_norm\":1e400}\n"
        "{\"step\":2,\"loss\":2,\"grad_norm\":3,\"loads\":[[1,null],[null,null]],\"max_load\":null}\n"
        "{\"step\":3,\"loss\":null,\"lr\":1e300,\"tokens_per_s\":-5}\n"
        "{\"step\":4,\"loss\":1e200,\"lr\":-1e300}\n"
        "{\"step\":5,\"loss\":1.5,\"lr\":1e-300,\"peak_share\":\"much\"}\n"
        "{\"step\":9000000000000000000,\"loss\":0}\n";
    write_text(f->jsonl, text, sizeof text - 1);
    sp_buf page = report_of(f, "gaps", NULL);
    assert_well_formed(&page);
    assert_has(&page, "<dt>Loss not a number</dt><dd>at step 1<small>2 lines</small>");
    assert_has(&page, "smallest 0 at step 9e18, largest 2 at step 2");
    assert_has(&page, "line 2: "); /* 1e400 is no number that JSON's reader takes */
    sp_buf_clear(&page);
}

static void test_malformed_lines_are_named(void **state)
{
    const fixture *f = *state;
    const char text[] = "{\"step\":1,\"loss\":3}\n"
                        "{\"step\":2,\"loss\":<b>}\n"
                        "\n"
                        "{\"step\":3,\"loss\":2.5,\"loads\":[[1,2],[3]]}\n"
                        "{\"step\":4,\"loss\":2,\"loads\":[[1,2],[3,4]]}\n"
                        "{\"step\":5,\"loss\":2,\"loads\":[[1,2,3]]}\n"
                        "{\"step\":6,\"loss\":1.75}\n"
                        "{\"step\":7,\"lo";
    write_text(f->jsonl, text, sizeof text - 1);
    sp_buf page = report_of(f, "torn", NULL);
    assert_well_formed(&page);
    assert_has(&page, "4 lines of the metrics could not be read and were left out");
    assert_has(&page, "line 2: ");
    assert_has(&page, "line 3: ");
    assert_has(&page, "line 4: &quot;loads&quot;: expected rows of one length");
    assert_has(&page, "line 6: &quot;loads&quot;: expected 2 x 2 numbers, found 1 x 3");
    assert_lacks(&page, "line 8");
    assert_has(&page, "to 1.75 at step 6; smallest");
    sp_buf_clear(&page);
}

static void test_file_of_another_kind(void **state)
{
    const fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    write_text(f->jsonl, "GGUF\1\2\3\n\n\0x", 11);
    assert_int_equal(sp_report_write(f->html, f->jsonl, "t", "", &err), SP_E_FORMAT);
    assert_non_null(strstr(err.text, "line 1"));
    assert_false(sp_file_exists(f->html));
    unlink(f->jsonl);
    assert_int_equal(sp_report_write(f->html, f->jsonl, "t", "", &err), SP_E_NOT_FOUND);
}

/* Without the truncation of sp_metrics_open: later lines win, seconds go on. */
static void test_steps_that_come_again(void **state)
{
    const fixture *f = *state;
    const char text[] = "{\"step\":1,\"loss\":5,\"seconds\":10}\n{\"step\":2,\"loss\":4,\"seconds\":20}\n"
                        "{\"step\":3,\"loss\":9,\"seconds\":30}\n{\"step\":2,\"loss\":3,\"seconds\":5}\n"
                        "{\"step\":2,\"validation_loss\":3.5}\n{\"step\":4,\"loss\":2,\"seconds\":15}\n";
    sp_error err = SP_ERROR_NONE;
    sp_run_log log;
    write_text(f->jsonl, text, sizeof text - 1);
    assert_ok(sp_run_log_read(&log, f->jsonl, &err), err);
    assert_int_equal(log.n, 3);
    assert_true(log.columns[SP_RUN_LOSS][1] == 3 && log.columns[SP_RUN_VALIDATION_LOSS][1] == 3.5);
    assert_true(log.columns[SP_RUN_SECONDS][2] == 25); /* 10, then 5 and 15 of a process that began again */
    sp_run_log_clear(&log);
}

static void test_loads_are_averaged(void **state)
{
    const fixture *f = *state;
    sp_error err = SP_ERROR_NONE;
    sp_run_log log;
    write_run(f->jsonl, 1100, 4, 0); /* 11 x 100: loads come round every 11 steps */
    assert_ok(sp_run_log_read(&log, f->jsonl, &err), err);
    assert_true(log.loads.n_columns > SP_LOAD_COLUMNS / 2 && log.loads.n_columns <= SP_LOAD_COLUMNS);
    double sum = 0, n = 0;
    for (size_t c = 0; c < log.loads.n_columns; c++) {
        sum += (double)log.loads.columns[c].loads[5] * log.loads.columns[c].n_lines;
        n += log.loads.columns[c].n_lines;
        if (c) assert_true(log.loads.columns[c].first_step > log.loads.columns[c - 1].last_step);
    }
    assert_true(n == 1100 && fabs(sum / n - 1) < 1e-5);
    sp_run_log_clear(&log);
}

static void test_comparison(void **state)
{
    const fixture *f = *state;
    const sp_report_run runs[] = {{f->jsonl, "update on", "{\"rate\": 1}"}, {f->other, "<off>", NULL}};
    sp_error err = SP_ERROR_NONE;
    write_run(f->jsonl, 300, 8, 0);
    write_run(f->other, 200, 64, 50);
    assert_ok(sp_report_compare(f->html, "on and off", runs, 2, &err), err);
    sp_buf page = read_whole(f->html);
    assert_well_formed(&page);
    assert_has(&page, "Expert loads, Layer 0, update on");
    assert_has(&page, "Expert loads, Layer 1, &lt;off&gt;");
    assert_has(&page, "<th scope=\"col\">&lt;off&gt;</th>");
    assert_has(&page, "class=\"line c1\"");
    assert_has(&page, "&lt;off&gt;: from 2.99 at step 1");
    assert_int_equal(count_of(&page, "<details>"), 1);
    sp_buf_clear(&page);
    assert_int_equal(sp_report_compare(f->html, "", runs, 0, &err), SP_E_ARGUMENT);
    assert_int_equal(sp_report_compare(f->html, "", runs, 5, &err), SP_E_ARGUMENT);
}

static void test_failed_allocations(void **state)
{
    const fixture *f = *state;
    sp_status status = SP_E_NOMEM;
    write_run(f->jsonl, 20, 2, 0);
    for (int n = 0; status != SP_OK && n < 1000; n++) {
        sp_error err = SP_ERROR_NONE;
        sp_mem_fail_after(n);
        status = sp_report_write(f->html, f->jsonl, "t", "{}", &err);
        sp_mem_fail_after(-1);
        if (status == SP_OK) break;
        assert_int_equal(status, SP_E_NOMEM);
        assert_int_equal(err.code, SP_E_NOMEM);
        assert_false(sp_file_exists(f->html));
    }
    assert_int_equal(status, SP_OK);
}

static void test_ticks_are_round(void **state)
{
    static const struct {
        sp_axis axis;
        const char *labels;
    } cases[] = {
        {{0, 5000, 0, 1, false}, "0 1k 2k 3k 4k 5k"},
        {{0, 2.2e-3, 0, 1, false}, "0 5e-4 1e-3 1.5e-3 2e-3"},
        {{1.0012, 1.0017, 0, 1, false}, "1.0012 1.0013 1.0014 1.0015 1.0016 1.0017"},
        {{-3, 3, 0, 1, false}, "-2 0 2"},
        {{0, 1e6, 0, 1, false}, "0 200k 400k 600k 800k 1M"},
        {{0.5, 12, 0, 1, true}, "0.5 1 2 5 10"},
        {{1e-9, 1e9, 0, 1, true}, "1e-8 1e-4 1 10k 100M"},
        {{0.9, 1.1, 0, 1, true}, "0.9 0.95 1 1.05 1.1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double ticks[SP_AXIS_MAX_TICKS];
        char text[256] = "";
        int n = sp_axis_ticks(&cases[i].axis, 5, ticks);
        for (int t = 0; t < n; t++) {
            sp_report_number number;
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", t ? " " : "",
                     sp_axis_label(&number, ticks, n, t));
        }
        assert_string_equal(text, cases[i].labels);
    }
}

static void test_numbers(void **state)
{
    sp_report_number n;
    (void)state;
    assert_string_equal(sp_report_count(&n, 1234567), "1,234,567");
    assert_string_equal(sp_report_count(&n, -1000), "-1,000");
    assert_string_equal(sp_report_count(&n, 0), "0");
    assert_string_equal(sp_report_count(&n, (double)NAN), "-");
    assert_string_equal(sp_report_short(&n, 98304000, 3), "98.3M");
    assert_string_equal(sp_report_short(&n, 999.7, 3), "1k");
    assert_string_equal(sp_report_short(&n, 2e-4, 3), "2e-4");
    assert_string_equal(sp_report_value(&n, 0.81234), "0.8123");
    assert_string_equal(sp_report_value(&n, 123456), "123,456");
    assert_string_equal(sp_report_time(&n, 59.4), "59 s");
    assert_string_equal(sp_report_time(&n, 3600 * 2 + 300), "2 h 05 min");
    assert_string_equal(sp_report_time(&n, 86400 * 3 + 7200), "3 d 2 h");
    assert_string_equal(sp_report_time(&n, (double)NAN), "-");
}

int main(void)
{
#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FILES(test_whole_run),
        WITH_FILES(test_everything_is_escaped),
        WITH_FILES(test_long_run_keeps_its_spike),
        WITH_FILES(test_run_without_experts),
        WITH_FILES(test_empty_run),
        WITH_FILES(test_one_step),
        WITH_FILES(test_missing_numbers),
        WITH_FILES(test_malformed_lines_are_named),
        WITH_FILES(test_file_of_another_kind),
        WITH_FILES(test_steps_that_come_again),
        WITH_FILES(test_loads_are_averaged),
        WITH_FILES(test_comparison),
        WITH_FILES(test_failed_allocations),
        cmocka_unit_test(test_ticks_are_round),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
