/* SPDX-License-Identifier: MIT
 *
 * With afork-perl: workers that end with the host, whatever they are doing, and what runs when a
 * forked process ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-perl-lib.h"

static const char busy_functions[] =
    "sub sleeper { my $ch = shift; syswrite $ch, \"$$\\n\"; sleep 600 while 1 }"
    "sub looper { my $ch = shift; $SIG{$_} = 'IGNORE' for qw(IO POLL TERM HUP INT PIPE);"
    "  syswrite $ch, \"$$\\n\"; 1 while 1 }";

static struct afork_process *busy_template(struct test *t, bool executed)
{
    struct afork_process *process = executed ? test_new_exec(t) : test_new(t);

    test_ok(afork_process_eval(process, busy_functions, NULL));
    return process;
}

/* Runs a function that tells its pid; the channel stays open as long as this program runs. */
static int run_busy(struct test *t, struct afork_process *process, const char *function)
{
    return test_read_number(t, test_run_and_unref(t, process, function));
}

/* Where it is older, the process says that it cannot. */
static bool kernel_is_old(void)
{
    struct utsname kernel;
    int major = 0, minor = 0;

    uname(&kernel);
    sscanf(kernel.release, "%d.%d", &major, &minor);
    if (major > 5 || (major == 5 && minor >= 6))
        return false;
    g_test_skip("needs Linux 5.6");
    return true;
}

enum {
    IDLE,
    TEMPLATE,
    SLEEPER,
    LOOPER,
    GRANDCHILD,
    EXECUTED,
    N_ENDING,
    UNASKED = N_ENDING,
    N_PIDS
};

/* A host of its own, which tells the pids of its processes and waits for its end. */
static G_GNUC_NORETURN void be_a_host(struct test *t, int out)
{
    struct test copy = {.type = &test_loop_poll, .options = t->options};
    int pids[N_PIDS];

    copy.loop_self = copy.type->new ();
    copy.loop = copy.type->get(copy.loop_self);
    struct afork_process *template = busy_template(&copy, true);
    pids[UNASKED] = run_busy(&copy, test_fork(template), "sleeper");
    test_ok(afork_process_end_with_host(template));
    pids[SLEEPER] = run_busy(&copy, test_fork(template), "sleeper");
    pids[LOOPER] = run_busy(&copy, test_fork(template), "looper");
    struct afork_process *idle = test_fork(template), *passing = test_fork(template);
    pids[GRANDCHILD] = run_busy(&copy, test_fork(passing), "looper");
    test_ok(afork_process_kill(passing, SIGKILL)); /* nobody but the root is left above it */
    test_wait(&copy, afork_process_peer_pid(idle) && afork_process_peer_pid(template));
    test_wait(&copy, !afork_process_peer_pid(passing));
    pids[IDLE] = afork_process_peer_pid(idle);
    pids[TEMPLATE] = afork_process_peer_pid(template);
    struct afork_process *executed = busy_template(&copy, true);
    test_ok(afork_process_end_with_host(executed));
    pids[EXECUTED] = run_busy(&copy, executed, "sleeper");
    for (size_t i = 0; i < G_N_ELEMENTS(pids); i++)
        dprintf(out, "%d\n", pids[i]);
    for (;;)
        test_turn_for(&copy, G_USEC_PER_SEC);
}

static void end_of_the_host(struct test *t, int signal)
{
    int ends[2], pids[N_PIDS];

    if (kernel_is_old())
        return;
    test_ok(pipe2(ends, O_CLOEXEC));
    pid_t host = fork();
    if (!host)
        be_a_host(t, ends[1]);
    for (size_t i = 0; i < G_N_ELEMENTS(pids); i++)
        pids[i] = test_read_number(t, ends[0]);
    for (size_t i = 0; i < G_N_ELEMENTS(pids); i++)
        g_assert_true(test_is_running(pids[i]));
    kill(host, signal);
    gint64 start = g_get_monotonic_time();
    for (size_t i = 0; i < N_ENDING; i++)
        test_wait(t, !test_is_running(pids[i]));
    gint64 took = g_get_monotonic_time() - start;
    g_test_message("%d of them were gone after %" G_GINT64_FORMAT " us", N_ENDING, took);
    g_assert_cmpint(took, <, G_USEC_PER_SEC);
    g_assert_cmpint(waitpid(host, NULL, 0), ==, host);
    g_assert_true(test_is_running(pids[UNASKED]));
    kill(pids[UNASKED], SIGKILL);
    close(ends[0]);
    close(ends[1]);
}

static void killed_host_takes_all_with_it(struct test *t)
{
    end_of_the_host(t, SIGKILL);
}

static void terminated_host_takes_all_with_it(struct test *t)
{
    end_of_the_host(t, SIGTERM);
}

/* The context is the host of its processes: its end is theirs, whoever has the channel. */
static void closed_context_ends_them(struct test *t)
{
    if (kernel_is_old())
        return;
    struct afork_process *template = busy_template(t, false);
    struct afork_process *other = test_fork(template);

    test_ok(afork_process_end_with_host(template));
    int asked = test_run_and_unref(t, test_fork(template), "looper");
    int unasked = test_run_and_unref(t, other, "sleeper");
    int pid = test_read_number(t, asked), other_pid = test_read_number(t, unasked);
    afork_process_unref(template);
    afork_context_close(t->context);
    t->context = NULL;
    test_wait(t, !test_is_running(pid));
    g_assert_true(test_is_running(other_pid));
    kill(other_pid, SIGKILL);
    close(asked);
    close(unasked);
}

/* What the two calls need and what they refuse, against the fake server. */
/* A template that becomes another user can still be forked, and what is forked ends with the
 * host. */
static void without_privileges(struct test *t)
{
    struct afork_process *template = busy_template(t, false);

    test_ok(afork_process_end_with_host(template));
    test_ok(afork_process_eval(
        template, "require POSIX; POSIX::setgid(65534); POSIX::setuid(65534) or $> or die $!",
        NULL));
    int channel = test_run_and_unref(t, test_fork(template), "sleeper");
    int pid = test_read_number(t, channel);
    afork_process_unref(template);
    afork_context_close(t->context);
    t->context = NULL;
    test_context(t);
    test_wait(t, !test_is_running(pid));
    close(channel);
}

static void calls_are_checked(struct test *t)
{
    struct afork_process *process = test_new(t);
    unsigned fds = test_count_fds();

    g_assert_cmpint(afork_process_set_exit_mode(process, (enum afork_exit_mode)2), ==, -EINVAL);
    g_assert_cmpint(afork_process_set_exit_mode(NULL, AFORK_EXIT_QUICK), ==, -EINVAL);
    g_assert_cmpint(afork_process_end_with_host(NULL), ==, -EINVAL);
    test_ok(afork_process_set_exit_mode(process, AFORK_EXIT_QUICK));
    test_ok(afork_process_end_with_host(process));
    test_ok(afork_process_eval(process, "code", NULL));
    test_ok(afork_process_set_exit_mode(process, AFORK_EXIT_PERL));
    test_ok(afork_process_end_with_host(process)); /* once more does no harm */
    int fd = test_run_function(t, process, "dump");
    g_assert_cmpint(afork_process_set_exit_mode(process, AFORK_EXIT_QUICK), ==, -EINVAL);
    g_assert_cmpint(afork_process_end_with_host(process), ==, -EINVAL);
    g_autofree char *text = test_slurp(t, fd, NULL);
    g_assert_cmpstr(text, ==,
                    "exit-mode 1\nlifeline pipe\ncode code\nexit-mode 0\nlifeline pipe\n");
    /* One pipe, whatever asks for it; the process's socket is closed. */
    g_assert_cmpuint(test_count_fds(), ==, fds - 1 + 2);
    afork_process_close(process);
    g_assert_cmpint(afork_process_end_with_host(process), ==, -ESHUTDOWN);
    g_assert_cmpint(afork_process_set_exit_mode(process, AFORK_EXIT_QUICK), ==, -ESHUTDOWN);
    afork_process_unref(process);
}

/* There is no descriptor left for the pipe: nothing was sent, and it works later. */
static void no_descriptor_for_the_lifeline(struct test *t)
{
    struct afork_process *process = test_new_exec(t);
    struct rlimit limit, none;

    getrlimit(RLIMIT_NOFILE, &limit);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
    for (int spare = 0; spare < 3; spare++) { /* neither end, one, both but no copy */
        int lowest = dup(STDERR_FILENO);
        close(lowest);
        none.rlim_cur = (rlim_t)(lowest + spare);
        setrlimit(RLIMIT_NOFILE, &none);
        int result = afork_process_end_with_host(process);
        setrlimit(RLIMIT_NOFILE, &limit);
        g_assert_cmpint(result, ==, -EMFILE);
    }
    test_ok(afork_process_end_with_host(process));
    g_autofree char *text = test_output(t, process, "dump");
    g_assert_cmpstr(text, ==, "lifeline pipe\n");
}

static void originals_are_not_asked(struct test *t)
{
    t->options.peer = AFORK_PEER_ORIGINAL;
    struct afork_process *process = test_new(t);
    g_assert_cmpint(afork_process_set_exit_mode(process, AFORK_EXIT_QUICK), ==, -ENOTSUP);
    g_assert_cmpint(afork_process_end_with_host(process), ==, -ENOTSUP);
    g_autofree char *text = test_output(t, process, "dump");
    g_assert_cmpstr(text, ==, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/life/calls/checked", calls_are_checked);
    test_add_for(&test_loop_poll, "/life/calls/no-descriptor", no_descriptor_for_the_lifeline);
    test_add_for(&test_loop_poll, "/life/calls/original", originals_are_not_asked);
    test_perl_add("/life/host/killed", killed_host_takes_all_with_it);
    test_perl_add("/life/host/terminated", terminated_host_takes_all_with_it);
    test_perl_add("/life/host/context-closed", closed_context_ends_them);
    test_perl_add("/life/host/without-privileges", without_privileges);
    return g_test_run();
}
