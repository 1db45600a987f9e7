/* SPDX-License-Identifier: MIT
 *
 * The outgoing queue. Knows frames and descriptors, nothing of processes.
 *
 * A chunk is a run of octets, or the single octet that carries a descriptor. A descriptor travels
 * with the first octet of its message, thus it may arrive ahead of its own octet, never behind it:
 * our server keeps it until it is claimed. The original reads the octet with a receive of its own,
 * and loses a descriptor that comes with anything else.
 */
#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fdpass.h"
#include "util.h"

/* All descriptors of a message need room at once in a peer that may have few. */
enum { IOV_PER_MESSAGE = 32, FDS_PER_MESSAGE = 4 };

struct afork__chunk {
    STAILQ_ENTRY(afork__chunk) link;
    uint8_t *data; /* `inside`, or what `release` is for */
    size_t len, sent;
    void (*release)(void *data);
    bool is_frame; /* a header, and at least the start of the payload */
    bool is_handle;
    int fd; /* of a handle; -1 once it was sent */
    uint8_t inside[];
};

static struct afork__chunk *chunk_new(size_t len)
{
    struct afork__chunk *chunk = malloc(sizeof *chunk + len);
    if (chunk)
        *chunk = (struct afork__chunk){.data = chunk->inside, .len = len, .fd = -1};
    return chunk;
}

static void chunk_free(struct afork__chunk *chunk)
{
    afork__close(&chunk->fd);
    if (chunk->release)
        chunk->release(chunk->data);
    free(chunk);
}

/* The list is the caller's own: releasing data may call the library, and change the queue. */
static void chunks_free(struct afork__chunks *chunks)
{
    struct afork__chunk *chunk;

    while ((chunk = STAILQ_FIRST(chunks))) {
        STAILQ_REMOVE_HEAD(chunks, link);
        chunk_free(chunk);
    }
}

static struct afork__chunk *frame_new(enum afork__command command, size_t payload)
{
    struct afork__chunk *chunk = chunk_new(AFORK__HEADER_SIZE + payload);
    if (!chunk)
        return NULL;
    chunk->is_frame = true;
    afork__wire_header(chunk->inside, command, (uint32_t)payload);
    return chunk;
}

void afork__queue_init(struct afork__queue *queue, bool original)
{
    STAILQ_INIT(&queue->chunks);
    queue->original = original;
    queue->sent = NULL;
}

void afork__queue_clear(struct afork__queue *queue)
{
    struct afork__chunks dropped = STAILQ_HEAD_INITIALIZER(dropped);

    STAILQ_CONCAT(&dropped, &queue->chunks);
    chunks_free(&dropped);
}

bool afork__queue_is_empty(const struct afork__queue *queue)
{
    return STAILQ_EMPTY(&queue->chunks);
}

static int append(struct afork__queue *queue, struct afork__chunk *chunk)
{
    if (!chunk)
        return -ENOMEM;
    STAILQ_INSERT_TAIL(&queue->chunks, chunk, link);
    return 0;
}

int afork__queue_strings(struct afork__queue *queue, enum afork__command command,
                         const struct iovec *strings, size_t n)
{
    size_t size = afork__strings_size(strings, n);

    if (size > AFORK__PAYLOAD_MAX)
        return -EMSGSIZE;
    struct afork__chunk *chunk = frame_new(command, size);
    if (chunk)
        afork__strings_put(chunk->inside + AFORK__HEADER_SIZE, strings, n);
    return append(queue, chunk);
}

int afork__queue_take(struct afork__queue *queue, void *data, size_t len,
                      void (*release)(void *data))
{
    uint8_t prefix[AFORK__BER_MAX];
    size_t prefix_len = afork__ber_put(prefix, len);

    if (len > AFORK__PAYLOAD_MAX - prefix_len)
        return -EMSGSIZE;
    struct afork__chunk *head = chunk_new(AFORK__HEADER_SIZE + prefix_len);
    struct afork__chunk *body = chunk_new(0);
    if (!head || !body) {
        free(head);
        free(body);
        return -ENOMEM;
    }
    afork__wire_header(head->inside, AFORK__ARGS, (uint32_t)(prefix_len + len));
    memcpy(head->inside + AFORK__HEADER_SIZE, prefix, prefix_len);
    body->data = data;
    body->len = len;
    body->release = release;
    append(queue, head);
    return append(queue, body);
}

int afork__queue_command(struct afork__queue *queue, enum afork__command command,
                         const void *payload, size_t len)
{
    if (len > AFORK__PAYLOAD_MAX)
        return -EMSGSIZE;
    struct afork__chunk *chunk = frame_new(command, len);
    if (chunk && len)
        memcpy(chunk->inside + AFORK__HEADER_SIZE, payload, len);
    return append(queue, chunk);
}

/* The frame and the octet of a handle, at the end of `chunks`. */
static int append_handle(struct afork__chunks *chunks, int fd)
{
    struct afork__chunk *head = frame_new(AFORK__HANDLE, 0);
    struct afork__chunk *octet = chunk_new(1);

    if (!head || !octet) {
        free(head);
        free(octet);
        return -ENOMEM;
    }
    octet->inside[0] = 0;
    octet->is_handle = true;
    octet->fd = fd;
    STAILQ_INSERT_TAIL(chunks, head, link);
    STAILQ_INSERT_TAIL(chunks, octet, link);
    return 0;
}

int afork__queue_handle(struct afork__queue *queue, int fd)
{
    return append_handle(&queue->chunks, fd);
}

int afork__queue_handle_for(struct afork__queue *queue, int fd, enum afork__command command,
                            const void *payload, size_t len)
{
    struct afork__chunks chunks = STAILQ_HEAD_INITIALIZER(chunks);
    struct afork__chunk *chunk = frame_new(command, len);
    int result = chunk ? append_handle(&chunks, fd) : -ENOMEM;

    if (result < 0) {
        free(chunk);
        return result;
    }
    if (len)
        memcpy(chunk->inside + AFORK__HEADER_SIZE, payload, len);
    STAILQ_INSERT_TAIL(&chunks, chunk, link);
    STAILQ_CONCAT(&queue->chunks, &chunks);
    return 0;
}

/* The command itself. */
static int append_fork(struct afork__chunks *chunks, const struct afork__queue *queue,
                       uint64_t identity, unsigned flags)
{
    size_t size = queue->original ? 0 : sizeof identity + 1;
    struct afork__chunk *chunk = frame_new(queue->original ? AFORK__FORK : AFORK__FORK_AS, size);

    if (!chunk)
        return -ENOMEM;
    if (size) {
        memcpy(chunk->inside + AFORK__HEADER_SIZE, &identity, sizeof identity);
        chunk->inside[AFORK__HEADER_SIZE + sizeof identity] = (uint8_t)flags;
    }
    STAILQ_INSERT_TAIL(chunks, chunk, link);
    return 0;
}

/* Adds chunks to the queue if all could be made; else the descriptors stay the caller's. */
static int add_all(struct afork__queue *queue, struct afork__chunks *chunks, int result)
{
    struct afork__chunk *chunk;

    if (!result) {
        STAILQ_CONCAT(&queue->chunks, chunks);
        return 0;
    }
    while ((chunk = STAILQ_FIRST(chunks))) {
        STAILQ_REMOVE_HEAD(chunks, link);
        free(chunk);
    }
    return result;
}

int afork__queue_fork(struct afork__queue *queue, int fd, int error_fd, uint64_t identity,
                      unsigned flags)
{
    struct afork__chunks chunks = STAILQ_HEAD_INITIALIZER(chunks);
    int result = error_fd >= 0 ? append_handle(&chunks, error_fd) : 0;

    if (!result)
        result = append_handle(&chunks, fd);
    if (!result)
        result = append_fork(&chunks, queue, identity,
                             flags | (error_fd >= 0 ? AFORK__FORK_STDERR : 0));
    return add_all(queue, &chunks, result);
}

int afork__queue_attach(struct afork__queue *queue, int status_fd, uint64_t identity,
                        uint32_t owner, uint8_t flags)
{
    struct afork__chunks chunks = STAILQ_HEAD_INITIALIZER(chunks);
    struct afork__chunk *chunk = frame_new(AFORK__ATTACH, AFORK__ATTACH_SIZE);
    int result = chunk ? append_handle(&chunks, status_fd) : -ENOMEM;

    if (chunk) {
        uint8_t *payload = chunk->inside + AFORK__HEADER_SIZE;
        memcpy(payload, &identity, sizeof identity);
        memcpy(payload + sizeof identity, &owner, sizeof owner);
        payload[AFORK__ATTACH_SIZE - 1] = flags;
        STAILQ_INSERT_TAIL(&chunks, chunk, link);
    }
    return add_all(queue, &chunks, result);
}

int afork__queue_copy(struct afork__queue *queue, const struct afork__queue *from)
{
    struct afork__chunks chunks = STAILQ_HEAD_INITIALIZER(chunks);
    const struct afork__chunk *chunk;

    STAILQ_FOREACH (chunk, &from->chunks, link) {
        struct afork__chunk *copy = chunk_new(chunk->len);
        if (!copy)
            return add_all(queue, &chunks, -ENOMEM);
        memcpy(copy->data, chunk->data, chunk->len);
        STAILQ_INSERT_TAIL(&chunks, copy, link);
    }
    return add_all(queue, &chunks, 0);
}

struct message {
    struct iovec iov[IOV_PER_MESSAGE];
    size_t n_iov;
    int fds[FDS_PER_MESSAGE];
    size_t n_fds;
};

/* Gathers what can go out in one call. */
static void gather(struct afork__queue *queue, size_t limit, struct message *message)
{
    struct afork__chunk *chunk;
    size_t total = 0;

    STAILQ_FOREACH (chunk, &queue->chunks, link) {
        if (message->n_iov == IOV_PER_MESSAGE || message->n_fds == FDS_PER_MESSAGE ||
            total >= limit)
            return;
        if (chunk->is_handle && queue->original && message->n_iov)
            return;
        size_t len = chunk->len - chunk->sent;
        if (len > limit - total)
            len = limit - total;
        message->iov[message->n_iov++] = (struct iovec){.iov_base = chunk->data + chunk->sent,
                                                        .iov_len = len};
        total += len;
        if (chunk->fd >= 0)
            message->fds[message->n_fds++] = chunk->fd;
        if (chunk->is_handle && queue->original)
            return;
    }
}

/* Takes what was sent out of the queue: `sent` octets, and all descriptors of the message, which
 * went with the first of them. */
static void consume(struct afork__queue *queue, size_t sent, const struct message *message)
{
    struct afork__chunk *chunk = STAILQ_FIRST(&queue->chunks);
    struct afork__chunks spent = STAILQ_HEAD_INITIALIZER(spent);

    for (size_t i = 0; i < message->n_iov; i++, chunk = STAILQ_NEXT(chunk, link))
        afork__close(&chunk->fd);
    while ((chunk = STAILQ_FIRST(&queue->chunks))) {
        size_t left = chunk->len - chunk->sent;
        if (sent < left) {
            chunk->sent += sent;
            break;
        }
        sent -= left;
        if (chunk->is_frame && queue->sent)
            queue->sent(queue->sent_data, chunk->data, chunk->len);
        STAILQ_REMOVE_HEAD(&queue->chunks, link);
        STAILQ_INSERT_TAIL(&spent, chunk, link);
        if (!sent)
            break;
    }
    chunks_free(&spent);
}

int afork__queue_send(struct afork__queue *queue, int socket, size_t limit)
{
    while (!STAILQ_EMPTY(&queue->chunks)) {
        struct message message = {0};

        if (!limit)
            return 0;
        gather(queue, limit, &message);
        ssize_t sent = afork__fd_send(socket, message.iov, message.n_iov, message.fds,
                                      message.n_fds, MSG_DONTWAIT);
        if (sent == -EAGAIN)
            return 0;
        if (sent == -ETOOMANYREFS || sent == -ENOBUFS || sent == -ENOMEM)
            return -ENOBUFS;
        if (sent < 0)
            return (int)sent;
        consume(queue, (size_t)sent, &message);
        limit -= (size_t)sent;
    }
    return 1;
}
