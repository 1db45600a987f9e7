/* SPDX-License-Identifier: MIT
 *
 * Limits as they go over the wire, encoded and decoded without any input or output.
 * doc/wire-protocol.md is the reference. Shared by the core and the Perl server.
 */
#ifndef AFORK_LIMIT_SET_H
#define AFORK_LIMIT_SET_H

#include <stddef.h>
#include <stdint.h>

#include "wire.h"

/* Flags of a set. */
enum {
    AFORK__NO_NEW_PRIVILEGES = 1 << 0,
    AFORK__NO_NETWORK = 1 << 1,
    AFORK__NO_NEW_PROCESSES = 1 << 2,
    AFORK__LIMIT_READ = 1 << 3,  /* only what the list names may be read */
    AFORK__LIMIT_WRITE = 1 << 4, /* the same for writing */
    AFORK__LIMIT_WARN = 1 << 5,  /* what the kernel cannot do is a warning */
    AFORK__FORKS_ONLY = 1 << 6,  /* for what is forked from now on */
    AFORK__NO_SIGNALS = 1 << 7,
    AFORK__LIMIT_FLAGS = (1 << 8) - 1,
};

enum afork__limit {
    AFORK__LIMIT_MEMORY,
    AFORK__LIMIT_CPU,
    AFORK__LIMIT_FILE_SIZE,
    AFORK__LIMIT_OPEN_FILES,
    AFORK__N_LIMITS
};

enum { AFORK__NICE_MAX = 19, AFORK__LIMIT_SET_FIXED_SIZE = 40 };

/* Octets or numbers above this are not limits. */
#define AFORK__LIMIT_MAX INT64_MAX

struct afork__limit_set {
    uint32_t flags;
    uint32_t nice;                    /* 0: left as it is */
    uint64_t values[AFORK__N_LIMITS]; /* 0: not limited */

    /* A list of strings: a letter, 'r' or 'w' for the list that it belongs to, and an absolute
     * path. */
    struct afork__strings paths;
};

/* Encodes all but the paths, which follow. */
void afork__limit_set_encode(const struct afork__limit_set *set,
                             uint8_t out[AFORK__LIMIT_SET_FIXED_SIZE]);

/* Decodes a payload and checks all of it, the paths too, which are found in place. 0 or -EPROTO. */
int afork__limit_set_decode(const void *data, size_t len, struct afork__limit_set *ret);

#endif
