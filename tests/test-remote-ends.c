/* SPDX-License-Identifier: MIT
 *
 * Remote processes that are killed, closed or left alone at each stage of their life.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-remote-lib.h"

/* Starts a process that stays in a stage: 0 it has not answered, 1 it evaluates, 2 it has an
 * argument sent, 3 it runs. */
enum { STAGES = 4 };

static struct afork_process *in_stage(struct test *t, int stage, struct test_remote_end *end)
{
    struct afork_process *process = test_remote(t, stage ? "noise" : "silent", "5");

    test_ok(afork_process_on_exit(process, test_on_exit, &end->exit));
    test_ok(afork_process_eval(process, test_remote_functions, NULL));
    if (stage == 1 || stage == 2)
        test_ok(afork_process_eval(process, "print STDERR '.'; sleep 1000", NULL));
    if (stage == 2) {
        g_autofree char *big = g_malloc0(10 << 20);
        test_ok(afork_process_send_arg(process, big, 10 << 20));
    }
    test_ok(afork_process_run(process, "echo", test_on_run, &end->run));
    g_assert_cmpint(afork_process_run(process, "echo", test_on_run, &end->run), ==, -EINVAL);
    g_assert_cmpint(afork_process_eval(process, "1", NULL), ==, -EINVAL);
    if (stage == 3)
        test_wait(t, end->run.calls);
    return process;
}

/* Lets the stage be reached. */
static void settle(struct test *t, int stage, int error_fd)
{
    char octet;

    if (stage == 1 || stage == 2)
        test_read(t, error_fd, &octet, 1);
}

static void in_each_stage(struct test *t, void action(struct test *t, struct afork_process *process,
                                                      struct test_remote_end *end, int stage))
{
    for (int stage = 0; stage < STAGES; stage++) {
        struct test_remote_end end = {0};
        int fds[2];

        test_ok(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
        t->options.standard_error = (struct afork_stdio){.mode = AFORK_STDIO_FD, .fd = fds[1]};
        struct afork_process *process = in_stage(t, stage, &end);
        settle(t, stage, fds[0]);
        action(t, process, &end, stage);
        afork_process_unref(process);
        if (stage == 3)
            close(end.run.fd);
        afork_context_close(t->context);
        t->context = NULL;
        close(fds[0]);
        close(fds[1]);
    }
}

static void kill_it(struct test *t, struct afork_process *process, struct test_remote_end *end,
                    int stage)
{
    test_ok(afork_process_kill(process, SIGTERM));
    test_wait(t, end->exit.calls);
    g_assert_cmpuint(end->run.calls, ==, 1);
    g_assert_cmpint(end->exit.cause, ==, stage ? AFORK_CAUSE_SIGNALLED : AFORK_CAUSE_START);
    g_assert_cmpint(WTERMSIG(end->exit.wait_status), ==, SIGTERM);
    if (stage == 0)
        test_assert_contains(end->run.message, "killed by signal 15 (Terminated) before it could");
    if (stage < 3)
        g_assert_cmpint(end->run.fd, ==, -ECONNRESET);
}

static void killed(struct test *t)
{
    in_each_stage(t, kill_it);
}

static void close_it(struct test *t, struct afork_process *process, struct test_remote_end *end,
                     int stage)
{
    pid_t pid = afork_process_pid(process);

    afork_process_close(process);
    if (stage < 3) /* a worker ends with its channel */
        test_wait(t, !test_process_state(pid));
    g_assert_cmpuint(end->run.calls, ==, stage == 3);
    g_assert_cmpuint(end->exit.calls, ==, 0);
}

static void closed(struct test *t)
{
    in_each_stage(t, close_it);
}

static void close_context(struct test *t, struct afork_process *process,
                          struct test_remote_end *end, int stage)
{
    afork_context_close(t->context);
    t->context = NULL;
    g_assert_cmpint(afork_process_kill(process, SIGTERM), ==, -ESHUTDOWN);
    g_assert_cmpuint(end->exit.calls, ==, 0);
}

static void context_closed(struct test *t)
{
    in_each_stage(t, close_context);
}

/* A copy of the host touches nothing. */
static void copy_host(struct test *t, struct afork_process *process, struct test_remote_end *end,
                      int stage)
{
    int status;
    pid_t pid = fork();

    if (!pid) {
        if (afork_process_kill(process, SIGTERM) != -ECHILD || afork_process_pid(process))
            _exit(1);
        if (stage & 1)
            afork_process_close(process);
        afork_process_unref(process);
        afork_context_close(t->context);
        _exit(0);
    }
    test_wait(t, waitpid(pid, &status, WNOHANG) == pid);
    g_assert_cmpint(status, ==, 0);
    if (stage == 3) {
        char back[3];
        test_write(t, end->run.fd, "abc", 3);
        test_read(t, end->run.fd, back, 3);
    }
    g_assert_true(test_is_running(afork_process_pid(process)));
    kill_it(t, process, end, stage);
}

static void copied(struct test *t)
{
    in_each_stage(t, copy_host);
}

static void release_it(struct test *t, struct afork_process *process, struct test_remote_end *end,
                       int stage)
{
    afork_process_ref(process);
    afork_process_unref(process);
    g_assert_cmpuint(end->exit.calls, ==, 0);
    kill_it(t, process, end, stage);
}

static void referenced(struct test *t)
{
    in_each_stage(t, release_it);
}

static void on_run_close(struct afork_process *process, int fd, const struct afork_exit *failure,
                         void *data)
{
    struct test *t = data;

    if (fd >= 0)
        close(fd);
    afork_process_unref(process);
    afork_context_close(t->context);
    t->context = NULL;
}

static void closed_in_the_callback(struct test *t)
{
    static const char *const behaviours[] = {"noise", "refuse", "hang-up"};

    for (size_t i = 0; i < G_N_ELEMENTS(behaviours); i++) {
        struct afork_process *process = test_remote(t, behaviours[i], "3");
        test_ok(afork_process_eval(process, test_remote_functions, NULL));
        test_ok(afork_process_run(process, "echo", on_run_close, t));
        test_wait(t, !t->context);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/remote/stages/killed", killed);
    test_add("/remote/stages/closed", closed);
    test_add("/remote/stages/context-closed", context_closed);
    test_add("/remote/stages/copied", copied);
    test_add("/remote/stages/referenced", referenced);
    test_add("/remote/stages/closed-in-callback", closed_in_the_callback);
    return g_test_run();
}
