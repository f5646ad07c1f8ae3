/* SPDX-License-Identifier: MIT */
/* A tiny HTTP server for test_pull.sh that misbehaves on purpose. Loopback only, a port chosen by the system
 * and written to ROOT/port, one request per connection, ends by itself after two minutes.
 *
 *     http_server ROOT
 *
 * The first part of a request's path is the mode, so a test chooses it through
 * HF_ENDPOINT=http://127.0.0.1:PORT/MODE: /MODE/api/models/ORG/REPO/tree/REV    -> ROOT/tree.json (mode
 * "page": page1.json, then page2.json; "evil": evil.json, and so on) /MODE/ORG/REPO/resolve/REV/PATH       ->
 * ROOT/files/PATH Each request is logged to ROOT/log as "MODE PATH RANGE". */
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define DROP_BYTES 40000

static const char *root;
static int port;
static int n_requests;

typedef struct request {
    char mode[32], path[1024]; /* path after the mode, without the query */
    char query[256];
    long range; /* first byte asked for, -1 without Range */
    char if_range[64];
    char authorization[128];
} request;

static void send_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent <= 0) return;
        data += sent;
        n -= (size_t)sent;
    }
}

static void send_text(int fd, const char *fmt, ...)
{
    char text[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    send_all(fd, text, (size_t)n);
}

static void send_status(int fd, const char *status)
{
    send_text(fd, "HTTP/1.1 %s\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsorry\n", status);
}

static char *read_file(const char *name, size_t *n)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*n + 1);
    if (data && fread(data, 1, *n, file) != *n) *n = 0;
    fclose(file);
    return data;
}

static void read_header(request *r, const char *line)
{
    if (strncasecmp(line, "Range: bytes=", 13) == 0) r->range = atol(line + 13);
    if (strncasecmp(line, "If-Range: ", 10) == 0) snprintf(r->if_range, sizeof r->if_range, "%s", line + 10);
    if (strncasecmp(line, "Authorization: ", 15) == 0)
        snprintf(r->authorization, sizeof r->authorization, "%s", line + 15);
}

static int read_request(int fd, request *r)
{
    char text[8192];
    size_t n = 0;
    memset(r, 0, sizeof *r);
    r->range = -1;
    while (n < sizeof text - 1) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0) return 0;
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n")) break;
    }
    char target[1400] = "";
    if (sscanf(text, "GET %1399s", target) != 1 || target[0] != '/') return 0;
    char *query = strchr(target, '?');
    if (query) {
        *query = '\0';
        snprintf(r->query, sizeof r->query, "%s", query + 1);
    }
    char *slash = strchr(target + 1, '/');
    if (!slash) return 0;
    snprintf(r->mode, sizeof r->mode, "%.*s", (int)(slash - target - 1), target + 1);
    snprintf(r->path, sizeof r->path, "%s", slash);
    for (char *line = strtok(text, "\r\n"); line; line = strtok(NULL, "\r\n")) read_header(r, line);
    return 1;
}

static int is_mode(const request *r, const char *mode)
{
    return strcmp(r->mode, mode) == 0;
}

static void send_list(int fd, const request *r)
{
    const char *name = "tree.json";
    int second = strstr(r->query, "cursor=2") != NULL;
    size_t n = 0;
    if (is_mode(r, "page")) name = second ? "page2.json" : "page1.json";
    if (is_mode(r, "evil")) name = "evil.json";
    if (is_mode(r, "hf")) name = "hf.json";
    if (is_mode(r, "noshard")) name = "noshard.json";
    if (is_mode(r, "nojson")) name = "files/README.md";
    char *data = read_file(name, &n);
    if (!data) {
        send_status(fd, "404 Not Found");
        return;
    }
    send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n", n);
    if (is_mode(r, "page") && !second)
        send_text(fd, "Link: <https://elsewhere.example%s?recursive=true&cursor=2>; rel=\"next\"\r\n",
                  r->path);
    send_text(fd, "\r\n");
    send_all(fd, data, n);
    free(data);
}

static void send_file(int fd, const request *r, const char *name)
{
    size_t n = 0, start = 0;
    const char *etag = is_mode(r, "newtag") ? "\"v2\"" : "\"v1\"";
    char *data = read_file(name, &n);
    if (!data) {
        send_status(fd, "404 Not Found");
        return;
    }
    if (is_mode(r, "short") && n > 100) n -= 100;
    int ranged =
        r->range > 0 && !is_mode(r, "norange") && (!r->if_range[0] || strcmp(r->if_range, etag) == 0);
    if (ranged && (size_t)r->range >= n) {
        send_status(fd, "416 Range Not Satisfiable");
        free(data);
        return;
    }
    if (ranged) start = (size_t)r->range;
    if (is_mode(r, "corrupt") && n > 0) data[n / 2] ^= 1;
    size_t claimed = n - start, sent = n - start;
    if (is_mode(r, "drop") && sent > DROP_BYTES) sent = DROP_BYTES;
    if (is_mode(r, "droponce") && n_requests == 0 && sent > DROP_BYTES) sent = DROP_BYTES;
    if (is_mode(r, "dead")) sent = r->range > 0 ? 0 : (sent > DROP_BYTES ? DROP_BYTES : sent);
    if (is_mode(r, "long")) claimed = sent + 100;
    if (ranged)
        send_text(fd, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\n", start, n - 1,
                  n);
    else
        send_text(fd, "HTTP/1.1 200 OK\r\n");
    send_text(fd, "ETag: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", etag, claimed);
    send_all(fd, data + start, sent);
    if (is_mode(r, "long")) {
        static const char more[100];
        send_all(fd, more, sizeof more);
    }
    n_requests++;
    free(data);
}

static void answer(int fd, const request *r)
{
    static int n_flaky;
    const char *resolve = strstr(r->path, "/resolve/");
    if (is_mode(r, "e401")) return send_status(fd, "401 Unauthorized");
    if (is_mode(r, "e403")) return send_status(fd, "403 Forbidden");
    if (is_mode(r, "e404")) return send_status(fd, "404 Not Found");
    if (is_mode(r, "e500")) return send_status(fd, "500 Internal Server Error");
    if (is_mode(r, "flaky") && n_flaky++ % 3 != 2) return send_status(fd, "503 Service Unavailable");
    if (is_mode(r, "token") && strcmp(r->authorization, "Bearer hf_secret") != 0)
        return send_status(fd, "401 Unauthorized");
    if (is_mode(r, "noauth") && r->authorization[0]) return send_status(fd, "400 Bad Request");
    if (strncmp(r->path, "/api/models/", 12) == 0) return send_list(fd, r);
    if (!resolve) return send_status(fd, "404 Not Found");
    if (is_mode(r, "redirect"))
        return send_text(fd,
                         "HTTP/1.1 302 Found\r\nLocation: http://localhost:%d/noauth%s\r\nContent-Length: "
                         "0\r\nConnection: close\r\n\r\n",
                         port, r->path);
    const char *name = strchr(resolve + 9, '/');
    char path[1100];
    snprintf(path, sizeof path, "files%s", name ? name : "/");
    if (strstr(path, "..")) return send_status(fd, "400 Bad Request");
    send_file(fd, r, path);
}

static void log_request(const request *r)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/log", root);
    FILE *file = fopen(path, "a");
    if (!file) return;
    fprintf(file, "%s %s %ld\n", r->mode, r->path, r->range);
    fclose(file);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {0};
    socklen_t len = sizeof address;
    char path[2048];
    if (argc != 2) return 2;
    root = argv[1];
    signal(SIGPIPE, SIG_IGN);
    alarm(120);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 16) != 0 || getsockname(listener, (struct sockaddr *)&address, &len) != 0)
        return 1;
    port = ntohs(address.sin_port);
    snprintf(path, sizeof path, "%s/port.tmp", root);
    FILE *file = fopen(path, "w");
    if (!file) return 1;
    fprintf(file, "%d\n", port);
    fclose(file);
    char final_path[2048];
    snprintf(final_path, sizeof final_path, "%s/port", root);
    if (rename(path, final_path) != 0) return 1;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        request r;
        if (fd < 0) continue;
        if (read_request(fd, &r)) {
            log_request(&r);
            answer(fd, &r);
        }
        shutdown(fd, SHUT_WR);
        char rest[256]; /* a reset would take back what was sent */
        while (recv(fd, rest, sizeof rest, 0) > 0) {
        }
        close(fd);
    }
}
