/* SPDX-License-Identifier: MIT */
/* The handlers of the API, for its table in api_routes.c. */
#ifndef SP_SERVER_API_PARTS_H
#define SP_SERVER_API_PARTS_H

#include "server/api_run.h"

void sp_handle_chat(sp_server *server, sp_exchange *x);
void sp_handle_completions(sp_server *server, sp_exchange *x);
void sp_handle_models(sp_server *server, sp_exchange *x);
void sp_handle_model(sp_server *server, sp_exchange *x);
void sp_handle_balance(sp_server *server, sp_exchange *x);
void sp_handle_messages(sp_server *server, sp_exchange *x);
void sp_handle_count_tokens(sp_server *server, sp_exchange *x);
void sp_handle_tokenize(sp_server *server, sp_exchange *x);
void sp_handle_detokenize(sp_server *server, sp_exchange *x);

#endif
