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

/* A context like the test's, on the same loop. */
static struct afork_context *other_host(struct test *t)
{
    struct afork_context *context;

    test_ok(afork_context_new(t->loop, &t->options, &context));
    return context;
}

static void is_adopted_with_all_it_has(struct test *t)
{
    for (int executed = 0; executed < 2; executed++) {
        struct afork_process *process = executed ? test_perl_new_exec(t) : test_perl_new(t);
        struct afork_context *other = other_host(t);

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
    struct afork_context *other = other_host(t);
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_perl_add_all("/perl-handover/keeps-all", is_adopted_with_all_it_has);
    test_perl_add("/perl-handover/reports", everything_is_reported_to_the_new_host);
    return g_test_run();
}
