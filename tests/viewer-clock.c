/* SPDX-License-Identifier: MIT */
#include "viewer-clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_X11
#include <X11/Xatom.h>
#include <X11/Xlib.h>
#endif

/* --- Time --- */

/* Of the calling thread: nanoseconds in which it was ready, and had no processor. */
static guint64 run_delay(void)
{
    static int fd = -1;
    char text[64];
    unsigned long long cpu, delay = 0;

    if (fd < 0)
        fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    if (got > 0) {
        text[got] = '\0';
        sscanf(text, "%llu %llu", &cpu, &delay);
    }
    return delay;
}

/* Who lost the processor between the two readings reads them again: they would not belong together. */
static gint64 read_clocks(gint64 *monotonic)
{
    guint64 before, after = run_delay();

    do {
        before = after;
        *monotonic = g_get_monotonic_time();
        after = run_delay();
    } while (before != after);
    return *monotonic - (gint64)(after / 1000);
}

gint64 viewer_clock_now(void)
{
    gint64 monotonic;

    return read_clocks(&monotonic);
}

static gint64 cpu_now(void)
{
    struct timespec cpu;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return cpu.tv_sec * G_USEC_PER_SEC + cpu.tv_nsec / 1000;
}

/* --- Stalls --- */

static struct {
    GArray *gaps; /* gint64: microseconds */
    gint64 last, last_own, last_cpu;
    gint64 longest_own, longest_cpu;
    guint timer;
} stalls;

/* Each millisecond, before everything else. */
static gboolean on_tick(gpointer data)
{
    gint64 now, own = read_clocks(&now), cpu = cpu_now(), gap = now - stalls.last;

    g_array_append_val(stalls.gaps, gap);
    stalls.longest_own = MAX(stalls.longest_own, own - stalls.last_own);
    stalls.longest_cpu = MAX(stalls.longest_cpu, cpu - stalls.last_cpu);
    stalls.last = now;
    stalls.last_own = own;
    stalls.last_cpu = cpu;
    return G_SOURCE_CONTINUE;
}

void viewer_stalls_begin(void)
{
    stalls.gaps = g_array_new(FALSE, FALSE, sizeof(gint64));
    stalls.longest_own = stalls.longest_cpu = 0;
    stalls.last_own = read_clocks(&stalls.last);
    stalls.last_cpu = cpu_now();
    stalls.timer = g_timeout_add_full(G_PRIORITY_HIGH, 1, on_tick, NULL, NULL);
}

static int compare(const void *a, const void *b)
{
    gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;

    return (x > y) - (x < y);
}

struct viewer_stalls viewer_stalls_end(void)
{
    g_autoptr(GArray) taken = NULL;

    on_tick(NULL); /* what came last counts, too */
    g_source_remove(stalls.timer);
    taken = g_steal_pointer(&stalls.gaps);
    const gint64 *gaps = (const gint64 *)(void *)taken->data;
    qsort(taken->data, taken->len, sizeof *gaps, compare);
    return (struct viewer_stalls){
        .longest = (double)gaps[taken->len - 1] / 1e3,
        .percentile = (double)gaps[taken->len * 99 / 100] / 1e3,
        .longest_own = (double)stalls.longest_own / 1e3,
        .longest_cpu = (double)stalls.longest_cpu / 1e3,
    };
}

/* --- The display --- */

void viewer_stand_in(void)
{
#ifdef HAVE_X11
    static Display *display; /* open to the end, or the window is gone */

    display = XOpenDisplay(NULL);
    if (!display)
        return;
    Window root = DefaultRootWindow(display);
    Window manager = XCreateSimpleWindow(display, root, -1, -1, 1, 1, 0, 0, 0);
    Atom check = XInternAtom(display, "_NET_SUPPORTING_WM_CHECK", False);
    unsigned char *value = (unsigned char *)&manager;
    XChangeProperty(display, root, check, XA_WINDOW, 32, PropModeReplace, value, 1);
    XChangeProperty(display, manager, check, XA_WINDOW, 32, PropModeReplace, value, 1);
    XInternAtom(display, "_GTK_WORKAREAS_D0", False); /* names that exist are asked for once */
    XFlush(display);
#endif
}
