/* SPDX-License-Identifier: MIT */
/* Slots: what is read next, where it goes, and what is thrown away for it. A slot is free, loading, ready or failed;
 * loading slots stand in line, those that a visit waits for before those that are guessed. Start at sp_slot_load(). */
#include "infer/expert_store_parts.h"

#include <string.h>

/* Reads under way at most while only guesses are read: what a wrong guess can delay. */
#define GUESS_DEPTH 4

/* Matrices nearer to each other than this are read together. */
#define MERGE_GAP ((uint64_t)65536)

static size_t part_bytes(const sp_expert_part *part)
{
    return (size_t)sp_tensor_rows(part->tensor) * part->tensor->row_bytes;
}

/* Order of the parts in the files. */
static void sort_parts(int order[SP_EXPERT_PARTS], const sp_expert_part part[SP_EXPERT_PARTS])
{
    for (int i = 0; i < SP_EXPERT_PARTS; i++) {
        int j = i;
        for (; j > 0; j--) {
            const sp_expert_part *a = &part[order[j - 1]], *b = &part[i];
            if (a->file < b->file || (a->file == b->file && a->offset <= b->offset)) break;
            order[j] = order[j - 1];
        }
        order[j] = i;
    }
}

void sp_expert_place_make(sp_expert_place *place, const sp_expert_part part[SP_EXPERT_PARTS])
{
    int order[SP_EXPERT_PARTS];
    memset(place, 0, sizeof *place);
    if (!part[0].tensor) return;
    sort_parts(order, part);
    size_t at = 0;
    for (int i = 0; i < SP_EXPERT_PARTS; i++) {
        const sp_expert_part *p = &part[order[i]];
        uint64_t begin = p->offset & ~(uint64_t)(SP_READ_ALIGN - 1), end = p->offset + part_bytes(p);
        sp_expert_span *last = place->n_spans > 0 ? &place->span[place->n_spans - 1] : NULL;
        if (!last || last->file != p->file || begin > last->offset + last->n_bytes + MERGE_GAP) {
            last = &place->span[place->n_spans++];
            *last = (sp_expert_span){.file = p->file, .offset = begin, .at = at};
        }
        if (end > last->offset + last->n_needed) last->n_needed = (size_t)(end - last->offset);
        last->n_bytes = (last->n_needed + SP_READ_ALIGN - 1) & ~(SP_READ_ALIGN - 1);
        at = last->at + last->n_bytes;
        place->tensor[order[i]] = p->tensor;
        place->at[order[i]] = last->at + (size_t)(p->offset - last->offset);
    }
    for (int i = 0; i < place->n_spans; i++)
        place->n_pieces += (int)((place->span[i].n_bytes + SP_READ_PIECE - 1) / SP_READ_PIECE);
}

size_t sp_expert_place_bytes(const sp_expert_place *place)
{
    const sp_expert_span *last = &place->span[place->n_spans > 0 ? place->n_spans - 1 : 0];
    return place->n_spans > 0 ? last->at + last->n_bytes : 0;
}

/* Piece i of an expert. */
static void describe_piece(const sp_expert_store *store, int64_t slot, int i, sp_read_piece *piece)
{
    const sp_expert_span *span = store->places[store->slots[slot].key].span;
    for (;; span++) {
        int n = (int)((span->n_bytes + SP_READ_PIECE - 1) / SP_READ_PIECE);
        if (i < n) break;
        i -= n;
    }
    size_t begin = (size_t)i * SP_READ_PIECE, left = span->n_bytes - begin;
    size_t needed = span->n_needed > begin ? span->n_needed - begin : 0;
    *piece = (sp_read_piece){.file = span->file,
                             .offset = span->offset + begin,
                             .data = store->memory + (size_t)slot * store->slot_bytes + span->at + begin,
                             .n_bytes = left < SP_READ_PIECE ? left : SP_READ_PIECE,
                             .fresh = !store->slots[slot].touched,
                             .tag = slot};
    piece->n_needed = needed < piece->n_bytes ? needed : piece->n_bytes;
}

/* --- what is thrown away -------------------------------------------------------------------------------- */

static void leave_line(sp_expert_store *store, int64_t slot)
{
    int64_t n = 0;
    for (int64_t i = 0; i < store->n_loading; i++)
        if (store->loading[i] != slot) store->loading[n++] = store->loading[i];
    store->n_loading = n;
}

static void free_slot(sp_expert_store *store, int64_t slot)
{
    sp_slot *s = &store->slots[slot];
    if (s->state == SP_SLOT_LOADING) leave_line(store, slot);
    if (s->key >= 0) store->keys[s->key].slot = -1;
    *s = (sp_slot){.state = SP_SLOT_FREE, .key = -1, .touched = s->touched};
}

/* How much is lost with a slot: free ones first, then what nobody has begun to use, then by rank. NAN: not to be had. */
static bool beats(const sp_expert_store *store, const sp_slot *a, const sp_slot *b)
{
    if ((a->state == SP_SLOT_FREE) != (b->state == SP_SLOT_FREE)) return a->state == SP_SLOT_FREE;
    if (a->state == SP_SLOT_FREE) return false;
    if (a->protected != b->protected) return !a->protected;
    const double *rank = sp_expert_policy_ranks(&store->policy);
    return rank[a->key] < rank[b->key];
}

static int64_t find_victim(const sp_expert_store *store, bool guess)
{
    int64_t best = -1;
    for (int64_t i = 0; i < store->n_slots; i++) {
        const sp_slot *s = &store->slots[i];
        if (s->n_flying > 0) continue;
        if (s->key >= 0 && store->keys[s->key].wanted > 0) continue;
        if (guess && s->protected) continue;
        if (best < 0 || beats(store, s, &store->slots[best])) best = i;
        if (s->state == SP_SLOT_FREE) break;
    }
    return best;
}

bool sp_slot_load(sp_expert_store *store, int32_t key, bool guess)
{
    int64_t slot = find_victim(store, guess);
    if (slot < 0) return false;
    free_slot(store, slot);
    sp_slot *s = &store->slots[slot];
    *s = (sp_slot){
        .state = SP_SLOT_LOADING, .key = key, .protected = guess, .guessed = guess, .touched = s->touched};
    store->keys[key].slot = (int32_t)slot;
    store->loading[store->n_loading++] = (int32_t)slot;
    return true;
}

void sp_slot_drop_guesses(sp_expert_store *store)
{
    for (int64_t i = store->n_loading; i-- > 0;) {
        int32_t slot = store->loading[i];
        sp_slot *s = &store->slots[slot];
        if (!s->guessed || store->keys[s->key].wanted > 0) continue;
        if (s->n_flying == 0)
            free_slot(store, slot);
        else
            s->abandoned = true;
    }
    for (int64_t i = 0; i < store->n_slots; i++) store->slots[i].protected = false;
}

void sp_slot_let_go(sp_expert_store *store, int32_t key)
{
    int32_t slot = store->keys[key].slot;
    if (slot >= 0 && store->slots[slot].state == SP_SLOT_FAILED) free_slot(store, slot);
}

/* --- what is read --------------------------------------------------------------------------------------- */

/* The first in line that somebody waits for, or that nobody does. */
static int64_t first_in_line(const sp_expert_store *store, bool wanted)
{
    for (int64_t i = 0; i < store->n_loading; i++) {
        const sp_slot *s = &store->slots[store->loading[i]];
        if (s->failed || s->abandoned || s->next_piece == store->places[s->key].n_pieces) continue;
        if ((store->keys[s->key].wanted > 0) == wanted) return store->loading[i];
    }
    return -1;
}

/* The next of the hot set that has a free slot. */
static int64_t next_hot(sp_expert_store *store)
{
    while (store->next_hot < store->n_hot) {
        int32_t key = store->hot[store->next_hot];
        if (store->keys[key].slot < 0) {
            int64_t slot = find_victim(store, true);
            if (slot < 0 || store->slots[slot].state != SP_SLOT_FREE) break;
            sp_slot_load(store, key, false);
            store->next_hot++;
            return store->keys[key].slot;
        }
        store->next_hot++;
    }
    return -1;
}

bool sp_slot_take(void *ctx, int n_busy, sp_read_piece *piece)
{
    sp_expert_store *store = ctx;
    pthread_mutex_lock(&store->mutex);
    int64_t slot = first_in_line(store, true);
    if (slot < 0 && n_busy < GUESS_DEPTH) slot = first_in_line(store, false);
    if (slot < 0 && n_busy < GUESS_DEPTH) slot = next_hot(store);
    if (slot >= 0) {
        sp_slot *s = &store->slots[slot];
        describe_piece(store, slot, s->next_piece++, piece);
        s->n_flying++;
    }
    pthread_mutex_unlock(&store->mutex);
    return slot >= 0;
}

void sp_slot_done(void *ctx, const sp_read_piece *piece)
{
    sp_expert_store *store = ctx;
    pthread_mutex_lock(&store->mutex);
    sp_slot *s = &store->slots[piece->tag];
    s->n_flying--;
    store->stats.n_read_bytes += piece->n_read;
    if (piece->error != 0 && !s->failed) {
        s->failed = true;
        s->failure = *piece;
    }
    if (s->n_flying == 0 && s->abandoned) {
        free_slot(store, piece->tag);
        pthread_cond_broadcast(&store->changed);
    } else if (s->n_flying == 0 && s->failed) {
        leave_line(store, piece->tag);
        s->state = SP_SLOT_FAILED;
        /* who wants it will be told by the next reading */
        if (store->keys[s->key].wanted == 0 || s->joined) free_slot(store, piece->tag);
        pthread_cond_broadcast(&store->changed);
    } else if (s->n_flying == 0 && s->next_piece == store->places[s->key].n_pieces) {
        leave_line(store, piece->tag);
        s->state = SP_SLOT_READY;
        s->touched = true;
        store->stats.n_reads++;
        pthread_cond_broadcast(&store->changed);
    }
    pthread_mutex_unlock(&store->mutex);
}
