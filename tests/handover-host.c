/* SPDX-License-Identifier: MIT
 *
 * A program that hands servers over and adopts them, for tests/perl/handover.t:
 *
 *   handover-host ROLE PEER
 *
 * PEER is `own` or `original`: what the server is. Servers are passed on a Unix socket, one for
 * each octet; descriptor 3 is where they come from, 4 where they go. Roles:
 *
 *   give    makes a server with code and arguments, hands it over, says so, and stays
 *   pass    adopts one and hands it over
 *   take    adopts one and runs `tell` in a fork of it, then in itself; prints what they tell, and
 *           of the fork how it ended
 *
 * Whatever goes wrong is a line that starts with "error". In the environment: HANDOVER_PERL and
 * HANDOVER_MODULE, what serves; HANDOVER_CODE, which defines `tell`.
 */
#include <afork/afork.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fdpass.h"

enum { FROM = 3, TO = 4 };

static struct afork_poll *loop;
static struct afork_context *context;

__attribute__((noreturn)) static void fail(const char *what, int error)
{
    printf("error: %s: %s\n", what, strerror(-error));
    exit(1);
}

static void check(const char *what, int result)
{
    if (result < 0)
        fail(what, result);
}

static int receive_server(void)
{
    struct afork__fd_queue queue = {0};
    char octet;

    ssize_t got = afork__fd_receive(FROM, &octet, 1, &queue, 0);
    int fd = afork__fd_queue_take(&queue);
    if (got != 1 || fd < 0)
        fail("no server came", got < 0 ? (int)got : -ENODATA);
    afork__fd_queue_clear(&queue);
    return fd;
}

static void on_fd(struct afork_process *process, int fd, const struct afork_exit *failure,
                  void *data)
{
    const struct iovec octet = {.iov_base = (char *)"", .iov_len = 1}; /* IO::FDPass wants a NUL */

    (void)data;
    if (failure)
        printf("error: %s\n", failure->message);
    check("handing over", fd);
    check("sending", (int)afork__fd_send(TO, &octet, 1, &fd, 1, 0));
    close(fd);
    afork_process_unref(process);
    puts("given");
    fflush(stdout);
}

static struct afork_process *adopt(enum afork_peer peer)
{
    struct afork_process *process;

    check("adopting", afork_process_new_from_fd(context, receive_server(), peer, &process));
    return process;
}

static struct afork_process *make(void)
{
    struct afork_process *process;
    int pipes[2];

    check("pipe", pipe(pipes));
    check("write", (int)write(pipes[1], "handle handle ", 14)); /* for the fork and for itself */
    close(pipes[1]);
    check("new", afork_process_new_exec(context, &process));
    check("eval", afork_process_eval(process, getenv("HANDOVER_CODE"), NULL));
    check("send_fd", afork_process_send_fd(process, pipes[0]));
    check("send_arg", afork_process_send_arg(process, "argument", 8));
    close(pipes[0]);
    return process;
}

struct worker {
    int fd;
    bool ended;
    char how[256];
};

static void on_run(struct afork_process *process, int fd, const struct afork_exit *failure,
                   void *data)
{
    (void)process;
    if (failure)
        printf("error: %s\n", failure->message);
    check("running", fd);
    ((struct worker *)data)->fd = fd;
}

static void on_exit_cb(struct afork_process *process, const struct afork_exit *end, void *data)
{
    struct worker *worker = data;

    (void)process;
    worker->ended = true;
    snprintf(worker->how, sizeof worker->how, "%s",
             end->cause == AFORK_CAUSE_UNKNOWN ? "unknown" : end->message);
}

/* Runs `tell` and prints what it tells, and how it ended. */
static void tell(struct afork_process *process)
{
    struct worker worker = {.fd = -1};
    char text[256] = "";
    size_t len = 0;

    check("on_exit", afork_process_on_exit(process, on_exit_cb, &worker));
    check("run", afork_process_run(process, "tell", on_run, &worker));
    while (worker.fd < 0)
        check("turn", afork_poll_turn(loop, -1));
    while (poll(&(struct pollfd){.fd = worker.fd, .events = POLLIN}, 1, -1) == 1) {
        ssize_t got = read(worker.fd, text + len, sizeof text - 1 - len);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    close(worker.fd);
    while (!worker.ended)
        check("turn", afork_poll_turn(loop, -1));
    printf("%s, %s\n", text, worker.how);
    afork_process_unref(process);
}

int main(int argc, char **argv)
{
    struct afork_context_options options = AFORK_CONTEXT_OPTIONS_INIT;
    const char *role = argc == 3 ? argv[1] : "";

    options.peer = argc == 3 && !strcmp(argv[2], "own") ? AFORK_PEER_OWN : AFORK_PEER_ORIGINAL;
    options.perl = getenv("HANDOVER_PERL");
    if (options.peer == AFORK_PEER_ORIGINAL)
        options.serve_module = getenv("HANDOVER_MODULE");
    check("loop", afork_poll_new(&loop));
    check("context", afork_context_new(afork_poll_loop(loop), &options, &context));
    if (!strcmp(role, "give") || !strcmp(role, "pass")) {
        struct afork_process *process = *role == 'g' ? make() : adopt(options.peer);
        check("to_fd", afork_process_to_fd(process, on_fd, NULL));
        for (;;) /* until it is killed */
            check("turn", afork_poll_turn(loop, -1));
    }
    struct afork_process *process = adopt(options.peer), *child;
    check("fork", afork_process_fork(process, &child));
    tell(child);
    tell(process);
    afork_context_close(context);
    afork_poll_free(loop);
    return 0;
}
