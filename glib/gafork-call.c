/* SPDX-License-Identifier: MIT
 *
 * GAforkCallable: calls as tasks, whoever carries them. Who does is behind the interface, which
 * only the classes of this library implement.
 */
#define AFORK_GLIB_COMPILATION

#include <errno.h>
#include <stdlib.h>

#include "gafork-call-private.h"

/**
 * GAforkCallable:
 *
 * What Perl functions can be called by: an [class@Afork.Rpc] with one worker, or an
 * [class@Afork.Pool] with many. Other classes cannot implement it.
 *
 * A call is queued and never blocks. It comes in several forms, by what arguments and results are:
 * octets as the serialiser has them, strings, or variants. Whatever happens, it returns once, in
 * the main context of the process's context. A call under way holds what was called.
 *
 * If the cancellable is cancelled, the call returns at once. A worker that has it already goes on,
 * and its answer is dropped, unless [property@Afork.CallOptions:cancel-mode] says otherwise.
 *
 * Errors of a call are, besides those of [error@Afork.Error], %G_IO_ERROR_TIMED_OUT,
 * %G_IO_ERROR_CANCELLED, %G_IO_ERROR_CLOSED if the object, its process or its context was closed,
 * %G_IO_ERROR_BROKEN_PIPE if no more calls are taken, %G_IO_ERROR_NO_SPACE if the queue is full,
 * %G_IO_ERROR_MESSAGE_TOO_LARGE for 4 GiB and more, and %G_IO_ERROR_NOT_SUPPORTED for what frames,
 * peer or serialiser cannot do.
 *
 * Since: 0.1
 */
G_DEFINE_INTERFACE(GAforkCallable, gafork_callable, G_TYPE_OBJECT)

enum form { BYTES, FDS, STRV, VARIANT };

/* Octets from which on sharing them beats a copy. */
enum { TAKE_OCTETS = 16384 };

/* A call that the core has. It holds the object that is called by its task.
 *
 * The task knows nothing of the cancellable: one that is cancelled would return later than the core
 * completes its call, and so after the end of what was called. */
struct call {
    GTask *task; /* NULL once it has returned */
    enum form form;
    GAforkSerialiser serialiser;
    GVariantType *result_type;  /* NULL: whatever it is */
    GAforkCallOptions *options; /* may be NULL */
    struct watch *watch;        /* NULL: cannot be cancelled (any more) */
    gboolean cancelled;         /* by that; the core is about to complete it */
    GList
        link; /* in the list of the options; the data are the core's call, NULL before and after */
};

/* Waits for a cancellation, which may come in any thread. There may be thousands of calls: a source
 * for each would cost something at each turn of the loop, so that one is made only then. */
struct watch {
    gatomicrefcount refs; /* the call's, the signal's, the source's */
    GMainContext *main_context;
    int priority;
    GCancellable *cancellable;
    gulong handler;
    struct call *call; /* for its thread alone; NULL: it is not interested any more */
};

/* What a task has apart from its result. */
struct extra {
    GBytes *exception;
    GAforkExit *exit;
    GUnixFDList *fd_list;
};

static void extra_free(gpointer data)
{
    struct extra *extra = data;

    g_clear_pointer(&extra->exception, g_bytes_unref);
    g_clear_pointer(&extra->exit, gafork_exit_unref);
    g_clear_object(&extra->fd_list);
    g_free(extra);
}

static struct extra *need_extra(GTask *task)
{
    struct extra *extra = g_task_get_task_data(task);

    if (!extra) {
        extra = g_new0(struct extra, 1);
        g_task_set_task_data(task, extra, extra_free);
    }
    return extra;
}

static void changed(GTask *task)
{
    GAforkCallable *self = g_task_get_source_object(task);
    GAforkCallableInterface *iface = GAFORK_CALLABLE_GET_IFACE(self);

    if (iface->changed)
        iface->changed(self);
}

/* --- Cancelling --- */

static void watch_unref(gpointer data)
{
    struct watch *watch = data;

    if (!g_atomic_ref_count_dec(&watch->refs))
        return;
    g_main_context_unref(watch->main_context);
    g_free(watch);
}

static void watch_closure_unref(gpointer watch, G_GNUC_UNUSED GClosure *closure)
{
    watch_unref(watch);
}

static void unwatch(struct call *call)
{
    struct watch *watch = g_steal_pointer(&call->watch);

    if (!watch)
        return;
    watch->call = NULL;
    /* Not g_cancellable_disconnect(), which must not be called from handlers of that signal. */
    g_signal_handler_disconnect(watch->cancellable, watch->handler);
    g_object_unref(watch->cancellable);
    watch_unref(watch);
}

static gboolean cancel_call(gpointer data)
{
    struct call *call = ((struct watch *)data)->call;

    if (!call)
        return G_SOURCE_REMOVE;
    unwatch(call);
    call->cancelled = gafork__call_options_cancel(call->options, call->link.data);
    changed(call->task);
    return G_SOURCE_REMOVE;
}

/* In whichever thread. */
static void on_cancelled(G_GNUC_UNUSED GCancellable *cancellable, gpointer data)
{
    struct watch *watch = data;
    g_autoptr(GSource) source = g_idle_source_new();

    g_atomic_ref_count_inc(&watch->refs);
    g_source_set_callback(source, cancel_call, watch, watch_unref);
    g_source_set_priority(source, watch->priority);
    g_source_attach(source, watch->main_context);
}

static void watch(struct call *call, GCancellable *cancellable)
{
    if (!cancellable)
        return;
    struct watch *made = g_new(struct watch, 1);
    *made = (struct watch){
        .main_context = g_main_context_ref(g_task_get_context(call->task)),
        .priority = g_task_get_priority(call->task),
        .cancellable = g_object_ref(cancellable),
        .call = call,
    };
    g_atomic_ref_count_init(&made->refs);
    g_atomic_ref_count_inc(&made->refs);
    call->watch = made;
    made->handler = g_signal_connect_data(cancellable, "cancelled", G_CALLBACK(on_cancelled), made,
                                          watch_closure_unref, 0);
    if (g_cancellable_is_cancelled(cancellable)) /* perhaps before there was a handler */
        on_cancelled(cancellable, made);
}

/* --- Replies --- */

static void return_variant(GTask *task, const struct call *call, const struct afork_reply *reply)
{
    GError *error = NULL;
    GVariant *result = gafork__octets_to_variant(reply->data, reply->len, call->serialiser,
                                                 call->result_type, &error);

    if (result)
        g_task_return_pointer(task, result, (GDestroyNotify)g_variant_unref);
    else
        g_task_return_error(task, error);
}

static void return_strv(GTask *task, const struct afork_reply *reply)
{
    GError *error = NULL;
    char **result = gafork__octets_to_strv(reply->data, reply->len, &error);

    if (result)
        g_task_return_pointer(task, result, (GDestroyNotify)g_strfreev);
    else
        g_task_return_error(task, error);
}

static void return_error(GTask *task, const struct afork_reply *reply)
{
    GAforkCallable *self = g_task_get_source_object(task);
    GAforkCallableInterface *iface = GAFORK_CALLABLE_GET_IFACE(self);

    if (reply->error == -EREMOTEIO && reply->data)
        need_extra(task)->exception = g_bytes_new(reply->data, reply->len);
    if (reply->exit)
        need_extra(task)->exit = gafork__exit_new(reply->exit);
    g_task_return_error(task,
                        reply->error == -EIO && iface->broke
                            ? iface->broke(self, reply->message)
                            : gafork__reply_error_new(reply->error, reply->message, reply->exit));
}

static GBytes *take_bytes(const struct afork_reply *reply)
{
    void *octets = reply->len >= TAKE_OCTETS ? afork_reply_steal(reply) : NULL;

    return octets ? g_bytes_new_with_free_func(octets, reply->len, free, octets)
                  : g_bytes_new(reply->data, reply->len);
}

static void on_reply(const struct afork_reply *reply, void *data)
{
    struct call *call = data;
    g_autoptr(GTask) task = g_steal_pointer(&call->task);

    if (call->watch && g_cancellable_is_cancelled(call->watch->cancellable) &&
        gafork__call_options_get_cancel_mode(call->options) != AFORK_CANCEL_QUEUED)
        call->cancelled = TRUE;
    unwatch(call);
    changed(task);
    if (call->cancelled) {
        gafork__task_return_cancelled(task);
    } else if (reply->error) {
        return_error(task, reply);
    } else if (call->form == VARIANT) {
        return_variant(task, call, reply);
    } else if (call->form == STRV) {
        return_strv(task, reply);
    } else {
        if (call->form == FDS && reply->n_fds)
            need_extra(task)->fd_list = gafork__fd_list_new(reply->fds, reply->n_fds);
        g_task_return_pointer(task, take_bytes(reply), (GDestroyNotify)g_bytes_unref);
    }
}

static void on_event(const struct afork_event *event, void *data)
{
    struct call *call = data;

    gafork__call_options_emit_event(call->options, event);
}

static void on_begin(void *data)
{
    struct call *call = data;

    gafork__call_options_emit_begun(call->options);
}

/* The core has let go of it, with or without a reply. */
static void on_release(void *data)
{
    struct call *call = data;

    unwatch(call);
    if (call->task)
        gafork__task_return_closed(g_steal_pointer(&call->task));
    if (call->options && call->link.data)
        gafork__call_options_remove(call->options, &call->link);
    g_clear_object(&call->options);
    g_variant_type_free(call->result_type);
    g_free(call);
}

/* --- Calls --- */

static struct gafork__caller *caller_of(GAforkCallable *self)
{
    return GAFORK_CALLABLE_GET_IFACE(self)->get_caller(self);
}

/* NULL if it was cancelled before it began, which it returns with. */
static GTask *make_task(GAforkCallable *self, GCancellable *cancellable,
                        GAsyncReadyCallback callback, gpointer user_data, gpointer tag)
{
    g_autoptr(GTask)
        task = gafork__task_new(caller_of(self)->context, self, NULL, callback, user_data, tag);

    if (!g_cancellable_is_cancelled(cancellable))
        return g_steal_pointer(&task);
    gafork__task_return_cancelled(task);
    return NULL;
}

/* Gives the core a call. The task is taken, as are arguments that are to be; what the others are
 * made of is only needed until this returns. */
static void start(GTask *task, enum form form, struct gafork__arguments *arguments,
                  GAforkCallOptions *options, GCancellable *cancellable)
{
    g_autoptr(GTask) taken = task;
    GAforkCallable *self = g_task_get_source_object(task);
    GAforkCallableInterface *iface = GAFORK_CALLABLE_GET_IFACE(self);
    struct gafork__caller *caller = caller_of(self);
    struct afork_call_options core = AFORK_CALL_OPTIONS_INIT;
    struct call *call = g_new0(struct call, 1);
    struct afork_call *made;
    GError *error = NULL;

    *call = (struct call){.form = form, .serialiser = caller->serialiser};
    gafork__call_options_fill(options, caller, &core);
    core.on_event = gafork__call_options_has_listener(options) ? on_event : NULL;
    core.on_begin = gafork__call_options_has_begun_listener(options) ? on_begin : NULL;
    core.release = on_release;
    int result = iface->call(self, arguments, &core, on_reply, call, &made);
    if (result < 0) {
        g_free(call);
        if (arguments->release)
            arguments->release(arguments->release_data);
        iface->check(self, result, &error);
        g_task_return_error(taken, error);
        return;
    }
    call->link.data = made;
    if (options) {
        const GVariantType *type = gafork__call_options_get_result_type(options);
        call->result_type = type ? g_variant_type_copy(type) : NULL;
        call->options = g_object_ref(options);
        gafork__call_options_add(options, &call->link);
    }
    call->task = g_steal_pointer(&taken);
    watch(call, cancellable);
    changed(task);
}

static void start_bytes(GTask *task, enum form form, GBytes *octets, GAforkCallOptions *options,
                        GCancellable *cancellable)
{
    struct gafork__arguments arguments = {0};

    arguments.data = g_bytes_get_data(octets, &arguments.len);
    if (arguments.len >= TAKE_OCTETS) {
        arguments.release = (GDestroyNotify)g_bytes_unref;
        arguments.release_data = g_bytes_ref(octets);
    }
    start(task, form, &arguments, options, cancellable);
}

/**
 * gafork_callable_call_bytes_async:
 * @self: what is called
 * @arguments: the arguments, as the serialiser packs them
 * @options: (nullable): how, or %NULL for the defaults
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): called when there is a result, or will be none
 * @user_data: data for @callback
 *
 * Calls the function with octets, for any serialiser; [func@Afork.strv_to_bytes] and
 * [func@Afork.variant_to_bytes] make those of the ones that are known on this side.
 *
 * Since: 0.1
 */
void gafork_callable_call_bytes_async(GAforkCallable *self, GBytes *arguments,
                                      GAforkCallOptions *options, GCancellable *cancellable,
                                      GAsyncReadyCallback callback, gpointer user_data)
{
    g_return_if_fail(GAFORK_IS_CALLABLE(self));
    g_return_if_fail(arguments != NULL);
    GTask *task = make_task(self, cancellable, callback, user_data,
                            gafork_callable_call_bytes_async);
    if (task)
        start_bytes(task, BYTES, arguments, options, cancellable);
}

/**
 * gafork_callable_call_bytes_finish:
 * @self: what was called
 * @result: what the callback was given
 * @error: return location for an error
 *
 * The results.
 *
 * Returns: (transfer full): the results, as the serialiser packed them, or %NULL with @error set
 *
 * Since: 0.1
 */
GBytes *gafork_callable_call_bytes_finish(GAforkCallable *self, GAsyncResult *result,
                                          GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), NULL);
    g_return_val_if_fail(g_async_result_is_tagged(result, gafork_callable_call_bytes_async), NULL);
    return g_task_propagate_pointer(G_TASK(result), error);
}

/**
 * gafork_callable_call_fds_async:
 * @self: what is called
 * @arguments: the arguments, as the serialiser packs them
 * @options: (nullable): how, or %NULL for the defaults
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): called when there is a result, or will be none
 * @user_data: data for @callback
 *
 * The same as [method@Afork.Callable.call_bytes_async], for functions that return descriptors. All
 * forms of a call can pass descriptors to the function: [property@Afork.CallOptions:fd-list].
 *
 * Since: 0.1
 */
void gafork_callable_call_fds_async(GAforkCallable *self, GBytes *arguments,
                                    GAforkCallOptions *options, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data)
{
    g_return_if_fail(GAFORK_IS_CALLABLE(self));
    g_return_if_fail(arguments != NULL);
    GTask *task = make_task(self, cancellable, callback, user_data, gafork_callable_call_fds_async);
    if (task)
        start_bytes(task, FDS, arguments, options, cancellable);
}

/**
 * gafork_callable_call_fds_finish:
 * @self: what was called
 * @result: what the callback was given
 * @fd_list: (out) (optional) (nullable) (transfer full): the descriptors among the results; %NULL
 *   if there are none
 * @error: return location for an error
 *
 * The results.
 *
 * Returns: (transfer full): the results, as the serialiser packed them, or %NULL with @error set
 *
 * Since: 0.1
 */
GBytes *gafork_callable_call_fds_finish(GAforkCallable *self, GAsyncResult *result,
                                        GUnixFDList **fd_list, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), NULL);
    g_return_val_if_fail(g_async_result_is_tagged(result, gafork_callable_call_fds_async), NULL);
    struct extra *extra = g_task_get_task_data(G_TASK(result));
    GBytes *octets = g_task_propagate_pointer(G_TASK(result), error);
    if (fd_list)
        *fd_list = octets && extra ? g_steal_pointer(&extra->fd_list) : NULL;
    return octets;
}

static void start_strv(GTask *task, const char *const *arguments, GAforkCallOptions *options,
                       GCancellable *cancellable)
{
    struct gafork__arguments packed = {0};

    if (caller_of(g_task_get_source_object(task))->serialiser != GAFORK_SERIALISER_OCTETS) {
        g_task_return_new_error(task, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                                "a list of strings needs the octet serialiser");
        g_object_unref(task);
        return;
    }
    g_autofree struct iovec *strings = gafork__strv_to_iovec(arguments, &packed.n_strings);
    packed.strings = strings;
    start(task, STRV, &packed, options, cancellable);
}

/**
 * gafork_callable_call_strv_async:
 * @self: what is called, with %GAFORK_SERIALISER_OCTETS
 * @arguments: (array zero-terminated=1): the arguments
 * @options: (nullable): how, or %NULL for the defaults
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): called when there is a result, or will be none
 * @user_data: data for @callback
 *
 * Calls the function with strings. Perl gets their octets: non-ASCII text is UTF-8 that was not
 * decoded.
 *
 * Since: 0.1
 */
void gafork_callable_call_strv_async(GAforkCallable *self, const char *const *arguments,
                                     GAforkCallOptions *options, GCancellable *cancellable,
                                     GAsyncReadyCallback callback, gpointer user_data)
{
    g_return_if_fail(GAFORK_IS_CALLABLE(self));
    g_return_if_fail(arguments != NULL);
    GTask *task = make_task(self, cancellable, callback, user_data,
                            gafork_callable_call_strv_async);
    if (task)
        start_strv(task, arguments, options, cancellable);
}

/**
 * gafork_callable_call_strv_finish:
 * @self: what was called
 * @result: what the callback was given
 * @error: return location for an error
 *
 * The results.
 *
 * Returns: (transfer full) (array zero-terminated=1): the results, or %NULL with @error set:
 *   %G_IO_ERROR_INVALID_DATA if one is not UTF-8, or has a NUL
 *
 * Since: 0.1
 */
char **gafork_callable_call_strv_finish(GAforkCallable *self, GAsyncResult *result, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), NULL);
    g_return_val_if_fail(g_async_result_is_tagged(result, gafork_callable_call_strv_async), NULL);
    return g_task_propagate_pointer(G_TASK(result), error);
}

static void start_variant(GTask *task, GVariant *values, GAforkCallOptions *options,
                          GCancellable *cancellable)
{
    GAforkSerialiser serialiser = caller_of(g_task_get_source_object(task))->serialiser;
    struct gafork__arguments packed = {0};
    g_autofree struct iovec *strings = NULL;
    GError *error = NULL;

    if (serialiser == GAFORK_SERIALISER_JSON) {
        packed.data = gafork__variant_to_json(values, &packed.len, &error);
        packed.release = g_free;
        packed.release_data = (void *)packed.data;
    } else if (serialiser == GAFORK_SERIALISER_OCTETS) {
        packed.strings = strings = gafork__variant_to_iovec(values, &packed.n_strings, &error);
    } else {
        error = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                                    "variants need the serialiser of JSON or of octets");
    }
    if (!error) {
        start(task, VARIANT, &packed, options, cancellable);
        return;
    }
    g_task_return_error(task, error);
    g_object_unref(task);
}

/**
 * gafork_callable_call_variant_async:
 * @self: what is called, with %GAFORK_SERIALISER_JSON or %GAFORK_SERIALISER_OCTETS
 * @arguments: a tuple or an array of the arguments; a floating one is consumed
 * @options: (nullable): how, or %NULL for the defaults
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): called when there is a result, or will be none
 * @user_data: data for @callback
 *
 * Calls the function with values, as [func@Afork.variant_to_bytes] packs them.
 *
 * Since: 0.1
 */
void gafork_callable_call_variant_async(GAforkCallable *self, GVariant *arguments,
                                        GAforkCallOptions *options, GCancellable *cancellable,
                                        GAsyncReadyCallback callback, gpointer user_data)
{
    g_return_if_fail(GAFORK_IS_CALLABLE(self));
    g_return_if_fail(arguments != NULL);
    g_autoptr(GVariant) values = g_variant_ref_sink(arguments);
    GTask *task = make_task(self, cancellable, callback, user_data,
                            gafork_callable_call_variant_async);
    if (task)
        start_variant(task, values, options, cancellable);
}

/**
 * gafork_callable_call_variant_finish:
 * @self: what was called
 * @result: what the callback was given
 * @error: return location for an error
 *
 * The results: of [property@Afork.CallOptions:result-type] or, without one, as
 * [func@Afork.bytes_to_variant] finds them.
 *
 * Returns: (transfer full): the list of results, or %NULL with @error set: %G_IO_ERROR_INVALID_DATA
 *   if they are no such variant
 *
 * Since: 0.1
 */
GVariant *gafork_callable_call_variant_finish(GAforkCallable *self, GAsyncResult *result,
                                              GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), NULL);
    g_return_val_if_fail(g_async_result_is_tagged(result, gafork_callable_call_variant_async),
                         NULL);
    return g_task_propagate_pointer(G_TASK(result), error);
}

/* Other tasks of the same object have other data. */
static gboolean is_call(GAsyncResult *result)
{
    return g_async_result_is_tagged(result, gafork_callable_call_bytes_async) ||
           g_async_result_is_tagged(result, gafork_callable_call_fds_async) ||
           g_async_result_is_tagged(result, gafork_callable_call_strv_async) ||
           g_async_result_is_tagged(result, gafork_callable_call_variant_async);
}

/**
 * gafork_call_get_exception:
 * @result: what the callback of a call was given
 *
 * What a function died with, where that was more than a text and the serialiser could carry it; the
 * error is %GAFORK_ERROR_DIED then.
 *
 * Returns: (transfer full) (nullable): the exception, as the serialiser packed it, or %NULL
 *
 * Since: 0.1
 */
GBytes *gafork_call_get_exception(GAsyncResult *result)
{
    g_return_val_if_fail(is_call(result), NULL);
    struct extra *extra = g_task_get_task_data(G_TASK(result));
    return extra && extra->exception ? g_bytes_ref(extra->exception) : NULL;
}

/**
 * gafork_call_get_exit:
 * @result: what the callback of a call was given
 *
 * How the worker ended, where that is why a call failed.
 *
 * Returns: (transfer full) (nullable): the end, or %NULL if there is another reason, or it is not
 *   known
 *
 * Since: 0.1
 */
GAforkExit *gafork_call_get_exit(GAsyncResult *result)
{
    g_return_val_if_fail(is_call(result), NULL);
    struct extra *extra = g_task_get_task_data(G_TASK(result));
    return extra && extra->exit ? gafork_exit_ref(extra->exit) : NULL;
}

/* --- The object that is called --- */

/**
 * gafork_callable_get_pending:
 * @self: what is called
 *
 * Counts the calls that a worker has, or will be given.
 *
 * Returns: the number of calls
 *
 * Since: 0.1
 */
guint gafork_callable_get_pending(GAforkCallable *self)
{
    g_return_val_if_fail(GAFORK_IS_CALLABLE(self), 0);
    return GAFORK_CALLABLE_GET_IFACE(self)->get_pending(self);
}

/**
 * gafork_callable_finish:
 * @self: what is called
 *
 * Takes no more calls: those that come fail with %G_IO_ERROR_BROKEN_PIPE. Those that were made are
 * answered; then workers end. So does whoever releases the last reference.
 *
 * Since: 0.1
 */
void gafork_callable_finish(GAforkCallable *self)
{
    g_return_if_fail(GAFORK_IS_CALLABLE(self));
    GAFORK_CALLABLE_GET_IFACE(self)->finish(self);
}

/**
 * gafork_callable_close:
 * @self: what is called
 *
 * The end at once: calls that are under way return with %G_IO_ERROR_CLOSED on a later turn, others
 * at once, and no signal but notifications is emitted any more. The worker of an [class@Afork.Rpc]
 * ends when it finds its connection closed; those of an [class@Afork.Pool] are killed. A second
 * call does nothing.
 *
 * Since: 0.1
 */
void gafork_callable_close(GAforkCallable *self)
{
    g_return_if_fail(GAFORK_IS_CALLABLE(self));
    GAFORK_CALLABLE_GET_IFACE(self)->close(self);
}

static void gafork_callable_default_init(GAforkCallableInterface *iface)
{
    /**
     * GAforkCallable:timeout:
     *
     * Microseconds until a call must have returned, for calls whose
     * [property@Afork.CallOptions:timeout] does not say it. 0, the default: no limit.
     *
     * Since: 0.1
     */
    g_object_interface_install_property(
        iface, g_param_spec_int64("timeout", NULL, NULL, 0, G_MAXINT64 / 4, 0,
                                  G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS));
}
