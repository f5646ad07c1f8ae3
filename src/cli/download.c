/* SPDX-License-Identifier: MIT */
/* One file over HTTP into "<path>.part", whatever interrupts it. Start at sp_net_download().
 *
 * Invariants: (1) bytes in the .part file are those of one entity from its start on, as far as ETags tell;
 * (2) nothing is renamed to `path` before size and SHA-256 are checked on the bytes that are on disk; (3) a
 * failed attempt leaves the .part file for the next one, unless its content is known to be wrong. */
#include "cli/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/sha256.h"
#include "cli/cli.h"
#include "cli/progress.h"

sp_status sp_file_sha256(const char *path, const char *label, char hex[65], sp_error *err)
{
    unsigned char chunk[1 << 16];
    uint8_t digest[32];
    uint64_t size = 0, done = 0;
    sp_sha256 sha;
    sp_progress progress;
    SP_TRY(sp_file_size(path, &size, err));
    FILE *file = fopen(path, "rb");
    if (!file) return sp_fail(err, SP_E_IO, "cannot open \"%s\": %s", path, strerror(errno));
    sp_sha256_init(&sha);
    sp_progress_start(&progress, label, SP_PROGRESS_BYTES, 0);
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;) {
        sp_sha256_add(&sha, chunk, n);
        done += n;
        if (size > 64 << 20) sp_progress_set(&progress, done, size);
    }
    sp_progress_finish(&progress);
    bool good = !ferror(file);
    fclose(file);
    if (!good) return sp_fail(err, SP_E_IO, "cannot read \"%s\"", path);
    sp_sha256_end(&sha, digest);
    sp_sha256_hex(digest, hex);
    return SP_OK;
}

#if SP_HAVE_CURL

#include <curl/curl.h>

sp_status sp_net_open(sp_net *net, sp_error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return sp_fail(err, SP_E_NETWORK, "libcurl cannot start");
    net->curl = curl_easy_init();
    return net->curl ? SP_OK : sp_fail(err, SP_E_NETWORK, "libcurl cannot start");
}

void sp_net_close(sp_net *net)
{
    if (net->curl) curl_easy_cleanup(net->curl);
    net->curl = NULL;
    curl_global_cleanup();
}

/* One request. Header values are those of the last response (after redirects). */
typedef struct request {
    sp_net *net;
    char etag[256];
    char link[2048];
    int64_t range_start; /* of Content-Range, -1 without one */
    /* sp_net_get */
    sp_buf *body;
    size_t max_bytes;
    /* sp_net_download */
    int fd;
    uint64_t have, size; /* bytes in the .part file; bytes expected */
    bool begun;          /* the first byte of this response has been placed */
    bool too_long;
    int write_errno;
    const char *etag_path;
    sp_progress *progress;
} request;

/* Value of header `name` in a raw header line, trimmed. */
static bool match_header(const char *line, size_t len, const char *name, char *out, size_t cap)
{
    size_t n = strlen(name);
    if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':') return false;
    line += n + 1;
    len -= n + 1;
    while (len > 0 && (line[0] == ' ' || line[0] == '\t')) line++, len--;
    while (len > 0 && (unsigned char)line[len - 1] <= ' ') len--;
    if (len >= cap) return false;
    memcpy(out, line, len);
    out[len] = '\0';
    return true;
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
    request *r = ctx;
    size_t len = size * count;
    char value[128];
    if (len >= 5 && strncmp(line, "HTTP/", 5) == 0) { /* a new response after a redirect or "100 Continue" */
        r->etag[0] = r->link[0] = '\0';
        r->range_start = -1;
    }
    match_header(line, len, "ETag", r->etag, sizeof r->etag);
    match_header(line, len, "Link", r->link, sizeof r->link);
    long long start = -1;
    if (match_header(line, len, "Content-Range", value, sizeof value) &&
        sscanf(value, "bytes %lld-", &start) == 1)
        r->range_start = start;
    return len;
}

static void set_common(request *r, const char *url)
{
    CURL *curl = r->net->curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "sputnik/" SP_VERSION);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, r->net->https_only ? "https" : "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS,
                     r->net->https_only ? (long)CURLPROTO_HTTPS : (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    if (r->net->token) { /* libcurl does not repeat it to another host */
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, r->net->token);
    }
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, r);
    r->range_start = -1;
    r->etag[0] = r->link[0] = '\0';
}

static bool is_transient(CURLcode code, long http)
{
    switch (code) {
    case CURLE_OK: return http == 408 || http == 429 || http >= 500;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_SSL_CONNECT_ERROR: return true;
    default: return false;
    }
}

static sp_status fail_http(const request *r, const char *url, CURLcode code, long http, sp_error *err)
{
    if (code != CURLE_OK) return sp_fail(err, SP_E_NETWORK, "%.200s: %s", url, curl_easy_strerror(code));
    if (http == 401 && r->net->token)
        return sp_fail(err, SP_E_NETWORK, "%.200s: HTTP 401, the token in HF_TOKEN is not accepted", url);
    if (http == 401)
        return sp_fail(err, SP_E_NETWORK,
                       "%.200s: HTTP 401, no such model, or one that needs a token in HF_TOKEN", url);
    if (http == 403)
        return sp_fail(err, SP_E_NETWORK,
                       "%.200s: HTTP 403, access is denied; its licence may have to be accepted on the hub",
                       url);
    if (http == 404)
        return sp_fail(err, SP_E_NOT_FOUND, "%.200s: HTTP 404, there is no such model, revision or file",
                       url);
    return sp_fail(err, SP_E_NETWORK, "%.200s: HTTP %ld", url, http);
}

/* Pause before attempt number `failures` (from 1): retry_s, doubling, at most 30 seconds. */
static void back_off(const sp_net *net, int64_t failures)
{
    double pause = net->retry_s;
    for (int64_t i = 1; i < failures && pause < 30; i++) pause *= 2;
    if (pause > 30) pause = 30;
    struct timespec t = {(time_t)pause, (long)((pause - (double)(time_t)pause) * 1e9)};
    nanosleep(&t, NULL);
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    request *r = ctx;
    size_t n = size * count;
    if (r->body->len + n > r->max_bytes) {
        r->too_long = true;
        return 0;
    }
    return sp_buf_append(r->body, data, n, NULL) == SP_OK ? n : 0;
}

/* URL of the next page out of `<url>; rel="next"`. */
static sp_status find_next(const char *link, char **next, sp_error *err)
{
    *next = NULL;
    const char *rel = strstr(link, "rel=\"next\"");
    const char *end = rel;
    while (end && end > link && *end != '>') end--;
    const char *start = end;
    while (start && start > link && *start != '<') start--;
    if (!rel || *end != '>' || *start != '<') return SP_OK;
    *next = sp_strndup(start + 1, (size_t)(end - start - 1));
    return *next ? SP_OK : sp_fail_nomem(err, "link", strlen(link));
}

sp_status sp_net_get(sp_net *net, const char *url, size_t max_bytes, sp_buf *body, char **next, sp_error *err)
{
    request r;
    memset(&r, 0, sizeof r);
    r.net = net;
    r.body = body;
    r.max_bytes = max_bytes;
    for (int64_t failures = 0;;) {
        long http = 0;
        body->len = 0;
        set_common(&r, url);
        curl_easy_setopt(net->curl, CURLOPT_ACCEPT_ENCODING, "");
        curl_easy_setopt(net->curl, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(net->curl, CURLOPT_WRITEDATA, &r);
        CURLcode code = curl_easy_perform(net->curl);
        curl_easy_getinfo(net->curl, CURLINFO_RESPONSE_CODE, &http);
        if (r.too_long)
            return sp_fail(err, SP_E_LIMIT, "%.200s: the answer is longer than %zu bytes", url, max_bytes);
        if (code == CURLE_OK && http == 200) return find_next(r.link, next, err);
        if (!is_transient(code, http) || ++failures > net->n_retries)
            return fail_http(&r, url, code, http, err);
        back_off(net, failures);
    }
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* The ETag belongs to the bytes that follow; a weak or absent one cannot serve If-Range. */
static void store_etag(const request *r)
{
    unlink(r->etag_path);
    if (r->etag[0] != '"') return;
    FILE *file = fopen(r->etag_path, "w");
    if (!file) return;
    fputs(r->etag, file);
    fclose(file);
}

static void load_etag(const char *path, char etag[256])
{
    etag[0] = '\0';
    FILE *file = fopen(path, "r");
    if (!file) return;
    if (!fgets(etag, 256, file)) etag[0] = '\0';
    fclose(file);
    etag[strcspn(etag, "\r\n")] = '\0';
    if (etag[0] != '"') etag[0] = '\0';
}

/* First bytes of a response: where do they belong? */
static bool place_response(request *r)
{
    long http = 0;
    curl_easy_getinfo(r->net->curl, CURLINFO_RESPONSE_CODE, &http);
    if (http != 200 && http != 206) return false;
    uint64_t start = http == 206 && r->range_start >= 0 ? (uint64_t)r->range_start : 0;
    if (http == 206 && start != r->have) return false; /* another range than asked for */
    if (start == 0 && (ftruncate(r->fd, 0) != 0 || lseek(r->fd, 0, SEEK_SET) != 0)) {
        r->write_errno = errno;
        return false;
    }
    if (start == 0) {
        r->have = 0;
        store_etag(r);
    }
    r->begun = true;
    return true;
}

static size_t on_file_data(char *data, size_t size, size_t count, void *ctx)
{
    request *r = ctx;
    size_t n = size * count;
    if (!r->begun && !place_response(r)) return 0;
    if (n > r->size - r->have) {
        r->too_long = true;
        return 0;
    }
    for (size_t done = 0; done < n;) {
        ssize_t wrote = write(r->fd, data + done, n - done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            r->write_errno = wrote < 0 ? errno : EIO;
            return 0;
        }
        done += (size_t)wrote;
        r->have += (uint64_t)wrote;
    }
    sp_progress_set(r->progress, r->have, r->size);
    return n;
}

static CURLcode request_once(request *r, const char *url, long *http)
{
    CURL *curl = r->net->curl;
    struct curl_slist *headers = NULL;
    char range[64], if_range[300], etag[256];
    set_common(r, url);
    r->begun = false;
    if (r->have > 0) {
        snprintf(range, sizeof range, "%llu-", (unsigned long long)r->have);
        curl_easy_setopt(curl, CURLOPT_RANGE, range);
        load_etag(r->etag_path, etag);
        if (etag[0]) {
            snprintf(if_range, sizeof if_range, "If-Range: %s", etag);
            headers = curl_slist_append(headers, if_range);
            curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        }
    }
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_file_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 0L);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, http);
    curl_slist_free_all(headers);
    return code;
}

static void forget_part(request *r)
{
    if (ftruncate(r->fd, 0) == 0 && lseek(r->fd, 0, SEEK_SET) == 0) r->have = 0;
    unlink(r->etag_path);
}

/* Requests until the .part file has the listed size. */
static sp_status fetch_part(request *r, const sp_download *d, sp_error *err)
{
    bool restarted = false;
    for (int64_t failures = 0; r->have < r->size || (r->size == 0 && failures == 0 && !r->begun);) {
        long http = 0;
        uint64_t before = r->have;
        CURLcode code = request_once(r, d->url, &http);
        if (r->write_errno)
            return sp_fail(err, SP_E_IO, "\"%s.part\": %s", d->path, strerror(r->write_errno));
        if (r->too_long) {
            forget_part(r);
            return sp_fail(err, SP_E_FORMAT, "%.200s: more than the listed %llu bytes arrived", d->url,
                           (unsigned long long)r->size);
        }
        bool bad_range = http == 416 || (http == 206 && !r->begun && code == CURLE_WRITE_ERROR);
        if (bad_range && !restarted) { /* the entity has changed: from the start, once */
            restarted = true;
            forget_part(r);
            continue;
        }
        bool good = code == CURLE_OK && (http == 200 || http == 206);
        if (good && r->have == r->size) break;
        bool refused = code == CURLE_WRITE_ERROR && !r->begun; /* an error page, not written */
        if (!good && !is_transient(refused ? CURLE_OK : code, http))
            return fail_http(r, d->url, refused ? CURLE_OK : code, http, err);
        failures = r->have > before ? 1 : failures + 1;
        if (failures > r->net->n_retries) {
            if (!good) return fail_http(r, d->url, refused ? CURLE_OK : code, http, err);
            return sp_fail(err, SP_E_NETWORK, "%.200s: %llu of %llu bytes arrived", d->url,
                           (unsigned long long)r->have, (unsigned long long)r->size);
        }
        back_off(r->net, failures);
    }
    return SP_OK;
}

static sp_status verify_part(request *r, const sp_download *d, const char *part, sp_error *err)
{
    char hex[65];
    if (fsync(r->fd) != 0) return sp_fail(err, SP_E_IO, "\"%s\": %s", part, strerror(errno));
    if (!d->sha256[0]) return SP_OK;
    SP_TRY(sp_file_sha256(part, "verifying", hex, err));
    if (strcmp(hex, d->sha256) == 0) return SP_OK;
    forget_part(r);
    return sp_fail(err, SP_E_FORMAT,
                   "%.200s: SHA-256 is %.16s..., expected %.16s...: what arrived is damaged", d->url, hex,
                   d->sha256);
}

static sp_status fetch_verified(request *r, const sp_download *d, const char *part, sp_error *err)
{
    struct stat st;
    if (fstat(r->fd, &st) != 0) return sp_fail(err, SP_E_IO, "\"%s\": %s", part, strerror(errno));
    r->have = (uint64_t)st.st_size;
    if (r->have > r->size || (r->have > 0 && !d->sha256[0]))
        forget_part(r); /* what cannot be checked is not resumed */
    if (lseek(r->fd, 0, SEEK_END) < 0) return sp_fail(err, SP_E_IO, "\"%s\": %s", part, strerror(errno));
    bool resumed = r->have > 0;
    sp_progress progress;
    r->progress = &progress;
    sp_status status = SP_E_FORMAT;
    for (int attempt = 0; status == SP_E_FORMAT && attempt < (resumed ? 2 : 1);
         attempt++) { /* damage may be from last time */
        r->too_long = false;
        sp_progress_start(&progress, d->label, SP_PROGRESS_BYTES, r->have);
        status = fetch_part(r, d, err);
        sp_progress_finish(&progress);
        if (status == SP_OK) status = verify_part(r, d, part, err);
    }
    return status;
}

sp_status sp_net_download(sp_net *net, const sp_download *d, sp_error *err)
{
    request r;
    sp_buf part = {NULL, 0, 0}, etag_path = {NULL, 0, 0};
    sp_status status;
    memset(&r, 0, sizeof r);
    r.net = net;
    r.size = d->size;
    r.fd = -1;
    SP_GOTO(done, status, sp_buf_printf(&part, err, "%s.part", d->path));
    SP_GOTO(done, status, sp_buf_printf(&etag_path, err, "%s.part.etag", d->path));
    r.etag_path = etag_path.data;
    r.fd = open(part.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (r.fd < 0) {
        status = sp_fail(err, SP_E_IO, "\"%s\": %s", part.data, strerror(errno));
        goto done;
    }
    SP_GOTO(done, status, fetch_verified(&r, d, part.data, err));
    if (rename(part.data, d->path) != 0)
        status = sp_fail(err, SP_E_IO, "\"%s\": %s", d->path, strerror(errno));
    unlink(etag_path.data);
done:
    if (r.fd >= 0) close(r.fd);
    sp_buf_clear(&part);
    sp_buf_clear(&etag_path);
    return status;
}

#else

sp_status sp_net_open(sp_net *net, sp_error *err)
{
    (void)net;
    return sp_fail(err, SP_E_UNSUPPORTED, "this program was built without libcurl: pull is not available");
}

void sp_net_close(sp_net *net)
{
    (void)net;
}

sp_status sp_net_get(sp_net *net, const char *url, size_t max_bytes, sp_buf *body, char **next, sp_error *err)
{
    (void)url;
    (void)max_bytes;
    (void)body;
    *next = NULL;
    return sp_net_open(net, err);
}

sp_status sp_net_download(sp_net *net, const sp_download *download, sp_error *err)
{
    (void)download;
    return sp_net_open(net, err);
}

#endif
