/* SPDX-License-Identifier: MIT
 *
 * Servers that are handed over: what the host they leave knows of them, and that they need it no
 * more. The other host is a second context on the same loop. Against the fake server; with real
 * Perls in test-perl-handover.c, between programs in perl/handover.t.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-lib.h"

enum { MEGABYTE = 1 << 20 };

static struct afork_process *adopt(struct afork_context *context, int fd, enum afork_peer peer)
{
    struct afork_process *process;

    test_ok(afork_process_new_from_fd(context, fd, peer, &process));
    return process;
}

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
        g_autofree char *data = g_strnfill(10 * MEGABYTE, 'x');
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

        struct afork_context *other = test_other_context(t);
        process = adopt(other, run.fd, t->options.peer);
        g_autofree char *flags = test_output(t, test_fork(process), "flags");
        g_assert_cmpuint(strlen(flags), >, 20 * strlen("handle "));
        g_autofree char *text = test_output(t, process, "digest");
        g_autofree char *expected = g_strdup_printf("%d %s\n", 10 * MEGABYTE, sum);
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

/* One that does not report, and dies while something is queued for it. */
static void original_that_dies(struct test *t)
{
    g_autofree char *data = g_strnfill(MEGABYTE, 'x');

    t->options.peer = AFORK_PEER_ORIGINAL;
    struct afork_process *process = test_new_exec(t);
    struct test_run run = {0};
    struct test_exit end = {0};
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_eval(process, "stop", NULL));
    test_wait(t, test_process_state(afork_process_pid(process)) == 'T');
    test_ok(afork_process_send_arg(process, data, MEGABYTE));
    test_ok(afork_process_to_fd(process, test_on_run, &run));
    test_turn_for(t, 5 * 1000);
    g_assert_cmpuint(run.calls, ==, 0);
    test_ok(afork_process_kill(process, SIGKILL));
    test_wait(t, end.calls);
    g_assert_cmpint(run.fd, ==, -ECONNRESET);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_SIGNALLED);
    afork_process_unref(process);
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

        struct afork_context *other = test_other_context(t);
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
        int fd = test_hand_over(t, template);
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
    struct afork_context *other = test_other_context(t);

    test_ok(afork_process_on_exit(orphan, test_on_exit, &end));
    int channel = test_run_function(t, orphan, "hold");
    middle = adopt(other, test_hand_over(t, middle), AFORK_PEER_OWN);
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
        int fd = test_hand_over(t, process);

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
        int fd = test_hand_over(t, process);
        afork_context_close(t->context);
        t->context = NULL;
        t->options.standard_error.mode = AFORK_STDIO_DEFAULT;

        struct afork_context *other = test_other_context(t);
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
    int status, fd = test_hand_over(t, test_new_exec(t));
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
    struct afork_context *other = test_other_context(t);
    int fd = test_hand_over(t, test_new_exec(t));
    struct afork_process *process = adopt(other, test_hand_over(t, test_new(t)), AFORK_PEER_OWN);

    test_wait(t, afork_process_peer_pid(process));
    test_turn_for(t, 20 * 1000);
    test_assert_idle(t, 200 * 1000);
    close(fd);
    afork_process_unref(process);
    afork_context_close(other);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/handover/end-is-told-once", end_is_told_once);
    test_add_for(&test_loop_poll, "/handover/misuse", misuse_is_refused);
    test_add("/handover/queue-goes-first", all_that_is_queued_goes_first);
    test_add("/handover/failures", failures_are_told);
    test_add("/handover/original-dies", original_that_dies);
    test_add_for(&test_loop_poll, "/handover/template-is-gone", template_that_is_gone);
    test_add("/handover/destroyed-in-callback", destroyed_in_callback);
    test_add("/handover/closed-while-it-waits", closed_while_it_waits);
    test_add("/handover/released-while-it-waits", released_while_it_waits);
    test_add("/handover/children-stay", children_stay);
    test_add_for(&test_loop_poll, "/handover/orphans-below", orphans_below);
    test_add("/handover/child-is-reaped", child_is_reaped);
    test_add_for(&test_loop_poll, "/handover/context-closed", it_lives_on_without_the_context);
    test_add_for(&test_loop_poll, "/handover/copy-of-the-host", copy_of_the_host);
    test_add("/handover/idle", idle_costs_nothing);
    return g_test_run();
}
