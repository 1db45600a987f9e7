/* SPDX-License-Identifier: MIT
 *
 * Servers that are adopted: what is known of them, and what cannot be adopted. They come from a
 * second context on the same loop. Against the fake server.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test-lib.h"

static struct afork_process *adopt(struct afork_context *context, int fd, enum afork_peer peer)
{
    struct afork_process *process;

    test_ok(afork_process_new_from_fd(context, fd, peer, &process));
    return process;
}

/* A pair of sockets, the second of which nobody serves. */
static void make_pair(int type, int pair[2])
{
    g_assert_cmpint(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), ==, 0);
}

static void assert_refused(struct test *t, int fd, int error)
{
    struct afork_process *process = NULL;

    g_assert_cmpint(afork_process_new_from_fd(test_context(t), fd, AFORK_PEER_OWN, &process), ==,
                    error);
    g_assert_null(process);
}

static void what_is_no_server_is_refused(struct test *t)
{
    struct afork_context *context = test_context(t);
    struct afork_process *process = NULL;
    int pair[2], pipes[2];

    make_pair(SOCK_STREAM, pair);
    g_assert_cmpint(afork_process_new_from_fd(context, pair[0], (enum afork_peer)7, &process), ==,
                    -EINVAL);
    g_assert_cmpint(afork_process_new_from_fd(NULL, pair[0], AFORK_PEER_OWN, &process), ==,
                    -EINVAL);
    g_assert_cmpint(afork_process_new_from_fd(context, pair[0], AFORK_PEER_OWN, NULL), ==, -EINVAL);
    assert_refused(t, -1, -EBADF);
    assert_refused(t, 1023, -EBADF);

    g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
    assert_refused(t, pair[0], -EPROTO);
    close(pair[1]);
    g_assert_cmpint(read(pair[0], &(char){0}, 1), ==, 1);
    assert_refused(t, pair[0], -ECONNRESET);
    g_assert_cmpint(fcntl(pair[0], F_GETFL) & O_NONBLOCK, ==, 0); /* it is as it was */
    close(pair[0]);

    g_assert_cmpint(pipe2(pipes, O_CLOEXEC), ==, 0);
    assert_refused(t, pipes[0], -ENOTSOCK);
    close(pipes[0]);
    close(pipes[1]);
    for (int i = 0; i < 2; i++) {
        make_pair(i ? SOCK_DGRAM : SOCK_SEQPACKET, pair);
        assert_refused(t, pair[0], -EPROTOTYPE);
        close(pair[0]);
        close(pair[1]);
    }
    g_assert_null(process);
}

static void what_is_not_connected_is_refused(struct test *t)
{
    static const struct sockaddr address = {.sa_family = AF_UNIX}; /* the kernel finds a name */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_refused(t, fd, -ENOTCONN);
    g_assert_cmpint(bind(fd, &address, sizeof address.sa_family), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    assert_refused(t, fd, -ENOTCONN);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_refused(t, fd, -EAFNOSUPPORT);
    close(fd);
}

/* Of a descriptor that was not made with care. */
static void flags_are_set(struct test *t)
{
    struct afork_context *other = test_other_context(t);
    int fd = test_hand_over(t, test_new(t));
    int saved = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);

    g_assert_cmpint(fcntl(fd, F_SETFL, 0), ==, 0);
    g_assert_cmpint(dup2(fd, STDIN_FILENO), ==, STDIN_FILENO);
    close(fd);
    struct afork_process *process = adopt(other, STDIN_FILENO, AFORK_PEER_OWN);
    g_assert_cmpint(fcntl(STDIN_FILENO, F_GETFD), <, 0); /* taken */
    dup2(saved, STDIN_FILENO);
    close(saved);
    fd = test_run_function(t, process, "echo");
    g_assert_cmpint(fd, >, STDERR_FILENO);
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, !=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    close(fd);
    afork_process_unref(process);
    afork_context_close(other);
}

/* A process that runs "hold", and what its callbacks were told. */
struct subject {
    struct afork_process *process;
    struct test_run run;
    struct test_exit end;
};

static void subject_start(struct subject *s, struct afork_process *process)
{
    *s = (struct subject){.process = process};
    test_ok(afork_process_on_exit(process, test_on_exit, &s->end));
    test_ok(afork_process_run(process, "hold", test_on_run, &s->run));
}

static void assert_no_server(struct test *t, struct subject *s, const char *text)
{
    test_wait(t, s->end.calls);
    g_test_message("%s", s->end.message);
    g_assert_cmpuint(s->run.calls, ==, 1);
    g_assert_cmpint(s->run.fd, ==, -EPROTO);
    g_assert_cmpint(s->run.cause, ==, AFORK_CAUSE_PROTOCOL);
    g_assert_cmpint(s->end.cause, ==, AFORK_CAUSE_PROTOCOL);
    g_assert_nonnull(strstr(s->end.message, text));
    afork_process_unref(s->process);
}

/* A socket that no server is behind: one that closes it, and one that speaks. */
static void silence_ends(struct test *t)
{
    for (int i = 0; i < 2; i++) {
        struct subject s;
        int pair[2];

        make_pair(SOCK_STREAM, pair);
        subject_start(&s, adopt(test_context(t), pair[0], AFORK_PEER_OWN));
        if (i)
            g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
        test_turn_for(t, 5 * 1000);
        close(pair[1]);
        assert_no_server(t, &s, i ? "did not introduce itself" : "no server of ours");
    }
}

/* The first host goes on to have it until the second one's word comes, and nobody after that. */
static void adopted_twice(struct test *t)
{
    struct afork_context *other = test_other_context(t);
    int fd = test_hand_over(t, test_new(t)), copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    struct afork_process *process = adopt(other, fd, AFORK_PEER_OWN);
    struct test_exit end = {0};
    struct subject second;

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_wait(t, afork_process_peer_pid(process));
    subject_start(&second, adopt(test_context(t), copy, AFORK_PEER_OWN));
    assert_no_server(t, &second, "it has a host");
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_PROTOCOL);
    afork_process_unref(process);
    afork_context_close(other);
}

static void other_protocol_version(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct subject s;

    test_ok(afork_process_eval(process, "hello 99", NULL));
    subject_start(&s, adopt(test_context(t), test_hand_over(t, process), AFORK_PEER_OWN));
    assert_no_server(t, &s, "version 99");
}

static void through_three_hosts(struct test *t)
{
    struct afork_process *process = test_new_exec(t);
    struct afork_context *hosts[3];

    for (int i = 0; i < 3; i++) {
        hosts[i] = test_other_context(t);
        process = adopt(hosts[i], test_hand_over(t, process), AFORK_PEER_OWN);
        test_ok(afork_process_eval(process, "again", NULL));
    }
    g_autofree char *text = test_output(t, process, "dump");
    g_assert_cmpstr(text, ==, "code again\ncode again\ncode again\n");
    for (int i = 0; i < 3; i++)
        afork_context_close(hosts[i]);
}

/* One of ours that is called an original is given commands, and is not known. */
static void called_an_original(struct test *t)
{
    struct afork_context *other = test_other_context(t);
    struct afork_process *process = adopt(other, test_hand_over(t, test_new(t)),
                                          AFORK_PEER_ORIGINAL);
    struct subject of_child, itself;

    g_assert_cmpint(afork_process_kill(process, SIGTERM), ==, -ENOTSUP);
    subject_start(&of_child, test_fork(process));
    subject_start(&itself, process);
    test_wait(t, of_child.end.calls && itself.end.calls);
    g_assert_cmpint(itself.end.cause, ==, AFORK_CAUSE_UNKNOWN);
    close(of_child.run.fd);
    close(itself.run.fd);
    afork_process_unref(of_child.process);
    afork_process_unref(itself.process);
    afork_context_close(other);
}

static void ends_are_noticed(struct test *t)
{
    for (int peer = AFORK_PEER_OWN; peer <= AFORK_PEER_ORIGINAL; peer++) {
        struct afork_process *process = test_new_exec(t);
        pid_t pid = afork_process_pid(process);
        struct test_exit end = {0};
        struct afork_context *other = test_other_context(t);

        process = adopt(other, test_hand_over(t, process), (enum afork_peer)peer);
        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        kill(pid, SIGKILL);
        test_wait(t, end.calls);
        g_assert_cmpint(afork_process_eval(process, "late", NULL), ==, -ESRCH);
        afork_process_unref(process);
        afork_context_close(other);
    }
}

/* Signals wait for the pid; and the end of a worker is told, too. */
static void signals_arrive(struct test *t)
{
    struct afork_context *other = test_other_context(t);
    struct subject s;

    subject_start(&s, adopt(other, test_hand_over(t, test_new(t)), AFORK_PEER_OWN));
    test_ok(afork_process_kill(s.process, SIGTERM));
    test_wait(t, s.end.calls);
    g_assert_cmpint(s.end.cause, ==, AFORK_CAUSE_UNKNOWN);
    g_assert_cmpint(afork_process_kill(s.process, SIGTERM), ==, -ESRCH);
    if (s.run.fd >= 0)
        close(s.run.fd);
    afork_process_unref(s.process);
    afork_context_close(other);
}

/* A tree on an adopted server is reported as any. */
static void its_tree_is_reported(struct test *t)
{
    struct afork_context *other = test_other_context(t);
    struct afork_process *process = adopt(other, test_hand_over(t, test_new(t)), AFORK_PEER_OWN);
    struct afork_process *template = test_fork(process), *worker = test_fork(template);
    struct test_exit end = {0};

    test_ok(afork_process_send_arg(worker, "7", 1));
    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    int channel = test_run_function(t, worker, "exit");
    test_wait(t, end.calls);
    g_assert_cmpint(end.status, ==, 7);
    g_assert_true(end.has_usage);
    close(channel);
    afork_process_unref(worker);

    worker = test_fork(template); /* it becomes an orphan, which the adopted one reaps */
    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    channel = test_run_function(t, worker, "hold");
    pid_t pid = afork_process_peer_pid(template);
    test_ok(afork_process_kill(template, SIGKILL));
    test_wait(t, !test_process_state(pid));
    afork_process_unref(template);
    close(channel);
    test_wait(t, end.calls == 2);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    afork_process_unref(worker);
    afork_process_unref(process);
    afork_context_close(other);
}

/* Let go of at once, in each way; it ends. */
static void let_go_of(struct test *t)
{
    for (int way = 0; way < 6; way++) {
        struct afork_process *process = test_new_exec(t);
        pid_t pid = afork_process_pid(process);
        struct afork_context *other = test_other_context(t);

        process = adopt(other, test_hand_over(t, process),
                        way % 2 ? AFORK_PEER_OWN : AFORK_PEER_ORIGINAL);
        if (way / 2 == 0)
            afork_process_unref(process);
        else if (way / 2 == 1)
            afork_process_close(process);
        else
            afork_context_close(other);
        test_wait(t, !test_is_running(pid));
        if (way / 2)
            afork_process_unref(process);
        if (way / 2 < 2)
            afork_context_close(other);
    }
}

static void no_descriptor_is_free(struct test *t)
{
    struct afork_context *other = test_other_context(t);
    int fd = test_hand_over(t, test_new(t));
    struct afork_process *process;
    struct rlimit limit, none;

    getrlimit(RLIMIT_NOFILE, &limit);
    none = (struct rlimit){.rlim_cur = (rlim_t)fd + 1, .rlim_max = limit.rlim_max};
    for (int i = 0; i <= fd; i++) /* what is free below the limit */
        if (fcntl(i, F_GETFD) < 0)
            none.rlim_cur = (rlim_t)MIN(none.rlim_cur, (rlim_t)i);
    setrlimit(RLIMIT_NOFILE, &none);
    int result = afork_process_new_from_fd(other, fd, AFORK_PEER_OWN, &process);
    setrlimit(RLIMIT_NOFILE, &limit);
    g_assert_cmpint(result, ==, -EMFILE);
    g_free(test_output(t, adopt(other, fd, AFORK_PEER_OWN), "dump"));
    afork_context_close(other);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add_for(&test_loop_poll, "/adopt/no-server", what_is_no_server_is_refused);
    test_add_for(&test_loop_poll, "/adopt/not-connected", what_is_not_connected_is_refused);
    test_add_for(&test_loop_poll, "/adopt/flags", flags_are_set);
    test_add("/adopt/silence", silence_ends);
    test_add_for(&test_loop_poll, "/adopt/twice", adopted_twice);
    test_add_for(&test_loop_poll, "/adopt/version", other_protocol_version);
    test_add("/adopt/three-hosts", through_three_hosts);
    test_add("/adopt/called-an-original", called_an_original);
    test_add("/adopt/ends", ends_are_noticed);
    test_add_for(&test_loop_poll, "/adopt/signals", signals_arrive);
    test_add("/adopt/tree", its_tree_is_reported);
    test_add("/adopt/let-go-of", let_go_of);
    test_add_for(&test_loop_poll, "/adopt/no-descriptor", no_descriptor_is_free);
    return g_test_run();
}
