/* SPDX-License-Identifier: MIT */
/* HTTP downloads over libcurl: resumable, with retries, verified before a file gets its name. */
#ifndef SP_CLI_DOWNLOAD_H
#define SP_CLI_DOWNLOAD_H

#include "base/mem.h"

typedef struct sp_net {
    void *curl;        /* handle, kept for its connections */
    const char *token; /* sent as a bearer token to the endpoint's host only; NULL: none */
    int64_t n_retries; /* failures in a row without progress before giving up */
    double retry_s;    /* first pause; doubles up to 30 s */
    int https_only;    /* redirects may not leave HTTPS */
} sp_net;

/* SP_E_UNSUPPORTED if the program is built without libcurl. */
sp_status sp_net_open(sp_net *net, sp_error *err);
void sp_net_close(sp_net *net);

/* Body of a URL, at most max_bytes; *next (sp_free it) gets the URL of `Link: <...>; rel="next"`, or NULL. */
sp_status sp_net_get(sp_net *net, const char *url, size_t max_bytes, sp_buf *body, char **next,
                     sp_error *err);

typedef struct sp_download {
    const char *url;
    const char *path;  /* "<path>.part" while it grows, "<path>.part.etag" beside it */
    const char *label; /* for the progress bar */
    uint64_t size;
    const char *sha256; /* lower-case hex, "" if unknown */
} sp_download;

/* Fetch to path. Goes on with what an earlier attempt left. The file appears at `path` only when its size and
 * SHA-256 are right. Errors: SP_E_NETWORK, SP_E_IO, SP_E_FORMAT (what arrived is not what was listed),
 * SP_E_NOT_FOUND. */
sp_status sp_net_download(sp_net *net, const sp_download *download, sp_error *err);

/* SHA-256 of a file as hex, with a progress bar for large ones. */
sp_status sp_file_sha256(const char *path, const char *label, char hex[65], sp_error *err);

#endif
