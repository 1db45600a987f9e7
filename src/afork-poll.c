/* SPDX-License-Identifier: MIT
 *
 * The built-in loop: watchers in an epoll set, timers in a list. Knows nothing of contexts and
 * processes: it is an adapter like any other, and the shortest one to read before writing another.
 *
 * Nothing of a turn outlives a callback that could free it: events are fetched one wait at a time
 * into an array that io_free() searches, and due timers are looked up again after each callback.
 */
#include "afork-poll.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "copy.h"
#include "spawn.h"
#include "util.h"

enum { EVENTS_PER_TURN = 64 };

struct afork_io {
    struct afork_poll *poll;
    int fd;
    unsigned events;
    afork_io_cb *cb;
    void *data;
    LIST_ENTRY(afork_io) link;
};

struct afork_timer {
    struct afork_poll *poll;
    int64_t due; /* on the monotonic clock; negative: disarmed */
    afork_timer_cb *cb;
    void *data;
    LIST_ENTRY(afork_timer) link;
};

/* A turn that is under way; they nest when a callback turns the loop. */
struct turn {
    struct turn *outer;
    struct epoll_event events[EVENTS_PER_TURN];
    int n_events;
    int64_t now; /* timers due by then run in this turn */
};

struct afork_poll {
    struct afork_loop loop;
    int epoll;
    uint32_t copy; /* of the host: the set is shared with others, which must leave it alone */
    unsigned n_foreground; /* watchers that keep the loop alive */
    bool quit;
    struct turn *turn;
    LIST_HEAD(, afork_io) ios;
    LIST_HEAD(, afork_timer) timers;
};

static struct afork_poll *poll_of(struct afork_loop *loop)
{
    return (struct afork_poll *)loop; /* its first member */
}

static bool is_copy(const struct afork_poll *poll)
{
    return poll->copy != afork__copy_number();
}

static bool is_foreground(unsigned events)
{
    return events & (AFORK_IN | AFORK_OUT) && !(events & AFORK_BACKGROUND);
}

/* A watcher that is off stays in the set, so that switching it on again needs no memory. Epoll
 * reports hang-up whatever the mask; edge-triggered, it does so once instead of without end. */
static int epoll_control(struct afork_io *io, int operation, unsigned events)
{
    struct epoll_event event = {
        .events = (events & AFORK_IN ? EPOLLIN : 0) | (events & AFORK_OUT ? EPOLLOUT : 0),
        .data.ptr = io,
    };
    if (is_copy(io->poll))
        return -ECHILD;
    if (!event.events)
        event.events = EPOLLET;
    return epoll_ctl(io->poll->epoll, operation, io->fd, &event) < 0 ? -errno : 0;
}

static int io_new(struct afork_loop *loop, int fd, unsigned events, afork_io_cb *cb, void *data,
                  struct afork_io **ret)
{
    struct afork_poll *poll = poll_of(loop);
    struct afork_io *io = calloc(1, sizeof *io);

    if (!io)
        return -ENOMEM;
    *io = (struct afork_io){.poll = poll, .fd = fd, .events = events, .cb = cb, .data = data};
    int result = epoll_control(io, EPOLL_CTL_ADD, events);
    if (result < 0) {
        free(io);
        return result;
    }
    poll->n_foreground += is_foreground(events);
    LIST_INSERT_HEAD(&poll->ios, io, link);
    *ret = io;
    return 0;
}

static void io_set(struct afork_io *io, unsigned events)
{
    if (events == io->events)
        return;
    io->poll->n_foreground += is_foreground(events);
    io->poll->n_foreground -= is_foreground(io->events);
    if ((events ^ io->events) & (AFORK_IN | AFORK_OUT))
        epoll_control(io, EPOLL_CTL_MOD, events);
    io->events = events;
}

static void io_free(struct afork_io *io)
{
    if (!io)
        return;
    epoll_control(io, EPOLL_CTL_DEL, 0);
    for (struct turn *turn = io->poll->turn; turn; turn = turn->outer)
        for (int i = 0; i < turn->n_events; i++)
            if (turn->events[i].data.ptr == io)
                turn->events[i].data.ptr = NULL;
    io->poll->n_foreground -= is_foreground(io->events);
    LIST_REMOVE(io, link);
    free(io);
}

static int timer_new(struct afork_loop *loop, afork_timer_cb *cb, void *data,
                     struct afork_timer **ret)
{
    struct afork_timer *timer = malloc(sizeof *timer);

    if (!timer)
        return -ENOMEM;
    *timer = (struct afork_timer){.poll = poll_of(loop), .due = -1, .cb = cb, .data = data};
    LIST_INSERT_HEAD(&timer->poll->timers, timer, link);
    *ret = timer;
    return 0;
}

static void timer_set(struct afork_timer *timer, int64_t usec)
{
    if (usec < 0) {
        timer->due = -1;
        return;
    }
    int64_t now = afork__now();
    timer->due = usec > INT64_MAX - now ? INT64_MAX : now + usec;
    struct turn *turn = timer->poll->turn;
    if (turn && timer->due <= turn->now) /* armed by a callback: not in this turn any more */
        timer->due = turn->now + 1;
}

static void timer_free(struct afork_timer *timer)
{
    if (!timer)
        return;
    LIST_REMOVE(timer, link);
    free(timer);
}

static const struct afork_loop_ops poll_ops = {
    .size = sizeof(struct afork_loop_ops),
    .io_new = io_new,
    .io_set = io_set,
    .io_free = io_free,
    .timer_new = timer_new,
    .timer_set = timer_set,
    .timer_free = timer_free,
};

/* Above standard error, also where the program has closed its own. */
static int open_epoll(void)
{
    AFORK__AUTO_FD fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd < 0)
        return -errno;
    return fd > STDERR_FILENO ? afork__steal_fd(&fd) : afork__duplicate(fd);
}

/* The watchers of a copy of the process belong to contexts that can do no more than release. */
static void free_watchers(struct afork_poll *poll)
{
    struct afork_io *io;
    struct afork_timer *timer;

    while ((io = LIST_FIRST(&poll->ios)))
        io_free(io);
    while ((timer = LIST_FIRST(&poll->timers)))
        timer_free(timer);
}

int afork_poll_new(struct afork_poll **ret)
{
    if (!ret)
        return -EINVAL;
    struct afork_poll *poll = calloc(1, sizeof *poll);
    if (!poll)
        return -ENOMEM;
    poll->loop.ops = &poll_ops;
    LIST_INIT(&poll->ios);
    LIST_INIT(&poll->timers);
    poll->copy = afork__copy_number();
    int result = open_epoll();
    if (result < 0) {
        free(poll);
        return result;
    }
    poll->epoll = result;
    *ret = poll;
    return 0;
}

void afork_poll_free(struct afork_poll *poll)
{
    if (!poll)
        return;
    if (is_copy(poll))
        free_watchers(poll);
    if (!LIST_EMPTY(&poll->ios) || !LIST_EMPTY(&poll->timers)) {
        struct afork_io *io = LIST_FIRST(&poll->ios);
        fprintf(stderr, "afork_poll_free: a watcher is left (descriptor %d)\n", io ? io->fd : -1);
        abort();
    }
    close(poll->epoll);
    free(poll);
}

struct afork_loop *afork_poll_loop(struct afork_poll *poll)
{
    return &poll->loop;
}

int afork_poll_fd(struct afork_poll *poll)
{
    return poll->epoll;
}

static struct afork_timer *first_timer(struct afork_poll *poll)
{
    struct afork_timer *first = NULL, *timer;

    LIST_FOREACH (timer, &poll->timers, link)
        if (timer->due >= 0 && (!first || timer->due < first->due))
            first = timer;
    return first;
}

int64_t afork_poll_timeout(struct afork_poll *poll)
{
    struct afork_timer *timer = first_timer(poll);

    if (!timer)
        return -1;
    int64_t left = timer->due - afork__now();
    return left > 0 ? left : 0;
}

/* Runs the timers that were due at `now` and returns how many. */
static int run_timers(struct afork_poll *poll, int64_t now)
{
    int n = 0;
    struct afork_timer *timer;

    while ((timer = first_timer(poll)) && timer->due <= now) {
        timer->due = -1;
        timer->cb(timer->data);
        n++;
    }
    return n;
}

static int run_ios(struct turn *turn)
{
    int n = 0;

    for (int i = 0; i < turn->n_events; i++) {
        struct afork_io *io = turn->events[i].data.ptr;
        if (!io)
            continue;
        uint32_t ready = turn->events[i].events;
        if (ready & (EPOLLHUP | EPOLLERR))
            ready |= EPOLLIN | EPOLLOUT;
        unsigned events = ((ready & EPOLLIN ? AFORK_IN : 0) | (ready & EPOLLOUT ? AFORK_OUT : 0)) &
                          io->events;
        if (!events)
            continue;
        io->cb(events, io->data);
        n++;
    }
    return n;
}

/* Milliseconds to wait so that neither the caller's deadline nor a timer is missed: rounded up,
 * since waking early would turn without doing anything. */
static int wait_msec(struct afork_poll *poll, int64_t deadline)
{
    struct afork_timer *timer = first_timer(poll);
    int64_t until = timer && (deadline < 0 || timer->due < deadline) ? timer->due : deadline;

    if (until < 0)
        return -1;
    int64_t left = until - afork__now();
    if (left <= 0)
        return 0;
    left = (left + AFORK__USEC_PER_MSEC - 1) / AFORK__USEC_PER_MSEC;
    return left > INT_MAX ? INT_MAX : (int)left;
}

int afork_poll_turn(struct afork_poll *poll, int64_t usec)
{
    int64_t start = afork__now();
    int64_t deadline = usec < 0 ? -1 : usec > INT64_MAX - start ? INT64_MAX : start + usec;
    struct turn turn = {.outer = poll->turn};
    int n = 0;

    if (is_copy(poll))
        return -ECHILD;
    do {
        turn.n_events = epoll_wait(poll->epoll, turn.events, EVENTS_PER_TURN,
                                   wait_msec(poll, deadline));
        if (turn.n_events < 0)
            return -errno;
        turn.now = afork__now();
        poll->turn = &turn;
        n = run_ios(&turn) + run_timers(poll, turn.now);
        poll->turn = turn.outer;
    } while (!n && (deadline < 0 || afork__now() < deadline));
    return n;
}

int afork_poll_run(struct afork_poll *poll)
{
    while (!poll->quit && (poll->n_foreground || first_timer(poll))) {
        int result = afork_poll_turn(poll, -1);
        if (result < 0 && result != -EINTR)
            return result;
    }
    poll->quit = false;
    return 0;
}

void afork_poll_quit(struct afork_poll *poll)
{
    poll->quit = true;
}
