/* SPDX-License-Identifier: MIT
 *
 * The poll loop of the core. A channel is the descriptor, with the loop's operations.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench-loop-host.h"
#include "bench.h"

static struct afork_poll *poll;
static struct afork_loop *loop;

/* The channel, and what waits to be sent. */
static struct afork_io *io;
static int channel = -1;
static const char *queue;
static size_t queued;

struct afork_loop *host_open_loop(void)
{
    loop_check("poll", afork_poll_new(&poll));
    return loop = afork_poll_loop(poll);
}

void host_close_loop(void)
{
    afork_poll_free(poll);
}

void loop_run(void)
{
    loop_check("poll", afork_poll_run(poll));
}

void loop_turn(void)
{
    loop_check("poll", afork_poll_turn(poll, 0));
}

void loop_quit(void)
{
    afork_poll_quit(poll);
}

/* ---- the channel ---- */

static void send_some(void)
{
    ssize_t n = send(channel, queue, queued, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN)
        bench_fail("send", errno);
    if (n > 0) {
        queue += n;
        queued -= (size_t)n;
    }
    loop->ops->io_set(io, AFORK_IN | (queued ? AFORK_OUT : 0));
}

static void on_ready(unsigned events, void *data)
{
    static char buffer[LOOP_BUFFER];

    if (events & AFORK_OUT)
        send_some();
    if (!(events & AFORK_IN))
        return;
    ssize_t n = recv(channel, buffer, sizeof buffer, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        bench_fail("recv", n < 0 ? errno : 0);
    if (n > 0)
        loop_got((size_t)n);
}

static void on_entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    host_check_entered(fd, failure);
    channel = fd;
    loop_check("io_new", loop->ops->io_new(loop, fd, AFORK_IN, on_ready, NULL, &io));
    host_is_open();
}

void host_run(struct afork_process *process, const char *function)
{
    loop_check("run", afork_process_run(process, function, on_entered, NULL));
}

void loop_send(const char *data, size_t len)
{
    queue = data;
    queued = len;
    send_some();
}

void loop_end_echo(void)
{
    loop->ops->io_free(io);
    close(channel);
}
