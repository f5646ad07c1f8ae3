/* SPDX-License-Identifier: MIT */
/* The option parser: rows of a command's table to values in its options struct. Knows nothing of any command.
 */
#include "cli/args.h"

#include "base/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool sp_parse_int(const char *text, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || strchr(" \t\n\v\f\r", text[0])) return false;
    *out = value;
    return true;
}

bool sp_parse_float(const char *text, double *out)
{
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || strchr(" \t\n\v\f\r", text[0]) || !isfinite(value)) return false;
    *out = value;
    return true;
}

/* "--threads" or "-t", as the user typed it. */
typedef struct spelled {
    const char *text;
    int len;
} spelled;

static sp_status fail_number(const sp_arg *arg, spelled option, const char *value, size_t len, sp_error *err)
{
    bool whole = arg->type != SP_ARG_FLOAT;
    const char *what =
        arg->type == SP_ARG_INTS ? "expected whole numbers separated by commas, each" : "expected a";
    const char *kind = arg->type == SP_ARG_INTS ? "" : whole ? " whole number" : " number";
    return sp_fail(err, SP_E_ARGUMENT, "option %.*s: found \"%.*s\", %s%s from %.10g to %.10g", option.len,
                   option.text, len > 60 ? 60 : (int)len, value, what, kind, arg->min, arg->max);
}

static sp_status set_ints(const sp_arg *arg, spelled option, const char *value, sp_int_list *list,
                          sp_error *err)
{
    size_t cap = 1;
    for (const char *p = value; *p; p++) cap += *p == ',';
    int64_t *items = sp_malloc_array(cap, sizeof *items);
    if (!items) return sp_fail_nomem(err, "list of numbers", cap * sizeof *items);
    size_t n = 0;
    for (const char *p = value;; p++) {
        size_t len = strcspn(p, ",");
        char word[32];
        bool good = len > 0 && len < sizeof word;
        if (good) {
            memcpy(word, p, len);
            word[len] = '\0';
            good =
                sp_parse_int(word, &items[n]) && (double)items[n] >= arg->min && (double)items[n] <= arg->max;
        }
        if (!good) {
            sp_free(items);
            return fail_number(arg, option, p, len, err);
        }
        n++;
        p += len;
        if (*p == '\0') break;
    }
    sp_free(list->items);
    list->items = items;
    list->n = n;
    return SP_OK;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);
    for (const char *p = choices; len > 0;) {
        size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, value, n) == 0) return true;
        if (p[n] == '\0') break;
        p += n + 1;
    }
    return false;
}

static sp_status set_value(const sp_arg *arg, spelled option, const char *value, void *options, sp_error *err)
{
    void *out = (char *)options + arg->offset;
    switch (arg->type) {
    case SP_ARG_FLAG: *(int *)out = 1; return SP_OK;
    case SP_ARG_INT: {
        int64_t number = 0;
        if (!sp_parse_int(value, &number) || (double)number < arg->min || (double)number > arg->max)
            return fail_number(arg, option, value, strlen(value), err);
        *(int64_t *)out = number;
        return SP_OK;
    }
    case SP_ARG_FLOAT: {
        double number = 0;
        if (!sp_parse_float(value, &number) || number < arg->min || number > arg->max)
            return fail_number(arg, option, value, strlen(value), err);
        *(double *)out = number;
        return SP_OK;
    }
    case SP_ARG_CHOICE:
        if (!is_choice(arg->choices, value))
            return sp_fail(err, SP_E_ARGUMENT, "option %.*s: found \"%.60s\", expected one of %s", option.len,
                           option.text, value, arg->choices);
        *(const char **)out = value;
        return SP_OK;
    case SP_ARG_CONFIG:
    case SP_ARG_STRING: *(const char **)out = value; return SP_OK;
    case SP_ARG_INTS: return set_ints(arg, option, value, out, err);
    case SP_ARG_STRINGS: {
        sp_str_list *list = out;
        const char **items = sp_realloc_array(list->items, list->n + 1, sizeof *items);
        if (!items) return sp_fail_nomem(err, "list of texts", (list->n + 1) * sizeof *items);
        items[list->n++] = value;
        list->items = items;
        return SP_OK;
    }
    }
    return SP_E_ARGUMENT;
}

static const sp_arg *find_long(const sp_command *command, const char *name, size_t len)
{
    for (size_t i = 0; i < command->n_args; i++) {
        const sp_arg *arg = &command->args[i];
        if (strlen(arg->name) == len && memcmp(arg->name, name, len) == 0) return arg;
    }
    return NULL;
}

const sp_arg *sp_args_find(const sp_command *command, const char *name)
{
    return find_long(command, name, strlen(name));
}

sp_status sp_args_set(const sp_command *command, const char *name, const char *value, void *options,
                      sp_error *err)
{
    const sp_arg *arg = sp_args_find(command, name);
    spelled option = {name, (int)strlen(name)};
    return arg ? set_value(arg, option, value, options, err) : SP_E_ARGUMENT;
}

static const sp_arg *find_letter(const sp_command *command, char letter)
{
    for (size_t i = 0; i < command->n_args; i++)
        if (command->args[i].letter == letter) return &command->args[i];
    return NULL;
}

static sp_status fail_unknown(const sp_command *command, const char *text, int len, sp_error *err)
{
    const char *nearest = NULL;
    size_t best = 3;
    char name[64];
    if (len > 2 && text[1] == '-' && len < (int)sizeof name) {
        memcpy(name, text + 2, (size_t)len - 2);
        name[len - 2] = '\0';
        for (size_t i = 0; i < command->n_args; i++) {
            size_t d = sp_word_distance(name, command->args[i].name);
            if (d < best) {
                best = d;
                nearest = command->args[i].name;
            }
        }
    }
    if (nearest)
        return sp_fail(err, SP_E_ARGUMENT, "unknown option \"%.*s\", did you mean --%s?", len > 60 ? 60 : len,
                       text, nearest);
    return sp_fail(err, SP_E_ARGUMENT, "unknown option \"%.*s\"", len > 60 ? 60 : len, text);
}

/* Handle the option at argv[*i]; *i moves to its last word. */
static sp_status parse_option(const sp_command *command, int argc, char **argv, int *i, void *options,
                              sp_error *err)
{
    const char *text = argv[*i];
    bool is_long = text[1] == '-';
    size_t len = is_long ? strcspn(text, "=") : 2;
    const sp_arg *arg = is_long ? find_long(command, text + 2, len - 2) : find_letter(command, text[1]);
    if (!arg) return fail_unknown(command, text, is_long ? (int)len : (int)strlen(text), err);
    spelled option = {text, (int)len};
    const char *attached = is_long ? (text[len] == '=' ? text + len + 1 : NULL) : (text[2] ? text + 2 : NULL);
    if (arg->type == SP_ARG_FLAG) {
        if (attached)
            return sp_fail(err, SP_E_ARGUMENT, "option %.*s takes no value, found \"%.60s\"", option.len,
                           text, attached);
        return set_value(arg, option, NULL, options, err);
    }
    const char *value = attached;
    if (!value) {
        if (*i + 1 >= argc)
            return sp_fail(err, SP_E_ARGUMENT, "option %.*s: expected a value (%s) after it", option.len,
                           text, arg->value);
        value = argv[++*i];
    }
    return set_value(arg, option, value, options, err);
}

sp_status sp_args_parse(const sp_command *command, int argc, char **argv, void *options,
                        sp_args_result *result, sp_error *err)
{
    memset(result, 0, sizeof *result);
    result->operands = sp_calloc((size_t)argc + 1, sizeof *result->operands);
    if (!result->operands) return sp_fail_nomem(err, "operands", (uint64_t)argc * sizeof(char *));
    bool ended = false;
    for (int i = 0; i < argc; i++) {
        char *text = argv[i];
        if (ended || text[0] != '-' || text[1] == '\0') {
            result->operands[result->n_operands++] = text;
        } else if (strcmp(text, "--") == 0) {
            ended = true;
        } else if (strcmp(text, "-h") == 0 || strcmp(text, "--help") == 0) {
            result->help = true;
            return SP_OK;
        } else {
            SP_TRY(parse_option(command, argc, argv, &i, options, err));
        }
    }
    if (result->n_operands < command->min_operands)
        return sp_fail(err, SP_E_ARGUMENT, "expected %s, found %s", command->operands,
                       result->n_operands ? "only the first of them" : "nothing");
    if (result->n_operands > command->max_operands)
        return sp_fail(err, SP_E_ARGUMENT, "expected %s, found one more: \"%.60s\"",
                       command->operands[0] ? command->operands : "no operand",
                       result->operands[command->max_operands]);
    return SP_OK;
}

void sp_args_clear(const sp_command *command, void *options, sp_args_result *result)
{
    for (size_t i = 0; i < command->n_args; i++) {
        void *value = (char *)options + command->args[i].offset;
        if (command->args[i].type == SP_ARG_INTS) {
            sp_free(((sp_int_list *)value)->items);
            memset(value, 0, sizeof(sp_int_list));
        } else if (command->args[i].type == SP_ARG_STRINGS) {
            sp_free(((sp_str_list *)value)->items);
            memset(value, 0, sizeof(sp_str_list));
        }
    }
    sp_free(result->operands);
    result->operands = NULL;
}
