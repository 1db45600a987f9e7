/* SPDX-License-Identifier: MIT
 *
 * Octets and descriptors through a Unix socket. Shared by the core and the Perl server.
 */
#ifndef AFORK_FDPASS_H
#define AFORK_FDPASS_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Most descriptors in one message (the kernel's SCM_MAX_FD); a receive has room for as many. */
#define AFORK__FDS_PER_MESSAGE 253

/* Descriptors that came ahead of the octet that claims them, in order. */
struct afork__fd_queue {
    int *fds;
    size_t first, count, room;
};

/* Sends octets, with `n_fds` descriptors attached to the first of them. Never raises SIGPIPE. Once
 * any octet was sent, so were all descriptors. `flags` is for sendmsg(). Returns the number of
 * octets sent or a negative errno. */
ssize_t afork__fd_send(int socket, const struct iovec *iov, size_t n_iov, const int *fds,
                       size_t n_fds, int flags);

/* Receives up to `len` octets and appends the descriptors that came with them to `queue`,
 * close-on-exec. `flags` is for recvmsg(). Returns the number of octets, 0 at end of file, or a
 * negative errno: -EMFILE if descriptors were lost (the stream cannot be used any more;
 * those that came are closed). */
ssize_t afork__fd_receive(int socket, void *data, size_t len, struct afork__fd_queue *queue,
                          int flags);
/* The same, but -EINTR when a signal came first; to one place, or to several. */
ssize_t afork__fd_receive_once(int socket, void *data, size_t len, struct afork__fd_queue *queue,
                               int flags);
ssize_t afork__fd_receive_iov(int socket, struct iovec *iov, size_t n_iov,
                              struct afork__fd_queue *queue, int flags);

/* Takes the oldest descriptor out of the queue, or returns -1. */
int afork__fd_queue_take(struct afork__fd_queue *queue);

/* Closes what is in the queue and releases its memory. */
void afork__fd_queue_clear(struct afork__fd_queue *queue);

#endif
