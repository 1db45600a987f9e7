/* SPDX-License-Identifier: MIT
 *
 * The least that children forked in advance can take: no Perl anywhere. A fork server in C is given a
 * socket by each request, and forks a child that waits on it for an octet, answers with one, and leaves.
 * The host keeps READY such children, and asks for the next one once it has its answer.
 *
 *     peer-ready COUNT PAUSE READY   us from the octet to its answer, COUNT times with PAUSE us between them
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "fdpass.h"

#define READY_MAX 64

static noreturn void child(int channel)
{
    char octet;

    if (read(channel, &octet, 1) == 1)
        (void)!write(channel, &octet, 1);
    _exit(0);
}

static noreturn void serve(int socket)
{
    struct afork__fd_queue channels = {0};
    char octet;

    while (afork__fd_receive(socket, &octet, sizeof octet, &channels, 0) == 1) {
        int channel = afork__fd_queue_take(&channels);
        pid_t pid = fork();
        if (pid < 0)
            bench_fail("fork", errno);
        if (!pid) {
            close(socket);
            child(channel);
        }
        close(channel);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            continue;
    }
    while (wait(NULL) > 0)
        continue;
    _exit(0);
}

static int request(int server)
{
    int pair[2];
    char octet = 0;
    struct iovec iov = {.iov_base = &octet, .iov_len = 1};

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        bench_fail("socketpair", errno);
    ssize_t sent = afork__fd_send(server, &iov, 1, &pair[1], 1, 0);
    if (sent < 0)
        bench_fail("sendmsg", (int)sent);
    close(pair[1]);
    return pair[0];
}

static double answer(int channel)
{
    struct pollfd pollfd = {.fd = channel, .events = POLLIN};
    char octet = 'x';
    double start = bench_now();

    if (write(channel, &octet, 1) != 1 || poll(&pollfd, 1, -1) != 1 ||
        read(channel, &octet, 1) != 1)
        bench_fail("no answer", errno);
    return bench_now() - start;
}

int main(int argc, char **argv)
{
    int pair[2], ready[READY_MAX];

    if (argc != 4 || bench_number(argv[3]) > READY_MAX || !bench_number(argv[3]))
        bench_fail("see the head of peer-ready.c for the arguments", 0);
    size_t n = bench_number(argv[1]), pause = bench_number(argv[2]), keep = bench_number(argv[3]);
    double *samples = calloc(n, sizeof *samples);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        bench_fail("socketpair", errno);
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork", errno);
    if (!pid) {
        close(pair[0]);
        serve(pair[1]);
    }
    close(pair[1]);

    for (size_t i = 0; i < keep; i++)
        ready[i] = request(pair[0]);
    usleep(100 * 1000);
    for (size_t i = 0; i < n; i++) {
        size_t next = i % keep;
        samples[i] = answer(ready[next]);
        close(ready[next]);
        ready[next] = request(pair[0]);
        if (pause)
            usleep((useconds_t)pause);
    }
    bench_print_samples(samples, n);
    free(samples);
    return 0;
}
