/* SPDX-License-Identifier: MIT
 *
 * The built-in loop, for programs that have none, and for programs whose own loop has no adapter:
 * they watch one descriptor, wait no longer than a given time, and then call one function.
 */
#ifndef AFORK_POLL_H
#define AFORK_POLL_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include "afork-loop.h"

AFORK_BEGIN_DECLS

struct afork_poll;

/* In a forked copy of the process a loop can only be freed; turning it gives -ECHILD. A copy
 * makes a loop of its own. */

/* Makes a loop. Returned; release with afork_poll_free(). Errors: -EMFILE, -ENFILE. */
AFORK_EXPORT AFORK_NODISCARD int afork_poll_new(struct afork_poll **ret);

/* Releases the loop. Contexts on it must have been closed and watchers freed before; a watcher left
 * behind is a programming error and ends the program with its descriptor's number. */
AFORK_EXPORT void afork_poll_free(struct afork_poll *poll);

/* The loop as afork_context_new() takes it; borrowed, lives as long as `poll`. Its operations may
 * also be used for descriptors and timers of one's own. */
AFORK_EXPORT struct afork_loop *afork_poll_loop(struct afork_poll *poll);

/* Waits for events, at most `usec` microseconds (negative: without limit, 0: not at all), and runs
 * the callbacks of what became ready. Returns the number of callbacks run, 0 when the time was up,
 * or a negative errno. A signal that interrupts the wait gives -EINTR. May be called from a
 * callback. */
AFORK_EXPORT int afork_poll_turn(struct afork_poll *poll, int64_t usec);

/* Turns until afork_poll_quit() was called or nothing is left that keeps a loop alive: no watcher
 * with AFORK_IN or AFORK_OUT but without AFORK_BACKGROUND, and no armed timer. Returns 0 or a
 * negative errno; signals do not end it. */
AFORK_EXPORT int afork_poll_run(struct afork_poll *poll);

/* Makes the innermost afork_poll_run() return after the current turn, in which other callbacks may
 * still come. Where none is under way, the next one returns at once. */
AFORK_EXPORT void afork_poll_quit(struct afork_poll *poll);

/* For a foreign loop: a descriptor that becomes readable when a turn has something to do. It is the
 * same for the life of the loop. */
AFORK_EXPORT int afork_poll_fd(struct afork_poll *poll);

/* For a foreign loop: microseconds until the next timer is due, 0 if one is due now, -1 if none is
 * armed. A foreign loop calls afork_poll_turn(poll, 0) when the descriptor is readable or this time
 * has passed, and asks again after each turn and after each call of this library. */
AFORK_EXPORT int64_t afork_poll_timeout(struct afork_poll *poll);

AFORK_END_DECLS

#endif
