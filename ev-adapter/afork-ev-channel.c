/* SPDX-License-Identifier: MIT
 *
 * The channel of afork-ev-channel.h: a socket, two ev_io, and a queue in one buffer. Knows nothing
 * of loops of the core, processes or Perl.
 *
 * The callback is always the last thing that is done: it may release the channel.
 */
#define AFORK_EV_COMPILATION

#include "afork-ev-channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SHARE = 256 * 1024,        /* octets that one dispatch may read */
    SMALLEST = 4 * 1024,       /* of a buffer */
    KEPT_BUFFER = 1024 * 1024, /* a longer one is released when it is empty */
};

/* ---- the queue ---- */

static void drop_queue(struct afork_ev_channel *channel)
{
    free(channel->buffer);
    channel->buffer = NULL;
    channel->size = channel->start = channel->queued = 0;
}

/* Makes room for `len` octets behind those that wait. */
static int make_room(struct afork_ev_channel *channel, size_t len)
{
    if (len <= channel->size - channel->start - channel->queued)
        return 0;
    if (len > SIZE_MAX / 2 - channel->queued)
        return -ENOMEM;
    size_t need = channel->queued + len;

    /* Moving is worth it where most of the buffer was sent: each octet is moved once on average. */
    if (need <= channel->size && channel->queued <= channel->start) {
        memcpy(channel->buffer, channel->buffer + channel->start, channel->queued);
        channel->start = 0;
        return 0;
    }
    size_t size = need > 2 * channel->size ? need : 2 * channel->size;
    if (size < SMALLEST)
        size = SMALLEST;
    char *buffer = malloc(size);
    if (!buffer)
        return -ENOMEM;
    if (channel->queued)
        memcpy(buffer, channel->buffer + channel->start, channel->queued);
    free(channel->buffer);
    channel->buffer = buffer;
    channel->size = size;
    channel->start = 0;
    return 0;
}

static int enqueue(struct afork_ev_channel *channel, const char *data, size_t len)
{
    int result = make_room(channel, len);

    if (result < 0)
        return result;
    memcpy(channel->buffer + channel->start + channel->queued, data, len);
    channel->queued += len;
    return 0;
}

static void dequeue(struct afork_ev_channel *channel, size_t len)
{
    channel->start += len;
    channel->queued -= len;
    if (channel->queued)
        return;
    channel->start = 0;
    if (channel->size > KEPT_BUFFER)
        drop_queue(channel);
}

/* ---- the socket ---- */

/* Returns how many octets the socket took, 0 if it takes none now, or a negative errno. */
static ssize_t send_some(struct afork_ev_channel *channel, const char *data, size_t len)
{
    ssize_t n;

    do
        n = send(channel->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? 0 : -errno;
}

/* The writer runs while something waits, or the user wants to know that nothing does. */
static void set_writer(EV_P_ struct afork_ev_channel *channel)
{
    if (!channel->error && (channel->queued || channel->wants_write))
        ev_io_start(EV_A_ &channel->writer);
    else
        ev_io_stop(EV_A_ &channel->writer);
}

/* Ends writing. */
static int fail(EV_P_ struct afork_ev_channel *channel, int error)
{
    channel->error = error;
    drop_queue(channel);
    set_writer(EV_A_ channel);
    return error;
}

/* libev cannot watch the socket and has stopped the watcher. */
static void not_watched(EV_P_ struct afork_ev_channel *channel)
{
    if (channel->error == -EIO) /* of the other watcher: told already */
        return;
    fail(EV_A_ channel, -EIO);
    channel->cb(EV_A_ channel, EV_ERROR);
}

static void reader_cb(EV_P_ ev_io *reader, int revents)
{
    struct afork_ev_channel *channel = reader->data;

    if (revents & EV_ERROR) {
        not_watched(EV_A_ channel);
        return;
    }
    channel->share = SHARE;
    channel->cb(EV_A_ channel, EV_READ);
}

/* Sends what waits. Returns whether the user wants to hear of the result. */
static bool flush(EV_P_ struct afork_ev_channel *channel)
{
    ssize_t n = send_some(channel, channel->buffer + channel->start, channel->queued);

    if (n < 0) {
        fail(EV_A_ channel, (int)n);
        return true;
    }
    dequeue(channel, (size_t)n);
    if (channel->queued)
        return false;
    if (channel->ended)
        shutdown(channel->fd, SHUT_WR);
    set_writer(EV_A_ channel);
    return channel->wants_write;
}

static void writer_cb(EV_P_ ev_io *writer, int revents)
{
    struct afork_ev_channel *channel = writer->data;

    if (revents & EV_ERROR)
        not_watched(EV_A_ channel);
    else if (!channel->queued || flush(EV_A_ channel))
        channel->cb(EV_A_ channel, channel->error ? EV_ERROR : EV_WRITE);
}

/* ---- the calls ---- */

void afork_ev_channel_init(struct afork_ev_channel *channel, afork_ev_channel_cb *cb, int fd)
{
    void *data = channel->data;

    memset(channel, 0, sizeof *channel);
    channel->data = data;
    channel->fd = fd;
    channel->cb = cb;
    channel->share = SHARE;
    ev_io_init(&channel->reader, reader_cb, fd, EV_READ);
    ev_io_init(&channel->writer, writer_cb, fd, EV_WRITE);
    channel->reader.data = channel->writer.data = channel;
}

void afork_ev_channel_start(EV_P_ struct afork_ev_channel *channel, int events)
{
    if (!channel->cb)
        return;
    if (events & EV_READ)
        ev_io_start(EV_A_ &channel->reader);
    if (events & EV_WRITE) {
        channel->wants_write = true;
        set_writer(EV_A_ channel);
    }
}

void afork_ev_channel_stop(EV_P_ struct afork_ev_channel *channel, int events)
{
    if (!channel->cb)
        return;
    if (events & EV_READ)
        ev_io_stop(EV_A_ &channel->reader);
    if (events & EV_WRITE) {
        channel->wants_write = false;
        set_writer(EV_A_ channel);
    }
}

ssize_t afork_ev_channel_read(EV_P_ struct afork_ev_channel *channel, void *data, size_t len)
{
    ssize_t n;

    if (!channel->cb || !data || !len)
        return -EINVAL;
    if (!channel->share) {
        channel->share = SHARE;
        if (ev_is_active(&channel->reader)) /* which tells what is there */
            return -EAGAIN;
    }
    if (len > channel->share)
        len = channel->share;
    do
        n = recv(channel->fd, data, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    int error = errno;
    if (n > 0) {
        /* A short read has emptied the socket: the next one need not ask the kernel. */
        channel->share = (size_t)n < len ? 0 : channel->share - (size_t)n;
        return n;
    }
    if (n < 0 && error == EAGAIN)
        return -EAGAIN;
    ev_io_stop(EV_A_ &channel->reader);
    return n < 0 ? -error : 0;
}

int afork_ev_channel_write(EV_P_ struct afork_ev_channel *channel, const void *data, size_t len)
{
    ssize_t sent = 0;

    if (!channel->cb || (!data && len))
        return -EINVAL;
    if (channel->error)
        return channel->error;
    if (channel->ended)
        return -EPIPE;
    if (!len)
        return 0;
    if (!channel->queued)
        sent = send_some(channel, data, len);
    if (sent < 0)
        return fail(EV_A_ channel, (int)sent);
    if ((size_t)sent == len)
        return 0;
    int result = enqueue(channel, (const char *)data + sent, len - (size_t)sent);
    if (result < 0)
        return sent ? fail(EV_A_ channel, result) : result;
    set_writer(EV_A_ channel);
    return 0;
}

void afork_ev_channel_shut(EV_P_ struct afork_ev_channel *channel)
{
    if (!channel->cb || channel->ended)
        return;
    channel->ended = true;
    if (!channel->queued)
        shutdown(channel->fd, SHUT_WR);
}

void afork_ev_channel_close(EV_P_ struct afork_ev_channel *channel)
{
    if (!channel->cb)
        return;
    channel->cb = NULL;
    ev_io_stop(EV_A_ &channel->reader);
    ev_io_stop(EV_A_ &channel->writer);
    drop_queue(channel);
    close(channel->fd);
    channel->fd = -1;
}
