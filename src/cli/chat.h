/* SPDX-License-Identifier: MIT */
/* The state of `sputnik chat`: the conversation and its settings. cmd_chat.c holds the loop, chat_turn.c
 * makes a reply, chat_commands.c the slash commands, chat_store.c files. */
#ifndef SP_CLI_CHAT_H
#define SP_CLI_CHAT_H

#include "cli/cli.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "cli/view.h"

typedef struct sp_turn {
    sp_role role;    /* user or assistant */
    char *content;   /* owned */
    char *reasoning; /* owned, may be NULL */
} sp_turn;

/* What the last reply cost. */
typedef struct sp_turn_stats {
    size_t n_prompt, n_reused, n_reply;
    double first_s, total_s;
    sp_finish finish;
    sp_draft_stats drafts;
} sp_turn_stats;

typedef struct sp_chat {
    const char *model_name;
    sp_model *model;
    const sp_tokenizer *tokenizer;
    sp_session *session;
    sp_chat_format format;
    sp_sampling_args sampling; /* text values point into `kept` or argv */
    char **kept;               /* owned copies of values that /set, /think and /load brought */
    size_t n_kept;
    int64_t seed; /* of the next reply */
    char *system; /* owned; NULL: none */
    sp_turn *turns;
    size_t n_turns;
    int show_thinking; /* not on a terminal: write the reasoning; on one: leave it unfolded */
    int hide_thinking;
    sp_turn_stats stats;
    sp_view view;
    sp_progress progress; /* evaluation of a long prompt */
    bool filling;         /* no token of the reply yet */
    bool terminal;
} sp_chat;

/* ---- turns --------------------------------------------------------------------------------------------- */

/* Copies the texts. */
sp_status sp_chat_add(sp_chat *chat, sp_role role, const char *content, const char *reasoning, sp_error *err);
void sp_chat_drop_last(sp_chat *chat);
void sp_chat_clear_turns(sp_chat *chat);

/* Reply to the conversation, which ends with a user's turn; the reply becomes a turn. An interrupted reply is
 * kept as far as it came; one without content is not. */
sp_status sp_chat_reply(sp_chat *chat, sp_error *err);

/* ---- commands ------------------------------------------------------------------------------------------ */

/* For completion: "/help", ...; ends with NULL. */
extern const char *const sp_chat_words[];

/* Run "/name argument". False if the program is to end. */
bool sp_chat_command(sp_chat *chat, const char *text);

/* Change one setting of the sampling table, e.g. ("temp", "0.7"). SP_E_ARGUMENT as the option parser says it.
 */
sp_status sp_chat_set(sp_chat *chat, const char *name, const char *value, sp_error *err);

/* The table of settings, for /set and the saved files. */
extern const sp_command sp_chat_settings;

/* ---- files --------------------------------------------------------------------------------------------- */

sp_status sp_chat_save(const sp_chat *chat, const char *path, sp_error *err);

/* On error the conversation is as before. */
sp_status sp_chat_load(sp_chat *chat, const char *path, sp_error *err);

#endif
