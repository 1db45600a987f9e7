/* SPDX-License-Identifier: MIT
 *
 * Records that a server sends to its host on the status socket.
 */
#ifndef AFORK_PERL_REPORT_H
#define AFORK_PERL_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

struct afork__queued;

struct afork__reporter {
    int fd;    /* -1: there is no status socket, or no more */
    bool lost; /* the host closed its end */
    uint32_t pid;
    uint64_t identity;
    struct afork__queued *first, *last; /* records that found no room */
};

/* Prepares records of this process. `fd` is taken; -1 makes a reporter that drops every record. */
void afork__reporter_init(struct afork__reporter *reporter, int fd, uint64_t identity);

/* Sends a record about this process, or queues it when there is no room. `text` may be NULL. */
void afork__report(struct afork__reporter *reporter, enum afork__record type,
                   enum afork__phase phase, const char *text, size_t len);

/* Sends any record, or queues it. */
void afork__report_status(struct afork__reporter *reporter, const struct afork__status *status);

/* Sends a record only if there is room for it now, behind those that are queued. Returns whether it
 * is off the hands of the caller: sent, or nobody is there to read it. */
bool afork__report_now(struct afork__reporter *reporter, const struct afork__status *status);

/* Sends queued records as far as there is room. Returns whether none is left. */
bool afork__report_flush(struct afork__reporter *reporter);

/* Waits for room, or until the host is gone; only after there was none. */
void afork__report_wait(const struct afork__reporter *reporter);

/* Waits for room until all queued records are sent or the host is gone. */
void afork__report_drain(struct afork__reporter *reporter);

/* Forgets queued records and closes the socket. */
void afork__reporter_close(struct afork__reporter *reporter);

/* Forgets the queued records of the process this one was forked from. */
void afork__reporter_forked(struct afork__reporter *reporter, uint64_t identity);

#endif
