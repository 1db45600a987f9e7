/* SPDX-License-Identifier: MIT
 *
 * Tasks that return where their context says, and never inside the call that made them fail.
 */
#define AFORK_GLIB_COMPILATION

#include <errno.h>

#include "gafork-private.h"

GTask *gafork__task_new(GAforkContext *context, gpointer source, GCancellable *cancellable,
                        GAsyncReadyCallback callback, gpointer user_data, gpointer tag)
{
    GMainContext *main_context = gafork_context_get_main_context(context);
    g_autoptr(GMainContext) current = g_main_context_ref_thread_default();

    if (main_context != current)
        g_main_context_push_thread_default(main_context);
    GTask *task = g_task_new(source, cancellable, callback, user_data);
    if (main_context != current)
        g_main_context_pop_thread_default(main_context);
    (g_task_set_source_tag)(task, tag); /* not the macro, which would name the task "tag" */
    g_task_set_priority(task, gafork_context_get_priority(context));
    return task;
}

static gboolean return_closed(gpointer task)
{
    g_autoptr(GError) error = NULL;

    gafork__check(-ESHUTDOWN, &error);
    g_task_return_error(task, g_steal_pointer(&error));
    return G_SOURCE_REMOVE;
}

void gafork__task_return_closed(GTask *task)
{
    g_autoptr(GTask) taken = task;
    g_autoptr(GSource) source = g_idle_source_new();

    g_task_attach_source(taken, source, return_closed);
}

void gafork__task_return_cancelled(GTask *task)
{
    g_task_return_new_error(task, G_IO_ERROR, G_IO_ERROR_CANCELLED, "Operation was cancelled");
}

GSource *gafork__task_watch_cancellable(GTask *task, GCancellableSourceFunc cb, gpointer data)
{
    GCancellable *cancellable = g_task_get_cancellable(task);

    if (!cancellable)
        return NULL;
    GSource *source = g_cancellable_source_new(cancellable);
    g_source_set_callback(source, G_SOURCE_FUNC(cb), data, NULL);
    g_source_set_priority(source, g_task_get_priority(task));
    g_source_attach(source, g_task_get_context(task));
    return source;
}

void gafork__task_unwatch(GSource **source)
{
    if (!*source)
        return;
    g_source_destroy(*source);
    g_clear_pointer(source, g_source_unref);
}
