/* SPDX-License-Identifier: MIT
 *
 * GAforkLimits: what a process may use and do, as properties, and how a process is told.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-limits.h"

#include "gafork-enums.h"
#include "gafork-private.h"

/**
 * GAforkLimits:
 *
 * What a process may use and do. Whatever property is 0, %FALSE or %NULL is left as it is. An
 * object can be used for any number of processes, and changed in between.
 *
 * Since: 0.1
 */
struct _GAforkLimits {
    GObject parent_instance;
    struct afork_limits core; /* but for the lists */
    GStrv read_paths, write_paths;
};

G_DEFINE_TYPE(GAforkLimits, gafork_limits, G_TYPE_OBJECT)

enum {
    PROP_MEMORY = 1,
    PROP_CPU_SECONDS,
    PROP_FILE_SIZE,
    PROP_OPEN_FILES,
    PROP_NICE,
    PROP_NO_NEW_PRIVILEGES,
    PROP_NO_NETWORK,
    PROP_NO_NEW_PROCESSES,
    PROP_NO_SIGNALS,
    PROP_READ_PATHS,
    PROP_WRITE_PATHS,
    PROP_UNSUPPORTED,
    PROP_FORKS_ONLY,
    N_PROPS
};

static void replace_list(GStrv *list, const GValue *value)
{
    GStrv old = *list; /* may be what is set */

    *list = g_value_dup_boxed(value);
    g_strfreev(old);
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
    GAforkLimits *self = GAFORK_LIMITS(object);

    switch (id) {
    case PROP_MEMORY:
        self->core.memory = g_value_get_uint64(value);
        break;
    case PROP_CPU_SECONDS:
        self->core.cpu_seconds = g_value_get_uint64(value);
        break;
    case PROP_FILE_SIZE:
        self->core.file_size = g_value_get_uint64(value);
        break;
    case PROP_OPEN_FILES:
        self->core.open_files = g_value_get_uint(value);
        break;
    case PROP_NICE:
        self->core.nice = g_value_get_int(value);
        break;
    case PROP_NO_NEW_PRIVILEGES:
        self->core.no_new_privileges = g_value_get_boolean(value);
        break;
    case PROP_NO_NETWORK:
        self->core.no_network = g_value_get_boolean(value);
        break;
    case PROP_NO_NEW_PROCESSES:
        self->core.no_new_processes = g_value_get_boolean(value);
        break;
    case PROP_NO_SIGNALS:
        self->core.no_signals = g_value_get_boolean(value);
        break;
    case PROP_READ_PATHS:
        replace_list(&self->read_paths, value);
        break;
    case PROP_WRITE_PATHS:
        replace_list(&self->write_paths, value);
        break;
    case PROP_UNSUPPORTED:
        self->core.unsupported = (enum afork_unsupported)g_value_get_enum(value);
        break;
    case PROP_FORKS_ONLY:
        self->core.forks_only = g_value_get_boolean(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    GAforkLimits *self = GAFORK_LIMITS(object);

    switch (id) {
    case PROP_MEMORY:
        g_value_set_uint64(value, self->core.memory);
        break;
    case PROP_CPU_SECONDS:
        g_value_set_uint64(value, self->core.cpu_seconds);
        break;
    case PROP_FILE_SIZE:
        g_value_set_uint64(value, self->core.file_size);
        break;
    case PROP_OPEN_FILES:
        g_value_set_uint(value, self->core.open_files);
        break;
    case PROP_NICE:
        g_value_set_int(value, self->core.nice);
        break;
    case PROP_NO_NEW_PRIVILEGES:
        g_value_set_boolean(value, self->core.no_new_privileges);
        break;
    case PROP_NO_NETWORK:
        g_value_set_boolean(value, self->core.no_network);
        break;
    case PROP_NO_NEW_PROCESSES:
        g_value_set_boolean(value, self->core.no_new_processes);
        break;
    case PROP_NO_SIGNALS:
        g_value_set_boolean(value, self->core.no_signals);
        break;
    case PROP_READ_PATHS:
        g_value_set_boxed(value, self->read_paths);
        break;
    case PROP_WRITE_PATHS:
        g_value_set_boxed(value, self->write_paths);
        break;
    case PROP_UNSUPPORTED:
        g_value_set_enum(value, (int)self->core.unsupported);
        break;
    case PROP_FORKS_ONLY:
        g_value_set_boolean(value, self->core.forks_only);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void finalize(GObject *object)
{
    GAforkLimits *self = GAFORK_LIMITS(object);

    g_strfreev(self->read_paths);
    g_strfreev(self->write_paths);
    G_OBJECT_CLASS(gafork_limits_parent_class)->finalize(object);
}

static void gafork_limits_init(GAforkLimits *self)
{
    self->core = (struct afork_limits)AFORK_LIMITS_INIT;
}

#define PLAIN (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS)

static GParamSpec *props[N_PROPS];

static GParamSpec *flag(const char *name)
{
    return g_param_spec_boolean(name, NULL, NULL, FALSE, PLAIN);
}

static GParamSpec *paths(const char *name)
{
    return g_param_spec_boxed(name, NULL, NULL, G_TYPE_STRV, PLAIN);
}

static GParamSpec *number(const char *name, guint64 max)
{
    return g_param_spec_uint64(name, NULL, NULL, 0, max, 0, PLAIN);
}

static void install_uses(void)
{
    /**
     * GAforkLimits:memory:
     *
     * Octets of address space. What needs more fails; Perl then says "Out of memory!" on its
     * standard error and exits with status 1.
     *
     * Since: 0.1
     */
    props[PROP_MEMORY] = number("memory", G_MAXINT64);

    /**
     * GAforkLimits:cpu-seconds:
     *
     * Seconds of processor time of each process by itself. `SIGXCPU` ends what used them up, and
     * one second later `SIGKILL` what had a handler for that.
     *
     * Since: 0.1
     */
    props[PROP_CPU_SECONDS] = number("cpu-seconds", G_MAXUINT32);

    /**
     * GAforkLimits:file-size:
     *
     * Octets that a file may have after a write. `SIGXFSZ` ends who wants to write more.
     *
     * Since: 0.1
     */
    props[PROP_FILE_SIZE] = number("file-size", G_MAXINT64);

    /**
     * GAforkLimits:open-files:
     *
     * Descriptors, all that afork uses in the process included: at least 16.
     *
     * Since: 0.1
     */
    props[PROP_OPEN_FILES] = g_param_spec_uint("open-files", NULL, NULL, 0, G_MAXINT, 0, PLAIN);

    /**
     * GAforkLimits:nice:
     *
     * The nice value, up to 19, the least favoured.
     *
     * Since: 0.1
     */
    props[PROP_NICE] = g_param_spec_int("nice", NULL, NULL, 0, 19, 0, PLAIN);
}

static void install_actions(void)
{
    /**
     * GAforkLimits:no-new-privileges:
     *
     * Whether no privileges are gained by executing set-user-ID programs and the like. Implied by
     * all properties below.
     *
     * Since: 0.1
     */
    props[PROP_NO_NEW_PRIVILEGES] = flag("no-new-privileges");

    /**
     * GAforkLimits:no-network:
     *
     * Whether no sockets are made but pairs of connected ones, and none is bound or connected.
     * Those that are open, or are handed over later, work on.
     *
     * Since: 0.1
     */
    props[PROP_NO_NETWORK] = flag("no-network");

    /**
     * GAforkLimits:no-new-processes:
     *
     * Whether no processes are made; threads are. Without [property@Afork.Limits:forks-only] the
     * server itself cannot be forked any more, which fails with %GAFORK_ERROR_FORK; with it, what is
     * forked from it cannot. No pool can be made of either: its workers get this by
     * [property@Afork.PoolOptions:limits].
     *
     * Since: 0.1
     */
    props[PROP_NO_NEW_PROCESSES] = flag("no-new-processes");

    /**
     * GAforkLimits:no-signals:
     *
     * Whether no signals are sent to processes that are not confined with this one. It needs Linux
     * 6.12; see [property@Afork.Limits:unsupported].
     *
     * Since: 0.1
     */
    props[PROP_NO_SIGNALS] = flag("no-signals");
}

static void install_files(void)
{
    /**
     * GAforkLimits:read-paths:
     *
     * Absolute paths of what may be read, listed and executed: files, or directories with all below
     * them. %NULL, the default: anything; an empty list: nothing. One that is not there is an
     * error. Python and JavaScript read %NULL as an empty list.
     *
     * Since: 0.1
     */
    props[PROP_READ_PATHS] = paths("read-paths");

    /**
     * GAforkLimits:write-paths:
     *
     * The same for what may be written to, made, removed and renamed. It does not include reading.
     *
     * Since: 0.1
     */
    props[PROP_WRITE_PATHS] = paths("write-paths");
}

static void install_ways(void)
{
    /**
     * GAforkLimits:unsupported:
     *
     * What happens when the kernel, or this `afork-perl`, cannot do what is asked for.
     *
     * Since: 0.1
     */
    props[PROP_UNSUPPORTED] = g_param_spec_enum("unsupported", NULL, NULL, GAFORK_TYPE_UNSUPPORTED,
                                                GAFORK_UNSUPPORTED_ERROR, PLAIN);

    /**
     * GAforkLimits:forks-only:
     *
     * Whether the process itself stays free, so that a template can go on loading modules, and only
     * what is forked from it from now on is limited, before any code runs.
     *
     * Since: 0.1
     */
    props[PROP_FORKS_ONLY] = flag("forks-only");
}

static void gafork_limits_class_init(GAforkLimitsClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->set_property = set_property;
    object_class->get_property = get_property;
    object_class->finalize = finalize;
    install_uses();
    install_actions();
    install_files();
    install_ways();
    g_object_class_install_properties(object_class, N_PROPS, props);
}

/**
 * gafork_limits_new:
 *
 * Makes an object that limits nothing until properties are set.
 *
 * Returns: (transfer full): new limits
 *
 * Since: 0.1
 */
GAforkLimits *gafork_limits_new(void)
{
    return g_object_new(GAFORK_TYPE_LIMITS, NULL);
}

void gafork__limits_fill(GAforkLimits *self, struct afork_limits *core)
{
    *core = self->core;
    core->read_paths = (const char *const *)self->read_paths;
    core->write_paths = (const char *const *)self->write_paths;
}

/**
 * gafork_process_set_limits:
 * @self: a process that was not told to run
 * @limits: what it may use and do
 * @error: return location for an error
 *
 * Limits the process from this place in the order of commands on: load first, then confine. All
 * that it forks or executes later inherits that. Limits only become narrower: one that asks for
 * more than is in force, names a path that is not there, or cannot be had here ends the process
 * with %GAFORK_CAUSE_LIMITS.
 *
 * Returns: %TRUE, or %FALSE with @error set; %G_IO_ERROR_INVALID_ARGUMENT for values out of range and
 *   paths that are not absolute, %G_IO_ERROR_NOT_SUPPORTED with %GAFORK_PEER_ORIGINAL
 *
 * Since: 0.1
 */
gboolean gafork_process_set_limits(GAforkProcess *self, GAforkLimits *limits, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    g_return_val_if_fail(GAFORK_IS_LIMITS(limits), FALSE);
    struct afork_limits core;
    gafork__limits_fill(limits, &core);
    return gafork__process_check(
        self, afork_process_set_limits(gafork__process_get_core(self), &core), error);
}
