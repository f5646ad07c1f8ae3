/* SPDX-License-Identifier: MIT */
/* The watcher's thread: an epoll instance beside libmicrohttpd's, and a look at all connections twice a second. Registrations are one-shot,
 * so that a half-closed socket reports once. A report carries socket and serial number, since the connection may be gone when it
 * is read. Lock order: the watch's, then an exchange's. Start at run_watch(). */
#include "server/http_watch.h"

#include "base/clock.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS 500
#define CUT_S 0.5 /* for what has come of a request to be read, when its sender has stopped sending */
#define GONE_EVENTS (EPOLLRDHUP | EPOLLHUP | EPOLLERR)

struct sp_watched {
    int fd;
    uint32_t serial;
    double deadline; /* for the request to have come; 0: none */
    bool is_guarded;
    bool is_idle; /* between two requests: the next byte begins one */
    sp_exchange *x;
    sp_watched *prev, *next;
};

struct sp_watch {
    pthread_mutex_t lock;
    pthread_t thread;
    int epoll, wakeup;
    bool has_thread, stop, is_ending;
    double timeout_s;
    const char *late_answer;
    sp_watched *first;
    size_t n;
    uint32_t n_serials;
};

/* --- connections ---------------------------------------------------------------------------------------- */

static void listen_for(sp_watch *watch, sp_watched *c, int op, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLONESHOT};
    event.data.u64 = (uint64_t)c->serial << 32 | (uint32_t)c->fd;
    epoll_ctl(watch->epoll, op, c->fd,
              &event); /* at worst a client's leaving is noticed when it is written to */
}

sp_watched *sp_watch_add(sp_watch *watch, int fd)
{
    sp_watched *c = sp_calloc(1, sizeof *c);
    if (!c) return NULL;
    pthread_mutex_lock(&watch->lock);
    c->fd = fd;
    c->serial = ++watch->n_serials;
    c->deadline = sp_seconds() + watch->timeout_s;
    c->next = watch->first;
    if (c->next) c->next->prev = c;
    watch->first = c;
    watch->n++;
    listen_for(watch, c, EPOLL_CTL_ADD, GONE_EVENTS);
    pthread_mutex_unlock(&watch->lock);
    return c;
}

void sp_watch_remove(sp_watch *watch, sp_watched *c)
{
    if (!c) return;
    pthread_mutex_lock(&watch->lock);
    epoll_ctl(watch->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    if (c->prev)
        c->prev->next = c->next;
    else
        watch->first = c->next;
    if (c->next) c->next->prev = c->prev;
    watch->n--;
    pthread_mutex_unlock(&watch->lock);
    sp_free(c);
}

void sp_watch_begin(sp_watch *watch, sp_watched *c, sp_exchange *x)
{
    pthread_mutex_lock(&watch->lock);
    c->x = x;
    c->is_idle = false;
    if (c->deadline == 0) c->deadline = sp_seconds() + watch->timeout_s;
    if (watch->is_ending) sp_exchange_abandon(x);
    pthread_mutex_unlock(&watch->lock);
}

void sp_watch_arrived(sp_watch *watch, sp_watched *c)
{
    pthread_mutex_lock(&watch->lock);
    c->deadline = 0;
    pthread_mutex_unlock(&watch->lock);
}

void sp_watch_guard(sp_watch *watch, sp_watched *c)
{
    pthread_mutex_lock(&watch->lock);
    c->is_guarded = true;
    listen_for(watch, c, EPOLL_CTL_MOD, GONE_EVENTS); /* reports again what it has reported */
    pthread_mutex_unlock(&watch->lock);
}

void sp_watch_end(sp_watch *watch, sp_watched *c)
{
    pthread_mutex_lock(&watch->lock);
    c->x = NULL;
    c->is_guarded = false;
    c->is_idle = true;
    c->deadline = 0;
    listen_for(watch, c, EPOLL_CTL_MOD, EPOLLIN);
    pthread_mutex_unlock(&watch->lock);
}

void sp_watch_abandon_all(sp_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->is_ending = true;
    for (sp_watched *c = watch->first; c; c = c->next)
        if (c->x) sp_exchange_abandon(c->x);
    pthread_mutex_unlock(&watch->lock);
}

size_t sp_watch_count(sp_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    size_t n = watch->n;
    pthread_mutex_unlock(&watch->lock);
    return n;
}

/* --- the thread ----------------------------------------------------------------------------------------- */

static void handle_event(sp_watch *watch, const struct epoll_event *event, double now)
{
    int fd = (int)(event->data.u64 & UINT32_MAX);
    uint32_t serial = (uint32_t)(event->data.u64 >> 32);
    sp_watched *c = watch->first;
    while (c && (c->fd != fd || c->serial != serial)) c = c->next;
    if (!c) return;
    if (c->is_idle && (event->events & EPOLLIN)) {
        c->is_idle = false;
        c->deadline = now + watch->timeout_s;
        listen_for(watch, c, EPOLL_CTL_MOD, GONE_EVENTS);
    } else if (c->deadline > 0) {
        if (c->deadline > now + CUT_S) c->deadline = now + CUT_S; /* libmicrohttpd may not notice it */
    } else if (c->x && c->is_guarded) {
        sp_exchange_abandon(c->x);
    }
}

static void check_times(sp_watch *watch, double now)
{
    for (sp_watched *c = watch->first; c; c = c->next) {
        if (c->deadline > 0 && now > c->deadline) {
            c->deadline = 0;
            ssize_t n =
                send(c->fd, watch->late_answer, strlen(watch->late_answer), MSG_NOSIGNAL | MSG_DONTWAIT);
            (void)n;                    /* a client that does not take the answer has none */
            shutdown(c->fd, SHUT_RDWR); /* the HTTP thread sees the end and closes it */
        }
        if (c->x) sp_exchange_remind(c->x, now);
    }
}

static void *run_watch(void *arg)
{
    sp_watch *watch = arg;
    struct epoll_event events[64];
    double looked = 0;
    for (;;) {
        int n = epoll_wait(watch->epoll, events, 64, TICK_MS);
        double now = sp_seconds();
        pthread_mutex_lock(&watch->lock);
        bool stop = watch->stop;
        for (int i = 0; i < n; i++)
            if (events[i].data.u64 != 0) handle_event(watch, &events[i], now);
        if (now - looked >= TICK_MS / 1000.0 * 0.9) {
            check_times(watch, now);
            looked = now;
        }
        pthread_mutex_unlock(&watch->lock);
        if (stop) return NULL;
    }
}

sp_status sp_watch_create(sp_watch **out, double request_timeout_s, const char *late_answer, sp_error *err)
{
    sp_watch *watch = sp_calloc(1, sizeof *watch);
    *out = NULL;
    if (!watch) return sp_fail_nomem(err, "watcher", sizeof *watch);
    pthread_mutex_init(&watch->lock, NULL);
    watch->timeout_s = request_timeout_s;
    watch->late_answer = late_answer;
    watch->epoll = epoll_create1(EPOLL_CLOEXEC);
    watch->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN}; /* data 0: no connection has serial number 0 */
    if (watch->epoll >= 0 && watch->wakeup >= 0 &&
        epoll_ctl(watch->epoll, EPOLL_CTL_ADD, watch->wakeup, &event) == 0)
        watch->has_thread = pthread_create(&watch->thread, NULL, run_watch, watch) == 0;
    if (!watch->has_thread) {
        sp_watch_destroy(watch);
        return sp_fail(err, SP_E_IO, "watcher of connections: no thread or no epoll");
    }
    *out = watch;
    return SP_OK;
}

void sp_watch_destroy(sp_watch *watch)
{
    if (!watch) return;
    if (watch->has_thread) {
        uint64_t one = 1;
        pthread_mutex_lock(&watch->lock);
        watch->stop = true;
        pthread_mutex_unlock(&watch->lock);
        if (write(watch->wakeup, &one, sizeof one) < 0) { /* it looks twice a second all the same */
        }
        pthread_join(watch->thread, NULL);
    }
    if (watch->epoll >= 0) close(watch->epoll);
    if (watch->wakeup >= 0) close(watch->wakeup);
    pthread_mutex_destroy(&watch->lock);
    sp_free(watch);
}
