/* SPDX-License-Identifier: MIT
 *
 * afork for programs built on libuv (1.18 or later): include this one header. It brings in the
 * core's and <uv.h>.
 *
 * Everything here belongs to the thread that runs the uv_loop_t, and follows the rules of
 * afork-types.h. Beyond these, libuv's own hold:
 *
 *   Closing     A handle of libuv is gone only after its close callback, which comes from the loop.
 *               Close the contexts, then the adapter's loop, then turn the uv_loop_t once more;
 *               then uv_loop_close() returns 0. The handles that uv_walk() shows and that are not
 *               yours are the adapter's: leave them alone.
 *   Nesting     libuv's manual forbids uv_run() inside a callback, and afork does not need it. With
 *               what is the adapter's it works in the versions that were tried (1.18 to 1.51), but
 *               a descriptor that got, in the inner loop, the number of one closed there may then
 *               be reported ready when it is not.
 *   Fork        In a copy of the program that goes on with the uv_loop_t, call uv_loop_fork(),
 *               close the contexts, and release the adapter's loop before the loop turns. In a copy
 *               that does not, do not touch the adapter's loop: libuv would take its descriptors
 *               out of the original's poll set.
 *   Memory      Where libuv itself has no memory for its table of descriptors, it ends the program;
 *               so it does where the kernel has no epoll watch left for one that it was to watch
 *               (fs.epoll.max_user_watches), since it asks for that in the next turn only.
 *   SIGPIPE     libuv writes to sockets with it: a program that writes to workers ignores the
 *               signal, and gets UV_EPIPE instead.
 */
#ifndef AFORK_UV_H
#define AFORK_UV_H

#include <uv.h>

#include "afork.h"

AFORK_BEGIN_DECLS

struct afork_uv_loop;

/* Makes a loop for contexts on `uv`, which is borrowed until the loop was released and `uv` has
 * turned once more. Several may be on the same uv_loop_t.
 *
 * It keeps uv_run() going only while something is due: a callback that was asked for, or commands
 * that are not sent yet. A template that waits to be forked, and a worker after its channel was
 * handed out, do not.
 *
 * Returned; release with afork_uv_loop_free(). Errors: -EINVAL, -ENOMEM. */
AFORK_EXPORT AFORK_NODISCARD int afork_uv_loop_new(uv_loop_t *uv, struct afork_uv_loop **ret);

/* Releases the loop. Contexts on it must have been closed and watchers freed before; one left
 * behind is a programming error and ends the program with its descriptor's number. What libuv still
 * holds is released by the next turn of the uv_loop_t. NULL is allowed. */
AFORK_EXPORT void afork_uv_loop_free(struct afork_uv_loop *loop);

/* The loop as afork_context_new() takes it; borrowed, lives as long as `loop`. Its operations may
 * also be used for descriptors and timers of one's own; libuv makes the descriptors
 * non-blocking. */
AFORK_EXPORT struct afork_loop *afork_uv_loop_get(struct afork_uv_loop *loop);

/* Called once for each afork_uv_run(), from the loop, with one of
 *   - `status` 0: the function was entered, and `pipe` is open: the channel, to be used with
 *     uv_read_start(), uv_write() and uv_shutdown(). What the worker wrote meanwhile waits in it.
 *   - `status` negative and `failure` saying why the function was not entered: UV_ECONNABORTED
 *     (code, module or function; the core's -ENOEXEC), UV_ECONNRESET, UV_EAGAIN, UV_EPROTO, as in
 *     afork_run_cb.
 *   - UV_ECANCELED, `failure` NULL: the function was entered, but `pipe` was being closed, or
 *     closed, by then. The worker sees the end of its channel.
 *   - another negative status, `failure` NULL: uv_pipe_open() failed with it (UV_EBUSY: the user
 *     has opened the pipe). The worker sees the end of its channel.
 * uv_strerror() knows every status. Whatever it is, `pipe` is still to be closed with
 * uv_close(). */
typedef void afork_uv_run_cb(struct afork_process *process, uv_pipe_t *pipe, int status,
                             const struct afork_exit *failure, void *data);

/* Tells `process` to run `function`, as afork_process_run() does, with `pipe` as the channel.
 *
 * `pipe` is the caller's memory, and must not be a handle that is open. It is initialised on the
 * process's uv_loop_t by this call, if that succeeds, without touching pipe->data, and is opened
 * before `cb`. From this call on it may be closed with uv_close() at any time; that does not stop
 * the function from being run, nor `cb` from being called.
 *
 * Like a request of libuv the pipe is in use until `cb` was called: its memory must stay until
 * then, and, as that of any handle, until its close callback was called. Once the process or its
 * context was closed, which keeps `cb` from being called, the close callback alone counts: to be
 * rid of both at once, afork_process_close() and then uv_close().
 *
 * Errors: UV_EINVAL (also `cb` NULL; `process` is not on a loop of afork_uv_loop_new()), those of
 * afork_process_run(); UV_ECONNABORTED for its -ECHILD. Then `pipe` is untouched. */
AFORK_EXPORT int afork_uv_run(struct afork_process *process, const char *function, uv_pipe_t *pipe,
                              afork_uv_run_cb *cb, void *data);

AFORK_END_DECLS

#endif
