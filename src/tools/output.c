/* SPDX-License-Identifier: MIT
 *
 * See output.h. Whether writing waits is a matter of the open file, which others have as well: it
 * is not changed. A pipe or a terminal is opened once more, for ourselves; where that is not
 * allowed, it is written to in pieces that are taken at once when it is writable.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MSEC = 100 };

enum way {
    WAY_PLAIN,  /* it does not make anybody wait */
    WAY_OWN,    /* our own opening, which does not wait */
    WAY_PIECES, /* after a look whether it is writable */
    WAY_SOCKET, /* by calls that do not wait */
};

struct output {
    int fd;
    enum way way;
    struct afork_loop *loop;
    struct afork_io *io; /* NULL: WAY_PLAIN */
    struct buffer buffer;
    int error;
};

static void on_writable(unsigned events, void *data)
{
    (void)events;
    output_flush(data);
}

static enum way find_way(int *fd)
{
    struct stat status;

    if (fstat(*fd, &status) < 0)
        return WAY_PLAIN;
    if (S_ISSOCK(status.st_mode))
        return WAY_SOCKET;
    if (!S_ISFIFO(status.st_mode) && !isatty(*fd))
        return WAY_PLAIN;
    int own = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0)
        return WAY_PIECES;
    *fd = own;
    return WAY_OWN;
}

int output_new(struct afork_loop *loop, struct output **ret)
{
    struct output *output = allocate(sizeof *output);

    *output = (struct output){.fd = STDOUT_FILENO, .loop = loop};
    output->way = find_way(&output->fd);
    int result = output->way == WAY_PLAIN
                     ? 0
                     : loop->ops->io_new(loop, output->fd, 0, on_writable, output, &output->io);
    if (result < 0) {
        output_free(output);
        return result;
    }
    *ret = output;
    return 0;
}

struct buffer *output_buffer(struct output *output)
{
    return &output->buffer;
}

/* Octets written, or -1 with EAGAIN where the reader is to be waited for. */
static ssize_t write_some(struct output *output, const char *data, size_t len)
{
    struct pollfd poll_fd = {.fd = output->fd, .events = POLLOUT};

    switch (output->way) {
    case WAY_SOCKET:
        return send(output->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case WAY_PIECES:
        if (poll(&poll_fd, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        return write(output->fd, data, len < PIPE_BUF ? len : PIPE_BUF);
    default:
        return write(output->fd, data, len);
    }
}

void output_flush(struct output *output)
{
    struct buffer *buffer = &output->buffer;

    while (buffer->len && !output->error) {
        ssize_t n = write_some(output, buffer->data + buffer->start, buffer->len);
        if (n >= 0)
            buffer_consume(buffer, (size_t)n);
        else if (errno == EAGAIN && output->io)
            break;
        else if (errno == EAGAIN) /* somebody has set that, and no loop can watch it */
            poll(&(struct pollfd){.fd = output->fd, .events = POLLOUT}, 1, PATIENCE_MSEC);
        else if (errno != EINTR)
            output->error = errno;
    }
    if (output->error)
        buffer_free(buffer);
    if (output->io)
        output->loop->ops->io_set(output->io, buffer->len ? AFORK_OUT : 0);
}

int output_fd(const struct output *output)
{
    return output->fd;
}

size_t output_pending(const struct output *output)
{
    return output->buffer.len;
}

int output_error(const struct output *output)
{
    return output->error;
}

void output_free(struct output *output)
{
    if (!output)
        return;
    output->loop->ops->io_free(output->io);
    if (output->fd != STDOUT_FILENO)
        close(output->fd);
    buffer_free(&output->buffer);
    free(output);
}
