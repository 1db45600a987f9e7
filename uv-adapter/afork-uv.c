/* SPDX-License-Identifier: MIT
 *
 * The loop contract of afork-loop.h over libuv, and channels as uv_pipe_t. Knows nothing of Perl.
 *
 * A handle's memory is libuv's until its close callback: releasing a watcher closes its handles,
 * and the last close callback frees it. libuv itself guarantees that the callback of a closed
 * handle does not run any more, and that the descriptor of a stopped uv_poll_t may be closed and
 * its number used anew at once.
 */
#include "afork-uv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

enum { USEC_PER_MSEC = 1000, NSEC_PER_USEC = 1000 };

struct afork_io {
    struct afork_uv_loop *loop;
    uv_poll_t poll;
    int fd;
    unsigned events;
    afork_io_cb *cb;
    void *data;
    LIST_ENTRY(afork_io) link;
};

/* A uv_timer_t of 0 that is armed again in its callback would never let the loop go on to the
 * descriptors; a uv_idle_t runs once a turn, and keeps the turn from waiting. All calls come from
 * there: libuv up to 1.44 runs the idle handles after the timers of the same turn. */
struct afork_timer {
    struct afork_uv_loop *loop;
    uv_timer_t timer; /* for later: then it starts the other */
    uv_idle_t idle;   /* for 0 */
    int n_open;       /* handles of the two that are not closed yet */
    int64_t due;      /* us on the clock of uv_hrtime() */
    afork_timer_cb *cb;
    void *data;
    LIST_ENTRY(afork_timer) link;
};

/* An afork_uv_run() whose callback is to come. */
struct run {
    uv_pipe_t *pipe;
    afork_uv_run_cb *cb;
    void *data;
};

struct afork_uv_loop {
    struct afork_loop base;
    uv_loop_t *uv;
    pid_t owner;
    LIST_HEAD(, afork_io) ios;
    LIST_HEAD(, afork_timer) timers;
};

static struct afork_uv_loop *loop_of(struct afork_loop *loop)
{
    return (struct afork_uv_loop *)loop; /* its first member */
}

_Noreturn static void misused(const char *what, int fd)
{
    fprintf(stderr, "afork-uv: %s (descriptor %d)\n", what, fd);
    abort();
}

/* ---- descriptors ---- */

static void io_cb(uv_poll_t *poll, int status, int ready);

static void io_start(struct afork_io *io)
{
    int wanted = (io->events & AFORK_IN ? UV_READABLE : 0) |
                 (io->events & AFORK_OUT ? UV_WRITABLE : 0);

    if (!wanted)
        uv_poll_stop(&io->poll);
    else if (uv_poll_start(&io->poll, wanted, io_cb) < 0)
        misused("something else in the loop polls a watched descriptor", io->fd);
}

static void io_cb(uv_poll_t *poll, int status, int ready)
{
    struct afork_io *io = poll->data;
    unsigned events = (ready & UV_READABLE ? AFORK_IN : 0) | (ready & UV_WRITABLE ? AFORK_OUT : 0);

    if (status < 0) {
        /* The descriptor has an error, and libuv has stopped the handle. */
        events = AFORK_IN | AFORK_OUT;
        io_start(io);
    }
    events &= io->events;
    if (events)
        io->cb(events, io->data);
}

static void io_set(struct afork_io *io, unsigned events)
{
    unsigned changes = events ^ io->events;

    io->events = events;
    if (changes & AFORK_BACKGROUND && events & AFORK_BACKGROUND)
        uv_unref((uv_handle_t *)&io->poll);
    else if (changes & AFORK_BACKGROUND)
        uv_ref((uv_handle_t *)&io->poll);
    if (changes & (AFORK_IN | AFORK_OUT))
        io_start(io);
}

static int io_new(struct afork_loop *base, int fd, unsigned events, afork_io_cb *cb, void *data,
                  struct afork_io **ret)
{
    struct afork_uv_loop *loop = loop_of(base);
    struct afork_io *io = malloc(sizeof *io);

    if (!io)
        return -ENOMEM;
    *io = (struct afork_io){.loop = loop, .fd = fd, .cb = cb, .data = data};
    int result = uv_poll_init(loop->uv, &io->poll, fd);
    if (result < 0) {
        free(io);
        return result;
    }
    io->poll.data = io;
    io_set(io, events);
    LIST_INSERT_HEAD(&loop->ios, io, link);
    *ret = io;
    return 0;
}

static void io_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void io_free(struct afork_io *io)
{
    if (!io)
        return;
    LIST_REMOVE(io, link);
    uv_close((uv_handle_t *)&io->poll, io_closed);
}

/* ---- timers ---- */

static int64_t now(void)
{
    return (int64_t)(uv_hrtime() / NSEC_PER_USEC);
}

static void idle_cb(uv_idle_t *handle)
{
    struct afork_timer *timer = handle->data;

    uv_idle_stop(handle);
    timer->cb(timer->data);
}

static void timer_cb(uv_timer_t *handle);

static void timer_wait(struct afork_timer *timer, int64_t usec)
{
    int64_t msec = usec / USEC_PER_MSEC + (usec % USEC_PER_MSEC != 0);
    uv_timer_start(&timer->timer, timer_cb, (uint64_t)msec, 0);
}

/* libuv counts from the time at which the turn began, in whole milliseconds: it may be early. */
static void timer_cb(uv_timer_t *handle)
{
    struct afork_timer *timer = handle->data;
    int64_t left = timer->due - now();

    if (left > 0)
        timer_wait(timer, left);
    else
        uv_idle_start(&timer->idle, idle_cb);
}

static int timer_new(struct afork_loop *base, afork_timer_cb *cb, void *data,
                     struct afork_timer **ret)
{
    struct afork_uv_loop *loop = loop_of(base);
    struct afork_timer *timer = malloc(sizeof *timer);

    if (!timer)
        return -ENOMEM;
    *timer = (struct afork_timer){.loop = loop, .n_open = 2, .cb = cb, .data = data};
    uv_timer_init(loop->uv, &timer->timer);
    uv_idle_init(loop->uv, &timer->idle);
    timer->timer.data = timer->idle.data = timer;
    LIST_INSERT_HEAD(&loop->timers, timer, link);
    *ret = timer;
    return 0;
}

static void timer_set(struct afork_timer *timer, int64_t usec)
{
    uv_idle_stop(&timer->idle);
    uv_timer_stop(&timer->timer);
    if (usec < 0)
        return;
    if (usec == 0) {
        uv_idle_start(&timer->idle, idle_cb);
        return;
    }
    int64_t start = now();
    timer->due = usec > INT64_MAX - start ? INT64_MAX : start + usec;
    timer_wait(timer, usec);
}

static void timer_closed(uv_handle_t *handle)
{
    struct afork_timer *timer = handle->data;

    if (!--timer->n_open)
        free(timer);
}

static void timer_free(struct afork_timer *timer)
{
    if (!timer)
        return;
    LIST_REMOVE(timer, link);
    uv_close((uv_handle_t *)&timer->timer, timer_closed);
    uv_close((uv_handle_t *)&timer->idle, timer_closed);
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

/* ---- channels ---- */

static bool is_known(int error)
{
    switch (error) {
#define KNOWN(name, message) case UV_##name:
        UV_ERRNO_MAP(KNOWN)
#undef KNOWN
        return true;
    default:
        return false;
    }
}

/* A code that uv_strerror() knows. Newer versions know ENOEXEC, too, but what a code means must not
 * depend on the version. */
static int uv_error(int error)
{
    return error == 0 || (is_known(error) && error != -ENOEXEC) ? error : UV_ECONNABORTED;
}

static void run_cb(struct afork_process *process, int fd, const struct afork_exit *failure,
                   void *data)
{
    const struct run *run = data;
    int status = fd;

    if (fd >= 0) {
        status = uv_is_closing((uv_handle_t *)run->pipe) ? UV_ECANCELED
                                                         : uv_pipe_open(run->pipe, fd);
        if (status < 0)
            close(fd);
    }
    run->cb(process, run->pipe, uv_error(status), failure, run->data);
}

int afork_uv_run(struct afork_process *process, const char *function, uv_pipe_t *pipe,
                 afork_uv_run_cb *cb, void *data)
{
    struct afork_loop *base = afork_process_get_loop(process);

    if (!pipe || !cb || (base && base->ops != &ops))
        return UV_EINVAL;
    struct run *run = malloc(sizeof *run);
    if (!run)
        return UV_ENOMEM;
    *run = (struct run){.pipe = pipe, .cb = cb, .data = data};
    int result = afork_process_run_full(process, function, run_cb, run, free);
    if (result < 0) {
        free(run);
        return uv_error(result);
    }
    /* Its loop is there: the process has just taken a command. */
    uv_pipe_init(loop_of(base)->uv, pipe, 0);
    return 0;
}

/* ---- the loop ---- */

int afork_uv_loop_new(uv_loop_t *uv, struct afork_uv_loop **ret)
{
    if (!uv || !ret)
        return -EINVAL;
    struct afork_uv_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return -ENOMEM;
    loop->base.ops = &ops;
    loop->uv = uv;
    loop->owner = getpid();
    LIST_INIT(&loop->ios);
    LIST_INIT(&loop->timers);
    *ret = loop;
    return 0;
}

/* The contexts of a copy of the process can do no more than release memory, and have left them. */
static void free_watchers(struct afork_uv_loop *loop)
{
    struct afork_io *io;
    struct afork_timer *timer;

    while ((io = LIST_FIRST(&loop->ios)))
        io_free(io);
    while ((timer = LIST_FIRST(&loop->timers)))
        timer_free(timer);
}

void afork_uv_loop_free(struct afork_uv_loop *loop)
{
    if (!loop)
        return;
    if (loop->owner != getpid())
        free_watchers(loop);
    if (!LIST_EMPTY(&loop->ios))
        misused("afork_uv_loop_free: a watcher is left", LIST_FIRST(&loop->ios)->fd);
    if (!LIST_EMPTY(&loop->timers))
        misused("afork_uv_loop_free: a timer is left", -1);
    free(loop);
}

struct afork_loop *afork_uv_loop_get(struct afork_uv_loop *loop)
{
    return &loop->base;
}
