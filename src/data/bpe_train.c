/* SPDX-License-Identifier: MIT */
/* The merge loop. Each pair knows its count and the words that may hold it; a heap finds the most frequent one. Counts in
 * the heap may be outdated: an entry that is taken out and found too high goes back with its present count. Start at
 * sp_bpe_train(). Invariants:
 * 1. pair.count is the sum over all words of (count of the word) x (adjacent occurrences, overlapping ones included).
 * 2. Every word that holds the pair is in pair.words; a word there need not hold it any more.
 * 3. A pair with a count above 0 has exactly one entry in the heap with entry.count == pair.queued >= pair.count. */
#include "data/bpe_train.h"

#include <string.h>

#include "base/hash.h"

typedef struct pair {
    int32_t left, right;
    uint64_t count, queued;
    uint32_t *words; /* (n_words) */
    uint32_t n_words, words_cap;
} pair;

typedef struct heap_entry {
    uint64_t count;
    uint32_t pair;
} heap_entry;

typedef struct trainer {
    const sp_word_table *words;
    sp_bpe_vocab *vocab;
    int32_t *symbols;  /* all words' symbols, word w from words[w].offset */
    uint32_t *lengths; /* (n_words) symbols left in each word */
    pair *pairs;
    size_t n_pairs, pairs_cap;
    uint32_t *slots; /* index + 1 of a pair */
    size_t slot_mask;
    heap_entry *heap;
    size_t n_heap, heap_cap;
    uint32_t *raised; /* pairs whose count grew in this merge */
    size_t n_raised, raised_cap;
    uint32_t *token_slots; /* id + 1 by the token's bytes */
    size_t token_mask;
    int32_t tokens_cap;
    size_t merges_cap;
} trainer;

/* Room for one more in a growing array; on failure the array is as before. */
static sp_status make_room(void *array, size_t n, size_t *cap, size_t size, sp_error *err)
{
    void *old, *grown;
    if (n < *cap) return SP_OK;
    memcpy(&old, array, sizeof old);
    size_t next = *cap ? *cap * 2 : 256;
    grown = sp_realloc_array(old, next, size);
    if (!grown) return sp_fail_nomem(err, "BPE training", next * size);
    memcpy(array, &grown, sizeof grown);
    *cap = next;
    return SP_OK;
}

/* --- tokens --- */

const char *sp_bpe_vocab_token(const sp_bpe_vocab *vocab, int32_t id, size_t *len)
{
    *len = vocab->offsets[id + 1] - vocab->offsets[id];
    return vocab->bytes.data + vocab->offsets[id];
}

void sp_bpe_vocab_clear(sp_bpe_vocab *vocab)
{
    sp_buf_clear(&vocab->bytes);
    sp_free(vocab->offsets);
    sp_free(vocab->merges);
    *vocab = (sp_bpe_vocab){.n_tokens = 0};
}

static sp_status append_token(trainer *t, const char *bytes, size_t len, sp_error *err)
{
    sp_bpe_vocab *v = t->vocab;
    SP_TRY(sp_buf_append(&v->bytes, bytes, len, err));
    v->offsets[++v->n_tokens] = v->bytes.len;
    return SP_OK;
}

/* The ordinary token with these bytes, or the empty slot where it belongs (-1). */
static int32_t find_token(const trainer *t, const char *bytes, size_t len, size_t *slot)
{
    size_t at = sp_hash(SP_HASH_SEED, bytes, len) & t->token_mask;
    for (; t->token_slots[at]; at = (at + 1) & t->token_mask) {
        size_t n;
        int32_t id = (int32_t)t->token_slots[at] - 1;
        const char *token = sp_bpe_vocab_token(t->vocab, id, &n);
        if (n == len && memcmp(token, bytes, len) == 0) return id;
    }
    *slot = at;
    return -1;
}

/* Id of the token left + right: a new one unless other merges have made the same bytes before. */
static sp_status merged_token(trainer *t, int32_t left, int32_t right, int32_t *id, sp_error *err)
{
    sp_buf bytes = {NULL, 0, 0};
    size_t n, slot = 0;
    const char *part = sp_bpe_vocab_token(t->vocab, left, &n);
    sp_status status = sp_buf_append(&bytes, part, n, err);
    part = sp_bpe_vocab_token(t->vocab, right, &n);
    if (status == SP_OK) status = sp_buf_append(&bytes, part, n, err);
    if (status == SP_OK) {
        *id = find_token(t, bytes.data, bytes.len, &slot);
        if (*id < 0) {
            *id = t->vocab->n_tokens;
            status = append_token(t, bytes.data, bytes.len, err);
            if (status == SP_OK) t->token_slots[slot] = (uint32_t)*id + 1;
        }
    }
    sp_buf_clear(&bytes);
    return status;
}

/* The n-th byte of the alphabet: first those that print, in order, then the others. */
static int alphabet_byte(int n)
{
    int seen = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int b = 0; b < 256; b++) {
            bool prints = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
            if (prints != (pass == 0)) continue;
            if (seen++ == n) return b;
        }
    }
    return 0;
}

static sp_status add_first_tokens(trainer *t, const sp_bpe_train_options *options, sp_error *err)
{
    for (size_t i = 0; i < options->n_specials; i++) {
        for (size_t k = 0; k < i; k++)
            if (strcmp(options->specials[i], options->specials[k]) == 0)
                return sp_fail(err, SP_E_ARGUMENT, "special token \"%.60s\" is given twice",
                               options->specials[i]);
        SP_TRY(append_token(t, options->specials[i], strlen(options->specials[i]), err));
    }
    t->vocab->n_specials = t->vocab->n_tokens;
    for (int n = 0; n < 256; n++) {
        size_t slot = 0;
        char byte = (char)alphabet_byte(n);
        find_token(t, &byte, 1, &slot);
        SP_TRY(append_token(t, &byte, 1, err));
        t->token_slots[slot] = (uint32_t)t->vocab->n_tokens;
    }
    return SP_OK;
}

/* --- pairs --- */

static size_t pair_slot(const trainer *t, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key = (key ^ key >> 31) * 0xD6E8FEB86659FD93u;
    return (size_t)(key >> 32) & t->slot_mask;
}

static sp_status grow_pair_slots(trainer *t, sp_error *err)
{
    size_t n_slots = t->slots ? (t->slot_mask + 1) * 2 : 4096;
    uint32_t *slots = sp_calloc(n_slots, sizeof *slots);
    if (!slots) return sp_fail_nomem(err, "pairs", n_slots * sizeof *slots);
    sp_free(t->slots);
    t->slots = slots;
    t->slot_mask = n_slots - 1;
    for (size_t i = 0; i < t->n_pairs; i++) {
        size_t at = pair_slot(t, t->pairs[i].left, t->pairs[i].right);
        while (slots[at]) at = (at + 1) & t->slot_mask;
        slots[at] = (uint32_t)(i + 1);
    }
    return SP_OK;
}

static sp_status find_pair(trainer *t, int32_t left, int32_t right, uint32_t *index, sp_error *err)
{
    if (!t->slots || t->n_pairs >= (t->slot_mask + 1) / 2) SP_TRY(grow_pair_slots(t, err));
    size_t at = pair_slot(t, left, right);
    for (; t->slots[at]; at = (at + 1) & t->slot_mask) {
        const pair *p = &t->pairs[t->slots[at] - 1];
        *index = t->slots[at] - 1;
        if (p->left == left && p->right == right) return SP_OK;
    }
    SP_TRY(make_room(&t->pairs, t->n_pairs, &t->pairs_cap, sizeof *t->pairs, err));
    *index = (uint32_t)t->n_pairs;
    t->pairs[t->n_pairs++] = (pair){.left = left, .right = right};
    t->slots[at] = (uint32_t)t->n_pairs;
    return SP_OK;
}

static sp_status add_word_to_pair(pair *p, uint32_t word, sp_error *err)
{
    size_t cap = p->words_cap;
    if (p->n_words && p->words[p->n_words - 1] == word) return SP_OK;
    if (p->n_words == p->words_cap) {
        cap = cap ? cap + cap / 2 + 1 : 2;
        uint32_t *words = sp_realloc_array(p->words, cap, sizeof *words);
        if (!words) return sp_fail_nomem(err, "words of a pair", cap * sizeof *words);
        p->words = words;
        p->words_cap = (uint32_t)cap;
    }
    p->words[p->n_words++] = word;
    return SP_OK;
}

/* Count the pairs of a word. fresh: the token that this merge makes, whose pairs do not know the word yet; -1: all. */
static sp_status count_word(trainer *t, uint32_t word, int32_t fresh, sp_error *err)
{
    const int32_t *s = t->symbols + t->words->words[word].offset;
    for (uint32_t i = 0; i + 1 < t->lengths[word]; i++) {
        uint32_t index;
        SP_TRY(find_pair(t, s[i], s[i + 1], &index, err));
        pair *p = &t->pairs[index];
        p->count += t->words->words[word].count;
        if (fresh >= 0 && s[i] != fresh && s[i + 1] != fresh) continue;
        SP_TRY(add_word_to_pair(p, word, err));
        SP_TRY(make_room(&t->raised, t->n_raised, &t->raised_cap, sizeof *t->raised, err));
        t->raised[t->n_raised++] = index;
    }
    return SP_OK;
}

static sp_status discount_word(trainer *t, uint32_t word, sp_error *err)
{
    const int32_t *s = t->symbols + t->words->words[word].offset;
    for (uint32_t i = 0; i + 1 < t->lengths[word]; i++) {
        uint32_t index;
        SP_TRY(find_pair(t, s[i], s[i + 1], &index, err));
        t->pairs[index].count -= t->words->words[word].count;
    }
    return SP_OK;
}

static sp_status merge_in_word(trainer *t, uint32_t word, sp_bpe_merge merge, sp_error *err)
{
    int32_t *s = t->symbols + t->words->words[word].offset;
    uint32_t n = t->lengths[word], first = 0, out = 0;
    while (first + 1 < n && (s[first] != merge.left || s[first + 1] != merge.right)) first++;
    if (first + 1 >= n) return SP_OK;
    SP_TRY(discount_word(t, word, err));
    for (uint32_t i = 0; i < n; i++) {
        bool here = i + 1 < n && s[i] == merge.left && s[i + 1] == merge.right;
        s[out++] = here ? merge.merged : s[i];
        if (here) i++;
    }
    t->lengths[word] = out;
    return count_word(t, word, merge.merged, err);
}

/* --- the heap --- */

static int compare_bytes(const sp_bpe_vocab *v, int32_t a, int32_t b)
{
    size_t n, k;
    const char *x = sp_bpe_vocab_token(v, a, &n), *y = sp_bpe_vocab_token(v, b, &k);
    int order = memcmp(x, y, n < k ? n : k);
    return order ? order : (n > k) - (n < k);
}

/* Whether a goes before b. */
static bool goes_first(const trainer *t, heap_entry a, heap_entry b)
{
    const pair *p = &t->pairs[a.pair], *q = &t->pairs[b.pair];
    if (a.count != b.count) return a.count > b.count;
    int order = compare_bytes(t->vocab, p->left, q->left);
    if (order == 0) order = compare_bytes(t->vocab, p->right, q->right);
    return order > 0;
}

static sp_status push_pair(trainer *t, uint32_t index, sp_error *err)
{
    heap_entry entry = {t->pairs[index].count, index};
    SP_TRY(make_room(&t->heap, t->n_heap, &t->heap_cap, sizeof *t->heap, err));
    t->pairs[index].queued = entry.count;
    size_t i = t->n_heap++;
    for (; i > 0 && goes_first(t, entry, t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = entry;
    return SP_OK;
}

static heap_entry pop_entry(trainer *t)
{
    heap_entry top = t->heap[0], last = t->heap[--t->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= t->n_heap) break;
        if (child + 1 < t->n_heap && goes_first(t, t->heap[child + 1], t->heap[child])) child++;
        if (!goes_first(t, t->heap[child], last)) break;
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = last;
    return top;
}

static sp_status push_raised(trainer *t, sp_error *err)
{
    for (size_t i = 0; i < t->n_raised; i++) {
        const pair *p = &t->pairs[t->raised[i]];
        if (p->count > p->queued) SP_TRY(push_pair(t, t->raised[i], err));
    }
    t->n_raised = 0;
    return SP_OK;
}

/* The most frequent pair, taken out of the heap; false if none occurs min_count times. */
static sp_status take_best(trainer *t, uint64_t min_count, uint32_t *index, bool *found, sp_error *err)
{
    *found = false;
    while (t->n_heap) {
        heap_entry top = pop_entry(t);
        pair *p = &t->pairs[top.pair];
        if (top.count != p->queued) continue; /* another entry of the pair stands higher */
        if (p->count == top.count) {
            p->queued = 0;
            *index = top.pair;
            *found = p->count >= min_count;
            return SP_OK;
        }
        p->queued = 0;
        if (p->count >= min_count) SP_TRY(push_pair(t, top.pair, err));
    }
    return SP_OK;
}

static sp_status merge_best(trainer *t, uint32_t index, sp_error *err)
{
    pair *best = &t->pairs[index];
    sp_bpe_merge merge = {best->left, best->right, -1};
    uint32_t *words = best->words, n_words = best->n_words;
    sp_bpe_vocab *v = t->vocab;
    best->words = NULL; /* the list is ours now: pairs may move while words change */
    best->n_words = best->words_cap = 0;
    sp_status status = merged_token(t, merge.left, merge.right, &merge.merged, err);
    if (status == SP_OK) status = make_room(&v->merges, v->n_merges, &t->merges_cap, sizeof *v->merges, err);
    if (status == SP_OK) v->merges[v->n_merges++] = merge;
    for (uint32_t i = 0; i < n_words && status == SP_OK; i++) status = merge_in_word(t, words[i], merge, err);
    sp_free(words);
    return status == SP_OK ? push_raised(t, err) : status;
}

static sp_status set_up(trainer *t, const sp_bpe_train_options *options, sp_error *err)
{
    const sp_word_table *words = t->words;
    size_t n_symbols = words->bytes.len, n_slots = 1024, slot = 0;
    while (n_slots < (size_t)options->vocab_size * 2) n_slots *= 2;
    t->token_mask = n_slots - 1;
    t->vocab->offsets = sp_calloc((size_t)options->vocab_size + 1, sizeof *t->vocab->offsets);
    t->token_slots = sp_calloc(n_slots, sizeof *t->token_slots);
    t->symbols = sp_malloc_array(n_symbols, sizeof *t->symbols);
    t->lengths = sp_malloc_array(words->n, sizeof *t->lengths);
    if (!t->vocab->offsets || !t->token_slots || !t->symbols || !t->lengths)
        return sp_fail_nomem(err, "BPE training", n_symbols * sizeof *t->symbols);
    SP_TRY(add_first_tokens(t, options, err));
    for (size_t w = 0; w < words->n; w++) {
        const sp_word *word = &words->words[w];
        t->lengths[w] = word->len;
        for (uint32_t i = 0; i < word->len; i++)
            t->symbols[word->offset + i] = find_token(t, words->bytes.data + word->offset + i, 1, &slot);
        SP_TRY(count_word(t, (uint32_t)w, -1, err));
    }
    return push_raised(t, err);
}

static void clear_trainer(trainer *t)
{
    for (size_t i = 0; i < t->n_pairs; i++) sp_free(t->pairs[i].words);
    sp_free(t->pairs);
    sp_free(t->slots);
    sp_free(t->heap);
    sp_free(t->raised);
    sp_free(t->token_slots);
    sp_free(t->symbols);
    sp_free(t->lengths);
}

sp_status sp_bpe_train(sp_bpe_vocab *vocab, const sp_word_table *words, const sp_bpe_train_options *options,
                       sp_error *err)
{
    trainer t = {.words = words, .vocab = vocab};
    uint64_t min_count = options->min_count ? options->min_count : 1;
    sp_status status;
    bool found = true;
    *vocab = (sp_bpe_vocab){.n_tokens = 0};
    if (options->vocab_size > SP_BPE_TOKENS_MAX || (int64_t)options->n_specials + 256 > options->vocab_size)
        return sp_fail(err, SP_E_ARGUMENT,
                       "a vocabulary of %d: expected %zu (special tokens and bytes) to %d",
                       (int)options->vocab_size, options->n_specials + 256, SP_BPE_TOKENS_MAX);
    SP_GOTO(done, status, set_up(&t, options, err));
    while (vocab->n_tokens < options->vocab_size) {
        uint32_t index = 0;
        SP_GOTO(done, status, take_best(&t, min_count, &index, &found, err));
        if (!found) break;
        SP_GOTO(done, status, merge_best(&t, index, err));
    }
done:
    clear_trainer(&t);
    if (status != SP_OK) sp_bpe_vocab_clear(vocab);
    return status;
}
