/* SPDX-License-Identifier: MIT */
#include "fork-server.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "fdpass.h"

noreturn void fork_server(int socket, void (*child)(int channel, void *data), void *data)
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
            child(channel, data);
            _exit(1);
        }
        close(channel);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            continue;
    }
    while (wait(NULL) > 0)
        continue;
    _exit(0);
}

int fork_server_request(int server)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        bench_fail("socketpair", errno);
    char octet = 0;
    struct iovec iov = {.iov_base = &octet, .iov_len = 1};
    ssize_t sent = afork__fd_send(server, &iov, 1, &pair[1], 1, 0);
    if (sent < 0)
        bench_fail("sendmsg", (int)sent);
    close(pair[1]);
    return pair[0];
}
