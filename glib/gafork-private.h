/* SPDX-License-Identifier: MIT
 *
 * What the files of libafork-glib share.
 */
#ifndef GAFORK_PRIVATE_H
#define GAFORK_PRIVATE_H

#include <afork/afork.h>

#include "afork-glib-loop.h"
#include "gafork-context.h"
#include "gafork-exit.h"
#include "gafork-limits.h"
#include "gafork-process.h"

/* afork-glib-loop.c */

/* Has `cb` called after each dispatch of a watcher or timer of `loop`, from the loop; not any more
 * once the loop was freed. */
void afork_glib__loop_set_after(struct afork_glib_loop *loop, void (*cb)(void *data), void *data);

/* gafork-types.c */

/* Perl's text, of `len` octets or, with -1, up to a NUL, as a program can show it: valid UTF-8, no
 * newline at the end. The caller frees it. */
char *gafork__text(const char *octets, gssize len);

/* The error that says what stopped a process. */
GError *gafork__error_new(const struct afork_exit *failure);

/* Whether a call of the core succeeded; sets `error` if not. */
gboolean gafork__check(int result, GError **error);

/* gafork-exit.c */

GAforkExit *gafork__exit_new(const struct afork_exit *core);

/* gafork-limits.c */

/* What the core takes, borrowed. */
void gafork__limits_fill(GAforkLimits *self, struct afork_limits *core);

/* gafork-context.c */

/* The core's context, made at the first call; NULL and `error` if it cannot be, or was closed. */
struct afork_context *gafork__context_get_core(GAforkContext *self, GError **error);

/* gafork-log.c */
void gafork__log_core(struct afork_context *core);
void gafork__log_warning(const char *message);

/* Puts in front of `error` what could not be started, and where: the core tells neither apart. */
void gafork__context_name_start(GAforkContext *self, GError **error);

/* Makes a process known, for warnings, pids and the context's end. It is not referenced, and takes
 * itself out again. */
void gafork__context_add(GAforkContext *self, struct afork_process *core, GAforkProcess *process);
void gafork__context_remove(GAforkContext *self, struct afork_process *core,
                            GAforkProcess *process);

/* For dispose. Whether the calling thread is the context's home, where what the loop knows of
 * `object` may be released; then gafork__context_leave() must follow. If it is not, `object` is
 * disposed of once more at home, and is left as it is. */
gboolean gafork__context_enter(GAforkContext *self, GObject *object);
void gafork__context_leave(GAforkContext *self);

/* Has the pids of processes looked at on the next turn of the loop. */
void gafork__context_look_soon(GAforkContext *self);

/* gafork-task.c */

/* A task of `source` that returns in the context's main context, from wherever it is made. */
GTask *gafork__task_new(GAforkContext *context, gpointer source, GCancellable *cancellable,
                        GAsyncReadyCallback callback, gpointer user_data, gpointer tag);

/* Fails `task`, taken, with G_IO_ERROR_CLOSED, on a later turn. */
void gafork__task_return_closed(GTask *task);

/* Fails `task` with G_IO_ERROR_CANCELLED, also if its cancellable was reset meanwhile. */
void gafork__task_return_cancelled(GTask *task);

/* Calls `cb` with `data` from the task's main context once its cancellable is cancelled. NULL if it
 * has none. */
GSource *gafork__task_watch_cancellable(GTask *task, GCancellableSourceFunc cb, gpointer data);

/* Ends that; what is pointed to becomes NULL, and may be. */
void gafork__task_unwatch(GSource **source);

/* gafork-process.c */

/* The object of a process that was just made, taken. */
GAforkProcess *gafork__process_new(GAforkContext *context, struct afork_process *core);

struct afork_process *gafork__process_get_core(GAforkProcess *self);

/* Ends the life as a server, with `function` or, if that is NULL, by handing over. `task` is taken;
 * `return_fd` returns from it with the socket, which is taken. */
void gafork__process_leave(GAforkProcess *self, GTask *task, const char *function,
                           void (*return_fd)(GTask *task, int fd));

/* Whether a call of the core for this process succeeded; sets `error` if not. */
gboolean gafork__process_check(GAforkProcess *self, int result, GError **error);

/* It was told to run by somebody who has the core's callback of the end from now on; and has not
 * any more. `end` is how it ended, if that was told meanwhile, or NULL. */
void gafork__process_lend(GAforkProcess *self);
void gafork__process_give_back(GAforkProcess *self, const struct afork_exit *end);

/* Whether the pid of the process is known. */
gboolean gafork__process_has_pid(GAforkProcess *self);

/* Tells changes of the pids. */
void gafork__process_update_pids(GAforkProcess *self);

/* The context was closed: what waits for the process fails. */
void gafork__process_context_closed(GAforkProcess *self);

#endif
