/* SPDX-License-Identifier: MIT */
/* `sputnik inspect --json`: one object with the file's facts. Arrays of more than 64 items appear as their
 * count. */
#include "cli/inspect.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"

#define MAX_ARRAY_ITEMS 64

static sp_status put_gguf_scalar(sp_buf *out, const sp_gguf_kv *kv, sp_gguf_type type, uint64_t i,
                                 sp_error *err)
{
    switch (type) {
    case SP_GGUF_F32:
    case SP_GGUF_F64: return sp_cli_put_number(out, sp_gguf_item_real(kv, i), err);
    case SP_GGUF_BOOL: return sp_buf_puts(out, sp_gguf_item_int(kv, i) ? "true" : "false", err);
    default: return sp_buf_printf(out, err, "%" PRId64, sp_gguf_item_int(kv, i));
    }
}

static sp_status put_gguf_array(sp_buf *out, const sp_gguf_kv *kv, sp_error *err)
{
    if (kv->count > MAX_ARRAY_ITEMS || kv->item_type == SP_GGUF_ARRAY)
        return sp_buf_printf(out, err, "{\"n_items\":%" PRIu64 "}", kv->count);
    uint64_t pos = 0;
    sp_gguf_string text;
    SP_TRY(sp_buf_puts(out, "[", err));
    for (uint64_t i = 0; i < kv->count; i++) {
        if (i > 0) SP_TRY(sp_buf_puts(out, ",", err));
        if (kv->item_type != SP_GGUF_STRING) {
            SP_TRY(put_gguf_scalar(out, kv, kv->item_type, i, err));
        } else if (sp_gguf_next_string(kv, &pos, &text)) {
            SP_TRY(sp_json_put_string(out, text.data, (size_t)text.len, err));
        }
    }
    return sp_buf_puts(out, "]", err);
}

static sp_status put_gguf(sp_buf *out, const sp_gguf *gguf, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{", err));
    for (size_t i = 0; i < sp_gguf_kv_count(gguf); i++) {
        const sp_gguf_kv *kv = sp_gguf_kv_at(gguf, i);
        SP_TRY(sp_buf_puts(out, i ? ",\n  " : "\n  ", err));
        SP_TRY(sp_json_put_string(out, kv->key.data, (size_t)kv->key.len, err));
        SP_TRY(sp_buf_puts(out, ":", err));
        if (kv->type == SP_GGUF_STRING) {
            sp_gguf_string text = sp_inspect_gguf_string(kv);
            SP_TRY(sp_json_put_string(out, text.data, (size_t)text.len, err));
        } else if (kv->type == SP_GGUF_ARRAY) {
            SP_TRY(put_gguf_array(out, kv, err));
        } else {
            SP_TRY(put_gguf_scalar(out, kv, kv->type, 0, err));
        }
    }
    return sp_buf_puts(out, "}", err);
}

static sp_status put_tensors(sp_buf *out, const sp_archive *archive, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, ",\n \"tensors\":[", err));
    for (size_t i = 0; i < sp_archive_count(archive); i++) {
        const sp_entry *entry = sp_archive_at(archive, i);
        char shape[96];
        sp_inspect_shape(&entry->tensor, ",", shape, sizeof shape);
        SP_TRY(sp_buf_puts(out, i ? ",\n  {\"name\":" : "\n  {\"name\":", err));
        SP_TRY(sp_cli_put_text(out, entry->name, err));
        SP_TRY(sp_buf_printf(out, err,
                             ",\"type\":\"%s\",\"shape\":[%s],\"n_bytes\":%" PRIu64
                             ",\"file\":%d,\"offset\":%" PRIu64 "}",
                             sp_dtype_get(entry->tensor.dtype)->label, shape, entry->n_bytes, entry->file,
                             entry->file_offset));
    }
    return sp_buf_puts(out, "]", err);
}

static sp_status put_totals(sp_buf *out, const sp_archive *archive, sp_error *err)
{
    sp_type_total totals[SP_DTYPE_COUNT];
    const char *between = "";
    sp_inspect_count(archive, totals);
    SP_TRY(sp_buf_puts(out, ",\n \"types\":{", err));
    for (int i = 0; i < SP_DTYPE_COUNT; i++) {
        if (totals[i].n_tensors == 0) continue;
        SP_TRY(sp_buf_printf(out, err,
                             "%s\n  \"%s\":{\"n_tensors\":%" PRIu64 ",\"n_elements\":%" PRIu64
                             ",\"n_bytes\":%" PRIu64 "}",
                             between, sp_dtype_get((sp_dtype)i)->label, totals[i].n_tensors,
                             totals[i].n_elements, totals[i].n_bytes));
        between = ",";
    }
    return sp_buf_puts(out, "}", err);
}

static sp_status put_tokenizer(sp_buf *out, const sp_tokenizer *tokenizer, sp_error *err)
{
    if (!tokenizer)
        return sp_buf_puts(out, ",\n \"tokenizer\":null,\"chat_format\":null,\"chat_template\":null", err);
    SP_TRY(sp_buf_puts(out, ",\n \"tokenizer\":{\"pre\":", err));
    SP_TRY(sp_cli_put_text(out, sp_tokenizer_pre(tokenizer), err));
    SP_TRY(sp_buf_printf(out, err,
                         ",\"n_ids\":%d,\"bos\":%d,\"eos\":%d,\"adds_bos\":%s},\n \"chat_format\":\"%s\",\n "
                         "\"chat_template\":",
                         (int)sp_tokenizer_size(tokenizer), (int)sp_tokenizer_bos(tokenizer),
                         (int)sp_tokenizer_eos(tokenizer),
                         sp_tokenizer_adds_bos(tokenizer) ? "true" : "false",
                         sp_chat_format_name(sp_chat_format_detect(tokenizer))));
    return sp_cli_put_text(out, sp_tokenizer_chat_template(tokenizer), err);
}

static sp_status put_archive(sp_buf *out, const sp_archive *archive, const sp_tokenizer *tokenizer,
                             bool no_tensors, sp_error *err)
{
    bool is_gguf = sp_archive_container(archive) == SP_CONTAINER_GGUF;
    char name[64];
    SP_TRY(sp_buf_puts(out, "{\"path\":", err));
    SP_TRY(sp_cli_put_text(out, sp_archive_path(archive), err));
    SP_TRY(sp_buf_printf(out, err, ",\"container\":\"%s\",\"files\":[", is_gguf ? "gguf" : "huggingface"));
    for (size_t i = 0; i < sp_archive_file_count(archive); i++) {
        if (i > 0) SP_TRY(sp_buf_puts(out, ",", err));
        SP_TRY(sp_cli_put_text(out, sp_archive_file(archive, i), err));
    }
    sp_inspect_architecture(archive, name, sizeof name);
    SP_TRY(sp_buf_puts(out, "],\n \"architecture\":", err));
    SP_TRY(sp_cli_put_text(out, name, err));
    SP_TRY(put_tokenizer(out, tokenizer, err));
    SP_TRY(sp_buf_puts(out, ",\n \"metadata\":", err));
    if (is_gguf)
        SP_TRY(put_gguf(out, sp_archive_gguf(archive), err));
    else
        SP_TRY(sp_json_dump(out, sp_archive_config(archive), SP_JSON_COMPACT, err));
    SP_TRY(put_totals(out, archive, err));
    if (!no_tensors) SP_TRY(put_tensors(out, archive, err));
    return sp_buf_puts(out, "}\n", err);
}

sp_status sp_inspect_print_json(const sp_archive *archive, const sp_tokenizer *tokenizer, bool no_tensors,
                                sp_error *err)
{
    sp_buf out = {NULL, 0, 0};
    sp_status status = put_archive(&out, archive, tokenizer, no_tensors, err);
    if (status == SP_OK) fwrite(out.data, 1, out.len, stdout);
    sp_buf_clear(&out);
    return status;
}
