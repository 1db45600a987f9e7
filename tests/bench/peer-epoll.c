/* SPDX-License-Identifier: MIT
 *
 * A peer without any library: epoll, as our poll loop uses it, and processes by posix_spawn(),
 * whose end is the end of file on their standard output. The arguments are those of bench-loop.c,
 * with a command at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench-loop.h"
#include "bench.h"

#define EVENTS_PER_TURN 64

extern char **environ;

/* What is watched: standard output of a process that leaves, or the socket to the one that
 * echoes. */
struct child {
    int fd;
    pid_t pid; /* not of the one that echoes */
};

static int set = -1;
static char **command;
static bool ended; /* by loop_quit() */

/* The process that echoes, and what waits to be sent to it. */
static struct child echo;
static const char *queue;
static size_t queued;

static void watch(int operation, struct child *child, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = child};
    if (epoll_ctl(set, operation, child->fd, &event) < 0)
        bench_fail("epoll_ctl", errno);
}

void loop_open(char **arguments)
{
    command = arguments;
    set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0)
        bench_fail("epoll", errno);
}

void loop_close(void)
{
    close(set);
}

void loop_quit(void)
{
    ended = true;
}

/* ---- processes that leave ---- */

void loop_start(bool talks)
{
    struct child *child = calloc(1, sizeof *child);
    posix_spawn_file_actions_t actions;
    int output[2];

    if (!child || pipe2(output, O_CLOEXEC) < 0)
        bench_fail("pipe", errno);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    int error = posix_spawnp(&child->pid, command[0], &actions, NULL, command, environ);
    if (error)
        bench_fail(command[0], error);
    posix_spawn_file_actions_destroy(&actions);
    close(output[1]);
    child->fd = output[0];
    watch(EPOLL_CTL_ADD, child, EPOLLIN);
}

static void read_output(struct child *child)
{
    int status;
    char octet;

    if (read(child->fd, &octet, 1) > 0) {
        loop_got(1);
        return;
    }
    watch(EPOLL_CTL_DEL, child, 0); /* a process just forked may have the descriptor still */
    close(child->fd);
    if (waitpid(child->pid, &status, 0) < 0 || status)
        bench_fail("a child failed", 0);
    free(child);
    loop_left();
}

/* ---- the process that echoes ---- */

void loop_start_echo(void)
{
    echo.fd = bench_start_on_socket(command);
    watch(EPOLL_CTL_ADD, &echo, EPOLLIN);
}

static void send_some(void)
{
    ssize_t n = send(echo.fd, queue, queued, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN)
        bench_fail("send", errno);
    if (n > 0) {
        queue += n;
        queued -= (size_t)n;
    }
}

/* Watches for room only while something waits. */
static void set_writing(bool on)
{
    static bool is_on;
    if (on != is_on)
        watch(EPOLL_CTL_MOD, &echo, EPOLLIN | (on ? EPOLLOUT : 0));
    is_on = on;
}

static void on_socket(uint32_t ready)
{
    static char buffer[LOOP_BUFFER];

    if (ready & EPOLLOUT) {
        send_some();
        set_writing(queued);
    }
    if (!(ready & (EPOLLIN | EPOLLHUP)))
        return;
    ssize_t n = recv(echo.fd, buffer, sizeof buffer, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        bench_fail("recv", n < 0 ? errno : 0);
    if (n > 0)
        loop_got((size_t)n);
}

void loop_send(const char *data, size_t len)
{
    queue = data;
    queued = len;
    send_some();
    set_writing(queued);
}

void loop_end_echo(void)
{
    close(echo.fd);
}

/* ---- the loop ---- */

static void turn(int msec)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int n = epoll_wait(set, events, EVENTS_PER_TURN, msec);

    if (n < 0 && errno != EINTR)
        bench_fail("epoll_wait", errno);
    for (int i = 0; i < n; i++) {
        struct child *child = events[i].data.ptr;
        if (child == &echo)
            on_socket(events[i].events);
        else
            read_output(child);
    }
}

void loop_run(void)
{
    for (ended = false; !ended;)
        turn(-1);
}

void loop_turn(void)
{
    turn(0);
}
