/* SPDX-License-Identifier: MIT */
/* How a reply appears while it is produced. Control characters in a model's text never reach a terminal.
 *
 * On a terminal the reasoning is dimmed: streamed as it comes (SP_VIEW_STREAM), or in a window of a few lines
 * that is replaced by one line "thought for 3.2 s, 120 tokens" when it ends (SP_VIEW_FOLD). Elsewhere it
 * stands between tags. */
#ifndef SP_CLI_VIEW_H
#define SP_CLI_VIEW_H

#include <sputnik/chat.h>

typedef enum sp_view_mode {
    SP_VIEW_HIDE,   /* no reasoning; on a terminal the line that sums it up remains */
    SP_VIEW_TAGS,   /* "<think>" ... "</think>" on lines of their own */
    SP_VIEW_STREAM, /* dimmed, left standing */
    SP_VIEW_FOLD    /* dimmed, folded when done */
} sp_view_mode;

#define SP_VIEW_ROWS 10
#define SP_VIEW_ROW_BYTES 1024

typedef struct sp_view {
    sp_view_mode mode;
    bool terminal, colour;
    int width;
    bool thinking;      /* inside the reasoning */
    bool content_begun; /* leading blank lines of the content are dropped until then */
    bool at_line_start;
    double think_started, think_s;
    size_t n_think_tokens;                      /* counted by the caller */
    char rows[SP_VIEW_ROWS][SP_VIEW_ROW_BYTES]; /* the window: rows[0..n_rows) */
    int row_columns, n_rows;
} sp_view;

void sp_view_init(sp_view *view, sp_view_mode mode);

/* New text of the reply, whole characters. */
void sp_view_put(sp_view *view, sp_reply_part part, const char *text, size_t len);

/* End of the reply: closes the reasoning if it is open and ends the line. */
void sp_view_finish(sp_view *view);

/* Text with control characters other than newline and tab left out when standard output is a terminal. */
void sp_view_write(const sp_view *view, const char *text, size_t len);

#endif
