/* SPDX-License-Identifier: MIT
 *
 * A GAforkProcess that another program gets, and one that comes from there.
 */
#define AFORK_GLIB_COMPILATION

#include <unistd.h>

#include "gafork-private.h"

/**
 * gafork_process_new_from_fd:
 * @context: (nullable): a context, or %NULL for [func@Afork.Context.get_default]
 * @fd: the command socket of a server that another program has handed over; taken on success
 * @peer: what the server is
 * @error: return location for an error
 *
 * Adopts a server that another program has handed over, with [method@Afork.Process.to_fd_async] or
 * otherwise: it is as that program left it. @fd is made close-on-exec and non-blocking.
 *
 * With %GAFORK_PEER_OWN it reports here from now on, as any process; only how it ends itself is not
 * known, because another program reaps it. If it is none of ours, that is %GAFORK_CAUSE_PROTOCOL,
 * and ends it. With %GAFORK_PEER_ORIGINAL it is given commands only.
 *
 * Returns: (transfer full): a new process, or %NULL with @error set, for example
 *   %G_IO_ERROR_CONNECTION_CLOSED if the server is gone
 *
 * Since: 0.1
 */
GAforkProcess *gafork_process_new_from_fd(GAforkContext *context, int fd, GAforkPeer peer,
                                          GError **error)
{
    struct afork_process *core;

    g_return_val_if_fail(!context || GAFORK_IS_CONTEXT(context), NULL);
    if (!context)
        context = gafork_context_get_default();
    struct afork_context *core_context = gafork__context_get_core(context, error);
    if (!core_context)
        return NULL;
    int result = afork_process_new_from_fd(core_context, fd, (enum afork_peer)peer, &core);
    if (!gafork__check(result, error)) {
        g_prefix_error(error, "no server can be adopted here: ");
        return NULL;
    }
    return gafork__process_new(context, core);
}

/* A descriptor that nobody asks for any more is closed with its box. */
static void fd_box_free(gpointer box)
{
    close(*(int *)box);
    g_free(box);
}

static void return_fd(GTask *task, int fd)
{
    int *box = g_new(int, 1);

    *box = fd;
    g_task_return_pointer(task, box, fd_box_free);
}

/**
 * gafork_process_to_fd_async:
 * @self: a process that was not told to run
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): called when the server has left, or could not
 * @user_data: data for @callback
 *
 * Hands the server over to another program, which gets its command socket, for example by
 * `g_unix_connection_send_fd()`, and adopts it with [ctor@Afork.Process.new_from_fd] or with
 * `new_from_fh` of Perl's AnyEvent::Fork. The server keeps all that was sent to it.
 *
 * Later commands fail with %G_IO_ERROR_INVALID_ARGUMENT. For this program the process has ended
 * then: its [property@Afork.Process:exit] says %GAFORK_CAUSE_UNKNOWN. What was forked from it stays
 * here.
 *
 * If @cancellable is cancelled before the call, nothing is sent, and the process stays a server. If
 * it is cancelled later, the call returns at once and the socket is closed as soon as there is one,
 * which ends the server.
 *
 * Since: 0.1
 */
void gafork_process_to_fd_async(GAforkProcess *self, GCancellable *cancellable,
                                GAsyncReadyCallback callback, gpointer user_data)
{
    g_return_if_fail(GAFORK_IS_PROCESS(self) && gafork_process_get_context(self));
    gafork__process_leave(self,
                          gafork__task_new(gafork_process_get_context(self), self, cancellable,
                                           callback, user_data, gafork_process_to_fd_async),
                          NULL, return_fd);
}

/**
 * gafork_process_to_fd_finish:
 * @self: a process
 * @result: what the callback was given
 * @error: return location for an error
 *
 * The command socket of the server. It belongs to the caller; closing it ends the server.
 *
 * Returns: the descriptor, or -1 with @error set: an [error@Afork.Error] says what stopped the
 *   process, with Perl's text
 *
 * Since: 0.1
 */
int gafork_process_to_fd_finish(GAforkProcess *self, GAsyncResult *result, GError **error)
{
    g_return_val_if_fail(g_task_is_valid(result, self), -1);
    g_return_val_if_fail(g_async_result_is_tagged(result, gafork_process_to_fd_async), -1);
    g_autofree int *box = g_task_propagate_pointer(G_TASK(result), error);
    return box ? *box : -1;
}
