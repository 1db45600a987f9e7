/* SPDX-License-Identifier: MIT
 *
 * A channel as a program on libuv has it: a uv_pipe_t.
 */
#include <afork/afork-uv.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "test-channel.h"

struct uv_channel {
    struct test_channel base;
    uv_pipe_t pipe;
    struct afork_process *process; /* a reference; tells whether the callback can still come */
    bool called, closed;           /* of run and of close */
};

struct request {
    union {
        uv_write_t write;
        uv_shutdown_t shut;
    } uv;
    char data[];
};

extern const struct test_channel_type test_channel_uv;

/* Closed before it was open: kept until the callback came, and for good if the process is closed
 * afterwards, since nobody tells. */
static GSList *waiting;

static void release_if_done(struct uv_channel *channel)
{
    bool expected = !channel->called && afork_process_kill(channel->process, -1) != -ESHUTDOWN;

    if (!channel->closed || expected)
        return;
    waiting = g_slist_remove(waiting, channel);
    afork_process_unref(channel->process);
    g_byte_array_unref(channel->base.received);
    g_free(channel);
}

static bool is_closing(struct uv_channel *channel)
{
    return uv_is_closing((uv_handle_t *)&channel->pipe);
}

/* `error` is 0 or what went wrong. Nobody is told after close(). */
static void tell(struct uv_channel *channel, int error)
{
    if (is_closing(channel))
        return;
    if (error < 0 && !channel->base.error)
        channel->base.error = error;
    channel->base.unwritten = channel->pipe.write_queue_size;
    if (channel->base.news)
        channel->base.news(&channel->base);
}

static void on_run(struct afork_process *process, uv_pipe_t *pipe, int status,
                   const struct afork_exit *failure, void *data)
{
    struct uv_channel *channel = data;

    channel->called = true;
    if (is_closing(channel)) {
        release_if_done(channel);
        return;
    }
    channel->base.opened = status == 0;
    tell(channel, status);
}

static struct test_channel *channel_run(struct test *t, struct afork_process *process,
                                        const char *function)
{
    struct uv_channel *channel = g_new0(struct uv_channel, 1);

    signal(SIGPIPE, SIG_IGN); /* libuv writes with it */
    channel->base.type = &test_channel_uv;
    channel->base.t = t;
    channel->base.received = g_byte_array_new();
    channel->process = afork_process_ref(process);
    test_ok(afork_uv_run(process, function, &channel->pipe, on_run, channel));
    return &channel->base;
}

static struct uv_channel *of_handle(void *handle)
{
    return (struct uv_channel *)((char *)handle - offsetof(struct uv_channel, pipe));
}

static void allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    *buffer = uv_buf_init(g_malloc(size), (unsigned)size);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct uv_channel *channel = of_handle(stream);

    if (got > 0)
        g_byte_array_append(channel->base.received, (guint8 *)buffer->base, (guint)got);
    g_free(buffer->base);
    if (got == 0) /* nothing there after all */
        return;
    channel->base.ended |= got == UV_EOF;
    tell(channel, got < 0 && got != UV_EOF ? (int)got : 0);
}

static void channel_read(struct test_channel *base, bool on)
{
    uv_stream_t *stream = (uv_stream_t *)&((struct uv_channel *)base)->pipe;

    if (on)
        test_ok(uv_read_start(stream, allocate, on_read));
    else
        test_ok(uv_read_stop(stream));
}

static void on_written(uv_write_t *write, int status)
{
    struct uv_channel *channel = of_handle(write->handle);

    g_free(write);
    tell(channel, status);
}

static void channel_write(struct test_channel *base, const void *data, size_t len)
{
    struct uv_channel *channel = (struct uv_channel *)base;
    struct request *request = g_malloc(sizeof *request + len);
    uv_buf_t buffer = uv_buf_init(request->data, (unsigned)len);

    memcpy(request->data, data, len);
    test_ok(uv_write(&request->uv.write, (uv_stream_t *)&channel->pipe, &buffer, 1, on_written));
    base->unwritten = channel->pipe.write_queue_size;
}

static void on_shut(uv_shutdown_t *shut, int status)
{
    struct uv_channel *channel = of_handle(shut->handle);

    g_free(shut);
    if (status < 0)
        tell(channel, status);
}

static void channel_shut(struct test_channel *base)
{
    struct uv_channel *channel = (struct uv_channel *)base;
    struct request *request = g_new0(struct request, 1);

    int result = uv_shutdown(&request->uv.shut, (uv_stream_t *)&channel->pipe, on_shut);
    if (result < 0) {
        g_free(request);
        base->error = base->error ? base->error : result;
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_channel *channel = of_handle(handle);

    channel->closed = true;
    release_if_done(channel);
}

static void channel_close(struct test_channel *base)
{
    struct uv_channel *channel = (struct uv_channel *)base;

    waiting = g_slist_prepend(waiting, channel);
    uv_close((uv_handle_t *)&channel->pipe, on_closed);
}

const struct test_channel_type test_channel_uv = {
    "uv", &test_loop_uv, channel_run, channel_read, channel_write, channel_shut, channel_close,
};
