/* SPDX-License-Identifier: MIT
 *
 * Our host on any loop: starts workers, and reads from them by the loop's operations. Only echo has
 * a channel of the loop's own kind.
 */
#include "bench-loop-host.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

struct channel {
    struct afork_io *io;
    int fd;
};

static struct afork_loop *loop;
static struct afork_context *context;
static struct afork_process *template; /* has the code of the workers */
static bool is_open;                   /* the channel of the process that echoes */

void loop_open(char **arguments)
{
    loop = host_open_loop();
    loop_check("context", afork_context_new(loop, NULL, &context));
    loop_check("new", afork_process_new(context, &template));
    if (*arguments)
        loop_check("eval", afork_process_eval(template, *arguments, NULL));
}

void loop_close(void)
{
    afork_process_unref(template);
    afork_context_close(context);
    host_close_loop();
}

void host_check_entered(int error, const struct afork_exit *failure)
{
    if (error < 0)
        bench_fail(failure && *failure->message ? failure->message : "run", error);
}

/* ---- processes that leave ---- */

static void on_readable(unsigned events, void *data)
{
    struct channel *channel = data;
    char octet;
    ssize_t n = read(channel->fd, &octet, 1);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0) {
        loop_got(1);
        return;
    }
    loop->ops->io_free(channel->io);
    close(channel->fd);
    free(channel);
    loop_left();
}

static void on_entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    host_check_entered(fd, failure);
    struct channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        bench_fail("channel", ENOMEM);
    channel->fd = fd;
    loop_check("io_new", loop->ops->io_new(loop, fd, AFORK_IN, on_readable, channel, &channel->io));
}

void loop_start(bool talks)
{
    struct afork_process *process;

    if (talks)
        loop_check("fork", afork_process_fork(template, &process));
    else
        loop_check("new", afork_process_new(context, &process));
    loop_check("run", afork_process_run(process, talks ? "octet" : "CORE::exit", on_entered, NULL));
    afork_process_unref(process);
}

/* ---- the process that echoes ---- */

void host_is_open(void)
{
    is_open = true;
    loop_quit();
}

void loop_start_echo(void)
{
    struct afork_process *process;

    loop_check("fork", afork_process_fork(template, &process));
    host_run(process, "echo");
    afork_process_unref(process);
    while (!is_open)
        loop_run();
}
