/* SPDX-License-Identifier: MIT
 *
 * GAforkCallOptions: how calls are made, as properties.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-call-private.h"
#include "gafork-enums.h"

/**
 * GAforkCallOptions:
 *
 * How a call is made, by [iface@Afork.Callable]. Whatever property is not set has its default. An
 * object can be used for any number of calls, and changed in between; who wants to know which call
 * an event is for uses one for each.
 *
 * Since: 0.1
 */
struct _GAforkCallOptions {
    GObject parent_instance;

    gint64 timeout, run_timeout;
    int priority;
    GUnixFDList *fd_list;
    enum afork_cancel cancel_mode;
    GVariantType *result_type;

    GQueue calls; /* of the core, which wait or are with a worker; the links are theirs */
};

G_DEFINE_TYPE(GAforkCallOptions, gafork_call_options, G_TYPE_OBJECT)

enum {
    PROP_TIMEOUT = 1,
    PROP_RUN_TIMEOUT,
    PROP_PRIORITY,
    PROP_FD_LIST,
    PROP_CANCEL_MODE,
    PROP_RESULT_TYPE,
    N_PROPS
};

static GParamSpec *props[N_PROPS];
static guint event_signal, begun_signal;

/* --- For calls --- */

void gafork__call_options_fill(GAforkCallOptions *self, const struct gafork__caller *caller,
                               struct afork_call_options *core)
{
    gint64 timeout = self && self->timeout ? self->timeout : caller->timeout;

    core->timeout = MAX(timeout, 0);
    if (!self)
        return;
    core->run_timeout = self->run_timeout;
    core->priority = self->priority;
    if (self->fd_list) {
        int n;
        core->fds = g_unix_fd_list_peek_fds(self->fd_list, &n);
        core->n_fds = (size_t)n;
    }
}

gboolean gafork__call_options_has_listener(GAforkCallOptions *self)
{
    return self && g_signal_has_handler_pending(self, event_signal, 0, FALSE);
}

void gafork__call_options_emit_event(GAforkCallOptions *self, const struct afork_event *event)
{
    g_autoptr(GAforkCallOptions) held = g_object_ref(self);
    g_autoptr(GBytes) octets = g_bytes_new(event->data, event->len);
    g_autoptr(GUnixFDList) fd_list = gafork__fd_list_new(event->fds, event->n_fds);

    g_signal_emit(held, event_signal, 0, octets, fd_list);
}

gboolean gafork__call_options_has_begun_listener(GAforkCallOptions *self)
{
    return self && g_signal_has_handler_pending(self, begun_signal, 0, FALSE);
}

void gafork__call_options_emit_begun(GAforkCallOptions *self)
{
    g_autoptr(GAforkCallOptions) held = g_object_ref(self);

    g_signal_emit(held, begun_signal, 0);
}

enum afork_cancel gafork__call_options_get_cancel_mode(GAforkCallOptions *self)
{
    return self ? self->cancel_mode : AFORK_CANCEL_ABANDON;
}

gboolean gafork__call_options_cancel(GAforkCallOptions *self, struct afork_call *call)
{
    enum afork_cancel mode = gafork__call_options_get_cancel_mode(self);

    if (afork_call_cancel(call, mode) >= 0)
        return TRUE;
    if (mode == AFORK_CANCEL_KILL) /* where none can be killed */
        afork_call_cancel(call, AFORK_CANCEL_ABANDON);
    return mode != AFORK_CANCEL_QUEUED;
}

const GVariantType *gafork__call_options_get_result_type(GAforkCallOptions *self)
{
    return self ? self->result_type : NULL;
}

void gafork__call_options_add(GAforkCallOptions *self, GList *link)
{
    g_queue_push_tail_link(&self->calls, link);
}

void gafork__call_options_remove(GAforkCallOptions *self, GList *link)
{
    g_queue_unlink(&self->calls, link);
}

/* Those that a worker has stay where they are. */
static void set_priority(GAforkCallOptions *self, int priority)
{
    if (self->priority == priority)
        return;
    self->priority = priority;
    for (GList *link = self->calls.head; link; link = link->next)
        afork_call_set_priority(link->data, priority);
}

static void set_cancel_mode(GAforkCallOptions *self, enum afork_cancel mode)
{
    if (self->cancel_mode == mode)
        return;
    self->cancel_mode = mode;
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_CANCEL_MODE]);
}

/* --- GObject --- */

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
    GAforkCallOptions *self = GAFORK_CALL_OPTIONS(object);

    switch (id) {
    case PROP_TIMEOUT:
        self->timeout = g_value_get_int64(value);
        break;
    case PROP_RUN_TIMEOUT:
        self->run_timeout = g_value_get_int64(value);
        break;
    case PROP_PRIORITY:
        set_priority(self, g_value_get_int(value));
        break;
    case PROP_FD_LIST:
        g_set_object(&self->fd_list, g_value_get_object(value));
        break;
    case PROP_CANCEL_MODE:
        set_cancel_mode(self, (enum afork_cancel)g_value_get_enum(value));
        break;
    case PROP_RESULT_TYPE:
        g_variant_type_free(self->result_type);
        self->result_type = g_value_dup_boxed(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    GAforkCallOptions *self = GAFORK_CALL_OPTIONS(object);

    switch (id) {
    case PROP_TIMEOUT:
        g_value_set_int64(value, self->timeout);
        break;
    case PROP_RUN_TIMEOUT:
        g_value_set_int64(value, self->run_timeout);
        break;
    case PROP_PRIORITY:
        g_value_set_int(value, self->priority);
        break;
    case PROP_FD_LIST:
        g_value_set_object(value, self->fd_list);
        break;
    case PROP_CANCEL_MODE:
        g_value_set_enum(value, (int)self->cancel_mode);
        break;
    case PROP_RESULT_TYPE:
        g_value_set_boxed(value, self->result_type);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void finalize(GObject *object)
{
    GAforkCallOptions *self = GAFORK_CALL_OPTIONS(object);

    g_clear_object(&self->fd_list);
    g_variant_type_free(self->result_type);
    G_OBJECT_CLASS(gafork_call_options_parent_class)->finalize(object);
}

static void gafork_call_options_init(GAforkCallOptions *self)
{
    g_queue_init(&self->calls);
    self->cancel_mode = AFORK_CANCEL_ABANDON;
}

#define PLAIN (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS)

static void install_times(void)
{
    /**
     * GAforkCallOptions:timeout:
     *
     * Microseconds until the call must have returned; else it fails with %G_IO_ERROR_TIMED_OUT. A
     * worker that has it already goes on, and its answer is dropped. 0, the default: as
     * [property@Afork.Callable:timeout] says; -1: for ever.
     *
     * Since: 0.1
     */
    props[PROP_TIMEOUT] = g_param_spec_int64("timeout", NULL, NULL, -1, G_MAXINT64 / 4, 0, PLAIN);

    /**
     * GAforkCallOptions:run-timeout:
     *
     * Pools only. Microseconds that a worker may work on it; then the call fails with
     * %G_IO_ERROR_TIMED_OUT, and the worker is killed and replaced. 0, the default: no limit. Not
     * with [property@Afork.RpcOptions:asynchronous].
     *
     * Since: 0.1
     */
    props[PROP_RUN_TIMEOUT] = g_param_spec_int64("run-timeout", NULL, NULL, 0, G_MAXINT64 / 4, 0,
                                                 PLAIN);

    /**
     * GAforkCallOptions:priority:
     *
     * Pools only. Of the calls that no worker has yet, the highest comes first; among equals, the
     * oldest. A change moves the calls that were made with this object and still wait.
     *
     * Since: 0.1
     */
    props[PROP_PRIORITY] = g_param_spec_int("priority", NULL, NULL, AFORK_PRIORITY_MIN,
                                            AFORK_PRIORITY_MAX, 0, PLAIN);
}

static void install_others(void)
{
    /**
     * GAforkCallOptions:fd-list:
     *
     * Descriptors that the function is given as handles, behind its arguments; duplicated. At most
     * 253, and only with %GAFORK_FRAMES_OWN and %GAFORK_PEER_OWN.
     *
     * Since: 0.1
     */
    props[PROP_FD_LIST] = g_param_spec_object("fd-list", NULL, NULL, G_TYPE_UNIX_FD_LIST, PLAIN);

    /**
     * GAforkCallOptions:cancel-mode:
     *
     * What cancelling does where a worker has the call already. What counts is how it is when the
     * call is cancelled. With %GAFORK_CANCEL_MODE_QUEUED, a [property@Afork.PoolOptions:load] of 1
     * has no call wait for a busy worker, so that all that were not begun can be cancelled.
     *
     * Since: 0.1
     */
    props[PROP_CANCEL_MODE] = g_param_spec_enum("cancel-mode", NULL, NULL, GAFORK_TYPE_CANCEL_MODE,
                                                GAFORK_CANCEL_MODE_ABANDON,
                                                PLAIN | G_PARAM_EXPLICIT_NOTIFY);

    /**
     * GAforkCallOptions:result-type:
     *
     * What [method@Afork.Callable.call_variant_finish] is to return; %NULL, the default: whatever
     * it is. See [func@Afork.bytes_to_variant].
     *
     * Since: 0.1
     */
    props[PROP_RESULT_TYPE] = g_param_spec_boxed("result-type", NULL, NULL, G_TYPE_VARIANT_TYPE,
                                                 PLAIN);
}

static void gafork_call_options_class_init(GAforkCallOptionsClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->set_property = set_property;
    object_class->get_property = get_property;
    object_class->finalize = finalize;
    install_times();
    install_others();
    g_object_class_install_properties(object_class, N_PROPS, props);

    /**
     * GAforkCallOptions::event:
     * @self: the options
     * @octets: what `AFork::RPC::event` was given, as the serialiser packed it; see
     *   [func@Afork.bytes_to_strv] and [func@Afork.bytes_to_variant]
     * @fd_list: (nullable): descriptors that were among it
     *
     * The function tells something while it works on a call that was made with this object. Whoever
     * listens connects before the call; without anybody the event is one of the object that was
     * called.
     *
     * Since: 0.1
     */
    event_signal = g_signal_new("event", GAFORK_TYPE_CALL_OPTIONS, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                NULL, G_TYPE_NONE, 2, G_TYPE_BYTES, G_TYPE_UNIX_FD_LIST);

    /**
     * GAforkCallOptions::begun:
     * @self: the options
     *
     * A worker has begun with a call that was made with this object: it has nothing to answer before
     * or, with [property@Afork.RpcOptions:asynchronous], has it. It comes before events of the call
     * and before its return, but not in any case: the call may fail before that is known. It comes
     * once more if the call is given to another worker. Whoever listens connects before the call.
     *
     * Since: 0.1
     */
    begun_signal = g_signal_new("begun", GAFORK_TYPE_CALL_OPTIONS, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                NULL, G_TYPE_NONE, 0);
}

/**
 * gafork_call_options_new:
 *
 * Makes an object with the defaults.
 *
 * Returns: (transfer full): new options
 *
 * Since: 0.1
 */
GAforkCallOptions *gafork_call_options_new(void)
{
    return g_object_new(GAFORK_TYPE_CALL_OPTIONS, NULL);
}
