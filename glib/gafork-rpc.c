/* SPDX-License-Identifier: MIT
 *
 * GAforkRpc: the core's rpc, as something that can be called.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-rpc.h"

#include <errno.h>

#include "gafork-call-private.h"

/**
 * GAforkRpc:
 *
 * One worker whose function is called again and again, by [iface@Afork.Callable].
 *
 * Calls are queued; the worker works on one after the other or, with
 * [property@Afork.RpcOptions:asynchronous], on all at once. When the worker ends, calls that it has
 * not answered fail, and so do those that come.
 *
 * When the last reference is gone, the worker ends; there are no calls under way then, which hold a
 * reference. It is not told of any more: who wants to hear of its end holds its process.
 *
 * Since: 0.1
 */

/* Open; ended, when the core has told so; closed: nothing comes from the core any more, of which
 * there is no `core` either. `link` is there as long as the core may tell something. */
struct _GAforkRpc {
    GObject parent_instance;

    struct gafork__caller caller;
    GAforkProcess *process;
    char *function;
    struct afork_rpc *core;
    struct rpc_link *link;
    char *end; /* ended: how, in words */
};

/* Outlives the object: the core tells the end, which the process is to hear of. */
struct rpc_link {
    struct gafork__link base;
    GWeakRef process;
};

enum { PROP_PROCESS = 1, PROP_FUNCTION, PROP_TIMEOUT };

static guint event_signal, ended_signal;

static void callable_init(GAforkCallableInterface *iface);

G_DEFINE_TYPE_WITH_CODE(GAforkRpc, gafork_rpc, G_TYPE_OBJECT,
                        G_IMPLEMENT_INTERFACE(GAFORK_TYPE_CALLABLE, callable_init))

/* --- What the core tells --- */

/* `end` is how the worker ended, where that is known. */
static void link_free(struct rpc_link *link, const struct afork_exit *end)
{
    g_autoptr(GAforkProcess) process = g_weak_ref_get(&link->process);
    GAforkRpc *self = link->base.object;

    if (self)
        self->link = NULL;
    g_weak_ref_clear(&link->process);
    g_free(link);
    if (process)
        gafork__process_give_back(process, end);
}

/* The context was closed, which its processes are told by itself. */
static void on_closed(struct gafork__link *link)
{
    link_free((struct rpc_link *)link, NULL);
}

static void on_event(G_GNUC_UNUSED struct afork_rpc *core, const struct afork_event *event,
                     void *data)
{
    struct rpc_link *link = data;

    if (!link->base.object)
        return;
    g_autoptr(GAforkRpc) self = g_object_ref(link->base.object);
    g_autoptr(GBytes) octets = g_bytes_new(event->data, event->len);
    g_autoptr(GUnixFDList) fd_list = gafork__fd_list_new(event->fds, event->n_fds);
    g_signal_emit(self, event_signal, 0, octets, fd_list);
}

static void on_end(G_GNUC_UNUSED struct afork_rpc *core, int error, const char *message,
                   const struct afork_exit *exit, void *data)
{
    struct rpc_link *link = data;
    g_autoptr(GAforkRpc) self = link->base.object ? g_object_ref(link->base.object) : NULL;
    g_autoptr(GError) told = error ? gafork__reply_error_new(error, message, exit) : NULL;
    g_autoptr(GAforkExit) end = exit ? gafork__exit_new(exit) : NULL;

    if (self) {
        self->link = NULL;
        self->end = g_strdup(told ? told->message : "it was told to finish");
    }
    link->base.object = NULL;
    gafork__context_unlink(&link->base);
    link_free(link, exit);
    if (self && self->core)
        g_signal_emit(self, ended_signal, 0, told, end);
}

/* --- The end --- */

static void let_go(GAforkRpc *self)
{
    if (self->link)
        self->link->base.object = NULL; /* the core still tells the process's end */
    self->link = NULL;
    afork_rpc_unref(g_steal_pointer(&self->core));
}

static void rpc_close(GAforkCallable *callable)
{
    GAforkRpc *self = GAFORK_RPC(callable);
    struct rpc_link *link = g_steal_pointer(&self->link);

    if (!self->core)
        return;
    struct afork_rpc *core = g_steal_pointer(&self->core);
    afork_rpc_close(core);
    afork_rpc_unref(core);
    if (!link)
        return;
    link->base.object = NULL;
    gafork__context_unlink(&link->base);
    link_free(link, NULL);
}

static void rpc_finish(GAforkCallable *callable)
{
    afork_rpc_finish(GAFORK_RPC(callable)->core);
}

static void gafork_rpc_dispose(GObject *object)
{
    GAforkRpc *self = GAFORK_RPC(object);

    if (self->core) {
        if (!gafork__context_enter(self->caller.context, object))
            return;
        if (afork_rpc_get_pending(self->core)) /* they hold references: this is not the last one */
            rpc_close(GAFORK_CALLABLE(self));
        else
            let_go(self);
        gafork__context_leave(self->caller.context);
    }
    G_OBJECT_CLASS(gafork_rpc_parent_class)->dispose(object);
}

static void gafork_rpc_finalize(GObject *object)
{
    GAforkRpc *self = GAFORK_RPC(object);

    g_free(self->function);
    g_free(self->end);
    g_clear_object(&self->process);
    g_clear_object(&self->caller.context);
    G_OBJECT_CLASS(gafork_rpc_parent_class)->finalize(object);
}

/* --- Calls --- */

static struct gafork__caller *rpc_get_caller(GAforkCallable *callable)
{
    return &GAFORK_RPC(callable)->caller;
}

static int rpc_call(GAforkCallable *callable, const struct gafork__arguments *arguments,
                    const struct afork_call_options *options, afork_call_cb *cb, void *data,
                    struct afork_call **ret)
{
    struct afork_rpc *core = GAFORK_RPC(callable)->core;

    if (!core)
        return -ESHUTDOWN;
    if (arguments->strings)
        return afork_rpc_call_strings(core, arguments->strings, arguments->n_strings, options, cb,
                                      data, ret);
    if (arguments->release)
        return afork_rpc_call_take(core, arguments->data, arguments->len, arguments->release,
                                   arguments->release_data, options, cb, data, ret);
    return afork_rpc_call(core, arguments->data, arguments->len, options, cb, data, ret);
}

static gboolean rpc_check(GAforkCallable *callable, int result, GError **error)
{
    GAforkRpc *self = GAFORK_RPC(callable);

    if (result != -EPIPE)
        return gafork__check(result, error);
    if (self->end)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE, "the worker has ended: %s",
                    self->end);
    else
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE,
                            "the worker was told to finish, or is about to end");
    return FALSE;
}

static guint rpc_get_pending(GAforkCallable *callable)
{
    return (guint)afork_rpc_get_pending(GAFORK_RPC(callable)->core);
}

static void callable_init(GAforkCallableInterface *iface)
{
    iface->get_caller = rpc_get_caller;
    iface->call = rpc_call;
    iface->check = rpc_check;
    iface->get_pending = rpc_get_pending;
    iface->finish = rpc_finish;
    iface->close = rpc_close;
}

/* --- Public calls --- */

gboolean gafork__check_serialiser(GAforkSerialiser serialiser, const struct afork_rpc_options *core,
                                  GError **error)
{
    if (serialiser != GAFORK_SERIALISER_CUSTOM || core->serialiser)
        return TRUE;
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "a custom serialiser needs its code");
    return FALSE;
}

/**
 * gafork_rpc_new:
 * @process: a process that was not told to run
 * @function: a Perl function, looked up in package `main` unless it is qualified
 * @options: (nullable): what the worker is to be like, or %NULL for the defaults
 * @error: return location for an error
 *
 * Tells @process to run: later commands to it fail. Arguments that it was sent go to
 * [property@Afork.RpcOptions:init]. That the function does not exist, or the worker cannot start,
 * is the error of calls, and of [signal@Afork.Rpc::ended].
 *
 * Returns: (transfer full): a new object, or %NULL with @error set
 *
 * Since: 0.1
 */
GAforkRpc *gafork_rpc_new(GAforkProcess *process, const char *function, GAforkRpcOptions *options,
                          GError **error)
{
    struct afork_rpc_options core_options = AFORK_RPC_OPTIONS_INIT;
    struct afork_rpc *core;

    g_return_val_if_fail(GAFORK_IS_PROCESS(process), NULL);
    g_return_val_if_fail(function != NULL, NULL);
    g_return_val_if_fail(!options || GAFORK_IS_RPC_OPTIONS(options), NULL);
    GAforkSerialiser serialiser = gafork__rpc_options_fill(options, &core_options);
    if (!gafork__check_serialiser(serialiser, &core_options, error))
        return NULL;
    g_autofree struct rpc_link *link = g_new0(struct rpc_link, 1);
    core_options.on_event = on_event;
    core_options.on_end = on_end;
    core_options.data = link;
    int result = afork_rpc_new(gafork__process_get_core(process), function, &core_options, &core);
    if (!gafork__process_check(process, result, error))
        return NULL;

    GAforkRpc *self = g_object_new(GAFORK_TYPE_RPC, NULL);
    self->core = core;
    self->process = g_object_ref(process);
    self->function = g_strdup(function);
    self->caller.context = g_object_ref(gafork_process_get_context(process));
    self->caller.serialiser = serialiser;
    self->link = g_steal_pointer(&link);
    self->link->base.object = self;
    self->link->base.closed = on_closed;
    g_weak_ref_init(&self->link->process, process);
    gafork__context_link(self->caller.context, &self->link->base);
    gafork__process_lend(process);
    return self;
}

/**
 * gafork_rpc_get_process:
 * @self: an rpc
 *
 * The worker's process: for its pid, its end, and to kill it.
 *
 * Returns: (transfer none): the process
 *
 * Since: 0.1
 */
GAforkProcess *gafork_rpc_get_process(GAforkRpc *self)
{
    g_return_val_if_fail(GAFORK_IS_RPC(self), NULL);
    return self->process;
}

/**
 * gafork_rpc_get_function:
 * @self: an rpc
 *
 * The function that is called.
 *
 * Returns: (transfer none): its name
 *
 * Since: 0.1
 */
const char *gafork_rpc_get_function(GAforkRpc *self)
{
    g_return_val_if_fail(GAFORK_IS_RPC(self), NULL);
    return self->function;
}

/* --- GObject --- */

static void gafork_rpc_set_property(GObject *object, guint id, const GValue *value,
                                    GParamSpec *pspec)
{
    if (id == PROP_TIMEOUT)
        GAFORK_RPC(object)->caller.timeout = g_value_get_int64(value);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
}

static void gafork_rpc_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    GAforkRpc *self = GAFORK_RPC(object);

    switch (id) {
    case PROP_PROCESS:
        g_value_set_object(value, self->process);
        break;
    case PROP_FUNCTION:
        g_value_set_string(value, self->function);
        break;
    case PROP_TIMEOUT:
        g_value_set_int64(value, self->caller.timeout);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void gafork_rpc_init(G_GNUC_UNUSED GAforkRpc *self)
{
}

static void install_signals(void)
{
    /**
     * GAforkRpc::event:
     * @self: the rpc
     * @octets: what `AFork::RPC::event` was given, as the serialiser packed it; see
     *   [func@Afork.bytes_to_strv] and [func@Afork.bytes_to_variant]
     * @fd_list: (nullable): descriptors that were among it
     *
     * The worker tells something apart from any call, or during one whose options nobody listens
     * to, or which has returned already.
     *
     * Since: 0.1
     */
    event_signal = g_signal_new("event", GAFORK_TYPE_RPC, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                G_TYPE_NONE, 2, G_TYPE_BYTES, G_TYPE_UNIX_FD_LIST);

    /**
     * GAforkRpc::ended:
     * @self: the rpc
     * @error: (nullable): what went wrong; %NULL if it was told to by
     *   [method@Afork.Callable.finish], with nothing left to answer
     * @exit: (nullable): how the worker ended; %NULL if that is not known yet
     *
     * The worker has ended, or its connection has. Emitted once, after all calls have returned.
     *
     * Since: 0.1
     */
    ended_signal = g_signal_new("ended", GAFORK_TYPE_RPC, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                G_TYPE_NONE, 2, G_TYPE_ERROR, GAFORK_TYPE_EXIT);
}

static void gafork_rpc_class_init(GAforkRpcClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    const GParamFlags told = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

    object_class->set_property = gafork_rpc_set_property;
    object_class->get_property = gafork_rpc_get_property;
    object_class->dispose = gafork_rpc_dispose;
    object_class->finalize = gafork_rpc_finalize;

    /**
     * GAforkRpc:process: (getter get_process)
     *
     * The worker's process.
     *
     * Since: 0.1
     */
    g_object_class_install_property(
        object_class, PROP_PROCESS,
        g_param_spec_object("process", NULL, NULL, GAFORK_TYPE_PROCESS, told));

    /**
     * GAforkRpc:function: (getter get_function)
     *
     * The function that is called.
     *
     * Since: 0.1
     */
    g_object_class_install_property(object_class, PROP_FUNCTION,
                                    g_param_spec_string("function", NULL, NULL, NULL, told));
    g_object_class_override_property(object_class, PROP_TIMEOUT, "timeout");
    install_signals();
}
