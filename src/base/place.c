/* SPDX-License-Identifier: MIT */
/* Processors, threads and memory nodes, by the calls that Linux has beyond POSIX; memory policies by the bare system calls
 * (set_mempolicy(2), mbind(2)), as libnuma has nothing else that is needed here. What a system lacks is answered once, beside
 * what Linux answers. Start at sp_place_read(). */
#include "base/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#endif

#define NODE_FOLDER "/sys/devices/system/node"

/* --- nodes ---------------------------------------------------------------------------------------------- */

/* Nothing known of nodes: all processors on one. */
static void assume_one_node(sp_place *place)
{
    memset(place->node, 0, sizeof place->node);
    place->n_nodes = 1;
    place->nodes[0] = 0;
}

int sp_place_node_of(const sp_place *place, int cpu)
{
    for (int i = 0; i < place->n_cpus; i++)
        if (place->cpus[i] == cpu) return place->node[i];
    return 0;
}

int sp_place_node_cpus(const sp_place *place, int node)
{
    int n = 0;
    for (int i = 0; i < place->n_cpus; i++) n += place->node[i] == node;
    return n;
}

#define LIST_CAP 4096 /* longer lists, of hundreds of separate numbers, are not read */
#define LIST_MAX 1024 /* numbers from here on are left out */

static bool read_number(const char **at, const char *end, int *out)
{
    const char *p = *at;
    int n = 0;
    while (p < end && *p >= '0' && *p <= '9' && n < 1 << 20) n = 10 * n + (*p++ - '0');
    if (p == *at) return false;
    *at = p;
    *out = n;
    return true;
}

/* The kernel's lists, "0-3,8,10-11": true for each number. False if the text is something else. */
static bool parse_list(bool has[LIST_MAX], const char *text, size_t len)
{
    const char *at = text, *end = text + len;
    memset(has, 0, LIST_MAX * sizeof *has);
    if (end > at && end[-1] == '\n') end--;
    while (at < end) {
        int first, last;
        if (!read_number(&at, end, &first)) return false;
        last = first;
        if (at < end && *at == '-') {
            at++;
            if (!read_number(&at, end, &last) || last < first) return false;
        }
        for (int i = first; i <= last && i < LIST_MAX; i++) has[i] = true;
        if (at < end && *at++ != ',') return false;
    }
    return true;
}

static bool read_list(bool has[LIST_MAX], const char *path)
{
    char text[LIST_CAP];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t len = 0;
    ssize_t n = 1;
    while (n > 0 && len < sizeof text) {
        n = read(fd, text + len, sizeof text - len);
        if (n > 0) len += (size_t)n;
    }
    close(fd);
    return n == 0 && parse_list(has, text, len);
}

void sp_place_read_nodes(sp_place *place, const char *folder)
{
    bool online[LIST_MAX], cpus[LIST_MAX];
    char path[512];
    assume_one_node(place);
    snprintf(path, sizeof path, "%s/online", folder);
    if (!read_list(online, path)) return;
    int n_nodes = 0;
    for (int id = 0; id < LIST_MAX && n_nodes < SP_PLACE_MAX_NODES; id++) {
        if (!online[id]) continue;
        snprintf(path, sizeof path, "%s/node%d/cpulist", folder, id);
        if (!read_list(cpus, path)) continue;
        bool used = false;
        for (int i = 0; i < place->n_cpus; i++) {
            if (!cpus[place->cpus[i]]) continue;
            place->node[i] = (uint8_t)n_nodes;
            used = true;
        }
        if (used) place->nodes[n_nodes++] = (int16_t)id;
    }
    if (n_nodes > 0) place->n_nodes = n_nodes;
}

/* --- threads -------------------------------------------------------------------------------------------- */

#if defined(__linux__)

/* Hold a thread to the processors of a node; -1: of all. */
static bool restrict_to(pthread_t thread, const sp_place *place, int node)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < place->n_cpus; i++)
        if (node < 0 || place->node[i] == node) CPU_SET(place->cpus[i], &set);
    return pthread_setaffinity_np(thread, sizeof set, &set) == 0;
}

static void read_cpus(sp_place *place)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return;
    for (int cpu = 0; cpu < SP_PLACE_MAX_CPUS && cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set)) place->cpus[place->n_cpus++] = (int16_t)cpu;
}

int sp_place_here(void)
{
    return sched_getcpu();
}

bool sp_place_pin(pthread_t thread, int cpu)
{
    cpu_set_t set;
    if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(thread, sizeof set, &set) == 0;
}

bool sp_place_run_time(pthread_t thread, int64_t *ns)
{
    clockid_t clock;
    struct timespec t;
    if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &t) != 0) return false;
    *ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    return true;
}

#else

static bool restrict_to(pthread_t thread, const sp_place *place, int node)
{
    (void)thread;
    (void)place;
    (void)node;
    return false;
}

static void read_cpus(sp_place *place)
{
    (void)place;
}

int sp_place_here(void)
{
    return -1;
}

bool sp_place_pin(pthread_t thread, int cpu)
{
    (void)thread;
    (void)cpu;
    return false;
}

bool sp_place_run_time(pthread_t thread, int64_t *ns)
{
    (void)thread;
    (void)ns;
    return false;
}

#endif

void sp_place_read(sp_place *place)
{
    place->n_cpus = 0;
    read_cpus(place);
    sp_place_read_nodes(place, NODE_FOLDER);
}

bool sp_place_pin_node(pthread_t thread, const sp_place *place, int node)
{
    return restrict_to(thread, place, node);
}

bool sp_place_unpin(pthread_t thread, const sp_place *place)
{
    return restrict_to(thread, place, -1);
}

sp_place_outcome sp_place_isolate(const sp_place *place)
{
    if (place->n_nodes < 2) return SP_PLACE_SAME;
    int node = sp_place_node_of(place, sp_place_here());
    return sp_place_pin_node(pthread_self(), place, node) ? SP_PLACE_DONE : SP_PLACE_REFUSED;
}

/* --- policies ------------------------------------------------------------------------------------------- */

#if defined(SYS_get_mempolicy) && defined(SYS_set_mempolicy) && defined(SYS_mbind)

/* linux/mempolicy.h, which is not installed everywhere. */
#define POLICY_DEFAULT 0
#define POLICY_BIND 2
#define POLICY_INTERLEAVE 3

/* A set of nodes as the kernel takes it. */
#define MASK_BITS (8 * (int)sizeof(unsigned long))
typedef struct node_mask {
    unsigned long words[LIST_MAX / 8 / sizeof(unsigned long)];
} node_mask;

static void add_node(node_mask *mask, const sp_place *place, int node)
{
    int id = place->nodes[node];
    mask->words[id / MASK_BITS] |= 1UL << (id % MASK_BITS);
}

/* The kernel takes one bit less than it is told. */
#define MASK_LEN ((unsigned long)LIST_MAX + 1)

sp_place_outcome sp_place_interleave(const sp_place *place)
{
    node_mask mask = {{0}};
    int policy = POLICY_DEFAULT;
    if (place->n_nodes < 2) return SP_PLACE_SAME;
    if (syscall(SYS_get_mempolicy, &policy, NULL, 0UL, NULL, 0UL) != 0) return SP_PLACE_REFUSED;
    if (policy != POLICY_DEFAULT) return SP_PLACE_KEPT;
    for (int i = 0; i < place->n_nodes; i++) add_node(&mask, place, i);
    return syscall(SYS_set_mempolicy, POLICY_INTERLEAVE, mask.words, MASK_LEN) == 0 ? SP_PLACE_DONE
                                                                                    : SP_PLACE_REFUSED;
}

bool sp_place_bind(void *data, size_t n_bytes, const sp_place *place, int node)
{
    node_mask mask = {{0}};
    add_node(&mask, place, node);
    return syscall(SYS_mbind, data, n_bytes, POLICY_BIND, mask.words, MASK_LEN, 0UL) == 0;
}

#else

sp_place_outcome sp_place_interleave(const sp_place *place)
{
    errno = ENOSYS;
    return place->n_nodes < 2 ? SP_PLACE_SAME : SP_PLACE_REFUSED;
}

bool sp_place_bind(void *data, size_t n_bytes, const sp_place *place, int node)
{
    (void)data;
    (void)n_bytes;
    (void)place;
    (void)node;
    return false;
}

#endif

/* --- pages ---------------------------------------------------------------------------------------------- */

/* The node of a page, by move_pages(2) that moves nothing; negative: it is not cached, or the system does not say. */
static int find_node(const void *address)
{
#if defined(SYS_move_pages)
    uintptr_t page = (uintptr_t)address & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    void *at = (void *)page;
    unsigned char cached = 0;
    int id = -1;
    if (mincore(at, 1, &cached) != 0 || !(cached & 1)) return -1;
    (void)*(const volatile char *)at; /* it is known once it is mapped */
    return syscall(SYS_move_pages, 0, 1UL, &at, NULL, &id, 0) == 0 ? id : -1;
#else
    (void)address;
    return -1;
#endif
}

int sp_place_find(const sp_place *place, const void *const *addresses, int n, int n_on[SP_PLACE_MAX_NODES])
{
    int n_found = 0;
    memset(n_on, 0, SP_PLACE_MAX_NODES * sizeof *n_on);
    for (int i = 0; i < n; i++) {
        int id = find_node(addresses[i]);
        for (int k = 0; k < place->n_nodes; k++) {
            if (id < 0 || place->nodes[k] != id) continue;
            n_on[k]++;
            n_found++;
        }
    }
    return n_found;
}
