/* SPDX-License-Identifier: MIT */
/* libedit's callbacks. The history lies in $XDG_STATE_HOME/sputnik/history (~/.local/state where that is
 * unset), readable by its owner only. */
#include "cli/edit.h"

#if SP_HAVE_LIBEDIT

#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define HISTORY_LINES 1000
#define MAX_PASTE_BYTES (1 << 20)

struct sp_edit {
    EditLine *el;
    History *history;
    char *history_path;
    const char *const *words;
    const char *prompt;
    bool interrupted;
};

static char *get_prompt(EditLine *el)
{
    static char empty[] = "";
    void *data = NULL;
    el_get(el, EL_CLIENTDATA, &data);
    union {
        const char *in;
        char *out; /* libedit only reads it */
    } prompt = {.in = data ? ((sp_edit *)data)->prompt : NULL};
    return prompt.in ? prompt.out : empty;
}

static sp_edit *get_edit(EditLine *el)
{
    void *data = NULL;
    el_get(el, EL_CLIENTDATA, &data);
    return data;
}

/* Ctrl-C: return to the caller, which drops the line. */
static unsigned char on_interrupt(EditLine *el, int ch)
{
    (void)ch;
    get_edit(el)->interrupted = true;
    return CC_NEWLINE;
}

/* Ctrl-Z, which the terminal does not send while lines are edited. */
static unsigned char on_suspend(EditLine *el, int ch)
{
    (void)el;
    (void)ch;
    raise(SIGTSTP);
    return CC_REDISPLAY;
}

/* Everything between the markers of a bracketed paste goes into the line, newlines too. */
static unsigned char on_paste(EditLine *el, int ch)
{
    static const char end[] = "\033[201~";
    sp_buf text = {NULL, 0, 0};
    (void)ch;
    for (;;) {
        char c;
        if (el_getc(el, &c) != 1) break;
        if (c == '\r') c = '\n';
        if (text.len >= MAX_PASTE_BYTES || sp_buf_append(&text, &c, 1, NULL) != SP_OK) break;
        if (text.len >= sizeof end - 1 &&
            memcmp(text.data + text.len - (sizeof end - 1), end, sizeof end - 1) == 0) {
            text.len -= sizeof end - 1;
            text.data[text.len] = '\0';
            break;
        }
    }
    while (text.len > 0 && text.data[text.len - 1] == '\n') text.data[--text.len] = '\0';
    if (text.len > 0) el_insertstr(el, text.data);
    sp_buf_clear(&text);
    return CC_REFRESH;
}

/* Tab: the rest of the only word that the line is a prefix of. */
static unsigned char on_complete(EditLine *el, int ch)
{
    const sp_edit *edit = get_edit(el);
    const LineInfo *line = el_line(el);
    size_t n = (size_t)(line->cursor - line->buffer);
    const char *match = NULL;
    (void)ch;
    for (size_t i = 0; edit->words && edit->words[i]; i++) {
        if (n == 0 || strncmp(edit->words[i], line->buffer, n) != 0) continue;
        if (match) return CC_ERROR;
        match = edit->words[i];
    }
    if (!match) return CC_ERROR;
    el_insertstr(el, match + n);
    el_insertstr(el, " ");
    return CC_REFRESH;
}

static char *find_history_path(void)
{
    sp_buf dir = {NULL, 0, 0};
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    sp_status status = SP_E_NOT_FOUND;
    if (state && state[0] == '/')
        status = sp_buf_printf(&dir, NULL, "%s/sputnik", state);
    else if (home && home[0] == '/')
        status = sp_buf_printf(&dir, NULL, "%s/.local/state/sputnik", home);
    if (status == SP_OK) status = sp_dir_create(dir.data, NULL);
    char *path = status == SP_OK ? sp_path_join(dir.data, "history") : NULL;
    sp_buf_clear(&dir);
    return path;
}

static void start_history(sp_edit *edit)
{
    HistEvent event;
    edit->history = history_init();
    if (!edit->history) return;
    history(edit->history, &event, H_SETSIZE, HISTORY_LINES);
    history(edit->history, &event, H_SETUNIQUE, 1);
    el_set(edit->el, EL_HIST, history, edit->history);
    edit->history_path = find_history_path();
    if (edit->history_path) history(edit->history, &event, H_LOAD, edit->history_path);
}

static void bind_keys(EditLine *el)
{
    el_set(el, EL_EDITOR, "emacs");
    el_set(el, EL_ADDFN, "sp-interrupt", "drop the line", on_interrupt);
    el_set(el, EL_ADDFN, "sp-suspend", "stop the program", on_suspend);
    el_set(el, EL_ADDFN, "sp-paste", "insert a pasted text", on_paste);
    el_set(el, EL_ADDFN, "sp-complete", "complete a command", on_complete);
    el_set(el, EL_BIND, "^C", "sp-interrupt", NULL);
    el_set(el, EL_BIND, "^Z", "sp-suspend", NULL);
    el_set(el, EL_BIND, "\\e[200~", "sp-paste", NULL);
    el_set(el, EL_BIND, "\t", "sp-complete", NULL);
    el_set(el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(el, EL_SETTY, "-d", "-isig", NULL);
}

sp_edit *sp_edit_create(const char *const *words, int with_history)
{
    sp_edit *edit = sp_calloc(1, sizeof *edit);
    if (!edit) return NULL;
    if (setlocale(LC_CTYPE, "") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
    edit->el = el_init("sputnik", stdin, stdout, stderr);
    if (!edit->el) {
        sp_free(edit);
        return NULL;
    }
    edit->words = words;
    el_set(edit->el, EL_CLIENTDATA, edit);
    el_set(edit->el, EL_PROMPT, get_prompt);
    bind_keys(edit->el);
    if (with_history) start_history(edit);
    el_source(edit->el, NULL);
    return edit;
}

void sp_edit_destroy(sp_edit *edit)
{
    if (!edit) return;
    if (edit->history) {
        HistEvent event;
        if (edit->history_path) {
            mode_t old = umask(077);
            history(edit->history, &event, H_SAVE, edit->history_path);
            umask(old);
        }
        history_end(edit->history);
    }
    el_end(edit->el);
    sp_free(edit->history_path);
    sp_free(edit);
}

sp_input_result sp_edit_read(sp_edit *edit, const char *prompt, sp_buf *line, sp_error *err)
{
    int n = 0;
    edit->prompt = prompt;
    edit->interrupted = false;
    fputs("\033[?2004h", stdout);
    fflush(stdout);
    const char *text = el_gets(edit->el, &n);
    fputs("\033[?2004l", stdout);
    fflush(stdout);
    if (edit->interrupted) return SP_INPUT_INTERRUPTED;
    if (!text || n <= 0) return SP_INPUT_END;
    if (sp_buf_append(line, text, (size_t)n, err) != SP_OK) return SP_INPUT_FAILED;
    if (edit->history && n > 1) {
        HistEvent event;
        history(edit->history, &event, H_ENTER, text);
    }
    return SP_INPUT_TEXT;
}

#else

sp_edit *sp_edit_create(const char *const *words, int with_history)
{
    (void)words;
    (void)with_history;
    return NULL;
}

void sp_edit_destroy(sp_edit *edit)
{
    (void)edit;
}

sp_input_result sp_edit_read(sp_edit *edit, const char *prompt, sp_buf *line, sp_error *err)
{
    (void)edit;
    (void)prompt;
    (void)line;
    (void)err;
    return SP_INPUT_END;
}

#endif
