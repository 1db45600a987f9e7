/* SPDX-License-Identifier: MIT
 *
 * The GLib loop: the contract of afork-loop.h on bare pipes, and what is GLib's own: contexts,
 * priorities, nested main loops, and the poll set that a turned-off watcher has to leave.
 */
#include <afork/afork-glib.h>

#include <fcntl.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture {
    GMainContext *context;
    struct afork_glib_loop *self;
    struct afork_loop *loop;
    const struct afork_loop_ops *ops;
    int near, far; /* a connected pair */
};

/* What a watcher or timer was told, and what it is to do then. */
struct probe {
    struct fixture *f;
    unsigned calls, events;
    struct afork_io *io;
    struct afork_timer *timer;
    void (*action)(struct probe *probe);
    struct probe *other;
};

static void set_up(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    int pair[2];

    f->context = g_main_context_new();
    g_assert_cmpint(afork_glib_loop_new(f->context, G_PRIORITY_DEFAULT, &f->self), ==, 0);
    f->loop = afork_glib_loop_get(f->self);
    f->ops = f->loop->ops;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), ==,
                    0);
    f->near = pair[0];
    f->far = pair[1];
}

static void tear_down(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    close(f->near);
    if (f->far >= 0)
        close(f->far);
    afork_glib_loop_free(f->self);
    g_main_context_unref(f->context);
}

static void on_io(unsigned events, void *data)
{
    struct probe *probe = data;

    probe->calls++;
    probe->events |= events;
    if (probe->action)
        probe->action(probe);
}

static void on_timer(void *data)
{
    on_io(0, data);
}

static void watch(struct probe *probe, struct fixture *f, int fd, unsigned events)
{
    probe->f = f;
    g_assert_cmpint(f->ops->io_new(f->loop, fd, events, on_io, probe, &probe->io), ==, 0);
}

static void make_timer(struct probe *probe, struct fixture *f)
{
    probe->f = f;
    g_assert_cmpint(f->ops->timer_new(f->loop, on_timer, probe, &probe->timer), ==, 0);
}

static void free_io(struct probe *probe)
{
    probe->f->ops->io_free(probe->io);
    probe->io = NULL;
}

/* Turns without waiting until nothing is ready, but not for ever. */
static unsigned settle(struct fixture *f)
{
    unsigned turns = 0;

    while (turns < 10 && g_main_context_iteration(f->context, FALSE))
        turns++;
    return turns;
}

static void turn_until(struct fixture *f, unsigned *counter, unsigned target)
{
    gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    while (*counter < target) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_main_context_iteration(f->context, TRUE);
    }
}

static void send_octet(struct fixture *f)
{
    g_assert_cmpint(write(f->far, "x", 1), ==, 1);
}

static void test_masks(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    struct probe probe = {0};

    watch(&probe, f, f->near, AFORK_IN);
    g_assert_cmpuint(settle(f), ==, 0);

    f->ops->io_set(probe.io, AFORK_OUT | AFORK_BACKGROUND);
    g_main_context_iteration(f->context, FALSE);
    g_assert_cmpuint(probe.calls, ==, 1);
    g_assert_cmphex(probe.events, ==, AFORK_OUT);

    send_octet(f);
    f->ops->io_set(probe.io, AFORK_IN | AFORK_OUT);
    g_main_context_iteration(f->context, FALSE);
    g_assert_cmpuint(probe.calls, ==, 2);
    g_assert_cmphex(probe.events, ==, AFORK_IN | AFORK_OUT);

    /* Level-triggered, and off is off. */
    f->ops->io_set(probe.io, AFORK_IN);
    g_assert_cmpuint(settle(f), ==, 10);
    f->ops->io_set(probe.io, 0);
    g_assert_cmpuint(settle(f), ==, 0);
    f->ops->io_set(probe.io, 0);
    f->ops->io_set(probe.io, AFORK_IN);
    g_assert_cmpuint(settle(f), ==, 10);
    free_io(&probe);
    g_assert_cmpuint(settle(f), ==, 0);
}

static void test_hang_up(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    unsigned mask = GPOINTER_TO_UINT(data);
    struct probe probe = {0};

    watch(&probe, f, f->near, mask);
    close(f->far);
    f->far = -1;
    unsigned turns = settle(f);
    g_assert_cmphex(probe.events, ==, mask);
    g_assert_cmpuint(turns, ==, mask ? 10 : 0);
    free_io(&probe);
}

static void turn_off(struct probe *probe)
{
    probe->f->ops->io_set(probe->io, 0);
}

static void test_off_in_callback(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    struct probe probe = {.action = turn_off};

    watch(&probe, f, f->near, AFORK_IN);
    send_octet(f);
    turn_until(f, &probe.calls, 1);
    g_assert_cmpuint(settle(f), ==, 0);
    g_assert_cmpuint(probe.calls, ==, 1);
    free_io(&probe);
}

static void test_free_self(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    struct probe probe = {.action = free_io};

    watch(&probe, f, f->near, AFORK_IN | AFORK_OUT);
    send_octet(f);
    turn_until(f, &probe.calls, 1);
    g_assert_cmpuint(settle(f), ==, 0);
    g_assert_cmpuint(probe.calls, ==, 1);
}

static void free_other(struct probe *probe)
{
    if (probe->other->io)
        free_io(probe->other);
}

static void test_free_other(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    struct probe a = {.action = free_other}, b = {.action = free_other, .other = &a};

    a.other = &b;
    watch(&a, f, f->near, AFORK_OUT);
    watch(&b, f, f->far, AFORK_OUT);
    g_main_context_iteration(f->context, FALSE);
    g_assert_cmpuint(a.calls + b.calls, ==, 1);
    free_other(a.io ? &b : &a);
}

/* Turns the other off although both are ready: it must not be told of what it does not want. */
static void mute_other(struct probe *probe)
{
    probe->f->ops->io_set(probe->other->io, 0);
    probe->f->ops->io_set(probe->io, 0);
}

static void test_mute_other(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    struct probe a = {.action = mute_other}, b = {.action = mute_other, .other = &a};

    a.other = &b;
    watch(&a, f, f->near, AFORK_OUT);
    watch(&b, f, f->far, AFORK_OUT);
    settle(f);
    g_assert_cmpuint(a.calls + b.calls, ==, 1);
    free_io(&a);
    free_io(&b);
}

/* Frees the watcher, closes its descriptor and watches another file under the same number. */
static void reuse_number(struct probe *probe)
{
    struct fixture *f = probe->f;

    free_io(probe);
    int fd = fcntl(f->far, F_DUPFD_CLOEXEC, 0);
    g_assert_cmpint(dup3(fd, f->near, O_CLOEXEC), ==, f->near);
    close(fd);
    watch(probe->other, f, f->near, AFORK_IN);
}

static void test_reuse_number(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    struct probe second = {0}, first = {.action = reuse_number, .other = &second};

    watch(&first, f, f->near, AFORK_IN | AFORK_OUT);
    turn_until(f, &first.calls, 1);
    /* The only copy of the near end is gone, so the far end, now under its number, sees the end. */
    turn_until(f, &second.calls, 1);
    g_assert_cmphex(second.events, ==, AFORK_IN);
    g_assert_cmpuint(first.calls, ==, 1);
    free_io(&second);
}

static void test_timer(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    struct probe probe = {0};

    make_timer(&probe, f);
    g_assert_cmpuint(settle(f), ==, 0);

    f->ops->timer_set(probe.timer, 0);
    g_assert_cmpuint(probe.calls, ==, 0);
    g_assert_cmpuint(settle(f), ==, 1);
    g_assert_cmpuint(probe.calls, ==, 1);

    f->ops->timer_set(probe.timer, 0);
    f->ops->timer_set(probe.timer, -1);
    f->ops->timer_set(probe.timer, G_MAXINT64);
    g_assert_cmpuint(settle(f), ==, 0);

    gint64 start = g_get_monotonic_time();
    f->ops->timer_set(probe.timer, 5000);
    turn_until(f, &probe.calls, 2);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 5000);
    g_assert_cmpuint(settle(f), ==, 0);
    f->ops->timer_free(probe.timer);
    f->ops->timer_free(NULL);
    f->ops->io_free(NULL);
}

static void rearm(struct probe *probe)
{
    if (probe->calls < 3)
        probe->f->ops->timer_set(probe->timer, 0);
    else
        probe->f->ops->timer_free(probe->timer);
}

static void test_timer_in_callback(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    struct probe probe = {.action = rearm};

    make_timer(&probe, f);
    f->ops->timer_set(probe.timer, 0);
    g_assert_cmpuint(settle(f), ==, 3);
    g_assert_cmpuint(probe.calls, ==, 3);
}

/* Runs the context from within: all watchers are served, the running one included. */
static void nest(struct probe *probe)
{
    if (probe->calls == 1) {
        turn_until(probe->f, &probe->other->calls, 1);
        turn_until(probe->f, &probe->calls, 2);
    }
    probe->f->ops->io_set(probe->io, 0);
}

static void test_nested(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    struct probe timer = {0}, probe = {.action = nest, .other = &timer};

    make_timer(&timer, f);
    watch(&probe, f, f->near, AFORK_IN);
    f->ops->timer_set(timer.timer, 1000);
    send_octet(f);
    turn_until(f, &timer.calls, 1);
    g_assert_cmpuint(probe.calls, ==, 2);
    free_io(&probe);
    f->ops->timer_free(timer.timer);
}

static gboolean count_idle(gpointer data)
{
    ++*(unsigned *)data;
    return G_SOURCE_CONTINUE;
}

/* A loop of low priority gives way to everything else; NULL means the thread-default context. */
static void test_priority(struct fixture *f, G_GNUC_UNUSED gconstpointer data)
{
    struct afork_glib_loop *low;
    struct probe probe = {.f = f};
    unsigned drawn = 0;

    g_main_context_push_thread_default(f->context);
    g_assert_cmpint(afork_glib_loop_new(NULL, G_PRIORITY_LOW, &low), ==, 0);
    g_main_context_pop_thread_default(f->context);

    struct afork_loop *loop = afork_glib_loop_get(low);
    g_assert_cmpint(loop->ops->io_new(loop, f->near, AFORK_OUT, on_io, &probe, &probe.io), ==, 0);
    GSource *idle = g_idle_source_new();
    g_source_set_callback(idle, count_idle, &drawn, NULL);
    g_source_attach(idle, f->context);
    settle(f);
    g_assert_cmpuint(drawn, ==, 10);
    g_assert_cmpuint(probe.calls, ==, 0);

    g_source_destroy(idle);
    g_source_unref(idle);
    settle(f);
    g_assert_cmpuint(probe.calls, ==, 10);
    free_io(&probe);
    afork_glib_loop_free(low);
}

static void leave_watcher(void)
{
    struct afork_glib_loop *self;
    struct afork_io *io;

    afork_glib_loop_new(NULL, G_PRIORITY_DEFAULT, &self);
    struct afork_loop *loop = afork_glib_loop_get(self);
    g_assert_cmpint(loop->ops->io_new(loop, 0, 0, on_io, NULL, &io), ==, 0);
    afork_glib_loop_free(self);
}

static void test_left_behind(void)
{
    if (g_test_subprocess()) {
        leave_watcher();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*descriptor 0 is still watched*");
    afork_glib_loop_free(NULL);
}

#define ADD(path, data, function)                                                                  \
    g_test_add("/glib-loop/" path, struct fixture, data, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    ADD("masks", NULL, test_masks);
    ADD("hang-up/in", GUINT_TO_POINTER(AFORK_IN), test_hang_up);
    ADD("hang-up/out", GUINT_TO_POINTER(AFORK_OUT), test_hang_up);
    ADD("hang-up/both", GUINT_TO_POINTER(AFORK_IN | AFORK_OUT), test_hang_up);
    ADD("hang-up/off", NULL, test_hang_up);
    ADD("in-callback/off", NULL, test_off_in_callback);
    ADD("in-callback/free-self", NULL, test_free_self);
    ADD("in-callback/free-other", NULL, test_free_other);
    ADD("in-callback/mute-other", NULL, test_mute_other);
    ADD("in-callback/reuse-number", NULL, test_reuse_number);
    ADD("timer/set", NULL, test_timer);
    ADD("timer/in-callback", NULL, test_timer_in_callback);
    ADD("nested", NULL, test_nested);
    ADD("priority", NULL, test_priority);
    g_test_add_func("/glib-loop/left-behind", test_left_behind);
    return g_test_run();
}
