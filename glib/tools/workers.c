/* SPDX-License-Identifier: MIT
 *
 * A small pool over the core API: fork, feed, listen, replace. Knows nothing of the cache.
 *
 * A worker has up to two jobs, so that it need not wait for the host between them. It does them in
 * order; when it dies, the first was its undoing and the second goes back to the queue. Its end is
 * known from the exit notice alone: an end of file says less, and may be missing if it left children
 * behind.
 */
#include "workers.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define IN_FLIGHT 2
#define ANSWER_MAX (64 * 1024)
#define STOP_SECONDS 2

struct worker {
    struct workers *pool;
    struct afork_process *process;
    int fd;                      /* the channel; -1 before it runs, and when it is to end */
    guint watch, timer;          /* sources; 0: none */
    struct job *jobs[IN_FLIGHT]; /* the first is the one it works on */
    unsigned n_jobs, n_answered;
    GString *input; /* what came of the next answer */
    char *reason;   /* why it was killed, or could not run; NULL */
    struct worker *next;
};

struct workers {
    struct workers_options options;
    struct workers_callbacks callbacks;
    struct afork_context *context;
    struct afork_process *template; /* NULL until there is a job */
    bool template_ended;
    GQueue waiting; /* struct job * */
    struct worker *list;
    unsigned n_workers, max; /* `max` shrinks with each worker that is of no use */
    bool any_entered, stopping;
    guint stop_timer;
};

static void feed(struct workers *pool);

static void on_warning(G_GNUC_UNUSED struct afork_context *context,
                       G_GNUC_UNUSED struct afork_process *process, const char *message, void *data)
{
    struct workers *pool = data;

    if (pool->options.verbose)
        g_printerr("perl: %s\n", message);
}

int workers_new(struct afork_loop *loop, const struct workers_options *options,
                const struct workers_callbacks *callbacks, struct workers **ret)
{
    struct workers *pool = g_new0(struct workers, 1);
    const char *include_dirs[] = {options->perl_dir, NULL};
    struct afork_context_options context_options = AFORK_CONTEXT_OPTIONS_INIT;

    pool->options = *options;
    pool->callbacks = *callbacks;
    pool->max = options->max;
    context_options.include_dirs = include_dirs;
    context_options.new_session = true; /* Ctrl-C is for us alone, who then clean up */
    if (!options->verbose)
        context_options.standard_error.mode = AFORK_STDIO_NULL;
    context_options.on_warning = on_warning;
    context_options.warning_data = pool;

    int result = afork_context_new(loop, &context_options, &pool->context);
    if (result < 0) {
        g_free(pool);
        return result;
    }
    *ret = pool;
    return 0;
}

void workers_free(struct workers *pool)
{
    afork_context_close(pool->context);
    afork_process_unref(pool->template);
    g_free(pool);
}

static void finish(struct workers *pool, struct job *job)
{
    pool->callbacks.done(job, pool->callbacks.data);
}

static void stop_watching(struct worker *worker)
{
    if (worker->watch)
        g_source_remove(worker->watch);
    worker->watch = 0;
}

static void stop_timer(struct worker *worker)
{
    if (worker->timer)
        g_source_remove(worker->timer);
    worker->timer = 0;
}

/* Makes sure that a worker ends; the exit notice does the rest. */
static void end_worker(struct worker *worker, const char *reason)
{
    if (!worker->reason)
        worker->reason = g_strdup(reason);
    stop_watching(worker);
    stop_timer(worker);
    afork_process_kill(worker->process, SIGKILL);
}

static gboolean on_timeout(gpointer data)
{
    struct worker *worker = data;
    g_autofree char *reason = g_strdup_printf("it took longer than %u s",
                                              worker->pool->options.timeout);

    worker->timer = 0;
    end_worker(worker, reason);
    return G_SOURCE_REMOVE;
}

static void restart_timer(struct worker *worker)
{
    stop_timer(worker);
    worker->timer = g_timeout_add_seconds(worker->pool->options.timeout, on_timeout, worker);
}

static struct job *take_first(struct worker *worker)
{
    struct job *job = worker->jobs[0];

    worker->jobs[0] = worker->jobs[1];
    worker->n_jobs--;
    return job;
}

/* The answer to the worker's first job; false if it makes no sense. AFork::Thumbnail says what there
 * is. */
static bool take_answer(struct worker *worker, const char *line)
{
    unsigned width, height;
    int type = 0;
    enum job_state state;
    const char *text = "";

    if (!worker->n_jobs)
        return false;
    struct job *job = worker->jobs[0];
    if (sscanf(line, "made %u %u %n", &width, &height, &type) == 2 && type) {
        g_free(job->type);
        job->type = g_strdup(line + type);
        job->width = width;
        job->height = height;
        job->state = JOB_MADE;
    } else {
        if (g_str_has_prefix(line, "failed "))
            state = JOB_FAILED, text = line + strlen("failed ");
        else if (g_str_has_prefix(line, "error "))
            state = JOB_ERROR, text = line + strlen("error ");
        else if (strcmp(line, "unsupported") == 0)
            state = JOB_SKIPPED, text = "pictures of this type cannot be read";
        else
            return false;
        job_settle(job, state, "%s", text);
    }

    take_first(worker);
    worker->n_answered++;
    if (worker->n_jobs)
        restart_timer(worker);
    else
        stop_timer(worker);
    finish(worker->pool, job);
    return true;
}

/* Takes the answers that are complete. One of them may end everything: `fd` tells. */
static bool take_answers(struct worker *worker)
{
    char *end;
    bool good = worker->input->len <= ANSWER_MAX;

    while (good && worker->fd >= 0 &&
           (end = memchr(worker->input->str, '\n', worker->input->len))) {
        g_autofree char *line = g_strndup(worker->input->str, (gsize)(end - worker->input->str));
        g_string_erase(worker->input, 0, end + 1 - worker->input->str);
        good = take_answer(worker, line);
    }
    return good;
}

/* Reads what is there, up to a share. Returns what read() did, or -EPROTO. */
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

    if (got == -EAGAIN || got == -EINTR)
        return G_SOURCE_CONTINUE;
    if (got == -EPROTO) {
        end_worker(worker, "the worker gave a senseless answer");
    } else if (got <= 0 && worker->fd >= 0) {
        /* It is ending, or has lost its channel; then it must not live on. */
        stop_watching(worker);
        restart_timer(worker);
    } else {
        feed(worker->pool);
    }
    return G_SOURCE_CONTINUE;
}

/* Sends a job. The socket has room for many times what is ever unanswered: if it does not take all
 * at once, the worker is broken. */
static bool give(struct worker *worker, struct job *job)
{
    g_autofree char *line = g_strdup_printf("%s %s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %s\n",
                                            job->uri, job->named ? "-" : job->type, job->mtime,
                                            job->size, job->temporary);
    size_t length = strlen(line);

    if (send(worker->fd, line, length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length)
        return false;
    if (!worker->n_jobs)
        restart_timer(worker);
    worker->jobs[worker->n_jobs++] = job;
    return true;
}

static void on_run(G_GNUC_UNUSED struct afork_process *process, int fd,
                   const struct afork_exit *failure, void *data)
{
    struct worker *worker = data;

    if (fd < 0) {
        worker->reason = g_strdup(*failure->message ? failure->message : g_strerror(-fd));
        return;
    }
    if (worker->pool->stopping) {
        close(fd); /* it was told to end before it began */
        return;
    }
    worker->pool->any_entered = true;
    worker->fd = fd;
    worker->watch = g_unix_fd_add(fd, G_IO_IN, on_readable, worker);
    feed(worker->pool);
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

static void remove_worker(struct worker *worker)
{
    struct worker **link = &worker->pool->list;

    while (*link != worker)
        link = &(*link)->next;
    *link = worker->next;
    worker->pool->n_workers--;

    stop_watching(worker);
    stop_timer(worker);
    if (worker->fd >= 0)
        close(worker->fd);
    afork_process_unref(worker->process);
    g_string_free(worker->input, TRUE);
    g_free(worker->reason);
    g_free(worker);
}

/* The end of the last process but the template lets that go; it had to see the others off. */
static void check_stopped(struct workers *pool)
{
    if (!pool->stopping || pool->n_workers)
        return;
    if (pool->template && !pool->template_ended) {
        afork_process_unref(pool->template);
        pool->template = NULL;
        return;
    }
    if (pool->stop_timer)
        g_source_remove(pool->stop_timer);
    pool->stop_timer = 0;
    pool->callbacks.stopped(pool->callbacks.data);
}

/* The first job was the worker's undoing; the second is innocent. */
static void settle_jobs(struct worker *worker, const char *reason)
{
    struct workers *pool = worker->pool;

    for (bool first = true; worker->n_jobs; first = false) {
        struct job *job = take_first(worker);
        if (!first && !pool->stopping) {
            g_queue_push_head(&pool->waiting, job);
            continue;
        }
        job_settle(job, pool->stopping ? JOB_CANCELLED : JOB_FAILED, "%s", reason);
        finish(pool, job);
    }
}

static void on_worker_exit(G_GNUC_UNUSED struct afork_process *process,
                           const struct afork_exit *exit, void *data)
{
    struct worker *worker = data;
    struct workers *pool = worker->pool;

    if (worker->fd >= 0 && !worker->reason) /* answers given before the end count */
        while (receive(worker) > 0 && worker->fd >= 0)
            ;
    bool useful = worker->n_jobs || worker->n_answered;
    g_autofree char *reason = describe(worker, exit);
    settle_jobs(worker, reason);
    remove_worker(worker);

    if (!useful && !pool->stopping && --pool->max == 0)
        pool->callbacks.failed(reason, pool->callbacks.data);
    feed(pool);
    check_stopped(pool);
}

static void on_template_exit(G_GNUC_UNUSED struct afork_process *process,
                             G_GNUC_UNUSED const struct afork_exit *exit, void *data)
{
    struct workers *pool = data;

    pool->template_ended = true;
    check_stopped(pool);
}

/* What is sent to the template every worker inherits. */
static int start_template(struct workers *pool)
{
    g_autofree char *box = g_strdup_printf("%u", pool->options.box);
    g_autofree char *max_pixels = g_strdup_printf("%" G_GUINT64_FORMAT, pool->options.max_pixels);
    const char *arguments[] = {pool->options.directory, box, max_pixels};

    int result = afork_process_new_exec(pool->context, &pool->template);
    if (result < 0)
        return result;
    result = afork_process_on_exit(pool->template, on_template_exit, pool);
    if (result >= 0)
        result = afork_process_require(pool->template, "AFork::Thumbnail", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(arguments) && result >= 0; i++)
        result = afork_process_send_arg(pool->template, arguments[i], strlen(arguments[i]));
    return result;
}

static int start_worker(struct workers *pool)
{
    struct afork_process *process;
    int result = pool->template ? 0 : start_template(pool);

    if (result >= 0)
        result = afork_process_fork(pool->template, &process);
    if (result < 0)
        return result;

    struct worker *worker = g_new0(struct worker, 1);
    worker->pool = pool;
    worker->process = process;
    worker->fd = -1;
    worker->input = g_string_new(NULL);
    worker->next = pool->list;
    pool->list = worker;
    pool->n_workers++;

    result = afork_process_on_exit(process, on_worker_exit, worker);
    if (result >= 0)
        result = afork_process_run(process, "AFork::Thumbnail::run", on_run, worker);
    if (result < 0) {
        afork_process_close(process);
        remove_worker(worker);
    }
    return result;
}

/* The worker to give a job to, or NULL; and how many are on their way. */
static struct worker *least_busy(struct workers *pool, unsigned *n_starting)
{
    struct worker *best = NULL;

    *n_starting = 0;
    for (struct worker *worker = pool->list; worker; worker = worker->next) {
        if (worker->fd < 0)
            ++*n_starting;
        else if (worker->watch && worker->n_jobs < IN_FLIGHT &&
                 (!best || worker->n_jobs < best->n_jobs))
            best = worker;
    }
    return best;
}

/* Gives waiting jobs to workers, and starts workers for the rest. */
static void feed(struct workers *pool)
{
    unsigned n_waiting, n_starting;

    while (!pool->stopping && (n_waiting = g_queue_get_length(&pool->waiting))) {
        struct worker *worker = least_busy(pool, &n_starting);

        if (worker && give(worker, g_queue_peek_head(&pool->waiting))) {
            g_queue_pop_head(&pool->waiting);
        } else if (worker) {
            end_worker(worker, "the worker does not listen");
        } else if (pool->n_workers < pool->max && n_starting < n_waiting) {
            int result = start_worker(pool);
            if (result < 0 && !pool->n_workers)
                pool->callbacks.failed(g_strerror(-result), pool->callbacks.data);
            if (result < 0)
                return;
        } else {
            return;
        }
    }
}

void workers_push(struct workers *pool, struct job *job)
{
    g_queue_push_tail(&pool->waiting, job);
    feed(pool);
}

/* Something does not end, in spite of SIGKILL; closing the context lets go of it. */
static gboolean on_stop_timeout(gpointer data)
{
    struct workers *pool = data;

    pool->stop_timer = 0;
    while (pool->list) {
        settle_jobs(pool->list, "");
        afork_process_close(pool->list->process);
        remove_worker(pool->list);
    }
    pool->template_ended = true;
    check_stopped(pool);
    return G_SOURCE_REMOVE;
}

void workers_stop(struct workers *pool)
{
    struct job *job;

    if (pool->stopping)
        return;
    pool->stopping = true;
    while ((job = g_queue_pop_head(&pool->waiting))) {
        job_settle(job, JOB_CANCELLED, "cancelled");
        finish(pool, job);
    }
    /* A worker without a job ends by itself; one with a job may not look at its channel for long. */
    for (struct worker *worker = pool->list; worker; worker = worker->next) {
        if (worker->n_jobs || worker->fd < 0)
            end_worker(worker, "stopped");
        stop_watching(worker);
        if (worker->fd >= 0)
            close(worker->fd);
        worker->fd = -1;
    }
    /* Before the first worker the template may be busy loading: it is not waited for. */
    if (pool->template && !pool->any_entered)
        afork_process_kill(pool->template, SIGKILL);
    pool->stop_timer = g_timeout_add_seconds(STOP_SECONDS, on_stop_timeout, pool);
    check_stopped(pool);
}
