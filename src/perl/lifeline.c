/* SPDX-License-Identifier: MIT
 *
 * The end with the host. Knows nothing of Perl.
 *
 * The kernel sends a signal when the last writer of a pipe is gone, to the owner of an open file. A
 * descriptor that was passed or inherited is the same open file as the sender's, with one owner, so
 * each process opens the pipe anew. (The signal that comes when a parent dies is no replacement: it comes
 * when the thread dies that forked, and the parent may be a template that nobody needs any more.)
 */
#include "lifeline.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

int afork__lifeline_arm(int fd, char *error, size_t size)
{
    char path[32], octet;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    AFORK__AUTO_FD own = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (own < 0) {
        snprintf(error, size, "cannot end with the host: %s: %s", path, strerror(errno));
        return -1;
    }
    if (fcntl(own, F_SETOWN, getpid()) < 0 || fcntl(own, F_SETSIG, SIGKILL) < 0 ||
        fcntl(own, F_SETFL, O_ASYNC | O_NONBLOCK) < 0) {
        snprintf(error, size, "cannot end with the host: %s", strerror(errno));
        return -1;
    }
    if (read(own, &octet, 1) == 0) /* end of file: it was gone before the signal was asked for */
        kill(getpid(), SIGKILL);
    return afork__steal_fd(&own);
}
