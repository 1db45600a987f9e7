/* SPDX-License-Identifier: MIT
 *
 * Calls spread over workers. Documented in gafork-pool.c, gafork-pool-options.c and
 * gafork-worker.c.
 */
#ifndef GAFORK_POOL_H
#define GAFORK_POOL_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include "gafork-call.h"
#include "gafork-process.h"
#include "gafork-types.h"

AFORK_BEGIN_DECLS

#define GAFORK_TYPE_POOL_OPTIONS (gafork_pool_options_get_type())

AFORK_EXPORT G_DECLARE_FINAL_TYPE(GAforkPoolOptions, gafork_pool_options, GAFORK, POOL_OPTIONS,
                                  GObject)

AFORK_EXPORT GAforkPoolOptions *gafork_pool_options_new(void);

#define GAFORK_TYPE_WORKER (gafork_worker_get_type())

AFORK_EXPORT G_DECLARE_FINAL_TYPE(GAforkWorker, gafork_worker, GAFORK, WORKER, GObject)

AFORK_EXPORT int gafork_worker_get_pid(GAforkWorker *self);
AFORK_EXPORT guint gafork_worker_get_calls(GAforkWorker *self);

#define GAFORK_TYPE_POOL_STATS (gafork_pool_stats_get_type())

typedef struct _GAforkPoolStats GAforkPoolStats;

struct _GAforkPoolStats {
    guint workers;
    guint busy;
    guint64 queued;
    guint64 running;
    guint64 completed;
    guint64 failed;
    guint64 timed_out;
    guint64 cancelled;
    guint64 retried;
    guint64 started;
    guint64 crashed;
    guint64 retired;
};

AFORK_EXPORT GType gafork_pool_stats_get_type(void);

AFORK_EXPORT GAforkPoolStats *gafork_pool_stats_copy(const GAforkPoolStats *self);
AFORK_EXPORT void gafork_pool_stats_free(GAforkPoolStats *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(GAforkPoolStats, gafork_pool_stats_free)

#define GAFORK_TYPE_POOL (gafork_pool_get_type())

AFORK_EXPORT G_DECLARE_FINAL_TYPE(GAforkPool, gafork_pool, GAFORK, POOL, GObject)

AFORK_EXPORT GAforkPool *gafork_pool_new(GAforkProcess *process, const char *function,
                                         GAforkPoolOptions *options, GError **error);

AFORK_EXPORT gboolean gafork_pool_set_size(GAforkPool *self, guint max, guint idle, guint load,
                                           GError **error);
AFORK_EXPORT gboolean gafork_pool_retire(GAforkPool *self, GError **error);
AFORK_EXPORT gboolean gafork_pool_reset(GAforkPool *self, GError **error);
AFORK_EXPORT void gafork_pool_cancel(GAforkPool *self);

AFORK_EXPORT const char *gafork_pool_get_function(GAforkPool *self);
AFORK_EXPORT guint gafork_pool_get_max(GAforkPool *self);
AFORK_EXPORT guint gafork_pool_get_idle(GAforkPool *self);
AFORK_EXPORT guint gafork_pool_get_load(GAforkPool *self);
AFORK_EXPORT guint gafork_pool_get_n_workers(GAforkPool *self);
AFORK_EXPORT guint gafork_pool_get_n_busy(GAforkPool *self);
AFORK_EXPORT guint gafork_pool_get_n_queued(GAforkPool *self);
AFORK_EXPORT guint gafork_pool_get_n_running(GAforkPool *self);
AFORK_EXPORT gboolean gafork_pool_get_broken(GAforkPool *self);
AFORK_EXPORT const char *gafork_pool_get_failure(GAforkPool *self);
AFORK_EXPORT GListModel *gafork_pool_get_workers(GAforkPool *self);
AFORK_EXPORT GAforkPoolStats *gafork_pool_get_stats(GAforkPool *self, GError **error);

AFORK_EXPORT guint gafork_cpu_count(void);

AFORK_END_DECLS

#endif
