/* SPDX-License-Identifier: MIT
 *
 * A channel as a program without an adapter has it: the descriptor, watched by the operations of
 * the loop. For the poll loop, driven by itself or from outside.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test-channel.h"
#include "util.h"

struct plain {
    struct test_channel base;
    int fd;
    struct afork_io *io;
    unsigned events;
    GByteArray *queue;
    bool shut, closed, pending; /* the callback of run is still to come */
};

static struct plain *plain_of(struct test_channel *channel)
{
    return (struct plain *)channel;
}

static void release(struct plain *self)
{
    g_byte_array_unref(self->queue);
    g_byte_array_unref(self->base.received);
    g_free(self);
}

static void set_events(struct plain *self, unsigned events)
{
    self->events = events;
    self->base.t->loop->ops->io_set(self->io, events);
}

static void send_queue(struct plain *self)
{
    ssize_t sent = send(self->fd, self->queue->data, self->queue->len, MSG_NOSIGNAL);

    if (sent < 0 && errno == EAGAIN)
        return;
    if (sent < 0) {
        self->base.error = -errno;
        sent = self->queue->len;
    }
    g_byte_array_remove_range(self->queue, 0, (guint)sent);
    self->base.unwritten = self->queue->len;
    if (self->queue->len)
        return;
    set_events(self, self->events & ~AFORK_OUT);
    if (self->shut)
        shutdown(self->fd, SHUT_WR);
}

static void receive(struct plain *self)
{
    static char buffer[65536];
    ssize_t got = recv(self->fd, buffer, sizeof buffer, 0);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0) {
        g_byte_array_append(self->base.received, (guint8 *)buffer, (guint)got);
        return;
    }
    if (got < 0)
        self->base.error = -errno;
    self->base.ended = true;
    set_events(self, self->events & ~AFORK_IN);
}

static void io_cb(unsigned events, void *data)
{
    struct plain *self = data;

    if (events & AFORK_OUT)
        send_queue(self);
    if (events & AFORK_IN)
        receive(self);
    if (self->base.news)
        self->base.news(&self->base);
}

static void run_cb(struct afork_process *process, int fd, const struct afork_exit *failure,
                   void *data)
{
    struct plain *self = data;

    self->pending = false;
    if (self->closed) {
        if (fd >= 0)
            close(fd);
        release(self);
        return;
    }
    if (fd < 0) {
        self->base.error = fd;
    } else {
        self->fd = fd;
        self->base.opened = true;
        test_ok(self->base.t->loop->ops->io_new(self->base.t->loop, fd, 0, io_cb, self, &self->io));
    }
    if (self->base.news)
        self->base.news(&self->base);
}

static struct test_channel *plain_run(struct test *t, struct afork_process *process,
                                      const char *function)
{
    struct plain *self = g_new0(struct plain, 1);

    self->fd = -1;
    self->pending = true;
    self->queue = g_byte_array_new();
    self->base.received = g_byte_array_new();
    test_ok(afork_process_run(process, function, run_cb, self));
    return &self->base;
}

static int plain_get_fd(struct test_channel *channel)
{
    return plain_of(channel)->fd;
}

static void plain_read(struct test_channel *channel, bool on)
{
    struct plain *self = plain_of(channel);

    set_events(self, on ? self->events | AFORK_IN : self->events & ~AFORK_IN);
}

static void plain_write(struct test_channel *channel, const void *data, size_t len)
{
    struct plain *self = plain_of(channel);

    g_byte_array_append(self->queue, data, (guint)len);
    channel->unwritten = self->queue->len;
    set_events(self, self->events | AFORK_OUT);
}

static void plain_shut(struct test_channel *channel)
{
    struct plain *self = plain_of(channel);

    self->shut = true;
    if (!self->queue->len)
        shutdown(self->fd, SHUT_WR);
}

static void plain_close(struct test_channel *channel)
{
    struct plain *self = plain_of(channel);

    self->closed = true;
    if (self->io)
        channel->t->loop->ops->io_free(self->io);
    afork__close(&self->fd);
    if (!self->pending)
        release(self);
}

#define PLAIN_OPERATIONS                                                                           \
    .run = plain_run, .get_fd = plain_get_fd, .read = plain_read, .write = plain_write,            \
    .shut = plain_shut, .close = plain_close

const struct test_channel_type test_channel_poll = {
    .name = "poll", .loop = &test_loop_poll, PLAIN_OPERATIONS};
const struct test_channel_type test_channel_foreign = {
    .name = "foreign", .loop = &test_loop_foreign, PLAIN_OPERATIONS};
