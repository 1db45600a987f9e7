/* SPDX-License-Identifier: MIT
 *
 * GAforkPoolOptions: what a pool is to be like, as properties.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-pool.h"

#include "gafork-call-private.h"
#include "gafork-enums.h"

/**
 * GAforkPoolOptions:
 *
 * What a pool is to be like, for [ctor@Afork.Pool.new]. Whatever property is not set has its
 * default. An object can be used any number of times, and changed in between.
 *
 * Since: 0.1
 */
struct _GAforkPoolOptions {
    GObject parent_instance;

    struct afork_pool_options
        core; /* as the properties have it, which is not quite as the core does;
                                       but for the objects */
    GAforkRpcOptions *rpc;
    GAforkLimits *limits;
};

G_DEFINE_TYPE(GAforkPoolOptions, gafork_pool_options, G_TYPE_OBJECT)

enum {
    PROP_RPC = 1,
    PROP_MAX,
    PROP_IDLE,
    PROP_LOAD,
    PROP_START,
    PROP_STOP,
    PROP_SINGLE_CALL,
    PROP_SPARES,
    PROP_QUEUE_MAX,
    PROP_RETIRE_CALLS,
    PROP_RETIRE_AGE,
    PROP_RETIRE_MEMORY,
    PROP_LIMITS,
    PROP_CRASH,
    PROP_MAX_FAILURES,
    N_PROPS
};

enum { LOAD = 2, MAX_FAILURES = 5 };
static const gint64 START = 100000, STOP = 10000000;

/* To the core, 0 is the default, and a negative time what 0 is here. */
static gint64 to_core(gint64 time)
{
    return time ? time : -1;
}

GAforkSerialiser gafork__pool_options_fill(GAforkPoolOptions *self, struct afork_pool_options *core,
                                           struct afork_limits *limits)
{
    if (!self)
        return GAFORK_SERIALISER_OCTETS;
    *core = self->core;
    core->start = to_core(self->core.start);
    core->stop = to_core(self->core.stop);
    if (self->limits) {
        gafork__limits_fill(self->limits, limits);
        core->limits = limits;
    }
    return gafork__rpc_options_fill(self->rpc, &core->rpc);
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
    GAforkPoolOptions *self = GAFORK_POOL_OPTIONS(object);

    switch (id) {
    case PROP_RPC:
        g_set_object(&self->rpc, g_value_get_object(value));
        break;
    case PROP_MAX:
        self->core.max = g_value_get_uint(value);
        break;
    case PROP_IDLE:
        self->core.idle = g_value_get_uint(value);
        break;
    case PROP_LOAD:
        self->core.load = g_value_get_uint(value);
        break;
    case PROP_START:
        self->core.start = g_value_get_int64(value);
        break;
    case PROP_STOP:
        self->core.stop = g_value_get_int64(value);
        break;
    case PROP_SINGLE_CALL:
        self->core.single_call = g_value_get_boolean(value);
        break;
    case PROP_SPARES:
        self->core.spares = g_value_get_uint(value);
        break;
    case PROP_QUEUE_MAX:
        self->core.queue_max = g_value_get_uint(value);
        break;
    case PROP_RETIRE_CALLS:
        self->core.retire_calls = g_value_get_uint64(value);
        break;
    case PROP_RETIRE_AGE:
        self->core.retire_age = g_value_get_int64(value);
        break;
    case PROP_RETIRE_MEMORY:
        self->core.retire_memory = g_value_get_uint64(value);
        break;
    case PROP_LIMITS:
        g_set_object(&self->limits, g_value_get_object(value));
        break;
    case PROP_CRASH:
        self->core.crash = (enum afork_crash)g_value_get_enum(value);
        break;
    case PROP_MAX_FAILURES:
        self->core.max_failures = g_value_get_uint(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    GAforkPoolOptions *self = GAFORK_POOL_OPTIONS(object);

    switch (id) {
    case PROP_RPC:
        g_value_set_object(value, self->rpc);
        break;
    case PROP_MAX:
        g_value_set_uint(value, self->core.max);
        break;
    case PROP_IDLE:
        g_value_set_uint(value, self->core.idle);
        break;
    case PROP_LOAD:
        g_value_set_uint(value, self->core.load);
        break;
    case PROP_START:
        g_value_set_int64(value, self->core.start);
        break;
    case PROP_STOP:
        g_value_set_int64(value, self->core.stop);
        break;
    case PROP_SINGLE_CALL:
        g_value_set_boolean(value, self->core.single_call);
        break;
    case PROP_SPARES:
        g_value_set_uint(value, self->core.spares);
        break;
    case PROP_QUEUE_MAX:
        g_value_set_uint(value, (guint)self->core.queue_max);
        break;
    case PROP_RETIRE_CALLS:
        g_value_set_uint64(value, self->core.retire_calls);
        break;
    case PROP_RETIRE_AGE:
        g_value_set_int64(value, self->core.retire_age);
        break;
    case PROP_RETIRE_MEMORY:
        g_value_set_uint64(value, self->core.retire_memory);
        break;
    case PROP_LIMITS:
        g_value_set_object(value, self->limits);
        break;
    case PROP_CRASH:
        g_value_set_enum(value, (int)self->core.crash);
        break;
    case PROP_MAX_FAILURES:
        g_value_set_uint(value, self->core.max_failures);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void finalize(GObject *object)
{
    GAforkPoolOptions *self = GAFORK_POOL_OPTIONS(object);

    g_clear_object(&self->rpc);
    g_clear_object(&self->limits);
    G_OBJECT_CLASS(gafork_pool_options_parent_class)->finalize(object);
}

static void gafork_pool_options_init(GAforkPoolOptions *self)
{
    self->core = (struct afork_pool_options)AFORK_POOL_OPTIONS_INIT;
    self->core.load = LOAD;
    self->core.start = START;
    self->core.stop = STOP;
    self->core.max_failures = MAX_FAILURES;
}

#define PLAIN (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS)

static GParamSpec *props[N_PROPS];

static GParamSpec *usec(const char *name, gint64 standard)
{
    return g_param_spec_int64(name, NULL, NULL, 0, G_MAXINT64 / 4, standard, PLAIN);
}

static void install_sizes(void)
{
    /**
     * GAforkPoolOptions:max:
     *
     * Most workers at a time. 0, the default: [func@Afork.cpu_count].
     *
     * Since: 0.1
     */
    props[PROP_MAX] = g_param_spec_uint("max", NULL, NULL, 0, G_MAXINT, 0, PLAIN);

    /**
     * GAforkPoolOptions:idle:
     *
     * Workers that are kept even if they have nothing to do.
     *
     * Since: 0.1
     */
    props[PROP_IDLE] = g_param_spec_uint("idle", NULL, NULL, 0, G_MAXINT, 0, PLAIN);

    /**
     * GAforkPoolOptions:load:
     *
     * Calls that a worker is given at a time, 2 by default: the next is there when one is answered.
     *
     * Since: 0.1
     */
    props[PROP_LOAD] = g_param_spec_uint("load", NULL, NULL, 1, 65536, LOAD, PLAIN);

    /**
     * GAforkPoolOptions:start:
     *
     * Microseconds that calls wait for a busy worker before another is started, 0.1 s by default.
     * The first is started at once.
     *
     * Since: 0.1
     */
    props[PROP_START] = usec("start", START);

    /**
     * GAforkPoolOptions:stop:
     *
     * Microseconds that a worker beyond [property@Afork.PoolOptions:idle] has nothing to do before
     * it is stopped, 10 s by default.
     *
     * Since: 0.1
     */
    props[PROP_STOP] = usec("stop", STOP);

    /**
     * GAforkPoolOptions:queue-max:
     *
     * Most calls that wait in the queue; beyond it a call fails with %G_IO_ERROR_NO_SPACE, and
     * [signal@Afork.Pool::drain] tells when half of it is free again. 0, the default: no limit.
     *
     * Since: 0.1
     */
    props[PROP_QUEUE_MAX] = g_param_spec_uint("queue-max", NULL, NULL, 0, G_MAXUINT, 0, PLAIN);
}

static void install_workers(void)
{
    /**
     * GAforkPoolOptions:rpc:
     *
     * How workers are called. %NULL, the default: the defaults of [class@Afork.RpcOptions].
     *
     * Since: 0.1
     */
    props[PROP_RPC] = g_param_spec_object("rpc", NULL, NULL, GAFORK_TYPE_RPC_OPTIONS, PLAIN);

    /**
     * GAforkPoolOptions:single-call:
     *
     * Whether each call has a process of its own, forked for it, which ends with it: nothing of a
     * call is left for the next. [property@Afork.PoolOptions:spares] make it faster.
     * [property@Afork.PoolOptions:load] is 1 then; `idle` and retirement mean nothing.
     *
     * Since: 0.1
     */
    props[PROP_SINGLE_CALL] = g_param_spec_boolean("single-call", NULL, NULL, FALSE, PLAIN);

    /**
     * GAforkPoolOptions:spares:
     *
     * Children of the pool's template that are forked in advance, so that a worker is there sooner;
     * see [method@Afork.Process.set_spares].
     *
     * Since: 0.1
     */
    props[PROP_SPARES] = g_param_spec_uint("spares", NULL, NULL, 0, G_MAXUINT, 0, PLAIN);

    /**
     * GAforkPoolOptions:limits:
     *
     * Limits of each worker. %NULL, the default: none.
     *
     * Since: 0.1
     */
    props[PROP_LIMITS] = g_param_spec_object("limits", NULL, NULL, GAFORK_TYPE_LIMITS, PLAIN);

    /**
     * GAforkPoolOptions:crash:
     *
     * What becomes of a call whose worker ended while it worked on it.
     *
     * Since: 0.1
     */
    props[PROP_CRASH] = g_param_spec_enum("crash", NULL, NULL, GAFORK_TYPE_CRASH, GAFORK_CRASH_FAIL,
                                          PLAIN);

    /**
     * GAforkPoolOptions:max-failures:
     *
     * Workers that may fail one after the other, that is, end by themselves before they have
     * answered anything; 5 by default. Between such starts pass 0.1 to 10 s, twice as many each
     * time. Then the pool is [property@Afork.Pool:broken].
     *
     * Since: 0.1
     */
    props[PROP_MAX_FAILURES] = g_param_spec_uint("max-failures", NULL, NULL, 1, G_MAXINT,
                                                 MAX_FAILURES, PLAIN);
}

static void install_retirement(void)
{
    /**
     * GAforkPoolOptions:retire-calls:
     *
     * After how many calls a worker is replaced. 0, the default: never.
     *
     * Since: 0.1
     */
    props[PROP_RETIRE_CALLS] = g_param_spec_uint64("retire-calls", NULL, NULL, 0, G_MAXUINT64, 0,
                                                   PLAIN);

    /**
     * GAforkPoolOptions:retire-age:
     *
     * At which age a worker is replaced, in microseconds. 0, the default: never.
     *
     * Since: 0.1
     */
    props[PROP_RETIRE_AGE] = usec("retire-age", 0);

    /**
     * GAforkPoolOptions:retire-memory:
     *
     * With how many octets of memory that it does not share a worker is replaced; looked at after
     * calls, some ten times a second. 0, the default: never.
     *
     * Since: 0.1
     */
    props[PROP_RETIRE_MEMORY] = g_param_spec_uint64("retire-memory", NULL, NULL, 0, G_MAXUINT64, 0,
                                                    PLAIN);
}

static void gafork_pool_options_class_init(GAforkPoolOptionsClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->set_property = set_property;
    object_class->get_property = get_property;
    object_class->finalize = finalize;
    install_sizes();
    install_workers();
    install_retirement();
    g_object_class_install_properties(object_class, N_PROPS, props);
}

/**
 * gafork_pool_options_new:
 *
 * Makes an object with the defaults.
 *
 * Returns: (transfer full): new options
 *
 * Since: 0.1
 */
GAforkPoolOptions *gafork_pool_options_new(void)
{
    return g_object_new(GAFORK_TYPE_POOL_OPTIONS, NULL);
}
