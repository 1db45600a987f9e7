/* SPDX-License-Identifier: MIT
 *
 * A program with a loop of its own, here a plain poll(2), for which there is no adapter: it drives
 * afork's poll loop from outside. That takes three things: one descriptor to watch, one time not to
 * sleep past, and one call when either is due.
 *
 * The worker counts prime numbers, slowly; the program shows a clock meanwhile.
 */
#include <afork/afork.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AFORK, CHANNEL, N_FDS };

static const char code[] =
    "sub primes {"
    "    my ($channel, $limit) = @_;"
    "    my $n = grep { my $i = $_; !grep { $i % $_ == 0 } 2 .. sqrt $i } 2 .. $limit;"
    "    syswrite $channel, qq($n primes below $limit\\n);"
    "}";

static int status = EXIT_SUCCESS;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    status = EXIT_FAILURE;
}

static void on_entered(struct afork_process *worker, int fd, const struct afork_exit *failure,
                       void *data)
{
    struct pollfd *fds = data;

    if (failure)
        fail("the worker did not start", failure->message);
    fds[CHANNEL].fd = fd; /* poll() skips what is negative */
    fds[CHANNEL].events = failure ? 0 : POLLIN;
}

static void on_exit_notice(struct afork_process *worker, const struct afork_exit *exit, void *data)
{
    *(bool *)data = true;
    printf("the worker %s\n", exit->message);
    if (exit->cause != AFORK_CAUSE_EXITED || exit->status)
        status = EXIT_FAILURE;
}

/* Prints what the worker wrote; takes the channel out of the set at its end. */
static void read_channel(struct pollfd *channel)
{
    char text[256];
    ssize_t n = read(channel->fd, text, sizeof text);

    if (n > 0)
        fwrite(text, 1, (size_t)n, stdout);
    if (n > 0 || (n < 0 && errno == EAGAIN))
        return;
    close(channel->fd);
    channel->fd = -1;
}

/* Milliseconds that poll() may sleep: until afork's next timer, rounded up, and at most a second. */
static int timeout(struct afork_poll *loop)
{
    int64_t usec = afork_poll_timeout(loop);

    return usec < 0 || usec > 1000000 ? 1000 : (int)((usec + 999) / 1000);
}

int main(void)
{
    struct afork_poll *loop;
    struct afork_context *context;
    struct afork_process *worker;
    bool ended = false;

    int result = afork_poll_new(&loop);
    if (!result)
        result = afork_context_new(afork_poll_loop(loop), NULL, &context);
    if (!result)
        result = afork_process_new(context, &worker);
    if (result < 0) {
        fail("no worker", strerror(-result));
        return status;
    }
    struct pollfd fds[N_FDS] = {{.fd = afork_poll_fd(loop), .events = POLLIN}, {.fd = -1}};

    afork_process_eval(worker, code, NULL);
    afork_process_send_arg(worker, "30000", 5);
    afork_process_on_exit(worker, on_exit_notice, &ended);
    afork_process_run(worker, "primes", on_entered, fds);
    afork_process_unref(worker);

    while (!ended || fds[CHANNEL].fd >= 0) {
        int n = poll(fds, N_FDS, timeout(loop));
        if (n == 0)
            printf("still counting\n");
        if (n > 0 && fds[CHANNEL].revents)
            read_channel(&fds[CHANNEL]);
        if ((n > 0 && fds[AFORK].revents) || afork_poll_timeout(loop) == 0)
            afork_poll_turn(loop, 0);
    }
    if (fflush(stdout) < 0 || ferror(stdout))
        fail("standard output", strerror(errno));
    afork_context_close(context);
    afork_poll_free(loop);
    return status;
}
