/* SPDX-License-Identifier: MIT
 *
 * A kernel without pidfds, or no descriptor free for one: ends are noticed all the same, and
 * nothing is taken for ended that lives. The system calls are made to fail by a filter. Against the
 * fake server.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"
#include "test-lib.h"

#define FAILS(number)                                                                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),                                             \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS)

/* From now on, and for all that this process starts. */
static bool become_old(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        FAILS(SYS_pidfd_open),
        FAILS(SYS_pidfd_send_signal),
        FAILS(SYS_close_range),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = G_N_ELEMENTS(filter), .filter = filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 &&
           syscall(SYS_pidfd_open, getpid(), 0) < 0 && errno == ENOSYS;
}

static void exits_are_told(struct test *t)
{
    for (int way = 0; way < 2; way++) {
        struct afork_process *process = way ? test_new_exec(t) : test_new(t);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_send_arg(process, "7", 1));
        g_free(test_output(t, process, "exit"));
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
        g_assert_cmpint(end.status, ==, 7);
    }
}

/* Of a process that was not told to run, and did not keep the loop alive. */
static void end_of_a_held_server(struct test *t)
{
    for (int peer = AFORK_PEER_OWN; peer <= AFORK_PEER_ORIGINAL; peer++) {
        t->options.peer = (enum afork_peer)peer;
        struct afork_process *process = test_new_exec(t);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        if (peer == AFORK_PEER_OWN)
            test_wait(t, process->hello); /* who is killed before has another cause */
        test_turn_for(t, 50 * 1000);
        test_ok(afork_process_kill(process, SIGKILL));
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_SIGNALLED);
        g_assert_cmpint(end.status, ==, SIGKILL);
        afork_process_unref(process);
        afork_context_close(t->context);
        t->context = NULL;
    }
}

static void signals_arrive(struct test *t)
{
    for (int way = 0; way < 2; way++) {
        struct afork_process *process = way ? test_new_exec(t) : test_new(t);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        int fd = test_run_function(t, process, "hang");
        test_ok(afork_process_kill(process, SIGUSR1));
        g_free(test_slurp(t, fd, NULL));
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_SIGNALLED);
        g_assert_cmpint(end.status, ==, SIGUSR1);
        g_assert_cmpint(afork_process_kill(process, SIGUSR1), ==, -ESRCH);
        afork_process_unref(process);
    }
}

static void templates_are_forked(struct test *t)
{
    struct afork_process *template = test_new_exec(t), *child = test_fork(template);

    test_ok(afork_process_eval(template, "after", NULL));
    g_autofree char *of_template = test_output(t, template, "dump");
    g_autofree char *of_child = test_output(t, child, "dump");
    g_assert_cmpstr(of_template, ==, "code after\n");
    g_assert_cmpstr(of_child, ==, "");
}

/* The template, which was to report on it, becomes the user's. */
static void worker_of_a_worker(struct test *t)
{
    struct afork_process *template = test_new_exec(t), *worker = test_fork(template);
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    int fd = test_run_function(t, worker, "hold");
    g_free(test_output(t, template, "return"));
    test_turn_for(t, 50 * 1000);
    g_assert_cmpuint(end.calls, ==, 0);
    close(fd);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
    afork_process_unref(worker);
}

/* It lives on, and does not reap what it forked before. */
static void worker_of_a_living_worker(struct test *t)
{
    struct afork_process *template = test_new_exec(t), *worker = test_fork(template);
    struct test_exit end = {0};

    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    int fd = test_run_function(t, worker, "hold");
    int of_template = test_run_function(t, template, "hold");
    test_turn_for(t, 50 * 1000);
    g_assert_cmpuint(end.calls, ==, 0);
    close(fd);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
    close(of_template);
    afork_process_unref(worker);
    afork_process_unref(template);
}

/* Nobody is left to report: the host looks itself. */
static void kill_the_root(struct test *t, rlim_t limit)
{
    struct afork_process *root = test_new_exec(t), *worker = test_fork(root);
    struct test_exit end = {0}, end_of_root = {0};
    struct rlimit before, low;

    test_ok(afork_process_on_exit(root, test_on_exit, &end_of_root));
    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    int fd = test_run_function(t, worker, "hold");
    pid_t pid = afork_process_peer_pid(worker);
    test_ok(afork_process_kill(root, SIGKILL));
    test_ok(getrlimit(RLIMIT_NOFILE, &before));
    low = before;
    low.rlim_cur = MIN(limit, before.rlim_cur);
    test_ok(setrlimit(RLIMIT_NOFILE, &low));
    test_wait(t, end_of_root.calls);
    test_turn_for(t, 50 * 1000);
    g_assert_cmpuint(end.calls, ==, 0);
    g_assert_cmpint(afork_process_peer_pid(worker), ==, pid);
    close(fd);
    test_wait(t, end.calls);
    test_ok(setrlimit(RLIMIT_NOFILE, &before));
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
    g_assert_false(test_is_running(pid));
    afork_process_unref(root);
    afork_process_unref(worker);
}

static void root_is_killed(struct test *t)
{
    kill_the_root(t, RLIM_INFINITY);
}

static void root_is_killed_without_descriptors(struct test *t)
{
    kill_the_root(t, 3);
}

static void waiting_costs_little(struct test *t)
{
    struct afork_process *process = test_new_exec(t);

    test_turn_for(t, 50 * 1000);
    struct test_load load = test_turn_for(t, 200 * 1000);
    g_assert_cmpint(load.cpu_usec, <, 20 * 1000);
    afork_process_unref(process);
}

/* A server that is handed over, and is nobody's child where it is adopted. */
static void handed_over(struct test *t)
{
    for (int run = 0; run < 2; run++) {
        struct afork_process *process = test_new_exec(t), *adopted;
        pid_t pid = afork_process_pid(process);
        struct test_run to_fd = {0};
        struct test_exit end = {0};
        struct afork_context *other;

        test_ok(afork_process_to_fd(process, test_on_run, &to_fd));
        test_wait(t, to_fd.calls);
        afork_process_unref(process);
        test_ok(afork_context_new(t->loop, &t->options, &other));
        test_ok(afork_process_new_from_fd(other, to_fd.fd, AFORK_PEER_OWN, &adopted));
        test_ok(afork_process_on_exit(adopted, test_on_exit, &end));
        if (run)
            close(test_run_function(t, adopted, "hang"));
        else
            test_wait(t, afork_process_peer_pid(adopted));
        test_turn_for(t, 50 * 1000);
        g_assert_cmpuint(end.calls, ==, 0);
        test_ok(afork_process_kill(adopted, SIGKILL));
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_UNKNOWN);
        afork_process_unref(adopted);
        test_wait(t, !test_is_running(pid));
        afork_process_unref(test_new_exec(t)); /* by the way, the child of the first is reaped */
        g_assert_cmpint(test_process_state(pid), ==, 0);
        afork_context_close(other);
    }
}

/* A command that works, one that never answers, and one that is given up. */
static void commands_of_remote_processes(struct test *t)
{
    static const char *const commands[][3] = {{"perl"}, {"sleep", "1000"}, {"sleep", "1000"}};

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        struct afork_remote_options options = AFORK_REMOTE_OPTIONS_INIT;
        struct afork_process *process;
        struct test_run run = {0};
        struct test_exit end = {0};

        options.argv = commands[i];
        options.start_timeout = i == 1 ? 100000 : 0;
        test_ok(afork_process_new_remote(test_context(t), &options, &process));
        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_run(process, "CORE::exit", test_on_run, &run));
        pid_t pid = afork_process_pid(process);
        if (i == 2) {
            afork_process_close(process);
            test_wait(t, !test_process_state(pid));
        } else {
            test_wait(t, run.calls && end.calls);
            g_assert_cmpint(end.cause, ==, i ? AFORK_CAUSE_START : AFORK_CAUSE_EXITED);
            g_assert_cmpint(end.wait_status, ==, i ? SIGKILL : 0);
            if (run.fd >= 0)
                close(run.fd);
        }
        afork_process_unref(process);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!become_old()) {
        g_print("1..0 # SKIP system calls cannot be filtered here\n");
        return 0;
    }
    test_add("/old-kernel/exit/told", exits_are_told);
    test_add("/old-kernel/exit/of-a-held-server", end_of_a_held_server);
    test_add("/old-kernel/kill/arrives", signals_arrive);
    test_add("/old-kernel/fork/templates", templates_are_forked);
    /* Init may take its time to reap what it inherits. */
    test_add_for(&test_loop_poll, "/old-kernel/fork/worker-of-a-worker", worker_of_a_worker);
    test_add("/old-kernel/fork/worker-of-a-living-worker", worker_of_a_living_worker);
    test_add_for(&test_loop_poll, "/old-kernel/root/killed", root_is_killed);
    test_add_for(&test_loop_poll, "/old-kernel/root/killed-without-descriptors",
                 root_is_killed_without_descriptors);
    test_add("/old-kernel/handover/end-is-told", handed_over);
    test_add("/old-kernel/remote/commands", commands_of_remote_processes);
    test_add("/old-kernel/idle/costs-little", waiting_costs_little);
    return g_test_run();
}
