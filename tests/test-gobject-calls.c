/* SPDX-License-Identifier: MIT
 *
 * Rpcs, pools and calls of test-gobject.h.
 */
#include "test-gobject-lib.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The longest time that properties take. */
static gint64 usec(int64_t time)
{
    return MIN(time, G_MAXINT64 / 4);
}

/* ---- Who is called ---- */

struct afork_rpc {
    struct callee callee; /* first */
    struct afork_rpc_options options;
};

struct afork_pool {
    struct callee callee; /* first */
    struct afork_pool_options options;
};

static void callee_init(struct callee *self, gpointer object, struct afork_context *context)
{
    self->object = GAFORK_CALLABLE(object);
    self->context = context;
    self->users = 1;
    self->refs = 2;
    context->refs++;
    context->alive = g_slist_prepend(context->alive, self);
}

static void callee_unref(struct callee *self)
{
    if (--self->refs)
        return;
    g_object_unref(self->object);
    gobject_context_unref(self->context);
    g_free(self);
}

void gobject_callee_end(struct callee *self)
{
    if (self->ended)
        return;
    self->ended = true;
    self->context->alive = g_slist_remove(self->context->alive, self);
    g_signal_handlers_disconnect_by_data(self->object, self);
    callee_unref(self);
}

static void callee_drop(struct callee *self)
{
    if (!self || --self->users)
        return;
    gafork_callable_finish(self->object);
    callee_unref(self);
}

static void callee_close(struct callee *self)
{
    if (!self)
        return;
    self->closed = true;
    gafork_callable_close(self->object);
    gobject_callee_end(self);
}

static struct afork_event event_of(GBytes *octets, GUnixFDList *fd_list)
{
    struct afork_event event = {0};
    int n = 0;

    event.data = g_bytes_get_data(octets, &event.len);
    event.fds = fd_list ? g_unix_fd_list_steal_fds(fd_list, &n) : NULL;
    event.n_fds = (size_t)n;
    return event;
}

static void clear_fds(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    g_free(fds);
}

/* ---- Calls ---- */

struct afork_call {
    struct callee *callee;
    GAforkCallOptions *options;
    GCancellable *cancellable;
    afork_call_cb *cb;
    void *data;
    void (*on_event)(const struct afork_event *event, void *data);
    void (*on_begin)(void *data);
    void (*release)(void *data);
    bool accepted, cancelled;
    bool returned; /* and what, where it was not accepted */
    int result;
};

static void on_call_event(G_GNUC_UNUSED GAforkCallOptions *options, GBytes *octets,
                          GUnixFDList *fd_list, gpointer data)
{
    struct afork_call *call = data;
    struct afork_event event = event_of(octets, fd_list);

    g_assert_true(call->accepted);
    call->on_event(&event, call->data);
    clear_fds(event.fds, event.n_fds);
}

static void on_call_begun(G_GNUC_UNUSED GAforkCallOptions *options, gpointer data)
{
    struct afork_call *call = data;

    g_assert_true(call->accepted && !call->returned);
    call->on_begin(call->data);
}

static void call_free(struct afork_call *call)
{
    g_signal_handlers_disconnect_by_data(call->options, call);
    g_object_unref(call->options);
    g_object_unref(call->cancellable);
    callee_unref(call->callee);
    g_free(call);
}

/* Whether it returned because of what it was made with, to whose calls the core does not return. */
static bool was_closed(const struct afork_call *call, int error)
{
    return (call->callee->closed || call->callee->context->closed) &&
           (error == -ESHUTDOWN || (error == -ECANCELED && call->cancelled));
}

static void tell_reply(struct afork_call *call, GBytes *octets, GUnixFDList *fd_list,
                       const GError *error, GAsyncResult *result)
{
    g_autoptr(GAforkExit) end = gafork_call_get_exit(result);
    g_autoptr(GBytes) exception = gafork_call_get_exception(result);
    struct afork_exit exit;
    struct afork_reply reply = {
        .error = gobject_error(error),
        .message = error ? error->message : "",
        .exit = gobject_exit(end, &exit),
    };
    int n = 0;

    g_assert_true(!exception || (error && error->code == GAFORK_ERROR_DIED));
    gobject_check_cause(error, end);
    if (octets || exception)
        reply.data = g_bytes_get_data(octets ? octets : exception, &reply.len);
    reply.fds = fd_list ? g_unix_fd_list_steal_fds(fd_list, &n) : NULL;
    reply.n_fds = (size_t)n;
    call->cb(&reply, call->data);
    clear_fds(reply.fds, reply.n_fds);
}

static void on_return(GObject *object, GAsyncResult *result, gpointer data)
{
    struct afork_call *call = data;
    g_autoptr(GUnixFDList) fd_list = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes)
        octets = gafork_callable_call_fds_finish(GAFORK_CALLABLE(object), result, &fd_list, &error);

    g_assert_true((octets != NULL) == !error);
    g_assert_false(call->returned);
    call->returned = true;
    call->result = gobject_error(error);
    if (!call->accepted)
        return;
    if (!was_closed(call, call->result))
        tell_reply(call, octets, fd_list, error, result);
    if (call->release)
        call->release(call->data);
    call_free(call);
}

static int call_fds(GAforkCallOptions *object, const struct afork_call_options *options)
{
    g_autoptr(GUnixFDList) fd_list = g_unix_fd_list_new();
    GError *error = NULL;

    for (size_t i = 0; i < options->n_fds; i++)
        if (g_unix_fd_list_append(fd_list, options->fds[i], &error) < 0)
            return gobject_result(FALSE, error);
    g_object_set(object, "fd-list", fd_list, NULL);
    return 0;
}

static int call_options(struct afork_call *call, const struct afork_call_options *options)
{
    g_object_set(call->options, "timeout", usec(options->timeout), "run-timeout",
                 usec(options->run_timeout), "priority", options->priority, NULL);
    call->on_event = options->on_event;
    call->release = options->release;
    if (call->on_event)
        g_signal_connect(call->options, "event", G_CALLBACK(on_call_event), call);
    call->on_begin = options->on_begin;
    if (call->on_begin)
        g_signal_connect(call->options, "begun", G_CALLBACK(on_call_begun), call);
    return options->n_fds ? call_fds(call->options, options) : 0;
}

/* One that is refused returns as well: nothing else tells. */
static int start(struct callee *callee, GBytes *octets, const struct afork_call_options *options,
                 afork_call_cb *cb, void *data, struct afork_call **ret)
{
    struct afork_call *call = g_new0(struct afork_call, 1);

    *call = (struct afork_call){.callee = callee, .cb = cb, .data = data};
    callee->refs++;
    call->options = gafork_call_options_new();
    call->cancellable = g_cancellable_new();
    int result = options ? call_options(call, options) : 0;
    if (result < 0) {
        call_free(call);
        return result;
    }
    guint pending = gafork_callable_get_pending(callee->object);
    gafork_callable_call_fds_async(callee->object, octets, call->options, call->cancellable,
                                   on_return, call);
    g_assert_false(call->returned); /* never inside the call */
    call->accepted = gafork_callable_get_pending(callee->object) > pending;
    if (call->accepted) {
        if (ret)
            *ret = call;
        return 0;
    }
    while (!call->returned)
        g_main_context_iteration(gafork_context_get_main_context(callee->context->object), TRUE);
    result = call->result;
    g_assert_cmpint(result, <, 0);
    call_free(call);
    return result;
}

static int call_octets(struct callee *callee, const void *data, size_t len,
                       const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                       struct afork_call **ret)
{
    g_autoptr(GBytes) octets = g_bytes_new(data, len);

    return start(callee, octets, options, cb, cb_data, ret);
}

/* Data that are taken, but for a call that is refused. */
struct taken {
    void (*release)(void *data);
    void *data;
    bool refused;
};

static void taken_free(gpointer data)
{
    struct taken *taken = data;

    if (!taken->refused)
        taken->release(taken->data);
    g_free(taken);
}

static int call_take(struct callee *callee, const void *data, size_t len,
                     void (*release)(void *release_data), void *release_data,
                     const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                     struct afork_call **ret)
{
    struct taken *taken = g_new0(struct taken, 1);
    g_autoptr(GBytes) octets = g_bytes_new_with_free_func(data, len, taken_free, taken);

    *taken = (struct taken){release, release_data, false};
    int result = start(callee, octets, options, cb, cb_data, ret);
    taken->refused = result < 0;
    return result;
}

static int call_strings(struct callee *callee, const struct iovec *strings, size_t n,
                        const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                        struct afork_call **ret)
{
    void *packed;
    size_t len;

    test_ok(afork_strings_pack(strings, n, &packed, &len));
    g_autoptr(GBytes) octets = g_bytes_new_with_free_func(packed, len, free, packed);
    return start(callee, octets, options, cb, cb_data, ret);
}

int gobject_call_cancel(struct afork_call *call, enum afork_cancel how)
{
    g_assert_false(call->returned);
    if (call->cancelled)
        return -EALREADY;
    call->cancelled = true;
    if (how == AFORK_CANCEL_QUEUED && GAFORK_IS_RPC(call->callee->object))
        how = AFORK_CANCEL_ABANDON;
    g_object_set(call->options, "cancel-mode", (int)how, NULL);
    g_cancellable_cancel(call->cancellable);
    return 0;
}

int gobject_call_set_priority(struct afork_call *call, int priority)
{
    g_object_set(call->options, "priority", priority, NULL);
    return 0;
}

/* ---- Rpcs ---- */

static GAforkRpcOptions *rpc_options(const struct afork_rpc_options *core)
{
    GAforkRpcOptions *options = gafork_rpc_options_new();
    const char *code = core->serialiser;

    g_object_set(options, "asynchronous", core->async, "frames", (int)core->frames, "init",
                 core->init, "done", core->done, "exceptions-end", core->exceptions_end,
                 "reply-max", (guint)core->reply_max, NULL);
    if (code && g_str_equal(code, AFORK_SERIALISER_JSON))
        g_object_set(options, "serialiser", GAFORK_SERIALISER_JSON, NULL);
    else
        g_object_set(options, "serialiser-code", code, NULL);
    return options;
}

static void on_rpc_event(G_GNUC_UNUSED GAforkRpc *object, GBytes *octets, GUnixFDList *fd_list,
                         gpointer data)
{
    struct afork_rpc *self = data;
    struct afork_event event = event_of(octets, fd_list);

    self->options.on_event(self, &event, self->options.data);
    clear_fds(event.fds, event.n_fds);
}

static void on_ended(G_GNUC_UNUSED GAforkRpc *object, const GError *error, GAforkExit *end,
                     gpointer data)
{
    struct afork_rpc *self = data;
    struct afork_exit exit;

    gobject_check_cause(error, end);
    if (self->options.on_end)
        self->options.on_end(self, gobject_error(error), error ? error->message : "",
                             gobject_exit(end, &exit), self->options.data);
    gobject_callee_end(&self->callee);
}

int gobject_rpc_new(struct afork_process *process, const char *function,
                    const struct afork_rpc_options *core, struct afork_rpc **ret)
{
    g_autoptr(GAforkRpcOptions) options = core ? rpc_options(core) : NULL;
    GError *error = NULL;
    GAforkRpc *object = gafork_rpc_new(process->object, function, options, &error);

    gobject_n_made++;
    if (!object)
        return gobject_result(FALSE, error);
    struct afork_rpc *self = g_new0(struct afork_rpc, 1);
    callee_init(&self->callee, object, process->context);
    if (core)
        self->options = *core;
    if (self->options.on_event)
        g_signal_connect(object, "event", G_CALLBACK(on_rpc_event), self);
    g_signal_connect(object, "ended", G_CALLBACK(on_ended), self);
    *ret = self;
    return 0;
}

int gobject_rpc_call(struct afork_rpc *rpc, const void *data, size_t len,
                     const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                     struct afork_call **ret)
{
    return call_octets(&rpc->callee, data, len, options, cb, cb_data, ret);
}

int gobject_rpc_call_take(struct afork_rpc *rpc, const void *data, size_t len,
                          void (*release)(void *release_data), void *release_data,
                          const struct afork_call_options *options, afork_call_cb *cb,
                          void *cb_data, struct afork_call **ret)
{
    return call_take(&rpc->callee, data, len, release, release_data, options, cb, cb_data, ret);
}

int gobject_rpc_call_strings(struct afork_rpc *rpc, const struct iovec *strings, size_t n,
                             const struct afork_call_options *options, afork_call_cb *cb,
                             void *cb_data, struct afork_call **ret)
{
    return call_strings(&rpc->callee, strings, n, options, cb, cb_data, ret);
}

size_t gobject_rpc_get_pending(struct afork_rpc *rpc)
{
    return gafork_callable_get_pending(rpc->callee.object);
}

void gobject_rpc_finish(struct afork_rpc *rpc)
{
    gafork_callable_finish(rpc->callee.object);
}

struct afork_rpc *gobject_rpc_ref(struct afork_rpc *rpc)
{
    rpc->callee.users++;
    return rpc;
}

void gobject_rpc_unref(struct afork_rpc *rpc)
{
    callee_drop((struct callee *)rpc);
}

void gobject_rpc_close(struct afork_rpc *rpc)
{
    callee_close((struct callee *)rpc);
}

/* ---- Pools ---- */

/* To the core, 0 is the default, and a negative time none. */
static void set_time(GAforkPoolOptions *options, const char *name, int64_t time)
{
    if (time)
        g_object_set(options, name, usec(MAX(time, 0)), NULL);
}

static GAforkLimits *limits_of(const struct afork_limits *core)
{
    struct afork_limits known = AFORK_LIMITS_INIT;

    known.memory = core->memory;
    g_assert_cmpmem(core, sizeof *core, &known, sizeof known); /* nothing else is asked for here */
    return g_object_new(GAFORK_TYPE_LIMITS, "memory", (guint64)core->memory, NULL);
}

static GAforkPoolOptions *pool_options(const struct afork_pool_options *core)
{
    GAforkPoolOptions *options = gafork_pool_options_new();
    g_autoptr(GAforkRpcOptions) rpc = rpc_options(&core->rpc);

    g_object_set(options, "rpc", rpc, "max", core->max, "idle", core->idle, "single-call",
                 core->single_call, "spares", core->spares, "queue-max", (guint)core->queue_max,
                 "retire-calls", core->retire_calls, "retire-age", usec(core->retire_age),
                 "retire-memory", core->retire_memory, "crash", (int)core->crash, NULL);
    set_time(options, "start", core->start);
    set_time(options, "stop", core->stop);
    if (core->load)
        g_object_set(options, "load", core->load, NULL);
    if (core->max_failures)
        g_object_set(options, "max-failures", core->max_failures, NULL);
    if (core->limits) {
        g_autoptr(GAforkLimits) limits = limits_of(core->limits);
        g_object_set(options, "limits", limits, NULL);
    }
    return options;
}

static void on_event(G_GNUC_UNUSED GAforkPool *object, int pid, GBytes *octets,
                     GUnixFDList *fd_list, gpointer data)
{
    struct afork_pool *self = data;
    struct afork_event event = event_of(octets, fd_list);

    if (self->options.on_event)
        self->options.on_event(self, pid, &event, self->options.data);
    clear_fds(event.fds, event.n_fds);
}

static void on_worker_started(G_GNUC_UNUSED GAforkPool *object, GAforkWorker *worker, gpointer data)
{
    struct afork_pool *self = data;

    if (self->options.on_worker_start)
        self->options.on_worker_start(self, &(struct afork_process){.worker = worker},
                                      self->options.data);
}

static void on_worker_exited(G_GNUC_UNUSED GAforkPool *object, GAforkWorker *worker,
                             GAforkExit *end, gpointer data)
{
    struct afork_pool *self = data;
    struct afork_exit exit;

    if (self->options.on_worker_exit)
        self->options.on_worker_exit(self, &(struct afork_process){.worker = worker},
                                     gobject_exit(end, &exit), self->options.data);
}

static void on_drain(G_GNUC_UNUSED GAforkPool *object, gpointer data)
{
    struct afork_pool *self = data;

    if (self->options.on_drain)
        self->options.on_drain(self, self->options.data);
}

static void on_destroyed(G_GNUC_UNUSED GAforkPool *object, gpointer data)
{
    struct afork_pool *self = data;

    if (self->options.on_destroy)
        self->options.on_destroy(self, self->options.data);
    gobject_callee_end(&self->callee);
}

int gobject_pool_new(struct afork_process *process, const char *function,
                     const struct afork_pool_options *core, struct afork_pool **ret)
{
    g_autoptr(GAforkPoolOptions) options = core ? pool_options(core) : NULL;
    GError *error = NULL;
    GAforkPool *object = gafork_pool_new(process->object, function, options, &error);

    gobject_n_made++;
    if (!object)
        return gobject_result(FALSE, error);
    struct afork_pool *self = g_new0(struct afork_pool, 1);
    callee_init(&self->callee, object, process->context);
    if (core)
        self->options = *core;
    g_signal_connect(object, "event", G_CALLBACK(on_event), self);
    g_signal_connect(object, "worker-started", G_CALLBACK(on_worker_started), self);
    g_signal_connect(object, "worker-exited", G_CALLBACK(on_worker_exited), self);
    g_signal_connect(object, "drain", G_CALLBACK(on_drain), self);
    g_signal_connect(object, "destroyed", G_CALLBACK(on_destroyed), self);
    *ret = self;
    return 0;
}

int gobject_pool_call(struct afork_pool *pool, const void *data, size_t len,
                      const struct afork_call_options *options, afork_call_cb *cb, void *cb_data,
                      struct afork_call **ret)
{
    return call_octets(&pool->callee, data, len, options, cb, cb_data, ret);
}

int gobject_pool_call_take(struct afork_pool *pool, const void *data, size_t len,
                           void (*release)(void *release_data), void *release_data,
                           const struct afork_call_options *options, afork_call_cb *cb,
                           void *cb_data, struct afork_call **ret)
{
    return call_take(&pool->callee, data, len, release, release_data, options, cb, cb_data, ret);
}

int gobject_pool_call_strings(struct afork_pool *pool, const struct iovec *strings, size_t n,
                              const struct afork_call_options *options, afork_call_cb *cb,
                              void *cb_data, struct afork_call **ret)
{
    return call_strings(&pool->callee, strings, n, options, cb, cb_data, ret);
}

static GAforkPool *pool_object(struct afork_pool *pool)
{
    return GAFORK_POOL(pool->callee.object);
}

int gobject_pool_set_size(struct afork_pool *pool, unsigned max, unsigned idle, unsigned load)
{
    GError *error = NULL;
    gboolean good = gafork_pool_set_size(pool_object(pool), max, idle, load, &error);

    return gobject_result(good, error);
}

int gobject_pool_retire(struct afork_pool *pool)
{
    GError *error = NULL;
    gboolean good = gafork_pool_retire(pool_object(pool), &error);

    return gobject_result(good, error);
}

int gobject_pool_reset(struct afork_pool *pool)
{
    GError *error = NULL;
    gboolean good = gafork_pool_reset(pool_object(pool), &error);

    return gobject_result(good, error);
}

int gobject_pool_get_stats(struct afork_pool *pool, struct afork_pool_stats *ret)
{
    GError *error = NULL;
    g_autoptr(GAforkPoolStats) stats = gafork_pool_get_stats(pool_object(pool), &error);

    if (stats)
        *ret = (struct afork_pool_stats){
            .workers = stats->workers,
            .busy = stats->busy,
            .queued = stats->queued,
            .running = stats->running,
            .completed = stats->completed,
            .failed = stats->failed,
            .timed_out = stats->timed_out,
            .cancelled = stats->cancelled,
            .retried = stats->retried,
            .started = stats->started,
            .crashed = stats->crashed,
            .retired = stats->retired,
            .broken = gafork_pool_get_broken(pool_object(pool)),
            .message = gafork_pool_get_failure(pool_object(pool)),
        };
    return gobject_result(stats != NULL, error);
}

/* The list is as it was at the last turn, which is now. */
int gobject_pool_each_worker(struct afork_pool *pool,
                             void (*cb)(struct afork_process *worker, size_t calls, void *data),
                             void *data)
{
    GListModel *workers = gafork_pool_get_workers(pool_object(pool));

    g_main_context_iteration(gafork_context_get_main_context(pool->callee.context->object), FALSE);
    for (guint i = 0; i < g_list_model_get_n_items(workers); i++) {
        g_autoptr(GAforkWorker) worker = g_list_model_get_item(workers, i);
        cb(&(struct afork_process){.worker = worker}, gafork_worker_get_calls(worker), data);
    }
    return 0;
}

void gobject_pool_cancel(struct afork_pool *pool)
{
    gafork_pool_cancel(pool_object(pool));
}

void gobject_pool_finish(struct afork_pool *pool)
{
    gafork_callable_finish(pool->callee.object);
}

struct afork_pool *gobject_pool_ref(struct afork_pool *pool)
{
    pool->callee.users++;
    return pool;
}

void gobject_pool_unref(struct afork_pool *pool)
{
    callee_drop((struct callee *)pool);
}

void gobject_pool_close(struct afork_pool *pool)
{
    callee_close((struct callee *)pool);
}
