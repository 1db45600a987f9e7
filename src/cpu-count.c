/* SPDX-License-Identifier: MIT
 *
 * Counting processors. The number in the machine says little in a container: a quota of two
 * processors on a machine of 64 would have 64 workers stop and go.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "util.h"

enum { CPUS_MOST = 4096 };

/* Processors of a quota, rounded up; 0: no quota. */
static unsigned round_up(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    long long n = quota / period + (quota % period != 0);
    return n > CPUS_MOST ? CPUS_MOST : (unsigned)n;
}

/* The first two numbers of a file; returns how many there are. */
static int read_numbers(const char *directory, const char *name, long long *a, long long *b)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = length < (int)sizeof path ? fopen(path, "re") : NULL;

    if (!file)
        return 0;
    int n = fscanf(file, "%lld %lld", a, b); /* "max ..." is none */
    fclose(file);
    return n;
}

static unsigned read_quota_v2(const char *directory)
{
    long long quota, period;

    return read_numbers(directory, "cpu.max", &quota, &period) == 2 ? round_up(quota, period) : 0;
}

static unsigned read_quota_v1(const char *directory)
{
    long long quota, period, none; /* a quota of -1: none */

    if (read_numbers(directory, "cpu.cfs_quota_us", &quota, &none) < 1 ||
        read_numbers(directory, "cpu.cfs_period_us", &period, &none) < 1)
        return 0;
    return round_up(quota, period);
}

static unsigned lower(unsigned a, unsigned b)
{
    return !a || (b && b < a) ? b : a;
}

/* The least quota of a group and those around it. A container may not see the folders that its own
 * path names, but always the one at the top. */
static unsigned least_quota(const char *root, const char *top, char *path,
                            unsigned (*read_quota)(const char *))
{
    char directory[PATH_MAX];
    unsigned least = 0;

    for (;;) {
        int length = snprintf(directory, sizeof directory, "%s/sys/fs/cgroup%s%s", root, top, path);
        if (length < (int)sizeof directory)
            least = lower(least, read_quota(directory));
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Whether a list of controllers, separated by commas, names this one. */
static bool is_named(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *found = list; (found = strstr(found, name)); found += len)
        if ((found == list || found[-1] == ',') && (found[len] == ',' || !found[len]))
            return true;
    return false;
}

/* A line is "number:controllers:path"; version 2 has no controllers. */
static unsigned line_quota(const char *root, char *line)
{
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(++controllers, ':') : NULL;

    if (!path)
        return 0;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (!*controllers)
        return least_quota(root, "", path, read_quota_v2);
    return is_named(controllers, "cpu") ? least_quota(root, "/cpu", path, read_quota_v1) : 0;
}

unsigned afork__cpu_quota(const char *root)
{
    char *line = NULL, path[PATH_MAX];
    size_t size = 0;
    unsigned least = 0;
    int length = snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = length < (int)sizeof path ? fopen(path, "re") : NULL;

    if (!file)
        return 0;
    while (getline(&line, &size, file) > 0)
        least = lower(least, line_quota(root, line));
    free(line);
    fclose(file);
    return least;
}

/* Of this thread. The mask of a large machine is longer than libc's own type. */
static unsigned count_allowed(void)
{
    for (int n = CPU_SETSIZE; n <= 1 << 20; n *= 2) {
        cpu_set_t *set = CPU_ALLOC(n);
        size_t size = CPU_ALLOC_SIZE(n);
        int result = set ? sched_getaffinity(0, size, set) : -1;
        int count = result ? 0 : CPU_COUNT_S(size, set);
        bool longer = set && result && errno == EINVAL;
        CPU_FREE(set);
        if (count > 0)
            return (unsigned)count;
        if (!longer)
            break;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

/* What the environment says; 0: nothing, or nothing that makes sense. */
static unsigned override(void)
{
    const char *text = getenv("AFORK_CPUS");
    char *end;

    if (!text || *text < '1' || *text > '9')
        return 0;
    unsigned long n = strtoul(text, &end, 10);
    return *end || n > CPUS_MOST ? 0 : (unsigned)n;
}

unsigned afork_cpu_count(void)
{
    unsigned n = override();

    return n ? n : lower(count_allowed(), afork__cpu_quota(""));
}
