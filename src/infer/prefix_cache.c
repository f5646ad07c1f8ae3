/* SPDX-License-Identifier: MIT */
/* Evaluated prefixes: the table of units and what of them stays in memory. Start at sp_prefix_cache_load(). */
#include "infer/prefix_cache_parts.h"

#include "infer/session_parts.h"

#include <string.h>

#define PREFIX_VERSION 1 /* of what the rows mean; part of every name */
#define UNIT ((size_t)SP_PREFIX_UNIT)

/* --- table ---------------------------------------------------------------------------------------------- */

static sp_unit **find_bucket(const sp_prefix_cache *c, const uint8_t name[32])
{
    uint64_t bits;
    memcpy(&bits, name, sizeof bits);
    return &c->buckets[bits & (c->n_buckets - 1)];
}

sp_unit *sp_prefix_find(const sp_prefix_cache *c, const uint8_t name[32])
{
    sp_unit *unit = *find_bucket(c, name);
    while (unit && memcmp(unit->name, name, sizeof unit->name) != 0) unit = unit->same_bucket;
    return unit;
}

/* Twice the buckets; without memory for them the chains grow longer. */
static void grow_table(sp_prefix_cache *c)
{
    sp_unit **old = c->buckets, **fresh = sp_calloc(2 * c->n_buckets, sizeof(sp_unit *));
    size_t n_old = c->n_buckets;
    if (!fresh) return;
    c->buckets = fresh;
    c->n_buckets = 2 * n_old;
    for (size_t i = 0; i < n_old; i++) {
        for (sp_unit *unit = old[i], *next; unit; unit = next) {
            sp_unit **bucket = find_bucket(c, unit->name);
            next = unit->same_bucket;
            unit->same_bucket = *bucket;
            *bucket = unit;
        }
    }
    sp_free(old);
}

sp_unit *sp_prefix_add(sp_prefix_cache *c, const uint8_t name[32])
{
    if (c->n_known >= c->n_buckets) grow_table(c);
    sp_unit *unit = sp_calloc(1, sizeof *unit);
    if (!unit) return NULL;
    sp_unit **bucket = find_bucket(c, name);
    memcpy(unit->name, name, sizeof unit->name);
    unit->same_bucket = *bucket;
    *bucket = unit;
    c->n_known++;
    return unit;
}

void sp_prefix_drop_if_empty(sp_prefix_cache *c, sp_unit *unit)
{
    if (unit->rows || unit->n_file_bytes > 0 || unit->is_queued) return;
    sp_unit **at = find_bucket(c, unit->name);
    while (*at != unit) at = &(*at)->same_bucket;
    *at = unit->same_bucket;
    c->n_known--;
    sp_free(unit);
}

void sp_prefix_unlink(sp_prefix_cache *c, sp_unit_list_id id, sp_unit *unit)
{
    sp_unit_list *list = &c->lists[id];
    sp_unit *newer = unit->links[id].newer, *older = unit->links[id].older;
    *(newer ? &newer->links[id].older : &list->newest) = older;
    *(older ? &older->links[id].newer : &list->oldest) = newer;
}

void sp_prefix_link(sp_prefix_cache *c, sp_unit_list_id id, sp_unit *unit, sp_unit *after)
{
    sp_unit_list *list = &c->lists[id];
    sp_unit *older = after ? after->links[id].older : list->newest;
    unit->links[id].newer = after;
    unit->links[id].older = older;
    *(after ? &after->links[id].older : &list->newest) = unit;
    *(older ? &older->links[id].newer : &list->oldest) = unit;
}

/* --- walking along a text ------------------------------------------------------------------------------- */

/* Unit after unit of a text: the name of the one reached, and the last before it that is kept. */
typedef struct walk {
    sp_sha256 sha;
    uint8_t name[32];
    sp_unit *before;
} walk;

static walk begin_walk(const sp_prefix_cache *c)
{
    return (walk){.sha = c->root, .before = NULL};
}

static sp_unit *step(const sp_prefix_cache *c, walk *w, const int32_t *ids)
{
    sp_sha256_add(&w->sha, ids, UNIT * sizeof *ids);
    sp_sha256 end = w->sha;
    sp_sha256_end(&end, w->name);
    return sp_prefix_find(c, w->name);
}

/* The unit reached has rows: it is kept from now on, as new as the text is, behind the one before it. */
static void keep(sp_prefix_cache *c, walk *w, sp_unit *unit)
{
    if (unit->is_kept) {
        sp_prefix_unlink(c, SP_LIST_KEPT, unit);
    } else {
        c->stats.n_units++;
        c->stats.n_bytes += c->n_row_bytes;
    }
    unit->is_kept = true;
    sp_prefix_link(c, SP_LIST_KEPT, unit, w->before);
    w->before = unit;
}

/* The oldest kept unit leaves memory. */
static void evict(sp_prefix_cache *c, sp_unit *unit)
{
    sp_prefix_unlink(c, SP_LIST_KEPT, unit);
    unit->is_kept = false;
    c->stats.n_units--;
    c->stats.n_bytes -= c->n_row_bytes;
    c->stats.n_evicted++;
    if (unit->n_file_bytes > 0) sp_prefix_disk_touch(c, unit);
    if (unit->is_queued || (unit->n_file_bytes == 0 && sp_prefix_disk_queue(c, unit))) return;
    sp_free(unit->rows);
    unit->rows = NULL;
    sp_prefix_drop_if_empty(c, unit);
}

/* Room for one more unit without evicting any of the walk's own. */
static bool make_room(sp_prefix_cache *c, const walk *w)
{
    while (c->stats.n_bytes + c->n_row_bytes > c->memory_bytes) {
        sp_unit *oldest = c->lists[SP_LIST_KEPT].oldest;
        if (!oldest || oldest == w->before) return false;
        evict(c, oldest);
    }
    return true;
}

/* --- questions ------------------------------------------------------------------------------------------ */

static size_t match(sp_prefix_cache *c, const int32_t *tokens, size_t n)
{
    walk w = begin_walk(c);
    size_t known = 0;
    while (known + UNIT <= n && step(c, &w, tokens + known)) known += UNIT;
    return known;
}

size_t sp_prefix_cache_match(sp_prefix_cache *c, const int32_t *tokens, size_t n)
{
    pthread_mutex_lock(&c->mutex);
    size_t known = match(c, tokens, n);
    pthread_mutex_unlock(&c->mutex);
    return known;
}

void sp_prefix_cache_get_stats(const sp_prefix_cache *cache, sp_prefix_cache_stats *stats)
{
    sp_prefix_cache *c = (sp_prefix_cache *)(uintptr_t)cache; /* for the lock alone */
    pthread_mutex_lock(&c->mutex);
    *stats = c->stats;
    pthread_mutex_unlock(&c->mutex);
}

/* --- copying -------------------------------------------------------------------------------------------- */

static int copy_out(void *ctx, void *data, size_t n_bytes)
{
    uint8_t **rows = ctx;
    memcpy(data, *rows, n_bytes);
    *rows += n_bytes;
    return 0;
}

static int copy_in(void *ctx, void *data, size_t n_bytes)
{
    uint8_t **rows = ctx;
    memcpy(*rows, data, n_bytes);
    *rows += n_bytes;
    return 0;
}

static int count_bytes(void *ctx, void *data, size_t n_bytes)
{
    (void)data;
    *(size_t *)ctx += n_bytes;
    return 0;
}

/* Fill the session's rows of one unit, and make them part of its timeline. */
static void give_unit(sp_session *session, const int32_t *tokens, size_t at, uint8_t *rows)
{
    sp_session_visit_rows(session, at, UNIT, copy_out, &rows);
    sp_session_adopt(session, tokens + session->n, at + UNIT - session->n);
}

/* The rows of a unit that is on disk: kept if there is room, else the caller's to free. NULL: they cannot be had. */
static uint8_t *fetch(sp_prefix_cache *c, walk *w, const int32_t *ids, bool *is_kept)
{
    uint8_t *rows = sp_malloc(c->n_row_bytes);
    if (!rows || !sp_prefix_disk_read(c, w->name, ids, rows)) {
        sp_free(rows);
        return NULL;
    }
    pthread_mutex_lock(&c->mutex);
    sp_unit *unit = sp_prefix_find(c, w->name); /* its file may have been given up meanwhile */
    if (unit) sp_prefix_disk_touch(c, unit);
    *is_kept = unit && !unit->rows && make_room(c, w);
    if (*is_kept) {
        unit->rows = rows;
        memcpy(unit->ids, ids, sizeof unit->ids);
        keep(c, w, unit);
    }
    pthread_mutex_unlock(&c->mutex);
    return rows;
}

/* One unit of load(): false if it cannot be had after all. */
static bool load_unit(sp_prefix_cache *c, walk *w, sp_session *session, const int32_t *tokens, size_t at)
{
    pthread_mutex_lock(&c->mutex);
    sp_unit *unit = step(c, w, tokens + at);
    bool is_here = unit && unit->rows, is_kept = true;
    if (is_here) keep(c, w, unit);
    pthread_mutex_unlock(&c->mutex);
    if (session->n >= at + UNIT) return true; /* it was walked past for its age alone */
    uint8_t *rows = is_here ? unit->rows : unit ? fetch(c, w, tokens + at, &is_kept) : NULL;
    if (!rows) return false;
    size_t n_before = session->n;
    give_unit(session, tokens, at, rows);
    pthread_mutex_lock(&c->mutex);
    *(is_here ? &c->stats.n_hit_tokens : &c->stats.n_disk_hit_tokens) += session->n - n_before;
    pthread_mutex_unlock(&c->mutex);
    if (!is_kept) sp_free(rows);
    return true;
}

sp_status sp_prefix_cache_load(sp_prefix_cache *c, sp_session *session, const int32_t *tokens, size_t n,
                               size_t *n_loaded, sp_error *err)
{
    *n_loaded = 0;
    if (n == 0) return SP_OK;
    if (session->model != c->model || session->options.cache_type != c->type)
        return sp_fail(err, SP_E_ARGUMENT, "prefix cache: the session is of another kind");
    size_t most = n - 1 < (size_t)session->n_ctx ? n - 1 : (size_t)session->n_ctx;
    size_t shared = sp_session_shares(session, tokens, most);
    size_t known = sp_prefix_cache_match(c, tokens, most);
    if (known > shared) {
        walk w = begin_walk(c);
        sp_session_truncate(session, shared);
        for (size_t at = 0; at < known && load_unit(c, &w, session, tokens, at);) at += UNIT;
        *n_loaded = session->n - shared;
        shared = session->n;
    }
    pthread_mutex_lock(&c->mutex);
    while (c->stats.n_bytes > c->memory_bytes)
        evict(c, c->lists[SP_LIST_KEPT].oldest); /* some came back unwritten */
    c->stats.n_miss_tokens += most > shared ? (most - shared) / UNIT * UNIT : 0;
    pthread_mutex_unlock(&c->mutex);
    return SP_OK;
}

/* A new unit from the session's rows: kept if there is room, else on its way to the disk. False: neither. */
static bool store_unit(sp_prefix_cache *c, walk *w, sp_unit *unit, const sp_session *session, size_t at)
{
    bool has_room = make_room(c, w);
    if (!has_room && unit) return true; /* it is on disk already */
    if (!has_room && (!c->dir || c->n_queued == SP_PREFIX_QUEUE_MAX)) return false;
    uint8_t *rows = sp_malloc(c->n_row_bytes), *to = rows;
    if (rows && !unit) unit = sp_prefix_add(c, w->name);
    if (!rows || !unit) {
        sp_free(rows);
        return false;
    }
    sp_session_visit_rows(session, at, UNIT, copy_in, &to);
    memcpy(unit->ids, session->tokens + at, sizeof unit->ids);
    unit->rows = rows;
    if (has_room)
        keep(c, w, unit);
    else
        sp_prefix_disk_queue(c, unit);
    return true;
}

void sp_prefix_cache_store(sp_prefix_cache *c, const sp_session *session)
{
    if (session->model != c->model || session->options.cache_type != c->type) return;
    walk w = begin_walk(c);
    bool goes_on = true;
    pthread_mutex_lock(&c->mutex);
    for (size_t at = 0; goes_on && at + UNIT <= session->n; at += UNIT) {
        sp_unit *unit = step(c, &w, session->tokens + at);
        if (unit && unit->is_kept)
            keep(c, &w, unit);
        else if (!unit || !unit->rows)
            goes_on = store_unit(c, &w, unit, session, at);
    }
    pthread_mutex_unlock(&c->mutex);
}

/* --- creation and end ----------------------------------------------------------------------------------- */

/* What the rows of every unit depend on beside the ids. */
static void begin_names(sp_prefix_cache *c)
{
    uint64_t facts[] = {PREFIX_VERSION, c->fingerprint, c->type, UNIT, c->n_row_bytes};
    const char *isa =
        sp_kernels_get()->isa; /* sums of another instruction set may differ in their last bit */
    sp_sha256_init(&c->root);
    sp_sha256_add(&c->root, facts, sizeof facts);
    sp_sha256_add(&c->root, isa, strlen(isa) + 1);
}

/* The bytes of a unit, measured on a session that is made for it. */
static sp_status measure_unit(sp_prefix_cache *c, sp_error *err)
{
    sp_session_options options = SP_SESSION_OPTIONS_DEFAULTS;
    sp_session *session;
    options.n_ctx = SP_PREFIX_UNIT;
    options.n_threads = 1;
    options.cache_type = c->type;
    SP_TRY(sp_session_create(&session, c->model, &options, err));
    sp_session_visit_rows(session, 0, UNIT, count_bytes, &c->n_row_bytes);
    sp_session_destroy(session);
    return SP_OK;
}

sp_status sp_prefix_cache_create(sp_prefix_cache **cache, const sp_model *model, sp_cache_type type,
                                 const sp_prefix_cache_options *options, sp_error *err)
{
    *cache = NULL;
    sp_prefix_cache *c = sp_calloc(1, sizeof *c);
    if (!c) return sp_fail_nomem(err, "prefix cache", sizeof *c);
    sp_status status;
    c->model = model;
    c->type = type;
    c->memory_bytes = options->memory_bytes;
    c->disk_bytes = options->disk_bytes;
    c->fingerprint = sp_model_fingerprint(model);
    c->n_buckets = 64;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->done, NULL);
    SP_GOTO(done, status, measure_unit(c, err));
    begin_names(c);
    c->buckets = sp_calloc(c->n_buckets, sizeof(sp_unit *));
    if (!c->buckets) {
        status = sp_fail_nomem(err, "prefix cache", c->n_buckets * sizeof(sp_unit *));
        goto done;
    }
    if (options->dir) SP_GOTO(done, status, sp_prefix_disk_open(c, options->dir, err));
    *cache = c;
done:
    if (status != SP_OK) sp_prefix_cache_destroy(c);
    return status;
}

void sp_prefix_cache_destroy(sp_prefix_cache *c)
{
    if (!c) return;
    if (c->dir) sp_prefix_disk_close(c);
    for (size_t i = 0; c->buckets && i < c->n_buckets; i++) {
        for (sp_unit *unit = c->buckets[i], *next; unit; unit = next) {
            next = unit->same_bucket;
            sp_free(unit->rows);
            sp_free(unit);
        }
    }
    sp_free(c->buckets);
    sp_free(c->dir);
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->done);
    pthread_mutex_destroy(&c->mutex);
    sp_free(c);
}
