/* SPDX-License-Identifier: MIT
 *
 * The GLib loop: lets afork live in a GMainContext. Each watcher is a GSource of its own.
 */
#ifndef AFORK_GLIB_LOOP_H
#define AFORK_GLIB_LOOP_H

#if !defined(AFORK_GLIB_H_INSIDE) && !defined(AFORK_GLIB_COMPILATION)
#error "include <afork/afork-glib.h> instead of this header"
#endif

#include <glib.h>

#include <afork/afork.h>

AFORK_BEGIN_DECLS

struct afork_glib_loop;

/* Makes a loop on `context`; NULL: the thread-default context of the calling thread. A reference is
 * held until afork_glib_loop_free(). `priority` is that of every source, G_PRIORITY_DEFAULT for
 * most programs; a program that draws may want less, so that results do not starve redrawing.
 *
 * A main loop that is run inside a callback serves all watchers, the running one included.
 *
 * Returned; release with afork_glib_loop_free(). Cannot fail: GLib ends the program when it is out
 * of memory. */
AFORK_EXPORT int afork_glib_loop_new(GMainContext *context, int priority,
                                     struct afork_glib_loop **ret);

/* Releases the loop. Contexts on it must have been closed and watchers freed before; one left
 * behind is a programming error and ends the program with its descriptor's number. In a forked
 * copy of the program, where contexts leave theirs alone, they are released here. */
AFORK_EXPORT void afork_glib_loop_free(struct afork_glib_loop *loop);

/* The loop as afork_context_new() takes it; borrowed, lives as long as `loop`. Its operations may
 * also be used for descriptors and timers of one's own. */
AFORK_EXPORT struct afork_loop *afork_glib_loop_get(struct afork_glib_loop *loop);

AFORK_END_DECLS

#endif
