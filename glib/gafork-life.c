/* SPDX-License-Identifier: MIT
 *
 * How a GAforkProcess is to end: the conversion of arguments, nothing else.
 */
#define AFORK_GLIB_COMPILATION

#include "gafork-private.h"

/**
 * gafork_process_set_exit_mode:
 * @self: a process that was not told to run
 * @mode: what runs when it ends
 * @error: return location for an error
 *
 * Says what runs when the process, and what will be forked from it, ends: by return, exit, die or
 * end of file.
 *
 * Returns: %TRUE, or %FALSE with @error set; %G_IO_ERROR_NOT_SUPPORTED for %GAFORK_PEER_ORIGINAL
 *
 * Since: 0.1
 */
gboolean gafork_process_set_exit_mode(GAforkProcess *self, GAforkExitMode mode, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    return gafork__process_check(
        self,
        afork_process_set_exit_mode(gafork__process_get_core(self), (enum afork_exit_mode)mode),
        error);
}

/**
 * gafork_process_end_with_host:
 * @self: a process that was not told to run
 * @error: return location for an error
 *
 * Makes the process, and what will be forked from it, end with this program: by `SIGKILL` at once,
 * also in the middle of a computation or a sleep, however the program ends. Without this, a worker
 * ends when it finds its connection closed.
 *
 * [method@Afork.Context.close], or the end of the context's last reference, is the end of the
 * program as well, whoever has the connection. Programs that a worker executes are not ended.
 *
 * Returns: %TRUE, or %FALSE with @error set; %G_IO_ERROR_NOT_SUPPORTED for %GAFORK_PEER_ORIGINAL
 *
 * Since: 0.1
 */
gboolean gafork_process_end_with_host(GAforkProcess *self, GError **error)
{
    g_return_val_if_fail(GAFORK_IS_PROCESS(self), FALSE);
    return gafork__process_check(self, afork_process_end_with_host(gafork__process_get_core(self)),
                                 error);
}
