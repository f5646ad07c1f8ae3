/* SPDX-License-Identifier: MIT */
/* Putting questions to a model: the interval of a share, and models that cannot be asked. (Replies themselves are tested on the
 * command line, tests/cases/test_eval.sh.) */
#include "test_util.h"

#include "eval/answer.h"

static void expect_interval(size_t k, size_t n, double low, double high)
{
    double found_low, found_high;
    sp_eval_interval(k, n, &found_low, &found_high);
    assert_true(found_low > low - 1e-4 && found_low < low + 1e-4);
    assert_true(found_high > high - 1e-4 && found_high < high + 1e-4);
}

/* Figures of Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3. */
static void test_interval(void **state)
{
    (void)state;
    expect_interval(81, 263, 0.2553, 0.3662);
    expect_interval(15, 148, 0.0624, 0.1605);
    expect_interval(0, 20, 0, 0.1611);
    expect_interval(1, 29, 0.0061, 0.1718);
    expect_interval(29, 29, 0.8830, 1);
    expect_interval(0, 0, 0, 1);
}

static void test_models_that_cannot_be_asked(void **state)
{
    sp_model *model = NULL;
    sp_error err = SP_ERROR_NONE;
    sp_message message = {.role = SP_ROLE_USER, .content = "1+1"};
    sp_eval_question question = {&message, 1};
    sp_eval_options options = {.n_threads = 1, .max_tokens = 4};
    (void)state;
    if (sp_model_open(&model, test_path("tests/golden/models/llama-plain"), &err) == SP_E_UNSUPPORTED) skip();
    assert_non_null(model);
    assert_int_equal(sp_eval_answer(model, &question, 1, &options, &err), SP_E_UNSUPPORTED);
    assert_string_equal(err.text, "the model has no vocabulary");
    sp_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_models_that_cannot_be_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
