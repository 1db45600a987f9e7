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

enum sender { POOL, LIST, WORKER, OPTIONS };

static const struct {
    const char *signal;
    enum sender sender;
    enum gafork_place place;
} places[] = {
    {"event", POOL, GAFORK_DROP_IN_SIGNAL},
    {"worker-started", POOL, GAFORK_DROP_IN_SIGNAL},
    {"worker-exited", POOL, GAFORK_DROP_IN_SIGNAL},
    {"notify::n-running", POOL, GAFORK_DROP_IN_SIGNAL},
    {"items-changed", LIST, GAFORK_DROP_IN_SIGNAL},
    {"notify::pid", WORKER, GAFORK_DROP_IN_SIGNAL},
    {"event", OPTIONS, GAFORK_DROP_IN_SIGNAL},
    {"destroyed", POOL, GAFORK_DROP_IN_END_SIGNAL},
    {NULL, POOL, GAFORK_DROP_IN_CALL},
    {NULL, POOL, GAFORK_DROP_AT_ONCE},
};

static void finish(struct gafork_drop *drop)
{
    gafork_callable_finish(drop->object);
}

static void cancel(struct gafork_drop *drop)
{
    gafork_pool_cancel(drop->object);
}

static void drop_in_worker(GListModel *workers, guint position, G_GNUC_UNUSED guint removed,
                           guint added, gpointer data)
{
    for (guint i = 0; i < added; i++) {
        g_autoptr(GAforkWorker) worker = g_list_model_get_item(workers, position + i);
        g_signal_connect_swapped(worker, "notify::pid", G_CALLBACK(gafork_drop), data);
    }
}

/* Of the signals that come when all is over. */
static void note_late(struct gafork_drop *drop)
{
    drop->late += drop->closed;
}

static void connect_drop(struct gafork_drop *drop, const char *signal, enum sender sender)
{
    static const char *const told[] = {"event", "worker-started", "worker-exited", "destroyed"};
    GListModel *workers = gafork_pool_get_workers(drop->object);

    if (signal && sender == POOL)
        g_signal_connect_swapped(drop->object, signal, G_CALLBACK(gafork_drop), drop);
    else if (sender == LIST)
        g_signal_connect_swapped(workers, signal, G_CALLBACK(gafork_drop), drop);
    else if (sender == WORKER)
        g_signal_connect(workers, "items-changed", G_CALLBACK(drop_in_worker), drop);
    else if (sender == OPTIONS)
        g_signal_connect_swapped(drop->options, signal, G_CALLBACK(gafork_drop), drop);
    for (gsize i = 0; i < G_N_ELEMENTS(told); i++)
        if (sender != POOL || g_strcmp0(told[i], signal))
            g_signal_connect_swapped(drop->object, told[i], G_CALLBACK(note_late), drop);
}

static void drop_everywhere(struct gafork_test *f, gafork_deed *deed)
{
    g_autoptr(GAforkPoolOptions) options = options_of(2);

    g_object_set(options, "retire-calls", (guint64)1, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autoptr(GAforkCallOptions) call_options = gafork_call_options_new();
        struct gafork_drop drop = {.f = f, .deed = deed, .options = call_options};
        drop.object = gafork_calls_pool(f, "tell", options);
        connect_drop(&drop, places[i].signal, places[i].sender);
        gafork_drop_run(&drop, places[i].place);
        g_assert_cmpuint(drop.late, ==, 0);
    }
}

static void dropped_in_callbacks(struct gafork_test *f)
{
    for (gafork_deed *const *deed = gafork_deeds; *deed; deed++)
        drop_everywhere(f, *deed);
    drop_everywhere(f, finish);
    drop_everywhere(f, cancel);
}

static void clear_pool(GAforkPool **pool)
{
    g_clear_object(pool);
}

static GAforkPool *pool_with_worker(struct gafork_test *f)
{
    g_autoptr(GAforkPoolOptions) options = options_of(2);
    g_object_set(options, "idle", 2, NULL);
    GAforkPool *pool = gafork_calls_pool(f, "tell", options);

    gafork_wait(f->main_context, gafork_pool_get_n_workers(pool));
    return pool;
}

/* By whoever hears what a call of the pool's changes; the caller had the only reference. */
static void dropped_inside_calls(struct gafork_test *f)
{
    GAforkPool *pool = pool_with_worker(f);
    g_signal_connect_swapped(pool, "notify::load", G_CALLBACK(clear_pool), &pool);
    g_assert_true(gafork_pool_set_size(pool, 3, 0, 9, NULL));
    g_assert_null(pool);

    pool = pool_with_worker(f);
    g_signal_connect_swapped(gafork_pool_get_workers(pool), "items-changed", G_CALLBACK(clear_pool),
                             &pool);
    gafork_callable_close(GAFORK_CALLABLE(pool));
    g_assert_null(pool);

    pool = pool_with_worker(f);
    g_signal_connect_swapped(pool, "notify::n-workers", G_CALLBACK(clear_pool), &pool);
    gafork_callable_close(GAFORK_CALLABLE(pool));
    g_assert_null(pool);
    gafork_settle(f);
}

static void clear_all(struct gafork_drop *d)
{
    g_clear_object(&d->object);
    g_clear_object(&d->f->context);
}

static void dropped_with_context(struct gafork_test *f)
{
    struct gafork_drop d = {.f = f, .object = pool_with_worker(f)};

    g_signal_connect_swapped(gafork_pool_get_workers(d.object), "items-changed",
                             G_CALLBACK(clear_all), &d);
    gafork_context_close(f->context);
    g_assert_null(d.object);
    g_assert_null(f->context);
    gafork_settle(f);
}

static void use_pool(struct gafork_drop *d)
{
    d->times++;
    g_assert_null(gafork_pool_get_stats(d->object, NULL));
    g_assert_false(gafork_pool_set_size(d->object, 1, 1, 1, NULL));
    g_assert_cmpuint(gafork_callable_get_pending(GAFORK_CALLABLE(d->object)), ==, 0);
}

/* One that was told to finish, by whoever hears first that the context is being closed. */
static void used_while_context_closes(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GAforkPool) pool = pool_with_worker(f);
    struct gafork_drop d = {.f = f, .object = pool};
    gafork_call_auto call = {0};

    gafork_wait(f->main_context, gafork_process_get_peer_pid(process));
    g_signal_connect_swapped(process, "notify::peer-pid", G_CALLBACK(use_pool), &d);
    gafork_call_start(pool, "x", NULL, NULL, &call);
    gafork_callable_finish(GAFORK_CALLABLE(pool));
    gafork_context_close(f->context);
    g_assert_cmpuint(d.times, ==, 1);
    gafork_wait(f->main_context, call.calls);
    g_assert_error(call.error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    gafork_calls_renew_context(f);
}

static void count(unsigned *n)
{
    (*n)++;
}

static void closed_when_destroyed(struct gafork_test *f)
{
    g_autoptr(GAforkPool) pool = pool_with_worker(f);
    unsigned n_destroyed = 0;

    g_signal_connect_swapped(pool, "destroyed", G_CALLBACK(count), &n_destroyed);
    gafork_callable_finish(GAFORK_CALLABLE(pool));
    gafork_wait(f->main_context, n_destroyed);
    g_autoptr(GError) finished = gafork_call_error(f, pool, "x");
    g_assert_error(finished, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE);
    gafork_callable_close(GAFORK_CALLABLE(pool));
    g_autoptr(GError) closed = gafork_call_error(f, pool, "x");
    g_assert_error(closed, G_IO_ERROR, G_IO_ERROR_CLOSED);
}

/* --- Handlers that turn the loop --- */

struct turning {
    GMainContext *main_context;
    GAforkPool *pool;
    GPtrArray *gone;
    unsigned turns;
};

static void note_gone(G_GNUC_UNUSED GAforkPool *pool, GAforkWorker *worker,
                      G_GNUC_UNUSED GAforkExit *exit, gpointer data)
{
    g_ptr_array_add(((struct turning *)data)->gone, g_object_ref(worker));
}

/* Has all workers replaced before it returns. */
static void turn_in_list(GListModel *workers, guint position, G_GNUC_UNUSED guint removed,
                         guint added, gpointer data)
{
    struct turning *t = data;

    for (guint i = 0; i < added; i++) {
        g_autoptr(GObject) worker = g_list_model_get_item(workers, position + i);
        g_assert_false(g_ptr_array_find(t->gone, worker, NULL));
    }
    if (!added || t->turns)
        return;
    t->turns++;
    g_assert_true(gafork_pool_retire(t->pool, NULL));
    gafork_wait(t->main_context, t->gone->len >= 2);
}

/* A worker that has ended meanwhile is not shown. */
static void turned_in_list(struct gafork_test *f)
{
    g_autoptr(GAforkPoolOptions) options = options_of(2);
    g_object_set(options, "idle", 2, NULL);
    g_autoptr(GAforkPool) pool = gafork_calls_pool(f, "tell", options);
    struct turning t = {f->main_context, pool, g_ptr_array_new_with_free_func(g_object_unref), 0};

    g_signal_connect(pool, "worker-exited", G_CALLBACK(note_gone), &t);
    g_signal_connect(gafork_pool_get_workers(pool), "items-changed", G_CALLBACK(turn_in_list), &t);
    gafork_wait(f->main_context, t.turns);
    gafork_wait(f->main_context, gafork_pool_get_n_workers(pool) == 2);
    for (guint i = 0; i < t.gone->len; i++)
        g_assert_cmpuint(gafork_worker_get_calls(t.gone->pdata[i]), ==, 0);
    g_ptr_array_unref(t.gone);
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
    gafork_calls_add("/gafork/pool/dropped-inside-calls", dropped_inside_calls);
    gafork_calls_add("/gafork/pool/dropped-with-context", dropped_with_context);
    gafork_calls_add("/gafork/pool/used-while-context-closes", used_while_context_closes);
    gafork_calls_add("/gafork/pool/closed-when-destroyed", closed_when_destroyed);
    gafork_calls_add("/gafork/pool/turned-in-list", turned_in_list);
    gafork_calls_add("/gafork/pool/dropped-in-another-thread", dropped_in_another_thread);
    return g_test_run();
}
