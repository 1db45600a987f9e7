/* SPDX-License-Identifier: MIT
 *
 * The life of a process as the host knows it: its socket, its states, its end. Nothing here calls
 * the user; what he is to hear is left to notice.c.
 *
 * Who tells the end of a process? An executed one is the host's child: its pidfd. A forked one is
 * reaped and reported by the server it was forked from; when that ended before, by the executed
 * server at the top, which inherits the orphans. A server that entered its function reports nothing
 * any more. Where nobody is left to report, the host watches the pid itself, without learning the
 * status, or, if it never learned the pid, the socket.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "internal.h"
#include "spawn.h"
#include "util.h"

static bool is_copy(const struct afork_process *process)
{
    return afork__context_is_copy(process->context);
}

void afork__process_ref_memory(struct afork_process *process)
{
    process->refs++;
}

void afork__process_unref_memory(struct afork_process *process)
{
    while (process && !--process->refs) { /* the last child may be the last to know its parent */
        struct afork_process *parent = process->parent;
        afork__context_unref(process->context);
        free(process->message);
        free(process->stderr_tail);
        free(process->perl);
        free(process->function);
        afork__spares_free(process);
        afork__remote_free(process);
        free(process);
        process = parent;
    }
}

static void update_watch(struct afork_process *process)
{
    unsigned events = 0;

    if (!process->io || is_copy(process))
        return;
    if (process->watch_end)
        events = AFORK_IN | AFORK_BACKGROUND;
    if (!afork__queue_is_empty(&process->queue) && !process->retry && !process->broken)
        events = (events & AFORK_IN) | AFORK_OUT;
    process->context->loop->ops->io_set(process->io, events);
}

void afork__process_update_busy(struct afork_process *process)
{
    struct afork_context *context = process->context;
    bool run_due = process->run == AFORK__RUN_QUEUED && process->run_cb;
    bool exit_due = process->exit_cb && !process->exit_in_background &&
                    (process->run != AFORK__RUN_NONE || process->released);
    bool busy = !process->ended &&
                (run_due || exit_due || process->leaving || process->pending_signals);

    if (busy == process->busy || !context->status_io || is_copy(process))
        return;
    process->busy = busy;
    if (busy)
        context->n_busy++;
    else
        context->n_busy--;
    context->loop->ops->io_set(context->status_io,
                               AFORK_IN | (context->n_busy ? 0 : AFORK_BACKGROUND));
    if (context->poll)
        afork__notice_set_timer(context);
}

/* What it wrote to its standard error until now. */
static void note_stderr(struct afork_process *process)
{
    char text[AFORK__TAIL_MAX + 1];

    if (!process->tail || is_copy(process))
        return;
    size_t len = afork__tail_get(process->tail, text);
    char *copy = realloc(process->stderr_tail, len + 1);
    if (!copy)
        return;
    text[len] = '\0';
    memcpy(copy, text, len + 1);
    process->stderr_tail = copy;
    process->exit.stderr_tail = copy;
    process->exit.stderr_tail_len = len;
}

/* The parent's troubles are the child's. */
static void inherit_failure(struct afork_process *process, struct afork_process *parent)
{
    note_stderr(parent);
    process->stderr_tail = parent->stderr_tail ? malloc(parent->exit.stderr_tail_len + 1) : NULL;
    if (process->stderr_tail) {
        process->exit.stderr_tail_len = parent->exit.stderr_tail_len;
        memcpy(process->stderr_tail, parent->stderr_tail, parent->exit.stderr_tail_len + 1);
        process->exit.stderr_tail = process->stderr_tail;
    }
    afork__tail_release(process->tail); /* it was never written to */
    process->tail = NULL;
    afork__process_failed(process, parent->exit.cause, parent->exit.message,
                          strlen(parent->exit.message));
}

/* Nobody is left who could report: the socket's end of file tells. */
static void end_without_report(struct afork_process *process)
{
    static const char message[] = "the template ended before it forked this process";
    static const char silent[] = "no server of ours is there: it is an original, or was not handed "
                                 "over, or has ended";
    struct afork_process *parent = process->parent;

    if (process->adopted && process->peer == AFORK_PEER_OWN && !process->hello)
        afork__process_failed(process, AFORK_CAUSE_PROTOCOL, silent, sizeof silent - 1);
    if (process->exit.cause == AFORK_CAUSE_UNKNOWN && process->peer == AFORK_PEER_OWN && parent) {
        if (parent->exit.cause >= AFORK_CAUSE_START)
            inherit_failure(process, parent);
        else
            afork__process_failed(process, AFORK_CAUSE_FORK, message, sizeof message - 1);
    }
    afork__process_ended(process, -1, NULL);
}

static void poll_ends(struct afork_context *context)
{
    context->poll = true;
    afork__notice_set_timer(context);
}

/* A child of the host has closed its socket. Where there is no descriptor for its end, it is looked
 * at until it has ended. */
static void leaves(struct afork_process *process)
{
    if (process->pidfd >= 0)
        return;
    process->leaving = true;
    afork__process_update_busy(process);
    poll_ends(process->context);
}

/* The command socket is readable: the peer closed it, or said something where it has nothing to
 * say. What it reported before has to be known first. */
static void look_for_end(struct afork_process *process)
{
    static const char unasked[] = "a server that did not introduce itself wrote to its socket";
    char octet;

    afork__monitor_drain(process->context);
    if (!process->watch_end || process->fd < 0)
        return;
    ssize_t got = recv(process->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    process->watch_end = false;
    if (got <= 0)
        afork__queue_clear(&process->queue);
    update_watch(process);
    if (process->peer == AFORK_PEER_OWN && got > 0)
        afork__process_failed(process, AFORK_CAUSE_PROTOCOL, unasked, sizeof unasked - 1);
    if (afork__process_is_child(process) && !process->pid)
        afork__process_never_started(process);
    else if (afork__process_is_child(process))
        leaves(process);
    else if (process->peer == AFORK_PEER_OWN || got <= 0)
        end_without_report(process);
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
        afork__process_send(process, AFORK__SHARE_OCTETS);
    if (events & AFORK_IN && process->fd >= 0)
        look_for_end(process);
    afork__process_unref_memory(process);
    afork__context_recheck(context);
    afork__notice_deliver(context);
    afork__context_unref(context);
}

int afork__process_watch_socket(struct afork_process *process, struct afork_context *context,
                                int fd)
{
    int result = context->loop->ops->io_new(context->loop, fd, 0, io_cb, process, &process->io);

    if (!result)
        process->fd = fd;
    return result;
}

/* The command socket, watched. */
static int open_socket(struct afork_process *process, struct afork_context *context, int *far_fd)
{
    int pair[2];
    int result = afork__socketpair(SOCK_STREAM, pair);

    if (result < 0)
        return result;
    result = afork__process_watch_socket(process, context, pair[0]);
    if (result < 0) {
        close(pair[0]);
        close(pair[1]);
        return result;
    }
    *far_fd = pair[1];
    return 0;
}

/* Standard error, where it is read. A peer of the original kind has no way to give a fork its
 * own. */
static int open_stderr(struct afork_process *process, struct afork_context *context, int *error_fd)
{
    *error_fd = -1;
    if (context->stdio[STDERR_FILENO].mode != AFORK_STDIO_TAIL ||
        (process->parent && process->peer == AFORK_PEER_ORIGINAL))
        return 0;
    return afork__tail_new(context, &process->tail, error_fd);
}

static void note_sent(void *process, const uint8_t *frame, size_t len)
{
    afork__log_frame(process, frame, len);
}

void afork__process_join(struct afork_process *process, struct afork_context *context)
{
    process->refs = 2; /* the user's and the list's */
    process->user_refs = 1;
    process->context = afork__context_ref(context);
    process->made_at = afork__now();
    process->identity = ++context->last_identity;
    process->pidfd = -1;
    process->exit.message = process->exit.stderr_tail = "";
    process->exit.wait_status = process->exit.status = -1;
    /* An original does not report; of one that was adopted, nothing is known yet. */
    process->watch_end = process->peer == AFORK_PEER_ORIGINAL || process->adopted;
    afork__queue_init(&process->queue, process->peer == AFORK_PEER_ORIGINAL);
    process->queue.sent = note_sent;
    process->queue.sent_data = process;
    if (process->parent) {
        afork__process_ref_memory(process->parent);
        process->parent->n_children++;
        afork__limits_inherit(process);
    }
    TAILQ_INSERT_TAIL(&context->processes, process, link);
    LIST_INSERT_HEAD(&context->by_identity[process->identity % AFORK__BUCKETS], process,
                     identity_link);
    update_watch(process);
}

int afork__process_make(struct afork_context *context, struct afork_process *parent,
                        struct afork_process **ret, int *far_fd, int *error_fd)
{
    struct afork_process *process = calloc(1, sizeof *process);

    if (!process)
        return -ENOMEM;
    process->parent = parent;
    process->peer = parent ? parent->peer : context->peer;
    int result = open_stderr(process, context, error_fd);
    if (!result)
        result = open_socket(process, context, far_fd);
    if (result < 0) {
        afork__close(error_fd);
        afork__tail_release(process->tail);
        free(process);
        return result;
    }
    afork__process_join(process, context);
    if (parent)
        afork__log(context, SPAWN, AFORK__LOG_NAME " is to be forked from " AFORK__LOG_NAME,
                   AFORK__LOG_NAME_OF(process), AFORK__LOG_NAME_OF(parent));
    *ret = process;
    return 0;
}

int afork__process_watch_pid(struct afork_process *process)
{
    struct afork_loop *loop = process->context->loop;
    int pidfd = afork__pidfd_open(process->pid);

    if (pidfd < 0)
        return pidfd;
    int result = loop->ops->io_new(loop, pidfd, AFORK_IN | AFORK_BACKGROUND,
                                   afork__monitor_pidfd_cb, process, &process->pidfd_io);
    if (result < 0)
        close(pidfd);
    else
        process->pidfd = pidfd;
    return result;
}

void afork__process_watch_end(struct afork_process *process)
{
    process->watch_end = process->fd >= 0;
    update_watch(process);
}

void afork__process_unwatch_pid(struct afork_process *process)
{
    if (process->pidfd_io && !is_copy(process))
        process->context->loop->ops->io_free(process->pidfd_io);
    process->pidfd_io = NULL;
    afork__close(&process->pidfd);
}

void afork__process_started(struct afork_process *process, pid_t pid)
{
    process->pid = pid;
    int result = afork__process_watch_pid(process);
    if (result == -ESRCH) { /* it ended, and somebody else has reaped it */
        afork__process_ended(process, -1, NULL);
    } else if (result < 0) {
        /* No end without that of the socket, as long as that is here. */
        afork__process_watch_end(process);
        poll_ends(process->context);
    }
}

/* Takes the socket out of the loop and gives it to the caller. */
int afork__process_take_socket(struct afork_process *process)
{
    if (process->io && !is_copy(process))
        process->context->loop->ops->io_free(process->io);
    process->io = NULL;
    return afork__steal_fd(&process->fd);
}

void afork__process_forget_socket(struct afork_process *process)
{
    AFORK__AUTO_FD fd = afork__process_take_socket(process);

    if (process->remote)
        afork__remote_stop(process);
    /* A forked copy of the host may hold the socket too: closing would not tell the server. */
    if (fd >= 0 && !is_copy(process))
        shutdown(fd, SHUT_RDWR);
}

/* The host has no more use for the socket. But as long as the pid is not known, its end of file may
 * be all that ever tells of the process. */
void afork__process_hang_up(struct afork_process *process)
{
    if (process->peer == AFORK_PEER_OWN && !process->pid) {
        process->hung_up = true;
        shutdown(process->fd, SHUT_WR);
    } else {
        afork__process_forget_socket(process);
    }
}

/* What waits for an empty queue. */
static void flushed(struct afork_process *process)
{
    if (process->run == AFORK__RUN_NONE) {
        if (!process->released)
            return;
        afork__process_hang_up(process);
        if (process->peer == AFORK_PEER_ORIGINAL && !afork__process_is_child(process))
            afork__process_ended(process, -1, NULL);
    } else if (process->peer == AFORK_PEER_ORIGINAL) {
        afork__process_entered(process);
        if (!afork__process_is_child(process))
            afork__process_ended(process, -1, NULL);
    } else if (process->run == AFORK__RUN_QUEUED && !process->run_cb) {
        afork__process_hang_up(process);
    }
}

void afork__process_send(struct afork_process *process, size_t limit)
{
    if (process->remote)
        afork__remote_send(process);
    if (process->remote || process->fd < 0 || process->hung_up || process->broken ||
        is_copy(process))
        return;
    afork__process_ref_memory(process); /* releasing what was sent may call the library */
    int result = afork__queue_send(&process->queue, process->fd, limit);
    process->retry = result == -ENOBUFS;
    if (process->retry) {
        process->context->retry = true;
        afork__notice_set_timer(process->context);
    } else if (result < 0) { /* the peer is gone; who reports on it will say why */
        process->broken = true;
        afork__queue_clear(&process->queue);
    }
    update_watch(process);
    if (result == 1 && process->fd >= 0 && afork__queue_is_empty(&process->queue))
        flushed(process);
    afork__process_unref_memory(process);
}

void afork__process_release(struct afork_process *process)
{
    process->released = true;
    afork__spares_stop(process);
    afork__process_update_busy(process);
    if (process->run == AFORK__RUN_NONE && process->remote && !is_copy(process))
        afork__process_ended(process, -1, NULL);
    if (process->run == AFORK__RUN_NONE && process->fd >= 0 &&
        (process->broken || afork__queue_is_empty(&process->queue)))
        is_copy(process) ? afork__process_forget_socket(process) : flushed(process);
}

/* Takes a process out of the lists, without a word to anybody. */
void afork__process_abandon(struct afork_process *process)
{
    struct afork_context *context = process->context;

    if (process->ended)
        return;
    process->ended = true;
    afork__spares_stop(process);
    if (process->pid_due && process->pid)
        afork__launched_untold(process);
    if (process->spare_of)
        afork__spares_lost(process);
    afork__process_update_busy(process);
    afork__queue_clear(&process->queue);
    if (process->run != AFORK__RUN_READY)
        afork__process_forget_socket(process);
    afork__process_unwatch_pid(process);
    afork__tail_release(process->tail);
    process->tail = NULL;
    TAILQ_REMOVE(&context->processes, process, link);
    LIST_REMOVE(process, identity_link);
    if (process->parent)
        process->parent->n_children--;
    afork__process_unref_memory(process);
}

void afork__process_set_pid(struct afork_process *process, pid_t pid)
{
    if (process->pid || process->ended)
        return;
    process->pid = pid;
    process->vanished = false;
    afork__log(process->context, SPAWN, AFORK__LOG_NAME " is there", AFORK__LOG_NAME_OF(process));
    /* Signals wait for it; also, who was to report its end may be gone already. */
    if (process->pending_signals || process->watch_end)
        process->context->recheck = true;
    process->watch_end = false;
    if (process->hung_up && process->run == AFORK__RUN_NONE)
        afork__process_forget_socket(process);
    update_watch(process);
}

void afork__process_entered(struct afork_process *process)
{
    process->entered = true;
    process->watch_end = false;
    afork__log(process->context, SPAWN, AFORK__LOG_NAME " runs %s", AFORK__LOG_NAME_OF(process),
               process->function ? process->function : "its function");
    update_watch(process);
    if (process->n_children)
        process->context->recheck = true;
    if (process->run != AFORK__RUN_QUEUED)
        return;
    process->run = process->run_cb ? AFORK__RUN_READY : AFORK__RUN_DONE;
    if (process->run == AFORK__RUN_READY)
        afork__notice(process);
    else
        afork__process_forget_socket(process);
    afork__process_update_busy(process);
    if (process->handed_over)
        afork__process_handed_over(process);
}

void afork__process_drop_run(struct afork_process *process)
{
    void (*release)(void *data) = process->run_release;

    process->run_cb = NULL;
    process->run_release = NULL;
    if (release)
        release(process->run_data);
}

static void fail_run(struct afork_process *process)
{
    if (process->run != AFORK__RUN_QUEUED)
        return;
    process->run = process->run_cb ? AFORK__RUN_FAILED : AFORK__RUN_DONE;
    if (process->run_cb)
        afork__notice(process);
    afork__process_update_busy(process);
}

void afork__process_failed(struct afork_process *process, enum afork_cause cause,
                           const char *message, size_t len)
{
    if (process->exit.cause != AFORK_CAUSE_UNKNOWN || process->ended)
        return;
    note_stderr(process);
    process->exit.cause = cause;
    process->message = strndup(message, len);
    process->exit.message = process->message ? process->message : "";
    afork__process_note_error(process);
    afork__log(process->context, SPAWN, AFORK__LOG_NAME " failed: %s", AFORK__LOG_NAME_OF(process),
               process->exit.message);
    afork__process_forget_socket(process);
    afork__queue_clear(&process->queue);
    if (process->run == AFORK__RUN_READY) /* it has no channel to give any more */
        process->run = AFORK__RUN_QUEUED;
    fail_run(process);
}

void afork__process_ended(struct afork_process *process, int wait_status,
                          const struct rusage *usage)
{
    struct afork_exit *end = &process->exit;

    if (process->ended)
        return;
    note_stderr(process);
    if (wait_status >= 0) {
        bool signalled = WIFSIGNALED(wait_status);
        end->wait_status = wait_status;
        end->status = signalled ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
        if (end->cause == AFORK_CAUSE_UNKNOWN)
            end->cause = signalled ? AFORK_CAUSE_SIGNALLED : AFORK_CAUSE_EXITED;
    }
    if (usage) {
        end->has_usage = true;
        end->usage = *usage;
    }
    if (!process->message)
        afork__process_describe_end(process);
    afork__log(process->context, SPAWN, AFORK__LOG_NAME " has ended: %s",
               AFORK__LOG_NAME_OF(process), end->message);
    if (process->is_default)
        afork__context_lost_template(process->context, process);
    fail_run(process);
    afork__notice(process);
    if (process->n_children)
        process->context->recheck = true;
    afork__process_abandon(process);
}

struct afork_process *afork__process_root(struct afork_process *process)
{
    while (process->parent)
        process = process->parent;
    return process;
}

static bool reports(const struct afork_process *process)
{
    return !process->ended && !process->entered;
}

/* Whether a process has ended, as far as the host can see: a zombie, whose parent runs a
 * function of the user's and does not reap it, has. */
static bool is_gone(pid_t pid)
{
    char path[32], line[64] = "";

    if (kill(pid, 0) < 0 && errno == ESRCH)
        return true;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    AFORK__AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, line, sizeof line - 1) < 0)
        return false;
    const char *state = strrchr(line, ')'); /* behind the name, which has at most 15 octets */
    return state && state[1] == ' ' && state[2] == 'Z';
}

/* Watches a pid that nobody reports on; without a descriptor, by looking at it from time to
 * time. */
static void watch_orphan(struct afork_process *process)
{
    int result = afork__process_watch_pid(process);

    if (result < 0 && is_gone(process->pid))
        result = -ESRCH;
    process->vanished = result == -ESRCH ||
                        (process->adopted && afork__process_is_deserted(process));
    if (result < 0 && !process->vanished) {
        process->watch_end = process->adopted && !process->entered;
        update_watch(process);
        process->context->poll_orphans = true;
        poll_ends(process->context);
    }
}

/* Whether the top of its tree has a process whose parent ended, and will report it. Not if a server
 * in between lives on elsewhere, and may be the one that has it. */
static bool is_with_root(const struct afork_process *process)
{
    if (!process->parent || !process->parent->ended)
        return false;
    do {
        process = process->parent;
        if (process->handed_over && process->entered)
            return false;
    } while (process->parent);
    return reports(process);
}

void afork__process_orphan_ended(struct afork_process *process)
{
    if (process->ended)
        return;
    if (!is_with_root(process)) {
        afork__process_ended(process, -1, NULL);
        return;
    }
    afork__process_unwatch_pid(process);
    process->context->recheck = true;
}

/* Sees to it that somebody tells the end of a process that is not the host's child. */
static void find_reporter(struct afork_process *process)
{
    if (process->parent && reports(process->parent))
        return;
    if (!process->pid) {
        afork__process_watch_end(process);
        process->vanished = process->fd < 0; /* it was closed: nobody is to be told */
        return;
    }
    if (is_with_root(process)) /* unless the parent, running user code, reaped it */
        process->vanished = kill(process->pid, 0) < 0 && errno == ESRCH;
    else if (process->pidfd < 0)
        watch_orphan(process);
}

static void send_pending_signals(struct afork_process *process)
{
    uint64_t signals = process->pending_signals;

    process->pending_signals = 0;
    for (int signal = 1; signals; signal++, signals >>= 1)
        if (signals & 1)
            afork_process_kill(process, signal);
    afork__process_update_busy(process);
}

/* A process that nobody reports on and whose pid is gone has ended, unless its record still
 * waits. */
static void end_vanished(struct afork_context *context)
{
    struct afork_process *process, *next;

    afork__monitor_drain(context);
    for (process = TAILQ_FIRST(&context->processes); process; process = next) {
        next = TAILQ_NEXT(process, link);
        if (process->vanished)
            afork__process_ended(process, -1, NULL);
    }
}

void afork__context_recheck(struct afork_context *context)
{
    struct afork_process *process;

    while (context->recheck && !context->closed) {
        bool vanished = false;

        context->recheck = false;
        TAILQ_FOREACH (process, &context->processes, link) {
            if (!afork__process_is_child(process) && process->peer == AFORK_PEER_OWN)
                find_reporter(process);
            vanished |= process->vanished;
        }
        if (vanished)
            end_vanished(context);
    again: /* sending reads records, which may take anybody out of the list */
        TAILQ_FOREACH (process, &context->processes, link) {
            if (process->pid && process->pending_signals) {
                send_pending_signals(process);
                goto again;
            }
        }
    }
}
