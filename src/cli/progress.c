/* SPDX-License-Identifier: MIT */
/* The progress bar: redrawn at most ten times a second, never wider than the terminal. */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/term.h"

void sp_progress_start(sp_progress *progress, const char *label, sp_progress_unit unit, uint64_t first)
{
    memset(progress, 0, sizeof *progress);
    snprintf(progress->label, sizeof progress->label, "%s", label);
    progress->first = first;
    progress->bytes = unit == SP_PROGRESS_BYTES;
    progress->active = sp_term_is_tty(STDERR_FILENO);
    progress->started = sp_seconds();
    progress->drawn = -1;
}

static void format_counts(const sp_progress *progress, char *out, size_t cap, uint64_t done, uint64_t total)
{
    double seconds = sp_seconds() - progress->started;
    double rate = seconds > 0.3 ? (double)(done - progress->first) / seconds : 0;
    char a[32], b[32], r[32];
    if (progress->bytes) {
        sp_cli_size(a, (double)done);
        sp_cli_size(b, (double)total);
        sp_cli_size(r, rate);
    } else {
        snprintf(a, sizeof a, "%llu", (unsigned long long)done);
        snprintf(b, sizeof b, "%llu", (unsigned long long)total);
        snprintf(r, sizeof r, "%.1f", rate);
    }
    int n = total ? snprintf(out, cap, "%s of %s", a, b) : snprintf(out, cap, "%s", a);
    if (rate > 0) n += snprintf(out + n, cap - (size_t)n, "  %s/s", r);
    if (rate > 0 && total > done) {
        double left = (double)(total - done) / rate;
        if (left < 360000)
            snprintf(out + n, cap - (size_t)n, "  %d:%02d left", (int)left / 60, (int)left % 60);
    }
}

void sp_progress_set(sp_progress *progress, uint64_t done, uint64_t total)
{
    if (!progress->active) return;
    double now = sp_seconds();
    if (now - progress->drawn < 0.1 && done != total) return;
    progress->drawn = now;
    char counts[160], bar[64] = "";
    if (done < progress->first) progress->first = done;
    format_counts(progress, counts, sizeof counts, done, total);
    int width = sp_term_width(STDERR_FILENO);
    int room = width - (int)strlen(progress->label) - (int)strlen(counts) - 14;
    if (room > 40) room = 40;
    if (total && room >= 8) {
        int filled = (int)((double)room * (double)done / (double)total);
        if (filled > room) filled = room;
        memset(bar, '#', (size_t)filled);
        memset(bar + filled, '.', (size_t)(room - filled));
        bar[room] = '\0';
    }
    char line[400];
    int percent = total ? (int)(100.0 * (double)done / (double)total) : 0;
    if (bar[0])
        snprintf(line, sizeof line, "%s  [%s] %3d %%  %s", progress->label, bar, percent, counts);
    else
        snprintf(line, sizeof line, "%s  %s", progress->label, counts);
    fprintf(stderr, "\r%.*s\033[K", width > 1 ? width - 1 : 1, line);
    fflush(stderr);
}

void sp_progress_finish(sp_progress *progress)
{
    if (progress->active && progress->drawn >= 0) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    progress->active = false;
}
