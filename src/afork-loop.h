/* SPDX-License-Identifier: MIT
 *
 * The loop contract: six operations that let afork live in any event loop.
 *
 * Users of a ready adapter (the poll loop of afork-poll.h, GLib, ...) need nothing of this. An
 * adapter defines its loop as a struct that starts with a struct afork_loop, points that at a
 * static table of operations, and hands the address to afork_context_new().
 *
 * Rules for adapters
 *
 *   Ownership   The adapter allocates and frees watchers (struct afork_io, struct afork_timer, both
 *               its own definition); the core holds each from `_new` to `_free`. Descriptors stay
 *               the core's. The user owns the loop and releases it after every context on it.
 *   Reentrancy  Every operation may be called from every callback, on any watcher, the running one
 *               included. A callback may turn the loop; its own watcher is served then, too.
 *   Keep-alive  A watcher whose mask holds AFORK_BACKGROUND must not keep the loop from ending where
 *               the loop ends by itself when nothing is left to wait for. An armed timer keeps it
 *               alive.
 *   Hang-up     Hang-up and error are reported as those of AFORK_IN and AFORK_OUT that were asked
 *               for; the core learns the rest from read or write.
 *   Off is off  A watcher without AFORK_IN and AFORK_OUT must be out of the poll set: a hung-up
 *               descriptor would otherwise wake the loop without end.
 *   Levels      Watchers are level-triggered: a dispatch handles a bounded share (64 KiB or 16
 *               records) and relies on being called again.
 */
#ifndef AFORK_LOOP_H
#define AFORK_LOOP_H

#if !defined(AFORK_H_INSIDE) && !defined(AFORK_COMPILATION)
#error "include <afork/afork.h> instead of this header"
#endif

#include "afork-types.h"

AFORK_BEGIN_DECLS

enum afork_io_events {
    AFORK_IN = 1 << 0,         /* readable, end of file, hang-up or error */
    AFORK_OUT = 1 << 1,        /* writable, hang-up or error */
    AFORK_BACKGROUND = 1 << 2, /* does not keep the loop alive; never in a callback's events */
};

struct afork_io;    /* a descriptor watcher; defined by the adapter */
struct afork_timer; /* a timer; defined by the adapter */

/* Called from the loop when a watched descriptor is ready. `events` holds AFORK_IN, AFORK_OUT or
 * both, of those asked for. */
typedef void afork_io_cb(unsigned events, void *data);

/* Called from the loop when a timer expired; the timer is disarmed before. */
typedef void afork_timer_cb(void *data);

struct afork_loop_ops {
    /* sizeof(struct afork_loop_ops) as the adapter was compiled, so that operations can be
     * appended. afork_context_new() refuses a table that is too short with -EINVAL. */
    size_t size;

    /* Watches `fd` for `events` (a mask of enum afork_io_events, may be 0). There is one watcher
     * per descriptor. Returns 0 and the watcher, or a negative errno. */
    int (*io_new)(struct afork_loop *loop, int fd, unsigned events, afork_io_cb *cb, void *data,
                  struct afork_io **ret);

    /* Replaces the mask. Cannot fail; the same mask again does nothing. */
    void (*io_set)(struct afork_io *io, unsigned events);

    /* Releases a watcher; NULL is allowed. When it returns, the callback will not run again and the
     * descriptor may be closed at once. */
    void (*io_free)(struct afork_io *io);

    /* Makes a disarmed timer. The core uses one per context. Returns 0 and the timer, or a negative
     * errno. */
    int (*timer_new)(struct afork_loop *loop, afork_timer_cb *cb, void *data,
                     struct afork_timer **ret);

    /* Arms the timer once, `usec` microseconds from now on the monotonic clock; 0 is the next turn
     * of the loop, a negative value disarms. Replaces the previous setting. Cannot fail. */
    void (*timer_set)(struct afork_timer *timer, int64_t usec);

    /* Releases a timer, as io_free does. */
    void (*timer_free)(struct afork_timer *timer);
};

/* The base that an adapter's loop starts with. */
struct afork_loop {
    const struct afork_loop_ops *ops;
};

AFORK_END_DECLS

#endif
