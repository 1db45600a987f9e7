/* SPDX-License-Identifier: MIT
 *
 * The way in: records on the status socket and descriptors of processes, turned into changes of
 * state. Never calls the user while reading; trusts nothing it reads.
 */
#include "config.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "internal.h"
#include "spawn.h"
#include "util.h"

static struct afork_process *find(struct afork_context *context, const struct afork__status *status)
{
    struct afork_process *process;

    if (status->identity) {
        LIST_FOREACH (process, &context->by_identity[status->identity % AFORK__BUCKETS],
                      identity_link)
            if (process->identity == status->identity)
                return process;
        return NULL;
    }
    TAILQ_FOREACH (process, &context->processes, link) /* an orphan, which the root knows by pid */
        if (process->parent && process->pid == (pid_t)status->pid)
            return process;
    return NULL;
}

static enum afork_cause cause_of(enum afork__phase phase)
{
    switch (phase) {
    case AFORK__PHASE_EVAL:
        return AFORK_CAUSE_EVAL;
    case AFORK__PHASE_REQUIRE:
        return AFORK_CAUSE_REQUIRE;
    case AFORK__PHASE_FUNCTION:
        return AFORK_CAUSE_FUNCTION;
    case AFORK__PHASE_FORK:
        return AFORK_CAUSE_FORK;
    case AFORK__PHASE_LIMITS:
        return AFORK_CAUSE_LIMITS;
    default:
        return AFORK_CAUSE_PROTOCOL;
    }
}

static void violated(struct afork_process *process, const char *what)
{
    afork__process_failed(process, AFORK_CAUSE_PROTOCOL, what, strlen(what));
}

/* Whatever was forked from a server speaks as it does. */
static void drop_tree(struct afork_process *root, const char *why)
{
    struct afork_process *process;

    TAILQ_FOREACH (process, &root->context->processes, link)
        if (afork__process_root(process) == root)
            violated(process, why);
}

static void hello(struct afork_process *process, const struct afork__status *status)
{
    char message[128];

    if (process->parent || process->hello) {
        violated(process, "a server introduced itself twice");
        return;
    }
    process->hello = true;
    if (process->adopted)
        afork__process_set_pid(process, (pid_t)status->pid);
    if (status->value == AFORK__PROTOCOL_VERSION)
        return;
    snprintf(message, sizeof message, "the server speaks protocol version %u, not %d",
             (unsigned)status->value, AFORK__PROTOCOL_VERSION);
    drop_tree(process, message);
}

static void entered(struct afork_process *process, const struct afork__status *status)
{
    if (process->run != AFORK__RUN_QUEUED) {
        violated(process, "a server entered a function that it was not told to run");
        return;
    }
    afork__process_set_pid(process, (pid_t)status->pid);
    afork__process_entered(process);
}

static void failed(struct afork_process *process, const struct afork__status *status)
{
    afork__process_failed(process, cause_of(status->phase), status->text, status->text_len);
    if (status->phase == AFORK__PHASE_FORK || (process->adopted && !process->hello))
        /* it never was, or never was ours */
        afork__process_ended(process, -1, NULL);
}

static void exited(struct afork_process *process, const struct afork__status *status)
{
    if (!process->parent) /* not forked from one of ours: its pidfd tells */
        return;
    if (status->value == AFORK__STATUS_UNKNOWN)
        afork__process_ended(process, -1, NULL);
    else
        afork__process_ended(process, (int)status->value, &status->usage);
}

static void handle_own(struct afork_process *process, const struct afork__status *status)
{
    afork__process_launched(process, (pid_t)status->pid);
    switch (status->type) {
    case AFORK__HELLO:
        hello(process, status);
        break;
    case AFORK__FORKED:
        process->pid_due &= status->value != AFORK__FORKED_ROOT;
        afork__process_set_pid(process, (pid_t)status->pid);
        break;
    case AFORK__ENTERED:
        entered(process, status);
        break;
    case AFORK__ERROR:
        failed(process, status);
        break;
    case AFORK__EXITED:
        exited(process, status);
        break;
    case AFORK__WARNING:
        break;
    }
}

static void handle_record(struct afork_context *context, const struct afork__status *status)
{
    struct afork_process *process = find(context, status);

    afork__log_record(context, status);
    if (status->type == AFORK__WARNING) {
        afork__notice_warning(context, process, status->text, status->text_len);
    } else if (process && process->peer == AFORK_PEER_OWN) {
        afork__process_ref_memory(process);
        handle_own(process, status);
        afork__process_unref_memory(process);
    } else if (!process && status->type == AFORK__FORKED && status->value == AFORK__FORKED_ROOT) {
        /* its handle was closed */
        afork__launched_late(context, status->identity, (pid_t)status->pid);
    }
}

/* Reads up to `n` records. Returns false when there was nothing more to read. */
static bool read_records(struct afork_context *context, unsigned n)
{
    static const char unreadable[] = "an unreadable record came on the status socket";
    char data[AFORK__RECORD_MAX + 1];
    struct afork__status status;

    for (; n > 0; n--) {
        ssize_t got = recv(context->status_fd, data, sizeof data, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) /* end of file cannot be: the context holds the far end */
            return false;
        if (afork__status_decode(data, (size_t)got, &status) < 0)
            afork__notice_warning(context, NULL, unreadable, sizeof unreadable - 1);
        else
            handle_record(context, &status);
    }
    return true;
}

void afork__monitor_drain(struct afork_context *context)
{
    while (!context->closed && read_records(context, AFORK__SHARE_RECORDS))
        ;
}

void afork__monitor_close(struct afork_context *context)
{
    char data[AFORK__RECORD_MAX + 1];
    struct afork__status status;
    ssize_t got;

    if (context->status_fd < 0 || afork__context_is_copy(context))
        return;
    shutdown(context->status_fd, SHUT_RD); /* who tells a pid from now on knows that it failed */
    while ((got = recv(context->status_fd, data, sizeof data, MSG_DONTWAIT)) > 0)
        if (afork__status_decode(data, (size_t)got, &status) == 0 && status.type == AFORK__FORKED &&
            status.value == AFORK__FORKED_ROOT)
            afork__launched_late(context, status.identity, (pid_t)status.pid);
    afork__launched_forget_all(context);
}

void afork__monitor_status_cb(unsigned events, void *data)
{
    struct afork_context *context = data;

    (void)events;
    if (afork__context_is_over(context))
        return;
    afork__context_ref(context);
    read_records(context, AFORK__SHARE_RECORDS);
    afork__context_recheck(context);
    afork__notice_deliver(context);
    afork__context_unref(context);
}

/* Reaps an executed process if it has ended; what it had reported is read before. */
void afork__monitor_reap(struct afork_process *process)
{
    struct rusage usage;
    int wait_status;

    afork__monitor_drain(process->context);
    if (process->ended)
        return;
    int result = afork__reap(process->pid, process->pidfd, &wait_status, &usage);
    if (result && process->remote)
        afork__remote_drain(process);
    if (result > 0)
        afork__process_ended(process, wait_status, &usage);
    else if (result < 0) /* somebody else has reaped it */
        afork__process_ended(process, -1, NULL);
    else if (process->pidfd < 0 && afork__process_watch_pid(process) < 0)
        process->context->poll = true; /* the timer's callback sets it again */
}

/* A loop may wake for nothing; and of a process that is not the host's there is nothing to reap
 * that would tell. */
static bool is_readable(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};

    return poll(&pollfd, 1, 0) == 1;
}

void afork__monitor_pidfd_cb(unsigned events, void *data)
{
    struct afork_process *process = data;
    struct afork_context *context = process->context;

    (void)events;
    if (afork__context_is_over(context))
        return;
    afork__context_ref(context);
    afork__process_ref_memory(process);
    if (afork__process_is_child(process)) {
        afork__monitor_reap(process);
    } else if (is_readable(process->pidfd)) {
        afork__monitor_drain(context);
        afork__process_orphan_ended(process);
    }
    afork__process_unref_memory(process);
    afork__context_recheck(context);
    afork__notice_deliver(context);
    afork__context_unref(context);
}
