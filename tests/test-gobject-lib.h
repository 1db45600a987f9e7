/* SPDX-License-Identifier: MIT
 *
 * What the files behind test-gobject.h share: what the core's handles are there.
 */
#ifndef TEST_GOBJECT_LIB_H
#define TEST_GOBJECT_LIB_H

#include <afork/afork-glib.h>

#include "test-gobject.h"

struct afork_context {
    GAforkContext *object;
    unsigned refs;
    bool closed;
    GSList *alive; /* callees that may tell something */
};

struct afork_process {
    GAforkProcess *object;
    GAforkWorker *worker; /* of a pool, in place of all that; borrowed */
    struct afork_context *context;
    unsigned refs;
    afork_exit_cb *on_exit;
    void *exit_data;
};

/* What an rpc and a pool have in common. It holds its object until its end was told. */
struct callee {
    GAforkCallable *object;
    struct afork_context *context;
    unsigned users; /* references of the test */
    unsigned refs;  /* all: those together, its calls, what it may tell */
    bool ended, closed;
};

/* Nothing is told any more. */
void gobject_callee_end(struct callee *callee);

void gobject_context_unref(struct afork_context *context);

/* Objects that the case has tried to make. */
extern unsigned gobject_n_made;

/* The core's error for one of that layer; 0 for NULL. */
int gobject_error(const GError *error);

/* The same for a call that returns whether it succeeded; `error` is taken. */
int gobject_result(gboolean good, GError *error);

/* That an error of GAFORK_ERROR says what `exit` says, which may be NULL. */
void gobject_check_cause(const GError *error, GAforkExit *exit);

/* `*ret`, or NULL without an end; borrowed from `exit`. */
const struct afork_exit *gobject_exit(GAforkExit *exit, struct afork_exit *ret);

#endif
