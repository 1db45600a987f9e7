/* SPDX-License-Identifier: MIT
 *
 * Status records. The layout does not depend on the word size, so that a 64-bit host can talk to a
 * 32-bit perl; octet order is that of the machine. Knows nothing of sockets or processes.
 */
#include "status.h"

#include <errno.h>
#include <string.h>

enum { BASE_SIZE = 24, N_USAGE = 16 };

_Static_assert(BASE_SIZE + N_USAGE * sizeof(int64_t) == AFORK__RECORD_FIXED_SIZE, "record layout");

/* The layout of a record without usage and text. */
struct base {
    uint8_t type, phase;
    uint16_t zero;
    uint32_t pid;
    uint64_t identity;
    uint32_t value;
    uint32_t zero2;
};

_Static_assert(sizeof(struct base) == BASE_SIZE, "record layout without padding");

static void usage_to_numbers(const struct rusage *usage, int64_t n[N_USAGE])
{
    const int64_t numbers[N_USAGE] = {
        usage->ru_utime.tv_sec,  usage->ru_utime.tv_usec, usage->ru_stime.tv_sec,
        usage->ru_stime.tv_usec, usage->ru_maxrss,        usage->ru_ixrss,
        usage->ru_idrss,         usage->ru_isrss,         usage->ru_minflt,
        usage->ru_majflt,        usage->ru_nswap,         usage->ru_inblock,
        usage->ru_oublock,       usage->ru_nsignals,      usage->ru_nvcsw,
        usage->ru_nivcsw,
    };
    memcpy(n, numbers, sizeof numbers);
}

static void usage_from_numbers(const int64_t n[N_USAGE], struct rusage *usage)
{
    *usage = (struct rusage){
        .ru_utime = {.tv_sec = (time_t)n[0], .tv_usec = (suseconds_t)n[1]},
        .ru_stime = {.tv_sec = (time_t)n[2], .tv_usec = (suseconds_t)n[3]},
        .ru_maxrss = (long)n[4],
        .ru_ixrss = (long)n[5],
        .ru_idrss = (long)n[6],
        .ru_isrss = (long)n[7],
        .ru_minflt = (long)n[8],
        .ru_majflt = (long)n[9],
        .ru_nswap = (long)n[10],
        .ru_inblock = (long)n[11],
        .ru_oublock = (long)n[12],
        .ru_nsignals = (long)n[13],
        .ru_nvcsw = (long)n[14],
        .ru_nivcsw = (long)n[15],
    };
}

size_t afork__status_encode(const struct afork__status *status,
                            uint8_t out[AFORK__RECORD_FIXED_SIZE])
{
    struct base base = {
        .type = (uint8_t)status->type,
        .phase = (uint8_t)status->phase,
        .pid = status->pid,
        .identity = status->identity,
        .value = status->value,
    };
    memcpy(out, &base, BASE_SIZE);
    if (status->type != AFORK__EXITED)
        return BASE_SIZE;

    int64_t numbers[N_USAGE];
    usage_to_numbers(&status->usage, numbers);
    memcpy(out + BASE_SIZE, numbers, sizeof numbers);
    return AFORK__RECORD_FIXED_SIZE;
}

int afork__status_decode(const void *data, size_t len, struct afork__status *ret)
{
    struct base base;

    if (len < BASE_SIZE || len > AFORK__RECORD_MAX)
        return -EPROTO;
    memcpy(&base, data, BASE_SIZE);
    if (base.type < AFORK__HELLO || base.type > AFORK__WARNING || base.phase > AFORK__PHASE_LIMITS)
        return -EPROTO;

    struct afork__status status = {
        .type = base.type,
        .phase = base.phase,
        .identity = base.identity,
        .pid = base.pid,
        .value = base.value,
    };
    if (status.type == AFORK__EXITED) {
        int64_t numbers[N_USAGE];
        if (len != AFORK__RECORD_FIXED_SIZE)
            return -EPROTO;
        memcpy(numbers, (const uint8_t *)data + BASE_SIZE, sizeof numbers);
        usage_from_numbers(numbers, &status.usage);
    } else {
        status.text = (const char *)data + BASE_SIZE;
        status.text_len = len - BASE_SIZE;
    }
    *ret = status;
    return 0;
}
