/* SPDX-License-Identifier: MIT */
/* Where the name and the arguments of a tool call stand in JSON that is still being written. Brackets and strings are followed, nothing
 * else is checked: what a model writes wrongly between the arguments' braces is passed on as it is. */
#ifndef SP_TEXT_CALL_SCAN_H
#define SP_TEXT_CALL_SCAN_H

#include "text/chat_json.h"

typedef enum sp_call_key { SP_CALL_KEY_OTHER, SP_CALL_KEY_NAME, SP_CALL_KEY_ARGUMENTS } sp_call_key;

/* Zero it to begin; offsets are from the text's beginning. */
typedef struct sp_call_scan {
    bool
        is_bare; /* set by the caller: the outer object is the arguments, else it is {"name": ..., "arguments": {...}} */
    size_t at; /* bytes read */
    size_t depth;
    bool in_string, escaped;
    bool is_over;          /* the outer object is complete, or there is none: nothing more is read */
    bool in_value;         /* of a member of the outer object */
    sp_call_key key;       /* of that member */
    size_t string;         /* the beginning of the newest string */
    size_t name, name_end; /* of the name, quotes included; name_end 0: it has not come */
    bool has_args;         /* the arguments have begun */
    size_t args,
        args_end; /* from their brace to behind the one that closes it; args_end 0: it has not come */
} sp_call_scan;

/* Read on in text[0..len), of which the scan has read the beginning already. */
void sp_call_scan_read(sp_call_scan *scan, const char *text, size_t len);

/* Append the name as it is meant. False if it has not come or is no JSON string; *status tells of memory. */
bool sp_call_scan_name(const sp_call_scan *scan, const char *text, sp_buf *name, sp_status *status,
                       sp_error *err);

#endif
