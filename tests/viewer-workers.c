/* SPDX-License-Identifier: MIT
 *
 * afork-viewer: workers that die, or cannot start; a cache that cannot be written; the end.
 */
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "viewer-lib.h"

static ViewerWorkers *workers(struct viewer *viewer)
{
    return viewer_thumbnailer_get_workers(viewer->thumbnailer);
}

static guint n_broken(struct viewer *viewer, guint n)
{
    guint broken = 0;

    for (guint i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("%06u.png", i);
        ViewerTile *tile = viewer_grid_find_tile(viewer_window_get_grid(viewer->window), name);
        if (!tile || viewer_tile_get_state(tile) != VIEWER_TILE_BROKEN)
            continue;
        g_test_message("%s: %s", name, viewer_tile_get_reason(tile));
        broken++;
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
        viewer_act(viewer, "make-all");
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

/* One hangs, one crashes, one ends, one talks nonsense: these are broken, all others are there, and
 * the loop goes on: a timer would not be late by more than 20 ms, were it not for what else the machine
 * does. */
static double make_four_bad(struct viewer *viewer)
{
    enum { N = 100 };

    viewer_empty_cache();
    viewer_open(viewer);
    UNTIL(viewer_n_cached()); /* there are workers */
    viewer_stalls_begin();
    viewer_act(viewer, "make-all");
    ViewerBatch *batch = viewer_window_get_batch(viewer->window);
    UNTIL(viewer_batch_get_done(batch) == N && viewer_is_complete(viewer));
    struct viewer_stalls stalls = viewer_stalls_end();
    g_assert_cmpuint(viewer_batch_get_failed(batch), ==, 4);
    g_assert_cmpuint(viewer_n_cached(), ==, N - 4);
    return stalls.longest_own;
}

static void test_four_bad(struct viewer *viewer)
{
    struct viewer_module module;

    viewer_module_begin(&module, "if ($_[0] =~ /000010/) { 1 while 1 }"
                                 "kill SEGV => $$ if $_[0] =~ /000020/;"
                                 "POSIX::_exit(0) if $_[0] =~ /000030/ && require POSIX;"
                                 "return 'nonsense' if $_[0] =~ /000040/");
    viewer_workers_set_timeout(workers(viewer), 2);
    viewer_pictures(viewer, 100);
    viewer_check_time(viewer, "longest stall while workers fail", 20, make_four_bad);
    viewer_module_end(&module);
}

/* A picture that kills whoever decodes it: it is broken, all others are shown. */
static void test_deadly(struct viewer *viewer)
{
    enum { N = 10 };
    struct viewer_module module;

    viewer_module_begin(&module, "kill SEGV => $$ if $_[0] =~ /000003/");
    viewer_pictures(viewer, N);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpuint(n_broken(viewer, N), ==, 1);
    ViewerTile *tile = viewer_grid_find_tile(viewer_window_get_grid(viewer->window), "000003.png");
    g_assert_cmpint(viewer_tile_get_state(tile), ==, VIEWER_TILE_BROKEN);
    g_test_message("%s", viewer_tile_get_reason(tile));
    viewer_module_end(&module);
}

/* Bytes; 0: there is no such process any more. */
static gint64 resident(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm", pid);
    g_autofree char *text = NULL;
    long long all = 0, pages = 0;

    if (g_file_get_contents(path, &text, NULL, NULL))
        sscanf(text, "%lld %lld", &all, &pages);
    return pages * sysconf(_SC_PAGESIZE);
}

/* A decoder that leaks: workers are replaced before it matters, and nothing else is noticed of it. */
static void test_leaking(struct viewer *viewer)
{
    enum { N = 1100 };
    struct viewer_module module;

    g_setenv("AFORK_CPUS", "1", TRUE);
    viewer_module_begin(&module, "our @kept; push @kept, 'x' x 100_000");
    viewer_pictures(viewer, N);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    gint64 before = resident(getpid());
    viewer_act(viewer, "make-all");
    ViewerBatch *batch = viewer_window_get_batch(viewer->window);
    UNTIL(viewer_batch_get_done(batch) == N);
    g_test_message("the host grew by %d kB", (int)((resident(getpid()) - before) / 1000));
    if (!viewer_is_sanitized())
        g_assert_cmpint(resident(getpid()) - before, <, 20 * 1000 * 1000);
    g_assert_cmpuint(viewer_batch_get_failed(batch), ==, 0);
    g_autoptr(GAforkPoolStats) stats = viewer_stats(viewer);
    g_assert_cmpuint(stats->retired, ==, 2); /* after 500 calls each */
    g_assert_cmpuint(stats->crashed, ==, 0);
    viewer_module_end(&module);
}

/* Bytes of all workers of the pool that makes thumbnails. */
static gint64 resident_workers(struct viewer *viewer)
{
    GListModel *all = gafork_pool_get_workers(viewer_workers_get_pool(workers(viewer)));
    gint64 sum = 0;

    for (guint i = 0; i < g_list_model_get_n_items(all); i++) {
        g_autoptr(GAforkWorker) worker = g_list_model_get_item(all, i);
        sum += resident(gafork_worker_get_pid(worker));
    }
    return sum;
}

/* Each call leaks 1 MB, and a worker is retired after 100: their memory is bounded, all in all.
 * $VIEWER_TEST_CALLS says how many calls. */
static void test_retired(struct viewer *viewer)
{
    enum { MB = 1000 * 1000, RETIRE = 100, CPUS = 2, BASE = 80 };
    const char *given = g_getenv("VIEWER_TEST_CALLS");
    guint n = given ? (guint)atoi(given) : 800;
    struct viewer_module module;
    gint64 most = 0, host = 0;

    g_setenv("AFORK_CPUS", "2", TRUE);
    viewer_module_begin(&module, "our @kept; push @kept, 'x' x 1_000_000");
    viewer_workers_set_limits(workers(viewer), 256, RETIRE);
    viewer_pictures(viewer, n);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    gint64 before = resident(getpid());
    viewer_act(viewer, "make-all");
    ViewerBatch *batch = viewer_window_get_batch(viewer->window);
    while (viewer_batch_get_done(batch) < n) {
        guint done = viewer_batch_get_done(batch);
        UNTIL(viewer_batch_get_done(batch) > done); /* there is a deadline for each */
        most = MAX(most, resident_workers(viewer));
        host = MAX(host, resident(getpid()) - before);
    }
    g_test_message("workers had at most %d MB, the host grew by at most %d kB", (int)(most / MB),
                   (int)(host / 1000));
    g_assert_cmpuint(viewer_batch_get_failed(batch), ==, 0);
    if (!viewer_is_sanitized()) {
        g_assert_cmpint(most, <, (gint64)CPUS * (RETIRE + BASE) * MB);
        g_assert_cmpint(host, <, 20 * MB);
    }
    g_autoptr(GAforkPoolStats) stats = viewer_stats(viewer);
    g_assert_cmpuint(stats->retired, >=, n / RETIRE - CPUS);
    g_assert_cmpuint(stats->crashed, ==, 0);
    viewer_module_end(&module);
}

/* One that takes more memory than there is for it, and a small file of a huge picture. */
static void test_greedy(struct viewer *viewer)
{
    enum { N = 10 };
    struct viewer_module module;
    const char huge[] = "P6 60000 60000 255\n";

    if (viewer_is_sanitized()) {
        g_test_skip("memory is not limited under sanitizers");
        return;
    }
    viewer_module_begin(&module, "if ($_[0] =~ /000003/) { my $n = 2e9; my $much = 'x' x $n }");
    viewer_workers_set_limits(workers(viewer), 256, 500);
    viewer_pictures(viewer, N);
    viewer_file(viewer, "huge.ppm", huge);
    gint64 before = resident(getpid());
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpint(resident(getpid()) - before, <, 50 * 1000 * 1000);
    g_assert_cmpuint(n_broken(viewer, N), ==, 1);
    g_assert_cmpint(viewer_state(viewer, "000003.png"), ==, VIEWER_TILE_BROKEN);
    g_assert_cmpint(viewer_state(viewer, "huge.ppm"), ==, VIEWER_TILE_BROKEN);
    ViewerTile *tile = viewer_grid_find_tile(viewer_window_get_grid(viewer->window), "huge.ppm");
    g_test_message("%s", viewer_tile_get_reason(tile));
    g_assert_nonnull(strstr(viewer_tile_get_reason(tile), "too many"));
    viewer_module_end(&module);
}

/* --- Workers that cannot start --- */

/* Waits until the notice is to be seen, which tells why in words. */
static const char *notice(struct viewer *viewer)
{
    UNTIL(viewer_window_get_notice(viewer->window));
    const char *text = viewer_window_get_notice(viewer->window);
    g_test_message("%s", text);
    g_assert_true(g_str_has_prefix(text, "Pictures cannot be decoded: "));
    g_assert_true(g_utf8_validate(text, -1, NULL));
    g_assert_null(strstr(text, "nobody knows"));
    g_autofree char *copy = g_strdup(text);
    UNTIL(viewer_shows(viewer, copy));
    return viewer_window_get_notice(viewer->window);
}

static GtkWidget *find_button(GtkWidget *widget, const char *action)
{
    GtkWidget *found = NULL;

    if (GTK_IS_BUTTON(widget) && gtk_widget_get_mapped(widget) &&
        g_strcmp0(gtk_actionable_get_action_name(GTK_ACTIONABLE(widget)), action) == 0)
        return widget;
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child && !found;
         child = gtk_widget_get_next_sibling(child))
        found = find_button(child, action);
    return found;
}

/* Presses the button that is next to the notice. */
static void try_again(struct viewer *viewer)
{
    GtkWidget *button = find_button(GTK_WIDGET(viewer->window), "win.retry");

    g_assert_nonnull(button);
    g_assert_true(gtk_widget_activate(button));
    UNTIL(!viewer_window_get_notice(viewer->window));
}

/* Without the module nothing is lost, nothing spins, and it can be tried again. */
static void test_no_module(struct viewer *viewer)
{
    g_autofree char *real = g_strdup(g_getenv("AFORK_THUMBNAILS_LIB"));

    g_setenv("AFORK_THUMBNAILS_LIB", "/nonexistent", TRUE);
    viewer_pictures(viewer, 50);
    viewer_open(viewer);
    g_assert_nonnull(strstr(notice(viewer), "AFork/Thumbnail.pm"));
    g_assert_cmpuint(n_broken(viewer, 50), ==, 0);
    viewer_settle(300);
    gint64 before = cpu();
    viewer_settle(1000);
    g_assert_cmpint(cpu() - before, <, G_USEC_PER_SEC / 4);

    g_setenv("AFORK_THUMBNAILS_LIB", real, TRUE);
    try_again(viewer);
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
    g_assert_nonnull(strstr(notice(viewer), "/nonexistent/perl"));
    g_setenv("AFORK_PERL", real, TRUE);
    try_again(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpuint(n_broken(viewer, 5), ==, 0);
    g_assert_cmpint(viewer_state(viewer, "000001.png"), ==, VIEWER_TILE_SHOWN);
}

static int parent_of(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    const char *line = strstr(text, "\nPPid:");
    g_assert_nonnull(line);
    return atoi(line + strlen("\nPPid:"));
}

static int any_worker(struct viewer *viewer)
{
    GListModel *all = gafork_pool_get_workers(viewer_workers_get_pool(workers(viewer)));
    g_autoptr(GAforkWorker) worker = g_list_model_get_item(all, 0);

    g_assert_nonnull(worker);
    return gafork_worker_get_pid(worker);
}

/* The pool's template, whose children workers are, and the server it comes from, or one of them. */
static void end_templates(struct viewer *viewer, gboolean own, gboolean server)
{
    viewer_pictures(viewer, 3);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    int template = parent_of(any_worker(viewer)), outer = parent_of(template);
    g_assert_cmpint(template, !=, getpid());
    g_assert_cmpint(outer, !=, getpid());
    g_assert_cmpint(parent_of(outer), ==, getpid());
    if (server)
        g_assert_cmpint(kill(outer, SIGKILL), ==, 0);
    if (own)
        g_assert_cmpint(kill(template, SIGKILL), ==, 0);
    viewer_picture(viewer, "a.png", 40, 30, 0);
    UNTIL(viewer_n_items(viewer) == 4);
    UNTIL(viewer_window_get_notice(viewer->window) ||
          (viewer_is_complete(viewer) && viewer_state(viewer, "a.png") == VIEWER_TILE_SHOWN));
    if (viewer_window_get_notice(viewer->window)) {
        notice(viewer);
        try_again(viewer);
    }
    UNTIL(viewer_is_complete(viewer) && viewer_state(viewer, "a.png") == VIEWER_TILE_SHOWN);
    g_assert_cmpuint(n_broken(viewer, 3), ==, 0);
    viewer_picture(viewer, "b.png", 40, 30, 0);
    UNTIL(viewer_n_items(viewer) == 5 && viewer_is_complete(viewer));
    g_assert_cmpint(viewer_state(viewer, "b.png"), ==, VIEWER_TILE_SHOWN);
    viewer_view(viewer, 0);
    UNTIL(viewer_page_get_texture(viewer_window_get_page(viewer->window)));
    g_assert_null(viewer_window_get_notice(viewer->window));
}

static void test_template(struct viewer *viewer)
{
    end_templates(viewer, TRUE, FALSE);
}

static void test_server(struct viewer *viewer)
{
    end_templates(viewer, FALSE, TRUE);
}

static void test_both(struct viewer *viewer)
{
    end_templates(viewer, TRUE, TRUE);
}

/* --- The queue --- */

/* One worker is SENT so many calls: the one it has, and the next, which it begins without a pause. */
enum { CALLS = 5000, KEPT = 20, URGENT = 20, SENT = 2 };

static guint n_done, n_cancelled; /* of the calls below */

static void on_made(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpuint(++*(guint *)data, ==, 1); /* there is one completion */
    n_done++;
    if (!viewer_thumbnailer_make_finish(VIEWER_THUMBNAILER(source), result, &error)) {
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        n_cancelled++;
    }
}

static void on_got(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;
    GdkTexture *texture = viewer_thumbnailer_get_finish(VIEWER_THUMBNAILER(source), result, &error);

    g_assert_no_error(error);
    g_object_unref(texture);
    ++*(guint *)data;
}

static void make_queue(struct viewer *viewer, GCancellable **cancellables, guint *completions)
{
    for (guint i = 0; i < CALLS; i++) {
        g_autofree char *name = g_strdup_printf("%06u.png", i);
        g_autoptr(ViewerEntry) entry = viewer_entry_new(viewer->folder, name);
        cancellables[i] = g_cancellable_new();
        viewer_thumbnailer_make_async(viewer->thumbnailer, entry, cancellables[i], on_made,
                                      &completions[i]);
    }
}

/* Most of a queue is dropped, from its end, and some are urgent: these come next. */
static void test_queue(struct viewer *viewer)
{
    struct viewer_module module;
    struct viewer_module_call call;
    GCancellable *cancellables[CALLS];
    guint completions[CALLS] = {0}, got = 0;

    n_done = n_cancelled = 0;
    g_setenv("AFORK_CPUS", "1", TRUE);
    viewer_module_begin(&module, "gate()");
    viewer_pictures(viewer, CALLS);
    make_queue(viewer, cancellables, completions);
    UNTIL(viewer_module_call(&module, 0, &call) && viewer_n_queued(viewer) == CALLS - SENT);
    gint64 begun = viewer_clock_now();
    for (guint i = CALLS; i-- > KEPT;)
        g_cancellable_cancel(cancellables[i]);
    gint64 taken = viewer_clock_now() - begun;
    g_test_message("%u calls are dropped in %d ms", CALLS - KEPT, (int)(taken / 1000));
    g_assert_cmpint(taken, <, viewer_patience(200) * 1000);
    UNTIL(n_cancelled == CALLS - KEPT);
    guint left = viewer_n_queued(viewer);
    g_assert_cmpuint(left, >=,
                     KEPT - SENT); /* which were sent first need not have been asked for first */
    g_assert_cmpuint(left, <=, KEPT);

    for (guint i = 0; i < URGENT; i++) {
        g_autofree char *name = g_strdup_printf("urgent%02u.png", i);
        viewer_picture(viewer, name, 40, 30, i);
        g_autoptr(ViewerEntry) entry = viewer_entry_new(viewer->folder, name);
        g_autoptr(GAforkCallOptions) options = gafork_call_options_new();
        viewer_thumbnailer_get_async(viewer->thumbnailer, entry, 168, options, NULL, on_got, &got);
    }
    UNTIL(viewer_n_queued(viewer) == left + URGENT);
    viewer_module_release(&module);
    UNTIL(got == URGENT && n_done == CALLS);
    for (guint i = SENT; i < SENT + URGENT; i++) {
        g_assert_true(viewer_module_call(&module, i, &call));
        g_assert_nonnull(strstr(call.path, "/urgent"));
    }
    g_assert_cmpuint(n_cancelled, ==, CALLS - KEPT);
    for (guint i = 0; i < CALLS; i++)
        g_object_unref(cancellables[i]);
    viewer_module_end(&module);
}

/* --- The end --- */

/* A folder that is left takes its calls with it, and the rest goes on. */
static void test_left(struct viewer *viewer)
{
    viewer_pictures(viewer, 3000);
    viewer_open(viewer);
    viewer_act(viewer, "make-all");
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
    g_autofree char *shown = g_strconcat("Thumbnails are not kept: ", message, NULL);
    UNTIL(viewer_shows(viewer, shown));
    viewer_view(viewer, 0);
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
    viewer_test_add("/viewer/workers/server", test_server);
    viewer_test_add("/viewer/workers/template-and-server", test_both);
    viewer_test_add("/viewer/workers/four-bad", test_four_bad);
    viewer_test_add("/viewer/workers/deadly", test_deadly);
    viewer_test_add("/viewer/workers/greedy", test_greedy);
    viewer_test_add("/viewer/workers/leaking", test_leaking);
    viewer_test_add("/viewer/workers/retired", test_retired);
    viewer_test_add("/viewer/workers/no-module", test_no_module);
    viewer_test_add("/viewer/workers/no-perl", test_no_perl);
    viewer_test_add("/viewer/workers/queue", test_queue);
    viewer_test_add("/viewer/workers/left", test_left);
    return g_test_run();
}
