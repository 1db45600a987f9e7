/* SPDX-License-Identifier: MIT
 *
 * A host on libev.
 *
 *     bench-loop-ev spawn COUNT IN-FLIGHT  processes a second, as `bench-afork spawn` measures them
 *     bench-loop-ev echo SIZE COUNT        messages a second to a process that sends them back, one
 *                                          after the other, through a struct afork_ev_channel
 *     bench-loop-ev plain SIZE COUNT       the same with nothing but two ev_io and the socket
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <afork/afork-ev.h>

#include "bench.h"

static void check(const char *what, int result)
{
    if (result < 0)
        bench_fail(what, result);
}

/* ---- processes that leave at once ---- */

struct host {
    struct ev_loop *loop;
    struct afork_context *context;
    size_t to_start;
};

static void start_next(struct host *host);

static void on_end(EV_P_ struct afork_ev_channel *channel, int revents)
{
    struct host *host = channel->data;
    char octet;

    if (afork_ev_channel_read(EV_A_ channel, &octet, 1) != 0)
        bench_fail("a worker wrote", 0);
    afork_ev_channel_close(EV_A_ channel);
    free(channel);
    if (host->to_start)
        start_next(host);
}

static void on_entered(struct afork_process *process, int fd, const struct afork_exit *failure,
                       void *data)
{
    struct host *host = data;
    struct afork_ev_channel *channel = calloc(1, sizeof *channel);

    if (failure || !channel)
        bench_fail(failure ? failure->message : "channel", fd);
    channel->data = host;
    afork_ev_channel_init(channel, on_end, fd);
    afork_ev_channel_start(host->loop, channel, EV_READ);
}

static void start_next(struct host *host)
{
    struct afork_process *process;

    host->to_start--;
    check("new", afork_process_new(host->context, &process));
    check("run", afork_process_run(process, "CORE::exit", on_entered, host));
    afork_process_unref(process);
}

static void start_all(struct host *host, size_t n, size_t in_flight)
{
    host->to_start = n;
    while (host->to_start && in_flight--)
        start_next(host);
    ev_run(host->loop, 0); /* until nothing is left to do */
}

static void spawn(struct ev_loop *loop, size_t n, size_t in_flight)
{
    struct host host = {.loop = loop};
    struct afork_ev_loop *adapter;

    check("loop", afork_ev_loop_new(loop, &adapter));
    check("context", afork_context_new(afork_ev_loop_get(adapter), NULL, &host.context));
    start_all(&host, 5, 1); /* the first executes the template */
    double start = bench_now();
    start_all(&host, n, in_flight);
    bench_print_rate(n, start);
    afork_context_close(host.context);
    afork_ev_loop_free(adapter);
}

/* ---- messages to and fro ---- */

enum { ROOM = 64 * 1024 };

struct echo {
    char *message, *answer; /* of `size` octets, and of `room`, as programs read into */
    size_t size, room, received, left;
    struct afork_ev_channel channel;
    ev_io reader, writer; /* of the plain one */
    size_t sent;
};

/* Whether an answer is complete, and another message is to be sent. */
static bool received(struct echo *echo, size_t n)
{
    echo->received += n;
    if (echo->received < echo->size)
        return false;
    echo->received = 0;
    echo->left--;
    return echo->left > 0;
}

static void on_channel(EV_P_ struct afork_ev_channel *channel, int revents)
{
    struct echo *echo = channel->data;
    ssize_t n;

    while ((n = afork_ev_channel_read(EV_A_ channel, echo->answer + echo->received,
                                      echo->room - echo->received)) > 0)
        if (received(echo, (size_t)n))
            check("write", afork_ev_channel_write(EV_A_ channel, echo->message, echo->size));
        else if (!echo->left)
            break;
    if (n != -EAGAIN && echo->left)
        bench_fail("read", (int)n);
    if (!echo->left)
        afork_ev_channel_close(EV_A_ channel);
}

static void plain_write(EV_P_ struct echo *echo)
{
    ssize_t n = send(echo->writer.fd, echo->message + echo->sent, echo->size - echo->sent,
                     MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN)
        bench_fail("send", errno);
    echo->sent += n > 0 ? (size_t)n : 0;
    if (echo->sent < echo->size) {
        ev_io_start(EV_A_ &echo->writer);
        return;
    }
    ev_io_stop(EV_A_ &echo->writer);
}

static void on_writable(EV_P_ ev_io *writer, int revents)
{
    plain_write(EV_A_ writer->data);
}

static void on_readable(EV_P_ ev_io *reader, int revents)
{
    struct echo *echo = reader->data;
    ssize_t n = recv(reader->fd, echo->answer + echo->received, echo->room - echo->received, 0);

    if (n <= 0)
        bench_fail("recv", errno);
    if (received(echo, (size_t)n)) {
        echo->sent = 0;
        plain_write(EV_A_ echo);
    }
    if (!echo->left)
        ev_io_stop(EV_A_ reader);
}

/* The other end, in C: a Perl worker would take most of the time itself. */
static void answer(int fd)
{
    static char buffer[64 * 1024];
    ssize_t n;

    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t done = 0, put; done < n; done += put)
            if ((put = write(fd, buffer + done, (size_t)(n - done))) < 0)
                _exit(1);
    _exit(0);
}

static void echo(struct ev_loop *loop, bool plain, size_t size, size_t count)
{
    struct echo echo = {.size = size, .room = size < ROOM ? ROOM : size, .left = count};
    int ends[2];

    echo.message = calloc(1, echo.size);
    echo.answer = malloc(echo.room);
    if (!echo.message || !echo.answer)
        bench_fail("messages", ENOMEM);

    check("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    if (!fork()) {
        close(ends[0]);
        answer(ends[1]);
    }
    close(ends[1]);
    double start = bench_now();
    if (plain) {
        check("flags", fcntl(ends[0], F_SETFL, O_NONBLOCK));
        ev_io_init(&echo.reader, on_readable, ends[0], EV_READ);
        ev_io_init(&echo.writer, on_writable, ends[0], EV_WRITE);
        echo.reader.data = echo.writer.data = &echo;
        ev_io_start(loop, &echo.reader);
        plain_write(loop, &echo);
    } else {
        echo.channel.data = &echo;
        afork_ev_channel_init(&echo.channel, on_channel, ends[0]);
        afork_ev_channel_start(loop, &echo.channel, EV_READ);
        check("write", afork_ev_channel_write(loop, &echo.channel, echo.message, size));
    }
    ev_run(loop, 0);
    bench_print_rate(count, start);
    free(echo.message);
    free(echo.answer);
}

int main(int argc, char **argv)
{
    const char *what = argc == 4 ? argv[1] : "";
    size_t first = argc == 4 ? bench_number(argv[2]) : 0;
    size_t second = argc == 4 ? bench_number(argv[3]) : 0;
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);

    if (!strcmp(what, "spawn"))
        spawn(loop, first, second);
    else if (!strcmp(what, "echo") || !strcmp(what, "plain"))
        echo(loop, what[0] == 'p', first, second);
    else
        bench_fail("see the head of bench-loop-ev.c for the arguments", 0);
    ev_loop_destroy(loop);
    return 0;
}
