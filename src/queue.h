/* SPDX-License-Identifier: MIT
 *
 * The outgoing queue of a process: commands and descriptors in order, sent as the socket takes
 * them. Every addition is whole or not at all.
 */
#ifndef AFORK_QUEUE_H
#define AFORK_QUEUE_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "wire.h"

struct afork__chunk;
STAILQ_HEAD(afork__chunks, afork__chunk);

struct afork__queue {
    struct afork__chunks chunks;
    bool original; /* the peer wants each descriptor's octet in a message of its own */
    void (*sent)(void *data, const uint8_t *frame, size_t len); /* a frame's own chunk is sent */
    void *sent_data;
};

void afork__queue_init(struct afork__queue *queue, bool original);

/* Drops everything: descriptors are closed, memory released. */
void afork__queue_clear(struct afork__queue *queue);

bool afork__queue_is_empty(const struct afork__queue *queue);

/* Adds a command with a list of strings, copied. -EMSGSIZE if the payload is 4 GiB or more. */
int afork__queue_strings(struct afork__queue *queue, enum afork__command command,
                         const struct iovec *strings, size_t n);

/* Adds AFORK__ARGS with one string that is taken: `release(data)` is called when it was sent. */
int afork__queue_take(struct afork__queue *queue, void *data, size_t len,
                      void (*release)(void *data));

/* Adds a command with a payload that is not a list, copied. */
int afork__queue_command(struct afork__queue *queue, enum afork__command command,
                         const void *payload, size_t len);

/* Adds AFORK__HANDLE with `fd`, taken on success. */
int afork__queue_handle(struct afork__queue *queue, int fd);

/* Adds AFORK__HANDLE with `fd`, taken on success, and a command that wants it, as by
 * afork__queue_command(). */
int afork__queue_handle_for(struct afork__queue *queue, int fd, enum afork__command command,
                            const void *payload, size_t len);

/* Adds what makes the peer fork: handles with what is to be the child's standard error, if it is
 * not -1, and with its socket, both taken on success; and the fork command, with `identity` and
 * `flags` unless the peer is an original, which cannot be given an `error_fd` either. */
int afork__queue_fork(struct afork__queue *queue, int fd, int error_fd, uint64_t identity,
                      unsigned flags);

/* Adds what makes a peer of ours report here: the handle `status_fd`, taken on success, and the
 * command with its payload. */
int afork__queue_attach(struct afork__queue *queue, int status_fd, uint64_t identity,
                        uint32_t owner, uint8_t flags);

/* Adds what is in `from`, of which nothing was sent and which holds no descriptors. Copied. */
int afork__queue_copy(struct afork__queue *queue, const struct afork__queue *from);

/* Sends up to about `limit` octets. Returns 1 when the queue is empty, 0 when the socket is full or
 * the limit was reached, -ENOBUFS when the kernel wants it later without saying when, or another
 * negative errno when the peer is gone. */
int afork__queue_send(struct afork__queue *queue, int socket, size_t limit);

#endif
