/* SPDX-License-Identifier: MIT
 *
 * afork-thumbnails: makes thumbnails for the desktop's cache, with Perl workers forked from one
 * template. This file has the options, and hands each job on from the walk to the cache to the
 * workers and back; the main loop stands behind it all.
 */
#include <fcntl.h>
#include <glib-unix.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cache.h"
#include "options.h"
#include "progress.h"
#include "walk.h"
#include "workers.h"

enum { EXIT_SOME_FAILED = 1, EXIT_CANNOT_START = 2, EXIT_SIGNAL = 128 };

struct program {
    struct options options;
    GMainLoop *main_loop;
    struct afork_glib_loop *loop;
    struct cache *cache;
    struct workers *workers;
    struct walk *walk;
    struct progress *progress;
    unsigned n_pending; /* jobs at the workers */
    bool walk_ended, failed, stopping;
    int signal; /* that stopped us; 0: none */
};

/* Not called directly, but from the main loop: it releases the walk, in whose callbacks we may be. */
static gboolean on_stop(gpointer data)
{
    struct program *p = data;

    g_clear_pointer(&p->walk, walk_free);
    workers_stop(p->workers);
    return G_SOURCE_REMOVE;
}

/* Ends the run, whether the work is done or not. */
static void stop(struct program *p)
{
    if (!p->stopping)
        g_idle_add_full(G_PRIORITY_HIGH, on_stop, p, NULL);
    p->stopping = true;
}

static void settled(struct program *p, struct job *job)
{
    g_autofree char *thumbnail = cache_thumbnail_path(p->cache, job);

    progress_settled(p->progress, job, thumbnail);
    job_free(job);
    if (!progress_is_heard(p->progress))
        stop(p);
}

static void on_done(struct job *job, void *data)
{
    struct program *p = data;

    cache_finish(p->cache, job);
    settled(p, job);
    if (!--p->n_pending && p->walk_ended)
        stop(p);
}

static void on_found(struct job *job, void *data)
{
    struct program *p = data;

    progress_found(p->progress);
    if (job->state == JOB_WAITING)
        cache_examine(p->cache, job, p->options.force);
    if (job->state != JOB_WAITING) {
        settled(p, job);
        return;
    }
    cache_begin(p->cache, job);
    p->n_pending++;
    workers_push(p->workers, job);
}

static void on_walk_ended(void *data)
{
    struct program *p = data;

    p->walk_ended = true;
    if (!p->n_pending)
        stop(p);
}

static void on_failed(const char *message, void *data)
{
    struct program *p = data;

    if (!p->failed)
        g_printerr("afork-thumbnails: no worker can be started: %s\n", message);
    p->failed = true;
    stop(p);
}

static void on_stopped(void *data)
{
    struct program *p = data;

    g_main_loop_quit(p->main_loop);
}

static gboolean on_signal(struct program *p, int number)
{
    p->signal = number;
    stop(p);
    return G_SOURCE_CONTINUE;
}

static gboolean on_sigint(gpointer data)
{
    return on_signal(data, SIGINT);
}

static gboolean on_sigterm(gpointer data)
{
    return on_signal(data, SIGTERM);
}

static gboolean on_sighup(gpointer data)
{
    return on_signal(data, SIGHUP);
}

static bool make_walk(struct program *p, GError **error)
{
    const struct walk_callbacks callbacks = {on_found, on_walk_ended, p};
    const char *list = p->options.list;

    p->walk = walk_new(p->options.recursive, &callbacks);
    for (char **name = p->options.names; *name; name++)
        if (strcmp(*name, "-") != 0)
            walk_add(p->walk, *name);
    return !list || walk_add_list(p->walk, list, p->options.null ? '\0' : '\n', error);
}

static bool make_workers(struct program *p, GError **error)
{
    const char *perl_dir = g_getenv("AFORK_THUMBNAILS_LIB");
    const struct workers_options options = {
        .max = p->options.jobs ? p->options.jobs : afork_cpu_count(),
        .timeout = p->options.timeout,
        .memory = (guint64)p->options.memory * 1000 * 1000,
        .untrusted = p->options.untrusted,
        .perl_dir = perl_dir ? perl_dir : AFORK_PERL_LIBDIR,
        .directory = p->cache->directory,
        .box = p->cache->box,
        .max_pixels = (guint64)p->options.max_megapixels * 1000 * 1000,
        .verbose = p->options.verbose,
    };
    const struct workers_callbacks callbacks = {on_done, on_failed, on_stopped, p};

    afork_glib_loop_new(NULL, G_PRIORITY_DEFAULT, &p->loop);
    int result = workers_new(afork_glib_loop_get(p->loop), &options, &callbacks, &p->workers);
    if (result < 0)
        g_set_error_literal(error, G_FILE_ERROR, (gint)g_file_error_from_errno(-result),
                            g_strerror(-result));
    return result >= 0;
}

static bool set_up(struct program *p, GError **error)
{
    enum progress_mode mode = p->options.json    ? PROGRESS_JSON
                              : p->options.quiet ? PROGRESS_QUIET
                                                 : PROGRESS_PLAIN;

    p->cache = cache_open(p->options.size, error);
    if (!p->cache || !make_walk(p, error) || !make_workers(p, error))
        return false;
    p->progress = progress_new(mode);
    p->main_loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGINT, on_sigint, p);
    g_unix_signal_add(SIGTERM, on_sigterm, p);
    g_unix_signal_add(SIGHUP, on_sighup, p);
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is found out by writing */
    return true;
}

static void tear_down(struct program *p)
{
    g_clear_pointer(&p->workers, workers_free);
    g_clear_pointer(&p->loop, afork_glib_loop_free);
    g_clear_pointer(&p->walk, walk_free);
    g_clear_pointer(&p->progress, progress_free);
    g_clear_pointer(&p->cache, cache_free);
    g_clear_pointer(&p->main_loop, g_main_loop_unref);
}

static int run(struct program *p)
{
    walk_start(p->walk);
    g_main_loop_run(p->main_loop);
    if (!p->failed)
        progress_end(p->progress, p->signal != 0);
    if (p->signal)
        return EXIT_SIGNAL + p->signal;
    if (p->failed || !progress_is_heard(p->progress))
        return EXIT_CANNOT_START;
    return progress_failures(p->progress) ? EXIT_SOME_FAILED : EXIT_SUCCESS;
}

/* So that nothing else is there. What is then read or written fails. */
static bool open_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct program program = {0};
    g_autoptr(GError) error = NULL;
    int status = EXIT_CANNOT_START;

    if (!open_standard_descriptors())
        return EXIT_CANNOT_START;
    setlocale(LC_ALL, "");
    if (!options_parse(argc, argv, &program.options))
        return EXIT_CANNOT_START;
    if (program.options.help || program.options.version) {
        fputs(program.options.help ? options_help : "afork-thumbnails " AFORK_VERSION "\n", stdout);
        return fflush(stdout) == EOF ? EXIT_CANNOT_START : EXIT_SUCCESS;
    }
    umask(077); /* thumbnails show what pictures show: they are the user's alone */
    if (set_up(&program, &error))
        status = run(&program);
    else
        g_printerr("%s: %s\n", argv[0], error->message);
    tear_down(&program);
    return status;
}
