/* SPDX-License-Identifier: MIT
 *
 * See input.h. Standard input is shared with others and stays as it is, blocking in general: so it
 * is read once each time that the loop says it is readable. What no loop can watch, files, is read
 * when it is wanted.
 */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

enum { PIECE = 65536 };

struct input {
    int fd;
    struct afork_loop *loop;
    struct afork_io *io; /* NULL: it need not be waited for */
    char separator;
    struct buffer buffer;
    size_t searched; /* so many octets of it hold no separator */
    bool ended;
    int error;
    uint64_t size, position;
};

static void read_piece(struct input *input)
{
    ssize_t n = read(input->fd, buffer_reserve(&input->buffer, PIECE), PIECE);

    if (n > 0) {
        input->buffer.len += (size_t)n;
        if (input->buffer.len > UINT32_MAX)
            input->error = EFBIG;
    } else if (n == 0) {
        input->ended = true;
    } else if (errno != EAGAIN && errno != EINTR) {
        input->error = errno;
    }
}

static void on_readable(unsigned events, void *data)
{
    struct input *input = data;

    (void)events;
    read_piece(input);
    input->loop->ops->io_set(input->io, 0); /* until more is wanted */
}

static int open_list(const char *file)
{
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY) : STDIN_FILENO;

    return fd < 0 ? -errno : fd;
}

int input_new(struct afork_loop *loop, const char *file, char separator, struct input **ret)
{
    struct stat status;
    int fd = open_list(file);

    if (fd < 0)
        return fd;
    struct input *input = allocate(sizeof *input);
    *input = (struct input){.fd = fd, .loop = loop, .separator = separator};
    int result = fstat(fd, &status) < 0 ? -errno : 0;
    if (!result && S_ISREG(status.st_mode))
        input->size = (uint64_t)status.st_size;
    if (!result)
        result = loop->ops->io_new(loop, fd, 0, on_readable, input, &input->io);
    if (result < 0 && result != -EPERM) {
        input_free(input);
        return result;
    }
    *ret = input;
    return 0;
}

/* Hands out the first `len` octets of the buffer, and forgets them with `more` behind them. They
 * stay where they are until the next piece is read. */
static enum input_state hand_out(struct input *input, size_t len, size_t more, const char **ret,
                                 size_t *ret_len)
{
    *ret = input->buffer.data + input->buffer.start;
    *ret_len = len;
    input->buffer.start += len + more;
    input->buffer.len -= len + more;
    input->position += len + more;
    input->searched = 0;
    return INPUT_LINE;
}

enum input_state input_next(struct input *input, const char **ret, size_t *ret_len)
{
    struct buffer *buffer = &input->buffer;

    for (;;) {
        size_t start = buffer->start + input->searched, left = buffer->len - input->searched;
        const char *end = left ? memchr(buffer->data + start, input->separator, left) : NULL;
        if (end)
            return hand_out(input, (size_t)(end - buffer->data) - buffer->start, 1, ret, ret_len);
        input->searched = buffer->len;
        if (input->error)
            return INPUT_ERROR;
        if (input->ended)
            return buffer->len ? hand_out(input, buffer->len, 0, ret, ret_len) : INPUT_END;
        if (input->io) {
            input->loop->ops->io_set(input->io, AFORK_IN);
            return INPUT_LATER;
        }
        read_piece(input);
    }
}

const char *input_error(const struct input *input)
{
    return input->error == EFBIG ? "a line is longer than 4 GiB" : strerror(input->error);
}

uint64_t input_size(const struct input *input)
{
    return input->ended ? input->position + input->buffer.len : input->size;
}

uint64_t input_position(const struct input *input)
{
    return input->position;
}

void input_free(struct input *input)
{
    if (!input)
        return;
    input->loop->ops->io_free(input->io);
    if (input->fd != STDIN_FILENO)
        close(input->fd);
    buffer_free(&input->buffer);
    free(input);
}
