/* SPDX-License-Identifier: MIT */
/* Requests that the tests of the API begin with: read, or the test fails with what was wrong. */
#ifndef SP_API_TESTING_H
#define SP_API_TESTING_H

#include "chat_testing.h"

#include "server/request.h"

static inline void parse_chat(sp_chat_request *request, const char *body)
{
    sp_fault fault = {0};
    if (!sp_chat_request_parse(request, body, strlen(body), &fault)) fail_msg("%s: %s", body, fault.text);
}

static inline void parse_text(sp_text_request *request, const char *body)
{
    sp_fault fault = {0};
    if (!sp_text_request_parse(request, body, strlen(body), &fault)) fail_msg("%s: %s", body, fault.text);
}

#endif
