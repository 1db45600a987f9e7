/* SPDX-License-Identifier: MIT
 *
 * Launchers (src/launch.c), with the fake server: what a launcher may return, and what becomes of
 * processes whose pid is told late or never.
 */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "status.h"
#include "test-lib.h"

/* What the launcher does. */
struct plan {
    int error;  /* returned, if it is not 0 */
    bool late;  /* the pid is told by a record */
    bool never; /* nothing is started */
    bool owed;  /* the test tells the pid, by status_fd */
    unsigned calls;
    pid_t pid;                 /* of what was started */
    int command_fd, status_fd; /* of `never` and `owed`: held until the test closes them */
    uint64_t identity;
};

static pid_t start(const struct afork_launch *launch)
{
    g_autofree char *command = g_strdup_printf("%d", launch->command_fd);
    g_autofree char *status = g_strdup_printf("%d", launch->status_fd);
    g_autofree char *owner = g_strdup_printf("%d", launch->owner);
    g_autofree char *identity = g_strdup_printf("%" G_GUINT64_FORMAT, launch->identity);
    const char *server = test_built_file("fake-server");
    const char *argv[] = {server, "-e", "AFork::Serve::me", command, owner, status, identity,
                          "",     NULL};
    pid_t pid = fork();

    if (pid == 0) {
        int a = dup(launch->command_fd), b = dup(launch->status_fd); /* without close-on-exec */
        g_snprintf(command, strlen(command) + 1, "%d", a);
        argv[3] = g_strdup_printf("%d", a);
        argv[5] = g_strdup_printf("%d", b);
        execve(server, (char *const *)argv, (char *const *)launch->environment);
        _exit(127);
    }
    return pid;
}

static void tell(int fd, uint64_t identity, pid_t pid)
{
    uint8_t record[AFORK__RECORD_FIXED_SIZE];
    size_t len = afork__status_encode(&(struct afork__status){.type = AFORK__FORKED,
                                                              .identity = identity,
                                                              .pid = (uint32_t)pid,
                                                              .value = AFORK__FORKED_ROOT},
                                      record);

    g_assert_cmpint(send(fd, record, len, MSG_DONTWAIT), ==, len);
}

static pid_t launch(const struct afork_launch *launch, void *data)
{
    struct plan *plan = data;

    plan->calls++;
    g_assert_cmpuint(launch->size, ==, sizeof *launch);
    g_assert_cmpint(launch->owner, ==, getpid());
    if (plan->error)
        return plan->error;
    plan->identity = launch->identity;
    if (plan->never) {
        plan->command_fd = dup(launch->command_fd);
        plan->status_fd = dup(launch->status_fd);
        return 0;
    }
    plan->pid = start(launch);
    if (plan->owed) {
        plan->status_fd = dup(launch->status_fd);
        return 0;
    }
    if (!plan->late)
        return plan->pid;
    tell(launch->status_fd, launch->identity, plan->pid);
    return 0;
}

static struct afork_process *new_launched(struct test *t, struct plan *plan)
{
    struct afork_process *process;

    test_ok(afork_process_new_launched(test_context(t), launch, plan, &process));
    return process;
}

static void pid_is_returned(struct test *t)
{
    struct plan plan = {0};
    struct test_exit end = {0};
    struct afork_process *process = new_launched(t, &plan);

    g_assert_cmpint(afork_process_pid(process), ==, plan.pid);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_kill(process, SIGKILL));
    afork_process_unref(process);
    test_wait(t, end.calls);
    g_assert_cmpint(end.wait_status, ==, SIGKILL);
}

static void pid_is_told(struct test *t)
{
    struct plan plan = {.late = true};
    struct test_exit end = {0};
    struct afork_process *process = new_launched(t, &plan);

    g_assert_cmpint(afork_process_pid(process), ==, 0);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_kill(process, SIGTERM)); /* as soon as it is known */
    test_wait(t, end.calls);
    g_assert_cmpint(end.wait_status, ==, SIGTERM);
    g_assert_true(end.has_usage);
    afork_process_unref(process); /* not before: the server would end by itself */
}

/* A child of the program that has ended, and waits to be reaped. */
static pid_t ended_child(void)
{
    pid_t pid = fork();
    siginfo_t info;

    if (pid == 0)
        _exit(7);
    test_ok(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
    return pid;
}

static void never_run(struct afork_process *process, int fd, const struct afork_exit *failure,
                      void *data)
{
    g_assert_not_reached();
}

static void tell_pid(void *data)
{
    struct plan *plan = data;

    tell(plan->status_fd, plan->identity, plan->pid);
}

/* In the middle of the close: whatever could be sent is read. */
static void pid_is_told_while_closing(struct test *t)
{
    struct plan plan = {.never = true};
    struct afork_process *process = new_launched(t, &plan);

    plan.pid = ended_child();
    test_ok(afork_process_run_full(process, "list", never_run, &plan, tell_pid));
    afork_context_close(t->context);
    t->context = NULL;
    g_assert_cmpint(test_process_state(plan.pid), ==, 0);
    g_assert_cmpint(send(plan.status_fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT), ==, -1);
    g_assert_cmpint(errno, ==, EPIPE);
    close(plan.command_fd);
    close(plan.status_fd);
    afork_process_unref(process);
}

/* Its pid was known by what it said itself; it was reaped since, and the number is another's. */
static void pid_is_told_after_the_end(struct test *t)
{
    struct plan plan = {.owed = true};
    struct test_exit end = {0};
    struct afork_process *process = new_launched(t, &plan);
    int status;

    test_wait(t, afork_process_pid(process) == plan.pid);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_kill(process, SIGTERM));
    afork_process_unref(process);
    test_wait(t, end.calls);
    pid_t other = ended_child();
    tell(plan.status_fd, plan.identity, other);
    close(plan.status_fd);
    afork_process_unref(test_new_exec(t));
    test_turn_for(t, 20000);
    g_assert_cmpint(waitpid(other, &status, WNOHANG), ==, other);
    g_assert_cmpint(WEXITSTATUS(status), ==, 7);
}

static void nothing_is_started(struct test *t)
{
    struct plan plan = {.never = true};
    struct test_exit ends[3] = {0};
    struct test_run run = {0};
    struct afork_process *process = new_launched(t, &plan), *child = test_fork(process);
    struct afork_process *idle = test_fork(process);

    test_ok(afork_process_on_exit(process, test_on_exit, &ends[0]));
    test_ok(afork_process_on_exit(child, test_on_exit, &ends[1]));
    test_ok(afork_process_on_exit(idle, test_on_exit, &ends[2]));
    test_ok(afork_process_run(child, "anything", test_on_run, &run));
    afork_process_unref(process);
    afork_process_unref(child);
    afork_process_unref(idle);
    test_turn_for(t, 20000);
    g_assert_cmpuint(ends[0].calls + ends[1].calls + run.calls, ==, 0);
    close(plan.command_fd);
    close(plan.status_fd);
    test_wait(t, ends[0].calls && ends[1].calls && ends[2].calls);
    for (int i = 0; i < 3; i++)
        g_assert_cmpint(ends[i].cause, ==, AFORK_CAUSE_START);
    g_assert_cmpint(run.fd, ==, -ECONNRESET);
    g_assert_cmpint(run.cause, ==, AFORK_CAUSE_START);
}

/* Closed while it is not known whether there will be a process; then it is told of one. */
static void told_after_close(struct test *t)
{
    struct plan plan = {.never = true};
    struct afork_process *process = new_launched(t, &plan);

    afork_process_close(process);
    afork_process_unref(process);
    pid_t pid = fork();
    if (pid == 0) { /* a process that ends because its socket says so */
        char octet;
        _exit(read(plan.command_fd, &octet, 1) != 0);
    }
    tell(plan.status_fd, 1, pid);
    close(plan.command_fd);
    close(plan.status_fd);
    test_wait(t, kill(pid, 0) < 0 && errno == ESRCH); /* the library has reaped it */
}

static void errors_are_the_calls(struct test *t)
{
    struct plan plan = {.error = -EACCES};
    struct afork_process *process = NULL;

    g_assert_cmpint(afork_process_new_launched(test_context(t), launch, &plan, &process), ==,
                    -EACCES);
    g_assert_cmpint(afork_process_new_launched(t->context, NULL, NULL, &process), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_launched(t->context, launch, &plan, NULL), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_launched(NULL, launch, &plan, &process), ==, -EINVAL);
    test_ok(afork_context_set_launcher(t->context, launch, &plan));
    g_assert_cmpint(afork_process_new(t->context, &process), ==, -EACCES);
    g_assert_null(process);
    g_assert_cmpuint(plan.calls, ==, 2);
}

/* Which way the default template is made. */
static void launcher_of_a_context(struct test *t)
{
    struct plan plan = {0};
    struct afork_process *executed = test_new(t);

    test_ok(afork_context_set_launcher(t->context, launch, &plan));
    struct afork_process *launched = test_new(t);
    g_assert_cmpuint(plan.calls, ==, 1);
    afork_process_unref(test_new(t));
    g_assert_cmpuint(plan.calls, ==, 1);
    afork_process_unref(test_new_exec(t));
    g_assert_cmpuint(plan.calls, ==, 2);
    test_ok(afork_context_set_launcher(t->context, NULL, NULL));
    afork_process_unref(test_new(t));
    test_ok(afork_context_set_launcher(t->context, launch, &plan));
    test_ok(afork_context_set_perl(t->context, t->options.perl, AFORK_PEER_OWN, NULL));
    afork_process_unref(test_new(t));
    g_assert_cmpuint(plan.calls, ==, 2);
    afork_process_unref(executed);
    afork_process_unref(launched);
}

/* A launcher is tried at once, however often the perl before it ended. */
static void launcher_ends_the_patience(struct test *t)
{
    struct plan plan = {0};
    struct afork_process *process;

    t->options.perl = "/bin/false";
    test_context(t);
    for (;;) {
        struct test_run run = {0};
        int result = afork_process_new(t->context, &process);
        if (result == -EAGAIN)
            break;
        test_ok(result);
        test_ok(afork_process_run(process, "return", test_on_run, &run));
        test_wait(t, run.calls);
        afork_process_unref(process);
    }
    test_ok(afork_context_set_launcher(t->context, launch, &plan));
    g_free(test_output(t, test_new(t), "dump"));
    g_assert_cmpuint(plan.calls, ==, 1);
}

static void originals_are_not_launched(struct test *t)
{
    struct plan plan = {0};
    struct afork_process *process;

    t->options.peer = AFORK_PEER_ORIGINAL;
    g_assert_cmpint(afork_context_set_launcher(test_context(t), launch, &plan), ==, -EINVAL);
    g_assert_cmpint(afork_process_new_launched(t->context, launch, &plan, &process), ==, -EINVAL);
    test_ok(afork_context_set_launcher(t->context, NULL, NULL));
    g_assert_cmpuint(plan.calls, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/launch/pid/returned", pid_is_returned);
    test_add("/launch/pid/told", pid_is_told);
    test_add("/launch/pid/never", nothing_is_started);
    test_add("/launch/pid/after-close", told_after_close);
    test_add("/launch/pid/while-closing", pid_is_told_while_closing);
    test_add("/launch/pid/after-the-end", pid_is_told_after_the_end);
    test_add("/launch/errors", errors_are_the_calls);
    test_add("/launch/context", launcher_of_a_context);
    test_add("/launch/patience", launcher_ends_the_patience);
    test_add("/launch/original", originals_are_not_launched);
    return g_test_run();
}
