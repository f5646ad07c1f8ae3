/* SPDX-License-Identifier: MIT */
/* `sputnik inspect`: what a model's files hold. Reads the container, not the model, so that files which
 * cannot be run (vocabulary only, unknown architectures) can be looked at too. */
#include "cli/inspect.h"

#include "cli/experts.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"

typedef struct inspect_args {
    const char *plan;
    int json, no_tensors, template_text;
} inspect_args;

static const inspect_args inspect_defaults;

static const sp_arg inspect_table[] = {
    SP_FLAG_ROW(inspect_args, no_tensors, "no-tensors", 0, "leave the list of tensors out"),
    SP_FLAG_ROW(inspect_args, template_text, "template", 0, "print the chat template and nothing else"),
    SP_STRING_ROW(inspect_args, plan, "plan", 0, "SIZE",
                  "print what --ram SIZE would hold and leave on disk, and nothing else"),
    SP_JSON_ROW(inspect_args, json),
};

void sp_inspect_count(const sp_archive *archive, sp_type_total totals[SP_DTYPE_COUNT])
{
    memset(totals, 0, SP_DTYPE_COUNT * sizeof *totals);
    for (size_t i = 0; i < sp_archive_count(archive); i++) {
        const sp_entry *entry = sp_archive_at(archive, i);
        sp_type_total *total = &totals[entry->tensor.dtype];
        total->n_tensors++;
        total->n_bytes += entry->n_bytes;
        total->n_elements += (uint64_t)(sp_tensor_rows(&entry->tensor) * sp_tensor_cols(&entry->tensor));
    }
}

static void print_gguf_value(const sp_gguf_kv *kv)
{
    switch (kv->type) {
    case SP_GGUF_F32:
    case SP_GGUF_F64: printf("%.9g\n", sp_gguf_item_real(kv, 0)); return;
    case SP_GGUF_BOOL: puts(sp_gguf_item_int(kv, 0) ? "true" : "false"); return;
    case SP_GGUF_ARRAY: printf("[%" PRIu64 " items]\n", kv->count); return;
    case SP_GGUF_STRING: break;
    default: printf("%" PRId64 "\n", sp_gguf_item_int(kv, 0)); return;
    }
    sp_gguf_string text = sp_inspect_gguf_string(kv);
    sp_buf line = {NULL, 0, 0};
    size_t n = text.len > 100 ? 100 : (size_t)text.len;
    while (n < text.len && n > 0 && ((unsigned char)text.data[n] & 0xc0) == 0x80) n--;
    if (sp_json_put_string(&line, text.data, n, NULL) == SP_OK)
        printf("%s%s\n", line.data, n < text.len ? "..." : "");
    sp_buf_clear(&line);
}

sp_gguf_string sp_inspect_gguf_string(const sp_gguf_kv *kv)
{
    /* A string value is its length (8 bytes) and its bytes; the parser has checked both. */
    sp_gguf_string text = {(const char *)kv->data + 8, kv->n_bytes - 8};
    return text;
}

/* Names come from the file: control characters must not reach the terminal. */
static void print_name(const char *name, int len)
{
    fputs("  ", stdout);
    for (int i = 0; i < len; i++) putchar((unsigned char)name[i] < 0x20 || name[i] == 0x7f ? '?' : name[i]);
    printf("%*s", len < 44 ? 45 - len : 1, "");
}

static void print_metadata(const sp_archive *archive)
{
    const sp_gguf *gguf = sp_archive_gguf(archive);
    puts("\nmetadata");
    for (size_t i = 0; gguf && i < sp_gguf_kv_count(gguf); i++) {
        const sp_gguf_kv *kv = sp_gguf_kv_at(gguf, i);
        print_name(kv->key.data, (int)kv->key.len);
        print_gguf_value(kv);
    }
    if (gguf) return;
    void *iter = NULL;
    const char *key = NULL;
    const sp_json *value = NULL;
    while (sp_json_next(sp_archive_config(archive), &iter, &key, &value)) {
        sp_buf text = {NULL, 0, 0};
        print_name(key, (int)strlen(key));
        if (sp_json_dump(&text, value, SP_JSON_COMPACT, NULL) == SP_OK)
            printf("%.*s%s\n", text.len > 200 ? 200 : (int)text.len, text.data, text.len > 200 ? "..." : "");
        sp_buf_clear(&text);
    }
}

static void print_tensors(const sp_archive *archive)
{
    puts("\ntensors");
    for (size_t i = 0; i < sp_archive_count(archive); i++) {
        const sp_entry *entry = sp_archive_at(archive, i);
        char shape[96], size[32];
        sp_inspect_shape(&entry->tensor, " x ", shape, sizeof shape);
        print_name(entry->name, (int)strlen(entry->name));
        printf("%-8s %-24s %10s\n", sp_dtype_get(entry->tensor.dtype)->label, shape,
               sp_cli_size(size, (double)entry->n_bytes));
    }
}

void sp_inspect_shape(const sp_tensor *tensor, const char *between, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    for (int d = 0; d < tensor->n_dims && n < cap; d++)
        n += (size_t)snprintf(out + n, cap - n, "%s%" PRId64, d ? between : "", tensor->shape[d]);
}

static void print_totals(const sp_archive *archive)
{
    sp_type_total totals[SP_DTYPE_COUNT], all = {0, 0, 0};
    char size[32];
    sp_inspect_count(archive, totals);
    puts("\ntypes");
    for (int i = 0; i < SP_DTYPE_COUNT; i++) {
        if (totals[i].n_tensors == 0) continue;
        printf("  %-8s %6" PRIu64 " tensors %16" PRIu64 " elements %10s\n", sp_dtype_get((sp_dtype)i)->label,
               totals[i].n_tensors, totals[i].n_elements, sp_cli_size(size, (double)totals[i].n_bytes));
        all.n_tensors += totals[i].n_tensors;
        all.n_elements += totals[i].n_elements;
        all.n_bytes += totals[i].n_bytes;
    }
    double bits = all.n_elements ? 8.0 * (double)all.n_bytes / (double)all.n_elements : 0;
    printf("  %-8s %6" PRIu64 " tensors %16" PRIu64 " elements %10s, %.2f bits per element\n", "all",
           all.n_tensors, all.n_elements, sp_cli_size(size, (double)all.n_bytes), bits);
}

static void print_tokenizer(const sp_tokenizer *tokenizer, const sp_error *why)
{
    if (!tokenizer) {
        printf("\ntokenizer  none (%s)\n", why->text);
        return;
    }
    const char *template_text = sp_tokenizer_chat_template(tokenizer), *pre = sp_tokenizer_pre(tokenizer);
    printf("\ntokenizer  %s, %d ids, begin %d, end %d, begin added %s\n", pre ? pre : "patterns of its own",
           (int)sp_tokenizer_size(tokenizer), (int)sp_tokenizer_bos(tokenizer),
           (int)sp_tokenizer_eos(tokenizer), sp_tokenizer_adds_bos(tokenizer) ? "yes" : "no");
    printf("chat       %s, %s\n", sp_chat_format_name(sp_chat_format_detect(tokenizer)),
           template_text ? "template in the file" : "no template in the file");
}

static void print_text(const sp_archive *archive, const sp_tokenizer *tokenizer, const sp_error *why,
                       const inspect_args *args)
{
    bool is_gguf = sp_archive_container(archive) == SP_CONTAINER_GGUF;
    printf("file       %s\n", sp_archive_path(archive));
    if (is_gguf)
        printf("container  GGUF version %u", (unsigned)sp_gguf_version(sp_archive_gguf(archive)));
    else
        printf("container  Hugging Face directory");
    printf(", %zu file%s\n", sp_archive_file_count(archive), sp_archive_file_count(archive) == 1 ? "" : "s");
    char name[64];
    sp_inspect_architecture(archive, name, sizeof name);
    printf("model      %s\n", name[0] ? name : "unknown architecture");
    print_tokenizer(tokenizer, why);
    print_metadata(archive);
    if (!args->no_tensors) print_tensors(archive);
    print_totals(archive);
}

void sp_inspect_architecture(const sp_archive *archive, char *out, size_t cap)
{
    sp_gguf_string text = {NULL, 0};
    out[0] = '\0';
    if (sp_archive_container(archive) == SP_CONTAINER_GGUF) {
        if (sp_gguf_str(sp_archive_gguf(archive), "general.architecture", &text))
            snprintf(out, cap, "%.*s", text.len > 60 ? 60 : (int)text.len, text.data);
        return;
    }
    const char *type = sp_json_string(sp_json_get(sp_archive_config(archive), "model_type"), NULL);
    if (type) snprintf(out, cap, "%s", type);
}

static int print_template(const sp_tokenizer *tokenizer, const sp_error *why)
{
    const char *text = tokenizer ? sp_tokenizer_chat_template(tokenizer) : NULL;
    if (!tokenizer) return sp_cli_fail(why, NULL);
    if (!text) return sp_cli_say("the files hold no chat template");
    fputs(text, stdout);
    return SP_EXIT_GOOD;
}

static int print_plan(const char *path, const inspect_args *args)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model = NULL;
    sp_status status = sp_model_open(&model, path, &err);
    if (status == SP_OK) status = sp_cli_print_plan(model, args->plan, args->json, &err);
    sp_model_close(model);
    if (status == SP_OK) return SP_EXIT_GOOD;
    sp_cli_fail(&err, NULL);
    return status == SP_E_ARGUMENT ? SP_EXIT_USAGE : SP_EXIT_FAILED;
}

static int run_inspect(const void *options, char *const *operands, int n_operands)
{
    const inspect_args *args = options;
    sp_error err = SP_ERROR_NONE, why = SP_ERROR_NONE;
    sp_archive *archive = NULL;
    sp_tokenizer *tokenizer = NULL;
    int code = SP_EXIT_GOOD;
    (void)n_operands;
    char *path = sp_cli_locate(operands[0]);
    if (!path) return SP_EXIT_FAILED;
    if (args->plan) {
        code = print_plan(path, args);
        sp_free(path);
        return code;
    }
    sp_status status = sp_archive_open(&archive, path, &err);
    if (status == SP_OK && sp_tokenizer_open(&tokenizer, path, &why) != SP_OK) tokenizer = NULL;
    if (status != SP_OK)
        code = sp_cli_fail(&err, NULL);
    else if (args->template_text)
        code = print_template(tokenizer, &why);
    else if (!args->json)
        print_text(archive, tokenizer, &why, args);
    else if (sp_inspect_print_json(archive, tokenizer, args->no_tensors != 0, &err) != SP_OK)
        code = sp_cli_fail(&err, NULL);
    sp_tokenizer_close(tokenizer);
    sp_archive_close(archive);
    sp_free(path);
    return code;
}

const sp_command sp_command_inspect = {
    "inspect",
    "MODEL",
    "what a file holds: hyper-parameters, tensors, sizes, template",
    NULL,
    inspect_table,
    sizeof inspect_table / sizeof inspect_table[0],
    &inspect_defaults,
    sizeof inspect_defaults,
    1,
    1,
    run_inspect,
};
