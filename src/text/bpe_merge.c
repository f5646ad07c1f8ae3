/* SPDX-License-Identifier: MIT */
/* Merging one piece: the adjacent pair of the lowest rank first, the leftmost on equal rank, until no pair
 * has a rank. Short pieces scan for the minimum (at most SHORT_MAX^2 steps, no allocation); long ones keep a
 * heap of candidate pairs whose outdated entries are recognised when they are taken out: O(n log n). A piece
 * that is a token marked `whole` needs no merging. Start at sp_bpe_encode(). */
#include "text/bpe.h"

#include <stdlib.h>

#include "text/bpe_parts.h"

enum { SHORT_MAX = 48 }; /* bytes; beyond it the heap is faster */

/* Merge n <= SHORT_MAX ids in place; returns how many remain. */
static size_t merge_short(const sp_bpe *bpe, int32_t *ids, size_t n)
{
    uint32_t ranks[SHORT_MAX]; /* ranks[i]: of the pair (ids[i], ids[i + 1]) */
    for (size_t i = 0; i + 1 < n; i++) ranks[i] = sp_bpe_rank(bpe, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == SP_BPE_NO_RANK) break;
        ids[best] = bpe->merges[ranks[best]].merged;
        n--;
        for (size_t i = best + 1; i < n; i++) ids[i] = ids[i + 1];
        for (size_t i = best + 1; i + 1 < n; i++) ranks[i] = ranks[i + 1];
        if (best + 1 < n) ranks[best] = sp_bpe_rank(bpe, ids[best], ids[best + 1]);
        if (best > 0) ranks[best - 1] = sp_bpe_rank(bpe, ids[best - 1], ids[best]);
    }
    return n;
}

/* False if some byte has no token; *missing is that byte. */
static bool bytes_to_ids(const sp_bpe *bpe, int32_t *ids, const char *piece, size_t len, int *missing)
{
    for (size_t i = 0; i < len; i++) {
        ids[i] = bpe->byte_ids[(unsigned char)piece[i]];
        if (ids[i] >= 0) continue;
        *missing = (unsigned char)piece[i];
        return false;
    }
    return true;
}

void sp_bpe_mark_whole(sp_bpe *bpe)
{
    for (int32_t id = 0; id < bpe->n_tokens; id++) {
        sp_bpe_token *token = &bpe->tokens[id];
        const char *bytes = bpe->bytes.data + token->offset;
        int32_t ids[SHORT_MAX];
        int missing;
        if (token->len == 0 || sp_bpe_is_added(bpe, id) || sp_bpe_lookup(bpe, bytes, token->len) != id)
            continue;
        if (bpe->ignore_merges)
            token->whole = 1;
        else if (token->len <= SHORT_MAX && bytes_to_ids(bpe, ids, bytes, token->len, &missing))
            token->whole = merge_short(bpe, ids, token->len) == 1 && ids[0] == id;
    }
}

/* --- long pieces --- */

typedef struct node {
    int32_t id; /* -1: merged into its left neighbour */
    int32_t prev, next;
} node;

typedef struct candidate {
    uint32_t rank;
    int32_t pos; /* node of the left part */
    int32_t left, right;
} candidate;

typedef struct merger {
    const sp_bpe *bpe;
    node *nodes; /* (n) */
    candidate *heap;
    size_t n_heap, heap_cap;
} merger;

static bool comes_before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

/* Push the pair that starts at node `pos`, if it merges. */
static sp_status push_pair(merger *m, int32_t pos, sp_error *err)
{
    int32_t next = pos < 0 ? -1 : m->nodes[pos].next;
    if (next < 0) return SP_OK;
    candidate c = {0, pos, m->nodes[pos].id, m->nodes[next].id};
    c.rank = sp_bpe_rank(m->bpe, c.left, c.right);
    if (c.rank == SP_BPE_NO_RANK) return SP_OK;
    if (m->n_heap == m->heap_cap) {
        size_t cap = m->heap_cap ? 2 * m->heap_cap : 256;
        candidate *grown = sp_realloc_array(m->heap, cap, sizeof *grown);
        if (!grown) return sp_fail_nomem(err, "merge candidates", cap * sizeof *grown);
        m->heap = grown;
        m->heap_cap = cap;
    }
    size_t i = m->n_heap++;
    for (; i > 0 && comes_before(&c, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = c;
    return SP_OK;
}

static candidate pop_pair(merger *m)
{
    candidate top = m->heap[0];
    candidate last = m->heap[--m->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < m->n_heap; i = child) {
        if (child + 1 < m->n_heap && comes_before(&m->heap[child + 1], &m->heap[child])) child++;
        if (!comes_before(&m->heap[child], &last)) break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = last;
    return top;
}

static sp_status merge_all(merger *m, size_t n, sp_error *err)
{
    for (size_t i = 0; i + 1 < n; i++) SP_TRY(push_pair(m, (int32_t)i, err));
    while (m->n_heap > 0) {
        candidate c = pop_pair(m);
        node *left = &m->nodes[c.pos];
        int32_t next = left->next;
        /* Outdated: one of the two parts has been merged into something else meanwhile. */
        if (left->id != c.left || next < 0 || m->nodes[next].id != c.right) continue;
        left->id = m->bpe->merges[c.rank].merged;
        left->next = m->nodes[next].next;
        m->nodes[next].id = -1;
        if (left->next >= 0) m->nodes[left->next].prev = c.pos;
        SP_TRY(push_pair(m, c.pos, err));
        SP_TRY(push_pair(m, left->prev, err));
    }
    return SP_OK;
}

static sp_status fail_byte(int byte, sp_error *err)
{
    return sp_fail(err, SP_E_RANGE, "tokenizer: the vocabulary has no token for byte 0x%02X", (unsigned)byte);
}

static sp_status encode_long(const sp_bpe *bpe, sp_tokens *tokens, const char *piece, size_t len,
                             sp_error *err)
{
    if (len > INT32_MAX) return sp_fail(err, SP_E_LIMIT, "tokenizer: a piece of text exceeds 2 GiB");
    merger m = {.bpe = bpe};
    sp_status status = SP_OK;
    m.nodes = sp_malloc_array(len, sizeof *m.nodes);
    if (!m.nodes) return sp_fail_nomem(err, "merging", (uint64_t)len * sizeof *m.nodes);
    for (size_t i = 0; i < len; i++) {
        int32_t id = bpe->byte_ids[(unsigned char)piece[i]];
        if (id < 0) {
            status = fail_byte((unsigned char)piece[i], err);
            goto done;
        }
        m.nodes[i] = (node){id, (int32_t)i - 1, i + 1 < len ? (int32_t)i + 1 : -1};
    }
    SP_GOTO(done, status, merge_all(&m, len, err));
    for (int32_t i = 0; i >= 0; i = m.nodes[i].next)
        SP_GOTO(done, status, sp_tokens_push(tokens, m.nodes[i].id, err));
done:
    sp_free(m.nodes);
    sp_free(m.heap);
    return status;
}

sp_status sp_bpe_encode(const sp_bpe *bpe, sp_tokens *tokens, const char *piece, size_t len, sp_error *err)
{
    int32_t id = sp_bpe_lookup(bpe, piece, len);
    if (id >= 0 && bpe->tokens[id].whole) return sp_tokens_push(tokens, id, err);
    if (len > SHORT_MAX) return encode_long(bpe, tokens, piece, len, err);
    int32_t ids[SHORT_MAX];
    int missing = 0;
    if (!bytes_to_ids(bpe, ids, piece, len, &missing)) return fail_byte(missing, err);
    size_t n = merge_short(bpe, ids, len);
    return sp_tokens_append(tokens, ids, n, err);
}
