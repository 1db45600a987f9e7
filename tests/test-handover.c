/* SPDX-License-Identifier: MIT
 *
 * Servers that change hosts: what the host they leave knows of them, what the one that adopts them
 * does, and what cannot be adopted. The other host is a second context on the same loop. Against the
 * fake server; with real Perls in test-perl-handover.c, between programs in test-handover-programs.t.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-lib.h"

enum { MEGABYTE = 1 << 20 };

static struct afork_context *other_host(struct test *t)
{
    struct afork_context *context;

    test_ok(afork_context_new(t->loop, &t->options, &context));
    return context;
}

/* The command socket of `process`, which is let go of. */
static int hand_over(struct test *t, struct afork_process *process)
{
    struct test_run run = {0};

    test_ok(afork_process_to_fd(process, test_on_run, &run));
    test_wait(t, run.calls);
    g_assert_cmpint(run.fd, >=, 0);
    afork_process_unref(process);
    return run.fd;
}

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

/* ---- Leaving ---- */

static void end_is_told_once(struct test *t)
{
    for (int peer = AFORK_PEER_OWN; peer <= AFORK_PEER_ORIGINAL; peer++) {
        for (int executed = 0; executed < 2; executed++) {
            t->options.peer = (enum afork_peer)peer;
            struct afork_process *process = executed ? test_new_exec(t) : test_new(t);
            struct test_run run = {0};
            struct test_exit end = {0};

            test_ok(afork_process_on_exit(process, test_on_exit, &end));
            test_ok(afork_process_to_fd(process, test_on_run, &run));
            g_assert_cmpint(afork_process_eval(process, "late", NULL), ==, -EINVAL);
            g_assert_cmpint(afork_process_to_fd(process, test_on_run, &run), ==, -EINVAL);
            g_assert_cmpuint(run.calls, ==, 0);
            test_wait(t, end.calls);
            g_assert_cmpuint(run.calls, ==, 1);
            g_assert_cmpint(run.pid, ==, 0);
            g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
            g_assert_cmpint(end.status, ==, -1);
            g_assert_nonnull(strstr(end.message, "handed over"));
            g_assert_cmpint(fcntl(run.fd, F_GETFL) & O_NONBLOCK, !=, 0);
            g_assert_cmpint(fcntl(run.fd, F_GETFD), ==, FD_CLOEXEC);
            g_assert_cmpint(afork_process_pid(process), ==, 0);
            g_assert_cmpint(afork_process_peer_pid(process), ==, 0);
            g_assert_cmpint(afork_process_kill(process, SIGKILL), ==, -ESRCH);
            g_assert_cmpint(afork_process_run(process, "dump", NULL, NULL), ==, -EINVAL);
            afork_process_unref(process);
            close(run.fd); /* which ends the server */
            test_turn_for(t, 5 * 1000);
            g_assert_cmpuint(end.calls, ==, 1);
            afork_context_close(t->context);
            t->context = NULL;
        }
    }
}

static void misuse_is_refused(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_run run = {0};

    g_assert_cmpint(afork_process_to_fd(NULL, test_on_run, &run), ==, -EINVAL);
    g_assert_cmpint(afork_process_to_fd(process, NULL, NULL), ==, -EINVAL);
    test_ok(afork_process_run(process, "return", test_on_run, &run));
    g_assert_cmpint(afork_process_to_fd(process, test_on_run, &run), ==, -EINVAL);
    test_wait(t, run.calls);
    close(run.fd);
    afork_process_unref(process);
}

/* Ten megabytes and some descriptors are queued, and the server does not read at first. */
static void all_that_is_queued_goes_first(struct test *t)
{
    for (int peer = AFORK_PEER_OWN; peer <= AFORK_PEER_ORIGINAL; peer++) {
        g_autofree char *data = g_strnfill(10 * MEGABYTE, 'x'), *expected = NULL;
        g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_MD5, data, -1);
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        t->options.peer = (enum afork_peer)peer;
        struct afork_process *process = test_new_exec(t);
        struct test_run run = {0};
        for (int i = 0; i < 20; i++)
            test_ok(afork_process_send_fd(process, null));
        close(null);
        test_ok(afork_process_send_arg(process, data, 10 * MEGABYTE));
        test_ok(afork_process_to_fd(process, test_on_run, &run));
        g_assert_cmpuint(run.calls, ==, 0);
        test_wait(t, run.calls);
        afork_process_unref(process);

        struct afork_context *other = other_host(t);
        process = adopt(other, run.fd, t->options.peer);
        g_autofree char *flags = test_output(t, test_fork(process), "flags");
        g_assert_cmpuint(strlen(flags), >, 20 * strlen("handle "));
        g_autofree char *text = test_output(t, process, "digest");
        for (char *line = text; g_str_has_prefix(line, "0 "); line = strchr(line, '\n') + 1)
            expected = line; /* the descriptors */
        expected = g_strdup_printf("%d %s\n", 10 * MEGABYTE, sum);
        g_assert_true(g_str_has_suffix(text, expected));
        afork_context_close(other);
        afork_context_close(t->context);
        t->context = NULL;
    }
}

struct failure {
    const char *code;
    int error;
    enum afork_cause cause;
    const char *message;
};

static void failures_are_told(struct test *t)
{
    static const struct failure failures[] = {
        {"die it hurts", -ENOEXEC, AFORK_CAUSE_EVAL, "it hurts"},
        {"kill 9", -ECONNRESET, AFORK_CAUSE_SIGNALLED, "signal 9"},
        {"exit 3", -ECONNRESET, AFORK_CAUSE_EXITED, "status 3"},
    };
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(failures); i++) {
        const struct failure *f = &failures[i / 2];
        struct afork_process *process = i % 2 ? test_new_exec(t) : test_new(t);
        struct test_run run = {0};
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_eval(process, f->code, NULL));
        test_ok(afork_process_to_fd(process, test_on_run, &run));
        test_wait(t, end.calls);
        g_assert_cmpuint(run.calls, ==, 1);
        g_assert_cmpint(run.fd, ==, f->error);
        g_assert_cmpint(run.cause, ==, f->cause);
        g_assert_cmpint(end.cause, ==, f->cause);
        g_assert_nonnull(strstr(run.message, f->message));
        afork_process_unref(process);
    }
}

static void template_that_is_gone(struct test *t)
{
    struct afork_process *template = test_new_exec(t), *process;
    struct test_run run = {0};
    struct test_exit end = {0};

    test_ok(afork_process_eval(template, "stop", NULL));
    test_wait(t, test_process_state(afork_process_pid(template)) == 'T');
    process = test_fork(template);
    test_ok(afork_process_to_fd(process, test_on_run, &run));
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_kill(template, SIGKILL));
    test_wait(t, end.calls);
    g_assert_cmpint(run.fd, ==, -EAGAIN);
    g_assert_cmpint(run.cause, ==, AFORK_CAUSE_FORK);
    g_assert_cmpuint(end.calls, ==, 1);
    afork_process_unref(process);
    afork_process_unref(template);
}

struct holder {
    struct test *t;
    int fd;
    unsigned calls, releases;
    enum { DROP, CLOSE, CLOSE_CONTEXT } what;
};

static void on_fd_destroy(struct afork_process *process, int fd, const struct afork_exit *failure,
                          void *data)
{
    struct holder *h = data;

    h->calls++;
    h->fd = fd;
    if (h->what == CLOSE)
        afork_process_close(process);
    afork_process_unref(process);
    if (h->what == CLOSE_CONTEXT)
        afork_context_close(h->t->context);
}

static void on_release(void *data)
{
    ((struct holder *)data)->releases++;
}

/* Whatever the callback destroys, the socket is its own. */
static void destroyed_in_callback(struct test *t)
{
    for (int what = DROP; what <= CLOSE_CONTEXT; what++) {
        struct holder h = {.t = t, .what = what};
        struct afork_process *process = test_new_exec(t);
        pid_t pid = afork_process_pid(process);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_to_fd_full(process, on_fd_destroy, &h, on_release));
        test_wait(t, h.releases);
        g_assert_cmpuint(h.calls, ==, 1);
        test_turn_for(t, 5 * 1000);
        g_assert_cmpuint(end.calls, ==, what == DROP);
        g_assert_true(test_is_running(pid));
        if (what == CLOSE_CONTEXT)
            t->context = NULL;

        struct afork_context *other = other_host(t);
        g_free(test_output(t, adopt(other, h.fd, AFORK_PEER_OWN), "dump"));
        afork_context_close(other);
    }
}

/* The callback does not come any more, its data is released, and the server ends. */
static void closed_while_it_waits(struct test *t)
{
    for (int way = 0; way < 2; way++) {
        struct holder h = {.t = t};
        struct afork_process *process = test_new_exec(t);
        pid_t pid = afork_process_pid(process);

        test_ok(afork_process_eval(process, "stop", NULL));
        test_wait(t, test_process_state(pid) == 'T');
        test_ok(afork_process_to_fd_full(process, on_fd_destroy, &h, on_release));
        if (way) {
            afork_context_close(t->context);
            t->context = NULL;
        } else {
            afork_process_close(process);
        }
        g_assert_cmpuint(h.releases, ==, 1);
        kill(pid, SIGCONT);
        test_wait(t, !test_is_running(pid));
        g_assert_cmpuint(h.calls, ==, 0);
        g_assert_cmpuint(h.releases, ==, 1);
        afork_process_unref(process);
    }
}

/* The last reference goes before the callback: it comes all the same. */
static void released_while_it_waits(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_run run = {0};

    test_ok(afork_process_to_fd(process, test_on_run, &run));
    afork_process_unref(process);
    test_wait(t, run.calls);
    g_assert_cmpint(run.fd, >=, 0);
    close(run.fd);
}

/* What was forked before stays, and its end is told. */
static void children_stay(struct test *t)
{
    for (int executed = 0; executed < 2; executed++) {
        struct afork_process *template = executed ? test_new_exec(t) : test_new(t);
        struct afork_process *server = test_fork(template), *worker = test_fork(template);
        struct test_exit ends[2] = {{0}};

        int channel = test_run_function(t, worker, "hold");
        test_ok(afork_process_on_exit(worker, test_on_exit, &ends[0]));
        int fd = hand_over(t, template);
        test_ok(afork_process_on_exit(server, test_on_exit, &ends[1]));
        test_turn_for(t, 5 * 1000);
        g_assert_cmpuint(ends[0].calls + ends[1].calls, ==, 0);

        g_free(test_output(t, test_fork(server), "dump"));
        g_assert_cmpint(afork_process_peer_pid(worker), >, 0);
        test_ok(afork_process_kill(worker, SIGKILL));
        test_wait(t, ends[0].calls);
        g_assert_cmpint(ends[0].cause, ==, AFORK_CAUSE_UNKNOWN);
        close(channel);
        afork_process_unref(worker);
        g_free(test_output(t, server, "dump"));
        test_wait(t, ends[1].calls);
        close(fd);
    }
}

/* An orphan of a tree whose middle serves another host, which reaps it: the root will not tell. */
static void orphans_below(struct test *t)
{
    struct afork_process *middle = test_new(t);
    struct afork_process *parent = test_fork(middle), *orphan = test_fork(parent);
    struct test_exit end = {0};
    struct afork_context *other = other_host(t);

    test_ok(afork_process_on_exit(orphan, test_on_exit, &end));
    int channel = test_run_function(t, orphan, "hold");
    middle = adopt(other, hand_over(t, middle), AFORK_PEER_OWN);
    test_wait(t, afork_process_peer_pid(middle));
    pid_t pid = afork_process_peer_pid(parent);
    afork_process_unref(parent);
    test_wait(t, !test_is_running(pid));
    test_turn_for(t, 5 * 1000);
    g_assert_cmpuint(end.calls, ==, 0);
    close(channel);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
    afork_process_unref(orphan);
    afork_process_unref(middle);
    afork_context_close(other);
}

/* The host's child stays that. */
static void child_is_reaped(struct test *t)
{
    for (int way = 0; way < 2; way++) {
        struct afork_process *process = test_new_exec(t);
        pid_t pid = afork_process_pid(process);
        int fd = hand_over(t, process);

        g_assert_true(test_is_running(pid));
        if (way) {
            afork_context_close(t->context);
            t->context = NULL;
            test_context(t);
        }
        close(fd);
        if (way) /* by the way, when the library is used the next time */
            test_wait(t, test_process_state(pid) == 'Z');
        else
            test_wait(t, !test_process_state(pid));
        if (way)
            afork_process_unref(test_new_exec(t));
        g_assert_cmpint(test_process_state(pid), ==, 0);
    }
}

static void it_lives_on_without_the_context(struct test *t)
{
    for (int peer = AFORK_PEER_OWN; peer <= AFORK_PEER_ORIGINAL; peer++) {
        t->options.peer = (enum afork_peer)peer;
        t->options.standard_error.mode = AFORK_STDIO_TAIL;
        struct afork_process *process = test_new_exec(t);

        test_ok(afork_process_eval(process, "before", NULL));
        int fd = hand_over(t, process);
        afork_context_close(t->context);
        t->context = NULL;
        t->options.standard_error.mode = AFORK_STDIO_DEFAULT;

        struct afork_context *other = other_host(t);
        process = adopt(other, fd, t->options.peer);
        if (peer == AFORK_PEER_OWN) /* the pipe of its standard error is broken */
            test_ok(afork_process_eval(process, "say something", NULL));
        test_ok(afork_process_eval(process, "after", NULL));
        g_autofree char *text = test_output(t, process, "dump");
        g_assert_nonnull(strstr(text, "code before\n"));
        g_assert_nonnull(strstr(text, "code after\n"));
        afork_context_close(other);
    }
}

static void copy_of_the_host(struct test *t)
{
    int status, fd = hand_over(t, test_new_exec(t));
    pid_t pid = fork();

    if (!pid) {
        afork_context_close(t->context);
        _exit(0);
    }
    test_wait(t, waitpid(pid, &status, WNOHANG) == pid);
    g_assert_cmpint(status, ==, 0);
    struct afork_process *process = adopt(test_context(t), fd, AFORK_PEER_OWN);
    g_free(test_output(t, process, "dump"));
}

static void idle_costs_nothing(struct test *t)
{
    struct afork_context *other = other_host(t);
    int fd = hand_over(t, test_new_exec(t));
    struct afork_process *process = adopt(other, hand_over(t, test_new(t)), AFORK_PEER_OWN);

    test_wait(t, afork_process_peer_pid(process));
    test_turn_for(t, 20 * 1000);
    test_assert_idle(t, 200 * 1000);
    close(fd);
    afork_process_unref(process);
    afork_context_close(other);
}

/* ---- Adopting ---- */

static void what_is_no_server_is_refused(struct test *t)
{
    struct afork_context *context = test_context(t);
    struct afork_process *process = NULL;
    int pair[2], pipes[2];

    make_pair(SOCK_STREAM, pair);
    g_assert_cmpint(afork_process_new_from_fd(context, pair[0], (enum afork_peer)7, &process), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_from_fd(NULL, pair[0], AFORK_PEER_OWN, &process), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_from_fd(context, pair[0], AFORK_PEER_OWN, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_from_fd(context, -1, AFORK_PEER_OWN, &process), ==, -EBADF);
    g_assert_cmpint(afork_process_new_from_fd(context, 1023, AFORK_PEER_OWN, &process), ==, -EBADF);

    g_assert_cmpint(write(pair[1], "x", 1), ==, 1);
    g_assert_cmpint(afork_process_new_from_fd(context, pair[0], AFORK_PEER_OWN, &process), ==, -EPROTO);
    close(pair[1]);
    g_assert_cmpint(read(pair[0], &(char){0}, 1), ==, 1);
    g_assert_cmpint(afork_process_new_from_fd(context, pair[0], AFORK_PEER_OWN, &process), ==, -ECONNRESET);
    g_assert_cmpint(fcntl(pair[0], F_GETFL) & O_NONBLOCK, ==, 0); /* it is as it was */
    close(pair[0]);

    g_assert_cmpint(pipe2(pipes, O_CLOEXEC), ==, 0);
    g_assert_cmpint(afork_process_new_from_fd(context, pipes[0], AFORK_PEER_OWN, &process), ==, -ENOTSOCK);
    close(pipes[0]);
    close(pipes[1]);
    for (int i = 0; i < 2; i++) {
        make_pair(i ? SOCK_DGRAM : SOCK_SEQPACKET, pair);
        g_assert_cmpint(afork_process_new_from_fd(context, pair[0], AFORK_PEER_OWN, &process), ==, -EPROTOTYPE);
        close(pair[0]);
        close(pair[1]);
    }
    g_assert_null(process);
}

static void what_is_not_connected_is_refused(struct test *t)
{
    static const struct sockaddr address = {.sa_family = AF_UNIX}; /* the kernel finds a name */
    struct afork_process *process = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(afork_process_new_from_fd(test_context(t), fd, AFORK_PEER_OWN, &process), ==, -ENOTCONN);
    g_assert_cmpint(bind(fd, &address, sizeof address.sa_family), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    g_assert_cmpint(afork_process_new_from_fd(test_context(t), fd, AFORK_PEER_OWN, &process), ==, -ENOTCONN);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(afork_process_new_from_fd(test_context(t), fd, AFORK_PEER_OWN, &process), ==, -EAFNOSUPPORT);
    close(fd);
    g_assert_null(process);
}

/* Of a descriptor that was not made with care. */
static void flags_are_set(struct test *t)
{
    struct afork_context *other = other_host(t);
    int fd = hand_over(t, test_new(t));
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
    struct afork_context *other = other_host(t);
    int fd = hand_over(t, test_new(t)), copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
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
    subject_start(&s, adopt(test_context(t), hand_over(t, process), AFORK_PEER_OWN));
    assert_no_server(t, &s, "version 99");
}

static void through_three_hosts(struct test *t)
{
    struct afork_process *process = test_new_exec(t);
    struct afork_context *hosts[3];

    for (int i = 0; i < 3; i++) {
        hosts[i] = other_host(t);
        process = adopt(hosts[i], hand_over(t, process), AFORK_PEER_OWN);
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
    struct afork_context *other = other_host(t);
    struct afork_process *process = adopt(other, hand_over(t, test_new(t)), AFORK_PEER_ORIGINAL);
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
        struct afork_context *other = other_host(t);

        process = adopt(other, hand_over(t, process), (enum afork_peer)peer);
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
    struct afork_context *other = other_host(t);
    struct subject s;

    subject_start(&s, adopt(other, hand_over(t, test_new(t)), AFORK_PEER_OWN));
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
    struct afork_context *other = other_host(t);
    struct afork_process *process = adopt(other, hand_over(t, test_new(t)), AFORK_PEER_OWN);
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
        struct afork_context *other = other_host(t);

        process = adopt(other, hand_over(t, process), way % 2 ? AFORK_PEER_OWN : AFORK_PEER_ORIGINAL);
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
    struct afork_context *other = other_host(t);
    int fd = hand_over(t, test_new(t));
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
    test_add("/handover/leave/end-is-told-once", end_is_told_once);
    test_add_for(&test_loop_poll, "/handover/leave/misuse", misuse_is_refused);
    test_add("/handover/leave/queue-goes-first", all_that_is_queued_goes_first);
    test_add("/handover/leave/failures", failures_are_told);
    test_add_for(&test_loop_poll, "/handover/leave/template-is-gone", template_that_is_gone);
    test_add("/handover/leave/destroyed-in-callback", destroyed_in_callback);
    test_add("/handover/leave/closed-while-it-waits", closed_while_it_waits);
    test_add("/handover/leave/released-while-it-waits", released_while_it_waits);
    test_add("/handover/leave/children-stay", children_stay);
    test_add_for(&test_loop_poll, "/handover/leave/orphans-below", orphans_below);
    test_add("/handover/leave/child-is-reaped", child_is_reaped);
    test_add_for(&test_loop_poll, "/handover/leave/context-closed", it_lives_on_without_the_context);
    test_add_for(&test_loop_poll, "/handover/leave/copy-of-the-host", copy_of_the_host);
    test_add("/handover/leave/idle", idle_costs_nothing);
    test_add_for(&test_loop_poll, "/handover/adopt/no-server", what_is_no_server_is_refused);
    test_add_for(&test_loop_poll, "/handover/adopt/not-connected", what_is_not_connected_is_refused);
    test_add_for(&test_loop_poll, "/handover/adopt/flags", flags_are_set);
    test_add("/handover/adopt/silence", silence_ends);
    test_add_for(&test_loop_poll, "/handover/adopt/twice", adopted_twice);
    test_add_for(&test_loop_poll, "/handover/adopt/version", other_protocol_version);
    test_add("/handover/adopt/three-hosts", through_three_hosts);
    test_add("/handover/adopt/called-an-original", called_an_original);
    test_add("/handover/adopt/ends", ends_are_noticed);
    test_add_for(&test_loop_poll, "/handover/adopt/signals", signals_arrive);
    test_add("/handover/adopt/tree", its_tree_is_reported);
    test_add("/handover/adopt/let-go-of", let_go_of);
    test_add_for(&test_loop_poll, "/handover/adopt/no-descriptor", no_descriptor_is_free);
    return g_test_run();
}
