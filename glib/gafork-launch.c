/* SPDX-License-Identifier: MIT
 *
 * Launchers for the GObject layer. Not for the scanner.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-launch.h"

#include "gafork-private.h"

gboolean gafork_context_set_launcher(GAforkContext *self, afork_launch_cb *cb, gpointer data,
                                     GError **error)
{
    g_return_val_if_fail(GAFORK_IS_CONTEXT(self), FALSE);
    struct afork_context *core = gafork__context_get_core(self, error);

    return core && gafork__check(afork_context_set_launcher(core, cb, data), error);
}

GAforkProcess *gafork_process_new_launched(GAforkContext *context, afork_launch_cb *cb,
                                           gpointer data, GError **error)
{
    struct afork_process *core;

    g_return_val_if_fail(!context || GAFORK_IS_CONTEXT(context), NULL);
    if (!context)
        context = gafork_context_get_default();
    struct afork_context *core_context = gafork__context_get_core(context, error);
    if (!core_context ||
        !gafork__check(afork_process_new_launched(core_context, cb, data, &core), error))
        return NULL;
    return gafork__process_new(context, core);
}
