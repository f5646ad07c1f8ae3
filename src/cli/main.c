/* SPDX-License-Identifier: MIT */
/* The program: finds the command, parses its options and runs it. Exit status: 0 good, 1 failed, 2 wrong
 * usage. */
#include "cli/cli.h"

#include "base/text.h"
#include "cli/args_config.h"

#include <string.h>

const sp_command *const sp_commands[] = {
    &sp_command_chat,
    &sp_command_run,
    &sp_command_serve,
    &sp_command_pull,
    &sp_command_inspect,
    &sp_command_tokenize,
    &sp_command_logits,
    &sp_command_perplexity,
    &sp_command_eval,
    &sp_command_convert,
    &sp_command_synth,
    &sp_command_data,
    &sp_command_train,
    &sp_command_bench,
    &sp_command_keys,
    &sp_command_usage,
    NULL,
};

static const sp_command *find_command(const char *name)
{
    for (size_t i = 0; sp_commands[i]; i++)
        if (strcmp(sp_commands[i]->name, name) == 0) return sp_commands[i];
    return NULL;
}

static void print_overview(FILE *out)
{
    fputs("Sputnik runs the DeepSeek model family.\n\nUsage: sputnik COMMAND [options]\n\nCommands:\n", out);
    for (size_t i = 0; sp_commands[i]; i++)
        fprintf(out, "  %-12s%s\n", sp_commands[i]->name, sp_commands[i]->summary);
    fputs("  help        show the help of a command\n\n"
          "MODEL is a GGUF file, a Hugging Face directory, or the name of a pulled model.\n"
          "\"sputnik help COMMAND\" lists a command's options; \"sputnik --version\" prints the version.\n",
          out);
}

static int fail_unknown(const char *name)
{
    const char *nearest = NULL;
    size_t best = 4;
    for (size_t i = 0; sp_commands[i]; i++) {
        size_t d = sp_word_distance(name, sp_commands[i]->name);
        if (d < best) {
            best = d;
            nearest = sp_commands[i]->name;
        }
    }
    fprintf(stderr, "sputnik: unknown command \"%.60s\"\n", name);
    if (nearest)
        sp_cli_hint("did you mean \"sputnik %s\"?", nearest);
    else
        sp_cli_hint("\"sputnik help\" lists the commands");
    return SP_EXIT_USAGE;
}

/* For the shells' completions and the tests of the man pages: commands, and options, one per line. */
static void dump_commands(void)
{
    for (size_t i = 0; sp_commands[i]; i++) printf("%s\t%s\n", sp_commands[i]->name, sp_commands[i]->summary);
    puts("help\tshow the help of a command");
}

/* Command, letter, name, value, help. */
static void dump_options(void)
{
    for (size_t i = 0; sp_commands[i]; i++) {
        const sp_command *command = sp_commands[i];
        for (size_t j = 0; j < command->n_args; j++) {
            const sp_arg *arg = &command->args[j];
            printf("%s\t%c\t%s\t%s\t%s\n", command->name, arg->letter ? arg->letter : '-', arg->name,
                   arg->value ? arg->value : "-", arg->help);
        }
    }
}

static int show_help(int argc, char **argv)
{
    if (argc == 0) {
        print_overview(stdout);
    } else if (strcmp(argv[0], "--options-dump") == 0) {
        dump_options();
    } else if (strcmp(argv[0], "--commands-dump") == 0) {
        dump_commands();
    } else {
        const sp_command *command = find_command(argv[0]);
        if (!command && strcmp(argv[0], "help") != 0) return fail_unknown(argv[0]);
        if (command)
            sp_help_print(command, stdout);
        else
            print_overview(stdout);
    }
    return sp_cli_flush();
}

/* The file of options that was asked for, or NULL. */
static const char *config_path(const sp_command *command, const void *options)
{
    for (size_t i = 0; i < command->n_args; i++)
        if (command->args[i].type == SP_ARG_CONFIG)
            return *(const char *const *)((const char *)options + command->args[i].offset);
    return NULL;
}

/* Defaults, then the file, then what was given, which goes before. */
static sp_status parse_all(const sp_command *command, int argc, char **argv, void *options,
                           sp_args_result *result, sp_args_config *config, sp_error *err)
{
    memcpy(options, command->defaults, command->options_bytes);
    SP_TRY(sp_args_parse(command, argc, argv, options, result, err));
    const char *path = config_path(command, options);
    if (!path || result->help) return SP_OK;
    sp_args_clear(command, options, result);
    memcpy(options, command->defaults, command->options_bytes);
    SP_TRY(sp_args_config_load(config, command, path, options, err));
    return sp_args_parse(command, argc, argv, options, result, err);
}

static int run_command(const sp_command *command, int argc, char **argv)
{
    sp_error err = SP_ERROR_NONE;
    sp_args_result result;
    sp_args_config config = {NULL};
    int code;
    void *options = sp_malloc(command->options_bytes);
    if (!options) return sp_cli_say("out of memory");
    memset(&result, 0, sizeof result);
    if (parse_all(command, argc, argv, options, &result, &config, &err) != SP_OK) {
        code = sp_cli_usage(command, "%s", err.text);
    } else if (result.help) {
        sp_help_print(command, stdout);
        code = sp_cli_flush();
    } else {
        code = command->run(options, result.operands, result.n_operands);
        if (code == SP_EXIT_GOOD) code = sp_cli_flush();
    }
    sp_args_clear(command, options, &result);
    sp_args_config_clear(&config);
    sp_free(options);
    return code;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return SP_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("sputnik %s\n", SP_VERSION);
        return sp_cli_flush();
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return show_help(argc - 2, argv + 2);
    const sp_command *command = find_command(name);
    return command ? run_command(command, argc - 2, argv + 2) : fail_unknown(name);
}
