/* SPDX-License-Identifier: MIT */
/* The API's table of endpoints. */
#include "server/api_parts.h"

const sp_route sp_routes_api[] = {
    {"POST", "/chat/completions", sp_handle_chat, false},
    {"POST", "/completions", sp_handle_completions, false},
    {"GET", "/models", sp_handle_models, false},
    {"GET", "/models/{id}", sp_handle_model, false},
    {"GET", "/user/balance", sp_handle_balance, false},
    {"POST", "/messages", sp_handle_messages, false},
    {"POST", "/messages/count_tokens", sp_handle_count_tokens, false},
    {"POST", "/anthropic/v1/messages", sp_handle_messages, false},
    {"POST", "/anthropic/v1/messages/count_tokens", sp_handle_count_tokens, false},
    {"POST", "/tokenize", sp_handle_tokenize, false},
    {"POST", "/detokenize", sp_handle_detokenize, false},
    {NULL, NULL, NULL, false},
};
