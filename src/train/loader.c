/* SPDX-License-Identifier: MIT */
/* The loader. Start at sp_loader_locate(): everything else prepares or uses it. */
#include "train/loader.h"

#include "base/permute.h"

enum { PLACES = 65536 };

typedef struct span {
    uint64_t begin, end;
} span;

typedef struct source {
    sp_shard shard;
    bool is_open;
    uint64_t n_sequences;
    span *spans; /* (n_sequences) of SP_CUT_WHOLE */
    uint32_t n_places;
} source;

struct sp_loader {
    sp_loader_options options;
    source *sources;
    size_t n_sources;
    uint8_t *place_source; /* (PLACES) */
    uint32_t *place_rank;  /* (PLACES) how many places before have the same source */
};

/* Cut into whole documents. spans NULL: only count. */
static uint64_t cut_whole(const sp_shard *shard, uint64_t n_tokens, span *spans)
{
    uint64_t n = 0, begin = 0;
    for (uint64_t d = 0; d < shard->n_documents;) {
        uint64_t end = sp_shard_start(shard, d + 1);
        for (d++; d < shard->n_documents && sp_shard_start(shard, d + 1) - begin <= n_tokens + 1; d++)
            end = sp_shard_start(shard, d + 1);
        for (; end - begin > n_tokens + 1; begin += n_tokens, n++)
            if (spans) spans[n] = (span){begin, begin + n_tokens + 1};
        if (spans) spans[n] = (span){begin, end};
        n++;
        begin = end;
    }
    return n;
}

static sp_status open_source(source *s, const sp_source *given, const sp_loader_options *o, sp_error *err)
{
    SP_TRY(sp_shard_open(&s->shard, given->path, err));
    s->is_open = true;
    if (o->cut == SP_CUT_WHOLE) {
        s->n_sequences = cut_whole(&s->shard, o->n_tokens, NULL);
        s->spans = sp_malloc_array((size_t)s->n_sequences, sizeof *s->spans);
        if (!s->spans) return sp_fail_nomem(err, "list of sequences", s->n_sequences * sizeof *s->spans);
        cut_whole(&s->shard, o->n_tokens, s->spans);
    } else if (s->shard.n_tokens > 1) {
        s->n_sequences = (s->shard.n_tokens - 1) / o->n_tokens;
    }
    if (s->n_sequences == 0)
        return sp_fail(err, SP_E_ARGUMENT, "%s: %llu tokens give no sequence of %u",
                       sp_path_base(given->path), (unsigned long long)s->shard.n_tokens,
                       (unsigned)o->n_tokens);
    return SP_OK;
}

/* Share the places by the largest remainders; every source has at least one. */
static void share_places(sp_loader *l, const double *weights, double total)
{
    uint32_t left = PLACES;
    for (size_t i = 0; i < l->n_sources; i++) {
        uint32_t n = (uint32_t)(weights[i] / total * PLACES);
        l->sources[i].n_places = n ? n : 1;
        left -= l->sources[i].n_places;
    }
    /* left is in (-n_sources, n_sources): move one place at a time to or from where it matters least */
    for (; (int32_t)left != 0; left += (int32_t)left > 0 ? (uint32_t)-1 : 1u) {
        size_t best = 0;
        double best_gap = -1e300;
        double sign = (int32_t)left > 0 ? 1 : -1;
        for (size_t i = 0; i < l->n_sources; i++) {
            double gap = sign * (weights[i] / total * PLACES - l->sources[i].n_places);
            if (sign < 0 && l->sources[i].n_places == 1) continue;
            if (gap > best_gap) {
                best_gap = gap;
                best = i;
            }
        }
        l->sources[best].n_places += (int32_t)left > 0 ? 1u : (uint32_t)-1;
    }
}

/* Each place goes to the source that is furthest behind its share. */
static sp_status lay_pattern(sp_loader *l, sp_error *err)
{
    uint32_t dealt[SP_LOADER_SOURCES_MAX] = {0};
    l->place_source = sp_malloc_array(PLACES, sizeof *l->place_source);
    l->place_rank = sp_malloc_array(PLACES, sizeof *l->place_rank);
    if (!l->place_source || !l->place_rank) return sp_fail_nomem(err, "mixing pattern", PLACES);
    for (int64_t p = 0; p < PLACES; p++) {
        size_t best = 0;
        int64_t most = INT64_MIN;
        for (size_t i = 0; i < l->n_sources; i++) {
            int64_t behind = (p + 1) * l->sources[i].n_places - (int64_t)dealt[i] * PLACES;
            if (dealt[i] < l->sources[i].n_places && behind > most) {
                most = behind;
                best = i;
            }
        }
        l->place_source[p] = (uint8_t)best;
        l->place_rank[p] = dealt[best]++;
    }
    return SP_OK;
}

static sp_status mix_sources(sp_loader *l, const sp_source *given, sp_error *err)
{
    double weights[SP_LOADER_SOURCES_MAX], total = 0;
    for (size_t i = 0; i < l->n_sources; i++) {
        weights[i] = given[i].weight;
        if (!(weights[i] >= 0) || weights[i] > 1e12)
            return sp_fail(err, SP_E_ARGUMENT, "source %zu: weight %g, expected a number above 0", i,
                           weights[i]);
        if ((weights[i] == 0) != (given[0].weight == 0))
            return sp_fail(err, SP_E_ARGUMENT, "either all sources have a weight or none");
        if (weights[i] == 0) weights[i] = (double)l->sources[i].n_sequences;
        if (memcmp(l->sources[i].shard.vocab_hash, l->sources[0].shard.vocab_hash, 32) != 0)
            return sp_fail(err, SP_E_ARGUMENT, "%s and %s were packed with different vocabularies",
                           sp_path_base(given[0].path), sp_path_base(given[i].path));
        total += weights[i];
    }
    share_places(l, weights, total);
    return lay_pattern(l, err);
}

sp_status sp_loader_open(sp_loader **out, const sp_source *sources, size_t n_sources,
                         const sp_loader_options *options, sp_error *err)
{
    *out = NULL;
    if (n_sources == 0 || n_sources > SP_LOADER_SOURCES_MAX)
        return sp_fail(err, SP_E_ARGUMENT, "%zu sources, expected 1 to %d", n_sources, SP_LOADER_SOURCES_MAX);
    if (options->n_tokens == 0 || options->n_rows == 0)
        return sp_fail(err, SP_E_ARGUMENT, "a batch of %u sequences of %u tokens", (unsigned)options->n_rows,
                       (unsigned)options->n_tokens);
    sp_loader *l = sp_calloc(1, sizeof *l);
    if (!l) return sp_fail_nomem(err, "loader", sizeof *l);
    l->options = *options;
    l->n_sources = n_sources;
    l->sources = sp_calloc(n_sources, sizeof *l->sources);
    sp_status status = l->sources ? SP_OK : sp_fail_nomem(err, "sources", n_sources * sizeof *l->sources);
    for (size_t i = 0; i < n_sources && status == SP_OK; i++)
        status = open_source(&l->sources[i], &sources[i], options, err);
    if (status == SP_OK) status = mix_sources(l, sources, err);
    if (status == SP_OK)
        *out = l;
    else
        sp_loader_close(l);
    return status;
}

void sp_loader_close(sp_loader *l)
{
    if (!l) return;
    for (size_t i = 0; l->sources && i < l->n_sources; i++) {
        if (l->sources[i].is_open) sp_shard_close(&l->sources[i].shard);
        sp_free(l->sources[i].spans);
    }
    sp_free(l->sources);
    sp_free(l->place_source);
    sp_free(l->place_rank);
    sp_free(l);
}

uint64_t sp_loader_sequences(const sp_loader *l, size_t i)
{
    return l->sources[i].n_sequences;
}

const sp_shard *sp_loader_shard(const sp_loader *l, size_t i)
{
    return &l->sources[i].shard;
}

void sp_loader_locate(const sp_loader *l, uint64_t row, sp_row_place *place)
{
    sp_permute order;
    uint64_t at = row % PLACES, T = l->options.n_tokens;
    uint32_t k = l->place_source[at];
    const source *s = &l->sources[k];
    uint64_t draw = row / PLACES * s->n_places + l->place_rank[at];
    place->source = k;
    place->epoch = draw / s->n_sequences;
    sp_permute_init(&order, s->n_sequences, l->options.seed, sp_mix64(k, place->epoch, 0));
    place->sequence = sp_permute_at(&order, draw % s->n_sequences);
    span tokens =
        s->spans ? s->spans[place->sequence] : (span){place->sequence * T, place->sequence * T + T + 1};
    place->begin = tokens.begin;
    place->end = tokens.end;
    place->first_document = sp_shard_find(&s->shard, tokens.begin);
    place->last_document = sp_shard_find(&s->shard, tokens.end - 1);
}

static void fill_row(const sp_loader *l, uint64_t row, size_t out, sp_rows *b)
{
    sp_row_place place;
    sp_loader_locate(l, row, &place);
    const sp_shard *shard = &l->sources[place.source].shard;
    uint64_t document = place.first_document, next = sp_shard_start(shard, document + 1);
    for (uint64_t i = 0; i < l->options.n_tokens; i++, out++) {
        uint64_t at = place.begin + i;
        bool has_token = at < place.end, has_target = at + 1 < place.end;
        if (has_token && at >= next) next = sp_shard_start(shard, ++document + 1);
        b->tokens[out] = has_token ? sp_shard_token(shard, at) : l->options.pad;
        b->targets[out] = has_target ? sp_shard_token(shard, at + 1) : l->options.pad;
        b->mask[out] = has_target && at + 1 != next && sp_shard_is_learnt(shard, at + 1);
        if (b->segments) b->segments[out] = has_token ? (int32_t)(document - place.first_document) : -1;
    }
}

void sp_loader_get_rows(const sp_loader *l, uint64_t first, uint32_t n, sp_rows *batch)
{
    for (uint32_t i = 0; i < n; i++) fill_row(l, first + i, (size_t)i * l->options.n_tokens, batch);
}

sp_status sp_loader_get_batch(const sp_loader *l, uint64_t step, uint32_t rank, uint32_t n_ranks,
                              sp_rows *batch, sp_error *err)
{
    uint32_t rows = l->options.n_rows;
    if (n_ranks == 0 || rank >= n_ranks || rows % n_ranks)
        return sp_fail(err, SP_E_ARGUMENT, "rank %u of %u: a batch of %u sequences cannot be shared so",
                       (unsigned)rank, (unsigned)n_ranks, (unsigned)rows);
    sp_loader_get_rows(l, step * rows + (uint64_t)rank * (rows / n_ranks), rows / n_ranks, batch);
    return SP_OK;
}
