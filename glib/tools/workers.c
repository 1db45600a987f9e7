/* SPDX-License-Identifier: MIT
 *
 * The pool of Perl workers, and what its answers mean for jobs.
 */
#include "workers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    STOP_SECONDS = 2,
    ANSWER_MAX = 64 * 1024,
    FAILURES = 2, /* starts that are tried one after the other */
};

struct workers {
    struct workers_options options;
    struct workers_callbacks callbacks;
    struct afork_context *context;
    struct afork_process *template; /* NULL until there is a job */
    struct afork_pool *pool;        /* the same */
    char *temporary; /* directory for pictures that are not trusted; NULL: they are */
    bool any_ran, stopping, pool_ended, template_ended;
    guint stop_timer;
};

/* A job that the pool has. */
struct call {
    struct workers *workers;
    struct job *job; /* NULL once it is settled */
};

static void on_warning(G_GNUC_UNUSED struct afork_context *context,
                       G_GNUC_UNUSED struct afork_process *process, const char *message, void *data)
{
    struct workers *workers = data;

    if (workers->options.verbose)
        g_printerr("perl: %s\n", message);
}

/* With what killed workers have left. */
static void remove_temporary(char *path)
{
    g_autoptr(GDir) directory = path ? g_dir_open(path, 0, NULL) : NULL;
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        unlink(file);
    }
    if (path)
        rmdir(path);
    g_free(path);
}

int workers_new(struct afork_loop *loop, const struct workers_options *options,
                const struct workers_callbacks *callbacks, struct workers **ret)
{
    struct workers *workers = g_new0(struct workers, 1);
    const char *include_dirs[] = {options->perl_dir, NULL};
    struct afork_context_options context_options = AFORK_CONTEXT_OPTIONS_INIT;

    workers->options = *options;
    workers->callbacks = *callbacks;
    context_options.include_dirs = include_dirs;
    context_options.new_session = true; /* Ctrl-C is for us alone, who then clean up */
    if (!options->verbose)
        context_options.standard_error.mode = AFORK_STDIO_NULL;
    context_options.on_warning = on_warning;
    context_options.warning_data = workers;

    if (options->untrusted) {
        workers->temporary = g_build_filename(g_get_tmp_dir(), "afork-thumbnails-XXXXXX", NULL);
        if (!g_mkdtemp(workers->temporary)) {
            int error = -errno;
            g_free(workers->temporary);
            g_free(workers);
            return error;
        }
    }
    int result = afork_context_new(loop, &context_options, &workers->context);
    if (result < 0) {
        remove_temporary(workers->temporary);
        g_free(workers);
        return result;
    }
    *ret = workers;
    return 0;
}

void workers_free(struct workers *workers)
{
    afork_pool_close(workers->pool);
    afork_pool_unref(workers->pool);
    afork_context_close(workers->context);
    afork_process_unref(workers->template);
    remove_temporary(workers->temporary);
    g_free(workers);
}

/* ---- The end ---- */

/* The template goes last: it has to see its children off. */
static void check_stopped(struct workers *workers)
{
    if (!workers->stopping || (workers->pool && !workers->pool_ended))
        return;
    if (workers->template && !workers->template_ended) {
        g_clear_pointer(&workers->template, afork_process_unref);
        return;
    }
    if (workers->stop_timer)
        g_source_remove(workers->stop_timer);
    workers->stop_timer = 0;
    workers->callbacks.stopped(workers->callbacks.data);
}

static void on_template_exit(G_GNUC_UNUSED struct afork_process *process,
                             G_GNUC_UNUSED const struct afork_exit *exit, void *data)
{
    struct workers *workers = data;

    workers->template_ended = true;
    check_stopped(workers);
}

static void on_destroy(G_GNUC_UNUSED struct afork_pool *pool, void *data)
{
    struct workers *workers = data;

    workers->pool_ended = true;
    check_stopped(workers);
}

static void on_worker_start(G_GNUC_UNUSED struct afork_pool *pool,
                            G_GNUC_UNUSED struct afork_process *worker, void *data)
{
    ((struct workers *)data)->any_ran = true;
}

/* Something does not end, in spite of SIGKILL; closing the context lets go of it. */
static gboolean on_stop_timeout(gpointer data)
{
    struct workers *workers = data;

    workers->stop_timer = 0;
    afork_pool_close(workers->pool);
    workers->pool_ended = workers->template_ended = true;
    check_stopped(workers);
    return G_SOURCE_REMOVE;
}

void workers_stop(struct workers *workers)
{
    workers->stopping = true;
    if (workers->pool)
        afork_pool_cancel(workers->pool);
    /* Before the first worker runs, the template may be busy loading: it is not waited for. */
    if (workers->template && !workers->any_ran)
        afork_process_kill(workers->template, SIGKILL);
    workers->stop_timer = g_timeout_add_seconds(STOP_SECONDS, on_stop_timeout, workers);
    check_stopped(workers);
}

/* ---- The start ---- */

static void set_limits(const struct workers *workers, struct afork_pool_options *options,
                       struct afork_limits *limits)
{
    limits->memory = workers->options.memory;
    if (workers->options.untrusted) {
        limits->no_network = limits->no_new_processes = true;
        options->single_call = true;
    }
    if (limits->memory || workers->options.untrusted)
        options->limits = limits;
}

static int start_pool(struct workers *workers)
{
    struct afork_pool_options options = AFORK_POOL_OPTIONS_INIT;
    struct afork_limits limits = AFORK_LIMITS_INIT;

    options.rpc.init = "AFork::Thumbnail::init";
    options.rpc.reply_max = ANSWER_MAX;
    options.max = workers->options.max;
    options.start = -1;
    options.max_failures = FAILURES;
    options.on_worker_start = on_worker_start;
    options.on_destroy = on_destroy;
    options.data = workers;
    set_limits(workers, &options, &limits);
    return afork_pool_new(workers->template, "AFork::Thumbnail::thumbnail", &options,
                          &workers->pool);
}

/* Pictures that are not trusted may write thumbnails, and what decoders need for a while, but
 * nothing else, as far as the kernel can see to that: Landlock is newer than the rest. Where
 * decoders and their data are, nobody knows; so workers read what they like, which they can tell to
 * nobody. */
static int confine_writing(struct workers *workers)
{
    g_autofree char *directory = g_canonicalize_filename(workers->options.directory, NULL);
    const char *const directories[] = {directory, workers->temporary, NULL};
    struct afork_limits limits = AFORK_LIMITS_INIT;

    limits.write_paths = directories;
    limits.unsupported = AFORK_UNSUPPORTED_WARN;
    limits.forks_only = true;
    return afork_process_set_limits(workers->template, &limits);
}

/* What is sent to the template every worker inherits. */
static int start(struct workers *workers)
{
    g_autofree char *box = g_strdup_printf("%u", workers->options.box);
    g_autofree char *max_pixels = g_strdup_printf("%" G_GUINT64_FORMAT,
                                                  workers->options.max_pixels);
    const char *arguments[] = {workers->options.directory, box, max_pixels, workers->temporary};
    size_t n = workers->temporary ? 4 : 3;

    int result = afork_process_new_exec(workers->context, &workers->template);
    if (result >= 0)
        result = afork_process_on_exit(workers->template, on_template_exit, workers);
    if (result >= 0)
        result = afork_process_require(workers->template, "AFork::Thumbnail", NULL);
    for (size_t i = 0; i < n && result >= 0; i++)
        result = afork_process_send_arg(workers->template, arguments[i], strlen(arguments[i]));
    if (result >= 0 && workers->temporary)
        result = confine_writing(workers);
    return result < 0 ? result : start_pool(workers);
}

/* ---- Jobs ---- */

static void finish(struct call *call)
{
    struct job *job = g_steal_pointer(&call->job);

    call->workers->callbacks.done(job, call->workers->callbacks.data);
}

static void cancel(struct call *call)
{
    job_settle(call->job, JOB_CANCELLED, "cancelled");
    finish(call);
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

/* One string, in place. */
static bool take_answer(struct job *job, const struct afork_reply *reply)
{
    struct afork_strings list = {reply->data, reply->len};
    const void *data;
    size_t len;

    if (afork_strings_next(&list, &data, &len) <= 0)
        return false;
    g_autofree char *answer = g_strndup(data, len);
    return settle(job, answer);
}

static void describe_end(struct job *job, const struct afork_reply *reply)
{
    const struct afork_exit *exit = reply->exit;

    if (exit && exit->cause == AFORK_CAUSE_SIGNALLED)
        job_settle(job, JOB_FAILED, "the worker was killed by signal %d (%s)", exit->status,
                   strsignal(exit->status));
    else if (exit && exit->cause == AFORK_CAUSE_EXITED)
        job_settle(job, JOB_FAILED, "the worker exited with status %d", exit->status);
    else
        job_settle(job, JOB_FAILED, "%s", reply->message);
}

/* No worker can be started any more. */
static bool is_broken(struct workers *workers)
{
    struct afork_pool_stats stats;

    return !afork_pool_get_stats(workers->pool, &stats) && stats.broken;
}

static void on_reply(const struct afork_reply *reply, void *data)
{
    struct call *call = data;
    struct workers *workers = call->workers;

    if (reply->error == -ECANCELED || workers->stopping) {
        cancel(call);
        return;
    }
    if (reply->error && is_broken(workers)) {
        g_autofree char *message = g_strchomp(g_strdup(reply->message));
        workers->callbacks.failed(message, workers->callbacks.data);
        cancel(call);
        return;
    }
    if (reply->error == -ETIMEDOUT)
        job_settle(call->job, JOB_FAILED, "it took longer than %u s", workers->options.timeout);
    else if (reply->error == -EREMOTEIO)
        job_settle(call->job, JOB_FAILED, "%.*s", (int)strcspn(reply->message, "\n"),
                   reply->message);
    else if (reply->error == -EPROTO || (!reply->error && !take_answer(call->job, reply)))
        job_settle(call->job, JOB_FAILED, "the worker gave a senseless answer");
    else if (reply->error)
        describe_end(call->job, reply);
    finish(call);
}

static void on_release(void *data)
{
    struct call *call = data;

    if (call->job) /* the pool was closed */
        cancel(call);
    g_free(call);
}

static int submit(struct workers *workers, struct job *job)
{
    g_autofree char *mtime = g_strdup_printf("%" G_GINT64_FORMAT, job->mtime);
    g_autofree char *size = g_strdup_printf("%" G_GINT64_FORMAT, job->size);
    const char *type = job->named ? "-" : job->type;
    const struct iovec arguments[] = {
        {job->uri, strlen(job->uri)},
        {(char *)type, strlen(type)},
        {mtime, strlen(mtime)},
        {size, strlen(size)},
        {job->temporary, strlen(job->temporary)},
    };
    struct afork_call_options options = AFORK_CALL_OPTIONS_INIT;

    options.run_timeout = (int64_t)workers->options.timeout * G_USEC_PER_SEC;
    options.release = on_release;
    struct call *call = g_new(struct call, 1);
    *call = (struct call){workers, job};
    int result = afork_pool_call_strings(workers->pool, arguments, G_N_ELEMENTS(arguments),
                                         &options, on_reply, call, NULL);
    if (result < 0)
        g_free(call);
    return result;
}

void workers_push(struct workers *workers, struct job *job)
{
    int result = workers->pool || workers->template ? 0 : start(workers);

    if (!result)
        result = workers->pool ? submit(workers, job) : -ESRCH;
    if (!result)
        return;
    if (!workers->stopping) {
        g_autofree char *message = g_strdup_printf("the Perl server: %s", g_strerror(-result));
        workers->callbacks.failed(message, workers->callbacks.data);
    }
    cancel(&(struct call){workers, job});
}
