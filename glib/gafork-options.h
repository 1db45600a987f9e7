/* SPDX-License-Identifier: MIT
 *
 * The options of a context. Private.
 */
#ifndef GAFORK_OPTIONS_H
#define GAFORK_OPTIONS_H

#include "gafork-types.h"

enum { GAFORK__N_STDIO = 3 };

enum {
    GAFORK__PROP_PERL = 1,
    GAFORK__PROP_PEER,
    GAFORK__PROP_SERVE_MODULE,
    GAFORK__PROP_INCLUDE_DIRS,
    GAFORK__PROP_ENVIRONMENT,
    GAFORK__PROP_ENVIRONMENT_CHANGES,
    GAFORK__PROP_WORKING_DIRECTORY,
    GAFORK__PROP_STANDARD_INPUT,
    GAFORK__PROP_STANDARD_OUTPUT,
    GAFORK__PROP_STANDARD_ERROR,
    GAFORK__PROP_STANDARD_INPUT_FD,
    GAFORK__PROP_STANDARD_OUTPUT_FD,
    GAFORK__PROP_STANDARD_ERROR_FD,
    GAFORK__PROP_NEW_SESSION,
    GAFORK__PROP_THREADS,
    GAFORK__PROP_SPARES,
    GAFORK__PROP_PRIORITY,
    GAFORK__PROP_MAIN_CONTEXT,
    GAFORK__N_PROPS
};

struct gafork__options {
    char *perl, *serve_module, *working_directory;
    GAforkPeer peer;
    GStrv include_dirs, environment, environment_changes;
    struct afork_stdio stdio[GAFORK__N_STDIO]; /* the descriptors are ours, or -1 */
    int stdio_error;                           /* of one that could not be duplicated, or 0 */
    gboolean new_session;
    GAforkThreads threads;
    guint spares;
    int priority;
    GMainContext *main_context;
};

void gafork__options_init(struct gafork__options *self);
void gafork__options_clear(struct gafork__options *self);

/* Closes the descriptors. */
void gafork__options_close(struct gafork__options *self);

/* The properties. */
void gafork__options_install(GObjectClass *object_class);
void gafork__options_set(struct gafork__options *self, guint id, const GValue *value);
void gafork__options_get(const struct gafork__options *self, guint id, GValue *value);

/* Changes those that may change, and says so. */
void gafork__options_set_perl(struct gafork__options *self, const char *perl, GAforkPeer peer,
                              const char *serve_module);
void gafork__options_notify_perl(GObject *object);

/* What the core takes, borrowed; a negative errno if a descriptor was bad. */
int gafork__options_fill(const struct gafork__options *self, struct afork_context_options *core);

#endif
