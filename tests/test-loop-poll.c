/* SPDX-License-Identifier: MIT
 *
 * The poll loop: the contract, and what only this loop has.
 */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop-conformance.h"
#include "util.h"

struct pair {
    struct test *t;
    int fds[2];
    struct afork_io *io;
    unsigned calls;
};

static void pair_cb(unsigned events, void *data)
{
    struct pair *p = data;

    p->calls++;
    afork_poll_quit(p->t->loop_self);
}

static void pair_open(struct test *t, struct pair *p, unsigned events)
{
    p->t = t;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->fds), ==, 0);
    g_assert_cmpint(t->loop->ops->io_new(t->loop, p->fds[0], events, pair_cb, p, &p->io), ==, 0);
}

static void pair_close(struct pair *p)
{
    p->t->loop->ops->io_free(p->io);
    afork__close(&p->fds[0]);
    afork__close(&p->fds[1]);
}

static void run_ends_when_nothing_is_left(struct test *t)
{
    struct pair p = {0};

    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
    pair_open(t, &p, AFORK_IN | AFORK_BACKGROUND);
    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
    t->loop->ops->io_set(p.io, 0);
    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
    g_assert_cmpuint(p.calls, ==, 0);

    /* In the foreground it runs until the callback quits it, and can run again. */
    t->loop->ops->io_set(p.io, AFORK_IN);
    g_assert_cmpint(write(p.fds[1], "x", 1), ==, 1);
    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
    g_assert_cmpuint(p.calls, ==, 1);
    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
    g_assert_cmpuint(p.calls, ==, 2);
    pair_close(&p);
    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
}

/* The turn in which it is called is finished, with all that was found ready. */
static void quit_counts_for_one_run(struct test *t)
{
    struct pair a = {0}, b = {0};

    pair_open(t, &a, AFORK_IN);
    pair_open(t, &b, AFORK_IN);
    g_assert_cmpint(write(a.fds[1], "x", 1), ==, 1);
    g_assert_cmpint(write(b.fds[1], "x", 1), ==, 1);
    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
    g_assert_cmpuint(a.calls, ==, 1);
    g_assert_cmpuint(b.calls, ==, 1);

    afork_poll_quit(t->loop_self); /* before a run */
    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
    g_assert_cmpuint(a.calls + b.calls, ==, 2);
    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
    g_assert_cmpuint(a.calls + b.calls, ==, 4);
    pair_close(&a);
    pair_close(&b);
}

static void count_cb(void *data)
{
    ++*(unsigned *)data;
}

static void armed_timer_keeps_run_going(struct test *t)
{
    struct afork_timer *timer;
    unsigned calls = 0;

    g_assert_cmpint(t->loop->ops->timer_new(t->loop, count_cb, &calls, &timer), ==, 0);
    t->loop->ops->timer_set(timer, 20 * 1000);
    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
    g_assert_cmpuint(calls, ==, 1);
    t->loop->ops->timer_set(timer, 3600 * AFORK__USEC_PER_SEC);
    t->loop->ops->timer_set(timer, -1);
    g_assert_cmpint(afork_poll_run(t->loop_self), ==, 0);
    t->loop->ops->timer_free(timer);
}

static void turn_counts_callbacks(struct test *t)
{
    struct pair p = {0};

    pair_open(t, &p, AFORK_IN);
    g_assert_cmpint(afork_poll_turn(t->loop_self, 0), ==, 0);
    int64_t start = afork__now();
    g_assert_cmpint(afork_poll_turn(t->loop_self, 20 * 1000), ==, 0);
    g_assert_cmpint(afork__now() - start, >=, 20 * 1000);
    g_assert_cmpint(write(p.fds[1], "x", 1), ==, 1);
    g_assert_cmpint(afork_poll_turn(t->loop_self, -1), ==, 1);
    pair_close(&p);
}

static void on_alarm(int signal)
{
}

static void signal_interrupts_a_turn(struct test *t)
{
    struct sigaction action = {.sa_handler = on_alarm}, before;
    struct itimerval soon = {.it_value.tv_usec = 10 * 1000};

    sigaction(SIGALRM, &action, &before);
    g_assert_cmpint(setitimer(ITIMER_REAL, &soon, NULL), ==, 0);
    g_assert_cmpint(afork_poll_turn(t->loop_self, 10 * AFORK__USEC_PER_SEC), ==, -EINTR);
    sigaction(SIGALRM, &before, NULL);
}

static void timeout_and_descriptor_tell_a_foreign_loop(struct test *t)
{
    struct afork_timer *timer;
    unsigned calls = 0;

    g_assert_cmpint(afork_poll_fd(t->loop_self), >=, 0);
    g_assert_cmpint(t->loop->ops->timer_new(t->loop, count_cb, &calls, &timer), ==, 0);
    g_assert_cmpint(afork_poll_timeout(t->loop_self), ==, -1);
    t->loop->ops->timer_set(timer, AFORK__USEC_PER_SEC);
    int64_t left = afork_poll_timeout(t->loop_self);
    g_assert_cmpint(left, >, 0);
    g_assert_cmpint(left, <=, AFORK__USEC_PER_SEC);
    t->loop->ops->timer_set(timer, 0);
    g_assert_cmpint(afork_poll_timeout(t->loop_self), ==, 0);
    g_assert_cmpint(afork_poll_turn(t->loop_self, 0), ==, 1);
    g_assert_cmpint(afork_poll_timeout(t->loop_self), ==, -1);
    t->loop->ops->timer_free(timer);
}

static void ignore_cb(G_GNUC_UNUSED unsigned events, G_GNUC_UNUSED void *data) {}

/* In a child, since it ends the program: its standard error names the descriptor. */
static void free_with_a_watcher_ends_the_program(G_GNUC_UNUSED struct test *t)
{
    char text[200] = "", number[16];
    int pipe_fds[2], status;

    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    pid_t pid = fork();
    if (!pid) {
        struct afork_poll *poll;
        struct afork_io *io;

        dup2(pipe_fds[1], STDERR_FILENO);
        if (afork_poll_new(&poll) == 0) {
            struct afork_loop *loop = afork_poll_loop(poll);
            loop->ops->io_new(loop, pipe_fds[0], AFORK_IN, ignore_cb, NULL, &io);
            afork_poll_free(poll);
        }
        _exit(0);
    }
    close(pipe_fds[1]);
    g_assert_cmpint(read(pipe_fds[0], text, sizeof text - 1), >, 0);
    close(pipe_fds[0]);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGABRT);
    g_snprintf(number, sizeof number, "%d", pipe_fds[0]);
    g_assert_nonnull(strstr(text, number));
    afork_poll_free(NULL);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        test_func *func;
    } cases[] = {
        {"/poll/run/ends-when-nothing-is-left", run_ends_when_nothing_is_left},
        {"/poll/run/quit", quit_counts_for_one_run},
        {"/poll/run/armed-timer-keeps-it-going", armed_timer_keeps_run_going},
        {"/poll/turn/counts-callbacks", turn_counts_callbacks},
        {"/poll/turn/interrupted-by-signal", signal_interrupts_a_turn},
        {"/poll/foreign/timeout-and-descriptor", timeout_and_descriptor_tell_a_foreign_loop},
        {"/poll/free/watcher-left", free_with_a_watcher_ends_the_program},
    };

    g_test_init(&argc, &argv, NULL);
    loop_conformance_add(&test_loop_poll);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        test_add_for(&test_loop_poll, cases[i].path, cases[i].func);
    return g_test_run();
}
