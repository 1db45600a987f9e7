/* SPDX-License-Identifier: MIT
 *
 * The channel of an rpc: frames out, frames in. Each call is written from where it lies, many by
 * one system call; what comes is handled where it was received, unless it is larger than the buffer
 * that all rpcs of a context share: then the rest is received to where it stays.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "rpc.h"
#include "util.h"
#include "wire.h"

enum {
    IOV_MOST = 128,
    MESSAGES_SHARE = 8,          /* sent in one go */
    PAYLOAD_START = 1024 * 1024, /* at least AFORK__SHARE_OCTETS */
    RETRY_USEC = 20000,
};

/* ---- Sending ---- */

/* Octets of the header as it is sent. */
static size_t sent_header_size(const struct afork_rpc *rpc)
{
    if (rpc->own_frames)
        return AFORK__RPC_HEADER_SIZE;
    return rpc->async ? AFORK__RPC_ASYNC_HEADER_SIZE : AFORK__RPC_SYNC_HEADER_SIZE;
}

/* The header lies at the end of its place, so that a copy of the data follows it at once. */
static uint8_t *header_of(const struct afork_rpc *rpc, struct afork_call *call)
{
    return call->header + AFORK__RPC_HEADER_SIZE - sent_header_size(rpc);
}

static void put_header(const struct afork_rpc *rpc, struct afork_call *call)
{
    uint8_t *header = header_of(rpc, call);
    struct afork__rpc_header frame = {
        .kind = AFORK__RPC_CALL,
        .n_fds = (unsigned)call->n_fds,
        .flags = call->prompt ? AFORK__RPC_PROMPT : 0,
        .id = call->id,
        .len = (uint32_t)call->len,
    };

    if (rpc->own_frames) {
        afork__rpc_put_header(header, &frame);
        return;
    }
    if (rpc->async)
        afork__rpc_put_number(header, frame.id);
    afork__rpc_put_number(header + (rpc->async ? 4 : 0), frame.len);
}

static size_t add_part(struct iovec *iov, size_t n, void *data, size_t len, size_t skip)
{
    if (skip >= len)
        return n;
    iov[n] = (struct iovec){.iov_base = (uint8_t *)data + skip, .iov_len = len - skip};
    return n + 1;
}

/* What is to be written of a call after its first `skip` octets. */
static size_t add_call(const struct afork_rpc *rpc, struct afork_call *call, size_t skip,
                       struct iovec *iov, size_t n)
{
    size_t size = sent_header_size(rpc);

    if (!call->release_taken)
        return add_part(iov, n, header_of(rpc, call), size + call->len, skip);
    n = add_part(iov, n, header_of(rpc, call), size, skip);
    return add_part(iov, n, (void *)call->data, call->len, skip > size ? skip - size : 0);
}

/* One message: as many calls as fit, but one with descriptors only at its start, since those come
 * with the first octet. */
static size_t gather(struct afork_rpc *rpc, struct iovec iov[IOV_MOST])
{
    size_t n = rpc->writing ? add_call(rpc, rpc->writing, rpc->written, iov, 0) : 0;
    uint32_t id = rpc->last_id;
    struct afork_call *call;

    TAILQ_FOREACH (call, &rpc->unsent, link) {
        if (n + 2 > IOV_MOST || (n && call->n_fds))
            break;
        call->id = id = afork__rpc_next_id(rpc, id);
        put_header(rpc, call);
        bool alone = call->n_fds; /* others may not follow: they could have descriptors, too */
        n = add_call(rpc, call, 0, iov, n);
        if (alone)
            break;
    }
    return n;
}

/* The worker gets to know a call: it has an answer to come. */
static void begin_writing(struct afork_rpc *rpc, struct afork_call *call)
{
    TAILQ_REMOVE(&rpc->unsent, call, link);
    TAILQ_INSERT_TAIL(&rpc->sent, call, link);
    call->state = AFORK__CALL_SENT;
    call->writing = true;
    if (!rpc->n_used++)
        rpc->oldest_id = call->id;
    rpc->last_id = call->id;
    rpc->slots[call->id & (rpc->n_slots - 1)] = (struct afork__rpc_slot){
        .id = call->id, .prompt = call->prompt, .call = call};
    if (call->on_begin)
        afork__rpc_begin_sent(rpc, call);
    for (size_t i = 0; !call->pool && i < call->n_fds; i++) /* else another worker may need them */
        afork__close(&call->fds[i]);
    rpc->writing = call;
    rpc->written = 0;
    afork__log(rpc->context, WIRE, "to " AFORK__LOG_NAME ": call %lu, %zu octets, %zu descriptors",
               AFORK__LOG_NAME_OF(rpc->process), (unsigned long)call->id, call->len, call->n_fds);
}

void afork__rpc_stop_writing(struct afork_rpc *rpc)
{
    struct afork_call *call = rpc->writing;

    rpc->writing = NULL;
    if (!call)
        return;
    call->writing = false;
    if (call->state == AFORK__CALL_GONE)
        afork__due_release(call->pool ? afork__pool_due(call->pool) : &rpc->due, call);
}

static void note_written(struct afork_rpc *rpc, size_t n)
{
    while (n) {
        if (!rpc->writing)
            begin_writing(rpc, TAILQ_FIRST(&rpc->unsent));
        size_t left = sent_header_size(rpc) + rpc->writing->len - rpc->written;
        size_t part = n < left ? n : left;
        rpc->written += part;
        n -= part;
        if (part == left)
            afork__rpc_stop_writing(rpc);
    }
}

static void try_again(struct afork__deadline *deadline)
{
    afork__rpc_send(AFORK__CONTAINER(deadline, struct afork_rpc, wait));
}

/* Whether sending failed because of the descriptors: of a kind that is not sent, or forbidden. */
static bool is_of_descriptors(int error)
{
    return error == -EINVAL || error == -EBADF || error == -EPERM || error == -EACCES;
}

static void sending_failed(struct afork_rpc *rpc, int error)
{
    switch (error) {
    case -EAGAIN:
        rpc->blocked = true;
        break;
    case -ENOBUFS:
    case -ENOMEM:
    case -ETOOMANYREFS:
        rpc->wait.cb = try_again;
        afork__deadline_set(rpc->context, &rpc->wait, afork__now() + RETRY_USEC, false);
        break;
    default: /* what it wrote before is still to be read, and how it ended to be told */
        rpc->deaf = true;
        afork__rpc_stop_writing(rpc);
    }
}

/* What is written to. The command socket of a server of ours will be the channel, and nothing is
 * read from it ahead of the function: what is known when it is told to run is there when it has
 * entered. */
static int channel(const struct afork_rpc *rpc)
{
    const struct afork_process *process = rpc->process;

    if (rpc->state != AFORK__RPC_STARTING)
        return rpc->fd;
    bool ready = process->peer == AFORK_PEER_OWN && process->run == AFORK__RUN_QUEUED &&
                 !process->hung_up && !process->broken && afork__queue_is_empty(&process->queue);
    return ready ? process->fd : -1;
}

/* A descriptor that may not be sent is the end of its call alone, of which nothing was written. The
 * pool may give us another in its place, which comes next. */
static void refuse(struct afork_rpc *rpc, struct afork_call *call, int error)
{
    rpc->refusing = true;
    afork__call_withdraw(call, error);
    rpc->refusing = false;
}

static void send_some(struct afork_rpc *rpc, int fd)
{
    struct iovec iov[IOV_MOST];
    struct afork_call *first = TAILQ_FIRST(&rpc->unsent);
    size_t n_fds = rpc->writing ? 0 : first->n_fds;
    size_t n = gather(rpc, iov);
    ssize_t sent = afork__fd_send(fd, iov, n, n_fds ? first->fds : NULL, n_fds, MSG_DONTWAIT);

    if (sent >= 0)
        note_written(rpc, (size_t)sent);
    else if (n_fds && is_of_descriptors((int)sent))
        refuse(rpc, first, (int)sent);
    else
        sending_failed(rpc, (int)sent);
}

static void flush(struct afork_rpc *rpc)
{
    int fd = channel(rpc);

    if (fd < 0)
        return;

    for (int share = MESSAGES_SHARE; share; share--) {
        if (rpc->blocked || rpc->deaf || rpc->wait.set)
            return;
        if (!rpc->writing && TAILQ_EMPTY(&rpc->unsent))
            break;
        send_some(rpc, fd);
    }
    if (rpc->writing || !TAILQ_EMPTY(&rpc->unsent)) {
        rpc->blocked = true; /* its share is used up: on when the loop comes back */
    } else if (rpc->finishing && !rpc->shut) {
        rpc->shut = true;
        shutdown(fd, SHUT_WR);
    }
}

static void send_on(struct afork_rpc *rpc)
{
    flush(rpc);
    if (rpc->n_begin)
        afork__rpc_begin_soon(rpc);
    afork__rpc_update_watch(rpc);
}

void afork__rpc_send(struct afork_rpc *rpc)
{
    if (rpc->state > AFORK__RPC_OPEN || rpc->dispatching || rpc->refusing || rpc->uncork.due)
        return;
    send_on(rpc);
    if (!rpc->finishing)
        afork__turn_due(rpc->context, &rpc->uncork);
}

void afork__rpc_uncork(struct afork__turn *turn)
{
    struct afork_rpc *rpc = AFORK__CONTAINER(turn, struct afork_rpc, uncork);

    if (rpc->state > AFORK__RPC_OPEN || rpc->dispatching)
        return;
    send_on(rpc);
}

/* ---- Receiving ---- */

/* Octets of the header of what comes. */
static size_t received_header_size(const struct afork_rpc *rpc)
{
    return rpc->own_frames ? AFORK__RPC_HEADER_SIZE : AFORK__RPC_ASYNC_HEADER_SIZE;
}

static void protocol_error(struct afork_rpc *rpc, const char *message)
{
    afork_process_kill(rpc->process, SIGKILL); /* whatever it does now is of no use */
    afork__rpc_close_channel(rpc, -EPROTO, message, strlen(message));
}

void afork__rpc_forget_frame(struct afork_rpc *rpc)
{
    free(rpc->payload);
    rpc->payload = NULL;
    rpc->header_got = rpc->payload_got = rpc->payload_room = 0;
}

/* The call that a frame is about. */
static struct afork__rpc_slot *find_call(struct afork_rpc *rpc, uint32_t id)
{
    if (rpc->async)
        return afork__rpc_slot_of(rpc, id);
    struct afork__rpc_slot *slot = rpc->n_used ? afork__rpc_slot_of(rpc, rpc->oldest_id) : NULL;
    return slot && (id == slot->id || !rpc->own_frames) ? slot : NULL;
}

static void handle_answer(struct afork_rpc *rpc, struct afork_reply *reply)
{
    struct afork__rpc_slot *slot = find_call(rpc, rpc->frame.id);

    if (!slot || (rpc->writing && slot->call == rpc->writing)) {
        protocol_error(rpc, "the worker answered a call that it was not given");
        return;
    }
    if (rpc->n_begin) {
        afork__rpc_begin_before(rpc, slot->id);
        if (rpc->closed)
            return;
        slot = find_call(rpc, rpc->frame.id); /* which may have moved */
    }
    struct afork_call *call = slot->call;
    afork__rpc_free_slot(rpc, slot);
    reply->memory = &rpc->memory;
    rpc->holding = rpc->frame.flags & AFORK__RPC_HOLDING;
    if (call)
        afork__rpc_answer(rpc, call, reply);
    else if (rpc->hooks)
        rpc->hooks->dropped(rpc->data);
}

static void handle_error(struct afork_rpc *rpc, const void *payload, size_t len)
{
    struct afork__strings list = {payload, (const uint8_t *)payload + len};
    struct afork_reply reply = {.error = -EREMOTEIO};
    const void *text;
    size_t text_len;

    if (afork__strings_next(&list, &text, &text_len) <= 0 ||
        afork__strings_next(&list, &reply.data, &reply.len) < 0) {
        protocol_error(rpc, "the worker sent an error that has no text");
        return;
    }
    if (!rpc->frame.id) {
        rpc->begun &= rpc->ready; /* else it could not start */
        afork__rpc_close_channel(rpc, -ENOEXEC, text, text_len);
        return;
    }
    char *message = strndup(text, text_len);
    reply.message = message ? message : "";
    handle_answer(rpc, &reply);
    free(message);
}

static void handle_event(struct afork_rpc *rpc, const struct afork_event *event)
{
    if (rpc->n_begin)
        afork__rpc_begin_before(rpc, rpc->frame.id);
    if (rpc->closed)
        return;
    struct afork__rpc_slot *slot = afork__rpc_slot_of(rpc, rpc->frame.id);
    struct afork_call *call = slot ? slot->call : NULL;

    if (call && call->on_event)
        call->on_event(event, call->cb_data);
    else if (rpc->hooks)
        rpc->hooks->event(event, rpc->data);
    else if (rpc->on_event)
        rpc->on_event(rpc, event, rpc->data);
}

/* The back end is there, and tells how its serialiser packs a known word. */
static void handle_ready(struct afork_rpc *rpc, const void *payload, size_t len)
{
    struct afork__strings list = {payload, (const uint8_t *)payload + len};
    const void *word;
    size_t word_len;

    rpc->begun &= rpc->ready;
    if (rpc->frame.id != AFORK__RPC_VERSION) {
        protocol_error(rpc, "the worker speaks another version of the protocol");
    } else if (rpc->octets &&
               (afork__strings_next(&list, &word, &word_len) <= 0 ||
                word_len != strlen(AFORK__RPC_PROBE) ||
                memcmp(word, AFORK__RPC_PROBE, word_len) != 0 || list.pos != list.end)) {
        protocol_error(rpc, "the worker uses another serialiser");
    } else {
        rpc->ready = rpc->begun = true;
        if (rpc->hooks && !rpc->prompt)
            rpc->hooks->begun(rpc->data);
        if (rpc->hooks && !rpc->closed)
            rpc->hooks->ready(rpc->data);
    }
}

static void handle_own(struct afork_rpc *rpc, const void *payload, size_t len, int *fds)
{
    size_t n_fds = rpc->frame.n_fds;

    switch (rpc->frame.kind) {
    case AFORK__RPC_RESULT:
        handle_answer(rpc,
                      &(struct afork_reply){
                          .message = "", .data = payload, .len = len, .fds = fds, .n_fds = n_fds});
        return;
    case AFORK__RPC_ERROR:
        handle_error(rpc, payload, len);
        return;
    case AFORK__RPC_EVENT:
        handle_event(rpc, &(struct afork_event){payload, len, fds, n_fds});
        return;
    case AFORK__RPC_READY:
        handle_ready(rpc, payload, len);
        return;
    case AFORK__RPC_RETIRE:
        if (rpc->hooks)
            rpc->hooks->retire(rpc->data);
        return;
    case AFORK__RPC_CALL:
        protocol_error(rpc, afork__call_words(-EPROTO));
    }
}

static void log_frame(const struct afork_rpc *rpc)
{
    static const char *const names[] = {
        [AFORK__RPC_CALL] = "call",   [AFORK__RPC_READY] = "ready", [AFORK__RPC_RESULT] = "result",
        [AFORK__RPC_ERROR] = "error", [AFORK__RPC_EVENT] = "event", [AFORK__RPC_RETIRE] = "retire",
    };
    const struct afork__rpc_header *frame = &rpc->frame;
    const char *name = rpc->own_frames ? names[frame->kind] : frame->id ? "result" : "event";

    afork__log(rpc->context, WIRE, "from " AFORK__LOG_NAME ": %s %lu, %lu octets, %u descriptors",
               AFORK__LOG_NAME_OF(rpc->process), name, (unsigned long)frame->id,
               (unsigned long)frame->len, frame->n_fds);
}

/* A whole frame is here. */
static void handle(struct afork_rpc *rpc, const void *payload, size_t len)
{
    int fds[AFORK_CALL_FDS_MAX];

    log_frame(rpc);
    rpc->header_got = 0;
    if (!rpc->own_frames) {
        if (rpc->frame.id)
            handle_answer(rpc, &(struct afork_reply){.message = "", .data = payload, .len = len});
        else
            handle_event(rpc, &(struct afork_event){.data = payload, .len = len});
        return;
    }
    if (rpc->frame.n_fds > rpc->fds.count || rpc->frame.n_fds > AFORK_CALL_FDS_MAX) {
        protocol_error(rpc, "descriptors are missing");
        return;
    }
    for (unsigned i = 0; i < rpc->frame.n_fds; i++)
        fds[i] = afork__fd_queue_take(&rpc->fds);
    unsigned n_fds = rpc->frame.n_fds;
    handle_own(rpc, payload, len, fds);
    for (unsigned i = 0; i < n_fds; i++)
        afork__close(&fds[i]);
}

static int parse_header(struct afork_rpc *rpc)
{
    if (rpc->own_frames) {
        int result = afork__rpc_get_header(rpc->header, &rpc->frame);
        if (result < 0)
            return result;
    } else {
        rpc->frame = (struct afork__rpc_header){.id = afork__rpc_get_number(rpc->header),
                                                .len = afork__rpc_get_number(rpc->header + 4)};
    }
    return rpc->frame.len > rpc->reply_max ? -EMSGSIZE : 0;
}

/* Room for the payload: as it comes, whatever length a broken worker may claim. */
static bool make_room(struct afork_rpc *rpc, size_t more)
{
    size_t want = rpc->payload_got + more;

    if (want <= rpc->payload_room)
        return true;
    size_t room = 2 * rpc->payload_room < PAYLOAD_START ? PAYLOAD_START : 2 * rpc->payload_room;
    room = room > rpc->frame.len ? rpc->frame.len : room;
    uint8_t *payload = realloc(rpc->payload, room);
    if (!payload) {
        static const char message[] = "no memory for what the worker sent";
        afork__rpc_close_channel(rpc, -ENOMEM, message, sizeof message - 1);
        return false;
    }
    rpc->payload = payload;
    rpc->payload_room = room;
    return true;
}

static void parse(struct afork_rpc *rpc, const uint8_t *data, size_t len)
{
    size_t size = received_header_size(rpc);

    while (rpc->state == AFORK__RPC_OPEN) {
        if (rpc->header_got < size) {
            size_t part = size - rpc->header_got < len ? size - rpc->header_got : len;
            memcpy(rpc->header + rpc->header_got, data, part);
            rpc->header_got += part;
            data += part;
            len -= part;
            if (rpc->header_got < size)
                return;
            int result = parse_header(rpc);
            if (result < 0) {
                protocol_error(rpc, result == -EMSGSIZE
                                        ? "the worker sent more than it may at a time"
                                        : afork__call_words(-EPROTO));
                return;
            }
        }
        if (rpc->frame.len > len) {
            if (len && make_room(rpc, len)) {
                memcpy(rpc->payload, data, len);
                rpc->payload_got = len;
            }
            return;
        }
        size_t part = rpc->frame.len;
        handle(rpc, data, part);
        data += part;
        len -= part;
    }
}

/* What is in `payload` and, after that, in `buffer`. */
static void parse_received(struct afork_rpc *rpc, const uint8_t *buffer, size_t len)
{
    if (rpc->payload) {
        size_t left = rpc->payload_room - rpc->payload_got;
        size_t part = len < left ? len : left;
        rpc->payload_got += part;
        if (rpc->payload_got < rpc->frame.len)
            return;
        uint8_t *payload = rpc->payload;
        rpc->payload = NULL;
        rpc->payload_got = rpc->payload_room = 0;
        rpc->memory = payload;
        handle(rpc, payload, rpc->frame.len);
        free(rpc->memory);
        rpc->memory = NULL;
        len -= part;
    }
    parse(rpc, buffer, len);
}

/* Descriptors come with the first octet of their frame: more than the one that is under way has are
 * no frame's, and would pile up. */
static void check_descriptors(struct afork_rpc *rpc)
{
    size_t most = !rpc->header_got                              ? 0
                  : rpc->header_got < received_header_size(rpc) ? AFORK_CALL_FDS_MAX
                                                                : rpc->frame.n_fds;

    if (rpc->state == AFORK__RPC_OPEN && rpc->fds.count > most)
        protocol_error(rpc, "the worker sent descriptors that belong to nothing");
}

/* A payload that is under way goes to where it stays; what follows it, to the buffer. */
static ssize_t receive_some(struct afork_rpc *rpc, uint8_t *buffer)
{
    struct iovec iov[2];
    size_t n = 0;

    if (rpc->payload) {
        if (!make_room(rpc, 1))
            return -ENOMEM;
        iov[n++] = (struct iovec){.iov_base = rpc->payload + rpc->payload_got,
                                  .iov_len = rpc->payload_room - rpc->payload_got};
    }
    if (!rpc->payload || rpc->payload_room == rpc->frame.len)
        iov[n++] = (struct iovec){.iov_base = buffer, .iov_len = AFORK__SHARE_OCTETS};
    ssize_t got = afork__fd_receive_iov(rpc->fd, iov, n, &rpc->fds, MSG_DONTWAIT);
    if (got > 0)
        parse_received(rpc, buffer, (size_t)got);
    if (rpc->fds.count)
        check_descriptors(rpc);
    return got;
}

/* Receives a share, or all there is. */
static void receive(struct afork_rpc *rpc, bool all)
{
    struct afork_context *context = rpc->context;
    uint8_t *buffer =
        context->receive_buffer; /* a callback may turn the loop: it is ours meanwhile */
    ssize_t got = 0;

    context->receive_buffer = NULL;
    if (!buffer && !(buffer = malloc(AFORK__SHARE_OCTETS))) {
        afork__rpc_close_channel(rpc, -ENOMEM, NULL, 0);
        return;
    }
    for (size_t total = 0; all || total < AFORK__SHARE_OCTETS; total += (size_t)got) {
        got = receive_some(rpc, buffer);
        if (got <= 0 || rpc->state != AFORK__RPC_OPEN)
            break;
        if (!all && got < AFORK__SHARE_OCTETS && !rpc->payload)
            break; /* that was all: the next call would only say so */
    }
    if (rpc->state == AFORK__RPC_OPEN && got <= 0 && got != -EAGAIN)
        afork__rpc_close_channel(rpc, got == -ECONNRESET ? 0 : (int)got, NULL, 0);
    if (context->receive_buffer)
        free(buffer);
    else
        context->receive_buffer = buffer;
}

void afork__rpc_drain(struct afork_rpc *rpc)
{
    if (rpc->state != AFORK__RPC_OPEN || rpc->dispatching)
        return;
    rpc->dispatching = true;
    receive(rpc, true);
    rpc->dispatching = false;
}

/* ---- The loop ---- */

void afork__rpc_update_watch(struct afork_rpc *rpc)
{
    unsigned events = 0;

    if (!rpc->io)
        return;
    if (!rpc->again)
        events = AFORK_IN | (rpc->blocked ? AFORK_OUT : 0);
    if (!rpc->n_calls && !rpc->finishing && rpc->ready) /* until then, somebody may wait for it */
        events |= AFORK_BACKGROUND;
    rpc->context->loop->ops->io_set(rpc->io, events);
}

/* Does what had to wait until callbacks had returned. */
static void end_dispatch(struct afork_rpc *rpc)
{
    rpc->dispatching = rpc->again = false;
    if (rpc->gone)
        afork__rpc_gone(rpc);
    else if (rpc->state == AFORK__RPC_OPEN)
        send_on(rpc);
    afork__rpc_try_end(rpc);
}

void afork__rpc_tell_begun(struct afork_rpc *rpc)
{
    if (!rpc->n_begin || rpc->dispatching) /* then at the end of that */
        return;
    rpc->dispatching = true;
    afork__rpc_begin_tell(rpc);
    end_dispatch(rpc);
}

void afork__rpc_io_cb(unsigned events, void *data)
{
    struct afork_rpc *rpc = data;
    struct afork_context *context = rpc->context;

    if (afork__context_is_over(context))
        return;
    if (rpc->dispatching) { /* a callback turns the loop */
        rpc->again = true;
        afork__rpc_update_watch(rpc);
        return;
    }
    afork__context_ref(context);
    rpc->refs++;
    rpc->dispatching = true;
    if (events & AFORK_OUT)
        rpc->blocked = false;
    if (events & AFORK_IN)
        receive(rpc, false);
    end_dispatch(rpc);
    afork__rpc_unref_memory(rpc);
    afork__context_unref(context);
}

int afork__rpc_open(struct afork_rpc *rpc, int fd)
{
    int result = rpc->context->loop->ops->io_new(rpc->context->loop, fd, AFORK_IN, afork__rpc_io_cb,
                                                 rpc, &rpc->io);

    if (result < 0)
        return result;
    rpc->fd = fd;
    rpc->state = AFORK__RPC_OPEN;
    rpc->blocked = false;
    rpc->ready = !rpc->own_frames; /* the original does not say that it is there */
    rpc->begun = rpc->ready || rpc->prompt;
    send_on(rpc);
    return 0;
}
