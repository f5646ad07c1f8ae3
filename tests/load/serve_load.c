/* SPDX-License-Identifier: MIT */
/* Many streaming clients of one server, in one thread with epoll: each asks, checks that the stream is whole and that the reply is the one
 * the same request got when nothing else ran, and asks again; some leave in the middle. Not installed.
 *   serve_load PORT [--clients N] [--seconds S] [--requests N] [--leave SHARE] [--prefix BYTES] [--key KEY] [--model NAME] [--pid PID]
 *              [--seed N] [--max-tokens N]
 * With --prefix every prompt begins with the same text of so many bytes, as an agent's do, and none is asked alone before.
 * One JSON object on standard output; exit status 1 if anything went wrong. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"

enum { N_PROMPTS = 32, CLIENTS_MAX = 1024, SAMPLES_MAX = 1 << 20 };

typedef struct load_args {
    int port, n_clients, pid, prefix, max_tokens;
    double seconds, leave;
    int64_t n_requests;
    uint64_t seed;
    const char *key, *model;
} load_args;

/* One connection and its one request. */
typedef struct client {
    int fd;
    int prompt;
    sp_buf out; /* what is still to be sent */
    size_t sent;
    sp_buf in; /* received and not yet taken apart */
    bool has_head, is_chunked;
    sp_buf line;      /* of the event stream */
    sp_buf parts[4];  /* reasoning, content, finish reason, log-probabilities */
    bool done;        /* [DONE] has come */
    int64_t leave_at; /* events after which the client goes; -1: never */
    int64_t n_events;
    double asked, first;
} client;

typedef struct load {
    load_args args;
    int epoll;
    client clients[CLIENTS_MAX];
    sp_buf alone[N_PROMPTS];
    bool is_alone; /* the pass that records */
    uint64_t draws;
    int64_t n_asked, n_whole, n_left, n_errors, n_events, n_prompt, n_hit, n_reply;
    float *first_s, *whole_s;
    size_t n_samples;
    long rss_first, rss_last, rss_most; /* KiB */
} load;

static double draw(load *l)
{
    return sp_rng_uniform(l->args.seed, 1, l->draws++);
}

static void complain(load *l, const client *c, const char *what, const char *detail, size_t len)
{
    if (l->n_errors++ < 10)
        fprintf(stderr, "prompt %d: %s: %.*s\n", c->prompt, what, len > 600 ? 600 : (int)len,
                detail ? detail : "");
}

/* ---- requests ---- */

static void put_prompt(const load *l, sp_buf *text, int i, int64_t unique)
{
    static const char *const questions[] = {"What is %d * %d?", "What is %d + %d?", "Is %d more than %d?",
                                            "Sort: %d, 7, %d, 19.",
                                            "How many r's are in strawberry%d and %d?"};
    char question[128];
    for (int n = 0; text->len < (size_t)l->args.prefix; n++)
        sp_buf_printf(text, NULL, "Rule %d: the sky over field %d is blue. ", n, n * 7919 % 1000);
    /* literals all: the compiler cannot see it */
    switch (i % 5) {
    case 0: snprintf(question, sizeof question, questions[0], 11 + i, 13 + i * 3); break;
    case 1: snprintf(question, sizeof question, questions[1], 100 + i * 17, 900 - i * 11); break;
    case 2: snprintf(question, sizeof question, questions[2], 500 + i, 512 - i); break;
    case 3: snprintf(question, sizeof question, questions[3], 90 - i, 3 * i); break;
    default: snprintf(question, sizeof question, questions[4], i, i); break;
    }
    sp_buf_puts(text, question, NULL);
    if (l->args.prefix) sp_buf_printf(text, NULL, " (question %" PRId64 ")", unique);
}

/* Greedy and sampled, with a stop string, with log-probabilities: what must not depend on company. */
static const char *const settings[] = {"\"temperature\":0",
                                       "\"temperature\":1,\"seed\":7",
                                       "\"temperature\":0.6,\"seed\":11,\"top_p\":0.9",
                                       "\"temperature\":1.3,\"seed\":3,\"frequency_penalty\":0.5",
                                       "\"temperature\":0,\"stop\":[\"=\"]",
                                       "\"temperature\":0.8,\"seed\":5,\"logprobs\":true,\"top_logprobs\":2"};

static void put_request(load *l, sp_buf *out, int i)
{
    sp_buf body = {NULL, 0, 0}, text = {NULL, 0, 0};
    put_prompt(l, &text, i, l->n_asked);
    sp_buf_printf(&body, NULL,
                  "{\"model\":\"%s\",\"stream\":true,\"stream_options\":{\"include_usage\":true},%s",
                  l->args.model, settings[i % 6]);
    sp_buf_printf(&body, NULL, ",\"max_tokens\":%d,\"messages\":[{\"role\":\"user\",\"content\":",
                  l->args.prefix ? l->args.max_tokens : 16 + l->args.max_tokens * (i % 4) / 3);
    sp_json_put_string(&body, text.data, text.len, NULL);
    sp_buf_puts(&body, "}]}", NULL);
    sp_buf_printf(
        out, NULL,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        "Connection: close\r\nContent-Length: %zu\r\n",
        l->args.port, body.len);
    if (l->args.key) sp_buf_printf(out, NULL, "Authorization: Bearer %s\r\n", l->args.key);
    sp_buf_puts(out, "\r\n", NULL);
    sp_buf_append(out, body.data, body.len, NULL);
    sp_buf_clear(&body);
    sp_buf_clear(&text);
}

static bool start(load *l, client *c, int prompt)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->args.port)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.ptr = c};
    int one = 1;
    *c = (client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .prompt = prompt, .leave_at = -1};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!l->is_alone && draw(l) < l->args.leave) c->leave_at = (int64_t)(draw(l) * 30);
    put_request(l, &c->out, prompt);
    l->n_asked++;
    c->asked = sp_seconds();
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        complain(l, c, "connect", strerror(errno), strlen(strerror(errno)));
        close(c->fd);
        c->fd = -1;
        return false;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &event);
    return true;
}

/* ---- replies ---- */

/* By parts, since a server may put one or several tokens into an event. */
static void take_delta(client *c, const sp_json *choice)
{
    static const char *const names[] = {"reasoning_content", "content"};
    const sp_json *delta = sp_json_get(choice, "delta");
    for (int i = 0; i < 2; i++) {
        size_t len = 0;
        const char *text = sp_json_string(sp_json_get(delta, names[i]), &len);
        if (text) sp_buf_append(&c->parts[i], text, len, NULL);
    }
    const sp_json *finish = sp_json_get(choice, "finish_reason");
    if (sp_json_is(finish, SP_JSON_STRING)) sp_json_dump(&c->parts[2], finish, SP_JSON_COMPACT, NULL);
    const sp_json *logprobs = sp_json_get(sp_json_get(choice, "logprobs"), "content");
    for (size_t i = 0; i < sp_json_size(logprobs); i++)
        sp_json_dump(&c->parts[3], sp_json_at(logprobs, i), SP_JSON_COMPACT, NULL);
}

static void put_reply(const client *c, sp_buf *out)
{
    static const char *const names[] = {"reasoning: ", "\ncontent: ", "\nfinish: ", "\nlogprobs: "};
    for (int i = 0; i < 4; i++) {
        sp_buf_puts(out, names[i], NULL);
        sp_buf_append(out, c->parts[i].data ? c->parts[i].data : "", c->parts[i].len, NULL);
    }
}

static void take_event(load *l, client *c)
{
    sp_error err = SP_ERROR_NONE;
    sp_json *root = NULL;
    if (c->line.len == 0 || c->line.data[0] == ':') return;
    if (c->line.len < 6 || memcmp(c->line.data, "data: ", 6) != 0) {
        complain(l, c, "no event", c->line.data, c->line.len);
        return;
    }
    if (strcmp(c->line.data + 6, "[DONE]") == 0) {
        c->done = true;
        return;
    }
    if (sp_json_parse(c->line.data + 6, c->line.len - 6, &root, &err) != SP_OK ||
        sp_json_get(root, "error") || c->done) {
        complain(l, c, "a bad event", c->line.data, c->line.len);
    } else {
        const sp_json *usage = sp_json_get(root, "usage"), *choices = sp_json_get(root, "choices");
        if (c->first == 0 && sp_json_size(choices)) c->first = sp_seconds();
        c->n_events++;
        for (size_t i = 0; i < sp_json_size(choices); i++) take_delta(c, sp_json_at(choices, i));
        l->n_prompt += sp_json_int(sp_json_get(usage, "prompt_tokens"), 0);
        l->n_hit += sp_json_int(sp_json_get(usage, "prompt_cache_hit_tokens"), 0);
        l->n_reply += sp_json_int(sp_json_get(usage, "completion_tokens"), 0);
    }
    sp_json_destroy(root);
}

static void take_body(load *l, client *c, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n') {
            take_event(l, c);
            c->line.len = 0;
            if (c->line.data) c->line.data[0] = '\0';
        } else if (data[i] != '\r') {
            sp_buf_append(&c->line, data + i, 1, NULL);
        }
    }
}

static void drop(sp_buf *buf, size_t n)
{
    memmove(buf->data, buf->data + n, buf->len - n + 1);
    buf->len -= n;
}

static bool take_head(load *l, client *c)
{
    char *end = c->in.data ? strstr(c->in.data, "\r\n\r\n") : NULL;
    if (!end) return true;
    c->has_head = true;
    c->is_chunked = strcasestr(c->in.data, "transfer-encoding: chunked") != NULL;
    if (strncmp(c->in.data, "HTTP/1.1 200", 12) != 0) {
        complain(l, c, "refused", c->in.data, c->in.len);
        return false;
    }
    drop(&c->in, (size_t)(end + 4 - c->in.data));
    return true;
}

/* Take apart what has come; false after an error that ends the client. */
static bool take_input(load *l, client *c)
{
    if (!c->has_head && !take_head(l, c)) return false;
    while (c->has_head && c->in.len > 0) {
        size_t n = c->in.len, skip = 0;
        if (c->is_chunked) {
            char *end = strstr(c->in.data, "\r\n");
            if (!end) return true;
            n = strtoul(c->in.data, NULL, 16);
            skip = (size_t)(end + 2 - c->in.data);
            if (c->in.len < skip + n + 2) return true;
        }
        take_body(l, c, c->in.data + skip, n);
        drop(&c->in, skip + n + (c->is_chunked ? 2 : 0));
    }
    return true;
}

static void check_reply(load *l, client *c)
{
    sp_buf *alone = &l->alone[c->prompt], reply = {NULL, 0, 0};
    put_reply(c, &reply);
    if (!c->done) {
        complain(l, c, "the stream ended early", reply.data, reply.len);
    } else if (l->is_alone) {
        sp_buf_append(alone, reply.data, reply.len, NULL);
    } else {
        l->n_whole++;
        if (!l->args.prefix && strcmp(alone->data, reply.data) != 0) {
            complain(l, c, "another reply than alone", reply.data, reply.len);
            complain(l, c, "which was", alone->data, alone->len);
        }
        if (l->n_samples < SAMPLES_MAX) {
            l->first_s[l->n_samples] = (float)(c->first - c->asked);
            l->whole_s[l->n_samples++] = (float)(sp_seconds() - c->asked);
        }
    }
    sp_buf_clear(&reply);
}

static void stop(load *l, client *c)
{
    l->n_events += c->n_events;
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    sp_buf_clear(&c->out);
    sp_buf_clear(&c->in);
    sp_buf_clear(&c->line);
    for (int i = 0; i < 4; i++) sp_buf_clear(&c->parts[i]);
}

/* Send and receive what goes; true when the client is over. */
static bool serve(load *l, client *c, uint32_t events)
{
    char bytes[65536];
    if ((events & EPOLLOUT) && c->sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
        if (n > 0) c->sent += (size_t)n;
        if (c->sent == c->out.len) {
            struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};
            epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &event);
            if (c->leave_at == 0) {
                l->n_left++;
                return true;
            }
        }
    }
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) return false;
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n > 0) {
        sp_buf_append(&c->in, bytes, (size_t)n, NULL);
        if (!take_input(l, c)) return true;
        if (c->leave_at >= 0 && c->n_events >= c->leave_at && !c->done) {
            l->n_left++;
            return true;
        }
        return false;
    }
    check_reply(l, c);
    return true;
}

/* ---- the passes ---- */

static void ask_alone(load *l)
{
    l->is_alone = true;
    for (int i = 0; i < N_PROMPTS; i++) {
        struct epoll_event event;
        client *c = &l->clients[0];
        if (!start(l, c, i)) return;
        for (bool over = false; !over;)
            if (epoll_wait(l->epoll, &event, 1, 60000) == 1)
                over = serve(l, c, event.events);
            else
                complain(l, c, "a minute of silence", NULL, 0), over = true;
        stop(l, c);
    }
    l->is_alone = false;
}

static long read_rss(int pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = pid ? fopen(path, "r") : NULL;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
    if (file) fclose(file);
    return kib;
}

static void watch_memory(load *l, double share)
{
    long kib = read_rss(l->args.pid);
    if (share >= 0.2 && l->rss_first == 0) l->rss_first = kib; /* warm by then */
    if (kib > l->rss_most) l->rss_most = kib;
    l->rss_last = kib;
}

static bool may_start(const load *l, double end)
{
    if (l->args.n_requests) return l->n_asked < l->args.n_requests;
    return sp_seconds() < end;
}

static int ask_together(load *l)
{
    double began = sp_seconds(), end = began + l->args.seconds, seen = began, last = began;
    int n_running = 0;
    for (int i = 0; i < l->args.n_clients && may_start(l, end); i++)
        n_running += start(l, &l->clients[i], (int)(draw(l) * N_PROMPTS));
    while (n_running > 0) {
        struct epoll_event events[256];
        int n = epoll_wait(l->epoll, events, 256, 200);
        double now = sp_seconds();
        if (n > 0) last = now;
        if (now - last > 60) {
            complain(l, &l->clients[0], "a minute of silence", NULL, 0);
            break;
        }
        for (int i = 0; i < n; i++) {
            client *c = events[i].data.ptr;
            if (!serve(l, c, events[i].events)) continue;
            stop(l, c);
            if (!may_start(l, end) || !start(l, c, (int)(draw(l) * N_PROMPTS))) n_running--;
        }
        if (now - seen >= 0.2) {
            watch_memory(l, (now - began) / l->args.seconds);
            seen = now;
        }
    }
    l->args.seconds = sp_seconds() - began;
    return n_running;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(const float *sorted, size_t n, double share)
{
    return n ? (double)sorted[(size_t)(share * (double)(n - 1))] : 0;
}

static void print_result(load *l)
{
    qsort(l->first_s, l->n_samples, sizeof *l->first_s, compare_floats);
    qsort(l->whole_s, l->n_samples, sizeof *l->whole_s, compare_floats);
    printf("{\"clients\": %d, \"seconds\": %.1f, \"whole\": %" PRId64 ", \"left\": %" PRId64
           ", \"errors\": %" PRId64 ", \"events\": %" PRId64 ", \"prompt_tokens\": %" PRId64
           ", \"hit_tokens\": %" PRId64 ", \"reply_tokens\": %" PRId64 ", \"reply_tokens_per_s\": %.1f",
           l->args.n_clients, l->args.seconds, l->n_whole, l->n_left, l->n_errors, l->n_events, l->n_prompt,
           l->n_hit, l->n_reply, (double)l->n_reply / l->args.seconds);
    printf(", \"first_s\": {\"p50\": %.4f, \"p95\": %.4f, \"max\": %.4f}, \"whole_s\": {\"p50\": %.4f, "
           "\"p95\": %.4f, "
           "\"max\": %.4f}, \"rss_kib\": {\"warm\": %ld, \"end\": %ld, \"most\": %ld}}\n",
           percentile(l->first_s, l->n_samples, 0.5), percentile(l->first_s, l->n_samples, 0.95),
           percentile(l->first_s, l->n_samples, 1), percentile(l->whole_s, l->n_samples, 0.5),
           percentile(l->whole_s, l->n_samples, 0.95), percentile(l->whole_s, l->n_samples, 1), l->rss_first,
           l->rss_last, l->rss_most);
}

static bool parse_args(load_args *args, int argc, char **argv)
{
    if (argc < 2 || argc % 2 != 0) return false;
    args->port = atoi(argv[1]);
    for (int i = 2; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--clients") == 0)
            args->n_clients = atoi(value);
        else if (strcmp(name, "--seconds") == 0)
            args->seconds = atof(value);
        else if (strcmp(name, "--requests") == 0)
            args->n_requests = atoll(value);
        else if (strcmp(name, "--leave") == 0)
            args->leave = atof(value);
        else if (strcmp(name, "--prefix") == 0)
            args->prefix = atoi(value);
        else if (strcmp(name, "--max-tokens") == 0)
            args->max_tokens = atoi(value);
        else if (strcmp(name, "--key") == 0)
            args->key = value;
        else if (strcmp(name, "--model") == 0)
            args->model = value;
        else if (strcmp(name, "--pid") == 0)
            args->pid = atoi(value);
        else if (strcmp(name, "--seed") == 0)
            args->seed = (uint64_t)atoll(value);
        else
            return false;
    }
    return args->n_clients >= 1 && args->n_clients <= CLIENTS_MAX;
}

int main(int argc, char **argv)
{
    static load l = {
        .args = {.n_clients = 64, .seconds = 10, .leave = 0.2, .model = "sputnik-nano", .max_tokens = 120}};
    if (!parse_args(&l.args, argc, argv)) {
        fprintf(stderr, "usage: serve_load PORT [--clients N] [--seconds S] [--requests N] [--leave SHARE] "
                        "[--prefix BYTES] "
                        "[--key KEY] [--model NAME] [--pid PID] [--seed N] [--max-tokens N]\n");
        return 2;
    }
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    l.first_s = calloc(SAMPLES_MAX, sizeof *l.first_s);
    l.whole_s = calloc(SAMPLES_MAX, sizeof *l.whole_s);
    if (!l.first_s || !l.whole_s || l.epoll < 0) return 1;
    if (!l.args.prefix) {
        ask_alone(&l);
        l.n_asked = l.n_events = l.n_prompt = l.n_hit = l.n_reply = 0;
    }
    if (l.n_errors == 0 && ask_together(&l) != 0) fprintf(stderr, "clients were left waiting\n");
    print_result(&l);
    for (int i = 0; i < N_PROMPTS; i++) sp_buf_clear(&l.alone[i]);
    free(l.first_s);
    free(l.whole_s);
    return l.n_errors ? 1 : 0;
}
