/* SPDX-License-Identifier: MIT
 *
 * The records that servers send on the status socket, encoded and decoded without any input or
 * output. doc/wire-protocol.md is the reference. Shared by the core and the Perl server.
 */
#ifndef AFORK_STATUS_H
#define AFORK_STATUS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/uio.h>

/* Version of the extended protocol: letters of our own, records, arguments of the server. A server
 * names it in its hello; another one than ours ends the relation. */
#define AFORK__PROTOCOL_VERSION 1

enum afork__record {
    AFORK__HELLO = 1, /* an executed server is ready; value: protocol version */
    AFORK__FORKED,    /* a forked server exists (said by itself) */
    AFORK__ENTERED,   /* it is about to call its function; implies forked */
    AFORK__ERROR,     /* it failed; phase, text */
    AFORK__EXITED,    /* it was reaped (said by the reaper); value: wait status; usage. Identity 0:
                         an orphan that the reaper knows by its pid only */
    AFORK__WARNING,   /* text */
};

enum afork__phase {
    AFORK__PHASE_NONE,
    AFORK__PHASE_EVAL,
    AFORK__PHASE_REQUIRE,
    AFORK__PHASE_FUNCTION,
    AFORK__PHASE_FORK, /* the identity is that of the child which could not be made */
    AFORK__PHASE_PROTOCOL,
    AFORK__PHASE_LIMITS,
};

/* Value of a forked process that is a child of the host. */
#define AFORK__FORKED_ROOT 1

/* Wait status of a process that user code of its template has reaped. */
#define AFORK__STATUS_UNKNOWN UINT32_MAX

#define AFORK__RECORD_TEXT_MAX 16384
#define AFORK__RECORD_FIXED_SIZE 152
#define AFORK__RECORD_MAX (AFORK__RECORD_FIXED_SIZE + AFORK__RECORD_TEXT_MAX)

struct afork__status {
    enum afork__record type;
    enum afork__phase phase;
    uint64_t identity;
    uint32_t pid;
    uint32_t value;
    struct rusage usage;
    const char *text; /* not NUL-terminated; longer ones are cut at AFORK__RECORD_TEXT_MAX */
    size_t text_len;
};

/* Encodes the part of a record before the text to `out`. Returns its size: a record without
 * usage is shorter. The whole record is that followed by the text, at most
 * AFORK__RECORD_TEXT_MAX of it. */
size_t afork__status_encode(const struct afork__status *status,
                            uint8_t out[AFORK__RECORD_FIXED_SIZE]);

/* Decodes one record. The text is found in place. Returns 0 or -EPROTO. */
int afork__status_decode(const void *data, size_t len, struct afork__status *ret);

#endif
