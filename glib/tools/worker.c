/* SPDX-License-Identifier: MIT
 *
 * One worker. Knows nothing of other workers or of the cache.
 *
 * A worker does its jobs in order. That it ended is known from the exit notice alone: an end of file
 * says less, and is missing if the worker left children behind.
 */
#include "worker.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX (64 * 1024)

static void clear_source(guint *source)
{
    if (*source)
        g_source_remove(*source);
    *source = 0;
}

static void close_channel(struct worker *worker)
{
    clear_source(&worker->watch);
    if (worker->fd >= 0)
        close(worker->fd);
    worker->fd = -1;
}

void worker_free(struct worker *worker)
{
    close_channel(worker);
    clear_source(&worker->timer);
    afork_process_close(worker->process);
    afork_process_unref(worker->process);
    g_string_free(worker->input, TRUE);
    g_free(worker->reason);
    g_free(worker);
}

void worker_kill(struct worker *worker, const char *reason)
{
    if (!worker->reason)
        worker->reason = g_strdup(reason);
    worker->state = WORKER_ENDING;
    clear_source(&worker->watch);
    clear_source(&worker->timer);
    afork_process_kill(worker->process, SIGKILL);
}

void worker_dismiss(struct worker *worker)
{
    if (worker->state == WORKER_STARTING || worker->n_jobs)
        worker_kill(worker, "dismissed");
    worker->state = WORKER_ENDING;
    close_channel(worker);
}

static gboolean on_timeout(gpointer data)
{
    struct worker *worker = data;
    g_autofree char *reason = g_strdup_printf("it took longer than %u s", worker->timeout);

    worker->timer = 0;
    worker_kill(worker, reason);
    return G_SOURCE_REMOVE;
}

static void restart_timer(struct worker *worker)
{
    clear_source(&worker->timer);
    worker->timer = g_timeout_add(worker->timeout * 1000, on_timeout, worker);
}

/* The channel is broken. The worker is about to end, and the notice will say how; or else it must not
 * live on without its channel for long. */
static void await_end(struct worker *worker)
{
    worker->state = WORKER_ENDING;
    clear_source(&worker->watch);
    if (!worker->timer)
        restart_timer(worker);
}

struct job *worker_take(struct worker *worker)
{
    struct job *job = worker->jobs[0];

    memmove(worker->jobs, worker->jobs + 1, sizeof worker->jobs - sizeof *worker->jobs);
    worker->n_jobs--;
    return job;
}

bool worker_give(struct worker *worker, struct job *job)
{
    g_autofree char *line = g_strdup_printf("%s %s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %s\n",
                                            job->uri, job->named ? "-" : job->type, job->mtime,
                                            job->size, job->temporary);
    size_t length = strlen(line);

    /* The socket has room for many times what is ever unanswered: it takes all at once or nothing. */
    if (send(worker->fd, line, length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length) {
        await_end(worker);
        return false;
    }
    if (!worker->n_jobs)
        restart_timer(worker);
    worker->jobs[worker->n_jobs++] = job;
    worker->useful = true;
    return true;
}

/* Settles a job by an answer of the kinds that AFork::Thumbnail describes; false if it is none. */
static bool settle(struct job *job, const char *answer)
{
    unsigned width, height;
    int type = 0;

    if (sscanf(answer, "made %u %u %n", &width, &height, &type) == 2 && type) {
        g_free(job->type);
        job->type = g_strdup(answer + type);
        job->width = width;
        job->height = height;
        job->state = JOB_MADE;
        return true;
    }
    if (strcmp(answer, "unsupported") == 0)
        job_settle(job, JOB_SKIPPED, "pictures of this type cannot be read");
    else if (g_str_has_prefix(answer, "failed "))
        job_settle(job, JOB_FAILED, "%s", answer + strlen("failed "));
    else if (g_str_has_prefix(answer, "error "))
        job_settle(job, JOB_ERROR, "%s", answer + strlen("error "));
    else
        return false;
    return true;
}

static bool take_answer(struct worker *worker, const char *answer)
{
    if (!worker->n_jobs || !settle(worker->jobs[0], answer))
        return false;
    struct job *job = worker_take(worker);
    if (worker->n_jobs)
        restart_timer(worker);
    else
        clear_source(&worker->timer);
    worker->callbacks->answered(worker, job);
    return true;
}

/* Takes the answers that are complete. The owner may dismiss the worker at one of them. */
static bool take_answers(struct worker *worker)
{
    const GString *input = worker->input;
    char *end;
    bool sensible = input->len <= ANSWER_MAX;

    while (sensible && worker->fd >= 0 && (end = memchr(input->str, '\n', input->len))) {
        g_autofree char *answer = g_strndup(input->str, (gsize)(end - input->str));
        g_string_erase(worker->input, 0, end + 1 - input->str);
        sensible = take_answer(worker, answer);
    }
    return sensible;
}

/* Reads what is there, up to a share. Returns the number of octets, or a negative errno: -EPROTO for
 * an answer that makes no sense. */
static ssize_t receive(struct worker *worker)
{
    char buffer[4096];
    ssize_t got = read(worker->fd, buffer, sizeof buffer);

    if (got < 0)
        return -errno;
    g_string_append_len(worker->input, buffer, got);
    return take_answers(worker) ? got : -EPROTO;
}

static gboolean on_readable(G_GNUC_UNUSED int fd, G_GNUC_UNUSED GIOCondition condition,
                            gpointer data)
{
    struct worker *worker = data;
    ssize_t got = receive(worker);

    if (got == -EPROTO)
        worker_kill(worker, "the worker gave a senseless answer");
    else if (got <= 0 && got != -EAGAIN && got != -EINTR)
        await_end(worker);
    return G_SOURCE_CONTINUE; /* unless it was removed */
}

static void on_run(G_GNUC_UNUSED struct afork_process *process, int fd,
                   const struct afork_exit *failure, void *data)
{
    struct worker *worker = data;

    if (fd < 0) {
        worker->state = WORKER_ENDING;
        if (!worker->reason)
            worker->reason = g_strchomp(
                g_strdup(*failure->message ? failure->message : g_strerror(-fd)));
        return;
    }
    worker->fd = fd;
    if (worker->state == WORKER_ENDING) { /* killed before it ran */
        close_channel(worker);
        return;
    }
    worker->state = WORKER_RUNNING;
    worker->watch = g_unix_fd_add(fd, G_IO_IN, on_readable, worker);
    worker->callbacks->ready(worker);
}

static char *describe(const struct worker *worker, const struct afork_exit *exit)
{
    if (worker->reason)
        return g_strdup(worker->reason);
    if (exit->cause == AFORK_CAUSE_SIGNALLED)
        return g_strdup_printf("the worker was killed by signal %d (%s)", exit->status,
                               strsignal(exit->status));
    if (exit->cause == AFORK_CAUSE_EXITED)
        return g_strdup_printf("the worker exited with status %d", exit->status);
    return g_strdup_printf("the worker ended: %s", exit->message);
}

static void on_exit_notice(G_GNUC_UNUSED struct afork_process *process,
                           const struct afork_exit *exit, void *data)
{
    struct worker *worker = data;

    worker->state = WORKER_ENDING;
    if (worker->fd >= 0 && !worker->reason) /* what it answered before its end counts */
        while (receive(worker) > 0 && worker->fd >= 0)
            ;
    g_autofree char *reason = describe(worker, exit);
    worker->callbacks->ended(worker, reason);
}

int worker_start(struct afork_process *template, unsigned timeout,
                 const struct worker_callbacks *callbacks, void *data, struct worker **ret)
{
    struct afork_process *process;
    int result = afork_process_fork(template, &process);

    if (result < 0)
        return result;
    struct worker *worker = g_new0(struct worker, 1);
    worker->callbacks = callbacks;
    worker->data = data;
    worker->process = process;
    worker->timeout = timeout;
    worker->fd = -1;
    worker->input = g_string_new(NULL);

    result = afork_process_on_exit(process, on_exit_notice, worker);
    if (result >= 0)
        result = afork_process_run(process, "AFork::Thumbnail::run", on_run, worker);
    if (result < 0) {
        worker_free(worker);
        return result;
    }
    *ret = worker;
    return 0;
}
