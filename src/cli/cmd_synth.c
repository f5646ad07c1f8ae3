/* SPDX-License-Identifier: MIT */
/* `sputnik synth`: a model of random weights at a published shape. The work is model/synth.h's; here are the options, the
 * progress bar and Ctrl-C. */
#include "model/synth.h"

#include "base/file.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/progress.h"

typedef struct synth_args {
    const char *type, *vocabulary;
    int64_t n_layers, vocab_size, n_mtp, seed, n_threads;
    int list;
} synth_args;

static const synth_args synth_defaults = {"q4_k_m", NULL, 0, 0, 0, 1, 0, 0};

static const sp_arg synth_table[] = {
    SP_STRING_ROW(synth_args, type, "type", 0, "NAME", "storage type or mixture (default q4_k_m)"),
    SP_INT_ROW(synth_args, n_layers, "layers", 0, 0, 1000, "layers instead of the published number"),
    SP_INT_ROW(synth_args, vocab_size, "vocab-size", 0, 0, 10000000,
               "vocabulary rows instead of the published number"),
    SP_INT_ROW(synth_args, n_mtp, "mtp-layers", 0, 0, 16, "multi-token-prediction layers (default 0)"),
    SP_STRING_ROW(synth_args, vocabulary, "vocabulary", 0, "FILE",
                  "take the vocabulary of a GGUF file or tokenizer.json"),
    SP_INT_ROW(synth_args, seed, "seed", 0, 0, 9.2e18, "seed of the weights (default 1)"),
    SP_THREADS_ROW(synth_args, n_threads),
    SP_FLAG_ROW(synth_args, list, "list", 0, "list the shapes"),
};

static bool show_progress(void *ctx, uint64_t done, uint64_t total)
{
    sp_progress_set(ctx, done, total);
    return !sp_interrupt_seen();
}

static sp_status synthesise(const synth_args *args, const char *spec, const char *dst, sp_error *err)
{
    sp_synth_options options = SP_SYNTH_DEFAULTS;
    sp_progress progress;
    sp_pool *pool = NULL;
    SP_TRY(sp_pool_create(&pool, (int)args->n_threads, err));
    options.type = args->type;
    options.n_layers = (int32_t)args->n_layers;
    options.vocab_size = (int32_t)args->vocab_size;
    options.n_mtp = (int32_t)args->n_mtp;
    options.seed = (uint64_t)args->seed;
    options.vocabulary = args->vocabulary;
    options.pool = pool;
    options.progress = show_progress;
    options.progress_ctx = &progress;
    sp_interrupt_catch();
    sp_progress_start(&progress, "writing", SP_PROGRESS_BYTES, 0);
    sp_status status = sp_synth(spec, dst, &options, err);
    sp_progress_finish(&progress);
    sp_pool_destroy(pool);
    return status;
}

static int run_synth(const void *options, char *const *operands, int n_operands)
{
    const synth_args *args = options;
    sp_error err = SP_ERROR_NONE;
    char size_text[32];
    uint64_t size = 0;
    if (args->list) {
        for (size_t i = 0; sp_shape_name(i); i++) puts(sp_shape_name(i));
        return SP_EXIT_GOOD;
    }
    if (n_operands != 2) return sp_cli_usage(&sp_command_synth, "expected SPEC and OUT.gguf");
    sp_status status = synthesise(args, operands[0], operands[1], &err);
    if (status != SP_OK) {
        sp_cli_fail(&err, status == SP_E_NOT_FOUND ? "sputnik synth --list" : NULL);
        return status == SP_E_ARGUMENT ? SP_EXIT_USAGE : SP_EXIT_FAILED;
    }
    if (sp_file_size(operands[1], &size, NULL) == SP_OK)
        printf("%s: %s\n", operands[1], sp_cli_size(size_text, (double)size));
    return SP_EXIT_GOOD;
}

const sp_command sp_command_synth = {
    "synth",
    "SPEC OUT.gguf",
    "random weights at a published shape, to measure speed",
    "SPEC is one of \"sputnik synth --list\", a config.json or a directory that holds one.",
    synth_table,
    sizeof synth_table / sizeof synth_table[0],
    &synth_defaults,
    sizeof synth_defaults,
    0,
    2,
    run_synth,
};
