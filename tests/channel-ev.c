/* SPDX-License-Identifier: MIT
 *
 * The channel of a program on libev, for the tests that run over every kind of channel.
 */
#include <unistd.h>

#include "test-ev.h"

struct channel {
    struct test_channel base;
    struct afork_ev_channel ev;
    bool closed; /* before it was opened: released when the callback of run comes */
};

static struct ev_loop *loop_of(struct channel *channel)
{
    return ev_of(channel->base.t);
}

/* The callback may close the channel: the last thing that is done. */
static void tell(struct channel *channel)
{
    if (channel->base.news)
        channel->base.news(&channel->base);
}

static void receive(struct channel *channel)
{
    char buffer[16 * 1024];
    ssize_t n;

    while ((n = afork_ev_channel_read(loop_of(channel), &channel->ev, buffer, sizeof buffer)) > 0)
        g_byte_array_append(channel->base.received, (guint8 *)buffer, (guint)n);
    if (n == 0)
        channel->base.ended = true;
    else if (n != -EAGAIN)
        channel->base.error = (int)n;
}

static void on_channel(struct ev_loop *ev, struct afork_ev_channel *self, int revents)
{
    struct channel *channel = self->data;

    if (revents & EV_READ)
        receive(channel);
    if (revents & EV_WRITE) /* all went; write() starts it again */
        afork_ev_channel_stop(ev, self, EV_WRITE);
    if (revents & EV_ERROR)
        channel->base.error = self->error;
    channel->base.unwritten = self->queued;
    tell(channel);
}

/* The context may be closed before the callback comes, which is then no more. */
static GSList *waiting;

static void on_run(struct afork_process *process, int fd, const struct afork_exit *failure,
                   void *data)
{
    struct channel *channel = data;

    waiting = g_slist_remove(waiting, channel);
    if (channel->closed) {
        if (fd >= 0)
            close(fd);
        g_free(channel);
        return;
    }
    if (fd < 0) {
        channel->base.error = fd;
    } else {
        channel->base.opened = true;
        afork_ev_channel_init(&channel->ev, on_channel, fd);
    }
    tell(channel);
}

static struct test_channel *channel_run(struct test *t, struct afork_process *process,
                                        const char *function)
{
    struct channel *channel = g_new0(struct channel, 1);

    channel->base.type = &test_channel_ev;
    channel->base.t = t;
    channel->base.received = g_byte_array_new();
    channel->ev.data = channel;
    waiting = g_slist_prepend(waiting, channel);
    test_ok(afork_process_run(process, function, on_run, channel));
    return &channel->base;
}

static int channel_get_fd(struct test_channel *base)
{
    return ((struct channel *)base)->ev.fd;
}

static void channel_read(struct test_channel *base, bool on)
{
    struct channel *channel = (struct channel *)base;

    (on ? afork_ev_channel_start : afork_ev_channel_stop)(loop_of(channel), &channel->ev, EV_READ);
}

static void channel_write(struct test_channel *base, const void *data, size_t len)
{
    struct channel *channel = (struct channel *)base;
    int result = afork_ev_channel_write(loop_of(channel), &channel->ev, data, len);

    if (result < 0)
        base->error = result;
    base->unwritten = channel->ev.queued;
    if (base->unwritten)
        afork_ev_channel_start(loop_of(channel), &channel->ev, EV_WRITE);
}

static void channel_shut(struct test_channel *base)
{
    struct channel *channel = (struct channel *)base;

    afork_ev_channel_shut(loop_of(channel), &channel->ev);
}

static void channel_close(struct test_channel *base)
{
    struct channel *channel = (struct channel *)base;

    g_byte_array_free(base->received, TRUE);
    afork_ev_channel_close(loop_of(channel), &channel->ev);
    channel->closed = true;
    if (!g_slist_find(waiting, channel))
        g_free(channel);
}

const struct test_channel_type test_channel_ev = {
    .name = "ev",
    .loop = &test_loop_ev,
    .run = channel_run,
    .get_fd = channel_get_fd,
    .read = channel_read,
    .write = channel_write,
    .shut = channel_shut,
    .close = channel_close,
};
