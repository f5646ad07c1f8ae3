/* SPDX-License-Identifier: MIT */
/* Turning an open model into one that streams its experts: the shared weights are read into memory of our own, which is
 * locked as far as the system allows, and a store takes the experts' place. Start at sp_model_stream_experts(). */
#include "infer/expert_stream.h"

#include "base/mem.h"

#include <string.h>
#include <sys/mman.h>

#define LOAD_DEPTH 16
#define LOAD_PIECE ((size_t)4 << 20)

/* Shared entries that lie near each other in a file are one read. */
#define MERGE_GAP ((uint64_t)65536)

/* A stretch of a file that is read to `at` in the memory of shared weights. */
typedef struct shared_span {
    int file;
    uint64_t offset;
    size_t n_bytes, n_needed, at;
} shared_span;

typedef struct shared_plan {
    shared_span *spans;
    size_t n_spans;
    size_t *at; /* (entries) where an entry's bytes will be */
    size_t n_bytes;
} shared_plan;

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Entries are in the order of the files. */
static sp_status plan_shared(shared_plan *plan, const sp_model *model, const sp_expert_layout *layout,
                             sp_error *err)
{
    const sp_archive *archive = sp_model_archive(model);
    size_t count = sp_archive_count(archive);
    plan->spans = sp_calloc(count + 1, sizeof *plan->spans);
    plan->at = sp_calloc(count + 1, sizeof *plan->at);
    if (!plan->spans || !plan->at)
        return sp_fail_nomem(err, "shared weights", (uint64_t)count * sizeof *plan->spans);
    for (size_t i = 0; i < count; i++) {
        const sp_entry *e = sp_archive_at(archive, i);
        if (layout->kind[i] != SP_ENTRY_SHARED) continue;
        shared_span *last = plan->n_spans > 0 ? &plan->spans[plan->n_spans - 1] : NULL;
        uint64_t begin = e->file_offset & ~(uint64_t)(SP_READ_ALIGN - 1), end = e->file_offset + e->n_bytes;
        bool joins = last && last->file == e->file && begin >= last->offset &&
                     begin <= last->offset + last->n_bytes + MERGE_GAP;
        if (!joins) {
            last = &plan->spans[plan->n_spans++];
            *last = (shared_span){.file = e->file, .offset = begin, .at = plan->n_bytes};
        }
        if (end - last->offset > last->n_needed) last->n_needed = (size_t)(end - last->offset);
        last->n_bytes = round_up(last->n_needed, SP_READ_ALIGN);
        plan->at[i] = last->at + (size_t)(e->file_offset - last->offset);
        plan->n_bytes = last->at + last->n_bytes;
    }
    return SP_OK;
}

static sp_status read_spans(const shared_plan *plan, char *memory, const sp_expert_layout *layout,
                            sp_reader_kind reader, sp_error *err)
{
    size_t n = 0, i = 0;
    for (size_t s = 0; s < plan->n_spans; s++) n += (plan->spans[s].n_bytes + LOAD_PIECE - 1) / LOAD_PIECE;
    sp_read_piece *pieces = sp_calloc(n + 1, sizeof *pieces);
    if (!pieces) return sp_fail_nomem(err, "shared weights", (uint64_t)n * sizeof *pieces);
    for (size_t s = 0; s < plan->n_spans; s++) {
        const shared_span *span = &plan->spans[s];
        for (size_t at = 0; at < span->n_bytes; at += LOAD_PIECE) {
            size_t left = span->n_bytes - at, needed = span->n_needed > at ? span->n_needed - at : 0;
            sp_read_piece *p = &pieces[i++];
            *p = (sp_read_piece){
                .file = span->file, .offset = span->offset + at, .data = memory + span->at + at};
            p->n_bytes = left < LOAD_PIECE ? left : LOAD_PIECE;
            p->n_needed = needed < p->n_bytes ? needed : p->n_bytes;
            p->fresh = true;
        }
    }
    sp_status status = sp_read_pieces(layout->files, layout->n_files, reader, LOAD_DEPTH, pieces, n, err);
    sp_free(pieces);
    return status;
}

/* The map of experts is never touched again; the rest of it row by row at most, for which a page of 4 KiB does. */
static void leave_map(const sp_model *model)
{
#if defined(MADV_RANDOM)
    const sp_archive *archive = sp_model_archive(model);
    for (size_t i = 0; i < sp_archive_count(archive); i++) {
        const sp_entry *e = sp_archive_at(archive, i);
        uintptr_t begin = (uintptr_t)e->tensor.data & ~(uintptr_t)(SP_READ_ALIGN - 1);
        uintptr_t end = (uintptr_t)e->tensor.data + e->n_bytes;
        if (!e->tensor.data || end <= begin) continue;
        madvise((void *)begin, end - begin, MADV_RANDOM);
#if defined(MADV_NOHUGEPAGE)
        madvise((void *)begin, end - begin, MADV_NOHUGEPAGE);
#endif
    }
#else
    (void)model;
#endif
}

static sp_status load_shared(sp_expert_stream *stream, sp_model *model, const sp_expert_layout *layout,
                             sp_reader_kind reader, sp_error *err)
{
    shared_plan plan = {0};
    sp_status status;
    SP_GOTO(done, status, plan_shared(&plan, model, layout, err));
    stream->shared_bytes = plan.n_bytes;
    stream->shared = sp_pages_map(plan.n_bytes);
    if (!stream->shared) {
        status = sp_fail_nomem(err, "shared weights", plan.n_bytes);
        goto done;
    }
    leave_map(model); /* while entries still say where they lie there */
    SP_GOTO(done, status, read_spans(&plan, stream->shared, layout, reader, err));
    stream->locked = mlock(stream->shared, plan.n_bytes) == 0;
    for (size_t i = 0; i < sp_archive_count(sp_model_archive(model)); i++)
        if (layout->kind[i] == SP_ENTRY_SHARED) sp_model_move_tensor(model, i, stream->shared + plan.at[i]);
done:
    sp_free(plan.spans);
    sp_free(plan.at);
    return status;
}

static void destroy_stream(void *owner)
{
    sp_expert_stream *stream = owner;
    sp_expert_store_destroy(stream->store);
    sp_pages_unmap(stream->shared, stream->shared_bytes);
    sp_free(stream);
}

/* A hot set that is missing, malformed or another model's is as good as none. */
static sp_status use_hot_set(sp_expert_stream *stream, const char *path, sp_error *err)
{
    if (!path) return SP_OK;
    size_t n = (size_t)stream->n_layers * (size_t)stream->n_experts;
    double *scores = sp_calloc(n, sizeof *scores);
    if (!scores) return sp_fail_nomem(err, "hot set", (uint64_t)n * sizeof *scores);
    sp_status status = SP_OK;
    if (sp_hot_read(scores, stream->n_layers, stream->n_experts, stream->fingerprint, path, NULL) == SP_OK)
        status = sp_expert_store_set_scores(stream->store, scores, err);
    sp_free(scores);
    return status;
}

sp_status sp_model_stream_experts(sp_model *model, const sp_expert_options *options, sp_error *err)
{
    static const sp_reader_kind kinds[] = {SP_READER_AUTO, SP_READER_URING, SP_READER_THREADS};
    sp_expert_layout layout;
    sp_expert_plan plan;
    if (sp_model_experts_owner(model))
        return sp_fail(err, SP_E_ARGUMENT, "experts: the model streams them already");
    if (sp_archive_is_copied(sp_model_archive(model)))
        return sp_fail(err, SP_E_ARGUMENT, "experts: the model's weights were copied when it was opened");
    SP_TRY(sp_model_plan_experts(model, options, &plan, err));
    SP_TRY(sp_expert_layout_init(&layout, model, err));
    sp_status status = SP_OK;
    sp_expert_stream *stream = sp_calloc(1, sizeof *stream);
    if (!stream) {
        status = sp_fail_nomem(err, "experts", sizeof *stream);
        goto done;
    }
    stream->n_layers = layout.n_layers;
    stream->n_experts = layout.n_experts;
    stream->n_slots = plan.n_slots;
    stream->fingerprint = sp_expert_fingerprint(model);
    layout.store.n_slots = plan.n_slots;
    layout.store.reader = kinds[options->reader];
    layout.store.record = options->record;
    SP_GOTO(done, status, sp_expert_store_create(&stream->store, &layout.store, err));
    SP_GOTO(done, status, load_shared(stream, model, &layout, kinds[options->reader], err));
    SP_GOTO(done, status, use_hot_set(stream, options->hot_path, err));
    sp_model_attach_experts(model, sp_expert_store_source(stream->store), stream, destroy_stream);
done:
    if (status != SP_OK && stream) destroy_stream(stream);
    sp_expert_layout_clear(&layout);
    return status;
}

int sp_model_expert_stats(const sp_model *model, sp_expert_stats *stats)
{
    const sp_expert_stream *stream = sp_model_experts_owner(model);
    if (!stream) return 0;
    sp_expert_store_stats s;
    sp_expert_store_stats_get(stream->store, &s);
    *stats = (sp_expert_stats){.n_hits = s.n_hits,
                               .n_foreseen = s.n_foreseen,
                               .n_misses = s.n_misses,
                               .n_guessed = s.n_guessed,
                               .n_guessed_right = s.n_guessed_right,
                               .n_read_bytes = s.n_read_bytes,
                               .n_reads = s.n_reads,
                               .wait_s = s.wait_s,
                               .n_slots = stream->n_slots,
                               .locked = stream->locked,
                               .reader = s.reader};
    return 1;
}
