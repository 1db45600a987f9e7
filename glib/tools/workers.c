/* SPDX-License-Identifier: MIT
 *
 * A small pool: one template, workers forked from it as there is work, replaced when they end. Knows
 * nothing of the cache.
 */
#include "workers.h"

#include <signal.h>
#include <string.h>

#include "worker.h"

#define STOP_SECONDS 2

struct workers {
    struct workers_options options;
    struct workers_callbacks callbacks;
    struct afork_context *context;
    struct afork_process *template; /* NULL until there is a job */
    GQueue waiting;                 /* struct job * */
    struct worker *list;
    unsigned n_workers;
    unsigned max; /* shrinks with each worker that was of no use */
    char *reason; /* why the last of those ended; NULL if there was none */
    bool any_ran, stopping, template_ended;
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
    g_free(pool->reason);
    g_free(pool);
}

static void finish(struct workers *pool, struct job *job)
{
    pool->callbacks.done(job, pool->callbacks.data);
}

static void cancel(struct workers *pool, struct job *job)
{
    job_settle(job, JOB_CANCELLED, "cancelled");
    finish(pool, job);
}

/* The template goes last: it has to see its children off. */
static void check_stopped(struct workers *pool)
{
    if (!pool->stopping || pool->n_workers)
        return;
    if (pool->template && !pool->template_ended) {
        g_clear_pointer(&pool->template, afork_process_unref);
        return;
    }
    if (pool->stop_timer)
        g_source_remove(pool->stop_timer);
    pool->stop_timer = 0;
    pool->callbacks.stopped(pool->callbacks.data);
}

static void remove_worker(struct workers *pool, struct worker *worker)
{
    struct worker **link = &pool->list;

    while (*link != worker)
        link = &(*link)->next;
    *link = worker->next;
    pool->n_workers--;
    worker_free(worker);
}

static void on_ready(struct worker *worker)
{
    struct workers *pool = worker->data;

    pool->any_ran = true;
    feed(pool);
}

static void on_answered(struct worker *worker, struct job *job)
{
    struct workers *pool = worker->data;

    finish(pool, job);
    feed(pool);
}

/* The first job was the worker's undoing; the second is innocent. */
static void on_ended(struct worker *worker, const char *reason)
{
    struct workers *pool = worker->data;
    bool useful = worker->useful;

    if (worker->n_jobs && !pool->stopping) {
        struct job *job = worker_take(worker);
        job_settle(job, JOB_FAILED, "%s", reason);
        finish(pool, job);
    }
    while (worker->n_jobs && !pool->stopping)
        g_queue_push_head(&pool->waiting, worker_take(worker));
    while (worker->n_jobs)
        cancel(pool, worker_take(worker));
    remove_worker(pool, worker);

    if (!useful && !pool->stopping) {
        g_free(pool->reason);
        pool->reason = g_strdup(reason);
        if (!--pool->max)
            pool->callbacks.failed(reason, pool->callbacks.data);
    }
    feed(pool);
    check_stopped(pool);
}

static const struct worker_callbacks worker_callbacks = {on_ready, on_answered, on_ended};

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
    if (result >= 0)
        result = afork_process_on_exit(pool->template, on_template_exit, pool);
    if (result >= 0)
        result = afork_process_require(pool->template, "AFork::Thumbnail", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(arguments) && result >= 0; i++)
        result = afork_process_send_arg(pool->template, arguments[i], strlen(arguments[i]));
    return result;
}

static bool start_worker(struct workers *pool)
{
    struct worker *worker;
    int result = pool->template ? 0 : start_template(pool);

    if (result >= 0)
        result = worker_start(pool->template, pool->options.timeout, &worker_callbacks, pool,
                              &worker);
    if (result < 0) {
        g_autofree char *message = g_strdup_printf("the Perl server: %s", g_strerror(-result));
        if (!pool->n_workers) /* else those that there are do it all */
            pool->callbacks.failed(pool->reason ? pool->reason : message, pool->callbacks.data);
        return false;
    }
    worker->next = pool->list;
    pool->list = worker;
    pool->n_workers++;
    return true;
}

/* The running worker with the fewest jobs, if it can take one more; and how many are starting. */
static struct worker *least_busy(struct workers *pool, unsigned *n_starting)
{
    struct worker *best = NULL;

    *n_starting = 0;
    for (struct worker *worker = pool->list; worker; worker = worker->next) {
        if (worker->state == WORKER_STARTING)
            ++*n_starting;
        if (worker->state == WORKER_RUNNING && worker->n_jobs < WORKER_MAX_JOBS &&
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

        if (worker) {
            if (worker_give(worker, g_queue_peek_head(&pool->waiting)))
                g_queue_pop_head(&pool->waiting);
        } else if (n_starting >= n_waiting || pool->n_workers >= pool->max || !start_worker(pool)) {
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
        while (pool->list->n_jobs)
            cancel(pool, worker_take(pool->list));
        remove_worker(pool, pool->list);
    }
    pool->template_ended = true;
    check_stopped(pool);
    return G_SOURCE_REMOVE;
}

void workers_stop(struct workers *pool)
{
    struct job *job;

    pool->stopping = true;
    while ((job = g_queue_pop_head(&pool->waiting)))
        cancel(pool, job);
    for (struct worker *worker = pool->list; worker; worker = worker->next)
        worker_dismiss(worker);
    /* Before the first worker runs, the template may be busy loading: it is not waited for. */
    if (pool->template && !pool->any_ran)
        afork_process_kill(pool->template, SIGKILL);
    pool->stop_timer = g_timeout_add_seconds(STOP_SECONDS, on_stop_timeout, pool);
    check_stopped(pool);
}
