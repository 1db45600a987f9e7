/* SPDX-License-Identifier: MIT
 *
 * The loops that the tests drive: the poll loop, the poll loop inside a foreign one, GLib's, and
 * libuv's.
 */
#include <errno.h>
#include <poll.h>

#include "test-lib.h"
#include "util.h"

#ifdef ENABLE_GLIB
#include <afork/afork-glib.h>
#endif
#ifdef ENABLE_LIBUV
#include <afork/afork-uv.h>
#endif

static void *poll_new(void)
{
    struct afork_poll *poll;

    g_assert_cmpint(afork_poll_new(&poll), ==, 0);
    return poll;
}

static struct afork_loop *poll_get(void *self)
{
    return afork_poll_loop(self);
}

static void poll_turn(void *self, int64_t usec)
{
    int result = afork_poll_turn(self, usec);

    g_assert_true(result >= 0 || result == -EINTR);
}

static void poll_free(void *self)
{
    afork_poll_free(self);
}

const struct test_loop_type test_loop_poll = {"poll",    poll_new,  poll_get,
                                              poll_turn, poll_free, poll_free};

/* What a program does whose own loop knows descriptors and timeouts but has no adapter. */
static void foreign_turn(void *self, int64_t usec)
{
    struct pollfd descriptor = {.fd = afork_poll_fd(self), .events = POLLIN};
    int64_t timeout = afork_poll_timeout(self);

    if (timeout < 0 || timeout > usec)
        timeout = usec;
    int result = poll(&descriptor, 1, (int)((timeout + 999) / AFORK__USEC_PER_MSEC));
    g_assert_true(result >= 0 || errno == EINTR);
    if (result > 0 || afork_poll_timeout(self) == 0)
        poll_turn(self, 0);
}

const struct test_loop_type test_loop_foreign = {"foreign",    poll_new,  poll_get,
                                                 foreign_turn, poll_free, poll_free};

#ifdef ENABLE_GLIB

struct glib_loop {
    GMainContext *context;
    struct afork_glib_loop *loop;
};

static void *glib_new(void)
{
    struct glib_loop *self = g_new0(struct glib_loop, 1);

    self->context = g_main_context_new();
    g_main_context_push_thread_default(self->context);
    g_assert_cmpint(afork_glib_loop_new(self->context, G_PRIORITY_DEFAULT, &self->loop), ==, 0);
    return self;
}

static struct afork_loop *glib_get(void *self)
{
    return afork_glib_loop_get(((struct glib_loop *)self)->loop);
}

static gboolean wake(gpointer data)
{
    *(bool *)data = true;
    return G_SOURCE_REMOVE;
}

static void glib_turn(void *self, int64_t usec)
{
    GMainContext *context = ((struct glib_loop *)self)->context;
    bool late = false;
    g_autoptr(GSource) timeout = g_timeout_source_new(0);

    g_source_set_ready_time(timeout, g_get_monotonic_time() + usec);
    g_source_set_callback(timeout, wake, &late, NULL);
    g_source_attach(timeout, context);
    g_main_context_iteration(context, TRUE);
    g_source_destroy(timeout);
}

static void glib_free(void *self)
{
    struct glib_loop *loop = self;

    while (g_main_context_iteration(loop->context, FALSE)) /* operations that were cancelled */
        ;
    afork_glib_loop_free(loop->loop);
    g_main_context_pop_thread_default(loop->context);
    g_main_context_unref(loop->context);
    g_free(loop);
}

static void glib_free_copy(void *self)
{
    afork_glib_loop_free(((struct glib_loop *)self)->loop);
}

const struct test_loop_type test_loop_glib = {"glib",    glib_new,  glib_get,
                                              glib_turn, glib_free, glib_free_copy};

#endif

#ifdef ENABLE_LIBUV

struct uv_host {
    uv_loop_t uv; /* first: tests of libuv take it from here */
    uv_timer_t timeout;
    struct afork_uv_loop *loop;
};

/* The first loop opens descriptors that libuv keeps for good; the fixture counts descriptors. */
static void __attribute__((constructor)) uv_warm_up(void)
{
    uv_loop_t uv;

    if (uv_loop_init(&uv) == 0)
        uv_loop_close(&uv);
}

static void *uv_new(void)
{
    struct uv_host *self = g_new0(struct uv_host, 1);

    g_assert_cmpint(uv_loop_init(&self->uv), ==, 0);
    uv_timer_init(&self->uv, &self->timeout);
    g_assert_cmpint(afork_uv_loop_new(&self->uv, &self->loop), ==, 0);
    return self;
}

static struct afork_loop *uv_get(void *self)
{
    return afork_uv_loop_get(((struct uv_host *)self)->loop);
}

static void uv_late(uv_timer_t *timeout)
{
}

static void uv_turn(void *self, int64_t usec)
{
    struct uv_host *host = self;

    uv_update_time(&host->uv);
    uv_timer_start(&host->timeout, uv_late, (uint64_t)(usec + 999) / AFORK__USEC_PER_MSEC, 0);
    uv_run(&host->uv, UV_RUN_ONCE);
    uv_timer_stop(&host->timeout);
}

/* One turn after everything was released nothing is left in the loop. */
static void uv_free(void *self)
{
    struct uv_host *host = self;

    afork_uv_loop_free(host->loop);
    uv_close((uv_handle_t *)&host->timeout, NULL);
    uv_run(&host->uv, UV_RUN_NOWAIT);
    g_assert_cmpint(uv_loop_close(&host->uv), ==, 0);
    g_free(host);
}

/* Before anything is released libuv wants to know that it is in a copy. */
static void uv_free_copy(void *self)
{
    struct uv_host *host = self;

    g_assert_cmpint(uv_loop_fork(&host->uv), ==, 0);
    afork_uv_loop_free(host->loop);
}

const struct test_loop_type test_loop_uv = {"uv", uv_new, uv_get, uv_turn, uv_free, uv_free_copy};

#endif

const struct test_loop_type *const test_loop_types[] = {
    &test_loop_poll,
    &test_loop_foreign,
#ifdef ENABLE_GLIB
    &test_loop_glib,
#endif
#ifdef ENABLE_LIBEV
    &test_loop_ev,
#endif
#ifdef ENABLE_LIBUV
    &test_loop_uv,
#endif
    NULL,
};
