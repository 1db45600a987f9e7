/* SPDX-License-Identifier: MIT
 *
 * The peer libev: processes by fork and exec with ev_child, on the default loop, which alone has
 * them; a socket by two ev_io. The arguments are those of bench-loop.c, with a command at the end.
 */
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench-loop.h"
#include "bench.h"

struct child {
    ev_child watcher;
    ev_io reader; /* of standard output, if it talks */
    bool running;
};

static struct ev_loop *main_loop;
static char **command;

/* The socket to the process that echoes, and what waits to be sent. */
static ev_io socket_reader, socket_writer;
static const char *queue;
static size_t queued;

void loop_open(char **arguments)
{
    command = arguments;
    main_loop = ev_default_loop(EVFLAG_AUTO);
    if (!main_loop)
        bench_fail("ev_default_loop", 0);
}

void loop_close(void)
{
    ev_loop_destroy(main_loop);
}

void loop_run(void)
{
    ev_run(main_loop, 0);
}

void loop_turn(void)
{
    ev_run(main_loop, EVRUN_NOWAIT);
}

void loop_quit(void)
{
    ev_break(main_loop, EVBREAK_ONE);
}

/* ---- processes that leave ---- */

static void end(EV_P_ struct child *child)
{
    if (child->running || ev_is_active(&child->reader))
        return;
    free(child);
    loop_left();
}

static void on_exit_status(EV_P_ ev_child *watcher, int revents)
{
    struct child *child = watcher->data;

    if (watcher->rstatus)
        bench_fail("a child failed", 0);
    ev_child_stop(EV_A_ watcher);
    child->running = false;
    end(EV_A_ child);
}

static void on_output(EV_P_ ev_io *reader, int revents)
{
    char octet;
    ssize_t n = read(reader->fd, &octet, 1);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0) {
        loop_got(1);
        return;
    }
    ev_io_stop(EV_A_ reader);
    close(reader->fd);
    end(EV_A_ reader->data);
}

static pid_t start(int output)
{
    pid_t pid = fork();

    if (pid < 0)
        bench_fail("fork", errno);
    if (pid)
        return pid;
    if (output >= 0)
        dup2(output, STDOUT_FILENO);
    execvp(command[0], command);
    _exit(127);
}

void loop_start(bool talks)
{
    struct child *child = calloc(1, sizeof *child);
    int output[2] = {-1, -1};

    if (!child)
        bench_fail("child", ENOMEM);
    if (talks && pipe2(output, O_CLOEXEC) < 0)
        bench_fail("pipe", errno);
    ev_child_init(&child->watcher, on_exit_status, start(output[1]), 0);
    child->watcher.data = child;
    child->running = true;
    ev_child_start(main_loop, &child->watcher);
    if (!talks)
        return;
    close(output[1]);
    fcntl(output[0], F_SETFL, O_NONBLOCK);
    ev_io_init(&child->reader, on_output, output[0], EV_READ);
    child->reader.data = child;
    ev_io_start(main_loop, &child->reader);
}

/* ---- the process that echoes ---- */

static void send_some(void)
{
    ssize_t n = send(socket_writer.fd, queue, queued, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN)
        bench_fail("send", errno);
    if (n > 0) {
        queue += n;
        queued -= (size_t)n;
    }
    if (queued)
        ev_io_start(main_loop, &socket_writer);
    else
        ev_io_stop(main_loop, &socket_writer);
}

static void on_writable(EV_P_ ev_io *writer, int revents)
{
    send_some();
}

static void on_readable(EV_P_ ev_io *reader, int revents)
{
    static char buffer[LOOP_BUFFER];
    ssize_t n = recv(reader->fd, buffer, sizeof buffer, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN))
        bench_fail("recv", n < 0 ? errno : 0);
    if (n > 0)
        loop_got((size_t)n);
}

void loop_start_echo(void)
{
    int fd = bench_start_on_socket(command);

    ev_io_init(&socket_reader, on_readable, fd, EV_READ);
    ev_io_init(&socket_writer, on_writable, fd, EV_WRITE);
    ev_io_start(main_loop, &socket_reader);
}

void loop_send(const char *data, size_t len)
{
    queue = data;
    queued = len;
    send_some();
}

void loop_end_echo(void)
{
    ev_io_stop(main_loop, &socket_reader);
    close(socket_reader.fd);
}
