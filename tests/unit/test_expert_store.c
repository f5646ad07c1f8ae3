/* SPDX-License-Identifier: MIT */
/* The store of experts: what it hands out is what the file holds, what it throws away is what was used least, what goes
 * wrong is said with file and offset, and visits never wait for each other. On a temporary file, with both readers. */
#include "test_util.h"

#include "base/mem.h"
#include "infer/expert_replay.h"
#include "infer/expert_store_parts.h"
#include "infer/expert_stream.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#define N_EXPERTS 12
#define N_LAYERS 2
#define ROWS 24
#define COLS 100 /* floats: a matrix is 9600 bytes, so that nothing lies on a block's edge */
#define PART_BYTES ((uint64_t)ROWS * COLS * sizeof(float))

static const sp_reader_kind kinds[] = {SP_READER_URING, SP_READER_THREADS};

typedef enum layout { ADJACENT, STACKED } layout;

typedef struct fixture {
    char path[64];
    const char *files[1];
    sp_tensor tensor;
    sp_expert_part parts[N_LAYERS * N_EXPERTS][SP_EXPERT_PARTS];
    sp_expert_store *store;
    const sp_expert_source *source;
} fixture;

static float value_of(int key, int part, int i)
{
    return (float)(key * 1000 + part * 100) + 0.25f * (float)(i % 399);
}

static uint64_t offset_of(layout where, int key, int part)
{
    uint64_t head = 77 * 32; /* no block's edge */
    if (where == ADJACENT) return head + ((uint64_t)key * SP_EXPERT_PARTS + (uint64_t)part) * PART_BYTES;
    return head + ((uint64_t)part * N_LAYERS * N_EXPERTS + (uint64_t)key) * PART_BYTES;
}

static void write_file(fixture *f, layout where)
{
    int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    for (int key = 0; key < N_LAYERS * N_EXPERTS; key++) {
        for (int part = 0; part < SP_EXPERT_PARTS; part++) {
            float data[ROWS * COLS];
            for (int i = 0; i < ROWS * COLS; i++) data[i] = value_of(key, part, i);
            uint64_t offset = offset_of(where, key, part);
            assert_int_equal(pwrite(fd, data, sizeof data, (off_t)offset), sizeof data);
            f->parts[key][part] = (sp_expert_part){&f->tensor, 0, offset};
        }
    }
    close(fd);
}

/* False if this machine has no such reader. */
static bool open_store(fixture *f, layout where, sp_reader_kind kind, int64_t n_slots)
{
    static int serial;
    sp_error err = SP_ERROR_NONE;
    memset(f, 0, sizeof *f);
    snprintf(f->path, sizeof f->path, "./expert-store-%d-%d.tmp", (int)getpid(),
             serial++); /* not a RAM disk */
    f->files[0] = f->path;
    f->tensor =
        (sp_tensor){.dtype = SP_DTYPE_F32, .n_dims = 2, .shape = {ROWS, COLS, 1, 1}, .row_bytes = COLS * 4};
    write_file(f, where);
    sp_expert_store_options o = {.files = f->files,
                                 .n_files = 1,
                                 .n_layers = N_LAYERS,
                                 .n_experts = N_EXPERTS,
                                 .parts = (const sp_expert_part(*)[SP_EXPERT_PARTS])f->parts,
                                 .n_slots = n_slots,
                                 .reader = kind,
                                 .record = 1};
    sp_status status = sp_expert_store_create(&f->store, &o, &err);
    if (status == SP_E_UNSUPPORTED && kind == SP_READER_URING) {
        unlink(f->path);
        return false;
    }
    assert_ok(status, err);
    f->source = sp_expert_store_source(f->store);
    return true;
}

static void close_store(fixture *f)
{
    sp_expert_store_destroy(f->store);
    unlink(f->path);
}

static void check_ready(int key, const sp_ready_expert *ready)
{
    const sp_tensor *t[SP_EXPERT_PARTS] = {&ready->gate, &ready->up, &ready->down};
    for (int p = 0; p < SP_EXPERT_PARTS; p++)
        for (int i = 0; i < ROWS * COLS; i++)
            assert_true(((const float *)t[p]->data)[i] == value_of(key, p, i));
}

/* Visit some experts of a layer and check what comes; `seen` counts. */
static sp_status visit(fixture *f, int32_t layer, const int32_t *experts, int64_t n, int seen[N_EXPERTS],
                       sp_error *err)
{
    uint8_t state[N_EXPERTS] = {0};
    sp_expert_visit v = {layer, n, experts, state, 0};
    sp_status status = SP_OK;
    f->source->begin(f->source->ctx, &v);
    while (v.n_left > 0 && status == SP_OK) {
        sp_ready_expert ready[3];
        int64_t n_ready = 0;
        status = f->source->next(f->source->ctx, &v, ready, 3, &n_ready, err);
        for (int64_t i = 0; i < n_ready && status == SP_OK; i++) {
            int32_t e = experts[ready[i].index];
            check_ready(layer * N_EXPERTS + e, &ready[i]);
            if (seen) seen[e]++;
        }
    }
    f->source->end(f->source->ctx, &v);
    return status;
}

static void use(fixture *f, int32_t layer, int32_t expert)
{
    sp_error err = SP_ERROR_NONE;
    assert_ok(visit(f, layer, &expert, 1, NULL, &err), err);
}

static void test_contents(void **state)
{
    (void)state;
    static const int32_t all[N_EXPERTS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    for (size_t k = 0; k < 2; k++) {
        for (int where = ADJACENT; where <= STACKED; where++) {
            for (int64_t n_slots = 1; n_slots <= 2 * N_EXPERTS; n_slots += 5) {
                fixture f;
                sp_error err = SP_ERROR_NONE;
                int seen[N_EXPERTS] = {0};
                sp_expert_store_stats stats;
                if (!open_store(&f, (layout)where, kinds[k], n_slots)) continue;
                for (int32_t layer = 0; layer < N_LAYERS; layer++)
                    assert_ok(visit(&f, layer, all, N_EXPERTS, seen, &err), err);
                for (int e = 0; e < N_EXPERTS; e++) assert_int_equal(seen[e], N_LAYERS);
                sp_expert_store_stats_get(f.store, &stats);
                assert_int_equal(stats.n_misses, N_LAYERS * N_EXPERTS);
                assert_int_equal(stats.n_reads, N_LAYERS * N_EXPERTS); /* each once, however few slots */
                close_store(&f);
            }
        }
    }
}

static void test_eviction(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        fixture f;
        if (!open_store(&f, STACKED, kinds[k], 2)) continue;
        for (int i = 0; i < 3; i++) use(&f, 0, 4);
        use(&f, 0, 5);
        use(&f, 0, 6); /* 5 was used less often than 4 */
        assert_true(sp_expert_store_holds(f.store, 0, 4));
        assert_false(sp_expert_store_holds(f.store, 0, 5));
        assert_true(sp_expert_store_holds(f.store, 0, 6));
        for (int i = 0; i < 3000; i++) use(&f, 0, 6); /* and 4's uses have faded by now */
        use(&f, 0, 7);
        use(&f, 0, 7);
        use(&f, 0, 8);
        assert_false(sp_expert_store_holds(f.store, 0, 4));
        assert_true(sp_expert_store_holds(f.store, 0, 6));
        close_store(&f);
    }
}

static void test_guesses(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        fixture f;
        sp_expert_store_stats stats;
        if (!open_store(&f, ADJACENT, kinds[k], 6)) continue;
        use(&f, 0, 0);
        assert_true(f.source->wants_guess(f.source->ctx, 1));
        f.source->guess(f.source->ctx, 1, (const int32_t[]){3, 9}, 2);
        while (!sp_expert_store_holds(f.store, 1, 3) || !sp_expert_store_holds(f.store, 1, 9)) usleep(100);
        sp_error err = SP_ERROR_NONE;
        assert_ok(visit(&f, 1, (const int32_t[]){3, 4}, 2, NULL, &err), err);
        sp_expert_store_stats_get(f.store, &stats);
        assert_int_equal(stats.n_guessed, 2);
        assert_int_equal(stats.n_guessed_right, 1);
        assert_int_equal(stats.n_foreseen, 1);
        assert_int_equal(stats.n_misses, 2); /* 0 of layer 0 and 4 of layer 1 */
        close_store(&f);
    }
}

static void test_truncated(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        fixture f;
        sp_error err = SP_ERROR_NONE;
        char offset[32];
        static const int32_t some[] = {1, 8, 2};
        if (!open_store(&f, ADJACENT, kinds[k], 4)) continue;
        assert_int_equal(truncate(f.path, (off_t)offset_of(ADJACENT, 8, 1) + 100), 0);
        assert_int_equal(visit(&f, 0, some, 3, NULL, &err), SP_E_IO);
        assert_non_null(strstr(err.text, f.path));
        snprintf(offset, sizeof offset, "offset %lld", (long long)offset_of(ADJACENT, 8, 0) / 4096 * 4096);
        assert_non_null(strstr(err.text, offset));
        use(&f, 0, 1); /* what can be read still is */
        write_file(&f, ADJACENT);
        assert_ok(visit(&f, 0, some, 3, NULL, &err), err);
        close_store(&f);
    }
}

static int count_touched(sp_expert_store *store)
{
    int n = 0;
    pthread_mutex_lock(&store->mutex);
    for (int64_t i = 0; i < store->n_slots; i++) n += store->slots[i].touched;
    pthread_mutex_unlock(&store->mutex);
    return n;
}

/* A slot's memory gets its pages with its first expert, and keeps them whatever the slot holds later. */
static void test_touched(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        fixture f;
        if (!open_store(&f, STACKED, kinds[k], 2)) continue;
        assert_int_equal(count_touched(f.store), 0);
        use(&f, 0, 4);
        assert_int_equal(count_touched(f.store), 1);
        for (int i = 5; i < 9; i++) {
            use(&f, 0, i);
            assert_int_equal(count_touched(f.store), 2);
        }
        assert_int_equal(truncate(f.path, 0), 0);
        sp_error err = SP_ERROR_NONE;
        assert_int_equal(visit(&f, 0, (const int32_t[]){1}, 1, NULL, &err), SP_E_IO);
        assert_int_equal(count_touched(f.store), 2);
        close_store(&f);
    }
}

#define LIST_PIECES 24
#define LIST_BYTES ((size_t)LIST_PIECES * SP_READ_PIECE - 5000) /* ends within a block */

static sp_status read_list(const char *path, sp_reader_kind kind, char *data, bool fresh, sp_error *err)
{
    sp_read_piece pieces[LIST_PIECES];
    for (size_t i = 0; i < LIST_PIECES; i++) {
        size_t at = i * SP_READ_PIECE, left = LIST_BYTES - at;
        pieces[i] =
            (sp_read_piece){.offset = at, .data = data + at, .n_bytes = SP_READ_PIECE, .fresh = fresh};
        pieces[i].n_needed = left < SP_READ_PIECE ? left : SP_READ_PIECE;
    }
    return sp_read_pieces(&path, 1, kind, 16, pieces, LIST_PIECES, err);
}

static void check_list(const char *path, sp_reader_kind kind, const char *want)
{
    size_t n_bytes = LIST_PIECES * SP_READ_PIECE;
    sp_error err = SP_ERROR_NONE;
    char *data = sp_pages_map(n_bytes);
    assert_non_null(data);
    sp_status status = read_list(path, kind, data, true, &err);
    if (status != SP_E_UNSUPPORTED || kind != SP_READER_URING) {
        assert_ok(status, err);
        assert_memory_equal(data, want, LIST_BYTES);
        memset(data, 0, n_bytes);
        assert_ok(read_list(path, kind, data, false, &err), err);
        assert_memory_equal(data, want, LIST_BYTES);
    }
    sp_pages_unmap(data, n_bytes);
}

/* Pieces that go to memory without pages and to memory that has them; the last ends with the file. Then a shorter file. */
static void test_list(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "./expert-list-%d.tmp", (int)getpid()); /* not a RAM disk */
    char *want = malloc(LIST_BYTES);
    assert_non_null(want);
    for (size_t i = 0; i < LIST_BYTES; i++) want[i] = (char)(i * 2654435761u >> 13);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, want, LIST_BYTES), LIST_BYTES);
    close(fd);
    for (size_t k = 0; k < 2; k++) check_list(path, kinds[k], want);
    assert_int_equal(truncate(path, (off_t)LIST_BYTES / 2), 0);
    for (size_t k = 0; k < 2; k++) {
        sp_error err = SP_ERROR_NONE;
        char *data = sp_pages_map(LIST_PIECES * SP_READ_PIECE);
        assert_non_null(data);
        sp_status status = read_list(path, kinds[k], data, true, &err);
        if (status != SP_E_UNSUPPORTED) assert_int_equal(status, SP_E_IO);
        sp_pages_unmap(data, LIST_PIECES * SP_READ_PIECE);
    }
    unlink(path);
    free(want);
}

typedef struct visitor {
    fixture *f;
    int first;
    int n_failed;
} visitor;

static void *visit_often(void *arg)
{
    visitor *v = arg;
    sp_error err = SP_ERROR_NONE;
    for (int i = 0; i < 60; i++) {
        int32_t some[5];
        for (int j = 0; j < 5; j++) some[j] = (v->first + i + 2 * j) % N_EXPERTS;
        if (visit(v->f, i % N_LAYERS, some, 5, NULL, &err) != SP_OK) v->n_failed++;
    }
    return NULL;
}

/* Three visitors, one slot: everybody gets on. */
static void test_company(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        for (int64_t n_slots = 1; n_slots <= 7; n_slots += 3) {
            fixture f;
            pthread_t threads[3];
            if (!open_store(&f, STACKED, kinds[k], n_slots)) continue;
            visitor visitors[3] = {{&f, 0, 0}, {&f, 3, 0}, {&f, 7, 0}};
            for (int i = 0; i < 3; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, visit_often, &visitors[i]), 0);
            for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
            for (int i = 0; i < 3; i++) assert_int_equal(visitors[i].n_failed, 0);
            close_store(&f);
        }
    }
}

static void test_hot(void **state)
{
    (void)state;
    double scores[N_LAYERS * N_EXPERTS] = {0}, back[N_LAYERS * N_EXPERTS];
    fixture f;
    sp_error err = SP_ERROR_NONE;
    assert_true(open_store(&f, ADJACENT, SP_READER_AUTO, 3));
    scores[N_EXPERTS + 2] = 5;
    scores[7] = 3;
    assert_ok(sp_expert_store_set_scores(f.store, scores, &err), err);
    while (!sp_expert_store_holds(f.store, 1, 2) || !sp_expert_store_holds(f.store, 0, 7)) usleep(100);
    sp_expert_store_scores(f.store, back);
    assert_true(back[7] > 2.99 && back[7] < 3.01 && back[8] == 0);
    close_store(&f);

    static const char good[] = "sputnik-hot 1 00000000000000ab 2 12\n1 2 5.5\n0 7 0.25\n";
    assert_ok(sp_hot_parse(scores, 2, 12, 0xab, good, sizeof good - 1, &err), err);
    assert_true(scores[14] == 5.5 && scores[7] == 0.25 && scores[8] == 0);
    assert_int_equal(sp_hot_parse(scores, 2, 12, 0xac, good, sizeof good - 1, &err), SP_E_UNSUPPORTED);
    assert_int_equal(sp_hot_parse(scores, 2, 13, 0xab, good, sizeof good - 1, &err), SP_E_UNSUPPORTED);
    static const char *const bad[] = {"",
                                      "sputnik-hot 2 ab 2 12\n",
                                      "sputnik-hot 1 ab 2 12\n2 0 1\n",
                                      "sputnik-hot 1 ab 2 12\n0 12 1\n",
                                      "sputnik-hot 1 ab 2 12\n0 -1 1\n",
                                      "sputnik-hot 1 ab 2 12\n0 1 nan\n",
                                      "sputnik-hot 1 ab 2 12\n0 1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sp_hot_parse(scores, 2, 12, 0xab, bad[i], strlen(bad[i]), &err), SP_E_FORMAT);
}

/* Visits of one expert each: rates that can be counted by hand. */
static void test_replay(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_expert_replay_result result;
    /* 0 1 2 0 1 2 ... with two slots: the optimum keeps one for ever and hits every second time; LRU never hits */
    int32_t trace[3 * 100];
    for (int i = 0; i < 100; i++) {
        trace[3 * i] = 0;
        trace[3 * i + 1] = 1;
        trace[3 * i + 2] = i % 3;
    }
    sp_expert_replay replay = {trace, 300, 1, 3, 2};
    assert_ok(sp_expert_replay_run(&result, &replay, &err), err);
    assert_int_equal(result.n_uses, 100);
    assert_int_equal(result.lru, 0);
    assert_true(result.optimum >= 48 && result.optimum <= 50);
    assert_true(result.policy <= result.optimum);
    replay.n_slots = 3;
    assert_ok(sp_expert_replay_run(&result, &replay, &err), err);
    assert_int_equal(result.lru, 97);
    assert_int_equal(result.optimum, 97);
    assert_int_equal(result.policy, 97);
}

static void test_trace_text(void **state)
{
    (void)state;
    sp_error err = SP_ERROR_NONE;
    sp_expert_trace trace;
    static const char good[] = "sputnik-experts 1 2 8\n0: 1 2 3\n1: 7\n";
    assert_ok(sp_expert_trace_parse(&trace, good, sizeof good - 1, &err), err);
    static const int32_t items[] = {0, 3, 1, 2, 3, 1, 1, 7};
    assert_int_equal(trace.n, 8);
    assert_memory_equal(trace.items, items, sizeof items);
    sp_expert_trace_clear(&trace);
    static const char *const bad[] = {"",
                                      "sputnik-experts 1 2\n",
                                      "sputnik-experts 1 2 8\n2: 1\n",
                                      "sputnik-experts 1 2 8\n0: 8\n",
                                      "sputnik-experts 1 2 8\n0 1\n",
                                      "sputnik-experts 1 2 8\n0: x\n",
                                      "sputnik-experts 1 2 8\n0: 1 1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sp_expert_trace_parse(&trace, bad[i], strlen(bad[i]), &err), SP_E_FORMAT);
    assert_ok(sp_expert_trace_zipf(&trace, 2, 64, 6, 50, 1.0, 3, &err), err);
    assert_int_equal(trace.n, 50 * 2 * (6 + 2));
    sp_expert_trace_clear(&trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_contents), cmocka_unit_test(test_eviction),
                                       cmocka_unit_test(test_guesses),  cmocka_unit_test(test_truncated),
                                       cmocka_unit_test(test_touched),  cmocka_unit_test(test_list),
                                       cmocka_unit_test(test_company),  cmocka_unit_test(test_hot),
                                       cmocka_unit_test(test_replay),   cmocka_unit_test(test_trace_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
