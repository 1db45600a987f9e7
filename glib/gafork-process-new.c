/* SPDX-License-Identifier: MIT
 *
 * How a GAforkProcess is made: forked from the default template or another process, or executed.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-private.h"

typedef int constructor(struct afork_context *context, struct afork_process **ret);

static GAforkProcess *construct(GAforkContext *context, constructor *make, GError **error)
{
    struct afork_process *core;

    if (!context)
        context = gafork_context_get_default();
    struct afork_context *core_context = gafork__context_get_core(context, error);
    if (!core_context)
        return NULL;
    if (!gafork__check(make(core_context, &core), error)) {
        gafork__context_name_start(context, error);
        return NULL;
    }
    return gafork__process_new(context, core);
}

/**
 * gafork_process_new:
 * @context: (nullable): a context, or %NULL for [func@Afork.Context.get_default]
 * @error: return location for an error
 *
 * Makes an empty server, forked from the context's default template, which is executed when first
 * needed.
 *
 * Returns: (transfer full): a new process, or %NULL with @error set
 *
 * Since: 0.1
 */
GAforkProcess *gafork_process_new(GAforkContext *context, GError **error)
{
    g_return_val_if_fail(!context || GAFORK_IS_CONTEXT(context), NULL);
    return construct(context, afork_process_new, error);
}

/**
 * gafork_process_new_exec:
 * @context: (nullable): a context, or %NULL for [func@Afork.Context.get_default]
 * @error: return location for an error
 *
 * Makes a server from a freshly executed perl. What the start itself cannot do, such as finding the
 * perl, is this call's error.
 *
 * Returns: (transfer full): a new process, or %NULL with @error set
 *
 * Since: 0.1
 */
GAforkProcess *gafork_process_new_exec(GAforkContext *context, GError **error)
{
    g_return_val_if_fail(!context || GAFORK_IS_CONTEXT(context), NULL);
    return construct(context, afork_process_new_exec, error);
}

/**
 * gafork_process_fork:
 * @self: a process that was not told to run
 * @error: return location for an error
 *
 * Makes a server forked from @self. It starts with a copy of all that was sent to @self so far:
 * code, strings and descriptors; @self keeps its own.
 *
 * Returns: (transfer full): a new process, or %NULL with @error set
 *
 * Since: 0.1
 */
GAforkProcess *gafork_process_fork(GAforkProcess *self, GError **error)
{
    struct afork_process *core;

    g_return_val_if_fail(GAFORK_IS_PROCESS(self), NULL);
    if (!gafork__process_check(self, afork_process_fork(gafork__process_get_core(self), &core),
                               error))
        return NULL;
    return gafork__process_new(gafork_process_get_context(self), core);
}
