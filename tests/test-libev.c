/* SPDX-License-Identifier: MIT
 *
 * A host on libev's default loop, which reaps every child of the program, ours too: with the
 * adapter, or driving the poll loop from outside. Ends come all the same, once, with the status or
 * as unknown; and the host's own children are still there for libev's child watchers. Against the
 * fake server.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-ev.h"

enum { WORKERS = 50 };

struct ev_host {
    struct ev_loop *ev;
    struct afork_poll *poll;
};

static void *host_new(void)
{
    struct ev_host *host = g_new0(struct ev_host, 1);

    host->ev = ev_default_loop(0);
    test_ok(afork_poll_new(&host->poll));
    return host;
}

static struct afork_loop *host_get(void *self)
{
    return afork_poll_loop(((struct ev_host *)self)->poll);
}

static void on_ready(struct ev_loop *ev, G_GNUC_UNUSED ev_io *io, G_GNUC_UNUSED int events)
{
    ev_break(ev, EVBREAK_ONE);
}

static void on_time(struct ev_loop *ev, G_GNUC_UNUSED ev_timer *timer, G_GNUC_UNUSED int events)
{
    ev_break(ev, EVBREAK_ONE);
}

static void host_turn(void *self, int64_t usec)
{
    struct ev_host *host = self;
    int64_t timeout = afork_poll_timeout(host->poll);
    ev_io io;
    ev_timer timer;

    if (timeout < 0 || timeout > usec)
        timeout = usec;
    ev_io_init(&io, on_ready, afork_poll_fd(host->poll), EV_READ);
    ev_timer_init(&timer, on_time, (double)timeout / G_USEC_PER_SEC, 0.);
    ev_io_start(host->ev, &io);
    ev_timer_start(host->ev, &timer);
    ev_run(host->ev, EVRUN_ONCE);
    ev_io_stop(host->ev, &io);
    ev_timer_stop(host->ev, &timer);
    g_assert_cmpint(afork_poll_turn(host->poll, 0), >=, 0);
}

static void host_free(void *self)
{
    struct ev_host *host = self;

    afork_poll_free(host->poll);
    ev_loop_destroy(host->ev);
    g_free(host);
}

static const struct test_loop_type from_outside = {"from-outside", host_new, host_get, host_turn,
                                                   host_free};

static void *adapter_new(void)
{
    return test_ev_new(ev_default_loop(0));
}

static void executed_ends_are_told(struct test *t)
{
    struct test_exit ends[WORKERS] = {0};
    unsigned n = 0;

    for (size_t i = 0; i < WORKERS; i++) {
        struct afork_process *process = test_new_exec(t);
        test_ok(afork_process_on_exit(process, test_on_exit, &ends[i]));
        test_ok(afork_process_run(process, "exit", NULL, NULL));
        afork_process_unref(process);
        test_wait(t, ends[i].calls);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        g_assert_cmpuint(ends[i].calls, ==, 1);
        g_assert_true(ends[i].cause == AFORK_CAUSE_EXITED || ends[i].cause == AFORK_CAUSE_UNKNOWN);
        n += ends[i].cause == AFORK_CAUSE_EXITED;
    }
    g_test_message("%u of %d with their status", n, WORKERS);
}

static void forked_ends_keep_their_status(struct test *t)
{
    struct test_exit end = {0};
    struct afork_process *process = test_new(t);

    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    test_ok(afork_process_run(process, "exit", NULL, NULL));
    afork_process_unref(process);
    test_wait(t, end.calls);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
}

static void on_child(G_GNUC_UNUSED struct ev_loop *ev, ev_child *child, G_GNUC_UNUSED int events)
{
    *(int *)child->data = child->rstatus;
}

static void children_of_the_host_are_left_to_libev(struct test *t)
{
    struct ev_loop *ev = EV_DEFAULT;
    struct test_exit end = {0};
    int status = -1;
    ev_child child;

    struct afork_process *process = test_new_exec(t);
    test_ok(afork_process_on_exit(process, test_on_exit, &end));
    pid_t pid = fork();
    if (pid == 0)
        _exit(7);
    ev_child_init(&child, on_child, pid, 0);
    child.data = &status;
    ev_child_start(ev, &child);
    test_wait(t, status >= 0);
    ev_child_stop(ev, &child);
    g_assert_cmpint(WEXITSTATUS(status), ==, 7);
    g_assert_cmpuint(end.calls, ==, 0);
    afork_process_unref(process);
    test_wait(t, end.calls);
}

int main(int argc, char **argv)
{
    struct test_loop_type adapter = test_loop_ev;
    const struct test_loop_type *types[] = {&adapter, &from_outside};

    adapter.name = "adapter";
    adapter.new = adapter_new;
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        test_add_for(types[i], "/libev/executed/ends-are-told", executed_ends_are_told);
        test_add_for(types[i], "/libev/forked/keeps-status", forked_ends_keep_their_status);
        test_add_for(types[i], "/libev/host/children-are-left-to-it",
                     children_of_the_host_are_left_to_libev);
    }
    return g_test_run();
}
