/* SPDX-License-Identifier: MIT */
/* `sputnik convert`: a Hugging Face directory or a GGUF file to a GGUF file of another type, or a Hugging Face directory to another one.
 * The work is model/convert.h's and model/export_hf.h's; here are the options, the progress bar and Ctrl-C. */
#include "model/convert.h"

#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "model/export_hf.h"

typedef struct convert_args {
    const char *type;
    int64_t n_threads;
    sp_str_list overrides;
    const char *name;
    double temperature; /* NAN: the user said nothing */
    int experts_adjacent, hf, list_types;
} convert_args;

static const convert_args convert_defaults = {NULL, 0, {NULL, 0}, NULL, (double)NAN, 0, 0, 0};

static const sp_arg convert_table[] = {
    SP_STRING_ROW(
        convert_args, type, "type", 0, "NAME",
        "storage type or mixture (default bf16, or keep with --experts-adjacent), see --list-types"),
    SP_STRINGS_ROW(convert_args, overrides, "tensor-type", 0, "PART=TYPE",
                   "type of tensors whose name contains PART (may be repeated)"),
    SP_STRING_ROW(convert_args, name, "name", 0, "NAME",
                  "general.name in the file (the source's or its folder's)"),
    SP_FLOAT_ROW(convert_args, temperature, "temp", 0, 0, 100,
                 "temperature recommended in the file (as generation_config.json says)"),
    SP_FLAG_ROW(
        convert_args, experts_adjacent, "experts-adjacent", 0,
        "lay each expert's three matrices side by side, for --ram; llama.cpp does not load such files"),
    SP_FLAG_ROW(convert_args, hf, "hf", 0,
                "write a Hugging Face directory, as OUT/ and an existing directory do"),
    SP_THREADS_ROW(convert_args, n_threads),
    SP_FLAG_ROW(convert_args, list_types, "list-types", 0, "list the types"),
};

static bool show_progress(void *ctx, uint64_t done, uint64_t total)
{
    sp_progress_set(ctx, done, total);
    return !sp_interrupt_seen();
}

static void print_types(void)
{
    for (size_t i = 0; sp_mixture_name(i); i++) puts(sp_mixture_name(i));
    puts("keep");
}

/* "PART=TYPE" to a row; `part` is allocated. */
static sp_status parse_override(sp_type_override *row, const char *text, sp_error *err)
{
    const char *equals = strrchr(text, '=');
    if (!equals || equals == text || !sp_dtype_by_name(equals + 1, &row->dtype))
        return sp_fail(err, SP_E_ARGUMENT,
                       "option --tensor-type: found \"%.80s\", expected PART=TYPE, e.g. ffn_down=q6_k", text);
    row->part = sp_strndup(text, (size_t)(equals - text));
    return row->part ? SP_OK : sp_fail_nomem(err, "tensor type", strlen(text));
}

static const char *choose_type(const convert_args *args)
{
    return args->type ? args->type : args->experts_adjacent ? "keep" : "bf16";
}

static sp_status convert(const convert_args *args, const char *src, const char *dst, sp_type_override *rows,
                         sp_error *err)
{
    sp_convert_options options = SP_CONVERT_DEFAULTS;
    sp_progress progress;
    sp_pool *pool = NULL;
    for (size_t i = 0; i < args->overrides.n; i++)
        SP_TRY(parse_override(&rows[i], args->overrides.items[i], err));
    SP_TRY(sp_pool_create(&pool, (int)args->n_threads, err));
    options.type = choose_type(args);
    if (args->experts_adjacent) options.experts = SP_CONVERT_ADJACENT;
    options.pool = pool;
    options.progress = show_progress;
    options.progress_ctx = &progress;
    options.overrides = rows;
    options.n_overrides = args->overrides.n;
    options.name = args->name;
    options.temperature = isnan(args->temperature) ? NULL : &args->temperature;
    sp_interrupt_catch();
    sp_progress_start(&progress, "converting", SP_PROGRESS_BYTES, 0);
    sp_status status = sp_convert(src, dst, &options, err);
    sp_progress_finish(&progress);
    sp_pool_destroy(pool);
    return status;
}

static bool is_folder(const convert_args *args, const char *dst)
{
    size_t n = strlen(dst);
    return args->hf || (n > 0 && dst[n - 1] == '/') || sp_file_is_dir(dst);
}

static sp_status export_folder(const convert_args *args, const char *src, const char *dst, sp_error *err)
{
    sp_progress progress;
    sp_export_options options = {
        .max_shard_bytes = SP_EXPORT_SHARD_BYTES, .progress = show_progress, .progress_ctx = &progress};
    if (args->overrides.n)
        return sp_fail(err, SP_E_ARGUMENT, "option --tensor-type: a Hugging Face directory has one type");
    if (args->experts_adjacent)
        return sp_fail(err, SP_E_ARGUMENT, "option --experts-adjacent: is for GGUF files");
    if (args->name || !isnan(args->temperature))
        return sp_fail(err, SP_E_ARGUMENT, "options --name and --temp: are for GGUF files");
    if (!sp_dtype_by_name(choose_type(args), &options.dtype))
        return sp_fail(err, SP_E_ARGUMENT,
                       "type \"%.40s\": a Hugging Face directory is written as bf16, f16 or f32",
                       choose_type(args));
    sp_interrupt_catch();
    sp_progress_start(&progress, "exporting", SP_PROGRESS_BYTES, 0);
    sp_status status = sp_export_hf(src, dst, &options, err);
    sp_progress_finish(&progress);
    return status;
}

/* "OUT: SIZE", or "OUT" of a directory. */
static void print_result(const char *dst)
{
    char text[32];
    uint64_t size = 0;
    if (!sp_file_is_dir(dst) && sp_file_size(dst, &size, NULL) == SP_OK)
        printf("%s: %s\n", dst, sp_cli_size(text, (double)size));
    else
        printf("%s\n", dst);
}

static int run_convert(const void *options, char *const *operands, int n_operands)
{
    const convert_args *args = options;
    sp_error err = SP_ERROR_NONE;
    if (args->list_types) {
        print_types();
        return SP_EXIT_GOOD;
    }
    if (n_operands != 2)
        return sp_cli_usage(&sp_command_convert, "expected MODEL and OUT.gguf or a directory");
    sp_type_override *rows = sp_calloc(args->overrides.n + 1, sizeof *rows);
    if (!rows) return sp_cli_say("out of memory");
    char *src = sp_cli_locate(operands[0]);
    sp_status status = SP_E_NOT_FOUND;
    if (src && is_folder(args, operands[1]))
        status = export_folder(args, src, operands[1], &err);
    else if (src)
        status = convert(args, src, operands[1], rows, &err);
    if (src && status != SP_OK)
        sp_cli_fail(&err, status == SP_E_ARGUMENT ? "sputnik convert --list-types" : NULL);
    if (status == SP_OK) print_result(operands[1]);
    for (size_t i = 0; i < args->overrides.n; i++) {
        union {
            const char *in;
            void *out; /* allocated by parse_override */
        } part = {.in = rows[i].part};
        sp_free(part.out);
    }
    sp_free(rows);
    sp_free(src);
    return status == SP_OK ? SP_EXIT_GOOD : status == SP_E_ARGUMENT ? SP_EXIT_USAGE : SP_EXIT_FAILED;
}

const sp_command sp_command_convert = {
    "convert",
    "MODEL OUT",
    "write a model as GGUF or as a Hugging Face directory, in another storage type",
    "MODEL is a Hugging Face directory (a checkpoint of a run, too) or a GGUF file. OUT is a GGUF file or, "
    "where it ends in / or\n"
    "is an existing directory, a Hugging Face directory: bf16, f16 or f32. OUT appears only when it is "
    "complete.",
    convert_table,
    sizeof convert_table / sizeof convert_table[0],
    &convert_defaults,
    sizeof convert_defaults,
    0,
    2,
    run_convert,
};
