/* SPDX-License-Identifier: MIT
 *
 * Spares of templates. Documented in gafork-spares.c.
 */
#ifndef GAFORK_SPARES_H
#define GAFORK_SPARES_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include "gafork-context.h"
#include "gafork-process.h"

AFORK_BEGIN_DECLS

#define GAFORK_TYPE_SPARE_STATS (gafork_spare_stats_get_type())

typedef struct _GAforkSpareStats GAforkSpareStats;

struct _GAforkSpareStats {
    guint ready;
    guint64 hits;
    guint64 misses;
    guint64 renewals;
    guint64 lost;
};

AFORK_EXPORT GType gafork_spare_stats_get_type(void);

AFORK_EXPORT GAforkSpareStats *gafork_spare_stats_copy(const GAforkSpareStats *self);
AFORK_EXPORT void gafork_spare_stats_free(GAforkSpareStats *self);

AFORK_EXPORT gboolean gafork_process_set_spares(GAforkProcess *self, guint n, GError **error);
AFORK_EXPORT GAforkSpareStats *gafork_process_get_spare_stats(GAforkProcess *self, GError **error);
AFORK_EXPORT GAforkSpareStats *gafork_context_get_spare_stats(GAforkContext *self, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(GAforkSpareStats, gafork_spare_stats_free)

AFORK_END_DECLS

#endif
