/* SPDX-License-Identifier: MIT */
/* Choosing among adjusted logits: top-k, min-p, top-p and the draw. Candidates are ordered by logit, the
 * lower id first on ties. Only as many as the settings can need are ordered: top-k keeps a heap of k; top-p
 * sorts the candidates above a threshold that is lowered until enough mass lies above it. Neither the
 * thresholds tried nor the way of sorting changes the result: the order is total, and sums run in id order
 * (all) or in rank order (kept). Start at sp_sampler_draw(). */
#include "infer/sampler_parts.h"

#include <math.h>
#include <string.h>

int32_t sp_sampler_argmax(const sp_sampler *sampler)
{
    int32_t best = -1;
    float largest = -INFINITY;
    for (int32_t i = 0; i < sampler->vocab_size; i++) {
        if (!(sampler->logits[i] > largest)) continue;
        largest = sampler->logits[i];
        best = i;
    }
    return best;
}

static bool ranks_before(sp_candidate a, sp_candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* Restore the heap below `at`; the root is the last in rank. */
static void sift_down(sp_candidate *heap, size_t n, size_t at)
{
    sp_candidate item = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && ranks_before(heap[child], heap[child + 1])) child++;
        if (!ranks_before(item, heap[child])) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
}

static void build_heap(sp_candidate *heap, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sift_down(heap, n, i);
}

static void sort_heap(sp_candidate *heap, size_t n)
{
    build_heap(heap, n);
    for (size_t end = n; end > 1; end--) {
        sp_candidate worst = heap[0];
        heap[0] = heap[end - 1];
        heap[end - 1] = worst;
        sift_down(heap, end - 1, 0);
    }
}

#define RADIX_BITS 11
#define RADIX (1u << RADIX_BITS)

/* A number that is smaller the larger the logit is; equal for equal logits. */
static uint32_t rank_key(float logit)
{
    uint32_t bits;
    if (logit == 0) logit = 0; /* -0 and 0 are the same */
    memcpy(&bits, &logit, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7FFFFFFFu;
}

/* Candidates that stand in id order, into rank order. Stable by id, three passes; spare has room for n. */
static void sort_radix(sp_candidate *candidates, sp_candidate *spare, size_t n)
{
    sp_candidate *from = candidates, *to = spare;
    for (int shift = 0; shift < 32; shift += RADIX_BITS) {
        size_t starts[RADIX] = {0}, start = 0;
        for (size_t i = 0; i < n; i++) starts[rank_key(from[i].logit) >> shift & (RADIX - 1)]++;
        for (size_t d = 0; d < RADIX; d++) {
            size_t count = starts[d];
            starts[d] = start;
            start += count;
        }
        for (size_t i = 0; i < n; i++) to[starts[rank_key(from[i].logit) >> shift & (RADIX - 1)]++] = from[i];
        sp_candidate *done = to;
        to = from;
        from = done;
    }
    memcpy(candidates, spare, n * sizeof *candidates); /* three passes end in spare */
}

/* The k best candidates in rank order at the front of sampler->candidates. Returns how many there are. */
static size_t select_top_k(sp_sampler *sampler, size_t k)
{
    sp_candidate *heap = sampler->candidates;
    size_t n = 0;
    for (int32_t id = 0; id < sampler->vocab_size; id++) {
        sp_candidate c = {sampler->logits[id], id};
        if (c.logit == -INFINITY) continue;
        if (n < k) {
            heap[n++] = c;
            if (n == k) build_heap(heap, n);
        } else if (ranks_before(c, heap[0])) {
            heap[0] = c;
            sift_down(heap, n, 0);
        }
    }
    sort_heap(heap, n);
    return n;
}

/* exp((logit - max) / temperature), 0 where that is negligible or below min_p. */
static double weigh(const sp_sampler *sampler, float logit, double max)
{
    double x = logit == max ? 0.0 : ((double)logit - max) / (double)sampler->options.temperature;
    double weight = x > SP_SMALLEST_EXPONENT ? exp(x) : 0.0;
    return weight < (double)sampler->options.min_p ? 0.0 : weight;
}

/* sampler->weights of all ids. Returns their sum. */
static double weigh_all(sp_sampler *sampler, int32_t largest)
{
    double max = sampler->logits[largest], sum = 0;
    for (int32_t id = 0; id < sampler->vocab_size; id++) {
        sampler->weights[id] = weigh(sampler, sampler->logits[id], max);
        sum += sampler->weights[id];
    }
    return sum;
}

/* How many of the ranked candidates make up a share of `total`; their mass goes to *mass. */
static size_t count_top_p(const sp_sampler *sampler, size_t n, double total, double *mass)
{
    double wanted = (double)sampler->options.top_p * total, sum = 0;
    size_t kept = 0;
    while (kept < n && (kept == 0 || sum < wanted)) {
        double weight = sampler->weights[sampler->candidates[kept].id];
        if (weight == 0) break;
        sum += weight;
        kept++;
    }
    *mass = sum;
    return kept;
}

static int32_t draw_ranked(const sp_sampler *sampler, size_t n, double mass, double u)
{
    double target = u * mass, sum = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        sum += sampler->weights[sampler->candidates[i].id];
        if (target < sum) return sampler->candidates[i].id;
    }
    return sampler->candidates[n - 1].id;
}

static int32_t draw_top_k(sp_sampler *sampler, int32_t largest, double u)
{
    size_t n = select_top_k(sampler, (size_t)sampler->options.top_k);
    double max = sampler->logits[largest], total = 0, mass;
    for (size_t i = 0; i < n; i++) {
        sp_candidate c = sampler->candidates[i];
        double weight = weigh(sampler, c.logit, max);
        sampler->weights[c.id] = weight;
        total += weight;
    }
    n = count_top_p(sampler, n, sampler->options.top_p < 1 ? total : INFINITY, &mass);
    return draw_ranked(sampler, n, mass, u);
}

static int32_t draw_top_p(sp_sampler *sampler, double total, double u)
{
    static const double thresholds[] = {1e-2, 1e-4, 1e-8, 0};
    sp_candidate *ranked = sampler->candidates;
    double mass = 0;
    size_t kept = 0;
    for (size_t level = 0; level < sizeof thresholds / sizeof thresholds[0]; level++) {
        double above = 0;
        size_t n = 0;
        for (int32_t id = 0; id < sampler->vocab_size; id++) {
            double weight = sampler->weights[id];
            if (weight <= thresholds[level]) continue;
            ranked[n++] = (sp_candidate){sampler->logits[id], id};
            above += weight;
        }
        bool last = thresholds[level] == 0;
        if (!last && above < (double)sampler->options.top_p * total) continue;
        if (n < RADIX)
            sort_heap(ranked, n);
        else
            sort_radix(ranked, sampler->spare, n);
        kept = count_top_p(sampler, n, total, &mass);
        if (last || mass >= (double)sampler->options.top_p * total) break;
    }
    return draw_ranked(sampler, kept, mass, u);
}

static int32_t draw_all(const sp_sampler *sampler, double total, double u)
{
    double target = u * total, sum = 0;
    int32_t last = -1;
    for (int32_t id = 0; id < sampler->vocab_size; id++) {
        if (sampler->weights[id] == 0) continue;
        sum += sampler->weights[id];
        last = id;
        if (target < sum) break;
    }
    return last;
}

int32_t sp_sampler_draw(sp_sampler *sampler, int32_t largest, double u)
{
    const sp_sampler_options *o = &sampler->options;
    if (o->top_k > 0 && o->top_k < sampler->vocab_size) return draw_top_k(sampler, largest, u);
    double total = weigh_all(sampler, largest);
    return o->top_p < 1 ? draw_top_p(sampler, total, u) : draw_all(sampler, total, u);
}
