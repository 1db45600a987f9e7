/* SPDX-License-Identifier: MIT
 *
 * A loop that reports what is not so. Some do, now and then: a descriptor is ready that is not. It
 * must do no harm to anything that the core watches. Against the fake server.
 */
#include <signal.h>
#include <unistd.h>

#include "test-lib.h"

/* The loop: operations of the poll loop, with each watcher remembered. */
struct liar {
    struct afork_loop base;
    struct afork_loop *honest;
    GPtrArray *ios; /* live ones */
};

struct afork_io {
    struct liar *liar;
    struct afork_io *honest; /* the poll loop's */
    unsigned events;
    afork_io_cb *cb;
    void *data;
};

static int io_new(struct afork_loop *base, int fd, unsigned events, afork_io_cb *cb, void *data,
                  struct afork_io **ret)
{
    struct liar *liar = (struct liar *)base;
    struct afork_io *io = g_new0(struct afork_io, 1);

    *io = (struct afork_io){.liar = liar, .events = events, .cb = cb, .data = data};
    test_ok(liar->honest->ops->io_new(liar->honest, fd, events, cb, data, &io->honest));
    g_ptr_array_add(liar->ios, io);
    *ret = io;
    return 0;
}

static void io_set(struct afork_io *io, unsigned events)
{
    io->events = events;
    io->liar->honest->ops->io_set(io->honest, events);
}

static void io_free(struct afork_io *io)
{
    if (!io)
        return;
    g_ptr_array_remove(io->liar->ios, io);
    io->liar->honest->ops->io_free(io->honest);
    g_free(io);
}

static int timer_new(struct afork_loop *base, afork_timer_cb *cb, void *data,
                     struct afork_timer **ret)
{
    struct liar *liar = (struct liar *)base;

    return liar->honest->ops->timer_new(liar->honest, cb, data, ret);
}

/* Reports everything that is asked for as ready. */
static void lie(struct liar *liar)
{
    g_autoptr(GPtrArray) ios = g_ptr_array_copy(liar->ios, NULL, NULL);

    for (guint i = 0; i < ios->len; i++) {
        struct afork_io *io = ios->pdata[i];
        if (!g_ptr_array_find(liar->ios, io, NULL))
            continue; /* a callback has freed it */
        unsigned events = io->events & (AFORK_IN | AFORK_OUT);
        if (events)
            io->cb(events, io->data);
    }
}

/* Makes the test's loop a liar. */
static void begin(struct test *t, struct liar *liar, struct afork_loop_ops *ops)
{
    *ops = *t->loop->ops; /* the timers' calls go to the poll loop's own */
    ops->io_new = io_new;
    ops->io_set = io_set;
    ops->io_free = io_free;
    ops->timer_new = timer_new;
    *liar = (struct liar){.base.ops = ops, .honest = t->loop, .ios = g_ptr_array_new()};
    t->loop = &liar->base;
}

static void end(struct test *t, struct liar *liar)
{
    afork_context_close(t->context);
    t->context = NULL;
    g_assert_cmpuint(liar->ios->len, ==, 0);
    g_ptr_array_unref(liar->ios);
}

/* A template that became a worker, so that the host itself watches its children's pids; an executed
 * process; one that is stopped, with a full queue; standard error of all of them. */
static void nothing_is_believed(struct test *t)
{
    enum { RUNNING, ORPHAN, EXECUTED, FULL, N };
    struct afork_loop_ops ops;
    struct liar liar;
    struct afork_process *processes[N];
    struct test_run runs[N] = {0};
    struct test_exit ends[N] = {0};
    g_autofree char *big = g_malloc0(4 << 20);

    begin(t, &liar, &ops);
    t->options.standard_error.mode = AFORK_STDIO_TAIL;
    processes[RUNNING] = test_new(t);
    processes[ORPHAN] = test_fork(processes[RUNNING]);
    processes[EXECUTED] = test_new_exec(t);
    processes[FULL] = test_new_exec(t);
    test_ok(afork_process_eval(processes[FULL], "stop", NULL));
    test_ok(afork_process_send_arg(processes[FULL], big, 4 << 20));
    for (int i = 0; i < N; i++) {
        test_ok(afork_process_on_exit(processes[i], test_on_exit, &ends[i]));
        test_ok(afork_process_run(processes[i], "hold", test_on_run, &runs[i]));
        lie(&liar);
    }
    pid_t pid = afork_process_pid(processes[FULL]);
    test_wait(t, (lie(&liar), runs[RUNNING].calls && runs[ORPHAN].calls && runs[EXECUTED].calls));
    test_wait(t, (lie(&liar), test_process_state(pid) == 'T'));
    for (int i = 0; i < 20; i++) {
        lie(&liar);
        test_turn_for(t, 1000);
    }
    for (int i = 0; i < N; i++)
        g_assert_cmpuint(ends[i].calls, ==, 0);

    kill(pid, SIGCONT);
    test_wait(t, (lie(&liar), runs[FULL].calls));
    for (int i = 0; i < N; i++) {
        g_assert_cmpint(runs[i].fd, >=, 0);
        close(runs[i].fd);
        test_wait(t, (lie(&liar), ends[i].calls));
        g_assert_cmpint(ends[i].cause, ==, AFORK_CAUSE_EXITED);
        afork_process_unref(processes[i]);
    }
    end(t, &liar);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    test_add_for(&test_loop_poll, "/spurious/nothing-is-believed", nothing_is_believed);
    return g_test_run();
}
