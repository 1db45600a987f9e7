/* SPDX-License-Identifier: MIT
 *
 * Processes that leave at once.
 */
#include "bench-leave.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

struct leaving {
    struct afork_poll *poll;
    bench_start_func *start;
    void *data;
    size_t to_start, running;
};

struct channel {
    struct leaving *leaving;
    struct afork_io *io;
    int fd;
};

void bench_check(const char *what, int result)
{
    if (result < 0)
        bench_fail(what, result);
}

static void start_next(struct leaving *leaving);

static void on_end(unsigned events, void *data)
{
    struct channel *channel = data;
    struct leaving *leaving = channel->leaving;
    char octet;

    if (read(channel->fd, &octet, 1) != 0)
        bench_fail("a worker wrote", 0);
    afork_poll_loop(leaving->poll)->ops->io_free(channel->io);
    close(channel->fd);
    free(channel);
    leaving->running--;
    if (leaving->to_start)
        start_next(leaving);
    else if (!leaving->running)
        afork_poll_quit(leaving->poll);
}

static void on_entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    if (failure)
        bench_fail(*failure->message ? failure->message : "run", fd);
    struct channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        bench_fail("channel", ENOMEM);
    *channel = (struct channel){.leaving = data, .fd = fd};
    struct afork_loop *loop = afork_poll_loop(channel->leaving->poll);
    bench_check("io_new", loop->ops->io_new(loop, fd, AFORK_IN, on_end, channel, &channel->io));
}

static void start_next(struct leaving *leaving)
{
    struct afork_process *process;

    leaving->to_start--;
    leaving->running++;
    bench_check("start", leaving->start(leaving->data, &process));
    bench_check("run", afork_process_run(process, "CORE::exit", on_entered, leaving));
    afork_process_unref(process);
}

void bench_leave(struct afork_poll *poll, bench_start_func *start, void *data, size_t n,
                 size_t in_flight)
{
    struct leaving leaving = {.poll = poll, .start = start, .data = data, .to_start = n};

    while (leaving.to_start && in_flight--)
        start_next(&leaving);
    if (n)
        bench_check("poll", afork_poll_run(poll));
}
