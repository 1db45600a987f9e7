/* SPDX-License-Identifier: MIT
 *
 * From start to end: exit notices, signals, and what letting go of a handle does. Against the fake
 * server.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-lib.h"
#include "util.h"

/* Starts a process the two ways there are. */
typedef struct afork_process *maker(struct test *t);
static maker *const makers[] = {test_new, test_new_exec};

static void exits_have_status_and_usage(struct test *t)
{
    for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
        struct afork_process *process = makers[i](t);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_send_arg(process, "7", 1));
        g_free(test_output(t, process, "exit"));
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
        g_assert_true(WIFEXITED(end.wait_status));
        g_assert_cmpint(WEXITSTATUS(end.wait_status), ==, 7);
        g_assert_cmpint(end.status, ==, 7);
        g_assert_true(end.has_usage);
    }
}

static void signals_are_told(struct test *t)
{
    for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
        struct afork_process *process = makers[i](t);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_send_arg(process, "10", 2));
        g_free(test_output(t, process, "kill"));
        test_wait(t, end.calls);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_SIGNALLED);
        g_assert_true(WIFSIGNALED(end.wait_status));
        g_assert_cmpint(end.status, ==, SIGUSR1);
    }
}

/* However late one asks. */
static void late_registration(struct test *t)
{
    for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
        struct afork_process *process = makers[i](t);
        struct test_exit end = {0};

        int fd = test_run_function(t, process, "return");
        test_turn_for(t, 100 * 1000);
        g_assert_cmpint(afork_process_peer_pid(process), ==, 0);
        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        g_assert_cmpuint(end.calls, ==, 0); /* not inside the call */
        g_free(test_slurp(t, fd, NULL));
        test_turn_for(t, 20 * 1000);
        g_assert_cmpuint(end.calls, ==, 1);
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
        afork_process_unref(process);
    }
}

static void registration_is_replaced_and_removed(struct test *t)
{
    struct afork_process *a = test_new(t), *b = test_new(t);
    struct test_exit first = {0}, second = {0}, none = {0};

    test_ok(afork_process_on_exit(a, test_on_exit, &first));
    test_ok(afork_process_on_exit(a, test_on_exit, &second));
    test_ok(afork_process_on_exit(b, test_on_exit, &none));
    test_ok(afork_process_on_exit(b, NULL, NULL));
    g_free(test_output(t, b, "return"));
    g_free(test_output(t, a, "return"));
    test_wait(t, second.calls);
    test_turn_for(t, 20 * 1000);
    g_assert_cmpuint(first.calls, ==, 0);
    g_assert_cmpuint(second.calls, ==, 1);
    g_assert_cmpuint(none.calls, ==, 0);
}

struct order {
    char text[16];
    int fd;
};

static void order_run(struct afork_process *process, int fd, const struct afork_exit *failure,
                      void *data)
{
    struct order *order = data;

    g_assert_null(failure);
    order->fd = fd;
    g_strlcat(order->text, "run ", sizeof order->text);
}

static void order_exit(struct afork_process *process, const struct afork_exit *exit, void *data)
{
    g_strlcat(((struct order *)data)->text, "exit ", sizeof(((struct order *)data)->text));
}

/* Also if it is long dead when the host looks. */
static void run_comes_before_exit(struct test *t)
{
    for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
        struct afork_process *process = makers[i](t);
        struct order order = {.fd = -1};

        test_ok(afork_process_on_exit(process, order_exit, &order));
        test_ok(afork_process_run(process, "return", order_run, &order));
        afork_process_unref(process);
        g_usleep(50 * 1000); /* the point: the loop does not turn while it ends */
        test_wait(t, strlen(order.text) > 4);
        g_assert_cmpstr(order.text, ==, "run exit ");
        close(order.fd);
    }
}

static void signal_waits_for_the_pid(struct test *t)
{
    for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
        struct afork_process *process = makers[i](t);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_kill(process, SIGTERM));
        test_wait(t, end.calls);
        g_assert_cmpint(end.status, ==, SIGTERM);
        g_assert_cmpint(afork_process_kill(process, SIGTERM), ==, -ESRCH);
        afork_process_unref(process);
    }
}

static void signal_reaches_the_worker(struct test *t)
{
    for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
        struct afork_process *process = makers[i](t);
        struct test_exit end = {0};

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        int fd = test_run_function(t, process, "hang");
        test_ok(afork_process_kill(process, 0));
        test_ok(afork_process_kill(process, SIGKILL));
        g_free(test_slurp(t, fd, NULL));
        test_wait(t, end.calls);
        g_assert_cmpint(end.status, ==, SIGKILL);
        afork_process_unref(process);
    }
}

/* Makes standard error of the servers a pipe; returns the end to read. */
static int catch_errors(struct test *t)
{
    int ends[2];

    test_ok(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    t->options.standard_error = (struct afork_stdio){.mode = AFORK_STDIO_FD, .fd = ends[1]};
    test_context(t);
    close(ends[1]);
    return ends[0];
}

static void assert_said(struct test *t, int fd, const char *line)
{
    g_autofree char *got = g_malloc0(strlen(line) + 1);

    test_read(t, fd, got, strlen(line));
    g_assert_cmpstr(got, ==, line);
}

/* Configure and forget: what was queued is done, then the server ends. */
static void unref_before_run_does_what_was_queued(struct test *t)
{
    int errors = catch_errors(t);

    for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
        struct afork_process *process = makers[i](t);
        struct test_exit end = {0};
        g_autofree char *big = g_malloc0(1 << 20);

        test_ok(afork_process_on_exit(process, test_on_exit, &end));
        test_ok(afork_process_send_arg(process, big, 1 << 20)); /* more than the socket takes */
        test_ok(afork_process_eval(process, "say done", NULL));
        struct afork_process *child = test_fork(process);
        afork_process_unref(process);
        assert_said(t, errors, "done\n");
        g_autofree char *text = test_output(t, child, "digest"); /* forks in the queue live */
        g_assert_true(g_str_has_prefix(text, "1048576 "));
        test_wait(t, end.calls); /* an executed one stays until its children have ended */
        g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
        g_assert_cmpint(end.status, ==, 0);
    }
    close(errors);
}

static void assert_echoes(struct test *t, int fd)
{
    char answer[2];

    test_write(t, fd, "hi", 2);
    test_read(t, fd, answer, 2);
    g_assert_cmpmem(answer, 2, "hi", 2);
}

static void letting_go_after_run_leaves_the_worker(struct test *t)
{
    for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
        int unrefed = test_run_and_unref(t, makers[i](t), "echo");
        struct afork_process *process = makers[i](t);
        int closed = test_run_function(t, process, "echo");

        afork_process_close(process);
        afork_process_unref(process);
        test_turn_for(t, 20 * 1000);
        assert_echoes(t, unrefed);
        assert_echoes(t, closed);
        close(unrefed);
        close(closed);
    }
}

/* The template behind it goes, and so does its executed ancestor when nothing is left below. */
static void context_close_leaves_workers_with_a_channel(struct test *t)
{
    int of_new = test_run_and_unref(t, test_new(t), "echo");
    int of_exec = test_run_and_unref(t, test_new_exec(t), "echo");

    afork_context_close(t->context);
    t->context = NULL;
    assert_echoes(t, of_new);
    assert_echoes(t, of_exec);
    close(of_new);
    close(of_exec);
}

static void context_close_ends_the_others(struct test *t)
{
    struct afork_process *idle = test_new(t), *busy = test_new_exec(t), *queued = test_new(t);
    struct test_run run = {0};
    struct test_exit end = {0};
    g_autofree char *big = g_malloc0(1 << 20);

    test_ok(afork_process_on_exit(idle, test_on_exit, &end));
    test_ok(afork_process_run(busy, "hold", test_on_run, &run));
    test_ok(afork_process_send_arg(queued, big, 1 << 20));
    test_ok(afork_process_run(queued, "hold", test_on_run, &run));
    afork_context_close(t->context); /* the fixture sees whether processes are left */
    t->context = NULL;
    test_turn_for(t, 20 * 1000);
    g_assert_cmpuint(run.calls, ==, 0);
    g_assert_cmpuint(end.calls, ==, 0);
    afork_process_unref(idle);
    afork_process_unref(busy);
    afork_process_unref(queued);
}

static void close_ends_a_server(struct test *t)
{
    struct afork_process *process = test_new_exec(t), *child = test_fork(process);
    pid_t pid = afork_process_pid(process);

    test_wait(t, afork_process_peer_pid(child));
    pid_t child_pid = afork_process_peer_pid(child);
    afork_process_close(process);
    afork_process_close(child);
    test_wait(t, !test_is_running(pid) && !test_is_running(child_pid));
    afork_process_unref(process);
    afork_process_unref(child);
}

/* The last reference counts, wherever it is dropped. */
static void references_are_counted(struct test *t)
{
    struct afork_process *process = test_new_exec(t);
    pid_t pid = afork_process_pid(process);

    g_assert_true(afork_process_ref(process) == process);
    afork_process_unref(process);
    test_turn_for(t, 50 * 1000);
    g_assert_true(test_is_running(pid));
    afork_process_unref(process);
    test_wait(t, !test_is_running(pid));
}

/* The channel's end waits for a plain child that holds it; the notice does not. */
static void grandchild_holds_the_channel(struct test *t)
{
    struct afork_process *process = test_new(t);
    struct test_exit end = {0};
    char octet;

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    int fd = test_run_and_unref(t, process, "grandchild");
    pid_t pid = test_read_number(t, fd);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_true(test_is_running(pid));
    g_assert_cmpint(read(fd, &octet, 1), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
    close(fd);
    test_wait(t, !test_is_running(pid));
}

/* A program that the worker executed does not hold the channel. */
static void background_program_does_not(struct test *t)
{
    struct afork_process *process = test_new(t);

    int fd = test_run_and_unref(t, process, "background");
    pid_t pid = test_read_number(t, fd);
    g_free(test_slurp(t, fd, NULL));
    g_assert_true(test_is_running(pid));
    kill(pid, SIGKILL);
}

static void idle_costs_nothing(struct test *t)
{
    struct afork_process *template = test_new(t), *child = test_fork(template);
    int fd = test_run_and_unref(t, child, "echo");

    test_wait(t, afork_process_peer_pid(template));
    test_turn_for(t, 50 * 1000); /* what is under way comes in */
    test_assert_idle(t, 200 * 1000);

    /* Neither does a worker that ended, with its output unread. */
    test_write(t, fd, "unread", 6);
    test_wait(t, recv(fd, (char[6]){0}, 6, MSG_PEEK) == 6);
    shutdown(fd, SHUT_WR);
    test_turn_for(t, 50 * 1000);
    test_assert_idle(t, 200 * 1000);
    g_autofree char *text = test_slurp(t, fd, NULL);
    g_assert_cmpstr(text, ==, "unread");
    afork_process_unref(template);
}

/* A poll loop ends by itself unless something is awaited. */
static void loop_ends_when_nothing_is_awaited(struct test *t)
{
    struct afork_process *template = test_new(t);
    struct test_run run = {0};
    struct test_exit end = {0};

    test_ok(afork_process_eval(template, "note", NULL));
    struct afork_process *worker = test_fork(template);
    test_ok(afork_process_run(worker, "hold", test_on_run, &run));
    test_ok(afork_poll_run(t->loop_self));
    g_assert_cmpuint(run.calls, ==, 1); /* the idle template did not keep it */

    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    close(run.fd);
    test_ok(afork_poll_run(t->loop_self));
    g_assert_cmpuint(end.calls, ==, 1);
    test_ok(afork_poll_run(t->loop_self));
    afork_process_unref(worker);
    afork_process_unref(template);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add("/lifecycle/exit/status-and-usage", exits_have_status_and_usage);
    test_add("/lifecycle/exit/signals", signals_are_told);
    test_add("/lifecycle/exit/late-registration", late_registration);
    test_add("/lifecycle/exit/replaced-and-removed", registration_is_replaced_and_removed);
    test_add("/lifecycle/exit/after-run", run_comes_before_exit);
    test_add("/lifecycle/kill/waits-for-pid", signal_waits_for_the_pid);
    test_add("/lifecycle/kill/worker", signal_reaches_the_worker);
    test_add("/lifecycle/unref/does-what-was-queued", unref_before_run_does_what_was_queued);
    test_add("/lifecycle/unref/leaves-the-worker", letting_go_after_run_leaves_the_worker);
    test_add("/lifecycle/unref/counts", references_are_counted);
    test_add("/lifecycle/close/ends-a-server", close_ends_a_server);
    test_add("/lifecycle/context/leaves-workers", context_close_leaves_workers_with_a_channel);
    test_add("/lifecycle/context/ends-the-others", context_close_ends_the_others);
    test_add("/lifecycle/grandchild/holds-the-channel", grandchild_holds_the_channel);
    test_add("/lifecycle/grandchild/program-does-not", background_program_does_not);
    test_add("/lifecycle/idle/costs-nothing", idle_costs_nothing);
    test_add_for(&test_loop_poll, "/lifecycle/idle/ends-the-loop",
                 loop_ends_when_nothing_is_awaited);
    return g_test_run();
}
