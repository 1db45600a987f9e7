/* SPDX-License-Identifier: MIT
 *
 * The loop of the libev adapter as the tests drive it. After each test libev must count no watcher
 * any more: the adapter gives every reference back.
 */
#include "test-ev.h"

void *test_ev_new(struct ev_loop *ev)
{
    struct test_ev *self = g_new0(struct test_ev, 1);

    g_assert_nonnull(ev);
    self->ev = ev;
    test_ok(afork_ev_loop_new(ev, &self->loop));
    return self;
}

static void *ev_new(void)
{
    return test_ev_new(ev_loop_new(EVFLAG_AUTO));
}

static struct afork_loop *ev_get(void *self)
{
    return afork_ev_loop_get(((struct test_ev *)self)->loop);
}

static void on_time(struct ev_loop *ev, ev_timer *timer, int events)
{
    *(bool *)timer->data = true;
}

static void ev_turn(void *self, int64_t usec)
{
    struct ev_loop *ev = ((struct test_ev *)self)->ev;
    bool late = false;
    ev_timer timer;

    ev_now_update(ev);
    ev_timer_init(&timer, on_time, (double)usec / G_USEC_PER_SEC, 0.);
    timer.data = &late;
    ev_timer_start(ev, &timer);
    ev_run(ev, EVRUN_ONCE);
    ev_timer_stop(ev, &timer);
}

static void ev_free(void *data)
{
    struct test_ev *self = data;

    afork_ev_loop_free(self->loop);
    g_assert_cmpint(ev_run(self->ev, EVRUN_NOWAIT), ==, 0);
    ev_loop_destroy(self->ev);
    g_free(self);
}

static void ev_free_copy(void *self)
{
    afork_ev_loop_free(((struct test_ev *)self)->loop);
}

const struct test_loop_type test_loop_ev = {"ev", ev_new, ev_get, ev_turn, ev_free, ev_free_copy};
