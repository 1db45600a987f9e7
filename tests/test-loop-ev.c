/* SPDX-License-Identifier: MIT
 *
 * The libev loop: the contract over every back end that works here, and what only this loop has.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop-conformance.h"
#include "test-ev.h"
#include "util.h"

/* Stands before libc's: libev's epoll back end fails on request, as where the kernel has no more
 * watches to give. */
static int epoll_error;

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (epoll_error) {
        errno = epoll_error;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

static void *epoll_new(void)
{
    return test_ev_new(ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV));
}

static void *poll_new(void)
{
    return test_ev_new(ev_loop_new(EVBACKEND_POLL | EVFLAG_NOENV));
}

static void *select_new(void)
{
    return test_ev_new(ev_loop_new(EVBACKEND_SELECT | EVFLAG_NOENV));
}

static void *linuxaio_new(void)
{
    return test_ev_new(ev_loop_new(EVBACKEND_LINUXAIO | EVFLAG_NOENV));
}

static void *iouring_new(void)
{
    return test_ev_new(ev_loop_new(EVBACKEND_IOURING | EVFLAG_NOENV));
}

static struct back_end {
    const char *name;
    unsigned flag;
    void *(*new)(void);
    struct test_loop_type type;
} back_ends[] = {
    {"ev-epoll", EVBACKEND_EPOLL, epoll_new},
    {"ev-poll", EVBACKEND_POLL, poll_new},
    {"ev-select", EVBACKEND_SELECT, select_new},
    {"ev-linuxaio", EVBACKEND_LINUXAIO, linuxaio_new},
    {"ev-iouring", EVBACKEND_IOURING, iouring_new},
};

/* ---- a watcher under test ---- */

struct pair {
    struct test *t;
    int fds[2];
    struct afork_io *io;
    unsigned calls, events;
};

static void pair_cb(unsigned events, void *data)
{
    struct pair *p = data;

    p->calls++;
    p->events = events;
    ev_break(ev_of(p->t), EVBREAK_ONE);
}

static void pair_open(struct test *t, struct pair *p, unsigned events)
{
    p->t = t;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->fds), ==, 0);
    test_ok(t->loop->ops->io_new(t->loop, p->fds[0], events, pair_cb, p, &p->io));
}

static void pair_close(struct pair *p)
{
    p->t->loop->ops->io_free(p->io);
    afork__close(&p->fds[0]);
    afork__close(&p->fds[1]);
}

static void poke(struct pair *p)
{
    g_assert_cmpint(write(p->fds[1], "x", 1), ==, 1);
}

static void unpoke(struct pair *p)
{
    char octet;

    g_assert_cmpint(read(p->fds[0], &octet, 1), ==, 1);
}

static void count_cb(void *data)
{
    ++*(unsigned *)data;
}

/* ---- keeping ev_run() going ---- */

static void run_ends_when_nothing_is_left(struct test *t)
{
    struct pair p = {0};

    ev_run(ev_of(t), 0);
    pair_open(t, &p, AFORK_IN | AFORK_BACKGROUND);
    ev_run(ev_of(t), 0);
    t->loop->ops->io_set(p.io, 0);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(p.calls, ==, 0);

    t->loop->ops->io_set(p.io, AFORK_IN);
    poke(&p);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(p.calls, ==, 1);
    pair_close(&p);
    ev_run(ev_of(t), 0);
}

/* However a watcher came to its mask, the loop counts it, or does not; also one that libev cannot
 * watch. */
static void masks_change_what_is_counted(struct test *t)
{
    static const unsigned masks[] = {
        AFORK_IN,
        AFORK_IN | AFORK_BACKGROUND,
        0,
        AFORK_BACKGROUND,
        AFORK_IN | AFORK_OUT | AFORK_BACKGROUND,
        AFORK_OUT | AFORK_BACKGROUND,
    };
    static const int errors[] = {0, ENOSPC};
    struct pair p = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
        pair_open(t, &p, 0);
        for (size_t from = 0; from < G_N_ELEMENTS(masks); from++) {
            for (size_t to = 0; to < G_N_ELEMENTS(masks); to++) {
                epoll_error = errors[i];
                t->loop->ops->io_set(p.io, masks[from]);
                ev_run(ev_of(t), EVRUN_NOWAIT);
                t->loop->ops->io_set(p.io, masks[to]);
                t->loop->ops->io_set(p.io, masks[to]);
                bool counted = ev_run(ev_of(t), EVRUN_NOWAIT);
                g_assert_cmpint(counted, ==, masks[to] == AFORK_IN);
                counted = ev_run(ev_of(t), EVRUN_NOWAIT);
                g_assert_cmpint(counted, ==, masks[to] == AFORK_IN);
                epoll_error = 0;
            }
        }
        pair_close(&p);
        g_assert_false(ev_run(ev_of(t), EVRUN_NOWAIT));
    }
}

static void armed_timer_keeps_run_going(struct test *t)
{
    struct afork_timer *timer;
    unsigned calls = 0;

    test_ok(t->loop->ops->timer_new(t->loop, count_cb, &calls, &timer));
    t->loop->ops->timer_set(timer, 20 * 1000);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(calls, ==, 1);
    t->loop->ops->timer_set(timer, 3600 * AFORK__USEC_PER_SEC);
    t->loop->ops->timer_set(timer, -1);
    ev_run(ev_of(t), 0);
    t->loop->ops->timer_free(timer);
}

static void idle_templates_do_not_keep_run_going(struct test *t)
{
    struct afork_process *executed = test_new_exec(t), *forked = test_new(t);
    struct test_exit end = {0};

    /* What is queued is written, then nothing is left. */
    test_ok(afork_process_eval(executed, "1", NULL));
    test_ok(afork_process_eval(forked, "1", NULL));
    ev_run(ev_of(t), 0);

    /* It waits for what was asked for. */
    struct afork_process *worker = test_fork(forked);
    test_ok(afork_process_on_exit(worker, test_on_exit, &end));
    test_ok(afork_process_run(worker, "return", NULL, NULL));
    afork_process_unref(worker);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(end.calls, ==, 1);
    g_assert_cmpint(end.cause, ==, AFORK_CAUSE_EXITED);
    g_assert_cmpint(afork_process_pid(executed), >, 0);

    afork_process_unref(executed);
    afork_process_unref(forked);
    ev_run(ev_of(t), 0);
}

/* ---- time ---- */

/* Whether or not the loop may wait, and although its clock need not have moved. */
static void timer_zero_does_not_wait(struct test *t)
{
    struct afork_timer *timer;
    unsigned calls = 0;

    test_ok(t->loop->ops->timer_new(t->loop, count_cb, &calls, &timer));
    for (unsigned i = 1; i <= 1000; i++) {
        t->loop->ops->timer_set(timer, 0);
        ev_run(ev_of(t), EVRUN_NOWAIT);
        g_assert_cmpuint(calls, ==, i);
    }
    t->loop->ops->timer_free(timer);
}

/* libev counts from the time at which the turn began. */
static void timer_counts_from_the_call(struct test *t)
{
    struct afork_timer *timer;
    unsigned calls = 0;
    int64_t start = afork__now();

    test_ok(t->loop->ops->timer_new(t->loop, count_cb, &calls, &timer));
    ev_now_update(ev_of(t));
    while (afork__now() < start + 50 * 1000)
        ; /* a callback that takes long */
    start = afork__now();
    t->loop->ops->timer_set(timer, 20 * 1000);
    test_wait(t, calls);
    g_assert_cmpint(afork__now() - start, >=, 20 * 1000);
    t->loop->ops->timer_free(timer);
}

/* ---- what libev cannot watch ---- */

static bool has_epoll(struct test *t)
{
    if (ev_backend(ev_of(t)) == EVBACKEND_EPOLL)
        return true;
    g_test_skip("libev does not use epoll");
    return false;
}

static void what_cannot_be_watched_is_tried_again(struct test *t)
{
    const unsigned masks[] = {AFORK_IN, AFORK_IN | AFORK_BACKGROUND};

    if (!has_epoll(t))
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(masks); i++) {
        struct pair p = {0};

        epoll_error = ENOSPC;
        pair_open(t, &p, masks[i]);
        test_wait(t, p.calls == 2); /* it is told, since reading finds out, and told again */
        g_assert_cmpuint(p.events, ==, AFORK_IN);
        struct test_load load = test_turn_for(t, 300 * 1000);
        g_assert_cmpuint(load.turns, <, 20);
        g_assert_cmpuint(p.calls, <, 10);

        epoll_error = 0;
        unsigned calls = p.calls;
        poke(&p);
        test_wait(t, p.calls >= calls + 3);
        unpoke(&p);
        calls = p.calls;
        test_assert_idle(t, 200 * 1000);
        g_assert_cmpuint(p.calls, ==, calls);
        pair_close(&p);
    }
}

static void failed_watcher_is_switched_off_and_freed(struct test *t)
{
    struct pair p = {0};

    if (!has_epoll(t))
        return;
    epoll_error = ENOSPC;
    pair_open(t, &p, AFORK_IN | AFORK_BACKGROUND);
    test_wait(t, p.calls);
    t->loop->ops->io_set(p.io, 0);
    unsigned calls = p.calls;
    test_assert_idle(t, 200 * 1000);
    g_assert_cmpuint(p.calls, ==, calls);

    /* Back in order before it is tried again: then it is not. */
    t->loop->ops->io_set(p.io, AFORK_IN | AFORK_BACKGROUND);
    test_wait(t, p.calls > calls);
    epoll_error = 0;
    calls = p.calls;
    t->loop->ops->io_set(p.io, AFORK_OUT | AFORK_BACKGROUND);
    t->loop->ops->io_set(p.io, AFORK_IN | AFORK_BACKGROUND);
    test_turn_for(t, 200 * 1000);
    g_assert_cmpuint(p.calls, ==, calls);

    epoll_error = ENOSPC;
    t->loop->ops->io_set(p.io, AFORK_OUT | AFORK_BACKGROUND);
    test_wait(t, p.calls > calls);
    pair_close(&p); /* while it would be tried again */
    epoll_error = 0;
}

static void silent_cb(struct ev_loop *ev, ev_io *io, int events)
{
}

static void late_cb(struct ev_loop *ev, ev_timer *late, int events)
{
    g_assert_not_reached();
}

/* Nothing else wakes the loop: it has one silent descriptor. */
static void failure_is_heard_soon(struct test *t)
{
    struct pair p = {0}, silent = {0};
    ev_timer late;
    ev_io io;

    if (!has_epoll(t))
        return;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, silent.fds), ==, 0);
    ev_io_init(&io, silent_cb, silent.fds[0], EV_READ);
    ev_io_start(ev_of(t), &io);
    ev_run(ev_of(t), EVRUN_NOWAIT);
    ev_timer_init(&late, late_cb, 20., 0.);
    ev_timer_start(ev_of(t), &late);

    epoll_error = ENOSPC;
    pair_open(t, &p, AFORK_IN);
    for (unsigned calls = 1; calls < 5; calls++) {
        ev_run(ev_of(t), 0); /* until pair_cb() */
        g_assert_cmpuint(p.calls, ==, calls);
    }
    epoll_error = 0;
    ev_timer_stop(ev_of(t), &late);
    ev_io_stop(ev_of(t), &io);
    pair_close(&p);
    afork__close(&silent.fds[0]);
    afork__close(&silent.fds[1]);
}

/* What fails in the background does not keep ev_run() going, what fails in the foreground does. */
static void failed_watchers_are_counted(struct test *t)
{
    struct pair p = {0};
    ev_timer late;

    if (!has_epoll(t))
        return;
    ev_timer_init(&late, late_cb, 20., 0.);
    ev_timer_start(ev_of(t), &late);
    ev_unref(ev_of(t));
    epoll_error = ENOSPC;
    pair_open(t, &p, AFORK_IN | AFORK_BACKGROUND);
    for (unsigned i = 0; i < 3; i++)
        g_assert_false(ev_run(ev_of(t), 0));
    t->loop->ops->io_set(p.io, AFORK_IN);
    unsigned calls = p.calls;
    for (unsigned i = 0; i < 3; i++)
        g_assert_true(ev_run(ev_of(t), 0)); /* until pair_cb() */
    g_assert_cmpuint(p.calls, ==, calls + 3);
    epoll_error = 0;
    pair_close(&p);
    ev_ref(ev_of(t));
    ev_timer_stop(ev_of(t), &late);
}

static void bad_descriptor_is_an_error(struct test *t)
{
    struct afork_io *io;

    g_assert_cmpint(t->loop->ops->io_new(t->loop, -1, AFORK_IN, pair_cb, NULL, &io), ==, -EBADF);
}

/* ---- forked copies ---- */

/* Ends the copy, where a failed assertion is told by its status. */
static void in_a_copy(struct test *t, void (*func)(struct test *t, void *data), void *data)
{
    int status;
    pid_t pid = fork();

    if (!pid) {
        alarm(20);
        func(t, data);
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
}

static void free_in_copy(struct test *t, void *data)
{
    struct test_ev *self = t->loop_self;

    afork_ev_loop_free(self->loop);
}

static void go_on_in_copy(struct test *t, void *data)
{
    struct pair *old = data, fresh = {0};

    close(old->fds[0]);
    ev_loop_fork(ev_of(t));
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(old->calls, ==, 0);

    pair_open(t, &fresh, AFORK_IN);
    poke(&fresh);
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(fresh.calls, ==, 1);
    g_assert_cmpuint(old->calls, ==, 0);
    ev_loop_fork(ev_of(t)); /* it may be called at any time */
    ev_run(ev_of(t), 0);
    g_assert_cmpuint(fresh.calls, ==, 2);
    pair_close(&fresh);
    t->type->free(t->loop_self);
}

static void copies_leave_the_original_alone(struct test *t)
{
    static void (*const funcs[])(struct test *, void *) = {free_in_copy, go_on_in_copy};
    unsigned timer_calls = 0;
    struct afork_timer *timer;

    for (size_t i = 0; i < G_N_ELEMENTS(funcs); i++) {
        struct pair p = {0};

        pair_open(t, &p, AFORK_IN);
        test_ok(t->loop->ops->timer_new(t->loop, count_cb, &timer_calls, &timer));
        t->loop->ops->timer_set(timer, 3600 * AFORK__USEC_PER_SEC);
        t->type->turn(t->loop_self, 0);
        poke(&p);
        in_a_copy(t, funcs[i], &p);
        g_assert_cmpuint(p.calls, ==, 0);
        test_wait(t, p.calls == 3);
        ev_loop_fork(ev_of(t)); /* in the original, it changes nothing */
        test_wait(t, p.calls == 6);
        unpoke(&p);
        test_assert_idle(t, 100 * 1000);
        t->loop->ops->timer_free(timer);
        pair_close(&p);
    }
}

static void use_context_in_copy(struct test *t, void *data)
{
    struct afork_process *process = data;

    afork_context_close(t->context);
    afork_process_unref(process);
    t->context = NULL;
    ev_loop_fork(ev_of(t));
    process = test_new(t);
    int fd = test_run_and_unref(t, process, "echo");
    test_write(t, fd, "hello", 5);
    char text[5];
    test_read(t, fd, text, sizeof text);
    g_assert_cmpmem(text, 5, "hello", 5);
    close(fd);
    afork_context_close(t->context);
    t->type->free(t->loop_self);
}

static void copy_makes_a_context_of_its_own(struct test *t)
{
    struct afork_process *process = test_new(t);
    int fd = test_run_and_unref(t, test_fork(process), "echo");

    in_a_copy(t, use_context_in_copy, process);
    test_write(t, fd, "hello", 5);
    char text[5];
    test_read(t, fd, text, sizeof text);
    close(fd);
    afork_process_unref(process);
}

/* ---- misuse ---- */

/* In a child, since it ends the program: its standard error names the descriptor. */
static void free_with_a_watcher_ends_the_program(struct test *t)
{
    char text[200] = "", number[16];
    int ends[2], status;

    g_assert_cmpint(pipe(ends), ==, 0);
    pid_t pid = fork();
    if (!pid) {
        struct afork_ev_loop *self;
        struct afork_io *io;

        dup2(ends[1], STDERR_FILENO);
        if (afork_ev_loop_new(ev_of(t), &self) == 0) {
            struct afork_loop *loop = afork_ev_loop_get(self);
            if (loop->ops->io_new(loop, ends[0], AFORK_IN, pair_cb, NULL, &io) == 0)
                afork_ev_loop_free(self);
        }
        _exit(0);
    }
    close(ends[1]);
    g_assert_cmpint(read(ends[0], text, sizeof text - 1), >, 0);
    close(ends[0]);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGABRT);
    g_snprintf(number, sizeof number, "%d", ends[0]);
    g_assert_nonnull(strstr(text, number));
}

static void missing_arguments_are_errors(struct test *t)
{
    struct afork_ev_loop *self;

    g_assert_cmpint(afork_ev_loop_new(NULL, &self), ==, -EINVAL);
    g_assert_cmpint(afork_ev_loop_new(ev_of(t), NULL), ==, -EINVAL);
    afork_ev_loop_free(NULL);
}

/* In a child: libev 4.33 leaves in a slot of the ring what an earlier use wrote there, which newer
 * kernels refuse, and its io_uring back end ends the program. */
static void try_back_end(unsigned flag)
{
    struct ev_loop *ev = ev_loop_new(flag | EVFLAG_NOENV);
    int ends[2];
    ev_io ios[100];

    if (!ev || pipe(ends) < 0)
        _exit(1);
    for (size_t i = 0; i < G_N_ELEMENTS(ios); i++) {
        ev_io_init(&ios[i], silent_cb, dup(ends[0]), EV_READ);
        ev_io_start(ev, &ios[i]);
    }
    ev_run(ev, EVRUN_NOWAIT);
    for (size_t i = 0; i < G_N_ELEMENTS(ios); i++)
        ev_io_stop(ev, &ios[i]);
    ev_run(ev, EVRUN_NOWAIT);
    ev_loop_destroy(ev);
    _exit(0);
}

static bool works(unsigned flag)
{
    int status;

    if (!(ev_supported_backends() & flag))
        return false;
    pid_t pid = fork();
    if (!pid) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        try_back_end(flag);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return status == 0;
}

static void add_conformance(struct back_end *back_end)
{
    if (!works(back_end->flag)) {
        g_print("# %s does not work here\n", back_end->name);
        return;
    }
    back_end->type = test_loop_ev;
    back_end->type.name = back_end->name;
    back_end->type.new = back_end->new;
    loop_conformance_add(&back_end->type);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/ev/run/ends-when-nothing-is-left", run_ends_when_nothing_is_left},
        {"/ev/run/masks-change-what-is-counted", masks_change_what_is_counted},
        {"/ev/run/armed-timer-keeps-it-going", armed_timer_keeps_run_going},
        {"/ev/run/idle-templates-do-not-keep-it-going", idle_templates_do_not_keep_run_going},
        {"/ev/timer/zero-does-not-wait", timer_zero_does_not_wait},
        {"/ev/timer/counts-from-the-call", timer_counts_from_the_call},
        {"/ev/error/tried-again", what_cannot_be_watched_is_tried_again},
        {"/ev/error/heard-soon", failure_is_heard_soon},
        {"/ev/error/counted", failed_watchers_are_counted},
        {"/ev/error/switched-off-and-freed", failed_watcher_is_switched_off_and_freed},
        {"/ev/error/bad-descriptor", bad_descriptor_is_an_error},
        {"/ev/copy/leaves-the-original-alone", copies_leave_the_original_alone},
        {"/ev/copy/makes-a-context-of-its-own", copy_makes_a_context_of_its_own},
        {"/ev/free/watcher-left", free_with_a_watcher_ends_the_program},
        {"/ev/new/missing-arguments", missing_arguments_are_errors},
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(back_ends); i++)
        add_conformance(&back_ends[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_add_for(&test_loop_ev, cases[i].path, cases[i].func);
    return g_test_run();
}
