/* SPDX-License-Identifier: MIT
 *
 * GAforkPool: the core's pool, as something that can be called, and as numbers and a list of
 * workers to look at.
 */
#define AFORK_GLIB_COMPILATION

#include <errno.h>

#include "gafork-pool-private.h"

/**
 * GAforkPool:
 *
 * Calls that are spread over workers forked from one template, as many as there is work for; made
 * by [iface@Afork.Callable].
 *
 * Calls wait in the pool's queue until a worker has room. Each returns exactly once, whatever
 * happens to workers, template or pool.
 *
 * When the last reference is gone, all workers end; there are no calls under way then, which hold a
 * reference. Nothing is told any more.
 *
 * Since: 0.1
 */

static void callable_init(GAforkCallableInterface *iface);

G_DEFINE_TYPE_WITH_CODE(GAforkPool, gafork_pool, G_TYPE_OBJECT,
                        G_IMPLEMENT_INTERFACE(GAFORK_TYPE_CALLABLE, callable_init))

/* --- What the core tells --- */

static GAforkPool *listener(void *data)
{
    struct gafork__link *link = data;

    return link->object ? g_object_ref(link->object) : NULL;
}

static void on_event(G_GNUC_UNUSED struct afork_pool *core, pid_t pid,
                     const struct afork_event *event, void *data)
{
    g_autoptr(GAforkPool) self = listener(data);

    if (!self)
        return;
    g_autoptr(GBytes) octets = g_bytes_new(event->data, event->len);
    g_autoptr(GUnixFDList) fd_list = gafork__fd_list_new(event->fds, event->n_fds);
    g_signal_emit(self, gafork__pool_signals[GAFORK__POOL_EVENT], 0, (int)pid, octets, fd_list);
}

static void on_worker_start(G_GNUC_UNUSED struct afork_pool *core, struct afork_process *process,
                            void *data)
{
    g_autoptr(GAforkPool) self = listener(data);

    if (!self)
        return;
    g_autoptr(GAforkWorker) worker = g_object_ref(gafork__pool_find_worker(self, process));
    gafork__worker_update(worker, (int)afork_process_peer_pid(process),
                          gafork_worker_get_calls(worker));
    gafork__pool_look_soon(self);
    if (self->core)
        g_signal_emit(self, gafork__pool_signals[GAFORK__POOL_WORKER_STARTED], 0, worker);
}

static void on_worker_exit(G_GNUC_UNUSED struct afork_pool *core, struct afork_process *process,
                           const struct afork_exit *exit, void *data)
{
    g_autoptr(GAforkPool) self = listener(data);

    if (!self)
        return;
    g_autoptr(GAforkWorker) worker = g_object_ref(gafork__pool_find_worker(self, process));
    g_autoptr(GAforkExit) end = exit ? gafork__exit_new(exit) : NULL;
    gafork__pool_remove_worker(self, process, worker);
    gafork__pool_look_soon(self);
    if (self->core)
        g_signal_emit(self, gafork__pool_signals[GAFORK__POOL_WORKER_EXITED], 0, worker, end);
}

static void on_drain(G_GNUC_UNUSED struct afork_pool *core, void *data)
{
    g_autoptr(GAforkPool) self = listener(data);

    if (self)
        g_signal_emit(self, gafork__pool_signals[GAFORK__POOL_DRAIN], 0);
}

/* Nothing comes from the core any more. */
static void drop_core(GAforkPool *self)
{
    afork_pool_unref(g_steal_pointer(&self->core));
    g_hash_table_remove_all(self->by_core);
}

static void on_destroy(G_GNUC_UNUSED struct afork_pool *core, void *data)
{
    g_autoptr(GAforkPool) self = listener(data);
    struct gafork__link *link = data;

    gafork__context_unlink(link);
    g_free(link);
    if (!self)
        return;
    self->link = NULL;
    drop_core(self);
    gafork__pool_look(self);
    if (!self->closed)
        g_signal_emit(self, gafork__pool_signals[GAFORK__POOL_DESTROYED], 0);
}

/* The context was closed. */
static void on_closed(struct gafork__link *link)
{
    g_autoptr(GAforkPool) self = listener(link);

    g_free(link);
    if (!self)
        return;
    self->link = NULL;
    self->closed = TRUE;
    drop_core(self);
    gafork__pool_look(self);
}

/* --- The end --- */

static void pool_close(GAforkCallable *callable)
{
    GAforkPool *self = GAFORK_POOL(callable);

    self->closed = TRUE;
    if (!self->core)
        return;
    gafork__context_unlink(self->link);
    struct gafork__link *link = g_steal_pointer(&self->link);
    afork_pool_close(self->core);
    drop_core(self);
    g_free(link);
    gafork__pool_look(self);
}

static void pool_finish(GAforkCallable *callable)
{
    GAforkPool *self = GAFORK_POOL(callable);

    afork_pool_finish(self->core);
    gafork__pool_look_soon(self);
}

/* The core's pool ends by itself, and tells nobody. */
static void let_go(GAforkPool *self)
{
    self->link->object = NULL;
    self->link = NULL;
    drop_core(self);
}

static void gafork_pool_dispose(GObject *object)
{
    GAforkPool *self = GAFORK_POOL(object);
    struct afork_pool_stats stats;

    if (self->core || self->ticker) {
        if (!gafork__context_enter(self->caller.context, object))
            return;
        if (self->core && !afork_pool_get_stats(self->core, &stats) &&
            stats.queued + stats.running) /* they hold references: this is not the last one */
            pool_close(GAFORK_CALLABLE(self));
        else if (self->core)
            let_go(self);
        gafork__task_unwatch(&self->ticker);
        gafork__context_leave(self->caller.context);
    }
    G_OBJECT_CLASS(gafork_pool_parent_class)->dispose(object);
}

static void gafork_pool_finalize(GObject *object)
{
    GAforkPool *self = GAFORK_POOL(object);

    g_free(self->function);
    g_free(self->failure);
    g_object_unref(self->workers);
    g_hash_table_unref(self->by_core);
    g_clear_object(&self->caller.context);
    G_OBJECT_CLASS(gafork_pool_parent_class)->finalize(object);
}

/* --- Calls --- */

static struct gafork__caller *pool_get_caller(GAforkCallable *callable)
{
    return &GAFORK_POOL(callable)->caller;
}

int gafork__pool_no_core(GAforkPool *self)
{
    return self->closed ? -ESHUTDOWN : -EPIPE;
}

static int pool_call(GAforkCallable *callable, const struct gafork__arguments *arguments,
                     const struct afork_call_options *options, afork_call_cb *cb, void *data,
                     struct afork_call **ret)
{
    GAforkPool *self = GAFORK_POOL(callable);

    if (!self->core)
        return gafork__pool_no_core(self);
    if (arguments->strings)
        return afork_pool_call_strings(self->core, arguments->strings, arguments->n_strings,
                                       options, cb, data, ret);
    if (arguments->release)
        return afork_pool_call_take(self->core, arguments->data, arguments->len, arguments->release,
                                    arguments->release_data, options, cb, data, ret);
    return afork_pool_call(self->core, arguments->data, arguments->len, options, cb, data, ret);
}

/* The core says what the last worker failed of only if it is asked. */
static void set_broken(GAforkPool *self, GError **error)
{
    struct afork_pool_stats stats = {0};

    if (self->core)
        afork_pool_get_stats(self->core, &stats);
    g_autofree char *text = gafork__text(stats.message ? stats.message : "unknown", -1);
    g_set_error(error, GAFORK_ERROR, GAFORK_ERROR_BROKEN,
                "too many workers failed one after the other; the last: %s", text);
}

gboolean gafork__pool_check(GAforkPool *self, int result, GError **error)
{
    if (result == -EPIPE)
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE, "the pool was told to end");
    else if (result == -ENOSPC)
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                            "the queue of the pool is full");
    else if (result == -EIO)
        set_broken(self, error);
    else
        return gafork__check(result, error);
    return FALSE;
}

static gboolean pool_check(GAforkCallable *callable, int result, GError **error)
{
    return gafork__pool_check(GAFORK_POOL(callable), result, error);
}

static void pool_changed(GAforkCallable *callable)
{
    gafork__pool_look_soon(GAFORK_POOL(callable));
}

/* It is said of the pool before a call returns. Whoever hears of it may do anything. */
static GError *pool_broke(GAforkCallable *callable, const char *message)
{
    GAforkPool *self = GAFORK_POOL(callable);
    g_autofree char *text = gafork__text(message, -1);

    if (!self->broken)
        gafork__pool_look(self);
    return g_error_new_literal(GAFORK_ERROR, GAFORK_ERROR_BROKEN, text);
}

static guint pool_get_pending(GAforkCallable *callable)
{
    GAforkPool *self = GAFORK_POOL(callable);
    struct afork_pool_stats stats;

    if (!self->core || afork_pool_get_stats(self->core, &stats) < 0)
        return 0;
    return (guint)(stats.queued + stats.running);
}

static void callable_init(GAforkCallableInterface *iface)
{
    iface->get_caller = pool_get_caller;
    iface->call = pool_call;
    iface->check = pool_check;
    iface->changed = pool_changed;
    iface->broke = pool_broke;
    iface->get_pending = pool_get_pending;
    iface->finish = pool_finish;
    iface->close = pool_close;
}

/* --- Public calls --- */

/**
 * gafork_pool_new:
 * @process: a process that was not told to run
 * @function: a Perl function, looked up in package `main` unless it is qualified
 * @options: (nullable): what the pool is to be like, or %NULL for the defaults
 * @error: return location for an error
 *
 * Makes a pool of workers that are forked from @process, as it is after all commands so far. The
 * pool has a template of its own: later commands to @process do not concern it, nor does its end.
 * What stops workers is the error of calls, and told by [signal@Afork.Pool::worker-exited].
 *
 * Returns: (transfer full): a new pool, or %NULL with @error set: %G_IO_ERROR_INVALID_ARGUMENT for
 *   options that contradict each other, %G_IO_ERROR_PERMISSION_DENIED for a process whose limits do
 *   not let workers be forked from its fork
 *
 * Since: 0.1
 */
GAforkPool *gafork_pool_new(GAforkProcess *process, const char *function,
                            GAforkPoolOptions *options, GError **error)
{
    struct afork_pool_options core_options = AFORK_POOL_OPTIONS_INIT;
    struct afork_limits limits;
    struct afork_pool *core;

    g_return_val_if_fail(GAFORK_IS_PROCESS(process), NULL);
    g_return_val_if_fail(function != NULL, NULL);
    g_return_val_if_fail(!options || GAFORK_IS_POOL_OPTIONS(options), NULL);
    GAforkSerialiser serialiser = gafork__pool_options_fill(options, &core_options, &limits);
    if (!gafork__check_serialiser(serialiser, &core_options.rpc, error))
        return NULL;
    g_autofree struct gafork__link *link = g_new0(struct gafork__link, 1);
    core_options.on_event = on_event;
    core_options.on_worker_start = on_worker_start;
    core_options.on_worker_exit = on_worker_exit;
    core_options.on_drain = on_drain;
    core_options.on_destroy = on_destroy;
    core_options.data = link;
    int result = afork_pool_new(gafork__process_get_core(process), function, &core_options, &core);
    if (result == -EPERM) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                            "limits of the process do not let its forks have workers: give them to"
                            " the workers, in the options of the pool");
        return NULL;
    }
    if (!gafork__process_check(process, result, error))
        return NULL;

    GAforkPool *self = g_object_new(GAFORK_TYPE_POOL, NULL);
    self->core = core;
    self->function = g_strdup(function);
    self->caller.context = g_object_ref(gafork_process_get_context(process));
    self->caller.serialiser = serialiser;
    self->link = g_steal_pointer(&link);
    self->link->object = self;
    self->link->closed = on_closed;
    gafork__context_link(self->caller.context, self->link);
    gafork__pool_view_init(self, &core_options);
    return self;
}

/**
 * gafork_pool_retire:
 * @self: a pool
 * @error: return location for an error
 *
 * Has every worker replaced when it has answered what it was given.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 0.1
 */
gboolean gafork_pool_retire(GAforkPool *self, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), FALSE);
    gafork__pool_look_soon(self);
    return gafork__pool_check(
        self, self->core ? afork_pool_retire(self->core) : gafork__pool_no_core(self), error);
}

/**
 * gafork_pool_reset:
 * @self: a pool
 * @error: return location for an error
 *
 * Has a pool that is [property@Afork.Pool:broken] try again.
 *
 * Returns: %TRUE, or %FALSE with @error set
 *
 * Since: 0.1
 */
gboolean gafork_pool_reset(GAforkPool *self, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), FALSE);
    gafork__pool_look_soon(self);
    return gafork__pool_check(
        self, self->core ? afork_pool_reset(self->core) : gafork__pool_no_core(self), error);
}

/**
 * gafork_pool_cancel:
 * @self: a pool
 *
 * Ends the pool: all calls return with %G_IO_ERROR_CANCELLED on a later turn, and all workers are
 * killed; [signal@Afork.Pool::destroyed] tells when they are gone.
 *
 * Since: 0.1
 */
void gafork_pool_cancel(GAforkPool *self)
{
    g_return_if_fail(GAFORK_IS_POOL(self));
    if (!self->core)
        return;
    afork_pool_cancel(self->core);
    gafork__pool_look_soon(self);
}

/**
 * gafork_pool_get_stats:
 * @self: a pool
 * @error: return location for an error
 *
 * Numbers about the pool, as they are now.
 *
 * Returns: (transfer full): the numbers, or %NULL with @error set
 *
 * Since: 0.1
 */
GAforkPoolStats *gafork_pool_get_stats(GAforkPool *self, GError **error)
{
    struct afork_pool_stats stats;

    g_return_val_if_fail(GAFORK_IS_POOL(self), NULL);
    int result = self->core ? afork_pool_get_stats(self->core, &stats) : gafork__pool_no_core(self);
    return gafork__pool_check(self, result, error) ? gafork__pool_stats_new(&stats) : NULL;
}

static void gafork_pool_init(GAforkPool *self)
{
    self->workers = g_list_store_new(GAFORK_TYPE_WORKER);
    self->by_core = g_hash_table_new_full(NULL, NULL, NULL, g_object_unref);
}

static void gafork_pool_class_init(GAforkPoolClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->dispose = gafork_pool_dispose;
    object_class->finalize = gafork_pool_finalize;
    gafork__pool_install(object_class);
}
