/* SPDX-License-Identifier: MIT
 *
 * Octets and descriptors through a Unix socket. Knows nothing of frames: it keeps descriptors in
 * the order of the stream, and whoever reads the frames claims them.
 *
 * A receive may return octets that precede the descriptor's own together with it (the kernel merges
 * messages up to and including the first that carries descriptors), hence the queue.
 */
#include "fdpass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t afork__fd_send(int socket, const struct iovec *iov, size_t n_iov, const int *fds,
                       size_t n_fds, int flags)
{
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(AFORK__FDS_PER_MESSAGE * sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n_iov};

    if (n_fds) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        memset(&control, 0, message.msg_controllen);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
    }

    ssize_t sent;
    do
        sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static int reserve(struct afork__fd_queue *queue, size_t n)
{
    if (queue->first) {
        memmove(queue->fds, queue->fds + queue->first, queue->count * sizeof(int));
        queue->first = 0;
    }
    if (queue->room - queue->count >= n)
        return 0;
    int *fds = reallocarray(queue->fds, queue->count + n, sizeof(int));
    if (!fds)
        return -ENOMEM;
    queue->fds = fds;
    queue->room = queue->count + n;
    return 0;
}

/* Appends the descriptors of one message; when there is no memory for them, closes them. */
static int collect(struct msghdr *message, struct afork__fd_queue *queue)
{
    int result = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (reserve(queue, n) < 0) {
            int fd;
            for (size_t i = 0; i < n; i++) {
                memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
                close(fd);
            }
            result = -ENOMEM;
            continue;
        }
        memcpy(queue->fds + queue->count, CMSG_DATA(header), n * sizeof(int));
        queue->count += n;
    }
    return result;
}

ssize_t afork__fd_receive_iov(int socket, struct iovec *iov, size_t n_iov,
                              struct afork__fd_queue *queue, int flags)
{
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(AFORK__FDS_PER_MESSAGE * sizeof(int)) +
                  CMSG_SPACE(64)]; /* room for a second kind of message */
    } control;
    struct msghdr message = {.msg_iov = iov,
                             .msg_iovlen = n_iov,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return -errno;

    int result = message.msg_controllen ? collect(&message, queue) : 0;
    /* The kernel installs what fits below the descriptor limit and drops the rest. */
    if (message.msg_flags & MSG_CTRUNC)
        result = -EMFILE;
    if (result < 0) {
        afork__fd_queue_clear(queue);
        return result;
    }
    return got;
}

ssize_t afork__fd_receive_once(int socket, void *data, size_t len, struct afork__fd_queue *queue,
                               int flags)
{
    return afork__fd_receive_iov(socket, &(struct iovec){data, len}, 1, queue, flags);
}

ssize_t afork__fd_receive(int socket, void *data, size_t len, struct afork__fd_queue *queue,
                          int flags)
{
    ssize_t got;

    do
        got = afork__fd_receive_once(socket, data, len, queue, flags);
    while (got == -EINTR);
    return got;
}

int afork__fd_queue_take(struct afork__fd_queue *queue)
{
    if (!queue->count)
        return -1;
    queue->count--;
    return queue->fds[queue->first++];
}

void afork__fd_queue_clear(struct afork__fd_queue *queue)
{
    for (size_t i = 0; i < queue->count; i++)
        close(queue->fds[queue->first + i]);
    free(queue->fds);
    *queue = (struct afork__fd_queue){0};
}
