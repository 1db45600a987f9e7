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

static const struct {
    const char *signal; /* of the pool, or of its list of workers */
    bool of_list;
    enum gafork_place place;
} places[] = {
    {"event", false, GAFORK_DROP_IN_SIGNAL},
    {"worker-started", false, GAFORK_DROP_IN_SIGNAL},
    {"worker-exited", false, GAFORK_DROP_IN_SIGNAL},
    {"notify::n-running", false, GAFORK_DROP_IN_SIGNAL},
    {"items-changed", true, GAFORK_DROP_IN_SIGNAL},
    {"destroyed", false, GAFORK_DROP_IN_END_SIGNAL},
    {NULL, false, GAFORK_DROP_IN_CALL},
    {NULL, false, GAFORK_DROP_AT_ONCE},
};

static void finish(struct gafork_drop *drop)
{
    gafork_callable_finish(drop->object);
}

static void cancel(struct gafork_drop *drop)
{
    gafork_pool_cancel(drop->object);
}

static void drop_everywhere(struct gafork_test *f, gafork_deed *deed)
{
    g_autoptr(GAforkPoolOptions) options = options_of(2);

    g_object_set(options, "retire-calls", (guint64)1, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        GAforkPool *pool = gafork_calls_pool(f, "tell", options);
        struct gafork_drop drop = {.f = f, .deed = deed, .object = pool};
        gpointer sender = places[i].of_list ? (gpointer)gafork_pool_get_workers(pool) : pool;
        if (places[i].signal)
            g_signal_connect_swapped(sender, places[i].signal, G_CALLBACK(gafork_drop), &drop);
        gafork_drop_run(&drop, places[i].place);
    }
}

static void dropped_in_callbacks(struct gafork_test *f)
{
    for (gafork_deed *const *deed = gafork_deeds; *deed; deed++)
        drop_everywhere(f, *deed);
    drop_everywhere(f, finish);
    drop_everywhere(f, cancel);
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
