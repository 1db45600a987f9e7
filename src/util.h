/* SPDX-License-Identifier: MIT
 *
 * Small things that several files of the core need.
 */
#ifndef AFORK_UTIL_H
#define AFORK_UTIL_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define AFORK__CLEANUP(function) __attribute__((cleanup(function)))

/* The `type` whose `member` it is that `pointer` points to. */
#define AFORK__CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

#define AFORK__USEC_PER_SEC INT64_C(1000000)
#define AFORK__USEC_PER_MSEC INT64_C(1000)

/* Closes `*fd` unless it is -1, keeps errno, and forgets it. */
static inline void afork__close(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    close(*fd);
    errno = saved;
    *fd = -1;
}

/* A descriptor that is closed when it leaves its scope; afork__steal_fd() hands it on. */
#define AFORK__AUTO_FD AFORK__CLEANUP(afork__close) int

static inline int afork__steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

/* Microseconds on the monotonic clock. */
static inline int64_t afork__now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * AFORK__USEC_PER_SEC + now.tv_nsec / 1000;
}

/* So much later; at the latest the end of time. */
static inline int64_t afork__later(int64_t time, int64_t usec)
{
    return usec > INT64_MAX - time ? INT64_MAX : time + usec;
}

#endif
