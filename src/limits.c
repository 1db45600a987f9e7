/* SPDX-License-Identifier: MIT
 *
 * Limits, on the host's side: what was asked for is checked and sent, and kept in mind so that a
 * breach can be told by name.
 */
#include "config.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "internal.h"
#include "limit-set.h"
#include "util.h"

/* What a server has open before it obeys, and needs to receive a fork's sockets, with some to
 * spare. */
enum { OPEN_FILES_MIN = 16 };

static int check_paths(const char *const *paths)
{
    for (; paths && *paths; paths++) {
        if (**paths != '/')
            return -EINVAL;
        if (strlen(*paths) >= PATH_MAX)
            return -ENAMETOOLONG;
    }
    return 0;
}

static int check_limits(const struct afork_limits *limits)
{
    if (limits->size < sizeof *limits || limits->memory > AFORK__LIMIT_MAX ||
        limits->file_size > AFORK__LIMIT_MAX || limits->cpu_seconds > UINT32_MAX ||
        (limits->open_files && limits->open_files < OPEN_FILES_MIN) ||
        limits->open_files > INT_MAX || limits->nice < 0 || limits->nice > AFORK__NICE_MAX ||
        (limits->unsupported != AFORK_UNSUPPORTED_ERROR &&
         limits->unsupported != AFORK_UNSUPPORTED_WARN))
        return -EINVAL;
    int result = check_paths(limits->read_paths);
    return result < 0 ? result : check_paths(limits->write_paths);
}

static struct afork__limit_set set_of(const struct afork_limits *limits)
{
    struct afork__limit_set set = {
        .nice = (uint32_t)limits->nice,
        .values =
            {
                [AFORK__LIMIT_MEMORY] = limits->memory,
                [AFORK__LIMIT_CPU] = limits->cpu_seconds,
                [AFORK__LIMIT_FILE_SIZE] = limits->file_size,
                [AFORK__LIMIT_OPEN_FILES] = limits->open_files,
            },
    };

    if (limits->no_new_privileges)
        set.flags |= AFORK__NO_NEW_PRIVILEGES;
    if (limits->no_network)
        set.flags |= AFORK__NO_NETWORK;
    if (limits->no_new_processes)
        set.flags |= AFORK__NO_NEW_PROCESSES;
    if (limits->no_signals)
        set.flags |= AFORK__NO_SIGNALS;
    if (limits->read_paths)
        set.flags |= AFORK__LIMIT_READ;
    if (limits->write_paths)
        set.flags |= AFORK__LIMIT_WRITE;
    if (limits->unsupported == AFORK_UNSUPPORTED_WARN)
        set.flags |= AFORK__LIMIT_WARN;
    if (limits->forks_only)
        set.flags |= AFORK__FORKS_ONLY;
    return set;
}

static size_t paths_size(const char *const *paths)
{
    size_t size = 0;

    for (; paths && *paths; paths++)
        size += AFORK__BER_MAX + 1 + strlen(*paths);
    return size;
}

/* Writes a list's paths, each with the letter of the list; returns the end. */
static uint8_t *put_paths(uint8_t *out, const char *const *paths, char letter)
{
    for (; paths && *paths; paths++) {
        size_t len = strlen(*paths);
        out += afork__ber_put(out, len + 1);
        *out++ = (uint8_t)letter;
        memcpy(out, *paths, len);
        out += len;
    }
    return out;
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return !a || (b && b < a) ? b : a;
}

/* Keeps in mind what the process, or what is forked from it, will be told. */
static void remember(struct afork_process *process, const struct afork_limits *limits)
{
    struct afork__known_limits *known = limits->forks_only ? &process->fork_limits
                                                           : &process->limits;

    known->cpu_seconds = lower(known->cpu_seconds, limits->cpu_seconds);
    known->file_size = lower(known->file_size, limits->file_size);
    if (limits->unsupported == AFORK_UNSUPPORTED_ERROR) /* else it may not be so */
        known->no_new_processes |= limits->no_new_processes;
}

void afork__limits_inherit(struct afork_process *process)
{
    const struct afork_process *parent = process->parent;

    process->limits = (struct afork__known_limits){
        .cpu_seconds = lower(parent->limits.cpu_seconds, parent->fork_limits.cpu_seconds),
        .file_size = lower(parent->limits.file_size, parent->fork_limits.file_size),
        .no_new_processes = parent->limits.no_new_processes || parent->fork_limits.no_new_processes,
    };
}

int afork_process_set_limits(struct afork_process *process, const struct afork_limits *limits)
{
    int result = process && limits ? check_limits(limits) : -EINVAL;

    if (result < 0)
        return result;
    if (process->peer == AFORK_PEER_ORIGINAL)
        return -ENOTSUP;
    size_t room = AFORK__LIMIT_SET_FIXED_SIZE + paths_size(limits->read_paths) +
                  paths_size(limits->write_paths);
    uint8_t *payload = malloc(room);
    if (!payload)
        return -ENOMEM;
    struct afork__limit_set set = set_of(limits);
    afork__limit_set_encode(&set, payload);
    uint8_t *end = put_paths(payload + AFORK__LIMIT_SET_FIXED_SIZE, limits->read_paths, 'r');
    end = put_paths(end, limits->write_paths, 'w');
    result = afork__process_command(process, AFORK__LIMITS, payload, (size_t)(end - payload));
    free(payload);
    if (!result)
        remember(process, limits);
    return result;
}

static uint64_t cpu_usec(const struct rusage *usage)
{
    return (uint64_t)((usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * AFORK__USEC_PER_SEC +
                      usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

/* Adds what is true of CPU time. SIGXCPU can also be sent by anybody, and the kernel counts in
 * ticks, from which the usage told at the end is far where many share a CPU. Who outlived it is
 * killed a second later. */
static const char *describe_cpu(const struct afork_process *process, int signal)
{
    uint64_t limit = process->limits.cpu_seconds * (uint64_t)AFORK__USEC_PER_SEC;
    uint64_t used = process->exit.has_usage ? cpu_usec(&process->exit.usage) : 0;

    if (!limit)
        return NULL;
    if (signal == SIGXCPU && used >= limit / 2)
        return "at";
    return signal == SIGKILL && used >= limit ? "beyond" : NULL;
}

void afork__limits_describe(const struct afork_process *process, char *text, size_t size)
{
    const struct afork__known_limits *limits = &process->limits;
    int signal = process->exit.cause == AFORK_CAUSE_SIGNALLED ? process->exit.status : 0;
    const char *where = describe_cpu(process, signal);
    size_t len = strlen(text);

    if (where)
        snprintf(text + len, size - len, " %s its limit of %llu s of CPU time", where,
                 (unsigned long long)limits->cpu_seconds);
    else if (signal == SIGXFSZ && limits->file_size)
        snprintf(text + len, size - len, " at its limit of %llu octets a file",
                 (unsigned long long)limits->file_size);
}
