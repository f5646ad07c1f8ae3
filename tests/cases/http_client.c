/* SPDX-License-Identifier: MIT */
/* A client for test_serve.sh that behaves badly on purpose. All talk to 127.0.0.1:PORT and give up after TIMEOUT_S.
 *
 *     http_client PORT ask METHOD PATH [BODY [HEADER...]]   one request; prints the answer as it comes
 *     http_client PORT raw                                   standard input as it is, then what comes back
 *     http_client PORT drip MS                               a request, a byte each MS; prints what comes back
 *     http_client PORT leave PATH BODY                       go after the first bytes of the body of the answer
 *     http_client PORT half PATH BODY                        stop sending after them; prints "closed" when the server closes
 *     http_client PORT hold N                                N silent connections, and the status of a request beside them
 *     http_client PORT body BYTES [chunked]                  a body of so many bytes to /v1/chat/completions; prints the status
 *     http_client PORT fuzz N SEED                           N malformed requests; prints how many of each status
 *     http_client PORT pass ADDRESS N BACKLOG PROGRAM ARGS...   become the program, with N sockets of ADDRESS as systemd passes them;
 *                                                            BACKLOG -1: they do not listen; PORT 0: any */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_S 30

static int port;

static int dial(void)
{
    struct sockaddr_in address = {0};
    struct timeval limit = {TIMEOUT_S, 0};
    int one = 1;
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fprintf(stderr, "connect: %s\n", strerror(errno));
        exit(1);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int send_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent <= 0) return 0;
        data += sent;
        n -= (size_t)sent;
    }
    return 1;
}

static void print_rest(int fd)
{
    char text[4096];
    ssize_t n;
    while ((n = recv(fd, text, sizeof text, 0)) > 0) fwrite(text, 1, (size_t)n, stdout);
    if (n < 0 && errno != ECONNRESET) puts("no answer in time");
}

static int read_status(int fd)
{
    char text[64] = "";
    size_t n = 0;
    while (n < sizeof text - 1) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0) break;
        n += (size_t)got;
    }
    text[n] = '\0';
    char junk[4096];
    while (recv(fd, junk, sizeof junk, MSG_DONTWAIT) > 0) {
    }
    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? atoi(text + 9) : 0;
}

static int ask(int fd, const char *method, const char *path, const char *body, char **headers)
{
    char head[8192];
    int has_host = 0;
    size_t n = (size_t)snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nConnection: close\r\n", method, path);
    for (char **header = headers; header && *header; header++) {
        has_host |= strncmp(*header, "Host:", 5) == 0;
        n += (size_t)snprintf(head + n, sizeof head - n, "%s\r\n", *header);
    }
    if (!has_host) n += (size_t)snprintf(head + n, sizeof head - n, "Host: 127.0.0.1:%d\r\n", port);
    if (body && body[0])
        n += (size_t)snprintf(head + n, sizeof head - n,
                              "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    n += (size_t)snprintf(head + n, sizeof head - n, "\r\n");
    return send_all(fd, head, n) && (!body || send_all(fd, body, strlen(body)));
}

static void run_raw(void)
{
    char text[65536];
    int fd = dial();
    size_t n = fread(text, 1, sizeof text, stdin);
    send_all(fd, text, n);
    print_rest(fd);
}

static void run_drip(int ms)
{
    char text[2048];
    int fd = dial();
    memset(text, 'a', sizeof text);
    memcpy(text, "GET /health HTTP/1.1\r\nX-Long: ", 30);
    for (size_t i = 0; i < sizeof text; i++) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (poll(&waiting, 1, ms) > 0 || !send_all(fd, text + i, 1)) break;
    }
    print_rest(fd);
}

/* Up to the first bytes of the answer's body. */
static int begin_reading(const char *path, const char *body)
{
    char text[65536];
    size_t n = 0;
    int fd = dial();
    ask(fd, "POST", path, body, NULL);
    while (n < sizeof text - 1) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0) break;
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "data: ")) return fd;
    }
    fprintf(stderr, "no stream: %.200s\n", text);
    exit(1);
}

static void run_half(const char *path, const char *body)
{
    char text[4096];
    ssize_t n;
    int fd = begin_reading(path, body);
    shutdown(fd, SHUT_WR);
    while ((n = recv(fd, text, sizeof text, 0)) > 0) {
    }
    puts(n == 0 || errno == ECONNRESET ? "closed" : "still open");
}

static void run_hold(int n)
{
    for (int i = 0; i < n; i++) dial();
    int fd = dial();
    ask(fd, "GET", "/health", NULL, NULL);
    printf("%d\n", read_status(fd));
}

static void run_body(long long n, int chunked)
{
    static char piece[65536];
    char head[512];
    int fd = dial();
    memset(piece, ' ', sizeof piece);
    int len =
        chunked
            ? snprintf(head, sizeof head,
                       "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
                       "chunked\r\n\r\n")
            : snprintf(
                  head, sizeof head,
                  "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %lld\r\n\r\n", n);
    int good = send_all(fd, head, (size_t)len);
    while (good && n > 0) {
        size_t some = n < (long long)sizeof piece ? (size_t)n : sizeof piece;
        if (chunked) good = send_all(fd, head, (size_t)snprintf(head, sizeof head, "%zx\r\n", some));
        good = good && send_all(fd, piece, some);
        if (chunked) good = good && send_all(fd, "\r\n", 2);
        n -= (long long)some;
    }
    if (good && chunked) send_all(fd, "0\r\n\r\n", 5);
    printf("%d%s\n", read_status(fd), good ? "" : " cut");
}

/* --- the fuzzer ----------------------------------------------------------------------------------------- */

static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    return (uint32_t)(state >> 33) % below;
}

static const char *const seeds[] = {
    "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/models/a%2Fb?x=1&y HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
    "application/json\r\nContent-Length: 82\r\n\r\n"
    "{\"model\":\"sputnik-nano\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"Hi!\"}]}",
    "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    "26\r\n{\"model\":\"m\",\"prompt\":\"a\",\"max_tokens\":\r\n2\r\n1}\r\n0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n",
    "POST /anthropic/v1/messages HTTP/1.0\r\nx-api-key: k\r\nContent-Length: 2\r\n\r\n{}",
    "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\nGET /metrics HTTP/1.1\r\nHost: "
    "[::1]:80\r\n\r\n",
};

#define FUZZ_CAP 70000

static size_t mutate(unsigned char *text, size_t n)
{
    static const char *const words[] = {"\r\n",
                                        "\n",
                                        "\0",
                                        ":",
                                        "Content-Length: 99999999999999999999\r\n",
                                        "%00",
                                        "%zz",
                                        "Transfer-Encoding: chunked\r\n",
                                        "\xff\xfe",
                                        "[[[[[[[[[[",
                                        "-1",
                                        "\\u0000",
                                        "HTTP/9.9"};
    size_t at = draw((uint32_t)n + 1), len = 1 + draw(24);
    switch (draw(6)) {
    case 0: /* other bytes */
        for (size_t i = at; i < n && i < at + len; i++) text[i] = (unsigned char)draw(256);
        return n;
    case 1: /* fewer */
        if (at + len > n) len = n - at;
        memmove(text + at, text + at + len, n - at - len);
        return n - len;
    case 2: return at; /* cut off */
    case 3: {          /* a word that matters */
        const char *word = words[draw(sizeof words / sizeof words[0])];
        len = word[0] ? strlen(word) : 1;
        if (n + len > FUZZ_CAP) return n;
        memmove(text + at + len, text + at, n - at);
        memcpy(text + at, word, len);
        return n + len;
    }
    case 4: /* twice */
        if (at + len > n) len = n - at;
        if (n + len > FUZZ_CAP) return n;
        memmove(text + at + len, text + at, n - at);
        return n + len;
    default: /* much of something, seldom */
        len = draw(40) == 0 ? 40000 : 10;
        if (n + len > FUZZ_CAP) return n;
        memmove(text + at + len, text + at, n - at);
        memset(text + at, "a[{\"% \r\n"[draw(8)], len);
        return n + len;
    }
}

static void run_fuzz(int n, uint64_t seed)
{
    static unsigned char text[FUZZ_CAP + 1];
    static int counts[600];
    state = seed;
    for (int i = 0; i < n; i++) {
        const char *from = seeds[draw(sizeof seeds / sizeof seeds[0])];
        size_t len = strlen(from);
        memcpy(text, from, len);
        for (uint32_t k = 1 + draw(4); k > 0; k--) len = mutate(text, len);
        int fd = dial();
        send_all(fd, (const char *)text, len);
        shutdown(fd, SHUT_WR);
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        int status = poll(&waiting, 1, 20) > 0 ? read_status(fd) : 0;
        counts[status >= 0 && status < 600 ? status : 0]++;
        close(fd);
    }
    for (int i = 0; i < 600; i++)
        if (counts[i]) printf("%d: %d\n", i, counts[i]);
}

static void run_pass(char **argv)
{
    struct sockaddr_in address = {0};
    char pid[16];
    int one = 1;
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    inet_pton(AF_INET, argv[0], &address.sin_addr);
    for (int i = 0; i < atoi(argv[1]); i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) exit(1);
        if (atoi(argv[2]) >= 0) listen(fd, atoi(argv[2]));
        if (fd != 3 + i && (dup2(fd, 3 + i) < 0 || close(fd) != 0)) exit(1);
    }
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", argv[1], 1);
    execv(argv[3], argv + 3);
    exit(1);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    alarm(250);
    if (argc < 3) return 2;
    port = atoi(argv[1]);
    const char *mode = argv[2];
    if (strcmp(mode, "ask") == 0 && argc >= 5) {
        int fd = dial();
        ask(fd, argv[3], argv[4], argc > 5 ? argv[5] : NULL, argc > 6 ? argv + 6 : NULL);
        print_rest(fd);
    } else if (strcmp(mode, "raw") == 0) {
        run_raw();
    } else if (strcmp(mode, "drip") == 0 && argc == 4) {
        run_drip(atoi(argv[3]));
    } else if (strcmp(mode, "leave") == 0 && argc == 5) {
        close(begin_reading(argv[3], argv[4]));
    } else if (strcmp(mode, "half") == 0 && argc == 5) {
        run_half(argv[3], argv[4]);
    } else if (strcmp(mode, "hold") == 0 && argc == 4) {
        run_hold(atoi(argv[3]));
    } else if (strcmp(mode, "body") == 0 && argc >= 4) {
        run_body(atoll(argv[3]), argc > 4);
    } else if (strcmp(mode, "fuzz") == 0 && argc == 5) {
        run_fuzz(atoi(argv[3]), strtoull(argv[4], NULL, 10));
    } else if (strcmp(mode, "pass") == 0 && argc >= 7) {
        run_pass(argv + 3);
    } else {
        return 2;
    }
    return 0;
}
