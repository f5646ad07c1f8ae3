/* SPDX-License-Identifier: MIT */
/* Reading messages. The line editor (edit.h) or stdio gives single lines; what makes several lines one
 * message is decided here. */
#include "cli/input.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/edit.h"
#include "cli/term.h"

#define MAX_MESSAGE_BYTES ((size_t)16 << 20)

struct sp_input {
    sp_edit *edit; /* NULL: plain lines */
    bool terminal;
};

sp_status sp_input_create(sp_input **input, const char *const *words, int with_history, sp_error *err)
{
    *input = sp_calloc(1, sizeof **input);
    if (!*input) return sp_fail_nomem(err, "input", sizeof **input);
    (*input)->terminal = sp_term_is_tty(STDIN_FILENO) && sp_term_is_tty(STDOUT_FILENO);
    if ((*input)->terminal) (*input)->edit = sp_edit_create(words, with_history);
    return SP_OK;
}

void sp_input_destroy(sp_input *input)
{
    if (!input) return;
    sp_edit_destroy(input->edit);
    sp_free(input);
}

bool sp_input_is_terminal(const sp_input *input)
{
    return input->terminal;
}

/* One line from stdin, newline included, appended. */
static sp_input_result read_plain_line(sp_buf *text, sp_error *err)
{
    char chunk[4096];
    for (;;) {
        errno = 0;
        if (!fgets(chunk, sizeof chunk, stdin)) {
            bool interrupted = ferror(stdin) && errno == EINTR;
            if (interrupted) clearerr(stdin);
            if (interrupted) return SP_INPUT_INTERRUPTED;
            return text->len > 0 ? SP_INPUT_TEXT : SP_INPUT_END;
        }
        size_t n = strlen(chunk);
        if (text->len + n > MAX_MESSAGE_BYTES) {
            sp_fail(err, SP_E_LIMIT, "message: more than %zu MiB", MAX_MESSAGE_BYTES >> 20);
            return SP_INPUT_FAILED;
        }
        if (sp_buf_append(text, chunk, n, err) != SP_OK) return SP_INPUT_FAILED;
        if (n > 0 && chunk[n - 1] == '\n') return SP_INPUT_TEXT;
    }
}

static sp_input_result read_line(sp_input *input, const char *prompt, sp_buf *line, sp_error *err)
{
    line->len = 0;
    if (input->edit) return sp_edit_read(input->edit, prompt, line, err);
    if (input->terminal) {
        fputs(prompt, stdout);
        fflush(stdout);
    }
    return read_plain_line(line, err);
}

static void strip_newline(sp_buf *line)
{
    while (line->len > 0 && (line->data[line->len - 1] == '\n' || line->data[line->len - 1] == '\r'))
        line->data[--line->len] = '\0';
}

static bool ends_block(const sp_buf *line)
{
    return line->len >= 3 && memcmp(line->data + line->len - 3, "\"\"\"", 3) == 0;
}

/* Lines up to one that ends with """; the first line has lost its """ already and is in text. */
static sp_input_result read_block(sp_input *input, sp_buf *text, sp_buf *line, sp_error *err)
{
    for (;;) {
        sp_input_result result = read_line(input, "... ", line, err);
        if (result == SP_INPUT_END) return SP_INPUT_TEXT; /* the end of the input closes the block */
        if (result != SP_INPUT_TEXT) return result;
        strip_newline(line);
        bool last = ends_block(line);
        if (last) line->len -= 3;
        if (text->len + line->len > MAX_MESSAGE_BYTES) {
            sp_fail(err, SP_E_LIMIT, "message: more than %zu MiB", MAX_MESSAGE_BYTES >> 20);
            return SP_INPUT_FAILED;
        }
        if (text->len > 0 && !(last && line->len == 0) && sp_buf_puts(text, "\n", err) != SP_OK)
            return SP_INPUT_FAILED;
        if (line->len > 0 && sp_buf_append(text, line->data, line->len, err) != SP_OK) return SP_INPUT_FAILED;
        if (last) return SP_INPUT_TEXT;
    }
}

sp_input_result sp_input_read(sp_input *input, const char *prompt, sp_buf *text, sp_error *err)
{
    sp_buf line = {NULL, 0, 0};
    sp_input_result result = SP_INPUT_TEXT;
    bool more = true;
    text->len = 0;
    for (const char *shown = prompt; more; shown = "... ") {
        result = read_line(input, shown, &line, err);
        if (result == SP_INPUT_END && shown != prompt) result = SP_INPUT_TEXT, line.len = 0, more = false;
        if (result != SP_INPUT_TEXT) break;
        strip_newline(&line);
        if (shown == prompt && line.len >= 3 && memcmp(line.data, "\"\"\"", 3) == 0) {
            bool closed = line.len >= 6 && ends_block(&line);
            size_t n = line.len - (closed ? 6 : 3);
            if (n > 0 && sp_buf_append(text, line.data + 3, n, err) != SP_OK) result = SP_INPUT_FAILED;
            if (result == SP_INPUT_TEXT && !closed) result = read_block(input, text, &line, err);
            break;
        }
        more = more && line.len > 0 && line.data[line.len - 1] == '\\';
        if (more) line.len--;
        if ((line.len > 0 && sp_buf_append(text, line.data, line.len, err) != SP_OK) ||
            (more && sp_buf_puts(text, "\n", err) != SP_OK)) {
            result = SP_INPUT_FAILED;
            break;
        }
    }
    sp_buf_clear(&line);
    if (result == SP_INPUT_TEXT && !text->data && sp_buf_puts(text, "", err) != SP_OK)
        result = SP_INPUT_FAILED;
    if (text->data) text->data[text->len] = '\0';
    return result;
}
