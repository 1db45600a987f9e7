/* SPDX-License-Identifier: MIT
 *
 * The socket itself, watched by GLib.
 */
#include "channel-glib.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench-loop.h"
#include "bench.h"

static int channel;
static guint reader, writer;

/* What waits to be sent. */
static const char *queue;
static size_t queued;

static gboolean on_readable(int fd, GIOCondition condition, gpointer data)
{
    static char buffer[LOOP_BUFFER];
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN))
        bench_fail("recv", n < 0 ? errno : 0);
    if (n > 0)
        loop_got((size_t)n);
    return G_SOURCE_CONTINUE;
}

void channel_open(int fd)
{
    channel = fd;
    reader = g_unix_fd_add(fd, G_IO_IN, on_readable, NULL);
}

static void send_some(void)
{
    ssize_t n = send(channel, queue, queued, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN)
        bench_fail("send", errno);
    if (n > 0) {
        queue += n;
        queued -= (size_t)n;
    }
}

static gboolean on_writable(int fd, GIOCondition condition, gpointer data)
{
    send_some();
    if (queued)
        return G_SOURCE_CONTINUE;
    writer = 0;
    return G_SOURCE_REMOVE;
}

void loop_send(const char *data, size_t len)
{
    queue = data;
    queued = len;
    send_some();
    if (queued && !writer)
        writer = g_unix_fd_add(channel, G_IO_OUT, on_writable, NULL);
}

void loop_end_echo(void)
{
    g_source_remove(reader);
    close(channel);
}
