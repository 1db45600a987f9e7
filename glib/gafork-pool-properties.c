/* SPDX-License-Identifier: MIT
 *
 * The properties and signals of GAforkPool.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-pool-private.h"

static GParamSpec *props[GAFORK__POOL_N_PROPS];
guint gafork__pool_signals[GAFORK__POOL_N_SIGNALS];

void gafork__pool_notify(GAforkPool *self, guint id)
{
    g_object_notify_by_pspec(G_OBJECT(self), props[id]);
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
    GAforkPool *self = GAFORK_POOL(object);

    switch (id) {
    case GAFORK__POOL_PROP_MAX:
        gafork_pool_set_size(self, g_value_get_uint(value), self->idle, self->load, NULL);
        break;
    case GAFORK__POOL_PROP_IDLE:
        gafork_pool_set_size(self, self->max, g_value_get_uint(value), self->load, NULL);
        break;
    case GAFORK__POOL_PROP_LOAD:
        gafork_pool_set_size(self, self->max, self->idle, g_value_get_uint(value), NULL);
        break;
    case GAFORK__POOL_PROP_TIMEOUT:
        self->caller.timeout = g_value_get_int64(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    GAforkPool *self = GAFORK_POOL(object);

    switch (id) {
    case GAFORK__POOL_PROP_FUNCTION:
        g_value_set_string(value, self->function);
        break;
    case GAFORK__POOL_PROP_MAX:
        g_value_set_uint(value, self->max);
        break;
    case GAFORK__POOL_PROP_IDLE:
        g_value_set_uint(value, self->idle);
        break;
    case GAFORK__POOL_PROP_LOAD:
        g_value_set_uint(value, self->load);
        break;
    case GAFORK__POOL_PROP_N_WORKERS:
        g_value_set_uint(value, self->n_workers);
        break;
    case GAFORK__POOL_PROP_N_BUSY:
        g_value_set_uint(value, self->n_busy);
        break;
    case GAFORK__POOL_PROP_N_QUEUED:
        g_value_set_uint(value, self->n_queued);
        break;
    case GAFORK__POOL_PROP_N_RUNNING:
        g_value_set_uint(value, self->n_running);
        break;
    case GAFORK__POOL_PROP_BROKEN:
        g_value_set_boolean(value, self->broken);
        break;
    case GAFORK__POOL_PROP_FAILURE:
        g_value_set_string(value, self->failure);
        break;
    case GAFORK__POOL_PROP_WORKERS:
        g_value_set_object(value, self->workers);
        break;
    case GAFORK__POOL_PROP_TIMEOUT:
        g_value_set_int64(value, self->caller.timeout);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void install_sizes(void)
{
    const GParamFlags changed = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS |
                                G_PARAM_EXPLICIT_NOTIFY;

    /**
     * GAforkPool:max: (getter get_max)
     *
     * Most workers at a time. It stays as it is where [method@Afork.Pool.set_size] would fail.
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_MAX] = g_param_spec_uint("max", NULL, NULL, 0, G_MAXINT, 0, changed);

    /**
     * GAforkPool:idle: (getter get_idle)
     *
     * Workers that are kept even if they have nothing to do; as
     * [property@Afork.Pool:max].
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_IDLE] = g_param_spec_uint("idle", NULL, NULL, 0, G_MAXINT, 0, changed);

    /**
     * GAforkPool:load: (getter get_load)
     *
     * Calls that a worker is given at a time; as [property@Afork.Pool:max].
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_LOAD] = g_param_spec_uint("load", NULL, NULL, 1, 65536, 2, changed);
}

static const GParamFlags told = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY;

static void install_numbers(void)
{
    /**
     * GAforkPool:n-workers: (getter get_n_workers)
     *
     * The workers there are, those being started included. This and the other numbers are brought
     * up to date once in a turn of the loop.
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_N_WORKERS] = g_param_spec_uint("n-workers", NULL, NULL, 0, G_MAXINT, 0,
                                                           told);

    /**
     * GAforkPool:n-busy: (getter get_n_busy)
     *
     * The workers that have a call.
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_N_BUSY] = g_param_spec_uint("n-busy", NULL, NULL, 0, G_MAXINT, 0, told);

    /**
     * GAforkPool:n-queued: (getter get_n_queued)
     *
     * The calls that no worker has.
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_N_QUEUED] = g_param_spec_uint("n-queued", NULL, NULL, 0, G_MAXUINT, 0,
                                                          told);

    /**
     * GAforkPool:n-running: (getter get_n_running)
     *
     * The calls that a worker has.
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_N_RUNNING] = g_param_spec_uint("n-running", NULL, NULL, 0, G_MAXUINT, 0,
                                                           told);
}

static void install_state(void)
{
    /**
     * GAforkPool:broken: (getter get_broken)
     *
     * Whether too many workers failed one after the other. All calls, also those that waited, fail
     * with %GAFORK_ERROR_BROKEN then, until [method@Afork.Pool.reset]. The property is notified of
     * before the first of them returns.
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_BROKEN] = g_param_spec_boolean("broken", NULL, NULL, FALSE, told);

    /**
     * GAforkPool:failure: (getter get_failure)
     *
     * What the last worker failed of, if the pool is [property@Afork.Pool:broken]; else %NULL.
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_FAILURE] = g_param_spec_string("failure", NULL, NULL, NULL, told);

    /**
     * GAforkPool:workers: (getter get_workers)
     *
     * The workers, as a list of [class@Afork.Worker].
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_WORKERS] = g_param_spec_object("workers", NULL, NULL, G_TYPE_LIST_MODEL,
                                                           told);

    /**
     * GAforkPool:function: (getter get_function)
     *
     * The function that is called.
     *
     * Since: 0.1
     */
    props[GAFORK__POOL_PROP_FUNCTION] = g_param_spec_string("function", NULL, NULL, NULL, told);
}

static guint add_signal(const char *name, guint n, ...)
{
    va_list types;

    va_start(types, n);
    guint signal = g_signal_new_valist(name, GAFORK_TYPE_POOL, G_SIGNAL_RUN_LAST, NULL, NULL, NULL,
                                       NULL, G_TYPE_NONE, n, types);
    va_end(types);
    return signal;
}

static void install_signals(void)
{
    /**
     * GAforkPool::event:
     * @self: the pool
     * @pid: of the worker, or 0 if that is not known
     * @octets: what `AFork::RPC::event` was given, as the serialiser packed it; see
     *   [func@Afork.bytes_to_strv] and [func@Afork.bytes_to_variant]
     * @fd_list: (nullable): descriptors that were among it
     *
     * A worker tells something apart from any call, or during one whose options nobody listens to,
     * or which has returned already.
     *
     * Since: 0.1
     */
    gafork__pool_signals[GAFORK__POOL_EVENT] = add_signal("event", 3, G_TYPE_INT, G_TYPE_BYTES,
                                                          G_TYPE_UNIX_FD_LIST);

    /**
     * GAforkPool::worker-started:
     * @self: the pool
     * @worker: the worker
     *
     * A worker is ready to be called.
     *
     * Since: 0.1
     */
    gafork__pool_signals[GAFORK__POOL_WORKER_STARTED] = add_signal("worker-started", 1,
                                                                   GAFORK_TYPE_WORKER);

    /**
     * GAforkPool::worker-exited:
     * @self: the pool
     * @worker: the worker
     * @exit: (nullable): how it ended, with what it wrote to its standard error last if that is
     *   kept; %NULL if that is not known
     *
     * A worker has ended, whether it was told to or not.
     *
     * Since: 0.1
     */
    gafork__pool_signals[GAFORK__POOL_WORKER_EXITED] = add_signal(
        "worker-exited", 2, GAFORK_TYPE_WORKER, GAFORK_TYPE_EXIT);

    /**
     * GAforkPool::drain:
     * @self: the pool
     *
     * Half of the queue is free again, after a call failed because it was full.
     *
     * Since: 0.1
     */
    gafork__pool_signals[GAFORK__POOL_DRAIN] = add_signal("drain", 0);

    /**
     * GAforkPool::destroyed:
     * @self: the pool
     *
     * All calls have returned, and all workers have ended or were told to, after
     * [method@Afork.Callable.finish] or [method@Afork.Pool.cancel]. Last and once.
     *
     * Since: 0.1
     */
    gafork__pool_signals[GAFORK__POOL_DESTROYED] = add_signal("destroyed", 0);
}

void gafork__pool_install(GObjectClass *object_class)
{
    object_class->set_property = set_property;
    object_class->get_property = get_property;
    install_sizes();
    install_numbers();
    install_state();
    g_object_class_install_properties(object_class, GAFORK__POOL_N_PROPS, props);
    g_object_class_override_property(object_class, GAFORK__POOL_PROP_TIMEOUT, "timeout");
    install_signals();
}
