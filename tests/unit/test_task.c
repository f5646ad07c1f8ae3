/* SPDX-License-Identifier: MIT */
/* The generators: every item's own content passes its checker, every "=" in the reasoning is true, lengths stay in their
 * limits, training and test share no problem, and an item is the same whatever else is generated. */
#include "test_util.h"

#include "base/json.h"
#include "data/task_parts.h"

enum { ITEMS = 10000 };

static sp_task_item item;

static const sp_task_turn *make(sp_task task, const char *kind, sp_task_split split, uint64_t i)
{
    sp_task_spec spec = {task, "", 42, split};
    snprintf(spec.kind, sizeof spec.kind, "%s", kind);
    assert_int_equal(sp_task_item_make(&item, &spec, i, NULL), SP_OK);
    return &item.turns[item.n_turns - 1];
}

static bool passes(const sp_task_turn *turn, const char *content)
{
    return sp_task_check(turn->task, turn->problem, turn->answer, content);
}

/* --- reasoning --- */

/* Value of text[0..len): an expression, or a digit with its borrow, "7b1" being 7 - 10. */
static int64_t value_of(const char *text, size_t len)
{
    char part[64];
    int numbers[8], n;
    int64_t value;
    assert_true(len < sizeof part);
    memcpy(part, text, len);
    part[len] = '\0';
    char *borrow = strchr(part, 'b');
    if (borrow) return part[0] - '0' - 10 * (borrow[1] - '0');
    assert_true(sp_task_evaluate(part, &value, numbers, &n));
    return value;
}

/* Every chain "x=y=z" between commas and line breaks is true. Returns how many "=" there were. */
static int check_equations(const char *text)
{
    int n_equations = 0;
    while (*text) {
        size_t len = strcspn(text, ",\n"), n = strcspn(text, "=");
        if (n < len) {
            int64_t first = value_of(text, n);
            for (size_t at = n + 1; at < len; at += n + 1) {
                n = strcspn(text + at, "=!,\n");
                assert_int_equal(value_of(text + at, n), first);
                n_equations++;
            }
        }
        text += len + (text[len] != 0);
    }
    return n_equations;
}

/* The answer as the rows spell it: last digits from the last row up, the last row whole. */
static int read_rows(const char *reasoning, int n_rows)
{
    int value = 0, power = 1;
    const char *at = strchr(reasoning, '\n');
    if (n_rows == 1 && !at) at = reasoning - 1;
    for (int k = 0; k < n_rows; k++) {
        at = strchr(at + 1, '=') + 1;
        int row = atoi(at);
        value += power * (k < n_rows - 1 ? row % 10 : row);
        power *= 10;
    }
    return value;
}

static void test_reasoning_is_true(void **state)
{
    static const sp_task tasks[] = {SP_TASK_ADD, SP_TASK_SUB,       SP_TASK_MUL,
                                    SP_TASK_DIV, SP_TASK_COUNTDOWN, SP_TASK_STORY};
    (void)state;
    for (size_t t = 0; t < sizeof tasks / sizeof *tasks; t++)
        for (uint64_t i = 0; i < ITEMS; i++) {
            const sp_task_turn *turn = make(tasks[t], "", SP_TASK_TRAIN, i);
            int n = check_equations(turn->reasoning.s);
            assert_true(n >= 1);
            if (turn->task == SP_TASK_ADD || turn->task == SP_TASK_SUB)
                assert_int_equal(read_rows(turn->reasoning.s, n), atoi(turn->answer));
        }
}

static void test_steps_look_as_documented(void **state)
{
    sp_task_text text = {.n = 0};
    (void)state;
    sp_work_add(&text, 347, 86, 1);
    assert_string_equal(text.s, "347+086\n7+6=13\n4+8+1=13\n3+0+1=04");
    text.n = 0;
    sp_work_sub(&text, 634, 347);
    assert_string_equal(text.s, "634-347\n4-7=7b1\n3-4-1=8b1\n6-3-1=2");
    text.n = 0;
    sp_work_mul(&text, 47, 86);
    assert_string_equal(text.s,
                        "47*86\n7*6=42\n4*6+4=24+4=28\n7*8=56\n4*8+5=32+5=37\n0282+3760\n2+0=02\n8+6+0=14\n"
                        "2+7+1=10\n0+3+1=04");
    text.n = 0;
    sp_work_div(&text, 847, 6);
    assert_string_equal(text.s, "847/6\n08=6*1+2\n24=6*4+0\n07=6*1+1");
}

/* --- items --- */

/* Bytes of reasoning, nearly all of which are tokens of their own. */
static const size_t limits[SP_TASK_COUNT] = {
    [SP_TASK_ADD] = 45,     [SP_TASK_SUB] = 45,        [SP_TASK_MUL] = 110,    [SP_TASK_DIV] = 60,
    [SP_TASK_COMPARE] = 30, [SP_TASK_SORT] = 110,      [SP_TASK_LETTERS] = 60, [SP_TASK_REVERSE] = 60,
    [SP_TASK_PARITY] = 40,  [SP_TASK_COUNTDOWN] = 250, [SP_TASK_STORY] = 90,   [SP_TASK_TALK] = 40,
};

static void test_items_pass_their_checker(void **state)
{
    (void)state;
    for (int task = 0; task < SP_TASK_COUNT; task++) {
        size_t longest = 0, sum = 0;
        for (uint64_t i = 0; i < ITEMS; i++) {
            const sp_task_turn *turn = make((sp_task)task, "", SP_TASK_TRAIN, i);
            if (!passes(turn, turn->content.s)) fail_msg("%s: \"%s\"", sp_task_name(task), turn->content.s);
            assert_false(passes(turn, ""));
            assert_true(turn->user.n > 0 && turn->reasoning.n > 0);
            assert_int_equal(turn->user.n, strlen(turn->user.s));
            if (turn->reasoning.n > longest) longest = turn->reasoning.n;
            sum += turn->reasoning.n;
        }
        assert_in_range(longest, 1, limits[task]);
        if (task == SP_TASK_COUNTDOWN) assert_in_range(sum / ITEMS, 1, 120);
    }
}

static void test_train_and_test_are_disjoint(void **state)
{
    (void)state;
    for (int task = 0; task < SP_TASK_COUNT; task++)
        for (uint64_t i = 0; i < 3000; i++) {
            sp_task_split split = i % 3 ? SP_TASK_TRAIN : SP_TASK_TEST;
            make((sp_task)task, "", split, i);
            for (int k = 0; k < item.n_turns; k++)
                assert_int_equal(sp_task_is_test(item.turns[k].problem), split == SP_TASK_TEST);
        }
    /* the canonical text forgets the order where it does not matter */
    sp_problem a = {.n = {0}}, b = {.n = {0}};
    sp_task_key(&a, '+', 17, 4);
    sp_task_key(&b, '+', 4, 17);
    assert_string_equal(a.key, b.key);
    sp_task_key(&a, '-', 17, 4);
    sp_task_key(&b, '-', 4, 17);
    assert_string_not_equal(a.key, b.key);
}

static void test_items_are_functions_of_their_number(void **state)
{
    static sp_task_mix long_mix, short_mix;
    static sp_task_item again;
    uint64_t share[SP_TASK_COUNT] = {0}, n = 0;
    (void)state;
    assert_int_equal(sp_task_mix_init(&long_mix, "all", 7, SP_TASK_TRAIN, NULL), SP_OK);
    assert_int_equal(sp_task_mix_init(&short_mix, "sort", 7, SP_TASK_TRAIN, NULL), SP_OK);
    for (int i = 0; i < 1100; i++) {
        assert_int_equal(sp_task_mix_next(&long_mix, &item, NULL), SP_OK);
        sp_task task = item.turns[item.n_turns - 1].task;
        share[task]++;
        if (task != SP_TASK_SORT) continue;
        assert_int_equal(sp_task_mix_next(&short_mix, &again, NULL), SP_OK);
        assert_string_equal(item.turns[item.n_turns - 1].user.s, again.turns[again.n_turns - 1].user.s);
        assert_int_equal(item.n_turns, again.n_turns);
        n++;
    }
    int sum = 0;
    for (int t = 0; t < SP_TASK_COUNT; t++) sum += sp_task_weight((sp_task)t);
    for (int t = 0; t < SP_TASK_COUNT; t++) {
        long wanted = 1100L * sp_task_weight((sp_task)t) / sum;
        assert_in_range(share[t], wanted - 1, wanted + 2);
    }
    assert_true(n > 0);
    /* another seed, another text */
    sp_task_spec spec = {SP_TASK_SORT, "", 8, SP_TASK_TRAIN};
    assert_int_equal(sp_task_item_make(&again, &spec, 0, NULL), SP_OK);
    assert_string_not_equal(again.turns[again.n_turns - 1].problem,
                            make(SP_TASK_SORT, "", SP_TASK_TRAIN, 0)->problem);
}

static void test_conversations_are_one_in_ten(void **state)
{
    int n_longer = 0;
    (void)state;
    for (uint64_t i = 0; i < ITEMS; i++) {
        make(SP_TASK_ADD, "", SP_TASK_TRAIN, i);
        n_longer += item.n_turns > 1;
    }
    assert_in_range(n_longer, ITEMS / 10 - 150, ITEMS / 10 + 150);
}

static void test_kinds(void **state)
{
    sp_task_mix mix;
    sp_error err = SP_ERROR_NONE;
    (void)state;
    for (uint64_t i = 0; i < 300; i++) {
        assert_in_range(atoi(make(SP_TASK_MUL, "2x2", SP_TASK_TEST, i)->answer), 100, 9801);
        assert_string_equal(make(SP_TASK_SORT, "5", SP_TASK_TEST, i)->kind, "5");
    }
    assert_int_equal(sp_task_mix_init(&mix, "add:3x3,sort:5,talk", 0, SP_TASK_TEST, &err), SP_OK);
    assert_int_equal(mix.n, 3);
    assert_string_equal(mix.specs[0].kind, "3x3");
    assert_int_equal(sp_task_mix_init(&mix, "add,sums", 0, SP_TASK_TEST, &err), SP_E_ARGUMENT);
    assert_string_equal(err.text, "task \"sums\" is unknown");
    assert_int_equal(sp_task_mix_init(&mix, "sort:9", 0, SP_TASK_TEST, &err), SP_OK);
    assert_int_equal(sp_task_mix_next(&mix, &item, &err), SP_E_ARGUMENT);
    assert_string_equal(err.text, "task sort: no problem of kind \"9\"");
}

static void test_lines_are_json(void **state)
{
    sp_buf line = {NULL, 0, 0};
    sp_json *root = NULL;
    (void)state;
    for (int task = 0; task < SP_TASK_COUNT; task++) {
        line.len = 0;
        const sp_task_turn *turn = make((sp_task)task, "", SP_TASK_TEST, 11);
        assert_int_equal(sp_task_item_write(&line, &item, NULL), SP_OK);
        sp_status status = sp_json_parse(line.data, line.len, &root, NULL);
        if (status == SP_E_UNSUPPORTED) break; /* built without jansson */
        assert_int_equal(status, SP_OK);
        const sp_json *messages = sp_json_get(root, "messages");
        assert_int_equal(sp_json_size(messages), 2 * item.n_turns);
        const sp_json *last = sp_json_at(messages, sp_json_size(messages) - 1);
        assert_string_equal(sp_json_string(sp_json_get(last, "content"), NULL), turn->content.s);
        assert_string_equal(sp_json_string(sp_json_get(last, "reasoning_content"), NULL), turn->reasoning.s);
        assert_string_equal(sp_json_string(sp_json_get(root, "answer"), NULL), turn->answer);
        sp_json_destroy(root);
    }
    sp_buf_clear(&line);
}

/* --- the checker on replies of others --- */

typedef struct grading {
    sp_task task;
    const char *problem, *answer, *content;
    bool good;
} grading;

static void test_grading(void **state)
{
    static const grading cases[] = {
        {SP_TASK_ADD, "347+586", "933", "347 + 586 = 933", true},
        {SP_TASK_ADD, "347+586", "933", " 933.\n", true},
        {SP_TASK_ADD, "347+586", "933", "347 + 586 = 9331", false},
        {SP_TASK_ADD, "347+586", "933", "347 + 586 = 0933", false},
        {SP_TASK_DIV, "847/6", "141 remainder 1", "847 / 6 = 141 remainder 1", true},
        {SP_TASK_DIV, "847/6", "141 remainder 1", "847 / 6 = 141", false},
        {SP_TASK_COMPARE, "3?4", "4", "4 is larger than 3.", true},
        {SP_TASK_COMPARE, "3?4", "4", "3 is larger than 4.", false},
        {SP_TASK_COMPARE, "3?4", "<", "3 < 4", true},
        {SP_TASK_COMPARE, "3?4", "<", "3 < 4 or 3 > 4", false},
        {SP_TASK_COMPARE, "4?4", "equal", "4 and 4 are equal.", true},
        {SP_TASK_SORT, "1,2,3", "1, 2, 3", "1, 2, 3", true},
        {SP_TASK_SORT, "1,2,3", "1, 2, 3", "1, 3, 2", false},
        {SP_TASK_LETTERS, "cacao", "2", "There are 2 c in cacao.", true},
        {SP_TASK_LETTERS, "cacao", "2", "There are 12 c in cacao.", false},
        {SP_TASK_REVERSE, "cat", "tac", "tac", true},
        {SP_TASK_REVERSE, "cat", "tac", "tacc", false},
        {SP_TASK_PARITY, "7", "odd", "7 is odd.", true},
        {SP_TASK_PARITY, "7", "odd", "7 is odd or even.", false},
        {SP_TASK_COUNTDOWN, "5,7,13:22", "(5*7)-13", "(5*7)-13 = 22", true},
        {SP_TASK_COUNTDOWN, "5,7,13:22", "(5*7)-13", "7 * 5 - 13", true},
        {SP_TASK_COUNTDOWN, "5,7,13:22", "(5*7)-13", "5*7-13 = 21", true}, /* the expression counts */
        {SP_TASK_COUNTDOWN, "5,7,13:22", "(5*7)-13", "22 = 22", false},
        {SP_TASK_COUNTDOWN, "5,7,13:22", "(5*7)-13", "(5*7)-13+0 = 22", false},
        {SP_TASK_COUNTDOWN, "5,7,13:22", "(5*7)-13", "(5*7)-(13", false},
        {SP_TASK_COUNTDOWN, "2,4,4:2", "4/(4-2)", "4/(4-2)", true},
        {SP_TASK_COUNTDOWN, "2,4,4:2", "4/(4-2)", "2/(4-4)", false},
        {SP_TASK_COUNTDOWN, "5,7,13:22", "(5*7)-13", "((((((((((((((((((((((((((((((((((((((((1", false},
        {SP_TASK_COUNTDOWN, "5,7,13:22", "(5*7)-13", "99999999999999999999*9", false},
        {SP_TASK_TALK, "Hi", "sputnik-nano", "Hello! I am sputnik-nano.", true},
        {SP_TASK_TALK, "Hi", "sputnik-nano", "Hello! I am a cat.", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const grading *c = &cases[i];
        if (sp_task_check(c->task, c->problem, c->answer, c->content) != c->good)
            fail_msg("case %zu: \"%s\" should %s", i, c->content, c->good ? "pass" : "fail");
    }
}

static void test_words(void **state)
{
    (void)state;
    assert_true(sp_task_words_count >= 600);
    for (int i = 0; i < sp_task_words_count; i++) {
        size_t n = strlen(sp_task_words[i]);
        assert_in_range(n, 3, SP_WORD_MAX);
        assert_int_equal(strspn(sp_task_words[i], "abcdefghijklmnopqrstuvwxyz"), n);
        for (int k = 0; k < i; k++) assert_string_not_equal(sp_task_words[i], sp_task_words[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_look_as_documented),
        cmocka_unit_test(test_reasoning_is_true),
        cmocka_unit_test(test_items_pass_their_checker),
        cmocka_unit_test(test_train_and_test_are_disjoint),
        cmocka_unit_test(test_items_are_functions_of_their_number),
        cmocka_unit_test(test_conversations_are_one_in_ten),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_lines_are_json),
        cmocka_unit_test(test_grading),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
