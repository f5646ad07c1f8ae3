/* SPDX-License-Identifier: MIT */
/* Options of a command: a table of rows, parsed into the command's own struct. Long options take "--name
 * value" or
 * "--name=value", short ones "-t 4" or "-t4"; "--" ends the options; "-" alone is an operand. Every error
 * names the option, the value found and what was expected. Start at sp_args_parse(). */
#ifndef SP_CLI_ARGS_H
#define SP_CLI_ARGS_H

#include "base/mem.h"

typedef enum sp_arg_type {
    SP_ARG_FLAG,    /* int, becomes 1 */
    SP_ARG_INT,     /* int64_t within [min, max] */
    SP_ARG_FLOAT,   /* double within [min, max] */
    SP_ARG_STRING,  /* const char *, points into argv */
    SP_ARG_CHOICE,  /* const char *, one of the words in `choices`, separated by '|' */
    SP_ARG_INTS,    /* sp_int_list, comma-separated, each within [min, max] */
    SP_ARG_STRINGS, /* sp_str_list, one more with each occurrence */
    SP_ARG_CONFIG   /* const char *, a file of options: args_config.h. What is given beside it goes before */
} sp_arg_type;

typedef struct sp_int_list {
    int64_t *items;
    size_t n;
} sp_int_list;

typedef struct sp_str_list {
    const char **items;
    size_t n;
} sp_str_list;

typedef struct sp_arg {
    const char *name; /* long name without the dashes */
    char letter;      /* short name or 0 */
    sp_arg_type type;
    size_t offset;     /* of the value in the options struct */
    const char *value; /* how the help calls the value; NULL for flags */
    const char *choices;
    double min, max;
    const char *help;
} sp_arg;

/* Rows for tables: SP_FLAG_ROW(struct, member, name, letter, help), ... */
#define SP_FLAG_ROW(type, member, name, letter, help)                                                        \
    {                                                                                                        \
        name, letter, SP_ARG_FLAG, offsetof(type, member), NULL, NULL, 0, 0, help                            \
    }
#define SP_INT_ROW(type, member, name, letter, min, max, help)                                               \
    {                                                                                                        \
        name, letter, SP_ARG_INT, offsetof(type, member), "N", NULL, min, max, help                          \
    }
#define SP_FLOAT_ROW(type, member, name, letter, min, max, help)                                             \
    {                                                                                                        \
        name, letter, SP_ARG_FLOAT, offsetof(type, member), "X", NULL, min, max, help                        \
    }
#define SP_STRING_ROW(type, member, name, letter, value, help)                                               \
    {                                                                                                        \
        name, letter, SP_ARG_STRING, offsetof(type, member), value, NULL, 0, 0, help                         \
    }
#define SP_CHOICE_ROW(type, member, name, letter, choices, help)                                             \
    {                                                                                                        \
        name, letter, SP_ARG_CHOICE, offsetof(type, member), choices, choices, 0, 0, help                    \
    }
#define SP_INTS_ROW(type, member, name, letter, min, max, help)                                              \
    {                                                                                                        \
        name, letter, SP_ARG_INTS, offsetof(type, member), "N,N,...", NULL, min, max, help                   \
    }
#define SP_CONFIG_ROW(type, member)                                                                          \
    {                                                                                                        \
        "config", 0, SP_ARG_CONFIG, offsetof(type, member), "FILE", NULL, 0, 0,                              \
            "JSON file of options: {\"name\": value, ...}; those given here go before"                       \
    }
#define SP_STRINGS_ROW(type, member, name, letter, value, help)                                              \
    {                                                                                                        \
        name, letter, SP_ARG_STRINGS, offsetof(type, member), value, NULL, 0, 0, help                        \
    }

typedef struct sp_command {
    const char *name;
    const char *operands; /* "MODEL PROMPT" */
    const char *summary;  /* one line */
    const char *notes;    /* paragraphs for the help, or NULL */
    const sp_arg *args;
    size_t n_args;
    const void *defaults; /* initial options struct */
    size_t options_bytes;
    int min_operands, max_operands;
    /* Returns the exit status: 0 good, 1 failed, 2 wrong usage. */
    int (*run)(const void *options, char *const *operands, int n_operands);
} sp_command;

typedef struct sp_args_result {
    char **operands; /* points into argv's strings; free with sp_args_clear */
    int n_operands;
    bool help; /* -h or --help was given; nothing else is checked then */
} sp_args_result;

/* Parse argv[0..argc) (after the command's name) into `options`, which the caller has filled with the
 * defaults. Errors: SP_E_ARGUMENT with the text for the user, SP_E_NOMEM. */
sp_status sp_args_parse(const sp_command *command, int argc, char **argv, void *options,
                        sp_args_result *result, sp_error *err);

/* Free the lists in `options` and the operands. */
void sp_args_clear(const sp_command *command, void *options, sp_args_result *result);

/* The option of a long name; NULL. */
const sp_arg *sp_args_find(const sp_command *command, const char *name);

/* Set one option by its long name, as "--name value" does; `value` is NULL for flags and stays the caller's. */
sp_status sp_args_set(const sp_command *command, const char *name, const char *value, void *options,
                      sp_error *err);

/* Numbers as the options read them; false (and *out unchanged) unless the whole text is one. */
bool sp_parse_int(const char *text, int64_t *out);
bool sp_parse_float(const char *text, double *out);

#endif
