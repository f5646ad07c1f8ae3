/* SPDX-License-Identifier: MIT */
/* The files of the chat page, embedded at build by cmake/page.cmake. */
#ifndef SP_SERVER_PAGE_H
#define SP_SERVER_PAGE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct sp_page_asset {
    const char *path;          /* "/", "/assets/main.js", ... */
    const char *type;          /* media type, without charset */
    const char *etag;          /* quoted, from the content's SHA-256 */
    const unsigned char *data; /* packed by gzip if is_packed; there is no other form then */
    size_t len;
    bool is_packed;
} sp_page_asset;

/* All of them, ended by NULL. */
extern const sp_page_asset *const sp_page_assets[];

const sp_page_asset *sp_page_find(const char *path); /* NULL: there is none */

/* The status with which a request for the asset is answered: 200, 304 (the client has it: If-None-Match) or 406 (it is packed, and the
 * client's Accept-Encoding does not take gzip). Headers may be NULL. */
int sp_page_status(const sp_page_asset *asset, const char *if_none_match, const char *accept_encoding);

/* What the page may do, as a Content-Security-Policy. */
extern const char sp_page_policy[];

#endif
