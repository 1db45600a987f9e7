/* SPDX-License-Identifier: MIT
 *
 * GAforkRpcOptions: what a worker that is called is to be like, as properties.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-rpc.h"

#include "gafork-call-private.h"
#include "gafork-enums.h"

/**
 * GAforkRpcOptions:
 *
 * How workers are called, for [ctor@Afork.Rpc.new] and [class@Afork.PoolOptions]. Whatever property
 * is not set has its default. An object can be used any number of times, and changed in between.
 *
 * Since: 0.1
 */
struct _GAforkRpcOptions {
    GObject parent_instance;

    gboolean asynchronous, exceptions_end;
    GAforkFrames frames;
    GAforkSerialiser serialiser;
    char *serialiser_code, *init, *done;
    guint reply_max;
};

G_DEFINE_TYPE(GAforkRpcOptions, gafork_rpc_options, G_TYPE_OBJECT)

enum {
    PROP_ASYNCHRONOUS = 1,
    PROP_FRAMES,
    PROP_SERIALISER,
    PROP_SERIALISER_CODE,
    PROP_INIT,
    PROP_DONE,
    PROP_EXCEPTIONS_END,
    PROP_REPLY_MAX,
    N_PROPS
};

GAforkSerialiser gafork__rpc_options_fill(GAforkRpcOptions *self, struct afork_rpc_options *core)
{
    static const char *const serialisers[] = {
        [GAFORK_SERIALISER_OCTETS] = AFORK_SERIALISER_OCTETS,
        [GAFORK_SERIALISER_JSON] = AFORK_SERIALISER_JSON,
        [GAFORK_SERIALISER_STORABLE] = AFORK_SERIALISER_STORABLE,
        [GAFORK_SERIALISER_NSTORABLE] = AFORK_SERIALISER_NSTORABLE,
        [GAFORK_SERIALISER_CUSTOM] = NULL,
    };

    if (!self)
        return GAFORK_SERIALISER_OCTETS;
    GAforkSerialiser serialiser = self->serialiser_code ? GAFORK_SERIALISER_CUSTOM
                                                        : self->serialiser;
    core->async = self->asynchronous;
    core->frames = (enum afork_rpc_frames)self->frames;
    core->serialiser = serialiser == GAFORK_SERIALISER_CUSTOM ? self->serialiser_code
                                                              : serialisers[serialiser];
    core->init = self->init;
    core->done = self->done;
    core->exceptions_end = self->exceptions_end;
    core->reply_max = self->reply_max;
    return serialiser;
}

static void replace_string(char **string, const GValue *value)
{
    char *old = *string; /* may be what is set */

    *string = g_value_dup_string(value);
    g_free(old);
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
    GAforkRpcOptions *self = GAFORK_RPC_OPTIONS(object);

    switch (id) {
    case PROP_ASYNCHRONOUS:
        self->asynchronous = g_value_get_boolean(value);
        break;
    case PROP_FRAMES:
        self->frames = g_value_get_enum(value);
        break;
    case PROP_SERIALISER:
        self->serialiser = g_value_get_enum(value);
        break;
    case PROP_SERIALISER_CODE:
        replace_string(&self->serialiser_code, value);
        break;
    case PROP_INIT:
        replace_string(&self->init, value);
        break;
    case PROP_DONE:
        replace_string(&self->done, value);
        break;
    case PROP_EXCEPTIONS_END:
        self->exceptions_end = g_value_get_boolean(value);
        break;
    case PROP_REPLY_MAX:
        self->reply_max = g_value_get_uint(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    GAforkRpcOptions *self = GAFORK_RPC_OPTIONS(object);

    switch (id) {
    case PROP_ASYNCHRONOUS:
        g_value_set_boolean(value, self->asynchronous);
        break;
    case PROP_FRAMES:
        g_value_set_enum(value, (int)self->frames);
        break;
    case PROP_SERIALISER:
        g_value_set_enum(value, (int)self->serialiser);
        break;
    case PROP_SERIALISER_CODE:
        g_value_set_string(value, self->serialiser_code);
        break;
    case PROP_INIT:
        g_value_set_string(value, self->init);
        break;
    case PROP_DONE:
        g_value_set_string(value, self->done);
        break;
    case PROP_EXCEPTIONS_END:
        g_value_set_boolean(value, self->exceptions_end);
        break;
    case PROP_REPLY_MAX:
        g_value_set_uint(value, self->reply_max);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void finalize(GObject *object)
{
    GAforkRpcOptions *self = GAFORK_RPC_OPTIONS(object);

    g_free(self->serialiser_code);
    g_free(self->init);
    g_free(self->done);
    G_OBJECT_CLASS(gafork_rpc_options_parent_class)->finalize(object);
}

static void gafork_rpc_options_init(G_GNUC_UNUSED GAforkRpcOptions *self)
{
}

#define PLAIN (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS)

static GParamSpec *props[N_PROPS];

static void install_ways(void)
{
    /**
     * GAforkRpcOptions:asynchronous:
     *
     * %FALSE, the default: the function is called with the arguments, one call after the other;
     * what it returns is the result. %TRUE: it is called with a callback and the arguments, as
     * calls come; what the callback is called with, once, is the result. That needs the module
     * AnyEvent in the worker.
     *
     * Since: 0.1
     */
    props[PROP_ASYNCHRONOUS] = g_param_spec_boolean("asynchronous", NULL, NULL, FALSE, PLAIN);

    /**
     * GAforkRpcOptions:frames:
     *
     * What goes to and fro.
     *
     * Since: 0.1
     */
    props[PROP_FRAMES] = g_param_spec_enum("frames", NULL, NULL, GAFORK_TYPE_FRAMES,
                                           GAFORK_FRAMES_OWN, PLAIN);

    /**
     * GAforkRpcOptions:exceptions-end:
     *
     * Whether an exception ends the worker, as it does with %GAFORK_FRAMES_ORIGINAL, instead of
     * failing the call with %GAFORK_ERROR_DIED.
     *
     * Since: 0.1
     */
    props[PROP_EXCEPTIONS_END] = g_param_spec_boolean("exceptions-end", NULL, NULL, FALSE, PLAIN);

    /**
     * GAforkRpcOptions:reply-max:
     *
     * Octets that one answer or event may have at most; what is longer is a %GAFORK_ERROR_PROTOCOL.
     * 0, the default: 4 GiB less one.
     *
     * Since: 0.1
     */
    props[PROP_REPLY_MAX] = g_param_spec_uint("reply-max", NULL, NULL, 0, G_MAXUINT32, 0, PLAIN);
}

static void install_values(void)
{
    /**
     * GAforkRpcOptions:serialiser:
     *
     * How values become octets. %GAFORK_SERIALISER_CUSTOM is what
     * [property@Afork.RpcOptions:serialiser-code] says.
     *
     * Since: 0.1
     */
    props[PROP_SERIALISER] = g_param_spec_enum("serialiser", NULL, NULL, GAFORK_TYPE_SERIALISER,
                                               GAFORK_SERIALISER_OCTETS, PLAIN);

    /**
     * GAforkRpcOptions:serialiser-code:
     *
     * Perl code that returns two functions, one that packs a list into octets and one that unpacks
     * it; in place of [property@Afork.RpcOptions:serialiser]. %NULL, the default: none.
     *
     * Since: 0.1
     */
    props[PROP_SERIALISER_CODE] = g_param_spec_string("serialiser-code", NULL, NULL, NULL, PLAIN);
}

static void install_functions(void)
{
    /**
     * GAforkRpcOptions:init:
     *
     * Name of a function that is called first, with the arguments that were sent to the process.
     * %NULL, the default: none.
     *
     * Since: 0.1
     */
    props[PROP_INIT] = g_param_spec_string("init", NULL, NULL, NULL, PLAIN);

    /**
     * GAforkRpcOptions:done:
     *
     * With [property@Afork.RpcOptions:asynchronous], name of a function that is called when no more
     * calls come and all are answered. %NULL, the default: the worker exits.
     *
     * Since: 0.1
     */
    props[PROP_DONE] = g_param_spec_string("done", NULL, NULL, NULL, PLAIN);
}

static void gafork_rpc_options_class_init(GAforkRpcOptionsClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->set_property = set_property;
    object_class->get_property = get_property;
    object_class->finalize = finalize;
    install_ways();
    install_values();
    install_functions();
    g_object_class_install_properties(object_class, N_PROPS, props);
}

/**
 * gafork_rpc_options_new:
 *
 * Makes an object with the defaults.
 *
 * Returns: (transfer full): new options
 *
 * Since: 0.1
 */
GAforkRpcOptions *gafork_rpc_options_new(void)
{
    return g_object_new(GAFORK_TYPE_RPC_OPTIONS, NULL);
}
