/* SPDX-License-Identifier: MIT */
/* Processors and threads, by the calls that Linux has beyond POSIX. Start at sp_place_read(). */
#include "base/place.h"

#if defined(__linux__)

#include <sched.h>
#include <time.h>

void sp_place_read(sp_place *place)
{
    cpu_set_t set;
    place->n_cpus = 0;
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

bool sp_place_unpin(pthread_t thread, const sp_place *place)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < place->n_cpus; i++) CPU_SET(place->cpus[i], &set);
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

void sp_place_read(sp_place *place)
{
    place->n_cpus = 0;
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

bool sp_place_unpin(pthread_t thread, const sp_place *place)
{
    (void)thread;
    (void)place;
    return false;
}

bool sp_place_run_time(pthread_t thread, int64_t *ns)
{
    (void)thread;
    (void)ns;
    return false;
}

#endif
