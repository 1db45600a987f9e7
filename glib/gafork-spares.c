/* SPDX-License-Identifier: MIT
 *
 * Spares of templates, for the GObject layer.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-spares.h"

#include "gafork-private.h"

/**
 * GAforkSpareStats:
 * @ready: spares that are there now, or being forked
 * @hits: processes that were spares before
 * @misses: processes that were forked when they were asked for, since no spare was there
 * @renewals: spares that were out of date
 * @lost: spares that ended unused, or could not be forked
 *
 * What became of spares, and of those who asked for a process.
 *
 * Since: 0.1
 */
G_DEFINE_BOXED_TYPE(GAforkSpareStats, gafork_spare_stats, gafork_spare_stats_copy,
                    gafork_spare_stats_free)

/**
 * gafork_spare_stats_copy: (skip)
 * @self: numbers
 *
 * Copies the numbers.
 *
 * Returns: (transfer full): the copy
 *
 * Since: 0.1
 */
GAforkSpareStats *gafork_spare_stats_copy(const GAforkSpareStats *self)
{
    return g_memdup2(self, sizeof *self);
}

/**
 * gafork_spare_stats_free: (skip)
 * @self: (transfer full): numbers
 *
 * Releases the numbers.
 *
 * Since: 0.1
 */
void gafork_spare_stats_free(GAforkSpareStats *self)
{
    g_free(self);
}

static GAforkSpareStats *stats_new(const struct afork_spare_stats *core)
{
    GAforkSpareStats *self = g_new(GAforkSpareStats, 1);

    *self = (GAforkSpareStats){core->ready, core->hits, core->misses, core->renewals, core->lost};
    return self;
}

/**
 * gafork_process_set_spares:
 * @self: a process that was not told to run
 * @n: how many, 0 for none
 * @error: return location for an error
 *
 * Keeps spares: children of @self that are forked in advance and made ready while nothing else is
 * to be done. [method@Afork.Process.fork] hands one out where there is one. Commands to @self make
 * them out of date; they are replaced, and end without a trace. For [ctor@Afork.Process.new] see
 * [property@Afork.Context:spares].
 *
 * Returns: %TRUE, or %FALSE with @error set: %G_IO_ERROR_NOT_SUPPORTED with %GAFORK_PEER_ORIGINAL
 *
 * Since: 0.1
 */
gboolean gafork_process_set_spares(GAforkProcess *self, guint n, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    return gafork__process_check(self, afork_process_set_spares(gafork__process_get_core(self), n),
                                 error);
}

/**
 * gafork_process_get_spare_stats:
 * @self: a process
 * @error: return location for an error
 *
 * What became of calls of [method@Afork.Process.fork], and of the spares.
 *
 * Returns: (transfer full): the numbers, or %NULL with @error set
 *
 * Since: 0.1
 */
GAforkSpareStats *gafork_process_get_spare_stats(GAforkProcess *self, GError **error)
{
    struct afork_spare_stats stats;

    g_return_val_if_fail(GAFORK_IS_PROCESS(self), NULL);
    int result = afork_process_get_spare_stats(gafork__process_get_core(self), &stats);
    return gafork__process_check(self, result, error) ? stats_new(&stats) : NULL;
}

/**
 * gafork_context_get_spare_stats:
 * @self: a context
 * @error: return location for an error
 *
 * What became of calls of [ctor@Afork.Process.new] on this context, and of the spares of its
 * default templates.
 *
 * Returns: (transfer full): the numbers, or %NULL with @error set
 *
 * Since: 0.1
 */
GAforkSpareStats *gafork_context_get_spare_stats(GAforkContext *self, GError **error)
{
    struct afork_spare_stats stats;

    g_return_val_if_fail(GAFORK_IS_CONTEXT(self), NULL);
    struct afork_context *core = gafork__context_get_core(self, error);
    if (!core || !gafork__check(afork_context_get_spare_stats(core, &stats), error))
        return NULL;
    return stats_new(&stats);
}
