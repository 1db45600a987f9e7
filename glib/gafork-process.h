/* SPDX-License-Identifier: MIT
 *
 * The process as a GObject. Documented in gafork-process.c.
 */
#ifndef GAFORK_PROCESS_H
#define GAFORK_PROCESS_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include "gafork-context.h"
#include "gafork-exit.h"
#include "gafork-types.h"

AFORK_BEGIN_DECLS

#define GAFORK_TYPE_PROCESS (gafork_process_get_type())

AFORK_EXPORT G_DECLARE_FINAL_TYPE(GAforkProcess, gafork_process, GAFORK, PROCESS, GObject)

AFORK_EXPORT GAforkProcess *gafork_process_new(GAforkContext *context, GError **error);
AFORK_EXPORT GAforkProcess *gafork_process_new_exec(GAforkContext *context, GError **error);
AFORK_EXPORT GAforkProcess *gafork_process_new_from_fd(GAforkContext *context, int fd,
                                                       GAforkPeer peer, GError **error);
AFORK_EXPORT GAforkProcess *gafork_process_fork(GAforkProcess *self, GError **error);

AFORK_EXPORT gboolean gafork_process_eval(GAforkProcess *self, const char *code,
                                          const char *const *arguments, GError **error);
AFORK_EXPORT gboolean gafork_process_eval_bytes(GAforkProcess *self, GBytes *code,
                                                GVariant *arguments, GError **error);
AFORK_EXPORT gboolean gafork_process_require(GAforkProcess *self, const char *const *modules,
                                             GError **error);
AFORK_EXPORT gboolean gafork_process_send_arg(GAforkProcess *self, const char *argument,
                                              GError **error);
AFORK_EXPORT gboolean gafork_process_send_bytes(GAforkProcess *self, GBytes *argument,
                                                GError **error);
AFORK_EXPORT gboolean gafork_process_send_fd(GAforkProcess *self, int fd, GError **error);

AFORK_EXPORT gboolean gafork_process_set_exit_mode(GAforkProcess *self, GAforkExitMode mode,
                                                   GError **error);
AFORK_EXPORT gboolean gafork_process_end_with_host(GAforkProcess *self, GError **error);

AFORK_EXPORT void gafork_process_run_async(GAforkProcess *self, const char *function,
                                           GCancellable *cancellable, GAsyncReadyCallback callback,
                                           gpointer user_data);
AFORK_EXPORT GSocketConnection *gafork_process_run_finish(GAforkProcess *self, GAsyncResult *result,
                                                          GError **error);

AFORK_EXPORT void gafork_process_to_fd_async(GAforkProcess *self, GCancellable *cancellable,
                                             GAsyncReadyCallback callback, gpointer user_data);
AFORK_EXPORT int gafork_process_to_fd_finish(GAforkProcess *self, GAsyncResult *result,
                                             GError **error);

AFORK_EXPORT void gafork_process_wait_async(GAforkProcess *self, GCancellable *cancellable,
                                            GAsyncReadyCallback callback, gpointer user_data);
AFORK_EXPORT GAforkExit *gafork_process_wait_finish(GAforkProcess *self, GAsyncResult *result,
                                                    GError **error);

AFORK_EXPORT gboolean gafork_process_kill(GAforkProcess *self, int signal_number, GError **error);
AFORK_EXPORT void gafork_process_close(GAforkProcess *self);

AFORK_EXPORT GAforkContext *gafork_process_get_context(GAforkProcess *self);
AFORK_EXPORT int gafork_process_get_pid(GAforkProcess *self);
AFORK_EXPORT int gafork_process_get_peer_pid(GAforkProcess *self);
AFORK_EXPORT GAforkExit *gafork_process_get_exit(GAforkProcess *self);

AFORK_END_DECLS

#endif
