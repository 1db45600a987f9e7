/* SPDX-License-Identifier: MIT
 *
 * Remote processes: what goes over the socket until the function is entered. doc/wire-protocol.md
 * says how both ends speak.
 *
 * Nothing is ever read of what the function may have written: the socket is looked at, and as much
 * taken from it as is ours.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "deadline.h"
#include "fdpass.h"
#include "internal.h"
#include "remote-start.h"
#include "remote.h"
#include "util.h"

/* For a command that closed its end to end itself. */
enum { CLOSED_USEC = 1000000 };

/* ---- Words ---- */

/* Writes what was printed in printable form. */
static void quote(const struct afork__remote_start *start, char *out, size_t size)
{
    char *end = out + size - 8;

    *out = '\0';
    for (size_t i = 0; i < start->quoted_len && out < end; i++) {
        unsigned char c = (unsigned char)start->quoted[i];
        if (c == '\n')
            out += sprintf(out, "\\n");
        else if (c == '"' || c == '\\')
            out += sprintf(out, "\\%c", c);
        else if (c < ' ' || c >= 0x7f)
            out += sprintf(out, "\\x%02x", c);
        else
            out += sprintf(out, "%c", c);
    }
    if (start->noise > start->quoted_len)
        sprintf(out, "...");
}

void afork__remote_describe(const struct afork_process *process, char *text, size_t size)
{
    const struct afork__remote_start *start = process->remote->start;
    char quoted[4 * AFORK__REMOTE_QUOTED_MAX + 16];
    size_t len = strlen(text);

    if (!start || !start->noise)
        return;
    quote(start, quoted, sizeof quoted);
    snprintf(text + len, size - len, "; it printed \"%s\"", quoted);
}

/* ---- Answers ---- */

/* The far end told why. It ends by itself. */
static void failed_there(struct afork_process *process, enum afork_cause cause)
{
    const struct afork__remote_start *start = process->remote->start;

    afork__process_failed(process, cause, start->text, start->text_len);
    if (!process->pid)
        afork__process_ended(process, -1, NULL);
}

static void entered(struct afork_process *process)
{
    struct afork__remote_start *start = process->remote->start;

    process->context->loop->ops->io_free(start->io);
    start->io = NULL;
    process->fd = afork__steal_fd(&start->fd);
    afork__remote_stop(process);
    afork__process_entered(process);
    if (!afork__process_is_child(process)) /* whose channel is given away */
        afork__process_ended(process, -1, NULL);
}

static void answered(struct afork_process *process)
{
    const struct afork__remote_start *start = process->remote->start;

    switch (start->answer[0]) {
    case 'r':
        if (!afork__queue_is_empty(&process->queue))
            break;
        entered(process);
        return;
    case 'e':
        failed_there(process, AFORK_CAUSE_EVAL);
        return;
    case 'm':
        failed_there(process, AFORK_CAUSE_REQUIRE);
        return;
    case 'f':
        failed_there(process, AFORK_CAUSE_FUNCTION);
        return;
    }
    afork__remote_fail(process, AFORK_CAUSE_PROTOCOL, -EPROTO,
                       "sent an answer that makes no sense");
}

/* ---- Sending ---- */

static void watch(struct afork_process *process)
{
    const struct afork__remote_start *start = process->remote->start;
    bool waits = start->program_sent < start->program_len ||
                 (start->state == AFORK__REMOTE_OBEYING && !afork__queue_is_empty(&process->queue));
    unsigned events = start->closed ? 0 : AFORK_IN;

    if (waits && !start->broken && !start->closed && !process->retry)
        events |= AFORK_OUT;
    if (start->io)
        process->context->loop->ops->io_set(start->io, events);
}

/* As afork__queue_send(). */
static int send_program(struct afork__remote_start *start)
{
    while (start->program_sent < start->program_len) {
        struct iovec rest = {.iov_base = start->program + start->program_sent,
                             .iov_len = start->program_len - start->program_sent};
        ssize_t sent = afork__fd_send(start->fd, &rest, 1, NULL, 0, MSG_DONTWAIT);
        if (sent == -EAGAIN)
            return 0;
        if (sent < 0)
            return sent == -ENOMEM ? -ENOBUFS : (int)sent;
        start->program_sent += (size_t)sent;
    }
    return 1;
}

static void send_more(struct afork_process *process)
{
    struct afork__remote_start *start = process->remote->start;
    int result = send_program(start);

    if (result == 1 && start->state == AFORK__REMOTE_OBEYING)
        result = afork__queue_send(&process->queue, start->fd, AFORK__SHARE_OCTETS);
    if (process->remote->start != start) /* releasing what was sent may call the library */
        return;
    process->retry = result == -ENOBUFS;
    if (process->retry) {
        process->context->retry = true;
        afork__notice_set_timer(process->context);
    } else if (result < 0) {
        start->broken = true; /* what it said before, or how it ended, tells more */
    }
    watch(process);
}

void afork__remote_send(struct afork_process *process)
{
    struct afork__remote_start *start = process->remote->start;

    if (!start || afork__context_is_copy(process->context))
        return;
    afork__process_ref_memory(process);
    if (start->pid) {
        pid_t pid = start->pid;
        start->pid = 0;
        afork__process_started(process, pid);
    }
    start = process->remote->start;
    if (start && start->fd >= 0 && !start->broken && !start->closed)
        send_more(process);
    afork__process_unref_memory(process);
}

/* ---- Receiving ---- */

static void note_noise(struct afork__remote_start *start, const char *data, size_t len)
{
    size_t room = AFORK__REMOTE_QUOTED_MAX - start->quoted_len, n = len < room ? len : room;

    memcpy(start->quoted + start->quoted_len, data, n);
    start->quoted_len += n;
    start->noise += len;
}

/* Looks for the token in what was printed; the rest is noise. Returns how many of the octets were
 * looked at: up to the end of the token, or to that which is too much. */
static size_t search(struct afork__remote_start *start, const struct afork__remote_command *command,
                     const char *data, size_t len)
{
    size_t max = command->strict ? 0 : command->noise_max;

    for (size_t i = 0; i < len; i++) {
        if (data[i] != start->token[start->matched]) {
            note_noise(start, start->token, start->matched);
            start->matched = 0;
        }
        if (data[i] == start->token[start->matched])
            start->matched++;
        else
            note_noise(start, data + i, 1);
        if (start->matched == AFORK__REMOTE_TOKEN_SIZE || start->noise > max)
            return i + 1;
    }
    return len;
}

/* The other end is closed. A command is given time to end, since its status tells more. */
static void far_end_closed(struct afork_process *process)
{
    struct afork__remote_start *start = process->remote->start;

    start->closed = true;
    watch(process);
    if (afork__process_is_child(process))
        afork__deadline_set(process->context, &start->deadline, afork__now() + CLOSED_USEC, false);
    else if (start->state == AFORK__REMOTE_STARTING)
        afork__remote_fail(process, AFORK_CAUSE_START, -ECONNRESET,
                           "closed the connection before it answered");
    else
        afork__process_ended(process, -1, NULL);
}

static void found(struct afork_process *process)
{
    struct afork__remote_start *start = process->remote->start;

    start->matched = 0;
    start->state++;
    if (start->state != AFORK__REMOTE_OBEYING)
        return;
    process->hello = true;
    afork__deadline_clear(process->context, &start->deadline);
    afork__remote_send(process);
}

static void too_noisy(struct afork_process *process)
{
    const struct afork__remote_command *command = process->remote->command;

    if (command->strict)
        afork__remote_fail(process, AFORK_CAUSE_START, -EPROTO, "printed something of its own");
    else
        afork__remote_fail(process, AFORK_CAUSE_START, -EPROTO,
                           "printed more than %zu octets of its own", command->noise_max);
}

/* Each of these reads from the socket once. They return how many octets were taken, or as recv().
 */
static ssize_t receive_token(struct afork_process *process)
{
    struct afork__remote_start *start = process->remote->start;
    const struct afork__remote_command *command = process->remote->command;
    char data[4096];
    ssize_t got = recv(start->fd, data, sizeof data, MSG_PEEK | MSG_DONTWAIT);

    if (got <= 0)
        return got;
    size_t len = search(start, command, data, (size_t)got);
    got = recv(start->fd, data, len, MSG_DONTWAIT);
    if (start->matched == AFORK__REMOTE_TOKEN_SIZE)
        found(process);
    else if (start->noise > (command->strict ? 0 : command->noise_max))
        too_noisy(process);
    return got;
}

static ssize_t receive_answer(struct afork_process *process)
{
    struct afork__remote_start *start = process->remote->start;
    ssize_t got = recv(start->fd, start->answer + start->got,
                       AFORK__REMOTE_ANSWER_SIZE - start->got, MSG_DONTWAIT);

    if (got <= 0)
        return got;
    start->got += (size_t)got;
    if (start->got < AFORK__REMOTE_ANSWER_SIZE)
        return got;
    memcpy(&start->text_len, start->answer + 1, sizeof start->text_len);
    start->got = 0;
    start->state = AFORK__REMOTE_TELLING;
    if (start->text_len > AFORK__RECORD_TEXT_MAX)
        afork__remote_fail(process, AFORK_CAUSE_PROTOCOL, -EPROTO,
                           "sent an answer that makes no sense");
    else if (!start->text_len)
        answered(process);
    return got;
}

static ssize_t receive_text(struct afork_process *process)
{
    struct afork__remote_start *start = process->remote->start;
    ssize_t got = recv(start->fd, start->text + start->got, start->text_len - start->got,
                       MSG_DONTWAIT);

    if (got <= 0)
        return got;
    start->got += (size_t)got;
    if (start->got == start->text_len)
        answered(process);
    return got;
}

static ssize_t receive_some(struct afork_process *process)
{
    switch (process->remote->start->state) {
    case AFORK__REMOTE_ANSWERING:
        return receive_answer(process);
    case AFORK__REMOTE_TELLING:
        return receive_text(process);
    default:
        return receive_token(process);
    }
}

void afork__remote_receive(struct afork_process *process, size_t share)
{
    const struct afork__remote_start *start;
    size_t done = 0;

    while (done < share && (start = process->remote->start) && start->fd >= 0 && !start->closed) {
        ssize_t got = receive_some(process);
        if (got > 0) {
            done += (size_t)got;
        } else if (got < 0 && errno == EAGAIN) {
            return;
        } else if (got == 0 || errno != EINTR) {
            far_end_closed(process);
            return;
        }
    }
}

void afork__remote_drain(struct afork_process *process)
{
    process->remote->reaped = true;
    if (process->remote->start)
        afork__remote_receive(process, SIZE_MAX);
}

static void io_cb(unsigned events, void *data)
{
    struct afork_process *process = data;
    struct afork_context *context = process->context;

    if (afork__context_is_over(context))
        return;
    afork__context_ref(context);
    afork__process_ref_memory(process);
    if (events & AFORK_OUT)
        afork__remote_send(process);
    if (events & AFORK_IN && process->remote->start)
        afork__remote_receive(process, AFORK__SHARE_OCTETS);
    afork__process_unref_memory(process);
    afork__context_recheck(context);
    afork__notice_deliver(context);
    afork__context_unref(context);
}

int afork__remote_watch(struct afork__remote_start *start, int fd)
{
    struct afork_loop *loop = start->process->context->loop;
    int result = loop->ops->io_new(loop, fd, AFORK_IN | AFORK_OUT, io_cb, start->process,
                                   &start->io);

    if (!result)
        start->fd = fd;
    return result;
}
