/* SPDX-License-Identifier: MIT */
/* Writing a reply to standard output as it grows. Start at sp_view_put(). */
#include "cli/view.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/term.h"

#define DIM "\033[2m"
#define UNDIM "\033[22m"

void sp_view_init(sp_view *view, sp_view_mode mode)
{
    memset(view, 0, sizeof *view);
    view->mode = mode;
    view->terminal = sp_term_is_tty(STDOUT_FILENO);
    view->colour = sp_term_has_colour(STDOUT_FILENO);
    view->width = sp_term_width(STDOUT_FILENO);
    if (view->width < 8) view->width = 8;
    if (!view->terminal && mode > SP_VIEW_TAGS) view->mode = SP_VIEW_TAGS;
    if (view->mode == SP_VIEW_FOLD && !view->colour)
        view->mode = SP_VIEW_STREAM; /* no cursor movement either */
    view->at_line_start = true;
}

void sp_view_write(const sp_view *view, const char *text, size_t len)
{
    if (!view->terminal) {
        fwrite(text, 1, len, stdout);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0; /* U+0080..U+009F */
        if (c1)
            i++;
        else if ((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t')
            putchar(c);
    }
}

static size_t char_bytes(const char *text, size_t len)
{
    unsigned char c = (unsigned char)text[0];
    size_t n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return n < len ? n : len;
}

/* Cursor to the first column of the window's first row, everything from there on erased. */
static void erase_window(const sp_view *view)
{
    if (view->n_rows > 1) printf("\033[%dA", view->n_rows - 1);
    fputs("\r\033[J", stdout);
}

/* Begin the next row; a full window moves up by one. */
static void add_row(sp_view *view)
{
    if (view->n_rows < SP_VIEW_ROWS) {
        if (view->n_rows > 0) putchar('\n');
        view->rows[view->n_rows++][0] = '\0';
    } else {
        erase_window(view);
        memmove(view->rows[0], view->rows[1], sizeof view->rows - sizeof view->rows[0]);
        view->rows[SP_VIEW_ROWS - 1][0] = '\0';
        for (int i = 0; i < SP_VIEW_ROWS - 1; i++) printf("%s\n", view->rows[i]);
    }
    view->row_columns = 0;
}

/* One character of reasoning into the window. Rows stay a column short of the terminal, so it never wraps
 * them. */
static void put_window_char(sp_view *view, const char *text, size_t n)
{
    if (text[0] == '\n') {
        add_row(view);
        return;
    }
    int columns = text[0] == '\t' ? 1 : sp_term_columns(text, (int)n);
    char *row = view->rows[view->n_rows - 1];
    size_t used = strlen(row);
    if (view->row_columns + columns >= view->width || used + n >= SP_VIEW_ROW_BYTES) {
        add_row(view);
        row = view->rows[view->n_rows - 1];
        used = 0;
    }
    if (text[0] == '\t') {
        text = " ";
        n = 1;
    }
    if ((unsigned char)text[0] < 0x20 || text[0] == 0x7f || columns == 0) return;
    memcpy(row + used, text, n);
    row[used + n] = '\0';
    view->row_columns += columns;
    fwrite(text, 1, n, stdout);
}

static void begin_reasoning(sp_view *view)
{
    view->thinking = true;
    view->think_started = sp_seconds();
    if (view->mode == SP_VIEW_TAGS) fputs("<think>\n", stdout);
    if (view->mode == SP_VIEW_STREAM && view->colour) fputs(DIM, stdout);
    if (view->mode == SP_VIEW_FOLD) {
        fputs(DIM, stdout);
        view->n_rows = 0;
        add_row(view);
    }
}

static void end_reasoning(sp_view *view)
{
    view->thinking = false;
    view->think_s = sp_seconds() - view->think_started;
    if (view->mode == SP_VIEW_TAGS) printf("%s</think>\n", view->at_line_start ? "" : "\n");
    if (view->mode == SP_VIEW_STREAM) {
        if (view->colour) fputs(UNDIM, stdout);
        fputs(view->at_line_start ? "\n" : "\n\n", stdout);
    }
    if (view->mode == SP_VIEW_FOLD) erase_window(view);
    if (view->mode == SP_VIEW_FOLD || (view->mode == SP_VIEW_HIDE && view->terminal))
        printf("%s\xe2\x96\xb8 thought for %.1f s, %zu tokens%s\n", view->colour ? DIM : "", view->think_s,
               view->n_think_tokens, view->colour ? UNDIM : "");
    view->at_line_start = true;
}

static void put_reasoning(sp_view *view, const char *text, size_t len)
{
    if (!view->thinking) begin_reasoning(view);
    if (view->mode == SP_VIEW_HIDE || len == 0) return;
    if (view->mode == SP_VIEW_FOLD) {
        for (size_t i = 0; i < len;) {
            size_t n = char_bytes(text + i, len - i);
            put_window_char(view, text + i, n);
            i += n;
        }
    } else {
        sp_view_write(view, text, len);
    }
    view->at_line_start = text[len - 1] == '\n';
}

void sp_view_put(sp_view *view, sp_reply_part part, const char *text, size_t len)
{
    if (part == SP_REPLY_REASONING) {
        put_reasoning(view, text, len);
    } else {
        while (!view->content_begun && len > 0 && (text[0] == '\n' || text[0] == '\r')) {
            text++;
            len--;
        }
        if (len == 0) return;
        if (view->thinking) end_reasoning(view);
        view->content_begun = true;
        sp_view_write(view, text, len);
        view->at_line_start = text[len - 1] == '\n';
    }
    fflush(stdout);
}

void sp_view_finish(sp_view *view)
{
    if (view->thinking) end_reasoning(view);
    if (!view->at_line_start) putchar('\n');
    view->at_line_start = true;
    fflush(stdout);
}
