/* SPDX-License-Identifier: MIT
 *
 * The loop contract of afork-loop.h over libev. Knows nothing of processes or Perl. libev itself
 * guarantees that a watcher which was stopped is not called any more, pending or not, and defers
 * what it tells the kernel to the next turn, so that a descriptor may be closed once it is stopped.
 *
 * `loop` is always libev's, as EV_A demands; ours is `self`.
 */
#define AFORK_EV_COMPILATION

#include "afork-ev-loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#define USEC_PER_SEC 1e6

/* libev tells of a descriptor that it cannot watch, but goes to sleep before: for a minute, where
 * nothing else wakes it. Seconds after which it is woken, and until it tries again. */
#define WAKE_AFTER 0.1

struct afork_io {
    ev_io watcher;
    struct afork_ev_loop *self;
    unsigned events; /* what the core asked for, with AFORK_BACKGROUND */
    bool unrefed;    /* the loop does not count it */
    bool failed;     /* libev has stopped it by itself; if it was counted, it still is */
    afork_io_cb *cb;
    void *data;
    LIST_ENTRY(afork_io) link;
};

struct afork_timer {
    ev_timer watcher;
    struct afork_ev_loop *self;
    afork_timer_cb *cb;
    void *data;
    LIST_ENTRY(afork_timer) link;
};

struct afork_ev_loop {
    struct afork_loop base;
#if EV_MULTIPLICITY
    struct ev_loop *loop;
#endif
    pid_t owner;
    ev_timer wake;     /* runs after a watcher was started, or has failed */
    bool wake_unrefed; /* the loop does not count it */
#if EV_FORK_ENABLE
    ev_fork forked;
#endif
    LIST_HEAD(, afork_io) ios;
    LIST_HEAD(, afork_timer) timers;
};

/* Declares what EV_A refers to, for functions that libev did not call. */
#if EV_MULTIPLICITY
#define LOOP_OF(object) struct ev_loop *loop = (object)->loop
#else
#define LOOP_OF(object) (void)(object)
#endif

/* ---- descriptors ---- */

/* The loop never counts `wake`, which runs for a moment only. */
static void wake_uncount(struct afork_ev_loop *self)
{
    LOOP_OF(self);
    bool active = ev_is_active(&self->wake);

    if (active && !self->wake_unrefed)
        ev_unref(EV_A);
    else if (!active && self->wake_unrefed)
        ev_ref(EV_A);
    self->wake_unrefed = active;
}

static void wake_after(struct afork_ev_loop *self, ev_tstamp seconds)
{
    LOOP_OF(self);

    if (ev_is_active(&self->wake))
        return;
    ev_timer_set(&self->wake, seconds, 0.);
    ev_timer_start(EV_A_ &self->wake);
    wake_uncount(self);
}

/* References are balanced also where libev has stopped the watcher by itself. */
static void io_stop(struct afork_io *io)
{
    LOOP_OF(io->self);

    if (io->unrefed)
        ev_ref(EV_A);
    if (io->failed && !(io->events & AFORK_BACKGROUND))
        ev_unref(EV_A);
    io->unrefed = io->failed = false;
    ev_io_stop(EV_A_ &io->watcher);
}

static void io_start(struct afork_io *io)
{
    LOOP_OF(io->self);
    int mask = (io->events & AFORK_IN ? EV_READ : 0) | (io->events & AFORK_OUT ? EV_WRITE : 0);

    if (!mask) /* libev would watch for hang-up even so */
        return;
    ev_io_modify(&io->watcher, mask);
    ev_io_start(EV_A_ &io->watcher);
    wake_after(io->self, WAKE_AFTER);
    if (io->events & AFORK_BACKGROUND) {
        ev_unref(EV_A);
        io->unrefed = true;
    }
}

static void io_fail(struct afork_io *io)
{
    LOOP_OF(io->self);

    io_stop(io);
    io->failed = true;
    if (!(io->events & AFORK_BACKGROUND))
        ev_ref(EV_A);
    wake_after(io->self, WAKE_AFTER);
}

static void io_cb(EV_P_ ev_io *watcher, int ready)
{
    struct afork_io *io = (struct afork_io *)watcher; /* its first member */
    unsigned events = (ready & EV_READ ? AFORK_IN : 0) | (ready & EV_WRITE ? AFORK_OUT : 0);

    if (ready & EV_ERROR)
        io_fail(io);
    events &= io->events;
    if (events)
        io->cb(events, io->data);
}

/* A descriptor that fails again is reported again: slow polling, but nobody waits for ever. */
static void wake_cb(EV_P_ ev_timer *wake, int ready)
{
    struct afork_ev_loop *self = wake->data;
    struct afork_io *io;

    wake_uncount(self);
    LIST_FOREACH (io, &self->ios, link) {
        if (!io->failed)
            continue;
        wake_after(self, -1.); /* libev tells at once if it fails again */
        io_stop(io);
        io_start(io);
    }
}

static void io_set(struct afork_io *io, unsigned events)
{
    if (events == io->events)
        return;
    io_stop(io);
    io->events = events;
    io_start(io);
}

static void io_free(struct afork_io *io)
{
    if (!io)
        return;
    io_stop(io);
    LIST_REMOVE(io, link);
    free(io);
}

/* ---- timers ---- */

static void timer_cb(EV_P_ ev_timer *watcher, int ready)
{
    struct afork_timer *timer = (struct afork_timer *)watcher; /* its first member */

    timer->cb(timer->data);
}

static void timer_set(struct afork_timer *timer, int64_t usec)
{
    LOOP_OF(timer->self);

    ev_timer_stop(EV_A_ &timer->watcher);
    if (usec < 0)
        return;
    if (usec == 0) {
        /* libev runs what lies in the past; its clock need not have moved by the next turn. */
        ev_timer_set(&timer->watcher, -1., 0.);
    } else {
        ev_now_update(EV_A);
        ev_timer_set(&timer->watcher, (ev_tstamp)usec / USEC_PER_SEC, 0.);
    }
    ev_timer_start(EV_A_ &timer->watcher);
}

static void timer_free(struct afork_timer *timer)
{
    if (!timer)
        return;
    timer_set(timer, -1);
    LIST_REMOVE(timer, link);
    free(timer);
}

/* ---- forked copies ---- */

/* In a forked copy of the program all watchers belong to contexts that can do no more than release
 * memory, and their descriptors may be closed by now. Stopping them changes libev's lists only. */
static void leave_original(struct afork_ev_loop *self)
{
    pid_t pid = getpid();

    if (pid == self->owner)
        return;
    self->owner = pid;
    while (!LIST_EMPTY(&self->ios))
        io_free(LIST_FIRST(&self->ios));
    while (!LIST_EMPTY(&self->timers))
        timer_free(LIST_FIRST(&self->timers));
}

#if EV_FORK_ENABLE
/* After ev_loop_fork(), before libev watches all descriptors anew. */
static void fork_cb(EV_P_ ev_fork *forked, int ready)
{
    leave_original(forked->data);
}
#endif

/* ---- the loop ---- */

static int io_new(struct afork_loop *base, int fd, unsigned events, afork_io_cb *cb, void *data,
                  struct afork_io **ret)
{
    struct afork_ev_loop *self = (struct afork_ev_loop *)base; /* its first member */

    if (fcntl(fd, F_GETFD) < 0) /* libev would end the program */
        return -errno;
    struct afork_io *io = calloc(1, sizeof *io);
    if (!io)
        return -ENOMEM;
    leave_original(self);
    io->self = self;
    io->events = events;
    io->cb = cb;
    io->data = data;
    ev_io_init(&io->watcher, io_cb, fd, 0);
    LIST_INSERT_HEAD(&self->ios, io, link);
    io_start(io);
    *ret = io;
    return 0;
}

static int timer_new(struct afork_loop *base, afork_timer_cb *cb, void *data,
                     struct afork_timer **ret)
{
    struct afork_ev_loop *self = (struct afork_ev_loop *)base;
    struct afork_timer *timer = calloc(1, sizeof *timer);

    if (!timer)
        return -ENOMEM;
    leave_original(self);
    timer->self = self;
    timer->cb = cb;
    timer->data = data;
    ev_init(&timer->watcher, timer_cb);
    LIST_INSERT_HEAD(&self->timers, timer, link);
    *ret = timer;
    return 0;
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

int afork_ev_loop_new(EV_P_ struct afork_ev_loop **ret)
{
#if EV_MULTIPLICITY
    if (!loop)
        return -EINVAL;
#endif
    if (!ret)
        return -EINVAL;
    struct afork_ev_loop *self = calloc(1, sizeof *self);
    if (!self)
        return -ENOMEM;

    self->base.ops = &ops;
#if EV_MULTIPLICITY
    self->loop = loop;
#endif
    self->owner = getpid();
    LIST_INIT(&self->ios);
    LIST_INIT(&self->timers);
    ev_init(&self->wake, wake_cb);
    self->wake.data = self;
#if EV_FORK_ENABLE
    ev_fork_init(&self->forked, fork_cb);
    self->forked.data = self;
    ev_fork_start(EV_A_ &self->forked);
    ev_unref(EV_A); /* it waits for what may never happen */
#endif
    *ret = self;
    return 0;
}

void afork_ev_loop_free(struct afork_ev_loop *self)
{
    if (!self)
        return;
    LOOP_OF(self);

    leave_original(self);
    if (!LIST_EMPTY(&self->ios) || !LIST_EMPTY(&self->timers)) {
        struct afork_io *io = LIST_FIRST(&self->ios);
        fprintf(stderr, "afork_ev_loop_free: a watcher is left (descriptor %d)\n",
                io ? io->watcher.fd : -1);
        abort();
    }
    ev_timer_stop(EV_A_ &self->wake);
    wake_uncount(self);
#if EV_FORK_ENABLE
    ev_ref(EV_A);
    ev_fork_stop(EV_A_ &self->forked);
#endif
    free(self);
}

struct afork_loop *afork_ev_loop_get(struct afork_ev_loop *self)
{
    return &self->base;
}
