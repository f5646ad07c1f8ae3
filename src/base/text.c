/* SPDX-License-Identifier: MIT */
/* Distances of words. Start at sp_word_distance(). */
#include "base/text.h"

size_t sp_word_distance(const char *a, const char *b)
{
    size_t row[64];
    size_t n = strlen(b);
    if (n >= sizeof row / sizeof row[0] || strlen(a) >= 64) return 64;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}
