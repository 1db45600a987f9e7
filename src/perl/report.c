/* SPDX-License-Identifier: MIT
 *
 * Status records on their way to the host. Knows nothing of Perl.
 *
 * A send never blocks: the host may be busy, and a template must go on obeying. What finds no room
 * is queued in order. Whoever is about to enter a function or to leave drains the queue first; the
 * host waits for nobody, so this ends.
 */
#include "report.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

struct afork__queued {
    struct afork__queued *next;
    size_t len;
    uint8_t data[];
};

void afork__reporter_init(struct afork__reporter *reporter, int fd, uint64_t identity)
{
    *reporter = (struct afork__reporter){
        .fd = fd,
        .pid = (uint32_t)getpid(),
        .identity = identity,
    };
}

static void drop_queue(struct afork__reporter *reporter)
{
    while (reporter->first) {
        struct afork__queued *queued = reporter->first;
        reporter->first = queued->next;
        free(queued);
    }
    reporter->last = NULL;
}

/* Returns 1 when sent, 0 when there is no room, -1 when the host is gone. */
static int send_record(struct afork__reporter *reporter, const struct iovec *iov, size_t n_iov)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n_iov};
    ssize_t sent;

    do
        sent = sendmsg(reporter->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return 1;
    if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
        return 0;
    reporter->lost = true;
    afork__close(&reporter->fd);
    drop_queue(reporter);
    return -1;
}

/* Splits a record into its two parts. */
static void encode(const struct afork__status *status, uint8_t fixed[AFORK__RECORD_FIXED_SIZE],
                   struct iovec parts[2])
{
    size_t text_len =
        status->text_len < AFORK__RECORD_TEXT_MAX ? status->text_len : AFORK__RECORD_TEXT_MAX;

    parts[0] = (struct iovec){fixed, afork__status_encode(status, fixed)};
    parts[1] = (struct iovec){(char *)status->text, text_len};
}

bool afork__report_now(struct afork__reporter *reporter, const struct afork__status *status)
{
    uint8_t fixed[AFORK__RECORD_FIXED_SIZE];
    struct iovec parts[2];

    if (reporter->fd < 0)
        return true;
    if (!afork__report_flush(reporter))
        return false;
    encode(status, fixed, parts);
    return send_record(reporter, parts, 2) != 0;
}

void afork__report_status(struct afork__reporter *reporter, const struct afork__status *status)
{
    uint8_t fixed[AFORK__RECORD_FIXED_SIZE];
    struct iovec parts[2];

    if (afork__report_now(reporter, status))
        return;
    encode(status, fixed, parts);
    struct afork__queued *queued =
        malloc(sizeof *queued + parts[0].iov_len + parts[1].iov_len);
    if (!queued)
        return;
    queued->next = NULL;
    queued->len = parts[0].iov_len + parts[1].iov_len;
    memcpy(queued->data, fixed, parts[0].iov_len);
    if (parts[1].iov_len)
        memcpy(queued->data + parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
    if (reporter->last)
        reporter->last->next = queued;
    else
        reporter->first = queued;
    reporter->last = queued;
}

void afork__report(struct afork__reporter *reporter, enum afork__record type,
                   enum afork__phase phase, const char *text, size_t len)
{
    afork__report_status(reporter, &(struct afork__status){
        .type = type,
        .phase = phase,
        .identity = reporter->identity,
        .pid = reporter->pid,
        .value = type == AFORK__HELLO ? AFORK__PROTOCOL_VERSION : 0,
        .text = text,
        .text_len = len,
    });
}

bool afork__report_flush(struct afork__reporter *reporter)
{
    while (reporter->first) {
        struct afork__queued *queued = reporter->first;
        if (send_record(reporter, &(struct iovec){queued->data, queued->len}, 1) <= 0)
            return !reporter->first;
        reporter->first = queued->next;
        if (!reporter->first)
            reporter->last = NULL;
        free(queued);
    }
    return true;
}

void afork__report_wait(const struct afork__reporter *reporter)
{
    poll(&(struct pollfd){.fd = reporter->fd, .events = POLLOUT}, 1, -1);
}

void afork__report_drain(struct afork__reporter *reporter)
{
    while (!afork__report_flush(reporter))
        afork__report_wait(reporter);
}

void afork__reporter_close(struct afork__reporter *reporter)
{
    drop_queue(reporter);
    afork__close(&reporter->fd);
}

void afork__reporter_forked(struct afork__reporter *reporter, uint64_t identity)
{
    drop_queue(reporter);
    reporter->pid = (uint32_t)getpid();
    reporter->identity = identity;
}
