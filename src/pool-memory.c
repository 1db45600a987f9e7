/* SPDX-License-Identifier: MIT
 *
 * What memory of a worker is its own. Pages that it still shares with its template, as most of
 * them are after a fork, are not.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "util.h"

/* The start of a file, as a string; false: there is none. */
static bool read_file(const char *path, char *text, size_t size)
{
    AFORK__AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);

    if (got <= 0)
        return false;
    text[got] = '\0';
    return true;
}

static uint64_t kilobytes(const char *text, const char *name)
{
    const char *line = strstr(text, name);

    return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

uint64_t afork__private_memory(pid_t pid)
{
    char path[64], text[2048];
    unsigned long long resident, shared;

    if (!pid)
        return 0;
    snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)pid);
    if (read_file(path, text, sizeof text))
        return 1024 * (kilobytes(text, "\nPrivate_Clean:") + kilobytes(text, "\nPrivate_Dirty:") +
                       kilobytes(text, "\nSwap:"));
    /* A kernel without it: what is mapped from files counts as shared, all else as its own. */
    snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    if (!read_file(path, text, sizeof text) ||
        sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 || shared > resident)
        return 0;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}
