/* SPDX-License-Identifier: MIT */
/* Schedules against their formulas and at their borders; rows of all steps before a step against the plain sum. */
#include "test_util.h"

#include <math.h>

#include "train/schedule.h"

#define PI 3.14159265358979323846

static void assert_close(double found, double expected)
{
    if (!(fabs(found - expected) <= 1e-12 * fabs(expected)))
        fail_msg("%.17g, expected %.17g", found, expected);
}

static void test_warm_up_rises_to_the_rate(void **state)
{
    (void)state;
    for (int kind = SP_LR_CONSTANT; kind <= SP_LR_V3; kind++) {
        sp_schedule s = {.kind = (sp_lr_kind)kind,
                         .steps = 1000,
                         .warmup_steps = 20,
                         .lr = 0.5,
                         .lr_end_factor = 0.1,
                         .first_drop = 0.8,
                         .second_drop = 0.9};
        for (int64_t i = 0; i < 20; i++) assert_close(sp_schedule_lr(&s, i), 0.5 * (double)(i + 1) / 20.0);
        s.warmup_steps = 0;
        assert_close(sp_schedule_lr(&s, 0), 0.5);
    }
}

static void test_cosine_and_line_end_at_the_last_step(void **state)
{
    (void)state;
    sp_schedule s = {
        .kind = SP_LR_COSINE, .steps = 101, .warmup_steps = 21, .lr = 2.0, .lr_end_factor = 0.25};
    for (int64_t i = 20; i <= 100; i++) { /* 20 is the warm-up's last, at the full rate */
        double x = (double)(i - 20) / 80.0;
        s.kind = SP_LR_COSINE;
        assert_close(sp_schedule_lr(&s, i), 2.0 * (0.25 + 0.75 * (1.0 + cos(PI * x)) / 2.0));
        s.kind = SP_LR_LINEAR;
        assert_close(sp_schedule_lr(&s, i), 2.0 * (1.0 - 0.75 * x));
    }
    assert_close(sp_schedule_lr(&s, 100), 0.5);
    assert_close(sp_schedule_lr(&s, 5000), 0.5);
    s.kind = SP_LR_COSINE;
    assert_close(sp_schedule_lr(&s, 60), 2.0 * 0.625);
    assert_close(sp_schedule_lr(&s, 100), 0.5);
    assert_close(sp_schedule_lr(&s, 5000), 0.5);
}

/* Runs that leave no room between warm-up and end. */
static void test_short_runs_have_a_rate(void **state)
{
    (void)state;
    for (int kind = SP_LR_CONSTANT; kind <= SP_LR_V3; kind++)
        for (int64_t steps = 1; steps <= 3; steps++)
            for (int64_t warmup = 0; warmup <= steps; warmup++) {
                sp_schedule s = {(sp_lr_kind)kind, steps, warmup, 1.0, 0.1, 0.8, 0.9, .rows = 1};
                for (int64_t i = 0; i < steps; i++)
                    assert_true(sp_schedule_lr(&s, i) > 0.03 && sp_schedule_lr(&s, i) <= 1.0);
            }
}

static void test_multistep_drops_twice(void **state)
{
    (void)state;
    sp_schedule s = {
        .kind = SP_LR_MULTISTEP, .steps = 1000, .lr = 4.0, .first_drop = 0.8, .second_drop = 0.9};
    assert_close(sp_schedule_lr(&s, 799), 4.0);
    assert_close(sp_schedule_lr(&s, 800), 4.0 * 0.316);
    assert_close(sp_schedule_lr(&s, 899), 4.0 * 0.316);
    assert_close(sp_schedule_lr(&s, 900), 0.4);
    assert_close(sp_schedule_lr(&s, 999), 0.4);
}

/* 14,800 steps of a billion tokens each. */
static void test_v3_follows_its_report(void **state)
{
    (void)state;
    sp_schedule s = {.kind = SP_LR_V3, .steps = 14800, .warmup_steps = 100, .lr = 2.2e-4};
    assert_close(sp_schedule_lr(&s, 0), 2.2e-6);
    assert_close(sp_schedule_lr(&s, 100), 2.2e-4);
    assert_close(sp_schedule_lr(&s, 9999), 2.2e-4);
    assert_close(sp_schedule_lr(&s, 10000), 2.2e-4);
    assert_close(sp_schedule_lr(&s, 12150), 2.2e-4 * 0.55);
    assert_true(sp_schedule_lr(&s, 14299) > 2.2e-5 && sp_schedule_lr(&s, 14299) < 2.21e-5);
    assert_close(sp_schedule_lr(&s, 14301), 2.2e-5);
    assert_close(sp_schedule_lr(&s, 14632), 2.2e-5);
    assert_close(sp_schedule_lr(&s, 14634), 7.3e-6);
    assert_close(sp_schedule_lr(&s, 14799), 7.3e-6);
    for (int64_t i = 101; i < 14800; i++) assert_true(sp_schedule_lr(&s, i) <= sp_schedule_lr(&s, i - 1));
}

static void test_prediction_weight_and_bias_rate(void **state)
{
    (void)state;
    sp_schedule s = {.steps = 14800,
                     .mtp_weight = 0.3,
                     .mtp_later_weight = 0.1,
                     .mtp_later_from = 0.5,
                     .bias_rate = 0.001,
                     .bias_rate_until = 0.75};
    assert_close(sp_schedule_mtp_weight(&s, 0), 0.3);
    assert_close(sp_schedule_mtp_weight(&s, 7399), 0.3);
    assert_close(sp_schedule_mtp_weight(&s, 7400), 0.1);
    assert_close(sp_schedule_bias_rate(&s, 11099), 0.001);
    assert_true(sp_schedule_bias_rate(&s, 11100) == 0.0);
    assert_true(sp_schedule_bias_rate(&s, 14799) == 0.0);
}

/* --- rows -------------------------------------------------------------------------------------------------- */

static void check_rows(const sp_schedule *s)
{
    int64_t sum = 0, before = 0, multiple = s->rows_multiple;
    int64_t largest_jump = 0;
    for (int64_t i = 0; i < s->steps + 10; i++) {
        int64_t rows = sp_schedule_rows(s, i);
        assert_int_equal(sp_schedule_first_row(s, i), sum);
        assert_true(rows > 0 && rows % multiple == 0 && rows >= before && rows <= s->rows);
        if (i > 0 && rows - before > largest_jump) largest_jump = rows - before;
        sum += rows;
        before = rows;
    }
    assert_int_equal(sp_schedule_rows(s, s->steps), s->rows - s->rows % multiple);
    double length = floor(s->rows_ramp * (double)s->steps + 0.5); /* of the ramp: whole steps */
    if (s->rows_first > 0 && s->rows_first < s->rows && length > 0)
        assert_true((double)largest_jump <= (double)(s->rows - s->rows_first) / length + (double)multiple);
}

static void test_rows_grow_in_equal_jumps(void **state)
{
    (void)state;
    sp_schedule s = {.steps = 1000, .rows_first = 16, .rows = 80, .rows_multiple = 16, .rows_ramp = 0.4};
    assert_int_equal(sp_schedule_rows(&s, 0), 16);
    assert_int_equal(sp_schedule_rows(&s, 99), 16);
    assert_int_equal(sp_schedule_rows(&s, 100), 32);
    assert_int_equal(sp_schedule_rows(&s, 199), 32);
    assert_int_equal(sp_schedule_rows(&s, 300), 64);
    assert_int_equal(sp_schedule_rows(&s, 399), 64);
    assert_int_equal(sp_schedule_rows(&s, 400), 80);
    assert_int_equal(sp_schedule_rows(&s, 999), 80);
    assert_int_equal(sp_schedule_first_row(&s, 400), 100 * (16 + 32 + 48 + 64));
    check_rows(&s);
}

static void test_rows_before_a_step_are_the_sum(void **state)
{
    static const sp_schedule cases[] = {
        {.steps = 500, .rows_first = 8, .rows = 8, .rows_multiple = 8, .rows_ramp = 0.3},
        {.steps = 500, .rows_first = 4, .rows = 128, .rows_multiple = 4, .rows_ramp = 0.032},
        {.steps = 500, .rows_first = 1, .rows = 1000, .rows_multiple = 1, .rows_ramp = 1.0},
        {.steps = 333, .rows_first = 3, .rows = 300, .rows_multiple = 3, .rows_ramp = 0.77},
        {.steps = 100, .rows_first = 3072, .rows = 15360, .rows_multiple = 64, .rows_ramp = 0.469 / 14.8},
        {.steps = 100, .rows_first = 0, .rows = 32, .rows_multiple = 8, .rows_ramp = 0.5},
        {.steps = 100, .rows_first = 8, .rows = 32, .rows_multiple = 8, .rows_ramp = 0.0},
        {.steps = 100, .rows_first = 8, .rows = 33, .rows_multiple = 8, .rows_ramp = 0.5},
        {.steps = 1, .rows_first = 8, .rows = 32, .rows_multiple = 8, .rows_ramp = 1.0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) check_rows(&cases[i]);
}

/* The ramp keeps its place in rows even where a run is long: no sum is taken over steps. */
static void test_first_row_of_a_distant_step(void **state)
{
    (void)state;
    sp_schedule s = {
        .steps = 2000000000, .rows_first = 1024, .rows = 16384, .rows_multiple = 1024, .rows_ramp = 0.5};
    int64_t first = sp_schedule_first_row(&s, 1999999999);
    assert_int_equal(sp_schedule_first_row(&s, 2000000000) - first, 16384);
    assert_int_equal(sp_schedule_first_row(&s, 1), 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warm_up_rises_to_the_rate),
        cmocka_unit_test(test_cosine_and_line_end_at_the_last_step),
        cmocka_unit_test(test_short_runs_have_a_rate),
        cmocka_unit_test(test_multistep_drops_twice),
        cmocka_unit_test(test_v3_follows_its_report),
        cmocka_unit_test(test_prediction_weight_and_bias_rate),
        cmocka_unit_test(test_rows_grow_in_equal_jumps),
        cmocka_unit_test(test_rows_before_a_step_are_the_sum),
        cmocka_unit_test(test_first_row_of_a_distant_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
