/* SPDX-License-Identifier: MIT */
/* Exchanges without HTTP: fields, the answer, waking. Start at sp_exchange_ask(). The invariant of the meeting: an exchange is suspended
 * exactly when is_waiting is set; who clears it, under the lock, resumes the connection, so nobody resumes twice or before the
 * suspension; a wake that comes while the answerer is being asked leaves is_woken, and it is asked again. */
#include "server/http_exchange.h"

#include "base/clock.h"

#include <string.h>
#include <strings.h>

/* --- fields --------------------------------------------------------------------------------------------- */

bool sp_fields_add(sp_fields *fields, const char *name, const char *value)
{
    if (fields->n == fields->cap) {
        size_t cap = fields->cap ? 2 * fields->cap : 16;
        sp_field *items = sp_realloc_array(fields->items, cap, sizeof *items);
        if (!items) return false;
        fields->items = items;
        fields->cap = cap;
    }
    sp_field field = {sp_strdup(name), sp_strdup(value)};
    if (!field.name || !field.value) {
        sp_free(field.name);
        sp_free(field.value);
        return false;
    }
    fields->items[fields->n++] = field;
    return true;
}

bool sp_fields_set(sp_fields *fields, const char *name, const char *value)
{
    for (size_t i = 0; i < fields->n; i++) {
        if (strcasecmp(fields->items[i].name, name) != 0) continue;
        char *copy = sp_strdup(value);
        if (!copy) return false;
        sp_free(fields->items[i].value);
        fields->items[i].value = copy;
        return true;
    }
    return sp_fields_add(fields, name, value);
}

const char *sp_fields_get(const sp_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->n; i++)
        if (strcasecmp(fields->items[i].name, name) == 0) return fields->items[i].value;
    return NULL;
}

size_t sp_fields_count(const sp_fields *fields, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < fields->n; i++) n += strcasecmp(fields->items[i].name, name) == 0;
    return n;
}

void sp_fields_clear(sp_fields *fields)
{
    for (size_t i = 0; i < fields->n; i++) {
        sp_free(fields->items[i].name);
        sp_free(fields->items[i].value);
    }
    sp_free(fields->items);
    memset(fields, 0, sizeof *fields);
}

/* --- life ----------------------------------------------------------------------------------------------- */

sp_exchange *sp_exchange_create(void)
{
    sp_exchange *x = sp_calloc(1, sizeof *x);
    if (!x) return NULL;
    if (pthread_mutex_init(&x->lock, NULL) != 0) {
        sp_free(x);
        return NULL;
    }
    x->status = 200;
    x->started = x->last_sent = sp_seconds();
    return x;
}

void sp_exchange_close(sp_exchange *x)
{
    if (!x->has_answerer || x->is_closed) return;
    x->is_closed = true;
    if (x->answerer.close) x->answerer.close(x->answerer.ctx);
}

void sp_exchange_destroy(sp_exchange *x)
{
    if (!x) return;
    sp_exchange_close(x);
    sp_free(x->method);
    sp_free(x->path);
    sp_fields_clear(&x->headers);
    sp_fields_clear(&x->query);
    sp_fields_clear(&x->answer_headers);
    sp_fields_clear(&x->notes);
    sp_buf_clear(&x->body);
    sp_buf_clear(&x->out);
    pthread_mutex_destroy(&x->lock);
    sp_free(x);
}

/* --- what handlers see ---------------------------------------------------------------------------------- */

const char *sp_exchange_method(const sp_exchange *x)
{
    return x->method ? x->method : "";
}

const char *sp_exchange_path(const sp_exchange *x)
{
    return x->path ? x->path : "";
}

const char *sp_exchange_query(const sp_exchange *x, const char *name)
{
    return sp_fields_get(&x->query, name);
}

const char *sp_exchange_header(const sp_exchange *x, const char *name)
{
    return sp_fields_get(&x->headers, name);
}

const char *sp_exchange_peer(const sp_exchange *x)
{
    return x->peer;
}

const void *sp_exchange_body(const sp_exchange *x, size_t *len)
{
    *len = x->body.len;
    return x->body.data ? x->body.data : "";
}

const char *sp_exchange_id(const sp_exchange *x)
{
    return x->id;
}

void sp_exchange_note(sp_exchange *x, const char *name, const char *value)
{
    sp_fields_set(&x->notes, name, value); /* a log line without a note is better than no answer */
}

void sp_exchange_set_status(sp_exchange *x, int status)
{
    x->status = status;
}

void sp_exchange_set_header(sp_exchange *x, const char *name, const char *value)
{
    if (!sp_fields_set(&x->answer_headers, name, value)) x->out_of_memory = true;
}

void sp_exchange_reply(sp_exchange *x, int status, const char *content_type, const void *body, size_t len)
{
    if (x->has_reply) return;
    x->has_reply = x->has_ended = true;
    x->status = status;
    if (content_type) sp_exchange_set_header(x, "Content-Type", content_type);
    if (sp_buf_append(&x->out, body, len, NULL) != SP_OK) x->out_of_memory = true;
}

void sp_exchange_answer(sp_exchange *x, const sp_answerer *answerer)
{
    x->answerer = *answerer;
    x->has_answerer = true;
}

/* --- the meeting ---------------------------------------------------------------------------------------- */

/* Under the lock. */
static void resume_waiting(sp_exchange *x)
{
    if (!x->is_waiting) return;
    x->is_waiting = false;
    if (x->resume) x->resume(x->connection);
}

void sp_exchange_wake(sp_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->is_woken = true;
    resume_waiting(x);
    pthread_mutex_unlock(&x->lock);
}

void sp_exchange_abandon(sp_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->is_gone = true;
    resume_waiting(x);
    pthread_mutex_unlock(&x->lock);
}

void sp_exchange_remind(sp_exchange *x, double now)
{
    pthread_mutex_lock(&x->lock);
    if (x->is_waiting && now - x->last_sent >= SP_EXCHANGE_IDLE_S) {
        x->is_idle = true;
        resume_waiting(x);
    }
    pthread_mutex_unlock(&x->lock);
}

/* Whether to ask; if not, *state is what the connection is to do. */
static bool should_ask(sp_exchange *x, bool is_first, bool *idle, sp_exchange_state *state)
{
    bool ask = false;
    pthread_mutex_lock(&x->lock);
    if (x->is_gone) {
        *state = SP_EXCHANGE_GONE;
    } else if (is_first || x->is_woken || x->is_idle) {
        ask = true;
        *idle = x->is_idle && !x->is_woken;
        x->is_woken = x->is_idle = false;
    } else {
        *state = SP_EXCHANGE_WAIT;
        x->is_waiting = true;
        if (x->suspend) x->suspend(x->connection);
    }
    pthread_mutex_unlock(&x->lock);
    return ask;
}

sp_exchange_state sp_exchange_ask(sp_exchange *x)
{
    sp_exchange_state state = SP_EXCHANGE_WAIT;
    bool idle = false;
    for (bool is_first = true;; is_first = false) {
        if (x->out_taken < x->out.len) return SP_EXCHANGE_DATA;
        if (x->has_ended || !x->has_answerer) return SP_EXCHANGE_END;
        x->out.len = x->out_taken = 0;
        if (!should_ask(x, is_first, &idle, &state)) break;
        if (x->answerer.write(x->answerer.ctx, x, idle, &x->out) == SP_ANSWER_END) {
            x->has_ended = true;
            sp_exchange_close(x);
        }
        if (x->out.len > 0) {
            pthread_mutex_lock(&x->lock);
            x->last_sent = sp_seconds();
            pthread_mutex_unlock(&x->lock);
            if (!idle && x->first_sent == 0) x->first_sent = x->last_sent;
        }
    }
    if (state == SP_EXCHANGE_GONE) sp_exchange_close(x);
    return state;
}
