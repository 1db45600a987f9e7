/* SPDX-License-Identifier: MIT
 *
 * Remote processes behind a connection of the program's.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-remote-lib.h"
#include "test-rpc-lib.h"

struct connection {
    struct test *t;
    struct afork_process *process; /* to be closed meanwhile; or NULL */
    bool closes_context;
    unsigned calls, released;
    pid_t pid;
    int fd; /* what to return; 0: a perl's */
};

static int connect_perl(void *data)
{
    struct connection *c = data;
    const char *perl = g_getenv("PERL");
    int pair[2];

    c->calls++;
    if (c->process)
        afork_process_close(c->process);
    if (c->closes_context) {
        afork_context_close(c->t->context);
        c->t->context = NULL;
    }
    if (c->fd)
        return c->fd;
    test_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    c->pid = fork();
    if (!c->pid) {
        dup2(pair[1], 0);
        dup2(pair[1], 1);
        close(pair[0]);
        close(pair[1]);
        execlp(perl && *perl ? perl : "perl", "perl", NULL);
        _exit(127);
    }
    close(pair[1]);
    return pair[0];
}

static void released(void *data)
{
    struct connection *c = data;

    c->released++;
}

static struct afork_process *connected(struct test *t, struct connection *c)
{
    struct afork_remote_options options = AFORK_REMOTE_OPTIONS_INIT;

    options.connect = connect_perl;
    options.connect_data = c;
    options.connect_release = released;
    return test_remote_with(t, &options);
}

static void reap(struct test *t, struct connection *c)
{
    int status;

    if (c->pid)
        test_wait(t, waitpid(c->pid, &status, WNOHANG) == c->pid);
    c->pid = 0;
}

static void connections(struct test *t)
{
    struct connection c = {.t = t};
    struct test_exit end = {0};
    struct test_run run = {0};
    struct afork_process *process = connected(t, &c), *copy;

    test_ok(afork_process_eval(process, test_remote_functions, NULL));
    copy = test_fork(process);
    for (int n = 0; n < 2; n++) {
        memset(&run, 0, sizeof run);
        memset(&end, 0, sizeof end);
        struct afork_process *p = n ? copy : process;
        test_ok(afork_process_on_exit(p, test_on_exit, &end));
        test_ok(afork_process_run(p, "list", test_on_run, &run));
        g_assert_cmpuint(c.calls, ==, (guint)n);
        test_wait(t, run.calls && end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
        g_assert_cmpint(afork_process_pid(p), ==, 0);
        g_autofree char *text = test_slurp(t, run.fd, NULL);
        g_assert_cmpstr(text, ==, "-\n");
        g_assert_cmpint(fcntl(run.fd, F_GETFD), ==, -1);
        g_assert_cmpuint(c.released, ==, 0);
        afork_process_unref(p);
        reap(t, &c);
    }
    test_wait(t, c.released == 1); /* long before the context goes */

    struct afork_remote_options bad = AFORK_REMOTE_OPTIONS_INIT;
    bad.connect = connect_perl;
    bad.connect_data = &c;
    bad.connect_release = released;
    bad.start_timeout = -1;
    g_assert_cmpint(afork_process_new_remote(test_context(t), &bad, &process), ==, -EINVAL);
    g_assert_cmpuint(c.released, ==, 1);
    afork_process_unref(connected(t, &c)); /* never run */
    test_wait(t, c.released == 2);
}

static void connections_that_fail(struct test *t)
{
    int pair[2], datagrams[2], pipes[2];

    test_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    test_ok(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, datagrams));
    test_ok(pipe2(pipes, O_CLOEXEC));
    close(pair[1]);
    const struct {
        int fd, error;
    } cases[] = {{-EHOSTUNREACH, -EHOSTUNREACH},
                 {pair[0], -ECONNRESET},
                 {datagrams[0], -EPROTOTYPE},
                 {pipes[0], -ENOTSOCK}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct connection c = {.t = t, .fd = cases[i].fd};
        struct test_remote_end end = test_remote_end_of(t, connected(t, &c), "list");
        g_assert_cmpint(end.run.fd, ==, cases[i].error);
        g_assert_cmpint(end.run.cause, ==, AFORK_CAUSE_START);
        g_assert_cmpint(end.exit.cause, ==, AFORK_CAUSE_START);
        if (cases[i].fd >= 0) /* taken */
            g_assert_cmpint(fcntl(cases[i].fd, F_GETFD), ==, -1);
    }
    close(datagrams[1]);
    close(pipes[1]);

    /* An error of the code, and an end before the function. */
    static const char *const codes[] = {"die 'no good'", "exit 0"};
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
        struct connection c = {.t = t};
        struct afork_process *process = connected(t, &c);
        test_ok(afork_process_eval(process, codes[i], NULL));
        struct test_remote_end end = test_remote_end_of(t, process, "list");
        g_assert_cmpint(end.run.fd, ==, i ? -ECONNRESET : -ENOEXEC);
        g_assert_cmpint(end.exit.cause, ==, i ? AFORK_CAUSE_UNKNOWN : AFORK_CAUSE_EVAL);
        reap(t, &c);
    }
}

/* One whose end nobody tells. */
static void calls_over_a_connection(struct test *t)
{
    test_end_auto end = {0};
    struct afork_rpc_options options = test_rpc_options(&end);
    struct connection c = {.t = t};
    test_reply_auto reply = {0};
    test_reply_auto lost = {0};
    const struct iovec strings[] = {{(char *)"abc", 3}};
    struct afork_process *process = connected(t, &c);
    struct afork_rpc *rpc;

    test_ok(afork_process_eval(process, "sub act { exit 0 if !@_; @_ }", NULL));
    test_ok(afork_rpc_new(process, "act", &options, &rpc));
    afork_process_unref(process);
    test_ok(afork_rpc_call_strings(rpc, strings, 1, NULL, test_on_reply, &reply, NULL));
    test_wait(t, reply.calls);
    g_assert_cmpstr(test_reply_string(&reply, 0), ==, "abc");
    test_ok(afork_rpc_call_strings(rpc, strings, 0, NULL, test_on_reply, &lost, NULL));
    test_wait(t, lost.calls && end.calls);
    g_assert_cmpint(lost.error, ==, -ECONNRESET);
    afork_rpc_unref(rpc);
    reap(t, &c);
}

/* The callback that connects may end everything. */
static void closed_while_connecting(struct test *t)
{
    for (int n = 0; n < 2; n++) {
        struct connection c = {.t = t, .closes_context = n};
        struct test_run run = {0};
        struct afork_process *process = connected(t, &c);
        c.process = n ? NULL : process;
        test_ok(afork_process_run(process, "list", test_on_run, &run));
        test_wait(t, c.calls);
        g_assert_cmpuint(run.calls, ==, 0);
        afork_process_unref(process);
        afork_context_close(t->context);
        t->context = NULL;
        t->type->turn(t->loop_self, 0);
        reap(t, &c);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/remote/connect/works", connections);
    test_add("/remote/connect/fails", connections_that_fail);
    test_add("/remote/connect/rpc", calls_over_a_connection);
    test_add("/remote/connect/closed", closed_while_connecting);
    return g_test_run();
}
