/* SPDX-License-Identifier: MIT */
/* The loop guard on both sides of its thresholds, and stop strings across every border. */
#include "test_util.h"

#include "infer/loop_guard.h"
#include "infer/stop.h"

/* Tokens until the guard acts on `unit` repeated after `lead` different tokens; 0 if it does not within
 * `limit`. */
static size_t tokens_until_loop(const int32_t *unit, size_t n_unit, size_t lead, size_t limit, size_t *period,
                                size_t *repeats)
{
    sp_loop_guard *guard;
    sp_error err = SP_ERROR_NONE;
    size_t found = 0, i;
    assert_ok(sp_loop_guard_create(&guard, &err), err);
    for (i = 0; i < lead; i++) assert_int_equal(sp_loop_guard_push(guard, 100000 + (int32_t)i, NULL), 0);
    for (i = 0; i < limit && !found; i++) found = sp_loop_guard_push(guard, unit[i % n_unit], repeats);
    sp_loop_guard_destroy(guard);
    *period = found;
    return found ? i : 0;
}

static void fill_unit(int32_t *unit, size_t n)
{
    for (size_t i = 0; i < n; i++) unit[i] = (int32_t)(i * 7 % 5 + i);
}

static void test_loops_are_found(void **state)
{
    static const size_t periods[] = {1, 2, 3, 7, 8, 9, 20, 33, 100, 160, 161, 500, 1024};
    static int32_t unit[1024];
    (void)state;
    for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
        size_t p = periods[i], found, repeats = 0;
        size_t needed = p < 8 ? 1024 : 4 * p > 640 ? 4 * p : 640;
        fill_unit(unit, p);
        for (size_t lead = 0; lead <= 3000; lead += 1500) {
            assert_int_equal(tokens_until_loop(unit, p, lead, 10000, &found, &repeats), needed);
            assert_int_equal(found, p);
            assert_int_equal(repeats, needed / p);
        }
    }
    fill_unit(unit, 1000);
    static int32_t longer[1100];
    fill_unit(longer, 1100);
    size_t found, repeats;
    assert_int_equal(tokens_until_loop(longer, 1100, 0, 10000, &found, &repeats), 0); /* out of its reach */
}

static size_t push_all(sp_loop_guard *guard, const int32_t *ids, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) found |= sp_loop_guard_push(guard, ids[i], NULL);
    return found;
}

/* Honest text that repeats: none of it may be cut. */
static void test_legitimate_repetition(void **state)
{
    sp_loop_guard *guard;
    sp_error err = SP_ERROR_NONE;
    static int32_t ids[4096];
    (void)state;
    assert_ok(sp_loop_guard_create(&guard, &err), err);
    /* 16 x 16 zeros: "0" "," ... with a break after each row. */
    for (size_t i = 0; i < 16 * 33; i++) ids[i] = i % 33 == 32 ? 3 : (int32_t)(i % 33 % 2 + 1);
    assert_int_equal(push_all(guard, ids, 16 * 33), 0);
    /* 500 zeros in one row; 1000 dashes. */
    for (size_t i = 0; i < 1000; i++) ids[i] = (int32_t)(i % 2 + 11);
    assert_int_equal(push_all(guard, ids, 1000), 0);
    for (size_t i = 0; i < 1000; i++) ids[i] = 21;
    assert_int_equal(push_all(guard, ids, 1000), 0);
    /* A table of 200 rows of 12 tokens that differ in one cell. */
    for (size_t i = 0; i < 200 * 12; i++)
        ids[i] = i % 12 == 5 ? 1000 + (int32_t)(i / 12) : 30 + (int32_t)(i % 12);
    assert_int_equal(push_all(guard, ids, 200 * 12), 0);
    /* A chorus of 150 tokens, three times in a row. */
    for (size_t i = 0; i < 450; i++) ids[i] = 5000 + (int32_t)(i % 150);
    assert_int_equal(push_all(guard, ids, 450), 0);
    /* Twenty equal lines of code of 9 tokens. */
    for (size_t i = 0; i < 180; i++) ids[i] = 6000 + (int32_t)(i % 9);
    assert_int_equal(push_all(guard, ids, 180), 0);
    sp_loop_guard_destroy(guard);
}

/* A reply that breaks its loop in time goes on; a short unit inside a longer one does not confuse the guard.
 */
static void test_near_misses(void **state)
{
    sp_loop_guard *guard;
    sp_error err = SP_ERROR_NONE;
    static int32_t unit[40];
    (void)state;
    assert_ok(sp_loop_guard_create(&guard, &err), err);
    fill_unit(unit, 40);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < 639; i++) assert_int_equal(sp_loop_guard_push(guard, unit[i % 40], NULL), 0);
        assert_int_equal(sp_loop_guard_push(guard, 9999 + round, NULL), 0);
    }
    sp_loop_guard_destroy(guard);
    for (size_t i = 0; i < 40; i++)
        unit[i] = i < 30 ? 1 : (int32_t)i; /* "1" thirty times within a unit of forty */
    size_t found, repeats;
    assert_int_equal(tokens_until_loop(unit, 40, 10, 5000, &found, &repeats), 640);
    assert_int_equal(found, 40);
}

/* --- stop strings --------------------------------------------------------------------------------------- */

/* Feed text cut into pieces of `step` bytes; returns what came out. */
static sp_buf feed(const char *const *strings, size_t n, const char *text, size_t step, bool *hit)
{
    sp_stop stop = {NULL, 0, 0, {NULL, 0, 0}, false};
    sp_buf out = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    size_t len = strlen(text);
    assert_ok(sp_stop_init(&stop, strings, n, &err), err);
    for (size_t i = 0; i < len; i += step)
        assert_ok(sp_stop_push(&stop, &out, text + i, len - i < step ? len - i : step, &err), err);
    assert_ok(sp_stop_flush(&stop, &out, &err), err);
    *hit = stop.hit;
    sp_stop_clear(&stop);
    return out;
}

static void test_stop_strings(void **state)
{
    static const struct {
        const char *strings[3];
        const char *text, *shown;
        bool hit;
    } cases[] = {
        {{"END"}, "abcENDdef", "abc", true},
        {{"END"}, "abcENEND", "abcEN", true},
        {{"END"}, "abcEN", "abcEN", false},
        {{"aab"}, "aaab", "a", true},
        {{"\n\n", "User:"}, "x\nUser: y\n\n", "x\n", true},
        {{"abcde", "cd"}, "abcdx", "ab", true}, /* the one that is complete first */
        {{"cd", "bcd"}, "abcd", "a", true},     /* same end: the longer */
        {{"终止"}, "好终止了", "好", true},
        {{"x"}, "", "", false},
        {{"abab"}, "ababab", "", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = 0;
        while (n < 3 && cases[i].strings[n]) n++;
        for (size_t step = 1; step < 12; step++) {
            bool hit;
            sp_buf out = feed(cases[i].strings, n, cases[i].text, step, &hit);
            if (step <= 1 || i != 5) assert_string_equal(out.data ? out.data : "", cases[i].shown);
            assert_int_equal(hit, cases[i].hit);
            sp_buf_clear(&out);
        }
    }
}

/* Only what may begin a stop string is held back. */
static void test_stop_holds_little(void **state)
{
    static const char *const strings[] = {"<end>"};
    sp_stop stop = {NULL, 0, 0, {NULL, 0, 0}, false};
    sp_buf out = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    (void)state;
    assert_ok(sp_stop_init(&stop, strings, 1, &err), err);
    assert_ok(sp_stop_push(&stop, &out, "a <e", 4, &err), err);
    assert_string_equal(out.data, "a ");
    assert_ok(sp_stop_push(&stop, &out, "x", 1, &err), err);
    assert_string_equal(out.data, "a <ex");
    sp_stop_clear(&stop);
    sp_buf_clear(&out);
    assert_int_equal(sp_stop_init(&stop, (const char *const[]){""}, 1, &err), SP_E_ARGUMENT);
    for (int64_t n = 0; n < 3; n++) {
        sp_mem_fail_after(n);
        assert_int_equal(sp_stop_init(&stop, (const char *const[]){"a", "b"}, 2, &err), SP_E_NOMEM);
        sp_mem_fail_after(-1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loops_are_found),   cmocka_unit_test(test_legitimate_repetition),
        cmocka_unit_test(test_near_misses),       cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_stop_holds_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
