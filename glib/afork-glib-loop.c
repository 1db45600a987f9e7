/* SPDX-License-Identifier: MIT
 *
 * The loop contract of afork-loop.h over GLib: one GSource per watcher, with a descriptor or a
 * ready time. Knows nothing of processes or Perl. GLib itself guarantees that a source destroyed by
 * another's callback, or by its own, is not dispatched any more.
 */
#define AFORK_GLIB_COMPILATION

#include "afork-glib-loop.h"

#include <glib-unix.h>
#include <unistd.h>

#include "gafork-private.h"

struct afork_glib_loop {
    struct afork_loop base;
    unsigned refs; /* the user's, one of each dispatch under way */
    pid_t owner;   /* a forked copy of the process leaves watchers behind */
    GMainContext *context;
    int priority;
    GQueue ios, timers;        /* that are there, by their link */
    void (*after)(void *data); /* of the GObject layer, or NULL */
    void *after_data;
};

struct afork_io {
    GSource source; /* allocated by g_source_new(), hence first */
    struct afork_glib_loop *loop;
    GList link;
    int fd;
    unsigned events; /* AFORK_IN and AFORK_OUT only */
    gpointer tag;    /* the descriptor's place in the poll set; NULL if `events` is 0 */
    afork_io_cb *cb;
    void *data;
};

struct afork_timer {
    GSource source;
    struct afork_glib_loop *loop;
    GList link;
    afork_timer_cb *cb;
    void *data;
};

static GSource *attach(struct afork_glib_loop *loop, GSource *source, const char *name)
{
    g_source_set_name(source, name);
    g_source_set_priority(source, loop->priority);
    /* A user's callback may run a main loop of its own and wait for another process there; its news
     * come through the very source that is being dispatched. */
    g_source_set_can_recurse(source, TRUE);
    g_source_attach(source, loop->context);
    return source;
}

static void detach(GSource *source)
{
    g_source_destroy(source);
    g_source_unref(source);
}

static void loop_unref(struct afork_glib_loop *loop)
{
    if (--loop->refs)
        return;
    g_main_context_unref(loop->context);
    g_free(loop);
}

/* Around each callback, which may free the loop. */
static void dispatch_begin(struct afork_glib_loop *loop)
{
    loop->refs++;
}

static void dispatch_end(struct afork_glib_loop *loop)
{
    if (loop->after)
        loop->after(loop->after_data);
    loop_unref(loop);
}

static gboolean io_dispatch(GSource *source, G_GNUC_UNUSED GSourceFunc callback,
                            G_GNUC_UNUSED gpointer data)
{
    struct afork_io *io = (struct afork_io *)source;
    struct afork_glib_loop *loop = io->loop;

    /* A callback that ran before in this turn may have turned this watcher off, or have asked it
     * for something else than what was polled. */
    if (!io->tag)
        return G_SOURCE_CONTINUE;

    GIOCondition ready = g_source_query_unix_fd(source, io->tag);
    unsigned events = 0;
    if (ready & (G_IO_IN | G_IO_HUP | G_IO_ERR | G_IO_NVAL))
        events |= AFORK_IN;
    if (ready & (G_IO_OUT | G_IO_HUP | G_IO_ERR | G_IO_NVAL))
        events |= AFORK_OUT;
    events &= io->events;
    if (!events)
        return G_SOURCE_CONTINUE;
    dispatch_begin(loop);
    io->cb(events, io->data);
    dispatch_end(loop);
    return G_SOURCE_CONTINUE;
}

static gboolean timer_dispatch(GSource *source, G_GNUC_UNUSED GSourceFunc callback,
                               G_GNUC_UNUSED gpointer data)
{
    struct afork_timer *timer = (struct afork_timer *)source;
    struct afork_glib_loop *loop = timer->loop;

    g_source_set_ready_time(source, -1);
    dispatch_begin(loop);
    timer->cb(timer->data);
    dispatch_end(loop);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs io_funcs = {.dispatch = io_dispatch};
static GSourceFuncs timer_funcs = {.dispatch = timer_dispatch};

static void io_set(struct afork_io *io, unsigned events)
{
    GIOCondition condition = 0;

    events &= AFORK_IN | AFORK_OUT; /* a GMainLoop does not end by itself */
    if (events == io->events)
        return;
    io->events = events;

    if (events & AFORK_IN)
        condition |= G_IO_IN;
    if (events & AFORK_OUT)
        condition |= G_IO_OUT;

    if (!events) {
        /* With an empty mask GLib would still poll for hang-up, and wake without end. */
        g_source_remove_unix_fd(&io->source, io->tag);
        io->tag = NULL;
    } else if (io->tag) {
        g_source_modify_unix_fd(&io->source, io->tag, condition);
    } else {
        io->tag = g_source_add_unix_fd(&io->source, io->fd, condition);
    }
}

static int io_new(struct afork_loop *base, int fd, unsigned events, afork_io_cb *cb, void *data,
                  struct afork_io **ret)
{
    struct afork_glib_loop *loop = (struct afork_glib_loop *)base;
    struct afork_io *io = (struct afork_io *)g_source_new(&io_funcs, sizeof *io);

    io->loop = loop;
    io->fd = fd;
    io->cb = cb;
    io->data = data;
    io->link.data = io;
    g_queue_push_tail_link(&loop->ios, &io->link);
    io_set(io, events);
    attach(loop, &io->source, "afork descriptor");
    *ret = io;
    return 0;
}

static void io_free(struct afork_io *io)
{
    if (!io)
        return;
    g_queue_unlink(&io->loop->ios, &io->link);
    detach(&io->source);
}

static int timer_new(struct afork_loop *base, afork_timer_cb *cb, void *data,
                     struct afork_timer **ret)
{
    struct afork_glib_loop *loop = (struct afork_glib_loop *)base;
    struct afork_timer *timer = (struct afork_timer *)g_source_new(&timer_funcs, sizeof *timer);

    timer->loop = loop;
    timer->cb = cb;
    timer->data = data;
    timer->link.data = timer;
    g_queue_push_tail_link(&loop->timers, &timer->link);
    attach(loop, &timer->source, "afork timer");
    *ret = timer;
    return 0;
}

static void timer_set(struct afork_timer *timer, int64_t usec)
{
    gint64 ready_time = -1; /* never */

    if (usec == 0)
        ready_time = 0; /* at once, without asking for the time */
    else if (usec > 0 && g_get_monotonic_time() <= G_MAXINT64 - usec)
        ready_time = g_get_monotonic_time() + usec;
    g_source_set_ready_time(&timer->source, ready_time);
}

static void timer_free(struct afork_timer *timer)
{
    if (!timer)
        return;
    g_queue_unlink(&timer->loop->timers, &timer->link);
    detach(&timer->source);
}

static const struct afork_loop_ops ops = {
    .size = sizeof(struct afork_loop_ops),
    .io_new = io_new,
    .io_set = io_set,
    .io_free = io_free,
    .timer_new = timer_new,
    .timer_set = timer_set,
    .timer_free = timer_free,
};

int afork_glib_loop_new(GMainContext *context, int priority, struct afork_glib_loop **ret)
{
    struct afork_glib_loop *loop = g_new0(struct afork_glib_loop, 1);

    loop->base.ops = &ops;
    loop->refs = 1;
    loop->owner = getpid();
    loop->context = context ? g_main_context_ref(context) : g_main_context_ref_thread_default();
    loop->priority = priority;
    *ret = loop;
    return 0;
}

/* In a forked copy of the process contexts leave their watchers alone; here they only cost
 * memory. */
static void free_all(struct afork_glib_loop *loop)
{
    while (loop->ios.head)
        io_free(loop->ios.head->data);
    while (loop->timers.head)
        timer_free(loop->timers.head->data);
}

void afork_glib_loop_free(struct afork_glib_loop *loop)
{
    if (!loop)
        return;
    loop->after = NULL;
    if (loop->owner != getpid())
        free_all(loop);
    if (loop->ios.head)
        g_error("afork_glib_loop_free: descriptor %d is still watched",
                ((struct afork_io *)loop->ios.head->data)->fd);
    if (loop->timers.head)
        g_error("afork_glib_loop_free: %u timers are still there", loop->timers.length);
    loop_unref(loop);
}

void afork_glib__loop_set_after(struct afork_glib_loop *loop, void (*cb)(void *data), void *data)
{
    loop->after = cb;
    loop->after_data = data;
}

struct afork_loop *afork_glib_loop_get(struct afork_glib_loop *loop)
{
    return &loop->base;
}
