/* SPDX-License-Identifier: MIT
 *
 * The end with the host. Knows nothing of Perl.
 *
 * The kernel sends a signal when the last writer of a pipe is gone, to the owner of an open file. A
 * descriptor that was passed or inherited is the same open file as the sender's, with one owner, so
 * each process opens the pipe anew. (The signal that comes when a parent dies is no replacement: it
 * comes when the thread dies that forked, and the parent may be a template that nobody needs any
 * more.)
 */
#include "lifeline.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

static int reopen(int fd, char path[32])
{
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* Linux before 5.6 also signals when another reader of the pipe closes it: a process would end with
 * its neighbours. Tried with a signal that does no harm; returns 1 if this kernel is one of those,
 * 0 if not, or -1. */
static int signals_too_often(void)
{
    const struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = (pid_t)syscall(SYS_gettid)};
    const struct timespec now = {0};
    sigset_t set, before;
    int pair[2];
    char path[32];

    if (pipe2(pair, O_CLOEXEC) < 0)
        return -1;
    AFORK__AUTO_FD in = pair[0];
    AFORK__AUTO_FD out = pair[1];
    AFORK__AUTO_FD own = reopen(in, path);
    if (own < 0 || fcntl(own, F_SETOWN_EX, &owner) < 0 || fcntl(own, F_SETSIG, SIGRTMAX) < 0 ||
        fcntl(own, F_SETFL, O_ASYNC | O_NONBLOCK) < 0)
        return -1;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMAX);
    sigprocmask(SIG_BLOCK, &set, &before);
    afork__close(&in);
    int result = sigtimedwait(&set, NULL, &now) == SIGRTMAX;
    fcntl(own, F_SETFL, O_NONBLOCK); /* the end of the writer would be signalled rightly */
    afork__close(&out);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return result;
}

int afork__lifeline_arm(int fd, char *error, size_t size)
{
    static bool tried; /* kernels do not change, and forked processes need not try again */
    char path[32], octet;

    AFORK__AUTO_FD own = reopen(fd, path);
    if (own < 0) {
        snprintf(error, size, "cannot end with the host: %s: %s", path, strerror(errno));
        return -1;
    }
    int too_often = tried ? 0 : signals_too_often();
    if (too_often) {
        snprintf(error, size, "cannot end with the host: %s",
                 too_often < 0 ? strerror(errno) : "this needs Linux 5.6");
        return -1;
    }
    tried = true;
    if (fcntl(own, F_SETOWN, getpid()) < 0 || fcntl(own, F_SETSIG, SIGKILL) < 0 ||
        fcntl(own, F_SETFL, O_ASYNC | O_NONBLOCK) < 0) {
        snprintf(error, size, "cannot end with the host: %s", strerror(errno));
        return -1;
    }
    if (read(own, &octet, 1) == 0) /* end of file: it was gone before the signal was asked for */
        kill(getpid(), SIGKILL);
    return afork__steal_fd(&own);
}

void afork__lifeline_disarm(int *fd)
{
    if (*fd >= 0) /* a child may have the open file for a moment: closing would change nothing */
        fcntl(*fd, F_SETFL, O_NONBLOCK);
    afork__close(fd);
}
