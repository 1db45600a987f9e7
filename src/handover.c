/* SPDX-License-Identifier: MIT
 *
 * Servers that change hosts. One that is handed over leaves by the way of those that run a
 * function: when it, or for an original the empty queue, says so, its socket goes to the callback.
 * One that is adopted is what nobody here has made: it has no parent, and is no child to be reaped.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"
#include "spawn.h"
#include "util.h"

/* ---- Handing over ---- */

/* A child of the host that serves another program: nothing is told of it, but it is reaped. */
struct afork__left_child {
    LIST_ENTRY(afork__left_child) link;
    struct afork_context *context;
    pid_t pid;
    int pidfd;
    struct afork_io *io;
};

static void left_child_free(struct afork__left_child *child)
{
    LIST_REMOVE(child, link);
    child->context->loop->ops->io_free(child->io);
    close(child->pidfd);
    free(child);
}

static void left_child_cb(unsigned events, void *data)
{
    struct afork__left_child *child = data;
    struct rusage usage;
    int status;

    (void)events;
    if (!afork__context_is_copy(child->context) &&
        afork__reap(child->pid, child->pidfd, &status, &usage))
        left_child_free(child);
}

/* Goes on to watch a child without its process. Where that cannot be done, it is reaped by the
 * way. */
static void leave_child(struct afork_process *process)
{
    struct afork_context *context = process->context;
    struct afork__left_child *child = NULL;
    AFORK__AUTO_FD pidfd = -1;

    if (process->pidfd >= 0) {
        context->loop->ops->io_free(process->pidfd_io);
        process->pidfd_io = NULL;
        pidfd = afork__steal_fd(&process->pidfd);
        child = malloc(sizeof *child);
    }
    if (!child || context->loop->ops->io_new(context->loop, pidfd, AFORK_IN | AFORK_BACKGROUND,
                                             left_child_cb, child, &child->io) < 0) {
        free(child);
        afork__leave_to_reap(process->pid);
        return;
    }
    child->context = context;
    child->pid = process->pid;
    child->pidfd = afork__steal_fd(&pidfd);
    LIST_INSERT_HEAD(&context->left_children, child, link);
}

void afork__handover_close_all(struct afork_context *context)
{
    struct afork__left_child *child;

    while ((child = LIST_FIRST(&context->left_children))) {
        if (afork__context_is_copy(context))
            child->io = NULL; /* the original's */
        else
            afork__leave_to_reap(child->pid);
        left_child_free(child);
    }
}

void afork__process_handed_over(struct afork_process *process)
{
    if (process->ended)
        return;
    if (afork__process_is_child(process))
        leave_child(process);
    process->message = strdup("handed over to another program, which is told of its end");
    process->exit.message = process->message ? process->message : "";
    afork__process_ended(process, -1, NULL);
}

/* Has the server stop to be ours. What reads its standard error goes with us: it is sent another,
 * since it may be in a root directory, or confined to files, without /dev/null. */
static int detach(struct afork_process *process)
{
    const uint8_t flags = process->tail ? AFORK__DETACH_STDERR : 0;

    if (!process->tail)
        return afork__queue_command(&process->queue, AFORK__DETACH, &flags, sizeof flags);
    AFORK__AUTO_FD null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0)
        null = open("/",
                    O_PATH | O_CLOEXEC); /* whoever writes there gets an error, but no signal */
    if (null < 0)
        return -errno;
    int result = afork__queue_handle_for(&process->queue, null, AFORK__DETACH, &flags,
                                         sizeof flags);
    if (!result)
        afork__steal_fd(&null);
    return result;
}

int afork_process_to_fd_full(struct afork_process *process, afork_to_fd_cb *cb, void *data,
                             void (*release)(void *data))
{
    int result = cb ? afork__process_check_server(process) : -EINVAL;

    if (!result && process->remote)
        result = -ENOTSUP;
    if (result < 0)
        return result;
    result = afork__spares_give_up(process);
    if (!result && process->peer == AFORK_PEER_OWN)
        result = detach(process);
    if (result < 0) {
        afork__spares_renew(process); /* they may have been given up */
        return result;
    }
    process->handed_over = true;
    afork__process_leaves(process, cb, data, release);
    return 0;
}

int afork_process_to_fd(struct afork_process *process, afork_to_fd_cb *cb, void *data)
{
    return afork_process_to_fd_full(process, cb, data, NULL);
}

/* ---- Adopting ---- */

static int get_option(int fd, int option, int *ret)
{
    socklen_t size = sizeof *ret;

    return getsockopt(fd, SOL_SOCKET, option, ret, &size) < 0 ? -errno : 0;
}

/* What can be known of a socket without a word to its other end: 0, or the error. */
static int check_socket(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    int domain, type;
    char octet;
    int result = get_option(fd, SO_DOMAIN, &domain);

    if (!result)
        result = get_option(fd, SO_TYPE, &type);
    if (result < 0)
        return result;
    if (domain != AF_UNIX)
        return -EAFNOSUPPORT;
    if (type != SOCK_STREAM)
        return -EPROTOTYPE;
    if (getpeername(fd, (struct sockaddr *)&address, &size) < 0)
        return -errno;
    ssize_t got = recv(fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0)
        return -EPROTO;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -ECONNRESET;
}

bool afork__process_is_deserted(const struct afork_process *process)
{
    char octet;

    return process->fd >= 0 && recv(process->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Asks a server of ours to report here. */
static int attach(struct afork_process *process, struct afork_context *context)
{
    AFORK__AUTO_FD status_fd = afork__duplicate(context->status_far_fd);
    if (status_fd < 0)
        return status_fd;
    bool refuse = context->threads == AFORK_THREADS_REFUSE;
    int result = afork__queue_attach(&process->queue, status_fd, process->identity,
                                     (uint32_t)getpid(),
                                     refuse ? AFORK__ATTACH_REFUSE_THREADS : 0);
    if (!result)
        afork__steal_fd(&status_fd);
    return result;
}

/* Makes a process of `fd`, which stays the caller's on failure. */
static int adopt(struct afork_context *context, int fd, enum afork_peer peer,
                 struct afork_process **ret)
{
    struct afork_process *process = calloc(1, sizeof *process);

    if (!process)
        return -ENOMEM;
    process->adopted = true;
    process->peer = peer;
    int result = afork__process_watch_socket(process, context, fd);
    if (result < 0) {
        free(process);
        return result;
    }
    afork__process_join(process, context);
    if (peer == AFORK_PEER_OWN)
        result = attach(process, context);
    if (result < 0) {
        afork__process_take_socket(process);
        afork__process_abandon(process);
        afork_process_unref(process);
        return result;
    }
    *ret = process;
    return 0;
}

int afork_process_new_from_fd(struct afork_context *context, int fd, enum afork_peer peer,
                              struct afork_process **ret)
{
    int result = ret && (peer == AFORK_PEER_OWN || peer == AFORK_PEER_ORIGINAL)
                     ? afork__context_check(context)
                     : -EINVAL;

    if (!result)
        result = check_socket(fd);
    if (result < 0)
        return result;
    AFORK__AUTO_FD lifted = -1;
    int flags = fcntl(fd, F_GETFL);
    if (fd <= STDERR_FILENO) {
        lifted = afork__duplicate(fd);
        if (lifted < 0)
            return lifted;
    }
    result = adopt(context, lifted >= 0 ? lifted : fd, peer, ret);
    if (result < 0)
        return result;
    if (lifted >= 0)
        close(fd);
    afork__steal_fd(&lifted);
    fcntl((*ret)->fd, F_SETFD, FD_CLOEXEC);
    if (!(flags & O_NONBLOCK))
        fcntl((*ret)->fd, F_SETFL, flags | O_NONBLOCK);
    afork__process_send(*ret, AFORK__SHARE_OCTETS);
    return 0;
}
