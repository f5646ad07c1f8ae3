/* SPDX-License-Identifier: MIT */
/* Conversations on disk: one JSON object
 * {"sputnik_chat":1,"model":...,"format":...,"system":...,"settings":{...},"messages":[{"role","content","reasoning"}]}.
 * Loading checks everything before it replaces anything. */
#include "cli/chat.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"

#define MAX_FILE_BYTES ((size_t)256 << 20)
#define STORE_VERSION 1

static sp_status put_settings(const sp_sampling_args *s, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, ",\n \"settings\":{\"think\":", err));
    SP_TRY(sp_cli_put_text(out, s->think ? s->think : "auto", err));
    if (!isnan(s->temperature)) SP_TRY(sp_buf_printf(out, err, ",\"temp\":%.9g", s->temperature));
    if (!isnan(s->top_p)) SP_TRY(sp_buf_printf(out, err, ",\"top-p\":%.9g", s->top_p));
    return sp_buf_printf(
        out, err,
        ",\"top-k\":%lld,\"min-p\":%.9g,\"repetition-penalty\":%.9g,\"frequency-penalty\":%.9g,"
        "\"presence-penalty\":%.9g,\"max-tokens\":%lld,\"seed\":%lld}",
        (long long)s->top_k, s->min_p, s->repetition_penalty, s->frequency_penalty, s->presence_penalty,
        (long long)s->max_tokens, (long long)s->seed);
}

static sp_status put_chat(const sp_chat *chat, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_printf(out, err, "{\"sputnik_chat\":%d,\n \"model\":", STORE_VERSION));
    SP_TRY(sp_cli_put_text(out, chat->model_name, err));
    SP_TRY(
        sp_buf_printf(out, err, ",\n \"format\":\"%s\",\n \"system\":", sp_chat_format_name(chat->format)));
    SP_TRY(sp_cli_put_text(out, chat->system, err));
    SP_TRY(put_settings(&chat->sampling, out, err));
    SP_TRY(sp_buf_puts(out, ",\n \"messages\":[", err));
    for (size_t i = 0; i < chat->n_turns; i++) {
        const sp_turn *turn = &chat->turns[i];
        SP_TRY(sp_buf_printf(out, err, "%s\n  {\"role\":\"%s\",\"content\":", i ? "," : "",
                             turn->role == SP_ROLE_USER ? "user" : "assistant"));
        SP_TRY(sp_cli_put_text(out, turn->content, err));
        if (turn->reasoning) {
            SP_TRY(sp_buf_puts(out, ",\"reasoning\":", err));
            SP_TRY(sp_cli_put_text(out, turn->reasoning, err));
        }
        SP_TRY(sp_buf_puts(out, "}", err));
    }
    return sp_buf_puts(out, "]}\n", err);
}

sp_status sp_chat_save(const sp_chat *chat, const char *path, sp_error *err)
{
    sp_buf out = {NULL, 0, 0};
    sp_status status;
    SP_GOTO(done, status, put_chat(chat, &out, err));
    status = sp_file_write(path, &out, err);
done:
    sp_buf_clear(&out);
    return status;
}

static sp_status load_message(sp_chat *chat, const sp_json *message, size_t i, sp_error *err)
{
    size_t content_len = 0, reasoning_len = 0;
    const char *role = sp_json_string(sp_json_get(message, "role"), NULL);
    const char *content = sp_json_string(sp_json_get(message, "content"), &content_len);
    const sp_json *thought = sp_json_get(message, "reasoning");
    const char *reasoning = sp_json_string(thought, &reasoning_len);
    const char *expected = chat->n_turns % 2 == 0 ? "user" : "assistant";
    if (!role || strcmp(role, expected) != 0)
        return sp_fail(err, SP_E_FORMAT, "message %zu: role \"%.20s\", expected \"%s\"", i,
                       role ? role : "(none)", expected);
    if (!content || strlen(content) != content_len)
        return sp_fail(err, SP_E_FORMAT, "message %zu: expected \"content\", a text without NUL bytes", i);
    if (thought && !sp_json_is(thought, SP_JSON_NULL) && (!reasoning || strlen(reasoning) != reasoning_len))
        return sp_fail(err, SP_E_FORMAT, "message %zu: expected \"reasoning\" to be a text without NUL bytes",
                       i);
    return sp_chat_add(chat, chat->n_turns % 2 == 0 ? SP_ROLE_USER : SP_ROLE_ASSISTANT, content, reasoning,
                       err);
}

static sp_status load_settings(sp_chat *chat, const sp_json *settings, sp_error *err)
{
    void *iter = NULL;
    const char *name = NULL;
    const sp_json *value = NULL;
    while (sp_json_next(settings, &iter, &name, &value)) {
        sp_buf text = {NULL, 0, 0};
        sp_status status;
        if (sp_json_is(value, SP_JSON_STRING))
            status = sp_buf_puts(&text, sp_json_string(value, NULL), err);
        else if (sp_json_is(value, SP_JSON_INT) || sp_json_is(value, SP_JSON_REAL))
            status = sp_json_dump(&text, value, SP_JSON_COMPACT, err);
        else
            status = sp_fail(err, SP_E_FORMAT, "setting \"%.40s\": expected a number or a text", name);
        if (status == SP_OK && strcmp(name, "think") == 0) {
            sp_generate_options options = SP_GENERATE_OPTIONS_DEFAULTS;
            status = sp_cli_parse_think(text.data, &options, err);
        }
        if (status == SP_OK) status = sp_chat_set(chat, name, text.data ? text.data : "", err);
        sp_buf_clear(&text);
        SP_TRY(status);
    }
    return SP_OK;
}

static sp_status load_chat(sp_chat *chat, const sp_json *root, sp_error *err)
{
    const sp_json *system = sp_json_get(root, "system"), *messages = sp_json_get(root, "messages");
    if (sp_json_int(sp_json_get(root, "sputnik_chat"), 0) != STORE_VERSION)
        return sp_fail(err, SP_E_FORMAT, "not a saved conversation: expected \"sputnik_chat\": %d",
                       STORE_VERSION);
    if (!sp_json_is(messages, SP_JSON_ARRAY))
        return sp_fail(err, SP_E_FORMAT, "expected \"messages\", a list");
    if (system && !sp_json_is(system, SP_JSON_NULL)) {
        size_t len = 0;
        const char *text = sp_json_string(system, &len);
        if (!text || strlen(text) != len)
            return sp_fail(err, SP_E_FORMAT, "expected \"system\" to be a text without NUL bytes");
        chat->system = sp_strdup(text);
        if (!chat->system) return sp_fail_nomem(err, "system message", len);
    }
    for (size_t i = 0; i < sp_json_size(messages); i++)
        SP_TRY(load_message(chat, sp_json_at(messages, i), i, err));
    return load_settings(chat, sp_json_get(root, "settings"), err);
}

sp_status sp_chat_load(sp_chat *chat, const char *path, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    sp_json *root = NULL;
    sp_chat fresh = *chat; /* shares the model; its own turns and system message */
    fresh.turns = NULL;
    fresh.n_turns = 0;
    fresh.system = NULL;
    sp_status status;
    SP_GOTO(done, status, sp_file_read(&text, path, MAX_FILE_BYTES, err)); /* its errors name the path */
    status = sp_json_parse(text.data ? text.data : "", text.len, &root, err);
    if (status == SP_OK) status = load_chat(&fresh, root, err);
    if (status != SP_OK) sp_fail_prefix(err, status, "%s", path);
    /* Values kept by settings that were read before an error stay owned by the chat. */
    chat->kept = fresh.kept;
    chat->n_kept = fresh.n_kept;
    if (status == SP_OK) {
        sp_chat_clear_turns(chat);
        sp_free(chat->system);
        chat->turns = fresh.turns;
        chat->n_turns = fresh.n_turns;
        chat->system = fresh.system;
        chat->sampling = fresh.sampling;
        chat->seed = fresh.sampling.seed;
    } else {
        sp_chat_clear_turns(&fresh);
        sp_free(fresh.system);
    }
done:
    sp_json_destroy(root);
    sp_buf_clear(&text);
    return status;
}
