/* SPDX-License-Identifier: MIT
 *
 * A GSocketConnection that is read and written asynchronously.
 */
#include "channel-glib.h"

#include <gio/gio.h>

#include "bench-loop.h"
#include "bench.h"

static GSocketConnection *connection;
static GCancellable *closing;
static const char *queue; /* what waits for the end of a write */
static size_t queued;
static gboolean writing;

static void fail(const char *what, const GError *error)
{
    g_printerr("%s: %s\n", what, error ? error->message : "end of file");
    bench_fail(what, 0);
}

static void read_some(void);

static void on_read(GObject *stream, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;
    gssize n = g_input_stream_read_finish(G_INPUT_STREAM(stream), result, &error);

    if (g_cancellable_is_cancelled(closing))
        return;
    if (n <= 0)
        fail("read", error);
    loop_got((size_t)n);
    read_some();
}

static void read_some(void)
{
    static char buffer[LOOP_BUFFER];
    g_input_stream_read_async(g_io_stream_get_input_stream(G_IO_STREAM(connection)), buffer,
                              sizeof buffer, G_PRIORITY_DEFAULT, closing, on_read, NULL);
}

void channel_open(int fd)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocket) socket = g_socket_new_from_fd(fd, &error);

    if (!socket)
        fail("socket", error);
    connection = g_socket_connection_factory_create_connection(socket);
    closing = g_cancellable_new();
    read_some();
}

static void write_queue(void);

static void on_written(GObject *stream, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;

    if (!g_output_stream_write_all_finish(G_OUTPUT_STREAM(stream), result, NULL, &error))
        fail("write", error);
    writing = FALSE;
    if (queue)
        write_queue();
}

static void write_queue(void)
{
    GOutputStream *stream = g_io_stream_get_output_stream(G_IO_STREAM(connection));

    writing = TRUE;
    g_output_stream_write_all_async(stream, g_steal_pointer(&queue), queued, G_PRIORITY_DEFAULT,
                                    NULL, on_written, NULL);
}

/* All may have come back before it is told that it was written. */
void loop_send(const char *data, size_t len)
{
    queue = data;
    queued = len;
    if (!writing)
        write_queue();
}

void loop_end_echo(void)
{
    g_cancellable_cancel(closing);
    g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
    while (g_main_context_iteration(NULL, FALSE))
        continue;
    g_clear_object(&connection);
    g_clear_object(&closing);
}
