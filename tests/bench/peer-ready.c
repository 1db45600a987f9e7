/* SPDX-License-Identifier: MIT
 *
 * The least that children forked in advance can take: no Perl anywhere. A fork server in C is given
 * a socket by each request, and forks a child that waits on it for an octet, answers with one, and
 * leaves. The host keeps READY such children, and asks for the next one once it has its answer.
 *
 *     peer-ready COUNT PAUSE READY   us from the octet to its answer, COUNT times with PAUSE us between them
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "fork-server.h"

#define READY_MAX 64

static void child(int channel, void *data)
{
    char octet;

    if (read(channel, &octet, 1) == 1)
        (void)!write(channel, &octet, 1);
    _exit(0);
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
        fork_server(pair[1], child, NULL);
    }
    close(pair[1]);

    for (size_t i = 0; i < keep; i++)
        ready[i] = fork_server_request(pair[0]);
    usleep(100 * 1000);
    for (size_t i = 0; i < n; i++) {
        size_t next = i % keep;
        samples[i] = answer(ready[next]);
        close(ready[next]);
        ready[next] = fork_server_request(pair[0]);
        if (pause)
            usleep((useconds_t)pause);
    }
    bench_print_samples(samples, n);
    free(samples);
    return 0;
}
