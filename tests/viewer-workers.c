/* SPDX-License-Identifier: MIT
 *
 * afork-viewer: workers that die, or cannot start; a cache that cannot be written; the end.
 */
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "viewer-lib.h"

static ViewerWorkers *workers(struct viewer *viewer)
{
    return viewer_thumbnailer_get_workers(viewer->thumbnailer);
}

static void activate(struct viewer *viewer, const char *action)
{
    g_action_group_activate_action(G_ACTION_GROUP(viewer->window), action, NULL);
}

static guint n_broken(struct viewer *viewer, guint n)
{
    guint broken = 0;

    for (guint i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("%06u.png", i);
        ViewerTile *tile = viewer_grid_find_tile(viewer_window_get_grid(viewer->window), name);
        broken += tile && viewer_tile_get_state(tile) == VIEWER_TILE_BROKEN;
    }
    return broken;
}

static guint n_crashed(struct viewer *viewer)
{
    g_autoptr(GAforkPoolStats) stats = viewer_stats(viewer);

    return (guint)stats->crashed;
}

/* The pid of a worker that has a call; 0: there is none. */
static int busy_worker(struct viewer *viewer)
{
    GAforkPool *pool = viewer_workers_get_pool(workers(viewer));
    GListModel *all = pool ? gafork_pool_get_workers(pool) : NULL;

    for (guint i = 0; all && i < g_list_model_get_n_items(all); i++) {
        g_autoptr(GAforkWorker) worker = g_list_model_get_item(all, i);
        if (gafork_worker_get_calls(worker) && gafork_worker_get_pid(worker))
            return gafork_worker_get_pid(worker);
    }
    return 0;
}

/* --- Killed from outside --- */

/* Each worker that is killed is at most one broken tile, and that one is not remembered. */
static void test_killed(struct viewer *viewer)
{
    enum { N = 20, KILLS = 4 };
    guint kills = 0;

    viewer_pictures(viewer, N);
    viewer_open(viewer);
    for (; kills < KILLS; kills++) {
        activate(viewer, "make-all");
        UNTIL(busy_worker(viewer) || viewer_is_complete(viewer));
        if (!busy_worker(viewer))
            break;
        g_assert_cmpint(kill(busy_worker(viewer), SIGKILL), ==, 0);
        UNTIL(n_crashed(viewer) > kills);
    }
    g_assert_cmpuint(kills, >, 0);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpuint(n_broken(viewer, N), <=, kills);
    g_assert_null(viewer_window_get_notice(viewer->window));
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpuint(n_broken(viewer, N), ==, 0);
}

static gint64 cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec * G_USEC_PER_SEC + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_sec * G_USEC_PER_SEC + usage.ru_stime.tv_usec;
}

/* --- Pictures that do harm --- */

/* AFork::Thumbnail whose reduce() first runs `code`, with the picture's URI in $_[0]. */
struct module {
    char *real, *lib, *folder, *file;
};

static void module_begin(struct module *module, const char *code)
{
    module->real = g_strdup(g_getenv("AFORK_THUMBNAILS_LIB"));
    module->lib = g_dir_make_tmp("afork-viewer-lib-XXXXXX", NULL);
    module->folder = g_build_filename(module->lib, "AFork", NULL);
    module->file = g_build_filename(module->folder, "Thumbnail.pm", NULL);
    g_autofree char *text = g_strdup_printf(
        "do '%s/AFork/Thumbnail.pm' or die $@; package AFork::Thumbnail; no warnings;"
        "my $reduce = \\&reduce; *reduce = sub { %s; $reduce->(@_) }; 1",
        module->real, code);
    g_assert_cmpint(g_mkdir(module->folder, 0700), ==, 0);
    g_assert_true(g_file_set_contents(module->file, text, -1, NULL));
    g_setenv("AFORK_THUMBNAILS_LIB", module->lib, TRUE);
}

static void module_end(struct module *module)
{
    g_setenv("AFORK_THUMBNAILS_LIB", module->real, TRUE);
    g_unlink(module->file);
    g_rmdir(module->folder);
    g_rmdir(module->lib);
    g_free(module->real);
    g_free(module->lib);
    g_free(module->folder);
    g_free(module->file);
}

struct clock {
    gint64 last, longest;
};

static gboolean on_clock(gpointer data)
{
    struct clock *clock = data;
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    gint64 usec = now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
    if (clock->last)
        clock->longest = MAX(clock->longest, usec - clock->last);
    clock->last = usec;
    return G_SOURCE_CONTINUE;
}

/* One hangs, one crashes, one ends, one talks nonsense: these are broken, all others are there, and
 * the loop goes on: a timer would not be late by more than 20 ms. Its work between two turns counts: the
 * machine may have other things to do. */
static void test_four_bad(struct viewer *viewer)
{
    enum { N = 100 };
    struct module module;
    struct clock clock = {0};

    module_begin(&module, "if ($_[0] =~ /000010/) { 1 while 1 }"
                          "kill SEGV => $$ if $_[0] =~ /000020/;"
                          "POSIX::_exit(0) if $_[0] =~ /000030/ && require POSIX;"
                          "return 'nonsense' if $_[0] =~ /000040/");
    viewer_workers_set_timeout(workers(viewer), 2);
    viewer_pictures(viewer, N);
    viewer_open(viewer);
    activate(viewer, "make-all");
    guint timer = g_timeout_add_full(G_PRIORITY_HIGH, 1, on_clock, &clock, NULL);
    ViewerBatch *batch = viewer_window_get_batch(viewer->window);
    UNTIL(viewer_batch_get_done(batch) == N && viewer_is_complete(viewer));
    g_source_remove(timer);
    g_assert_cmpuint(viewer_batch_get_failed(batch), ==, 4);
    g_assert_cmpuint(viewer_n_cached(), ==, N - 4);
    g_test_message("at most %d ms between two turns", (int)(clock.longest / 1000));
    if (!viewer_is_sanitized())
        g_assert_cmpint(clock.longest, <, 20 * 1000);
    module_end(&module);
}

/* A picture that kills whoever decodes it: it is broken, all others are shown. */
static void test_deadly(struct viewer *viewer)
{
    enum { N = 10 };
    struct module module;

    module_begin(&module, "kill SEGV => $$ if $_[0] =~ /000003/");
    viewer_pictures(viewer, N);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpuint(n_broken(viewer, N), ==, 1);
    ViewerTile *tile = viewer_grid_find_tile(viewer_window_get_grid(viewer->window), "000003.png");
    g_assert_cmpint(viewer_tile_get_state(tile), ==, VIEWER_TILE_BROKEN);
    g_test_message("%s", viewer_tile_get_reason(tile));
    module_end(&module);
}

static gint64 resident(void)
{
    g_autofree char *text = NULL;
    long long all = 0, pages = 0;

    g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    g_assert_cmpint(sscanf(text, "%lld %lld", &all, &pages), ==, 2);
    return pages * sysconf(_SC_PAGESIZE);
}

/* A decoder that leaks: workers are replaced before it matters, and nothing else is noticed of it. */
static void test_leaking(struct viewer *viewer)
{
    enum { N = 1100 };
    struct module module;

    g_setenv("AFORK_CPUS", "1", TRUE);
    module_begin(&module, "our @kept; push @kept, 'x' x 100_000");
    viewer_pictures(viewer, N);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    gint64 before = resident();
    activate(viewer, "make-all");
    ViewerBatch *batch = viewer_window_get_batch(viewer->window);
    UNTIL(viewer_batch_get_done(batch) == N);
    g_test_message("the host grew by %d kB", (int)((resident() - before) / 1000));
    if (!viewer_is_sanitized())
        g_assert_cmpint(resident() - before, <, 20 * 1000 * 1000);
    g_assert_cmpuint(viewer_batch_get_failed(batch), ==, 0);
    g_autoptr(GAforkPoolStats) stats = viewer_stats(viewer);
    g_assert_cmpuint(stats->retired, ==, 2); /* after 500 calls each */
    g_assert_cmpuint(stats->crashed, ==, 0);
    module_end(&module);
}

/* One that takes more memory than there is for it, and a small file of a huge picture. */
static void test_greedy(struct viewer *viewer)
{
    enum { N = 10 };
    struct module module;
    const char huge[] = "P6 60000 60000 255\n";

    if (viewer_is_sanitized()) {
        g_test_skip("memory is not limited under sanitizers");
        return;
    }
    module_begin(&module, "if ($_[0] =~ /000003/) { my $n = 3e9; my $much = 'x' x $n }");
    viewer_pictures(viewer, N);
    viewer_file(viewer, "huge.ppm", huge);
    gint64 before = resident();
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpint(resident() - before, <, 50 * 1000 * 1000);
    g_assert_cmpuint(n_broken(viewer, N), ==, 1);
    g_assert_cmpint(viewer_state(viewer, "000003.png"), ==, VIEWER_TILE_BROKEN);
    g_assert_cmpint(viewer_state(viewer, "huge.ppm"), ==, VIEWER_TILE_BROKEN);
    ViewerTile *tile = viewer_grid_find_tile(viewer_window_get_grid(viewer->window), "huge.ppm");
    g_test_message("%s", viewer_tile_get_reason(tile));
    g_assert_nonnull(strstr(viewer_tile_get_reason(tile), "too many"));
    module_end(&module);
}

/* --- Workers that cannot start --- */

/* Without the module nothing is lost, nothing spins, and it can be tried again. */
static void test_no_module(struct viewer *viewer)
{
    g_autofree char *real = g_strdup(g_getenv("AFORK_THUMBNAILS_LIB"));

    g_setenv("AFORK_THUMBNAILS_LIB", "/nonexistent", TRUE);
    viewer_pictures(viewer, 50);
    viewer_open(viewer);
    UNTIL(viewer_window_get_notice(viewer->window));
    g_test_message("%s", viewer_window_get_notice(viewer->window));
    g_assert_nonnull(strstr(viewer_window_get_notice(viewer->window), "AFork/Thumbnail.pm"));
    g_assert_cmpuint(n_broken(viewer, 50), ==, 0);
    viewer_settle(300);
    gint64 before = cpu();
    viewer_settle(1000);
    g_assert_cmpint(cpu() - before, <, G_USEC_PER_SEC / 4);

    g_setenv("AFORK_THUMBNAILS_LIB", real, TRUE);
    activate(viewer, "retry");
    UNTIL(viewer_is_complete(viewer));
    g_assert_null(viewer_window_get_notice(viewer->window));
    g_assert_cmpuint(n_broken(viewer, 50), ==, 0);
}

static void test_no_perl(struct viewer *viewer)
{
    g_autofree char *real = g_strdup(g_getenv("AFORK_PERL"));

    g_setenv("AFORK_PERL", "/nonexistent/perl", TRUE);
    viewer_pictures(viewer, 5);
    viewer_open(viewer);
    UNTIL(viewer_window_get_notice(viewer->window));
    g_test_message("%s", viewer_window_get_notice(viewer->window));
    g_setenv("AFORK_PERL", real, TRUE);
    activate(viewer, "retry");
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpint(viewer_state(viewer, "000001.png"), ==, VIEWER_TILE_SHOWN);
}

/* The template is killed: there is another. */
static void test_template(struct viewer *viewer)
{
    viewer_pictures(viewer, 3);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_autofree char *command = g_strdup_printf("/proc/self/task/%d/children", (int)getpid());
    g_autofree char *children = NULL;
    g_assert_true(g_file_get_contents(command, &children, NULL, NULL));
    g_assert_cmpint(kill(atoi(children), SIGKILL), ==, 0);
    viewer_picture(viewer, "a.png", 40, 30, 0);
    UNTIL(viewer_n_items(viewer) == 4);
    UNTIL(viewer_window_get_notice(viewer->window) ||
          (viewer_is_complete(viewer) && viewer_state(viewer, "a.png") == VIEWER_TILE_SHOWN));
    if (viewer_window_get_notice(viewer->window)) {
        g_test_message("%s", viewer_window_get_notice(viewer->window));
        activate(viewer, "retry");
    }
    UNTIL(viewer_is_complete(viewer) && viewer_state(viewer, "a.png") == VIEWER_TILE_SHOWN);
}

/* --- The end --- */

/* Closing does not wait, however much there is to do. */
static void test_close(struct viewer *viewer)
{
    viewer_pictures(viewer, 6000);
    viewer_open(viewer);
    activate(viewer, "make-all");
    UNTIL(viewer_n_queued(viewer) > 4500);
    guint queued = viewer_n_queued(viewer);
    gint64 before = cpu();
    gint64 taken = viewer_close(viewer);
    gint64 used = cpu() - before;
    g_test_message("%d ms, %d of them at work, with %u calls queued", (int)(taken / 1000),
                   (int)(used / 1000), queued);
    /* The machine may have other things to do. */
    g_assert_cmpint(used, <, (viewer_is_sanitized() ? 1000 : 200) * 1000);
    g_assert_cmpint(taken, <, 2 * G_USEC_PER_SEC);
}

/* A folder that is left takes its calls with it, and the rest goes on. */
static void test_left(struct viewer *viewer)
{
    viewer_pictures(viewer, 3000);
    viewer_open(viewer);
    activate(viewer, "make-all");
    UNTIL(viewer_n_cached() > 10);
    gint64 begun = g_get_monotonic_time();
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    UNTIL(viewer_n_queued(viewer) == 0);
    g_test_message("%d ms", (int)((g_get_monotonic_time() - begun) / 1000));
    g_assert_cmpuint(viewer_n_cached(), <, 1500);
}

/* No place for the cache, or no room in it: see test-viewer-workers.sh. */
static void test_not_kept(struct viewer *viewer)
{
    viewer_pictures(viewer, 10);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpuint(n_broken(viewer, 10), ==, 0);
    g_assert_cmpint(viewer_state(viewer, "000009.png"), ==, VIEWER_TILE_SHOWN);
    const char *message = viewer_thumbnailer_get_message(viewer->thumbnailer);
    g_assert_nonnull(message);
    g_test_message("%s", message);
    g_assert_nonnull(strstr(message, g_getenv("VIEWER_TEST_EXPECTED")));
    g_action_group_activate_action(G_ACTION_GROUP(viewer->window), "view", g_variant_new_uint32(0));
    UNTIL(viewer_page_get_texture(viewer_window_get_page(viewer->window)));
}

int main(int argc, char **argv)
{
    viewer_test_init(&argc, &argv);
    if (g_getenv("VIEWER_TEST_EXPECTED")) {
        viewer_test_add("/viewer/cache/not-kept", test_not_kept);
        return g_test_run();
    }
    viewer_test_add("/viewer/workers/killed", test_killed);
    viewer_test_add("/viewer/workers/template", test_template);
    viewer_test_add("/viewer/workers/four-bad", test_four_bad);
    viewer_test_add("/viewer/workers/deadly", test_deadly);
    viewer_test_add("/viewer/workers/greedy", test_greedy);
    viewer_test_add("/viewer/workers/leaking", test_leaking);
    viewer_test_add("/viewer/workers/no-module", test_no_module);
    viewer_test_add("/viewer/workers/no-perl", test_no_perl);
    viewer_test_add("/viewer/workers/close", test_close);
    viewer_test_add("/viewer/workers/left", test_left);
    return g_test_run();
}
