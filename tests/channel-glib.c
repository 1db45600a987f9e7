/* SPDX-License-Identifier: MIT
 *
 * A channel as a GLib program has it: a GSocketConnection, read and written asynchronously.
 */
#include <gio/gio.h>
#include <unistd.h>

#include "test-channel.h"

struct glib_channel {
    struct test_channel base;
    unsigned refs; /* the test's, and one of each operation under way */
    GSocketConnection *connection;
    GCancellable *closing;
    GByteArray *queue;
    GBytes *writing;
    bool shut, closed;
    bool wants, reading, has_result; /* reading is on; a read is under way; it has ended */
    gssize result;
    guint8 buffer[65536];
};

static struct glib_channel *glib_of(struct test_channel *channel)
{
    return (struct glib_channel *)channel;
}

static void release(struct glib_channel *self)
{
    if (--self->refs)
        return;
    g_clear_object(&self->connection);
    g_object_unref(self->closing);
    g_byte_array_unref(self->queue);
    g_byte_array_unref(self->base.received);
    g_free(self);
}

static void tell(struct glib_channel *self)
{
    if (self->base.news && !self->closed)
        self->base.news(&self->base);
    release(self);
}

/* The errno behind a GIO error, as far as the tests tell them apart. */
static int error_number(const GError *error)
{
    return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE)         ? -EPIPE
           : g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED) ? -ECONNRESET
                                                                              : -EIO;
}

static void run_cb(struct afork_process *process, int fd, const struct afork_exit *failure,
                   void *data)
{
    struct glib_channel *self = data;

    if (fd >= 0) {
        g_autoptr(GSocket) socket = g_socket_new_from_fd(fd, NULL);
        self->connection = g_socket_connection_factory_create_connection(socket);
        self->base.opened = true;
    } else {
        self->base.error = fd;
    }
    tell(self);
}

static struct test_channel *glib_run(struct test *t, struct afork_process *process,
                                     const char *function)
{
    struct glib_channel *self = g_new0(struct glib_channel, 1);

    self->refs = 2; /* one for run_cb() */
    self->closing = g_cancellable_new();
    self->queue = g_byte_array_new();
    self->base.received = g_byte_array_new();
    test_ok(afork_process_run(process, function, run_cb, self));
    return &self->base;
}

static int glib_get_fd(struct test_channel *channel)
{
    return g_socket_get_fd(g_socket_connection_get_socket(glib_of(channel)->connection));
}

static void read_some(struct glib_channel *self);

/* A result that comes while reading is off waits here. */
static void take_result(struct glib_channel *self)
{
    if (self->result > 0)
        g_byte_array_append(self->base.received, self->buffer, (guint)self->result);
    else
        self->base.ended = true;
    self->reading = self->has_result = false;
    if (self->result > 0)
        read_some(self);
}

static void read_cb(GObject *stream, GAsyncResult *result, gpointer data)
{
    struct glib_channel *self = data;
    g_autoptr(GError) error = NULL;

    self->result = g_input_stream_read_finish(G_INPUT_STREAM(stream), result, &error);
    self->has_result = true;
    if (error && !self->closed)
        self->base.error = error_number(error);
    if (self->wants && !self->closed)
        take_result(self);
    tell(self);
}

static void read_some(struct glib_channel *self)
{
    GInputStream *stream = g_io_stream_get_input_stream(G_IO_STREAM(self->connection));

    self->reading = true;
    self->refs++;
    g_input_stream_read_async(stream, self->buffer, sizeof self->buffer, G_PRIORITY_DEFAULT,
                              self->closing, read_cb, self);
}

/* A read that is under way cannot be cancelled without losing what it may have read already. */
static void glib_read(struct test_channel *channel, bool on)
{
    struct glib_channel *self = glib_of(channel);

    self->wants = on;
    if (on && self->has_result)
        take_result(self);
    else if (on && !self->reading)
        read_some(self);
}

static void write_queue(struct glib_channel *self);

static void write_cb(GObject *stream, GAsyncResult *result, gpointer data)
{
    struct glib_channel *self = data;
    g_autoptr(GError) error = NULL;

    if (!g_output_stream_write_all_finish(G_OUTPUT_STREAM(stream), result, NULL, &error)) {
        self->base.error = error_number(error);
        g_byte_array_set_size(self->queue, 0);
    }
    g_clear_pointer(&self->writing, g_bytes_unref);
    self->base.unwritten = self->queue->len;
    if (!self->closed)
        write_queue(self);
    tell(self);
}

static void write_queue(struct glib_channel *self)
{
    GOutputStream *stream = g_io_stream_get_output_stream(G_IO_STREAM(self->connection));

    if (!self->queue->len) {
        if (self->shut)
            g_socket_shutdown(g_socket_connection_get_socket(self->connection), FALSE, TRUE, NULL);
        return;
    }
    self->writing = g_bytes_new(self->queue->data, self->queue->len);
    g_byte_array_set_size(self->queue, 0);
    self->refs++;
    gsize len;
    gconstpointer data = g_bytes_get_data(self->writing, &len);
    g_output_stream_write_all_async(stream, data, len, G_PRIORITY_DEFAULT, self->closing, write_cb,
                                    self);
}

static void glib_write(struct test_channel *channel, const void *data, size_t len)
{
    struct glib_channel *self = glib_of(channel);

    g_byte_array_append(self->queue, data, (guint)len);
    channel->unwritten += len;
    if (!self->writing)
        write_queue(self);
}

static void glib_shut(struct test_channel *channel)
{
    struct glib_channel *self = glib_of(channel);

    self->shut = true;
    if (!self->writing)
        write_queue(self);
}

static void glib_close(struct test_channel *channel)
{
    struct glib_channel *self = glib_of(channel);

    self->closed = true;
    g_cancellable_cancel(self->closing);
    release(self);
}

const struct test_channel_type test_channel_glib = {.name = "glib",
                                                    .loop = &test_loop_glib,
                                                    .run = glib_run,
                                                    .get_fd = glib_get_fd,
                                                    .read = glib_read,
                                                    .write = glib_write,
                                                    .shut = glib_shut,
                                                    .close = glib_close};
