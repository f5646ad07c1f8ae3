/* SPDX-License-Identifier: MIT */
/* metrics.jsonl: what a line says, what a resumed run keeps, what a kill or a full disk leaves; and the terminal line. */
#include "test_util.h"

#include "train/metrics.h"
#include "train/progress_line.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

typedef struct fixture {
    char dir[64];
    char *path;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/sputnik-metrics.XXXXXX");
    if (!mkdtemp(f->dir)) return -1;
    f->path = sp_path_join(f->dir, "metrics.jsonl");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    unlink(f->path);
    int left = rmdir(f->dir); /* fails where a temporary file was left */
    sp_free(f->path);
    free(f);
    return left;
}

static sp_step_metrics metrics_of(int64_t step)
{
    sp_step_metrics m = {.step = step,
                         .tokens = step * 1000,
                         .loss = 2.5,
                         .lr = 1.2e-3,
                         .grad_norm = 0.5,
                         .rows = 8,
                         .tokens_per_s = 6123,
                         .peak_share = 0.68,
                         .seconds = 3.0 * (double)step};
    m.validation_loss = m.validation_mtp_accuracy = -1;
    return m;
}

static void write_steps(const char *path, int64_t resume, int64_t last)
{
    sp_error err = SP_ERROR_NONE;
    sp_metrics *metrics = NULL;
    assert_ok(sp_metrics_open(&metrics, path, resume, &err), err);
    for (int64_t step = resume + 1; step <= last; step++) {
        sp_step_metrics m = metrics_of(step);
        assert_ok(sp_metrics_put(metrics, &m, &err), err);
    }
    sp_metrics_close(metrics);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) < 0, 0);
    assert_int_equal(fclose(file), 0);
}

/* Every line is an object; their steps go to `steps`. */
static size_t read_steps(const char *path, int64_t *steps, size_t cap)
{
    sp_buf buf = read_whole(path);
    size_t n = 0;
    char *save = NULL;
    for (char *line = strtok_r(buf.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        sp_json *root = NULL;
        sp_error err = SP_ERROR_NONE;
        assert_ok(sp_json_parse(line, strlen(line), &root, &err), err);
        assert_true(n < cap);
        steps[n++] = sp_json_int(sp_json_get(root, "step"), -1);
        sp_json_destroy(root);
    }
    sp_buf_clear(&buf);
    return n;
}

static void test_line_has_named_numbers(void **state)
{
    const char *path = ((fixture *)*state)->path;
    const float loads[] = {1.25f, 0.75f, 0.5f, (float)NAN};
    sp_error err = SP_ERROR_NONE;
    sp_metrics *metrics = NULL;
    sp_step_metrics m = metrics_of(7);
    m.n_layers = m.n_experts = 2;
    m.loads = loads;
    m.max_load = 1.25;
    m.grad_norm = (double)INFINITY;
    m.validation_loss = (double)NAN;
    assert_ok(sp_metrics_open(&metrics, path, 0, &err), err);
    assert_ok(sp_metrics_put(metrics, &m, &err), err);
    sp_metrics_close(metrics);
    sp_buf buf = read_whole(path);
    assert_string_equal(
        buf.data, "{\"step\":7,\"tokens\":7000,\"loss\":2.5,\"mtp_loss\":0,\"balance_loss\":0,\"lr\":0.0012,"
                  "\"grad_norm\":null,\"rows\":8,\"tokens_per_s\":6123,\"peak_share\":0.68,\"seconds\":21,"
                  "\"max_load\":1.25,\"loads\":[[1.25,0.75],[0.5,null]],\"validation_loss\":null}\n");
    sp_buf_clear(&buf);
}

static void test_resume_drops_later_lines(void **state)
{
    const char *path = ((fixture *)*state)->path;
    int64_t steps[32];
    write_steps(path, 0, 10);
    write_steps(path, 6, 8); /* 7 and 8 once more, 9 and 10 gone */
    assert_int_equal(read_steps(path, steps, 32), 8);
    for (int i = 0; i < 8; i++) assert_int_equal(steps[i], i + 1);
    write_steps(path, 0, 2);
    assert_int_equal(read_steps(path, steps, 32), 2);
}

static void test_resume_without_a_file(void **state)
{
    const char *path = ((fixture *)*state)->path;
    int64_t steps[4];
    write_steps(path, 5, 6);
    assert_int_equal(read_steps(path, steps, 4), 1);
    assert_int_equal(steps[0], 6);
}

static void test_line_cut_short_is_dropped(void **state)
{
    const char *path = ((fixture *)*state)->path;
    static const char *const tails[] = {"{\"step\":3,\"los", "{", "{\"tokens\":3}", "7"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char text[128];
        int64_t steps[8];
        snprintf(text, sizeof text, "{\"step\":1}\n{\"step\":2}\n%s", tails[i]);
        write_text(path, text);
        write_steps(path, 5, 6);
        assert_int_equal(read_steps(path, steps, 8), 3);
        assert_int_equal(steps[2], 6);
    }
    write_text(path, "{\"step\":1}\n{\"step\":2}"); /* whole but for its end of line: kept */
    write_steps(path, 2, 3);
    int64_t steps[8];
    assert_int_equal(read_steps(path, steps, 8), 3);
}

static void test_malformed_line_is_named(void **state)
{
    const char *path = ((fixture *)*state)->path;
    static const char *const lines[] = {
        "{\"step\":}", "[1]", "{\"steps\":1}", "", "{\"step\":-4}", "{\"step\":1.5}", "{\"step\":\"1\"}"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[128];
        sp_error err = SP_ERROR_NONE;
        sp_metrics *metrics = NULL;
        snprintf(text, sizeof text, "{\"step\":1}\n%s\n{\"step\":3}\n", lines[i]);
        write_text(path, text);
        assert_int_equal(sp_metrics_open(&metrics, path, 3, &err), SP_E_FORMAT);
        assert_null(metrics);
        assert_non_null(strstr(err.text, "line 2"));
        sp_buf buf = read_whole(path); /* untouched */
        assert_string_equal(buf.data, text);
        sp_buf_clear(&buf);
    }
}

static void test_full_disk_leaves_whole_lines(void **state)
{
    const char *path = ((fixture *)*state)->path;
    struct rlimit old, small;
    sp_error err = SP_ERROR_NONE;
    sp_metrics *metrics = NULL;
    int64_t steps[64];
    assert_ok(sp_metrics_open(&metrics, path, 0, &err), err);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int64_t step = 1, written = 0;
    for (; step < 30; step++) {
        sp_step_metrics m = metrics_of(step);
        if (sp_metrics_put(metrics, &m, &err) != SP_OK) break;
        written++;
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(written > 0 && step < 30);
    assert_int_equal(err.code, SP_E_IO);
    sp_step_metrics m = metrics_of(step);
    assert_ok(sp_metrics_put(metrics, &m, &err), err); /* goes on once there is room */
    sp_metrics_close(metrics);
    assert_int_equal(read_steps(path, steps, 64), written + 1);
}

static void test_failed_allocations(void **state)
{
    const char *path = ((fixture *)*state)->path;
    sp_status status = SP_E_NOMEM;
    write_steps(path, 0, 3);
    for (int n = 0; status != SP_OK && n < 100; n++) {
        sp_error err = SP_ERROR_NONE;
        sp_metrics *metrics = NULL;
        sp_step_metrics m = metrics_of(4);
        sp_mem_fail_after(n);
        status = sp_metrics_open(&metrics, path, 3, &err);
        if (status == SP_OK) status = sp_metrics_put(metrics, &m, &err);
        sp_mem_fail_after(-1);
        sp_metrics_close(metrics);
        if (status != SP_OK) assert_int_equal(status, SP_E_NOMEM);
    }
    int64_t steps[8];
    assert_int_equal(status, SP_OK);
    assert_int_equal(read_steps(path, steps, 8), 4);
}

/* --- terminal line -------------------------------------------------------------------------------------- */

static void test_progress_line(void **state)
{
    char line[256];
    sp_step_metrics m = metrics_of(1200);
    sp_progress_options options = {
        .total_steps = 6000, .validation_loss = 0.79, .seconds_left = 2520, .width = 200};
    (void)state;
    m.loss = 0.81234;
    m.n_experts = 8;
    m.max_load = 1.214;
    int n = sp_progress_line_format(line, sizeof line, &m, &options);
    assert_string_equal(
        line, "step 1200/6000  loss 0.8123  val 0.79  lr 1.2e-3  6.1k tok/s (68 % of peak)  load 1.21  "
              "left 42 min");
    assert_int_equal(n, strlen(line));
    options.seconds_left = -1; /* 3 s per step so far */
    sp_progress_line_format(line, sizeof line, &m, &options);
    assert_non_null(strstr(line, "left 4 h 00 min"));
}

static void test_progress_line_fits(void **state)
{
    sp_step_metrics m = metrics_of(1200);
    (void)state;
    m.n_experts = 8;
    m.max_load = 1.2;
    for (int width = -1; width < 130; width++) {
        char line[256];
        sp_progress_options options = {6000, 0.79, -1, width};
        int n = sp_progress_line_format(line, sizeof line, &m, &options);
        assert_int_equal(n, strlen(line));
        assert_true(n <= (width < 0 ? 0 : width));
        if (width >= 14) assert_int_equal(strncmp(line, "step 1200/6000", 14), 0);
        if (width >= 40) assert_non_null(strstr(line, "loss 2.5000"));
        char tight[16]; /* the buffer limits it as well */
        assert_true(sp_progress_line_format(tight, sizeof tight, &m, &options) < 16);
    }
}

static void test_progress_line_of_odd_numbers(void **state)
{
    char line[256];
    sp_step_metrics m = {0};
    sp_progress_options options = {0, -1, -1, 200};
    (void)state;
    m.validation_loss = m.validation_mtp_accuracy = -1;
    sp_progress_line_format(line, sizeof line, &m, &options);
    assert_string_equal(line, "step 0  loss 0.0000  lr 0  0 tok/s");
    m.loss = m.lr = m.tokens_per_s = m.peak_share = m.max_load = (double)NAN;
    m.validation_loss = 1e300;
    m.n_experts = 1;
    assert_true(sp_progress_line_format(line, sizeof line, &m, &options) > 0);
    m.loss = m.tokens_per_s = m.seconds = (double)INFINITY;
    m.step = INT64_MAX;
    options.total_steps = INT64_MAX;
    assert_true(sp_progress_line_format(line, sizeof line, &m, &options) > 0);
}

int main(void)
{
#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FILE(test_line_has_named_numbers),    WITH_FILE(test_resume_drops_later_lines),
        WITH_FILE(test_resume_without_a_file),     WITH_FILE(test_line_cut_short_is_dropped),
        WITH_FILE(test_malformed_line_is_named),   WITH_FILE(test_full_disk_leaves_whole_lines),
        WITH_FILE(test_failed_allocations),        cmocka_unit_test(test_progress_line),
        cmocka_unit_test(test_progress_line_fits), cmocka_unit_test(test_progress_line_of_odd_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
