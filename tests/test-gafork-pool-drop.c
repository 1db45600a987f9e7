/* SPDX-License-Identifier: MIT
 *
 * GAforkPool: objects that are dropped, closed or disposed of in every callback, and in other
 * threads.
 */
#include "gafork-calls.h"

static GAforkPoolOptions *options_of(guint max)
{
    return g_object_new(GAFORK_TYPE_POOL_OPTIONS, "max", max, "start", (gint64)0, NULL);
}

enum place {
    IN_CALL,
    IN_EVENT,
    IN_STARTED,
    IN_EXITED,
    IN_NOTIFY,
    IN_LIST,
    IN_DESTROYED,
    NOWHERE,
    N_PLACES
};
enum deed { UNREF, FINISH, CANCEL, CLOSE, CLOSE_CONTEXT, DISPOSE, N_DEEDS };

struct drop {
    struct gafork_test *f;
    enum deed deed;
    GAforkPool *pool;
    unsigned calls;
};

static void drop(struct drop *d)
{
    if (d->calls++)
        return;
    switch (d->deed) {
    case FINISH:
        gafork_callable_finish(GAFORK_CALLABLE(d->pool));
        break;
    case CANCEL:
        gafork_pool_cancel(d->pool);
        break;
    case CLOSE:
        gafork_callable_close(GAFORK_CALLABLE(d->pool));
        break;
    case CLOSE_CONTEXT:
        gafork_context_close(d->f->context);
        break;
    case DISPOSE:
        g_object_run_dispose(G_OBJECT(d->pool));
        break;
    default:
        g_clear_object(&d->pool);
    }
}

static void drop_in_call(struct gafork_call *call)
{
    drop(call->data);
}

static void connect_drop(struct drop *d, enum place place)
{
    static const char *const signals[N_PLACES] = {
        [IN_EVENT] = "event",          [IN_STARTED] = "worker-started",
        [IN_EXITED] = "worker-exited", [IN_NOTIFY] = "notify::n-running",
        [IN_DESTROYED] = "destroyed",
    };

    if (signals[place])
        g_signal_connect_swapped(d->pool, signals[place], G_CALLBACK(drop), d);
    if (place == IN_LIST)
        g_signal_connect_swapped(gafork_pool_get_workers(d->pool), "items-changed",
                                 G_CALLBACK(drop), d);
}

static void drop_at(struct gafork_test *f, enum place place, enum deed deed)
{
    g_autoptr(GAforkPoolOptions) options = options_of(2);
    g_object_set(options, "retire-calls", (guint64)1, NULL);
    struct drop d = {.f = f, .deed = deed, .pool = gafork_calls_pool(f, "tell", options)};
    struct gafork_call calls[3] = {{0}};

    g_test_message("place %d, deed %d", (int)place, (int)deed);
    if (place == IN_CALL)
        calls[0] = (struct gafork_call){.action = drop_in_call, .data = &d};
    connect_drop(&d, place);
    for (int i = 0; i < 3; i++)
        gafork_call_start(d.pool, "x", NULL, NULL, &calls[i]);
    if (place == IN_DESTROYED)
        gafork_callable_finish(GAFORK_CALLABLE(d.pool));
    if (place == NOWHERE)
        drop(&d);
    gafork_wait(f->main_context, d.calls && calls[0].calls && calls[1].calls && calls[2].calls);
    g_clear_object(&d.pool);
    gafork_settle(f);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpuint(calls[i].calls, ==, 1);
        gafork_call_clear(&calls[i]);
    }
    if (deed == CLOSE_CONTEXT)
        gafork_calls_renew_context(f);
}

static void dropped_in_callbacks(struct gafork_test *f)
{
    for (int place = 0; place < N_PLACES; place++)
        for (int deed = 0; deed < N_DEEDS; deed++)
            drop_at(f, place, deed);
}

/* As garbage collectors do. */
static void dropped_in_another_thread(struct gafork_test *f)
{
    enum { NEW, IDLE, UNDER_WAY, FINISHED, CANCELLED, CLOSED, N_STATES };

    for (int state = 0; state < N_STATES; state++) {
        GAforkPool *pool = gafork_calls_pool(f, "echo", NULL);
        GThread *gone_in = NULL;
        gafork_call_auto call = {0};
        if (state != NEW)
            gafork_call_start(pool, "x", NULL, NULL, &call);
        if (state == FINISHED)
            gafork_callable_finish(GAFORK_CALLABLE(pool));
        if (state == CANCELLED)
            gafork_pool_cancel(pool);
        if (state == CLOSED)
            gafork_callable_close(GAFORK_CALLABLE(pool));
        if (state != NEW && state != UNDER_WAY)
            gafork_wait(f->main_context, call.calls);
        gafork_unref_elsewhere(pool, &gone_in);
        gafork_wait(f->main_context,
                    (state == NEW || call.calls) && g_atomic_pointer_get(&gone_in));
        g_assert_true(gone_in == g_thread_self());
    }
}

int main(int argc, char **argv)
{
    gafork_test_init(&argc, &argv);
    gafork_calls_add("/gafork/pool/dropped-in-callbacks", dropped_in_callbacks);
    gafork_calls_add("/gafork/pool/dropped-in-another-thread", dropped_in_another_thread);
    return g_test_run();
}
