/* SPDX-License-Identifier: MIT
 *
 * Servers with a real Perl that change hosts: the other host is a second context.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test-perl-lib.h"

/* The command socket of `process`, which is let go of. */
static int hand_over(struct test *t, struct afork_process *process)
{
    struct test_run run = {0};
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_to_fd(process, test_on_run, &run));
    test_wait(t, end.calls);
    g_assert_cmpuint(run.calls, ==, 1);
    g_assert_cmpint(run.fd, >=, 0);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
    g_assert_nonnull(strstr(end.message, "handed over"));
    g_assert_cmpint(afork_process_peer_pid(process), ==, 0);
    g_assert_cmpint(afork_process_kill(process, 0), ==, -ESRCH);
    g_assert_cmpint(afork_process_eval(process, "1", NULL), ==, -EINVAL);
    afork_process_unref(process);
    return run.fd;
}

static void is_adopted_with_all_it_has(struct test *t)
{
    for (int executed = 0; executed < 2; executed++) {
        struct afork_process *process = executed ? test_perl_new_exec(t) : test_perl_new(t);
        struct afork_context *other = test_other_context(t);

        test_ok(afork_process_eval(process, "push @seen, 'code'", NULL));
        test_ok(afork_process_send_arg(process, "before", 6));
        int fd = hand_over(t, process);
        test_ok(afork_process_new_from_fd(other, fd, t->options.peer, &process));
        test_ok(afork_process_send_arg(process, "after", 5));
        struct afork_process *child = test_fork(process);
        g_autofree char *forked = test_output(t, child, "list");
        g_assert_cmpstr(forked, ==, "seen code\narg before\narg after\n");
        g_autofree char *itself = test_output(t, process, "list");
        g_assert_cmpstr(itself, ==, "seen code\narg before\narg after\n");
        afork_context_close(other);
    }
}

static void everything_is_reported_to_the_new_host(struct test *t)
{
    struct afork_process *process = test_perl_new(t), *child;
    struct afork_context *other = test_other_context(t);
    struct test_exit end = {0}, child_end = {0}, failed_end = {0};

    test_ok(afork_process_new_from_fd(other, hand_over(t, process), AFORK_PEER_OWN, &process));
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    child = test_fork(process);
    test_ok(afork_process_eval(child, "sub five { exit 5 }", NULL));
    test_ok(afork_process_on_exit(child, test_on_exit, &child_end));
    close(test_run_function(t, child, "five"));
    test_wait(t, child_end.calls);
    g_assert_cmpint(child_end.status, ==, 5);
    g_assert_true(child_end.has_usage);
    g_assert_cmpint(afork_process_pid(process), ==, 0);
    g_assert_true(test_is_running(afork_process_peer_pid(process)));
    afork_process_unref(child);

    child = test_fork(process);
    test_ok(afork_process_on_exit(child, test_on_exit, &failed_end));
    test_ok(afork_process_eval(child, "die 'it hurts'", NULL));
    test_wait(t, failed_end.calls);
    g_assert_cmpint(failed_end.cause, ==, AFORK_CAUSE_EVAL);
    g_assert_nonnull(strstr(failed_end.message, "it hurts"));
    afork_process_unref(child);

    test_ok(afork_process_kill(process, SIGKILL));
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
    g_assert_cmpint(afork_process_peer_pid(process), ==, 0);
    afork_process_unref(process);
    afork_context_close(other);
}

/* What was to end with the host that it leaves does not; with the one that adopts it, if that wants
 * it. */
static void the_old_hosts_end(struct test *t)
{
    struct afork_process *process = test_perl_new(t), *unused;
    struct afork_spare_stats stats;
    struct test_exit end = {0};

    test_ok(afork_process_end_with_host(process));
    test_ok(afork_process_set_spares(process, 2));
    test_wait(t, !afork_process_get_spare_stats(process, &stats) && stats.ready == 2);
    int fd = hand_over(t, process);
    afork_context_close(t->context);
    t->context = NULL;

    struct afork_context *other = test_other_context(t);
    test_ok(afork_process_new_from_fd(other, fd, AFORK_PEER_OWN, &process));
    test_ok(afork_process_set_spares(process, 1));
    test_wait(t, !afork_process_get_spare_stats(process, &stats) && stats.ready == 1);
    g_autofree char *text = test_output(t, test_fork(process), "list");
    g_assert_cmpstr(text, ==, "seen \n");
    test_ok(afork_process_end_with_host(process));
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_eval(process, "sub idle { sleep 60 }", NULL));
    int channel = test_run_function(t, process, "idle");
    pid_t pid = afork_process_peer_pid(process);
    g_assert_cmpint(afork_process_fork(process, &unused), ==, -EINVAL);
    afork_process_unref(process);
    afork_context_close(other);
    char octet;
    test_context(t);
    test_wait(t, !test_is_running(pid));
    g_assert_cmpint(read(channel, &octet, 1), ==, 0);
    close(channel);
}

/* Any afork-perl can be adopted as what it is, whoever started it. */
static void served_an_original_host(struct test *t)
{
    struct afork_process *process = test_perl_new(t), *worker;
    struct afork_context *other = test_other_context(t);
    struct test_exit end = {0};

    test_ok(afork_process_new_from_fd(other, hand_over(t, process), AFORK_PEER_OWN, &process));
    worker = test_fork(process);
    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    test_ok(afork_process_eval(worker, "exit 9", NULL));
    test_wait(t, end.calls);
    g_assert_cmpint(end.status, ==, 9);
    afork_process_unref(worker);
    afork_process_unref(process);
    afork_context_close(other);
}

/* An original that is called ours meets letters that it does not know. */
static void wrong_statement(struct test *t)
{
    for (int executed = 0; executed < 2; executed++) {
        struct afork_process *process = executed ? test_perl_new_exec(t) : test_perl_new(t), *child;
        struct test_run run = {0}, child_run = {0};
        struct test_exit end = {0}, child_end = {0};

        int fd = hand_over(t, process);
        test_ok(afork_process_new_from_fd(test_context(t), fd, AFORK_PEER_OWN, &process));
        child = test_fork(process);
        test_ok(afork_process_on_exit(child, test_on_exit, &child_end));
        test_ok(afork_process_run(child, "list", test_on_run, &child_run));
        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_run(process, "list", test_on_run, &run));
        test_wait(t, end.calls && child_end.calls);
        g_assert_cmpint(run.fd, ==, -EPROTO);
        g_assert_cmpint(child_run.fd, ==, -EPROTO);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_PROTOCOL);
        g_assert_cmpint(child_end.cause, ==, AFORK_CAUSE_PROTOCOL);
        g_assert_nonnull(strstr(end.message, "original"));
        g_assert_cmpuint(run.calls + end.calls + child_run.calls + child_end.calls, ==, 4);
        afork_process_unref(child);
        afork_process_unref(process);
    }
}

static void adopted_twice(struct test *t)
{
    struct afork_context *hosts[] = {test_other_context(t), test_other_context(t)};
    struct afork_process *processes[2];
    struct test_exit ends[2] = {{0}};
    int fd = hand_over(t, test_perl_new(t)), copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    test_ok(afork_process_new_from_fd(hosts[0], fd, AFORK_PEER_OWN, &processes[0]));
    test_ok(afork_process_on_exit(processes[0], test_on_exit, &ends[0]));
    test_wait(t, afork_process_peer_pid(processes[0]));
    test_ok(afork_process_new_from_fd(hosts[1], copy, AFORK_PEER_OWN, &processes[1]));
    test_ok(afork_process_on_exit(processes[1], test_on_exit, &ends[1]));
    test_wait(t, ends[0].calls && ends[1].calls);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(ends[i].cause, ==, AFORK_CAUSE_PROTOCOL);
        g_assert_nonnull(strstr(ends[i].message, "two hosts"));
        afork_process_unref(processes[i]);
        afork_context_close(hosts[i]);
    }
}

/* Identities of two hosts are the same numbers. */
static void old_children_are_not_mistaken(struct test *t)
{
    enum { N = 6 };
    struct afork_process *process = test_perl_new(t), *old[N], *new[N];
    struct afork_context *other = test_other_context(t);
    struct test_exit old_ends[N] = {{0}}, new_ends[N] = {{0}};
    int old_fds[N], new_fds[N];

    for (int i = 0; i < N; i++) {
        old[i] = test_fork(process);
        test_ok(afork_process_on_exit(old[i], test_on_exit, &old_ends[i]));
        old_fds[i] = test_run_function(t, old[i], "echo");
    }
    test_ok(afork_process_new_from_fd(other, hand_over(t, process), AFORK_PEER_OWN, &process));
    for (int i = 0; i < N; i++) {
        new[i] = test_fork(process);
        test_ok(afork_process_on_exit(new[i], test_on_exit, &new_ends[i]));
        new_fds[i] = test_run_function(t, new[i], "echo");
    }
    for (int i = 0; i < N; i++) {
        test_ok(afork_process_kill(old[i], SIGKILL));
        test_wait(t, old_ends[i].calls);
        g_assert_cmpint(old_ends[i].cause, ==, AFORK_CAUSE_UNKNOWN);
        close(old_fds[i]);
        afork_process_unref(old[i]);
    }
    for (int i = 0; i < N; i++) { /* its report comes behind any that was wrong */
        g_assert_cmpuint(new_ends[i].calls, ==, 0);
        close(new_fds[i]);
        test_wait(t, new_ends[i].calls);
        g_assert_cmpint(new_ends[i].cause, ==, AFORK_CAUSE_EXITED);
        afork_process_unref(new[i]);
    }
    afork_process_unref(process);
    afork_context_close(other);
}

/* What code forked belongs to the code, before, between and after. */
static void children_of_user_code(struct test *t)
{
    static const char start[] =
        "push @main::pids, fork // die; exit @main::pids if !$main::pids[-1]";
    struct afork_context *other = test_other_context(t);

    for (int executed = 0; executed < 2; executed++) {
        struct afork_process *process = executed ? test_perl_new_exec(t) : test_perl_new(t);

        test_ok(afork_process_eval(process, start, NULL));
        int fd = hand_over(t, process);
        test_ok(afork_process_new_from_fd(other, fd, AFORK_PEER_ORIGINAL, &process));
        test_ok(afork_process_eval(process, start, NULL));
        fd = hand_over(t, process);
        test_ok(afork_process_new_from_fd(other, fd, AFORK_PEER_OWN, &process));
        test_ok(afork_process_eval(process, start, NULL));
        /* Of servers that have children they look after those. */
        g_free(test_output(t, test_fork(process), "list"));
        test_ok(afork_process_eval(process,
                                   "push @main::seen, waitpid($_, 0) == $_ ? $? >> 8 : 'gone'"
                                   " for @main::pids",
                                   NULL));
        g_autofree char *text = test_output(t, process, "list");
        g_assert_cmpstr(text, ==, "seen 1 2 3\n");
    }
    afork_context_close(other);
}

/* One that is confined cannot ask the kernel for its children when it is adopted. */
static void children_of_a_confined_server(struct test *t)
{
    static const char *const none[] = {NULL};
    struct afork_context *other = test_other_context(t);

    for (int way = 0; way < 3; way++) { /* itself, what it was forked from, by that */
        struct afork_limits limits = {.size = sizeof limits,
                                      .read_paths = none,
                                      .forks_only = way == 2,
                                      .unsupported = AFORK_UNSUPPORTED_WARN};
        struct afork_process *template = test_perl_new(t), *process = template;

        test_ok(afork_process_set_limits(template, &limits));
        if (way) {
            process = test_fork(template);
            afork_process_unref(template);
        }
        test_ok(afork_process_eval(process,
                                   "pipe our $end, our $go; pipe our $ended, our $held;"
                                   "our $pid = fork // die;"
                                   "if (!$pid) { close $go; sysread $end, my $x, 1; exit 7 }"
                                   "close $held",
                                   NULL));
        test_ok(afork_process_new_from_fd(other, hand_over(t, process), AFORK_PEER_OWN, &process));
        test_ok(afork_process_eval(process, "close $go; sysread $ended, my $x, 1", NULL));
        g_free(test_output(t, test_fork(process), "list")); /* it looks after its children */
        test_ok(afork_process_eval(
            process, "push @main::seen, waitpid($pid, 0) == $pid ? $? >> 8 : 'gone'", NULL));
        g_autofree char *text = test_output(t, process, "list");
        g_assert_cmpstr(text, ==, "seen 7\n");
    }
    afork_context_close(other);
}

static void title_has_the_new_owner(struct test *t)
{
    struct afork_process *process = test_perl_new_exec(t), *worker;
    struct afork_context *other = test_other_context(t);
    g_autofree char *expected = g_strdup_printf("seen %d AnyEvent::Fork\n", getpid());

    test_ok(afork_process_eval(process, "$AFork::Serve::OWNER = 1", NULL));
    test_ok(afork_process_new_from_fd(other, hand_over(t, process), AFORK_PEER_OWN, &process));
    worker = test_fork(process);
    test_ok(afork_process_eval(worker, "push @seen, $0", NULL));
    g_autofree char *text = test_output(t, worker, "list");
    g_assert_cmpstr(text, ==, expected);
    afork_process_unref(process);
    afork_context_close(other);
}

/* The pipe that the old host read its standard error from must not kill it; nor if the server can
 * open nothing in its place. */
static void standard_error_after_the_old_host_if(struct test *t, bool confined)
{
    static const char *const none[] = {NULL};
    const struct afork_limits limits = {.size = sizeof limits,
                                        .write_paths = none,
                                        .unsupported = AFORK_UNSUPPORTED_WARN};

    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    struct afork_process *process = test_perl_new_exec(t), *worker;
    struct test_exit end = {0};
    struct afork_context *other = test_other_context(t);
    if (confined)
        test_ok(afork_process_set_limits(process, &limits));
    int fd = hand_over(t, process);

    afork_context_close(t->context);
    t->context = NULL;
    test_ok(afork_process_new_from_fd(other, fd, AFORK_PEER_OWN, &process));
    test_ok(
        afork_process_eval(process, "warn 'nobody hears it'; print STDERR 'x' x 100_000", NULL));
    worker = test_fork(process);
    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    test_ok(afork_process_eval(worker, "warn 'heard'; exit 1", NULL));
    test_wait(t, end.calls);
    g_assert_nonnull(strstr(end.stderr_tail, "heard"));
    afork_process_unref(worker);
    g_free(test_output(t, process, "list"));
    afork_context_close(other);
}

static void standard_error_after_the_old_host(struct test *t)
{
    standard_error_after_the_old_host_if(t, false);
}

static void standard_error_of_a_confined_server(struct test *t)
{
    standard_error_after_the_old_host_if(t, true);
}

/* Adopted or not: what a forked server has when it is told counts as inherited, and what an
 * executed one has does not. */
static void quick_after_adoption(struct test *t)
{
    for (int forked = 0; forked < 2; forked++) {
        struct afork_process *root = test_perl_new_exec(t), *process = root;
        struct afork_context *other = test_other_context(t);

        test_ok(afork_process_eval(root,
                                   "END { syswrite $main::channel, 'before ' }"
                                   "sub ends { $main::channel = shift; return }",
                                   NULL));
        if (forked)
            process = test_fork(root);
        test_ok(afork_process_new_from_fd(other, hand_over(t, process), AFORK_PEER_OWN, &process));
        test_ok(afork_process_set_exit_mode(process, AFORK_EXIT_QUICK));
        test_ok(afork_process_eval(process, "END { syswrite $main::channel, 'after ' }", NULL));
        g_autofree char *text = test_output(t, process, "ends");
        g_assert_cmpstr(text, ==, forked ? "after " : "after before ");
        if (forked)
            afork_process_unref(root);
        afork_context_close(other);
    }
}

/* Children that ended while the host did not read are told, and reaped, before a server stops to be
 * one. */
static void exits_are_told_before(struct test *t)
{
    static const char fill_status_socket[] =
        "use Socket; for my $number (3 .. 30) { open my $copy, '+<&', $number or next;"
        " my $type = unpack 'i', getsockopt($copy, SOL_SOCKET, SO_TYPE) // next;"
        " next if $type != SOCK_SEQPACKET; 1 while send $copy, 'x', MSG_DONTWAIT }"
        "kill KILL => @_; for my $pid (@_) { my $stat;"
        " do { open my $file, '<', qq(/proc/$pid/stat) or die; $stat = <$file> }"
        " until $stat =~ /\\) Z/ }"
        "our @pids = @_; sub found { syswrite $_[0], join ',', map waitpid($_, 1), @pids }"
        "kill STOP => $$";
    enum { N = 3 };

    for (int handed_over = 0; handed_over < 2; handed_over++) {
        struct afork_process *template = test_perl_new(t), *children[N];
        struct test_exit ends[N] = {{0}};
        struct test_run run = {0};
        char pids[N][16];
        int fds[N];

        for (int i = 0; i < N; i++) {
            children[i] = test_fork(template);
            test_ok(afork_process_on_exit(children[i], test_on_exit, &ends[i]));
            fds[i] = test_run_function(t, children[i], "echo");
            g_snprintf(pids[i], sizeof pids[i], "%d", (int)afork_process_peer_pid(children[i]));
        }
        pid_t pid = afork_process_peer_pid(template);
        test_ok(afork_process_eval(template, fill_status_socket, pids[0], pids[1], pids[2], NULL));
        test_ok(handed_over ? afork_process_to_fd(template, test_on_run, &run)
                            : afork_process_run(template, "found", test_on_run, &run));
        /* The host does not look before the server waits for it. */
        while (test_process_state(pid) != 'T')
            g_usleep(100);
        test_ok(kill(pid, SIGCONT));
        while (test_process_state(pid) != 'S')
            g_usleep(100);
        test_wait(t, run.calls && ends[0].calls && ends[1].calls && ends[2].calls);
        for (int i = 0; i < N; i++) {
            g_assert_cmpint(ends[i].cause, ==, AFORK_CAUSE_SIGNALLED);
            g_assert_cmpint(ends[i].status, ==, SIGKILL);
            close(fds[i]);
            afork_process_unref(children[i]);
        }
        g_assert_cmpint(run.fd, >=, 0);
        afork_process_unref(template);
        if (handed_over) {
            close(run.fd);
        } else {
            g_autofree char *found = test_slurp(t, run.fd, NULL);
            g_assert_cmpstr(found, ==, "-1,-1,-1");
        }
    }
}

static void failure_has_perls_text(struct test *t)
{
    struct afork_process *process = test_perl_new(t);
    struct test_run run = {0};

    test_ok(afork_process_eval(process, "die 'it hurts'", NULL));
    test_ok(afork_process_to_fd(process, test_on_run, &run));
    test_wait(t, run.calls);
    g_assert_cmpint(run.fd, ==, -ENOEXEC);
    g_assert_cmpint(run.cause, ==, AFORK_CAUSE_EVAL);
    g_assert_nonnull(strstr(run.message, "it hurts at (eval"));
    afork_process_unref(process);
}

/* An option of the new host. */
static void threads_are_refused(struct test *t)
{
    struct afork_process *process = test_perl_new(t), *child;
    struct afork_context *other;
    struct test_exit end = {0}, child_end = {0};

    t->options.threads = AFORK_THREADS_REFUSE;
    other = test_other_context(t);
    test_ok(afork_process_new_from_fd(other, hand_over(t, process), AFORK_PEER_OWN, &process));
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_eval(process,
                               "eval { require threads } or exit 77;"
                               "threads->create(sub { sleep 60 })->detach",
                               NULL));
    child = test_fork(process);
    test_ok(afork_process_on_exit(child, test_on_exit, &child_end));
    test_wait(t, child_end.calls);
    g_assert_cmpint(child_end.cause, ==, AFORK_CAUSE_FORK);
    if (!strstr(child_end.message, "thread")) {
        test_wait(t, end.calls); /* unknown, since another reaps it */
        g_test_skip("this perl has no threads");
    }
    afork_process_unref(child);
    afork_process_unref(process);
    afork_context_close(other);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add_all("/perl-handover/keeps-all", is_adopted_with_all_it_has);
    test_perl_add("/perl-handover/reports", everything_is_reported_to_the_new_host);
    test_perl_add("/perl-handover/old-hosts-end", the_old_hosts_end);
    test_perl_add_peer("afork-perl-as-original", "/perl-handover/of-an-original-host",
                       served_an_original_host);
    test_perl_add_peer("original", "/perl-handover/wrong-statement", wrong_statement);
    test_perl_add_peer("pure-perl", "/perl-handover/wrong-statement", wrong_statement);
    test_perl_add("/perl-handover/twice", adopted_twice);
    test_perl_add("/perl-handover/old-children", old_children_are_not_mistaken);
    test_perl_add("/perl-handover/children-of-user-code", children_of_user_code);
    test_perl_add("/perl-handover/children-of-a-confined-server", children_of_a_confined_server);
    test_perl_add("/perl-handover/title", title_has_the_new_owner);
    test_perl_add("/perl-handover/standard-error/after-the-old-host",
                  standard_error_after_the_old_host);
    test_perl_add("/perl-handover/standard-error/confined", standard_error_of_a_confined_server);
    test_perl_add("/perl-handover/quick", quick_after_adoption);
    test_perl_add("/perl-handover/exits-before", exits_are_told_before);
    test_perl_add("/perl-handover/failure", failure_has_perls_text);
    test_perl_add("/perl-handover/threads", threads_are_refused);
    return g_test_run();
}
