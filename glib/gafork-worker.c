/* SPDX-License-Identifier: MIT
 *
 * GAforkWorker, what a list of workers consists of; and GAforkPoolStats. Neither does anything.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-call-private.h"
#include "gafork-pool.h"

/**
 * GAforkWorker:
 *
 * A worker of a pool, as far as it can be looked at: [method@Afork.Pool.get_workers].
 *
 * Since: 0.1
 */
struct _GAforkWorker {
    GObject parent_instance;
    int pid;
    guint calls;
};

enum { PROP_PID = 1, PROP_CALLS, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_TYPE(GAforkWorker, gafork_worker, G_TYPE_OBJECT)

void gafork__worker_update(GAforkWorker *self, int pid, guint calls)
{
    gboolean pid_differs = pid && pid != self->pid, calls_differ = calls != self->calls;

    if (pid) /* of one that has ended, the last that was known stays */
        self->pid = pid;
    self->calls = calls;
    if (pid_differs)
        g_object_notify_by_pspec(G_OBJECT(self), props[PROP_PID]);
    if (calls_differ)
        g_object_notify_by_pspec(G_OBJECT(self), props[PROP_CALLS]);
}

/**
 * gafork_worker_get_pid:
 * @self: a worker
 *
 * Its pid, also after it has ended.
 *
 * Returns: the pid, or 0 if it is not known
 *
 * Since: 0.1
 */
int gafork_worker_get_pid(GAforkWorker *self)
{
    g_return_val_if_fail(GAFORK_IS_WORKER(self), 0);
    return self->pid;
}

/**
 * gafork_worker_get_calls:
 * @self: a worker
 *
 * Counts the calls that it was given and has not answered.
 *
 * Returns: the number of calls
 *
 * Since: 0.1
 */
guint gafork_worker_get_calls(GAforkWorker *self)
{
    g_return_val_if_fail(GAFORK_IS_WORKER(self), 0);
    return self->calls;
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    GAforkWorker *self = GAFORK_WORKER(object);

    switch (id) {
    case PROP_PID:
        g_value_set_int(value, self->pid);
        break;
    case PROP_CALLS:
        g_value_set_uint(value, self->calls);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void gafork_worker_init(G_GNUC_UNUSED GAforkWorker *self)
{
}

static void gafork_worker_class_init(GAforkWorkerClass *klass)
{
    const GParamFlags told = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY;

    G_OBJECT_CLASS(klass)->get_property = get_property;

    /**
     * GAforkWorker:pid: (getter get_pid)
     *
     * Its pid, also after it has ended; 0 if that is not known.
     *
     * Since: 0.1
     */
    props[PROP_PID] = g_param_spec_int("pid", NULL, NULL, 0, G_MAXINT, 0, told);

    /**
     * GAforkWorker:calls: (getter get_calls)
     *
     * The calls that it was given and has not answered.
     *
     * Since: 0.1
     */
    props[PROP_CALLS] = g_param_spec_uint("calls", NULL, NULL, 0, G_MAXUINT, 0, told);

    g_object_class_install_properties(G_OBJECT_CLASS(klass), N_PROPS, props);
}

/* --- Statistics --- */

/**
 * GAforkPoolStats:
 * @workers: workers there now, those being started included
 * @busy: of them, with a call
 * @queued: calls that no worker has
 * @running: calls that a worker has
 * @completed: calls that had a result, or an exception
 * @failed: calls that failed otherwise, those of the next two included
 * @timed_out: calls that were not answered in time
 * @cancelled: calls that were cancelled
 * @retried: calls that were given to another worker after one had ended
 * @started: workers there ever were
 * @crashed: of them, those that ended by themselves
 * @retired: of them, those that were replaced in time
 *
 * Numbers about a pool.
 *
 * Since: 0.1
 */

G_DEFINE_BOXED_TYPE(GAforkPoolStats, gafork_pool_stats, gafork_pool_stats_copy,
                    gafork_pool_stats_free)

/**
 * gafork_pool_stats_copy: (skip)
 * @self: numbers
 *
 * Copies the numbers.
 *
 * Returns: (transfer full): the copy
 *
 * Since: 0.1
 */
GAforkPoolStats *gafork_pool_stats_copy(const GAforkPoolStats *self)
{
    return g_memdup2(self, sizeof *self);
}

/**
 * gafork_pool_stats_free: (skip)
 * @self: (transfer full): numbers
 *
 * Releases the numbers.
 *
 * Since: 0.1
 */
void gafork_pool_stats_free(GAforkPoolStats *self)
{
    g_free(self);
}

GAforkPoolStats *gafork__pool_stats_new(const struct afork_pool_stats *core)
{
    GAforkPoolStats *self = g_new(GAforkPoolStats, 1);

    *self = (GAforkPoolStats){
        .workers = core->workers,
        .busy = core->busy,
        .queued = core->queued,
        .running = core->running,
        .completed = core->completed,
        .failed = core->failed,
        .timed_out = core->timed_out,
        .cancelled = core->cancelled,
        .retried = core->retried,
        .started = core->started,
        .crashed = core->crashed,
        .retired = core->retired,
    };
    return self;
}
