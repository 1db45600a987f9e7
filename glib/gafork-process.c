/* SPDX-License-Identifier: MIT
 *
 * GAforkProcess: the core's handle on a process, with GErrors, tasks and signals. What is said to
 * the process goes to the core as it is; what comes back is told here.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-process.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "gafork-private.h"

/**
 * GAforkProcess:
 *
 * The handle on one Perl process.
 *
 * It starts as a *server* that obeys commands: load this module, evaluate that code, keep this
 * string or descriptor as an argument, fork. It becomes a *worker* when it is told to run a
 * function, which then owns it: the function is called with a socket, the other end of a
 * [class@Gio.SocketConnection], followed by all arguments that were sent. A server kept in order to
 * be forked is a *template*.
 *
 * Commands are queued, in order, and never block. They return an error for what the call itself
 * could not do; what goes wrong in the Perl process later is told by
 * [method@Afork.Process.run_finish] and [property@Afork.Process:exit].
 *
 * The handle is not the process. When the last reference is gone, a server that was not told to run
 * still gets what was queued, forks included, and ends then; a worker is left alone. Neither is
 * told of any more: who wants to hear of the end holds the process, or waits with
 * [method@Afork.Process.wait_async], which holds it. [method@Afork.Process.close] is for those who
 * want an end at once.
 *
 * Objects are made by the constructors alone. A process belongs to the thread of its context.
 *
 * Since: 0.1
 */

/* States: a server, until run; then told to run, and either entered or failed, which the core
 * knows; ended, when `exit` is there. Independent of these, closed: nothing comes from the core any
 * more.
 *
 * The core has a pointer to this object, for the end, without a reference: let_go() takes it back. */
struct _GAforkProcess {
    GObject parent_instance;

    GAforkContext *context;
    struct afork_process *core; /* NULL once closed, or if no constructor made the object */
    gboolean told_to_run, closed;
    gboolean lent;     /* somebody else has the core's callback, and tells the end */
    int pid, peer_pid; /* as the properties last told */
    GAforkExit *exit;  /* NULL before the end */
    struct run *run;   /* under way, or NULL */
    GList *waits;      /* tasks, a reference each */
};

/* A run that the core has yet to call back for. It holds the process, also after it was cancelled:
 * then the connection that comes is closed. */
struct run {
    GAforkProcess *process;
    GTask *task; /* NULL once it was cancelled */
    void (*return_fd)(GTask *task, int fd);
    GSource *cancelled;
};

enum { PROP_CONTEXT = 1, PROP_PID, PROP_PEER_PID, PROP_EXIT, N_PROPS };

static GParamSpec *props[N_PROPS];
static guint exited_signal;

G_DEFINE_TYPE(GAforkProcess, gafork_process, G_TYPE_OBJECT)

/* --- What the core tells --- */

gboolean gafork__process_has_pid(GAforkProcess *self)
{
    return afork_process_peer_pid(self->core) != 0;
}

void gafork__process_update_pids(GAforkProcess *self)
{
    int pid = self->closed ? 0 : (int)afork_process_pid(self->core);
    int peer_pid = self->closed ? 0 : (int)afork_process_peer_pid(self->core);

    g_object_freeze_notify(G_OBJECT(self));
    if (pid != self->pid)
        g_object_notify_by_pspec(G_OBJECT(self), props[PROP_PID]);
    if (peer_pid != self->peer_pid)
        g_object_notify_by_pspec(G_OBJECT(self), props[PROP_PEER_PID]);
    self->pid = pid;
    self->peer_pid = peer_pid;
    g_object_thaw_notify(G_OBJECT(self));
}

static void run_free(struct run *run)
{
    gafork__task_unwatch(&run->cancelled);
    run->process->run = NULL;
    g_object_unref(run->process);
    g_clear_object(&run->task);
    g_free(run);
}

static void return_connection(GTask *task, int fd)
{
    GError *error = NULL;
    g_autoptr(GSocket) socket = g_socket_new_from_fd(fd, &error);

    if (!socket) {
        close(fd);
        g_task_return_error(task, error);
        return;
    }
    g_task_return_pointer(task, g_socket_connection_factory_create_connection(socket),
                          g_object_unref);
}

static void on_run(G_GNUC_UNUSED struct afork_process *core, int fd,
                   const struct afork_exit *failure, void *data)
{
    struct run *run = data;
    g_autoptr(GAforkProcess) self = g_object_ref(run->process);
    g_autoptr(GTask) task = g_steal_pointer(&run->task);
    g_autoptr(GError) error = failure ? gafork__error_new(failure) : NULL;
    void (*return_fd)(GTask *, int) = run->return_fd;

    run_free(run);
    gafork__process_update_pids(self);
    if (task && error) {
        g_task_return_error(task, g_steal_pointer(&error));
    } else if (task && !g_task_return_error_if_cancelled(task)) {
        /* From here on it is the caller's: a task that looked once more would keep the connection
         * for as long as somebody has the result. */
        g_task_set_check_cancellable(task, FALSE);
        return_fd(task, fd);
    } else if (fd >= 0) {
        close(fd);
    }
}

static void on_ended(G_GNUC_UNUSED struct afork_process *core, const struct afork_exit *end,
                     void *data)
{
    g_autoptr(GAforkProcess) self = g_object_ref(GAFORK_PROCESS(data));

    gafork__context_remove(self->context, self->core, self);
    self->exit = gafork__exit_new(end);
    g_object_freeze_notify(G_OBJECT(self));
    gafork__process_update_pids(self);
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_EXIT]);
    g_object_thaw_notify(G_OBJECT(self));
    if (!self->closed)
        g_signal_emit(self, exited_signal, 0, self->exit);
    while (self->waits) {
        g_autoptr(GTask) task = self->waits->data;
        self->waits = g_list_delete_link(self->waits, self->waits);
        g_task_return_pointer(task, gafork_exit_ref(self->exit), (GDestroyNotify)gafork_exit_unref);
    }
}

/* Nothing comes from the core any more: its handle goes. */
static void let_go(GAforkProcess *self)
{
    self->closed = TRUE;
    gafork__context_remove(self->context, self->core, self);
    if (!self->lent)
        afork_process_on_exit(self->core, NULL, NULL);
    afork_process_unref(g_steal_pointer(&self->core));
}

void gafork__process_lend(GAforkProcess *self)
{
    self->told_to_run = self->lent = TRUE;
}

void gafork__process_give_back(GAforkProcess *self, const struct afork_exit *end)
{
    if (self->closed)
        return;
    self->lent = FALSE;
    if (end)
        on_ended(self->core, end, self);
    else
        afork_process_on_exit(self->core, on_ended, self);
}

/* What waits for the core fails. */
static void detach(GAforkProcess *self)
{
    G_GNUC_UNUSED g_autoptr(GAforkProcess) held = g_object_ref(self); /* else perhaps only by run */

    if (self->run) {
        if (self->run->task)
            gafork__task_return_closed(g_steal_pointer(&self->run->task));
        run_free(self->run);
    }
    while (self->waits) {
        gafork__task_return_closed(self->waits->data);
        self->waits = g_list_delete_link(self->waits, self->waits);
    }
    gafork__process_update_pids(self);
}

void gafork__process_context_closed(GAforkProcess *self)
{
    if (self->closed)
        return;
    let_go(self);
    detach(self);
}

/* --- For the other files --- */

GAforkProcess *gafork__process_new(GAforkContext *context, struct afork_process *core)
{
    GAforkProcess *self = g_object_new(GAFORK_TYPE_PROCESS, NULL);

    self->context = g_object_ref(context);
    self->core = core;
    self->pid = (int)afork_process_pid(core);
    self->peer_pid = (int)afork_process_peer_pid(core);
    gafork__context_add(context, core, self);
    if (afork_process_on_exit(core, on_ended, self) < 0) /* a context that was just used takes it */
        g_assert_not_reached();
    return self;
}

struct afork_process *gafork__process_get_core(GAforkProcess *self)
{
    return self->core;
}

/* Says it better than the core where it is about this object. */
gboolean gafork__process_check(GAforkProcess *self, int result, GError **error)
{
    if (result < 0 && self->closed)
        return gafork__check(-ESHUTDOWN, error);
    if (result == -EINVAL && self->told_to_run) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            "the process was told to run a function already, or handed over");
        return FALSE;
    }
    if (result == -ESRCH && self->exit) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "the process has ended: %s",
                    gafork_exit_get_message(self->exit));
        return FALSE;
    }
    return gafork__check(result, error);
}

/* --- Run and wait --- */

static gboolean on_run_cancelled(G_GNUC_UNUSED GCancellable *cancellable, gpointer data)
{
    struct run *run = data;
    g_autoptr(GTask) task = g_steal_pointer(&run->task);

    gafork__task_unwatch(&run->cancelled);
    gafork__task_return_cancelled(task);
    return G_SOURCE_REMOVE;
}

void gafork__process_leave(GAforkProcess *self, GTask *task, const char *function,
                           void (*return_fd)(GTask *task, int fd))
{
    g_autoptr(GTask) taken = task;
    g_autoptr(GError) error = NULL;

    if (g_task_return_error_if_cancelled(taken))
        return;
    struct run *run = g_new0(struct run, 1);
    int result = function ? afork_process_run(self->core, function, on_run, run)
                          : afork_process_to_fd(self->core, on_run, run);
    if (!gafork__process_check(self, result, &error)) {
        g_free(run);
        g_task_return_error(taken, g_steal_pointer(&error));
        return;
    }
    run->process = g_object_ref(self);
    run->return_fd = return_fd;
    run->cancelled = gafork__task_watch_cancellable(taken, on_run_cancelled, run);
    run->task = g_steal_pointer(&taken);
    self->run = run;
    self->told_to_run = TRUE;
}

/**
 * gafork_process_run_async:
 * @self: a process that was not told to run
 * @function: a Perl function, looked up in package `main` unless it is qualified
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): called when the function was entered, or could not be
 * @user_data: data for @callback
 *
 * Ends the life as a server: calls @function with the socket and the arguments sent. Later commands
 * fail with %G_IO_ERROR_INVALID_ARGUMENT. The process is held until the function was entered.
 *
 * If @cancellable is cancelled before the call, nothing is sent, and the process stays a server. If
 * it is cancelled later, the call returns at once and the connection is closed as soon as there is
 * one, so that the function meets the end of file; it is not killed, and its end is told as ever.
 *
 * Since: 0.1
 */
void gafork_process_run_async(GAforkProcess *self, const char *function, GCancellable *cancellable,
                              GAsyncReadyCallback callback, gpointer user_data)
{
    g_return_if_fail(GAFORK_IS_PROCESS(self) && self->context);
    g_return_if_fail(function != NULL);
    gafork__process_leave(self,
                          gafork__task_new(self->context, self, cancellable, callback, user_data,
                                           gafork_process_run_async),
                          function, return_connection);
}

/**
 * gafork_process_run_finish:
 * @self: a process
 * @result: what the callback was given
 * @error: return location for an error
 *
 * The connection to the function. It is independent of @self; closing it, or letting go of it, is
 * what the function sees as end of file. As with any [class@Gio.IOStream], its streams do not hold
 * it.
 *
 * Returns: (transfer full): the connection, or %NULL with @error set: an [error@Afork.Error] says
 *   what stopped the process, with Perl's text
 *
 * Since: 0.1
 */
GSocketConnection *gafork_process_run_finish(GAforkProcess *self, GAsyncResult *result,
                                             GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), NULL);
    g_return_val_if_fail(g_async_result_is_tagged(result, gafork_process_run_async), NULL);
    return g_task_propagate_pointer(G_TASK(result), error);
}

static gboolean on_wait_cancelled(G_GNUC_UNUSED GCancellable *cancellable, gpointer data)
{
    g_autoptr(GTask) task = g_object_ref(data);
    GAforkProcess *self = g_task_get_source_object(task);
    GList *link = g_list_find(self->waits, task);

    if (link) {
        self->waits = g_list_delete_link(self->waits, link);
        g_object_unref(task);
        gafork__task_return_cancelled(task);
    }
    return G_SOURCE_REMOVE;
}

static void wait_source_free(gpointer source)
{
    gafork__task_unwatch((GSource **)&source);
}

/**
 * gafork_process_wait_async:
 * @self: a process
 * @cancellable: (nullable): a cancellable, or %NULL; cancelling does nothing to the process
 * @callback: (scope async) (nullable): called when the process has ended
 * @user_data: data for @callback
 *
 * Waits for the end of the process, also if it ended long ago. The process is held meanwhile.
 *
 * Since: 0.1
 */
void gafork_process_wait_async(GAforkProcess *self, GCancellable *cancellable,
                               GAsyncReadyCallback callback, gpointer user_data)
{
    g_return_if_fail(GAFORK_IS_PROCESS(self) && self->context);
    g_autoptr(GTask) task = gafork__task_new(self->context, self, cancellable, callback, user_data,
                                             gafork_process_wait_async);
    if (g_task_return_error_if_cancelled(task))
        return;
    if (self->exit) {
        g_task_return_pointer(task, gafork_exit_ref(self->exit), (GDestroyNotify)gafork_exit_unref);
    } else if (self->closed) {
        gafork__task_return_closed(g_steal_pointer(&task));
    } else {
        GSource *cancelled = gafork__task_watch_cancellable(task, on_wait_cancelled, task);
        g_task_set_task_data(task, cancelled, cancelled ? wait_source_free : NULL);
        self->waits = g_list_append(self->waits, g_steal_pointer(&task));
    }
}

/**
 * gafork_process_wait_finish:
 * @self: a process
 * @result: what the callback was given
 * @error: return location for an error
 *
 * How the process ended.
 *
 * Returns: (transfer full): the exit, or %NULL with @error set: %G_IO_ERROR_CLOSED if @self or its
 *   context was closed, or it was cancelled
 *
 * Since: 0.1
 */
GAforkExit *gafork_process_wait_finish(GAforkProcess *self, GAsyncResult *result, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), NULL);
    g_return_val_if_fail(g_async_result_is_tagged(result, gafork_process_wait_async), NULL);
    return g_task_propagate_pointer(G_TASK(result), error);
}

/* --- Signals, closing, properties --- */

/**
 * gafork_process_kill:
 * @self: a process
 * @signal_number: the signal, 0 to ask whether one could be sent
 * @error: return location for an error
 *
 * Sends a signal. It cannot hit another process that was given the same pid. A signal to a process
 * that is not known to run yet is sent as soon as it is.
 *
 * Returns: %TRUE, or %FALSE with @error set: %G_IO_ERROR_NOT_FOUND if the process has ended
 *
 * Since: 0.1
 */
gboolean gafork_process_kill(GAforkProcess *self, int signal_number, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    int result = afork_process_kill(self->core, signal_number);
    if (self->context) /* reports were read: pids may have become known */
        gafork__context_look_soon(self->context);
    if (result == -EINVAL && !self->closed)
        return gafork__check(result, error);
    return gafork__process_check(self, result, error);
}

/**
 * gafork_process_close:
 * @self: a process
 *
 * Drops what is queued, ends a server that was not told to run, and leaves a worker alone. Nothing
 * is told of the process any more: asynchronous calls that are under way return with
 * %G_IO_ERROR_CLOSED on a later turn, other calls at once, and no signal but the notification of
 * the pids, which are 0 from now on, is emitted. A second call does nothing.
 *
 * Since: 0.1
 */
void gafork_process_close(GAforkProcess *self)
{
    g_return_if_fail(GAFORK_IS_PROCESS(self));
    if (self->closed || !self->core)
        return;
    afork_process_close(self->core);
    let_go(self);
    detach(self);
}

/**
 * gafork_process_get_context:
 * @self: a process
 *
 * The context that the process was made on.
 *
 * Returns: (transfer none): the context
 *
 * Since: 0.1
 */
GAforkContext *gafork_process_get_context(GAforkProcess *self)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), NULL);
    return self->context;
}

/**
 * gafork_process_get_pid:
 * @self: a process
 *
 * The pid of a process that is a child of this program ([ctor@Afork.Process.new_exec]).
 *
 * Returns: the pid, or 0 if it is no child, or has ended
 *
 * Since: 0.1
 */
int gafork_process_get_pid(GAforkProcess *self)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), 0);
    return self->pid;
}

/**
 * gafork_process_get_peer_pid:
 * @self: a process
 *
 * The pid of any process of %GAFORK_PEER_OWN that is known to run.
 *
 * Returns: the pid, or 0 if it is not known, or has ended
 *
 * Since: 0.1
 */
int gafork_process_get_peer_pid(GAforkProcess *self)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), 0);
    return self->peer_pid;
}

/**
 * gafork_process_get_exit:
 * @self: a process
 *
 * How the process ended.
 *
 * Returns: (transfer none) (nullable): the exit; %NULL as long as it is not known to have ended
 *
 * Since: 0.1
 */
GAforkExit *gafork_process_get_exit(GAforkProcess *self)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), NULL);
    return self->exit;
}

static void gafork_process_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    GAforkProcess *self = GAFORK_PROCESS(object);

    switch (id) {
    case PROP_CONTEXT:
        g_value_set_object(value, self->context);
        break;
    case PROP_PID:
        g_value_set_int(value, self->pid);
        break;
    case PROP_PEER_PID:
        g_value_set_int(value, self->peer_pid);
        break;
    case PROP_EXIT:
        g_value_set_boxed(value, self->exit);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void gafork_process_dispose(GObject *object)
{
    GAforkProcess *self = GAFORK_PROCESS(object);

    if (self->core) {
        if (!gafork__context_enter(self->context, object))
            return;
        if (self->run || self->waits) /* they hold references: this is not about the last one */
            gafork_process_close(self);
        else
            let_go(self);
        gafork__context_leave(self->context);
    }
    G_OBJECT_CLASS(gafork_process_parent_class)->dispose(object);
}

static void gafork_process_finalize(GObject *object)
{
    GAforkProcess *self = GAFORK_PROCESS(object);

    g_clear_pointer(&self->exit, gafork_exit_unref);
    g_clear_object(&self->context);
    G_OBJECT_CLASS(gafork_process_parent_class)->finalize(object);
}

static void gafork_process_init(G_GNUC_UNUSED GAforkProcess *self)
{
}

static void gafork_process_class_init(GAforkProcessClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    const GParamFlags told = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY;

    object_class->get_property = gafork_process_get_property;
    object_class->dispose = gafork_process_dispose;
    object_class->finalize = gafork_process_finalize;

    /**
     * GAforkProcess:context: (getter get_context)
     *
     * The context that the process was made on.
     *
     * Since: 0.1
     */
    props[PROP_CONTEXT] = g_param_spec_object("context", NULL, NULL, GAFORK_TYPE_CONTEXT, told);

    /**
     * GAforkProcess:pid: (getter get_pid)
     *
     * The pid of a child of this program, else 0.
     *
     * Since: 0.1
     */
    props[PROP_PID] = g_param_spec_int("pid", NULL, NULL, 0, G_MAXINT, 0, told);

    /**
     * GAforkProcess:peer-pid: (getter get_peer_pid)
     *
     * The pid of any process of %GAFORK_PEER_OWN that is known to run, else 0.
     *
     * Since: 0.1
     */
    props[PROP_PEER_PID] = g_param_spec_int("peer-pid", NULL, NULL, 0, G_MAXINT, 0, told);

    /**
     * GAforkProcess:exit: (getter get_exit)
     *
     * How the process ended; %NULL as long as it is not known to have ended.
     *
     * Since: 0.1
     */
    props[PROP_EXIT] = g_param_spec_boxed("exit", NULL, NULL, GAFORK_TYPE_EXIT, told);

    g_object_class_install_properties(object_class, N_PROPS, props);

    /**
     * GAforkProcess::exited:
     * @self: the process
     * @exit: how it ended, as [property@Afork.Process:exit]
     *
     * The process has ended, whatever it was; emitted once, after the callback of its run, as long
     * as somebody holds @self. Who comes later looks at [property@Afork.Process:exit].
     *
     * Since: 0.1
     */
    exited_signal = g_signal_new("exited", GAFORK_TYPE_PROCESS, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                 NULL, G_TYPE_NONE, 1, GAFORK_TYPE_EXIT);
}
