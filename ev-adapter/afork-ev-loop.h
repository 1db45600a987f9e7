/* SPDX-License-Identifier: MIT
 *
 * The libev loop: lets afork live in a struct ev_loop, by one ev_io per descriptor, one ev_timer
 * per timer and one for the loop, and an ev_fork. No signal handlers and no child watchers, so any
 * loop will do, the default one too.
 *
 * ev_run() returns when nothing is left to do, as it does without afork: templates that idle do not
 * keep it going; what somebody waits for does (queued commands, a callback of afork_process_run(),
 * an exit notice).
 */
#ifndef AFORK_EV_LOOP_H
#define AFORK_EV_LOOP_H

#if !defined(AFORK_EV_H_INSIDE) && !defined(AFORK_EV_COMPILATION)
#error "include <afork/afork-ev.h> instead of this header"
#endif

#include <ev.h>

#include <afork/afork.h>

AFORK_BEGIN_DECLS

struct afork_ev_loop;

/* Makes a loop on libev's `loop` (with EV_MULTIPLICITY 0 there is only one, and no argument), which
 * is borrowed until afork_ev_loop_free(): free this one before ev_loop_destroy().
 *
 * A callback may call ev_run() on the same loop; all watchers are served there, the running one
 * included. A timer that is set for later than the next turn updates ev_now(), since libev counts
 * from there. Where libev cannot watch a descriptor (EV_ERROR: the kernel is out of memory, or of
 * epoll watches), it is taken to be ready and tried again, ten times a second; libev sleeps before
 * it tells, so that the loop wakes once more a tenth of a second after something was watched.
 *
 * Returned; release with afork_ev_loop_free(). Errors: -EINVAL (an argument is missing), -ENOMEM,
 * here and in the operations that make watchers; libev itself ends the program where it gets no
 * memory for its own tables. */
AFORK_EXPORT AFORK_NODISCARD int afork_ev_loop_new(EV_P_ struct afork_ev_loop **ret);

/* Releases the loop. Contexts on it must have been closed and watchers freed before; one left
 * behind is a programming error and ends the program with its descriptor's number.
 *
 * In a forked copy of the program it only releases memory, whatever was left, and the kernel state
 * that the two share is not touched. A copy may also go on with libev's loop, after ev_loop_fork()
 * as always: then nothing of the original is watched any more, and new contexts can be made on this
 * loop. */
AFORK_EXPORT void afork_ev_loop_free(struct afork_ev_loop *self);

/* The loop as afork_context_new() takes it; borrowed, lives as long as `self`. Its operations may
 * also be used for descriptors and timers of one's own. */
AFORK_EXPORT struct afork_loop *afork_ev_loop_get(struct afork_ev_loop *self);

AFORK_END_DECLS

#endif
