/* SPDX-License-Identifier: MIT
 *
 * See tail.h. Knows nothing of processes but that one end of the pipe is theirs.
 */
#include "config.h"

#include "tail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"
#include "spawn.h"
#include "util.h"

struct afork__tail {
    LIST_ENTRY(afork__tail) link;
    struct afork_context *context;
    int fd; /* -1 after end of file */
    struct afork_io *io;
    bool released;
    size_t written;             /* octets that came in all */
    char ring[AFORK__TAIL_MAX]; /* octet i of all is at i % AFORK__TAIL_MAX */
};

static void stop(struct afork__tail *tail)
{
    if (tail->io && !afork__context_is_copy(tail->context))
        tail->context->loop->ops->io_free(tail->io);
    tail->io = NULL;
    afork__close(&tail->fd);
}

static void tail_free(struct afork__tail *tail)
{
    stop(tail);
    LIST_REMOVE(tail, link);
    free(tail);
}

static void keep(struct afork__tail *tail, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        tail->ring[tail->written++ % AFORK__TAIL_MAX] = data[i];
}

/* Reads up to `share` octets. */
static void read_share(struct afork__tail *tail, size_t share)
{
    char buffer[AFORK__TAIL_MAX];
    ssize_t got;

    for (size_t done = 0; done < share && tail->fd >= 0; done += sizeof buffer) {
        got = read(tail->fd, buffer, sizeof buffer);
        if (got > 0)
            keep(tail, buffer, (size_t)got);
        else if (got == 0 || (errno != EAGAIN && errno != EINTR))
            stop(tail);
        else if (errno == EAGAIN)
            return;
    }
}

static void io_cb(unsigned events, void *data)
{
    struct afork__tail *tail = data;

    (void)events;
    if (afork__context_is_over(tail->context))
        return;
    read_share(tail, AFORK__SHARE_OCTETS);
    if (tail->released && tail->fd < 0)
        tail_free(tail);
}

int afork__tail_new(struct afork_context *context, struct afork__tail **ret, int *write_end)
{
    int ends[2];
    struct afork__tail *tail = calloc(1, sizeof *tail);
    int result = tail ? afork__pipe(ends) : -ENOMEM;

    if (result < 0) {
        free(tail);
        return result;
    }
    result = context->loop->ops->io_new(context->loop, ends[0], AFORK_IN | AFORK_BACKGROUND, io_cb,
                                        tail, &tail->io);
    if (result < 0) {
        free(tail);
        close(ends[0]);
        close(ends[1]);
        return result;
    }
    tail->context = context;
    tail->fd = ends[0];
    LIST_INSERT_HEAD(&context->tails, tail, link);
    *ret = tail;
    *write_end = ends[1];
    return 0;
}

/* All that is there by now, of which the end counts, and not what somebody else adds meanwhile. */
size_t afork__tail_get(struct afork__tail *tail, char text[AFORK__TAIL_MAX])
{
    int waiting = 0;

    if (tail->fd >= 0)
        ioctl(tail->fd, FIONREAD, &waiting);
    read_share(tail, (size_t)waiting + 1); /* the end of file, too */

    size_t len = tail->written < AFORK__TAIL_MAX ? tail->written : AFORK__TAIL_MAX;
    for (size_t i = 0; i < len; i++)
        text[i] = tail->ring[(tail->written - len + i) % AFORK__TAIL_MAX];
    return len;
}

void afork__tail_release(struct afork__tail *tail)
{
    if (!tail)
        return;
    tail->released = true;
    if (tail->fd >= 0 && !afork__context_is_copy(tail->context))
        read_share(tail, AFORK__SHARE_OCTETS); /* most often it is at its end already */
    if (tail->fd < 0 || afork__context_is_over(tail->context))
        tail_free(tail);
}

void afork__tail_close_all(struct afork_context *context)
{
    struct afork__tail *tail;

    while ((tail = LIST_FIRST(&context->tails)))
        tail_free(tail);
}
