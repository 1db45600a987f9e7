/* SPDX-License-Identifier: MIT
 *
 * What of the time a user waits for the viewer, whatever else the machine does; for its tests and its
 * benchmark.
 */
#ifndef VIEWER_CLOCK_H
#define VIEWER_CLOCK_H

#include <glib.h>

/* Microseconds on a clock that goes on while the thread works, sleeps or waits for somebody, and stands
 * still while it could go on, and others have the processors. Without statistics of the scheduler that
 * is the monotonic clock. */
gint64 viewer_clock_now(void);

/* How long the main loop did not turn, in milliseconds. */
struct viewer_stalls {
    double longest;     /* of all times between two turns */
    double percentile;  /* 99 of 100 are not longer */
    double longest_own; /* on viewer_clock_now() */
    double longest_cpu; /* processor time of the main thread from one turn to the next */
};

/* Between these two the loop is watched; at most one of them at a time. */
void viewer_stalls_begin(void);
struct viewer_stalls viewer_stalls_end(void);

/* Without a window manager GTK looks for one in each frame, and waits until the display has answered,
 * several times. After this there is one, as on a user's desktop, as far as that can be seen. */
void viewer_stand_in(void);

#endif
