/* SPDX-License-Identifier: MIT
 *
 * The options of a context, as properties that are set at construction. Knows nothing of what a
 * context does.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-options.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "gafork-enums.h"

/* The caller may close his own at once, although the core's context comes later. */
static void set_stdio_fd(struct gafork__options *self, unsigned i, int fd)
{
    if (fd < 0)
        return;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (copy < 0) {
        self->stdio_error = -errno;
        return;
    }
    self->stdio[i].fd = copy;
    self->stdio[i].mode = AFORK_STDIO_FD;
}

/* A descriptor decides, in whichever order the two were given. */
static void set_stdio_mode(struct gafork__options *self, unsigned i, int mode)
{
    if (self->stdio[i].fd < 0)
        self->stdio[i].mode = (enum afork_stdio_mode)mode;
}

void gafork__options_set(struct gafork__options *self, guint id, const GValue *value)
{
    switch (id) {
    case GAFORK__PROP_PERL:
        self->perl = g_value_dup_string(value);
        break;
    case GAFORK__PROP_PEER:
        self->peer = g_value_get_enum(value);
        break;
    case GAFORK__PROP_SERVE_MODULE:
        self->serve_module = g_value_dup_string(value);
        break;
    case GAFORK__PROP_INCLUDE_DIRS:
        self->include_dirs = g_value_dup_boxed(value);
        break;
    case GAFORK__PROP_ENVIRONMENT:
        self->environment = g_value_dup_boxed(value);
        break;
    case GAFORK__PROP_ENVIRONMENT_CHANGES:
        self->environment_changes = g_value_dup_boxed(value);
        break;
    case GAFORK__PROP_WORKING_DIRECTORY:
        self->working_directory = g_value_dup_string(value);
        break;
    case GAFORK__PROP_STANDARD_INPUT:
    case GAFORK__PROP_STANDARD_OUTPUT:
    case GAFORK__PROP_STANDARD_ERROR:
        set_stdio_mode(self, id - GAFORK__PROP_STANDARD_INPUT, g_value_get_enum(value));
        break;
    case GAFORK__PROP_STANDARD_INPUT_FD:
    case GAFORK__PROP_STANDARD_OUTPUT_FD:
    case GAFORK__PROP_STANDARD_ERROR_FD:
        set_stdio_fd(self, id - GAFORK__PROP_STANDARD_INPUT_FD, g_value_get_int(value));
        break;
    case GAFORK__PROP_NEW_SESSION:
        self->new_session = g_value_get_boolean(value);
        break;
    case GAFORK__PROP_THREADS:
        self->threads = g_value_get_enum(value);
        break;
    case GAFORK__PROP_SPARES:
        self->spares = g_value_get_uint(value);
        break;
    case GAFORK__PROP_PRIORITY:
        self->priority = g_value_get_int(value);
        break;
    case GAFORK__PROP_MAIN_CONTEXT:
        self->main_context = g_value_dup_boxed(value);
        break;
    }
}

void gafork__options_get(const struct gafork__options *self, guint id, GValue *value)
{
    switch (id) {
    case GAFORK__PROP_PERL:
        g_value_set_string(value, self->perl);
        break;
    case GAFORK__PROP_PEER:
        g_value_set_enum(value, self->peer);
        break;
    case GAFORK__PROP_SERVE_MODULE:
        g_value_set_string(value, self->serve_module);
        break;
    case GAFORK__PROP_INCLUDE_DIRS:
        g_value_set_boxed(value, self->include_dirs);
        break;
    case GAFORK__PROP_ENVIRONMENT:
        g_value_set_boxed(value, self->environment);
        break;
    case GAFORK__PROP_ENVIRONMENT_CHANGES:
        g_value_set_boxed(value, self->environment_changes);
        break;
    case GAFORK__PROP_WORKING_DIRECTORY:
        g_value_set_string(value, self->working_directory);
        break;
    case GAFORK__PROP_STANDARD_INPUT:
    case GAFORK__PROP_STANDARD_OUTPUT:
    case GAFORK__PROP_STANDARD_ERROR:
        g_value_set_enum(value, (int)self->stdio[id - GAFORK__PROP_STANDARD_INPUT].mode);
        break;
    case GAFORK__PROP_NEW_SESSION:
        g_value_set_boolean(value, self->new_session);
        break;
    case GAFORK__PROP_THREADS:
        g_value_set_enum(value, self->threads);
        break;
    case GAFORK__PROP_SPARES:
        g_value_set_uint(value, self->spares);
        break;
    case GAFORK__PROP_PRIORITY:
        g_value_set_int(value, self->priority);
        break;
    case GAFORK__PROP_MAIN_CONTEXT:
        g_value_set_boxed(value, self->main_context);
        break;
    }
}

static GParamSpec *props[GAFORK__N_PROPS];

/* Properties that are set at construction, and what else they are. */
#define ONCE (G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS)
#define CHANGES (ONCE | G_PARAM_EXPLICIT_NOTIFY)
#define WRITTEN (G_PARAM_WRITABLE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS)

static GParamSpec *string_list(const char *name)
{
    return g_param_spec_boxed(name, NULL, NULL, G_TYPE_STRV, ONCE);
}

static GParamSpec *stdio_mode(const char *name)
{
    return g_param_spec_enum(name, NULL, NULL, GAFORK_TYPE_STDIO, GAFORK_STDIO_DEFAULT, ONCE);
}

static GParamSpec *stdio_fd(const char *name)
{
    return g_param_spec_int(name, NULL, NULL, -1, G_MAXINT, -1, WRITTEN);
}

static void install_perl_properties(void)
{
    /**
     * GAforkContext:perl: (getter get_perl)
     *
     * The perl to execute; searched in `PATH` if it holds no slash. %NULL, the default: the
     * environment variable `AFORK_PERL`, else the one that was found when afork was built. Reading
     * it gives what the next start would execute. A perl that is not `afork-perl` needs
     * [property@Afork.Context:peer] set. Changed by [method@Afork.Context.set_perl].
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_PERL] = g_param_spec_string("perl", NULL, NULL, NULL, CHANGES);

    /**
     * GAforkContext:peer:
     *
     * What the perl is.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_PEER] = g_param_spec_enum("peer", NULL, NULL, GAFORK_TYPE_PEER,
                                                 GAFORK_PEER_OWN, CHANGES);

    /**
     * GAforkContext:serve-module:
     *
     * The module whose function `me` serves, for %GAFORK_PEER_ORIGINAL only. %NULL, the default:
     * `AFork::Serve`, which is part of afork; or `AnyEvent::Fork::Serve`.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_SERVE_MODULE] = g_param_spec_string("serve-module", NULL, NULL, NULL,
                                                           CHANGES);

    /**
     * GAforkContext:include-dirs:
     *
     * Directories that are put in front of `@INC`.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_INCLUDE_DIRS] = string_list("include-dirs");

    /**
     * GAforkContext:threads:
     *
     * What a server does when it is told to fork while it runs more than one thread.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_THREADS] = g_param_spec_enum("threads", NULL, NULL, GAFORK_TYPE_THREADS,
                                                    GAFORK_THREADS_WARN, ONCE);

    /**
     * GAforkContext:spares:
     *
     * How many processes are forked in advance for [ctor@Afork.Process.new]; see
     * [method@Afork.Process.set_spares]. Not with %GAFORK_PEER_ORIGINAL.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_SPARES] = g_param_spec_uint("spares", NULL, NULL, 0, G_MAXUINT, 0, ONCE);
}

static void install_process_properties(void)
{
    /**
     * GAforkContext:environment:
     *
     * The environment of a perl, as `NAME=value`. %NULL, the default: that of this program, taken
     * anew at each start.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_ENVIRONMENT] = string_list("environment");

    /**
     * GAforkContext:environment-changes:
     *
     * Changes to that environment: `NAME=value` adds or replaces, `NAME` drops.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_ENVIRONMENT_CHANGES] = string_list("environment-changes");

    /**
     * GAforkContext:working-directory:
     *
     * Where a perl is started. %NULL, the default: where this program is at that time.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_WORKING_DIRECTORY] = g_param_spec_string("working-directory", NULL, NULL,
                                                                NULL, ONCE);

    /**
     * GAforkContext:new-session:
     *
     * Start each perl in a session of its own, so that signals from a terminal (Ctrl-C) reach this
     * program alone.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_NEW_SESSION] = g_param_spec_boolean("new-session", NULL, NULL, FALSE, ONCE);
}

static void install_stdio_properties(void)
{
    /**
     * GAforkContext:standard-input:
     *
     * What standard input is.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_STANDARD_INPUT] = stdio_mode("standard-input");

    /**
     * GAforkContext:standard-output:
     *
     * What standard output is.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_STANDARD_OUTPUT] = stdio_mode("standard-output");

    /**
     * GAforkContext:standard-error:
     *
     * What standard error is.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_STANDARD_ERROR] = stdio_mode("standard-error");

    /**
     * GAforkContext:standard-input-fd:
     *
     * A descriptor for standard input, which makes [property@Afork.Context:standard-input]
     * %GAFORK_STDIO_FD. It is duplicated: the caller may close it at once. -1: none.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_STANDARD_INPUT_FD] = stdio_fd("standard-input-fd");

    /**
     * GAforkContext:standard-output-fd:
     *
     * The same for standard output.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_STANDARD_OUTPUT_FD] = stdio_fd("standard-output-fd");

    /**
     * GAforkContext:standard-error-fd:
     *
     * The same for standard error.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_STANDARD_ERROR_FD] = stdio_fd("standard-error-fd");
}

static void install_loop_properties(void)
{
    /**
     * GAforkContext:priority: (getter get_priority)
     *
     * The priority with which everything arrives. A program that draws may want less than the
     * default, so that results do not starve redrawing.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_PRIORITY] = g_param_spec_int("priority", NULL, NULL, G_MININT, G_MAXINT,
                                                    G_PRIORITY_DEFAULT, ONCE);

    /**
     * GAforkContext:main-context: (getter get_main_context)
     *
     * The main context in which everything arrives. %NULL, the default: that which is the
     * thread-default one at construction.
     *
     * Since: 0.1
     */
    props[GAFORK__PROP_MAIN_CONTEXT] = g_param_spec_boxed("main-context", NULL, NULL,
                                                          G_TYPE_MAIN_CONTEXT, ONCE);
}

void gafork__options_install(GObjectClass *object_class)
{
    install_perl_properties();
    install_process_properties();
    install_stdio_properties();
    install_loop_properties();
    g_object_class_install_properties(object_class, GAFORK__N_PROPS, props);
}

void gafork__options_init(struct gafork__options *self)
{
    for (int i = 0; i < GAFORK__N_STDIO; i++)
        self->stdio[i].fd = -1;
}

void gafork__options_clear(struct gafork__options *self)
{
    gafork__options_close(self);
    g_free(self->perl);
    g_free(self->serve_module);
    g_free(self->working_directory);
    g_strfreev(self->include_dirs);
    g_strfreev(self->environment);
    g_strfreev(self->environment_changes);
    g_main_context_unref(self->main_context);
}

void gafork__options_close(struct gafork__options *self)
{
    for (int i = 0; i < GAFORK__N_STDIO; i++)
        if (self->stdio[i].fd >= 0) {
            close(self->stdio[i].fd);
            self->stdio[i].fd = -1;
        }
}

int gafork__options_fill(const struct gafork__options *self, struct afork_context_options *core)
{
    core->perl = self->perl;
    core->peer = (enum afork_peer)self->peer;
    core->serve_module = self->serve_module;
    core->include_dirs = (const char *const *)self->include_dirs;
    core->environment = (const char *const *)self->environment;
    core->environment_changes = (const char *const *)self->environment_changes;
    core->working_directory = self->working_directory;
    core->standard_input = self->stdio[STDIN_FILENO];
    core->standard_output = self->stdio[STDOUT_FILENO];
    core->standard_error = self->stdio[STDERR_FILENO];
    core->new_session = self->new_session;
    core->threads = (enum afork_threads)self->threads;
    core->spares = self->spares;
    return self->stdio_error;
}

void gafork__options_set_perl(struct gafork__options *self, const char *perl, GAforkPeer peer,
                              const char *serve_module)
{
    char *old_perl = self->perl, *old_module = self->serve_module; /* may be what was passed */

    self->perl = g_strdup(perl);
    self->peer = peer;
    self->serve_module = g_strdup(serve_module);
    g_free(old_perl);
    g_free(old_module);
}

void gafork__options_notify_perl(GObject *object)
{
    g_object_freeze_notify(object);
    g_object_notify_by_pspec(object, props[GAFORK__PROP_PERL]);
    g_object_notify_by_pspec(object, props[GAFORK__PROP_PEER]);
    g_object_notify_by_pspec(object, props[GAFORK__PROP_SERVE_MODULE]);
    g_object_thaw_notify(object);
}
