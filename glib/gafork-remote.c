/* SPDX-License-Identifier: MIT
 *
 * GAforkRemoteOptions, and the constructors of remote processes.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-remote.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "gafork-private.h"

/**
 * GAforkRemoteOptions:
 *
 * How patient a program is with a remote perl, for [ctor@Afork.Process.new_remote] and
 * [ctor@Afork.Process.new_connected]. Whatever property is not set has its default.
 *
 * Since: 0.1
 */
struct _GAforkRemoteOptions {
    GObject parent_instance;
    gint64 start_timeout;
    guint noise_max;
    gboolean strict;
};

enum { PROP_START_TIMEOUT = 1, PROP_NOISE_MAX, PROP_STRICT, N_PROPS };

static const gint64 START_TIMEOUT = 30 * G_USEC_PER_SEC;
enum { NOISE_MAX = 65536 };

G_DEFINE_TYPE(GAforkRemoteOptions, gafork_remote_options, G_TYPE_OBJECT)

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
    GAforkRemoteOptions *self = GAFORK_REMOTE_OPTIONS(object);

    switch (id) {
    case PROP_START_TIMEOUT:
        self->start_timeout = g_value_get_int64(value);
        break;
    case PROP_NOISE_MAX:
        self->noise_max = g_value_get_uint(value);
        break;
    case PROP_STRICT:
        self->strict = g_value_get_boolean(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    GAforkRemoteOptions *self = GAFORK_REMOTE_OPTIONS(object);

    switch (id) {
    case PROP_START_TIMEOUT:
        g_value_set_int64(value, self->start_timeout);
        break;
    case PROP_NOISE_MAX:
        g_value_set_uint(value, self->noise_max);
        break;
    case PROP_STRICT:
        g_value_set_boolean(value, self->strict);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void gafork_remote_options_init(GAforkRemoteOptions *self)
{
    self->start_timeout = START_TIMEOUT;
    self->noise_max = NOISE_MAX;
}

static void gafork_remote_options_class_init(GAforkRemoteOptionsClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    const GParamFlags plain = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

    object_class->set_property = set_property;
    object_class->get_property = get_property;

    /**
     * GAforkRemoteOptions:start-timeout:
     *
     * Microseconds until the perl must have answered, 30 s by default. What it is told to evaluate
     * and load takes as long as it takes.
     *
     * Since: 0.1
     */
    g_object_class_install_property(
        object_class, PROP_START_TIMEOUT,
        g_param_spec_int64("start-timeout", NULL, NULL, 1, G_MAXINT64 / 4, START_TIMEOUT, plain));

    /**
     * GAforkRemoteOptions:noise-max:
     *
     * Octets that the command may print on its standard output before the function is entered, such
     * as banners of login files; 64 KiB by default. More is a %GAFORK_ERROR_START that quotes it.
     *
     * Since: 0.1
     */
    g_object_class_install_property(
        object_class, PROP_NOISE_MAX,
        g_param_spec_uint("noise-max", NULL, NULL, 1, G_MAXUINT, NOISE_MAX, plain));

    /**
     * GAforkRemoteOptions:strict:
     *
     * Whether any such noise is an error.
     *
     * Since: 0.1
     */
    g_object_class_install_property(object_class, PROP_STRICT,
                                    g_param_spec_boolean("strict", NULL, NULL, FALSE, plain));
}

/**
 * gafork_remote_options_new:
 *
 * Makes an object with the defaults.
 *
 * Returns: (transfer full): new options
 *
 * Since: 0.1
 */
GAforkRemoteOptions *gafork_remote_options_new(void)
{
    return g_object_new(GAFORK_TYPE_REMOTE_OPTIONS, NULL);
}

/* --- Constructors --- */

static GAforkProcess *construct(GAforkContext *context, struct afork_remote_options *core_options,
                                GAforkRemoteOptions *options, GError **error)
{
    struct afork_process *core;
    struct afork_context *core_context = gafork__context_get_core(context, error);

    if (!core_context)
        return NULL;
    if (options) {
        core_options->start_timeout = options->start_timeout;
        core_options->noise_max = options->noise_max;
        core_options->strict = options->strict;
    }
    if (!gafork__check(afork_process_new_remote(core_context, core_options, &core), error))
        return NULL;
    return gafork__process_new(context, core);
}

/**
 * gafork_process_new_remote:
 * @context: (nullable): a context, or %NULL for [func@Afork.Context.get_default]
 * @argv: (array zero-terminated=1): a command that ends in a perl with its standard input and
 *   output intact: `ssh`, `host`, `perl`
 * @options: (nullable): how patient to be, or %NULL for the defaults
 * @error: return location for an error
 *
 * Makes a process behind a command, on another machine for instance. All that is needed there is a
 * perl; what it has to run is sent to its standard input.
 *
 * Commands to the process are recorded, and the perl is started when it is told to run, by
 * [method@Afork.Process.run_async] or [ctor@Afork.Rpc.new]; what goes wrong then is a
 * %GAFORK_ERROR_START. Each process that is run is a perl of its own; [method@Afork.Process.fork]
 * copies the record, so that an [class@Afork.Pool] can be made of it, too. It cannot be handed
 * over, limited, sent descriptors or kept in spare (%G_IO_ERROR_NOT_SUPPORTED).
 *
 * The function is called with standard input, and writes to `STDOUT`: `my $wfh = fileno $rfh ? $rfh
 * : *STDOUT` works in any kind of worker.
 *
 * Returns: (transfer full): a new process, or %NULL with @error set
 *
 * Since: 0.1
 */
GAforkProcess *gafork_process_new_remote(GAforkContext *context, const char *const *argv,
                                         GAforkRemoteOptions *options, GError **error)
{
    struct afork_remote_options core = AFORK_REMOTE_OPTIONS_INIT;

    g_return_val_if_fail(!context || GAFORK_IS_CONTEXT(context), NULL);
    g_return_val_if_fail(argv != NULL, NULL);
    g_return_val_if_fail(!options || GAFORK_IS_REMOTE_OPTIONS(options), NULL);
    core.argv = argv;
    return construct(context ? context : gafork_context_get_default(), &core, options, error);
}

/**
 * GAforkConnectFunc:
 * @user_data: data of the user
 *
 * Connects to a perl that was started without arguments, and has the other end as standard input
 * and output. It must not wait for anything.
 *
 * Returns: (transfer full) (nullable): a stream socket, which is duplicated; or %NULL if there is
 *   none
 *
 * Since: 0.1
 */

struct connection {
    grefcount refs; /* the core's, one of each call under way */
    GAforkConnectFunc func;
    gpointer user_data;
    GDestroyNotify destroy;
    GMainContext *main_context;
    int priority;
};

static void connection_free(gpointer data)
{
    struct connection *connection = data;

    if (connection->destroy)
        connection->destroy(connection->user_data);
    g_main_context_unref(connection->main_context);
    g_free(connection);
}

static gboolean on_idle(G_GNUC_UNUSED gpointer data)
{
    return G_SOURCE_REMOVE;
}

/* The core may be in the middle of anything, and what is released may call it: that is done on a
 * later turn, or with the main context. */
static void connection_unref(void *data)
{
    struct connection *connection = data;

    if (!g_ref_count_dec(&connection->refs))
        return;
    g_autoptr(GSource) source = g_idle_source_new();
    g_source_set_callback(source, on_idle, connection, connection_free);
    g_source_set_priority(source, connection->priority);
    g_source_attach(source, connection->main_context);
}

static int on_connect(void *data)
{
    struct connection *connection = data;

    g_ref_count_inc(&connection->refs);
    g_autoptr(GSocket) socket = connection->func(connection->user_data);
    connection_unref(connection);
    if (!socket)
        return -ECONNREFUSED;
    int fd = fcntl(g_socket_get_fd(socket), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return fd < 0 ? -errno : fd;
}

/**
 * gafork_process_new_connected:
 * @context: (nullable): a context, or %NULL for [func@Afork.Context.get_default]
 * @func: (scope notified): called for each process that is run, from the main context
 * @user_data: data for @func
 * @destroy: (nullable): releases @user_data, on a turn of the loop after the process and all that
 *   were forked from it are gone
 * @options: (nullable): how patient to be, or %NULL for the defaults
 * @error: return location for an error
 *
 * The same as [ctor@Afork.Process.new_remote] for perls that the program connects to by itself.
 * Once its function was entered, nothing more is known of such a process: its end is told at once,
 * with %GAFORK_CAUSE_UNKNOWN.
 *
 * Returns: (transfer full): a new process, or %NULL with @error set
 *
 * Since: 0.1
 */
GAforkProcess *gafork_process_new_connected(GAforkContext *context, GAforkConnectFunc func,
                                            gpointer user_data, GDestroyNotify destroy,
                                            GAforkRemoteOptions *options, GError **error)
{
    struct afork_remote_options core = AFORK_REMOTE_OPTIONS_INIT;

    g_return_val_if_fail(!context || GAFORK_IS_CONTEXT(context), NULL);
    g_return_val_if_fail(func != NULL, NULL);
    g_return_val_if_fail(!options || GAFORK_IS_REMOTE_OPTIONS(options), NULL);
    if (!context)
        context = gafork_context_get_default();
    struct connection *connection = g_new(struct connection, 1);
    *connection = (struct connection){
        .func = func,
        .user_data = user_data,
        .destroy = destroy,
        .main_context = g_main_context_ref(gafork_context_get_main_context(context)),
        .priority = gafork_context_get_priority(context),
    };
    g_ref_count_init(&connection->refs);
    core.connect = on_connect;
    core.connect_data = connection;
    core.connect_release = connection_unref;
    GAforkProcess *process = construct(context, &core, options, error);
    if (!process)
        connection_unref(connection);
    return process;
}
