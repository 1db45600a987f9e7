/* SPDX-License-Identifier: MIT
 *
 * See progress.h. A timer draws, not each call: a terminal at the end of a slow line must not slow
 * down the work.
 */
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

enum { REDRAW_USEC = 100000, BAR_MAX = 40, COLUMNS = 80 };

struct progress {
    struct afork_loop *loop;
    struct afork_timer *timer; /* NULL: there is no bar */
    const struct counts *counts;
    double start;
    bool shown;
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

double progress_seconds(const struct progress *progress)
{
    return now() - progress->start;
}

static unsigned columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col ? COLUMNS : size.ws_col;
}

/* How much is done: by calls once all are known, before that by octets; -1: nobody knows. */
static double fraction(const struct counts *counts)
{
    if (counts->all_read)
        return counts->read ? (double)counts->done / (double)counts->read : 1;
    return counts->octets ? (double)counts->octets_done / (double)counts->octets : -1;
}

static void print_bar(double part, unsigned width)
{
    unsigned full = (unsigned)(part * width);

    putc('[', stderr);
    for (unsigned i = 0; i < width; i++)
        putc(i < full ? '#' : '.', stderr);
    fprintf(stderr, "] %3.0f%%", part * 100);
}

static void draw(void *data)
{
    struct progress *progress = data;
    const struct counts *counts = progress->counts;
    char text[160];
    double part = fraction(counts);

    if (part > 1) /* the list grows meanwhile */
        part = 1;
    int len = snprintf(text, sizeof text, " %llu done, %llu under way, %.0f/s",
                       (unsigned long long)counts->done, (unsigned long long)counts->running,
                       (double)counts->done / (progress_seconds(progress) + 1e-6));
    if (counts->failed)
        len += snprintf(text + len, sizeof text - (size_t)len, ", %llu failed",
                        (unsigned long long)counts->failed);
    /* Brackets, percentage, and a column that is left free: many terminals wrap in the last. */
    unsigned used = (unsigned)len + 8, room = columns();
    unsigned width = room > used ? room - used : 0;

    bool bar = part >= 0 && width >= 4;
    progress_clear(progress);
    if (bar)
        print_bar(part, width < BAR_MAX ? width : BAR_MAX);
    fprintf(stderr, "%.*s", (int)room - 1, text + !bar);
    fflush(stderr);
    progress->shown = true;
    progress->loop->ops->timer_set(progress->timer, REDRAW_USEC);
}

int progress_new(struct afork_loop *loop, const struct counts *counts, bool force,
                 struct progress **ret)
{
    struct progress *progress = allocate(sizeof *progress);

    *progress = (struct progress){.loop = loop, .counts = counts, .start = now()};
    if (force || isatty(STDERR_FILENO)) {
        int result = loop->ops->timer_new(loop, draw, progress, &progress->timer);
        if (result < 0) {
            free(progress);
            return result;
        }
        loop->ops->timer_set(progress->timer, REDRAW_USEC);
    }
    *ret = progress;
    return 0;
}

void progress_clear(struct progress *progress)
{
    if (!progress->shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->shown = false;
}

void progress_free(struct progress *progress)
{
    if (!progress)
        return;
    progress_clear(progress);
    if (progress->timer)
        progress->loop->ops->timer_free(progress->timer);
    free(progress);
}
