/* SPDX-License-Identifier: MIT
 *
 * What can be seen of a GAforkPool: sizes, numbers and the list of workers, brought up to date once
 * in a turn of the loop.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-pool-private.h"

/* --- What there is now --- */

GAforkWorker *gafork__pool_find_worker(GAforkPool *self, struct afork_process *core)
{
    GAforkWorker *worker = g_hash_table_lookup(self->by_core, core);

    if (!worker) {
        worker = g_object_new(GAFORK_TYPE_WORKER, NULL);
        g_hash_table_insert(self->by_core, core, worker);
    }
    return worker;
}

/* Three entries for each. */
static void see_worker(struct afork_process *core, size_t calls, void *data)
{
    GPtrArray *seen = data;

    g_ptr_array_add(seen, core);
    g_ptr_array_add(seen, GSIZE_TO_POINTER(calls));
    g_ptr_array_add(seen, GINT_TO_POINTER((int)afork_process_peer_pid(core)));
}

void gafork__pool_remove_worker(GAforkPool *self, struct afork_process *core, GAforkWorker *worker)
{
    guint position;

    g_hash_table_remove(self->by_core, core);
    if (g_list_store_find(self->workers, worker, &position))
        g_list_store_remove(self->workers, position);
    gafork__worker_update(worker, 0, 0);
}

/* Makes the list that of `seen`, which has three entries for each worker. Whoever hears of a change
 * may do anything. */
static void update_workers(GAforkPool *self, GPtrArray *seen)
{
    g_autoptr(GHashTable) present = g_hash_table_new(NULL, NULL);
    guint n = seen->len / 3;
    g_autoptr(GPtrArray) workers = g_ptr_array_new_with_free_func(g_object_unref);

    for (guint i = 0; i < n; i++) {
        GAforkWorker *worker = gafork__pool_find_worker(self, seen->pdata[3 * i]);
        g_ptr_array_add(workers, g_object_ref(worker));
        g_hash_table_add(present, worker);
    }
    for (guint i = g_list_model_get_n_items(G_LIST_MODEL(self->workers)); i--;) {
        g_autoptr(GAforkWorker) item = g_list_model_get_item(G_LIST_MODEL(self->workers), i);
        if (!item || g_hash_table_contains(present, item))
            continue;
        g_list_store_remove(self->workers, i);
        gafork__worker_update(item, 0, 0);
    }
    for (guint i = 0; i < n; i++) {
        GAforkWorker *worker = workers->pdata[i];
        if (g_hash_table_lookup(self->by_core, seen->pdata[3 * i]) != worker)
            continue; /* it has ended meanwhile, or the pool has */
        gafork__worker_update(worker, GPOINTER_TO_INT(seen->pdata[3 * i + 2]),
                              (guint)GPOINTER_TO_SIZE(seen->pdata[3 * i + 1]));
        if (g_hash_table_lookup(self->by_core, seen->pdata[3 * i]) == worker &&
            !g_list_store_find(self->workers, worker, NULL))
            g_list_store_append(self->workers, worker);
    }
}

static void update_number(GAforkPool *self, guint *number, size_t now, int id)
{
    guint n = (guint)MIN(now, G_MAXUINT);

    if (*number == n)
        return;
    *number = n;
    gafork__pool_notify(self, (guint)id);
}

/* What is over stays as it is. */
static void update_broken(GAforkPool *self, const struct afork_pool_stats *stats)
{
    g_autofree char *failure = stats->broken ? gafork__text(stats->message, -1) : NULL;

    if (self->broken != stats->broken) {
        self->broken = stats->broken;
        gafork__pool_notify(self, GAFORK__POOL_PROP_BROKEN);
    }
    if (!g_strcmp0(self->failure, failure))
        return;
    g_free(self->failure);
    self->failure = g_steal_pointer(&failure);
    gafork__pool_notify(self, GAFORK__POOL_PROP_FAILURE);
}

void gafork__pool_look(GAforkPool *self)
{
    struct afork_pool_stats stats = {0};
    g_autoptr(GPtrArray) seen = g_ptr_array_new();
    G_GNUC_UNUSED g_autoptr(GAforkPool) held = g_object_ref(self);

    self->due = FALSE;
    if (self->core && !afork_pool_get_stats(self->core, &stats))
        afork_pool_each_worker(self->core, see_worker, seen);
    else
        stats = (struct afork_pool_stats){.broken = self->broken, .message = self->failure};
    g_object_freeze_notify(G_OBJECT(self));
    update_number(self, &self->n_workers, stats.workers, GAFORK__POOL_PROP_N_WORKERS);
    update_number(self, &self->n_busy, stats.busy, GAFORK__POOL_PROP_N_BUSY);
    update_number(self, &self->n_queued, stats.queued, GAFORK__POOL_PROP_N_QUEUED);
    update_number(self, &self->n_running, stats.running, GAFORK__POOL_PROP_N_RUNNING);
    update_broken(self, &stats);
    update_workers(self, seen);
    g_object_thaw_notify(G_OBJECT(self));
}

static gboolean on_tick(gpointer data)
{
    GAforkPool *self = data;

    g_source_set_ready_time(self->ticker, -1);
    gafork__pool_look(self);
    return G_SOURCE_CONTINUE;
}

static gboolean dispatch_ticker(G_GNUC_UNUSED GSource *source, GSourceFunc cb, gpointer data)
{
    return cb(data);
}

void gafork__pool_look_soon(GAforkPool *self)
{
    if (self->due || !self->ticker)
        return;
    self->due = TRUE;
    g_source_set_ready_time(self->ticker, 0);
}

static void start_ticker(GAforkPool *self)
{
    static GSourceFuncs funcs = {.dispatch = dispatch_ticker};

    self->ticker = g_source_new(&funcs, sizeof(GSource));
    g_source_set_callback(self->ticker, on_tick, self, NULL);
    g_source_set_priority(self->ticker, gafork_context_get_priority(self->caller.context));
    g_source_attach(self->ticker, gafork_context_get_main_context(self->caller.context));
}

/* The sizes as the core has them. */
static void note_sizes(GAforkPool *self, guint max, guint idle, guint load)
{
    update_number(self, &self->max, max ? max : afork_cpu_count(), GAFORK__POOL_PROP_MAX);
    update_number(self, &self->idle, self->single_call ? 0 : idle, GAFORK__POOL_PROP_IDLE);
    update_number(self, &self->load,
                  self->single_call ? 1
                  : load            ? load
                                    : 2,
                  GAFORK__POOL_PROP_LOAD);
}

void gafork__pool_view_init(GAforkPool *self, const struct afork_pool_options *options)
{
    self->single_call = options->single_call;
    note_sizes(self, options->max, options->idle, options->load);
    start_ticker(self);
    gafork__pool_look_soon(self);
}

/* --- Public calls --- */

/**
 * gafork_pool_set_size:
 * @self: a pool
 * @max: most workers at a time, up to %G_MAXINT; 0: [func@Afork.cpu_count]
 * @idle: workers that are kept even if they have nothing to do, at most @max
 * @load: calls that a worker is given at a time, up to 65536; 0: 2
 * @error: return location for an error
 *
 * Changes the sizes while the pool works. The properties do the same one by one. Of a pool with a
 * process for each call only @max can be changed.
 *
 * Returns: %TRUE, or %FALSE with @error set: %G_IO_ERROR_INVALID_ARGUMENT for what is out of range
 *
 * Since: 0.1
 */
gboolean gafork_pool_set_size(GAforkPool *self, guint max, guint idle, guint load, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), FALSE);
    int result = self->core ? afork_pool_set_size(self->core, max, idle, load)
                            : gafork__pool_no_core(self);
    if (!gafork__pool_check(self, result, error))
        return FALSE;
    gafork__pool_look_soon(self);
    g_object_freeze_notify(G_OBJECT(self)); /* whoever hears of it may do anything */
    note_sizes(self, max, idle, load);
    g_object_thaw_notify(G_OBJECT(self));
    return TRUE;
}

/**
 * gafork_pool_get_function:
 * @self: a pool
 *
 * The function that is called.
 *
 * Returns: (transfer none): its name
 *
 * Since: 0.1
 */
const char *gafork_pool_get_function(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), NULL);
    return self->function;
}

/**
 * gafork_pool_get_max:
 * @self: a pool
 *
 * Most workers at a time.
 *
 * Returns: the number of workers
 *
 * Since: 0.1
 */
guint gafork_pool_get_max(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), 0);
    return self->max;
}

/**
 * gafork_pool_get_idle:
 * @self: a pool
 *
 * Workers that are kept even if they have nothing to do.
 *
 * Returns: the number of workers
 *
 * Since: 0.1
 */
guint gafork_pool_get_idle(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), 0);
    return self->idle;
}

/**
 * gafork_pool_get_load:
 * @self: a pool
 *
 * Calls that a worker is given at a time.
 *
 * Returns: the number of calls
 *
 * Since: 0.1
 */
guint gafork_pool_get_load(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), 0);
    return self->load;
}

/**
 * gafork_pool_get_n_workers:
 * @self: a pool
 *
 * The workers there are, those being started included; as it was at the last turn of the loop.
 *
 * Returns: the number of workers
 *
 * Since: 0.1
 */
guint gafork_pool_get_n_workers(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), 0);
    return self->n_workers;
}

/**
 * gafork_pool_get_n_busy:
 * @self: a pool
 *
 * The workers that have a call; as it was at the last turn of the loop.
 *
 * Returns: the number of workers
 *
 * Since: 0.1
 */
guint gafork_pool_get_n_busy(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), 0);
    return self->n_busy;
}

/**
 * gafork_pool_get_n_queued:
 * @self: a pool
 *
 * The calls that no worker has; as it was at the last turn of the loop.
 *
 * Returns: the number of calls
 *
 * Since: 0.1
 */
guint gafork_pool_get_n_queued(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), 0);
    return self->n_queued;
}

/**
 * gafork_pool_get_n_running:
 * @self: a pool
 *
 * The calls that a worker has; as it was at the last turn of the loop.
 *
 * Returns: the number of calls
 *
 * Since: 0.1
 */
guint gafork_pool_get_n_running(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), 0);
    return self->n_running;
}

/**
 * gafork_pool_get_broken:
 * @self: a pool
 *
 * Whether too many workers failed one after the other; as it was at the last turn of the loop, and
 * known when a call returns with %GAFORK_ERROR_BROKEN.
 *
 * Returns: %TRUE if it is broken
 *
 * Since: 0.1
 */
gboolean gafork_pool_get_broken(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), FALSE);
    return self->broken;
}

/**
 * gafork_pool_get_failure:
 * @self: a pool
 *
 * What the last worker of a pool that is [property@Afork.Pool:broken] failed of.
 *
 * Returns: (nullable): the text, or %NULL if the pool is not broken
 *
 * Since: 0.1
 */
const char *gafork_pool_get_failure(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), NULL);
    return self->failure;
}

/**
 * gafork_pool_get_workers:
 * @self: a pool
 *
 * The workers, oldest first, as objects of class [class@Afork.Worker]; as it was at the last turn
 * of the loop. Those that were told to end are not in it any more.
 *
 * Returns: (transfer none): the list, always the same
 *
 * Since: 0.1
 */
GListModel *gafork_pool_get_workers(GAforkPool *self)
{
    g_return_val_if_fail(GAFORK_IS_POOL(self), NULL);
    return G_LIST_MODEL(self->workers);
}

/**
 * gafork_cpu_count:
 *
 * The processors that this program may use: the least of its affinity mask and the quotas of its
 * control groups, at least 1. The environment variable `AFORK_CPUS` overrides it.
 *
 * Returns: the number of processors
 *
 * Since: 0.1
 */
guint gafork_cpu_count(void)
{
    return afork_cpu_count();
}
