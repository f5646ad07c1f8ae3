/* SPDX-License-Identifier: MIT */
/* The meter: keys, limits, money, and a ledger that neither a killed process nor a full disk leaves wrong. */
#include "test_util.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "server/meter_db.h"

/* ---- windows and money, which need no file ---- */

static void test_window_of_requests(void **state)
{
    (void)state;
    sp_windows windows = {.n = 0};
    sp_window *window = sp_windows_get(&windows, "key-a");
    assert_non_null(window);
    for (int i = 0; i < 3; i++) {
        assert_true(sp_window_wait(window, 100.5 + i, 3, 0) == 0);
        sp_window_add(window, 100.5 + i, 1, 0);
    }
    /* full: the first leaves a minute after the end of its second */
    assert_true(sp_window_wait(window, 103.5, 3, 0) == 161 - 103.5);
    assert_true(sp_window_wait(window, 160.9, 3, 0) > 0);
    assert_true(sp_window_wait(window, 161.0, 3, 0) == 0);
    sp_window_add(window, 161.0, 1, 0);
    assert_true(sp_window_wait(window, 161.0, 3, 0) == 1);
    /* long silence, and a limit of none */
    assert_true(sp_window_wait(window, 100000, 1, 1) == 0);
    sp_window_add(window, 100000, 1000, 1000);
    assert_true(sp_window_wait(window, 100000, 0, 0) == 0);
    sp_windows_clear(&windows);
}

/* However requests come, no 60 seconds hold more than the limit, and a client that waits as it is told gets in. */
static void test_window_never_exceeded(void **state)
{
    (void)state;
    enum { LIMIT = 7, N = 400 };
    static double at[N];
    sp_windows windows = {.n = 0};
    sp_window *window = sp_windows_get(&windows, "key-a");
    double now = 5;
    for (int i = 0; i < N; i++) {
        now += (i * 7919 % 100) / 40.0;
        double wait = sp_window_wait(window, now, LIMIT, 0);
        now += wait;
        assert_true(sp_window_wait(window, now + 1e-6, LIMIT, 0) == 0);
        sp_window_add(window, now, 1, 0);
        at[i] = now;
        if (i >= LIMIT) assert_true(at[i] - at[i - LIMIT] >= 60);
    }
    sp_windows_clear(&windows);
}

static void test_window_of_tokens(void **state)
{
    (void)state;
    sp_windows windows = {.n = 0};
    sp_window *window = sp_windows_get(&windows, "key-a");
    sp_window_add(window, 10, 1, 999);
    assert_true(sp_window_wait(window, 10, 0, 1000) == 0); /* one more may begin below the limit */
    sp_window_add(window, 20, 1, 500);
    assert_true(sp_window_wait(window, 20, 0, 1000) == 71 - 20);
    assert_true(sp_window_wait(window, 71, 0, 1000) == 0);
    char id[SP_KEY_ID_CAP];
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "key-%d", i * 37 % 100);
        assert_non_null(sp_windows_get(&windows, id));
    }
    assert_int_equal(windows.n, 101);
    assert_ptr_equal(sp_windows_find(&windows, "key-a"), window);
    assert_null(sp_windows_find(&windows, "key-b"));
    sp_windows_clear(&windows);
}

static void test_cost(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    int64_t cost = -1;
    /* 0.07, 0.27, 1.10 dollars per million: 70, 270, 1100 billionths per token */
    assert_ok(sp_meter_cost(&cost, &sp_price_chat, 1000000, 0, 0, &err), err);
    assert_int_equal(cost, 70000000);
    assert_ok(sp_meter_cost(&cost, &sp_price_chat, 64, 10, 3, &err), err);
    assert_int_equal(cost, 64 * 70 + 10 * 270 + 3 * 1100);
    assert_ok(sp_meter_cost(&cost, &sp_price_reasoner, 1, 1, 1, &err), err);
    assert_int_equal(cost, 140 + 550 + 2190);
    /* fractions of a billionth are summed before they are rounded, half up */
    sp_price tiny = {0.0005, 0.0005, 0.0004};
    assert_ok(sp_meter_cost(&cost, &tiny, 1, 0, 0, &err), err);
    assert_int_equal(cost, 1);
    assert_ok(sp_meter_cost(&cost, &tiny, 1, 1, 1, &err), err);
    assert_int_equal(cost, 1);
    assert_ok(sp_meter_cost(&cost, &tiny, 0, 0, 1, &err), err);
    assert_int_equal(cost, 0);
    /* the largest that is taken does not overflow; what is beyond is refused */
    sp_price dear = {1e5, 1e5, 1e5};
    assert_ok(sp_meter_cost(&cost, &dear, 1ull << 32, 1ull << 32, 1ull << 32, &err), err);
    assert_true(cost == (int64_t)(3 * (1ull << 32) * 100000000));
    assert_int_equal(sp_meter_cost(&cost, &dear, (1ull << 32) + 1, 0, 0, &err), SP_E_RANGE);
    sp_price wrong[] = {{-1, 0, 0}, {0, 1e6, 0}, {0, 0, (double)NAN}};
    for (int i = 0; i < 3; i++) assert_int_equal(sp_meter_cost(&cost, &wrong[i], 1, 1, 1, &err), SP_E_RANGE);
}

#if SP_HAVE_SQLITE

/* ---- with a file ---- */

static char folder[256];

static const char *store_path(const char *name)
{
    static char path[320];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    const char *root = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sputnik-meter-XXXXXX", root ? root : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[320];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static sp_ledger_row row_of(const char *key_id, uint64_t n_reply)
{
    return (sp_ledger_row){.request_id = "req-1",
                           .key_id = key_id,
                           .endpoint = "/chat/completions",
                           .model = "nano",
                           .n_hit = 64,
                           .n_miss = 10,
                           .n_reply = n_reply,
                           .n_reasoning = n_reply / 2,
                           .price = sp_price_chat,
                           .vendor_price = sp_price_reasoner,
                           .seconds = 0.5};
}

/* What rows of row_of cost. */
static int64_t cost_of(uint64_t n_reply)
{
    return 64 * 70 + 10 * 270 + (int64_t)n_reply * 1100;
}

typedef struct totals {
    size_t n;
    sp_usage_line last;
    uint64_t n_requests, n_reply;
    int64_t cost, vendor_cost;
} totals;

static int add_line(void *ctx, const sp_usage_line *line)
{
    totals *sums = ctx;
    sums->n++;
    sums->n_requests += line->n_requests;
    sums->n_reply += line->n_reply;
    sums->cost += line->cost;
    sums->vendor_cost += line->vendor_cost;
    return 0;
}

static totals report(sp_meter *meter)
{
    totals sums = {.n = 0};
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_meter_report(meter, 0, INT64_MAX, add_line, &sums, &err), err);
    return sums;
}

static int keep_key(void *ctx, const sp_key_info *info)
{
    *(sp_key_info *)ctx = *info;
    return 0;
}

static sp_key_info last_key(sp_meter *meter)
{
    sp_key_info info = {.id = ""};
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_meter_list_keys(meter, keep_key, &info, &err), err);
    return info;
}

static sp_admission admit(sp_meter *meter, const char *key, sp_key_info *info, double *retry_s)
{
    sp_admission admission = SP_ADMIT_UNKNOWN;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_meter_admit(meter, key, &admission, info, retry_s, &err), err);
    return admission;
}

static void test_keys(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    char key[SP_KEY_TEXT_CAP], other[SP_KEY_TEXT_CAP];
    sp_key_info info, seen;
    size_t n = 9;
    double retry_s = -1;
    assert_ok(sp_meter_open(&meter, store_path("keys.db"), &err), err);
    sp_key_options options = {.name = "laptop", .budget = -1};
    assert_ok(sp_meter_add_key(meter, &options, key, &info, &err), err);
    assert_int_equal(strlen(key), 46);
    assert_memory_equal(key, "sk-", 3);
    assert_string_equal(info.hint, key + 42);
    assert_int_equal(sp_meter_add_key(meter, &options, other, NULL, &err),
                     SP_E_ARGUMENT); /* the name is taken */
    options.name = NULL;
    assert_ok(sp_meter_add_key(meter, &options, other, NULL, &err), err);
    assert_string_not_equal(key, other);
    assert_ok(sp_meter_count_keys(meter, &n, &err), err);
    assert_int_equal(n, 2);

    assert_int_equal(admit(meter, key, &seen, &retry_s), SP_ADMIT);
    assert_string_equal(seen.id, info.id);
    assert_string_equal(seen.name, "laptop");
    assert_true(seen.budget == -1 && seen.spent == 0 && retry_s == 0);
    assert_int_equal(admit(meter, "", &seen, NULL), SP_ADMIT_UNKNOWN);
    assert_int_equal(admit(meter, "sk-nothing", &seen, NULL), SP_ADMIT_UNKNOWN);
    assert_int_equal(admit(meter, info.id, &seen, NULL), SP_ADMIT_UNKNOWN);

    /* revoking works at once, for another connection too, and frees the name */
    sp_meter *second = NULL;
    assert_ok(sp_meter_open(&second, store_path("keys.db"), &err), err);
    assert_ok(sp_meter_revoke_key(second, "laptop", &err), err);
    assert_int_equal(admit(meter, key, &seen, NULL), SP_ADMIT_UNKNOWN);
    assert_int_equal(sp_meter_revoke_key(second, info.id, &err), SP_E_NOT_FOUND);
    options.name = "laptop";
    assert_ok(sp_meter_add_key(second, &options, key, &info, &err), err);
    assert_int_equal(admit(meter, key, &seen, NULL), SP_ADMIT);
    assert_ok(sp_meter_count_keys(meter, &n, &err), err);
    assert_int_equal(n, 2);
    sp_meter_close(second);
    sp_meter_close(meter);

    /* the file: for its owner alone, without the key itself */
    struct stat st;
    assert_int_equal(stat(store_path("keys.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    sp_buf bytes = read_whole(store_path("keys.db"));
    assert_null(memmem(bytes.data, bytes.len, key, strlen(key)));
    assert_null(memmem(bytes.data, bytes.len, key + 3, strlen(key) - 3));
    assert_non_null(memmem(bytes.data, bytes.len, info.id, strlen(info.id)));
    sp_buf_clear(&bytes);
}

static void test_names(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    char key[SP_KEY_TEXT_CAP], name[SP_KEY_NAME_CAP + 1];
    assert_ok(sp_meter_open(&meter, NULL, &err), err);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    const char *wrong[] = {"", "key-abc", "a\nb", name};
    for (int i = 0; i < 4; i++) {
        sp_key_options options = {.name = wrong[i]};
        assert_int_equal(sp_meter_add_key(meter, &options, key, NULL, &err), SP_E_ARGUMENT);
    }
    name[SP_KEY_NAME_CAP - 1] = '\0';
    sp_key_options options = {.name = name};
    assert_ok(sp_meter_add_key(meter, &options, key, NULL, &err), err);
    assert_string_equal(last_key(meter).name, name);
    sp_meter_close(meter);
}

static void test_limits(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    char key[SP_KEY_TEXT_CAP];
    sp_key_info info;
    double retry_s = 0;
    assert_ok(sp_meter_open(&meter, NULL, &err), err);

    sp_key_options few = {.requests_per_minute = 2, .budget = -1};
    assert_ok(sp_meter_add_key(meter, &few, key, NULL, &err), err);
    assert_int_equal(admit(meter, key, &info, &retry_s), SP_ADMIT);
    assert_int_equal(admit(meter, key, &info, &retry_s), SP_ADMIT);
    assert_int_equal(admit(meter, key, &info, &retry_s), SP_ADMIT_LIMITED);
    assert_true(retry_s > 30 && retry_s <= 61);

    sp_key_options short_ones = {.tokens_per_minute = 100, .budget = -1};
    assert_ok(sp_meter_add_key(meter, &short_ones, key, NULL, &err), err);
    assert_int_equal(admit(meter, key, &info, &retry_s), SP_ADMIT);
    sp_ledger_row row = row_of(info.id, 25);
    assert_ok(sp_meter_book(meter, &row, &err), err); /* 99 tokens */
    assert_int_equal(admit(meter, key, &info, &retry_s), SP_ADMIT);
    assert_ok(sp_meter_book(meter, &row, &err), err);
    assert_int_equal(admit(meter, key, &info, &retry_s), SP_ADMIT_LIMITED);

    sp_key_options old = {.budget = -1, .expires = time(NULL) + 2};
    assert_ok(sp_meter_add_key(meter, &old, key, NULL, &err), err);
    assert_int_equal(admit(meter, key, &info, &retry_s), SP_ADMIT);
    old.expires = time(NULL);
    assert_ok(sp_meter_add_key(meter, &old, key, NULL, &err), err);
    assert_int_equal(admit(meter, key, &info, &retry_s), SP_ADMIT_UNKNOWN);
    sp_meter_close(meter);
}

static void test_budget(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    char key[SP_KEY_TEXT_CAP];
    sp_key_info info;
    sp_balance balance;
    int64_t cost = cost_of(10);
    assert_ok(sp_meter_open(&meter, store_path("budget.db"), &err), err);
    sp_key_options options = {.budget = cost + 1};
    assert_ok(sp_meter_add_key(meter, &options, key, &info, &err), err);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(admit(meter, key, &info, NULL), SP_ADMIT);
        assert_ok(sp_meter_balance(meter, info.id, &balance, &err), err);
        assert_true(balance.is_available && balance.total == cost + 1 - i * cost);
        assert_true(balance.granted == balance.total && balance.topped_up == 0);
        sp_ledger_row row = row_of(info.id, 10);
        assert_ok(sp_meter_book(meter, &row, &err), err);
    }
    assert_int_equal(admit(meter, key, &info, NULL), SP_ADMIT_SPENT);
    assert_true(info.spent == 2 * cost && info.last_used > 0);
    sp_admission admission = SP_ADMIT_UNKNOWN;
    assert_ok(sp_meter_identify(meter, key, &admission, &info, &err), err);
    assert_int_equal(admission, SP_ADMIT);
    assert_ok(sp_meter_identify(meter, "sk-other", &admission, &info, &err), err);
    assert_int_equal(admission, SP_ADMIT_UNKNOWN);
    sp_meter_close(meter);

    assert_ok(sp_meter_open(&meter, store_path("budget.db"), &err), err); /* and it stays spent */
    assert_int_equal(admit(meter, key, &info, NULL), SP_ADMIT_SPENT);
    assert_ok(sp_meter_balance(meter, info.id, &balance, &err), err);
    assert_true(!balance.is_available && balance.total == 0);
    options.budget = 0;
    assert_ok(sp_meter_add_key(meter, &options, key, &info, &err), err);
    assert_int_equal(admit(meter, key, &info, NULL), SP_ADMIT_SPENT);
    options.budget = -1;
    assert_ok(sp_meter_add_key(meter, &options, key, &info, &err), err);
    assert_ok(sp_meter_balance(meter, info.id, &balance, &err), err);
    assert_true(balance.is_available && balance.total == INT64_MAX);
    assert_ok(sp_meter_balance(meter, NULL, &balance, &err), err);
    assert_true(balance.is_available);
    assert_int_equal(sp_meter_balance(meter, "key-none", &balance, &err), SP_E_NOT_FOUND);
    sp_meter_close(meter);
}

static int check_line(void *ctx, const sp_usage_line *line)
{
    totals *sums = ctx;
    time_t now = time(NULL);
    char today[16];
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(today, sizeof today, "%Y-%m-%d", &utc);
    assert_string_equal(line->day, today);
    if (line->key_id[0]) {
        assert_string_equal(line->key_name, "bob");
        assert_int_equal(line->n_requests, 2);
        assert_int_equal(line->n_hit, 128);
        assert_int_equal(line->n_miss, 20);
        assert_int_equal(line->n_reasoning, 2 * 5);
        assert_true(line->cost == 2 * cost_of(10));
        assert_true(line->vendor_cost == 2 * (64 * 140 + 10 * 550 + 10 * 2190));
    }
    return add_line(ctx, line) + (sums->n == 0);
}

static void test_report(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    char key[SP_KEY_TEXT_CAP];
    sp_key_info info;
    assert_ok(sp_meter_open(&meter, NULL, &err), err);
    sp_key_options options = {.name = "bob", .budget = -1};
    assert_ok(sp_meter_add_key(meter, &options, key, &info, &err), err);
    sp_ledger_row row = row_of(info.id, 10), open_row = row_of("", 7);
    assert_ok(sp_meter_book(meter, &row, &err), err);
    assert_ok(sp_meter_book(meter, &row, &err), err);
    assert_ok(sp_meter_book(meter, &open_row, &err), err);
    open_row.model = "other";
    assert_ok(sp_meter_book(meter, &open_row, &err), err);
    totals sums = {.n = 0};
    assert_ok(sp_meter_report(meter, 0, INT64_MAX, check_line, &sums, &err), err);
    assert_int_equal(sums.n, 3);
    assert_int_equal(sums.n_requests, 4);
    sums = (totals){.n = 0};
    assert_ok(sp_meter_report(meter, 0, time(NULL) - 3600, add_line, &sums, &err), err);
    assert_int_equal(sums.n, 0);
    /* a row that cannot be priced is refused and leaves nothing */
    row.price.output = -1;
    assert_int_equal(sp_meter_book(meter, &row, &err), SP_E_RANGE);
    assert_int_equal(report(meter).n_requests, 4);
    sp_meter_close(meter);
}

/* ---- many threads ---- */

enum { N_THREADS = 8, N_EACH = 25 };

typedef struct booker {
    sp_meter *meter;
    const char *key_id;
    pthread_t thread;
    int n_good;
} booker;

static void *book_many(void *ctx)
{
    booker *self = ctx;
    for (int i = 0; i < N_EACH; i++) {
        sp_ledger_row row = row_of(self->key_id, (uint64_t)i);
        if (sp_meter_book(self->meter, &row, NULL) == SP_OK) self->n_good++;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    char key[SP_KEY_TEXT_CAP];
    sp_key_info info;
    booker bookers[N_THREADS];
    assert_ok(sp_meter_open(&meter, store_path("threads.db"), &err), err);
    sp_key_options options = {.budget = -1};
    assert_ok(sp_meter_add_key(meter, &options, key, &info, &err), err);
    for (int i = 0; i < N_THREADS; i++) {
        bookers[i] = (booker){.meter = meter, .key_id = info.id};
        assert_int_equal(pthread_create(&bookers[i].thread, NULL, book_many, &bookers[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(bookers[i].thread, NULL);
        assert_int_equal(bookers[i].n_good, N_EACH);
    }
    totals sums = report(meter);
    assert_int_equal(sums.n_requests, N_THREADS * N_EACH);
    assert_int_equal(admit(meter, key, &info, NULL), SP_ADMIT);
    assert_true(info.spent == sums.cost);
    sp_meter_close(meter);
}

/* ---- faults ---- */

/* Book for ever; a byte goes to `fd` after each booking that was promised to last. */
static void book_until_killed(const char *path, int fd)
{
    sp_meter *meter = NULL;
    if (sp_meter_open(&meter, path, NULL) != SP_OK) _exit(1);
    sp_key_info key = last_key(meter);
    for (;;) {
        sp_ledger_row row = row_of(key.id, 3);
        if (sp_meter_book(meter, &row, NULL) != SP_OK || write(fd, "x", 1) != 1) _exit(2);
    }
}

static void test_kill(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    char key[SP_KEY_TEXT_CAP], bytes[4096], path[320];
    snprintf(path, sizeof path, "%s", store_path("kill.db"));
    assert_ok(sp_meter_open(&meter, path, &err), err);
    sp_key_options options = {.budget = -1};
    assert_ok(sp_meter_add_key(meter, &options, key, NULL, &err), err);
    sp_meter_close(meter);
    uint64_t answered = 0, extra = 0;
    for (unsigned round = 0; round < 5; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        if (child == 0) book_until_killed(path, fds[1]);
        close(fds[1]);
        ssize_t got = read(fds[0], bytes, 1);
        assert_int_equal(got, 1);
        answered++;
        usleep(20000 + 7001 * round);
        kill(child, SIGKILL);
        int status = 0;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        while ((got = read(fds[0], bytes, sizeof bytes)) > 0) answered += (uint64_t)got;
        close(fds[0]);

        assert_ok(sp_meter_open(&meter, path, &err), err);
        totals sums = report(meter);
        extra += sums.n_requests - answered - extra; /* written, but killed before it could say so */
        assert_true(sums.n_requests >= answered && extra <= round + 1);
        assert_true(sums.cost == (int64_t)sums.n_requests * cost_of(3));
        assert_true(last_key(meter).spent == sums.cost);
        sp_meter_close(meter);
    }
}

static void test_full_disk(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    sp_key_info info;
    char key[SP_KEY_TEXT_CAP];
    struct rlimit before, small;
    assert_ok(sp_meter_open(&meter, store_path("full.db"), &err), err);
    sp_key_options options = {.budget = -1};
    assert_ok(sp_meter_add_key(meter, &options, key, &info, &err), err);
    sp_ledger_row row = row_of(info.id, 1);
    assert_ok(sp_meter_book(meter, &row, &err), err);

    /* files end here, as on a full disk */
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    sp_admission admission;
    sp_status booked = sp_meter_book(meter, &row, &err);
    sp_error first = err;
    sp_status admitted = sp_meter_admit(meter, key, &admission, &info, NULL, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_int_equal(booked, SP_E_IO);
    assert_non_null(strstr(first.text, "meter: "));
    assert_int_equal(admitted, SP_E_IO); /* what cannot be booked is not given away */

    assert_int_equal(admit(meter, key, &info, NULL), SP_ADMIT); /* there is room again */
    assert_ok(sp_meter_book(meter, &row, &err), err);
    totals sums = report(meter);
    assert_int_equal(sums.n_requests, 2);
    assert_true(last_key(meter).spent == sums.cost);
    sp_meter_close(meter);
}

static void test_other_files(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    assert_int_equal(sp_meter_open(&meter, "/no/such/folder/x.db", &err), SP_E_NOT_FOUND);
    FILE *file = fopen(store_path("text.db"), "w");
    for (int i = 0; i < 1000; i++) fputs("This is no database. ", file);
    fclose(file);
    assert_int_equal(sp_meter_open(&meter, store_path("text.db"), &err), SP_E_FORMAT);
    assert_null(meter);
    assert_non_null(strstr(err.text, "text.db"));

    const char *others[] = {"CREATE TABLE mine (x)",
                            "PRAGMA application_id = 1399868788; PRAGMA user_version = 99"};
    const char *words[] = {"something else", "later program"};
    for (int i = 0; i < 2; i++) {
        sqlite3 *db = NULL;
        remove(store_path("other.db"));
        assert_int_equal(sqlite3_open(store_path("other.db"), &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, others[i], NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        assert_int_equal(sp_meter_open(&meter, store_path("other.db"), &err), SP_E_FORMAT);
        assert_non_null(strstr(err.text, words[i]));
    }
}

#else

static void test_without_sqlite(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_meter *meter = NULL;
    assert_int_equal(sp_meter_open(&meter, NULL, &err), SP_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "SQLite"));
    sp_meter_close(meter);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_of_requests),
        cmocka_unit_test(test_window_never_exceeded),
        cmocka_unit_test(test_window_of_tokens),
        cmocka_unit_test(test_cost),
#if SP_HAVE_SQLITE
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_other_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
#else
        cmocka_unit_test(test_without_sqlite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
