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
    IN_WORKER,
    IN_OPTIONS,
    IN_DESTROYED,
    NOWHERE,
    N_PLACES
};
enum deed { UNREF, FINISH, CANCEL, CLOSE, CLOSE_CONTEXT, DISPOSE, N_DEEDS };

struct drop {
    struct gafork_test *f;
    enum deed deed;
    GAforkPool *pool;
    GAforkCallOptions *options;
    unsigned calls, late;
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

static void drop_in_worker(GListModel *workers, guint position, G_GNUC_UNUSED guint removed,
                           guint added, gpointer data)
{
    for (guint i = 0; i < added; i++) {
        g_autoptr(GAforkWorker) worker = g_list_model_get_item(workers, position + i);
        g_signal_connect_swapped(worker, "notify::pid", G_CALLBACK(drop), data);
    }
}

/* Of the signals that come when all is over. */
static void note_late(struct drop *d)
{
    d->late += d->calls && (d->deed == CLOSE || d->deed == CLOSE_CONTEXT);
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
    if (place == IN_WORKER)
        g_signal_connect(gafork_pool_get_workers(d->pool), "items-changed",
                         G_CALLBACK(drop_in_worker), d);
    if (place == IN_OPTIONS)
        g_signal_connect_swapped(d->options, "event", G_CALLBACK(drop), d);
    for (int i = IN_EVENT; i < N_PLACES; i++)
        if (signals[i] && i != IN_NOTIFY && i != (int)place)
            g_signal_connect_swapped(d->pool, signals[i], G_CALLBACK(note_late), d);
}

static void drop_at(struct gafork_test *f, enum place place, enum deed deed)
{
    g_autoptr(GAforkPoolOptions) options = options_of(2);
    g_object_set(options, "retire-calls", (guint64)1, NULL);
    g_autoptr(GAforkCallOptions) call_options = gafork_call_options_new();
    struct drop d = {.f = f,
                     .deed = deed,
                     .pool = gafork_calls_pool(f, "tell", options),
                     .options = call_options};
    struct gafork_call calls[3] = {{0}};

    g_test_message("place %d, deed %d", (int)place, (int)deed);
    if (place == IN_CALL)
        calls[0] = (struct gafork_call){.action = drop_in_call, .data = &d};
    connect_drop(&d, place);
    for (int i = 0; i < 3; i++)
        gafork_call_start(d.pool, "x", call_options, NULL, &calls[i]);
    if (place == IN_DESTROYED)
        gafork_callable_finish(GAFORK_CALLABLE(d.pool));
    if (place == NOWHERE)
        drop(&d);
    gafork_wait(f->main_context, d.calls && calls[0].calls && calls[1].calls && calls[2].calls);
    g_clear_object(&d.pool);
    gafork_settle(f);
    g_assert_cmpuint(d.late, ==, 0);
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

static void clear_all(struct drop *d)
{
    g_clear_object(&d->pool);
    g_clear_object(&d->f->context);
}

static void dropped_with_context(struct gafork_test *f)
{
    struct drop d = {.f = f, .pool = pool_with_worker(f)};

    g_signal_connect_swapped(gafork_pool_get_workers(d.pool), "items-changed",
                             G_CALLBACK(clear_all), &d);
    gafork_context_close(f->context);
    g_assert_null(d.pool);
    g_assert_null(f->context);
    gafork_settle(f);
}

static void use_pool(struct drop *d)
{
    d->calls++;
    g_assert_null(gafork_pool_get_stats(d->pool, NULL));
    g_assert_false(gafork_pool_set_size(d->pool, 1, 1, 1, NULL));
    g_assert_cmpuint(gafork_callable_get_pending(GAFORK_CALLABLE(d->pool)), ==, 0);
}

/* One that was told to finish, by whoever hears first that the context is being closed. */
static void used_while_context_closes(struct gafork_test *f)
{
    g_autoptr(GAforkProcess) process = gafork_new(f);
    g_autoptr(GAforkPool) pool = pool_with_worker(f);
    struct drop d = {.f = f, .pool = pool};
    gafork_call_auto call = {0};

    gafork_wait(f->main_context, gafork_process_get_peer_pid(process));
    g_signal_connect_swapped(process, "notify::peer-pid", G_CALLBACK(use_pool), &d);
    gafork_call_start(pool, "x", NULL, NULL, &call);
    gafork_callable_finish(GAFORK_CALLABLE(pool));
    gafork_context_close(f->context);
    g_assert_cmpuint(d.calls, ==, 1);
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
