/* SPDX-License-Identifier: MIT
 *
 * What the files of GAforkPool share.
 *
 *   gafork-pool.c             what the core tells, calls, and the end
 *   gafork-pool-view.c        the numbers and the list of workers
 *   gafork-pool-properties.c  properties and signals
 */
#ifndef GAFORK_POOL_PRIVATE_H
#define GAFORK_POOL_PRIVATE_H

#include "gafork-call-private.h"
#include "gafork-pool.h"

/* Open, or told to finish; over, when there is no `core` any more: it was destroyed or closed.
 *
 * What the core has no callback for is looked at when something has happened, once in a turn of the
 * loop: `ticker` is ready then. */
struct _GAforkPool {
    GObject parent_instance;

    struct gafork__caller caller;
    char *function;
    struct afork_pool *core;
    gboolean closed;
    struct gafork__link *link; /* as long as the core may tell something to somebody */

    gboolean single_call;
    guint max, idle, load;
    GSource *ticker;
    gboolean due;
    guint n_workers, n_busy, n_queued, n_running; /* as the properties last told */
    gboolean broken;
    char *failure; /* NULL if it is not broken */

    GListStore *workers;
    GHashTable *by_core; /* struct afork_process -> GAforkWorker, those included that are leaving */
};

enum {
    GAFORK__POOL_PROP_FUNCTION = 1,
    GAFORK__POOL_PROP_MAX,
    GAFORK__POOL_PROP_IDLE,
    GAFORK__POOL_PROP_LOAD,
    GAFORK__POOL_PROP_N_WORKERS,
    GAFORK__POOL_PROP_N_BUSY,
    GAFORK__POOL_PROP_N_QUEUED,
    GAFORK__POOL_PROP_N_RUNNING,
    GAFORK__POOL_PROP_BROKEN,
    GAFORK__POOL_PROP_FAILURE,
    GAFORK__POOL_PROP_WORKERS,
    GAFORK__POOL_N_PROPS,
    GAFORK__POOL_PROP_TIMEOUT = GAFORK__POOL_N_PROPS
};

/* Signals, by number. */
enum gafork__pool_signal {
    GAFORK__POOL_EVENT,
    GAFORK__POOL_WORKER_STARTED,
    GAFORK__POOL_WORKER_EXITED,
    GAFORK__POOL_DRAIN,
    GAFORK__POOL_DESTROYED,
    GAFORK__POOL_N_SIGNALS
};

/* gafork-pool.c */

/* Whether a call of the core succeeded; in the pool's words. */
gboolean gafork__pool_check(GAforkPool *self, int result, GError **error);
/* The error of calls where there is no core any more. */
int gafork__pool_no_core(GAforkPool *self);

/* gafork-pool-view.c */

void gafork__pool_view_init(GAforkPool *self, const struct afork_pool_options *options);
/* Has all looked at on the next turn. */
void gafork__pool_look_soon(GAforkPool *self);
/* Looks at all now. */
void gafork__pool_look(GAforkPool *self);
/* A worker, which becomes known. */
GAforkWorker *gafork__pool_find_worker(GAforkPool *self, struct afork_process *core);
/* Takes one that has ended from the list. */
void gafork__pool_remove_worker(GAforkPool *self, struct afork_process *core, GAforkWorker *worker);

/* gafork-pool-properties.c */

void gafork__pool_install(GObjectClass *object_class);
void gafork__pool_notify(GAforkPool *self, guint id);
extern guint gafork__pool_signals[GAFORK__POOL_N_SIGNALS];

#endif
