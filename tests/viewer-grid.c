/* SPDX-License-Identifier: MIT
 *
 * afork-viewer: a folder as a grid, a picture in full.
 */
#include <signal.h>

#include "viewer-lib.h"

/* --- The grid --- */

static void test_thumbnails(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 800, 600, 0xff0000);
    viewer_picture(viewer, "b.jpg", 300, 400, 0x0000ff);
    viewer_file(viewer, "c.txt", "no picture");
    viewer_picture(viewer, ".hidden.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    g_assert_cmpuint(viewer_n_items(viewer), ==, 2);
    UNTIL(viewer_is_complete(viewer));
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    ViewerTile *tile = viewer_grid_find_tile(grid, "a.png");
    GdkTexture *texture = viewer_entry_get_thumbnail(viewer_tile_get_entry(tile));
    g_assert_cmphex(viewer_colour(texture), ==, 0xff0000);
    /* As large as it is shown, and in the cache for such a screen. */
    int scale = gtk_widget_get_scale_factor(GTK_WIDGET(tile));
    g_assert_cmpint(gdk_texture_get_width(texture), ==, 168 * scale);
    g_assert_cmpuint(viewer_n_cached(), ==, 2);
    g_assert_cmpuint(viewer_n_mapped(), ==, 2); /* there is no copy */
}

/* What the cache has is not decoded again; what it has and cannot be read is. */
static void test_cached(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 400, 300, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpint(viewer_state(viewer, "a.png"), ==, VIEWER_TILE_SHOWN);
    g_assert_cmpuint(viewer_n_cached(), ==, 1);
}

static void test_broken(struct viewer *viewer)
{
    viewer_file(viewer, "broken.jpg", "\xff\xd8\xff\xe0 this is no picture");
    viewer_file(viewer, "empty.png", "");
    viewer_picture(viewer, "good.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    ViewerTile *tile = viewer_grid_find_tile(grid, "broken.jpg");
    g_assert_cmpint(viewer_tile_get_state(tile), ==, VIEWER_TILE_BROKEN);
    g_assert_nonnull(strstr(viewer_tile_get_reason(tile), "broken.jpg"));
    g_assert_nonnull(strstr(viewer_tile_get_reason(tile), "JPEG"));
    g_assert_cmpint(viewer_state(viewer, "empty.png"), ==, VIEWER_TILE_BROKEN);
    g_assert_cmpint(viewer_state(viewer, "good.png"), ==, VIEWER_TILE_SHOWN);

    viewer_open(viewer); /* it is remembered */
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpint(viewer_state(viewer, "broken.jpg"), ==, VIEWER_TILE_BROKEN);
    tile = viewer_grid_find_tile(grid, "broken.jpg");
    g_assert_nonnull(strstr(viewer_tile_get_reason(tile), "before"));
    g_assert_nonnull(strstr(viewer_tile_get_reason(tile), "JPEG"));
}

/* What is in view comes first, what has left it is dropped. */
static void test_visible_first(struct viewer *viewer)
{
    enum { N = 6000 }; /* of which 5,000 wait */
    viewer_pictures(viewer, N);
    viewer_open(viewer);
    viewer_act(viewer, "make-all");
    UNTIL(viewer_n_cached() >= 20 && viewer_n_queued(viewer) > 4900);

    viewer_grid_reveal(viewer_window_get_grid(viewer->window), N - 1);
    UNTIL(viewer_grid_find_tile(viewer_window_get_grid(viewer->window), "005999.png"));
    g_autoptr(GAforkPoolStats) before = viewer_stats(viewer);
    UNTIL(viewer_is_complete(viewer) && viewer_state(viewer, "005999.png") == VIEWER_TILE_SHOWN);
    g_autoptr(GAforkPoolStats) after = viewer_stats(viewer);
    guint in_view, missing;
    viewer_grid_count(viewer_window_get_grid(viewer->window), &in_view, &missing);
    /* Nothing else was done meanwhile than what the workers had, and what is near. */
    g_assert_cmpuint(after->completed - before->completed, <=, 3 * in_view + 20);
    g_assert_cmpuint(viewer_batch_get_done(viewer_window_get_batch(viewer->window)), <, N / 2);
}

static void test_dropped(struct viewer *viewer)
{
    enum { N = 400 };
    viewer_pictures_of(viewer, N, 2500, 2500); /* slow ones, or none would wait */
    viewer_open(viewer);
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    for (guint i = 0; i < N; i += 40) {
        viewer_grid_reveal(grid, i);
        viewer_settle(20);
    }
    viewer_grid_reveal(grid, N - 1);
    UNTIL(viewer_grid_find_tile(grid, "000399.png") &&
          viewer_state(viewer, "000399.png") == VIEWER_TILE_SHOWN && viewer_is_complete(viewer));
    g_autoptr(GAforkPoolStats) stats = viewer_stats(viewer);
    g_assert_cmpuint(stats->cancelled, >, 0);
    g_assert_cmpuint(stats->completed, <, N / 2);
}

static gboolean is_cached(struct viewer *viewer, const char *name)
{
    g_autofree char *path = viewer_cached_path(viewer, name);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* What a worker has begun it finishes for the cache, though nobody looks at it any more. */
static void test_finished(struct viewer *viewer)
{
    enum { N = 200 };
    struct viewer_module module;
    struct viewer_module_call call = {.path = ""};

    g_setenv("AFORK_CPUS", "2", TRUE);
    viewer_module_begin(&module, "gate() if $_[0] =~ /000000/");
    viewer_pictures(viewer, N);
    viewer_open(viewer);
    for (guint n = 0; !g_str_has_suffix(call.path, "000000.png"); n++)
        UNTIL(viewer_module_call(&module, n, &call));
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    viewer_grid_reveal(grid, N - 1);
    UNTIL(viewer_grid_find_tile(grid, "000199.png") && viewer_is_complete(viewer));
    ViewerTile *tile = viewer_grid_find_tile(grid, "000000.png");
    g_assert_true(!tile || !gtk_widget_get_mapped(GTK_WIDGET(tile)));
    g_autoptr(GAforkPoolStats) before = viewer_stats(viewer);
    g_assert_cmpuint(before->running, >, 0);
    g_assert_false(is_cached(viewer, "000000.png"));
    viewer_module_release(&module);
    UNTIL(is_cached(viewer, "000000.png") || kill(call.pid, 0) < 0);
    g_assert_true(is_cached(viewer, "000000.png"));
    g_assert_cmpint(kill(call.pid, 0), ==, 0);
    g_autoptr(GAforkPoolStats) after = viewer_stats(viewer);
    g_assert_cmpuint(after->crashed, ==, 0);
    viewer_module_end(&module);
}

/* Memory is that of what is in view. */
static void test_memory(struct viewer *viewer)
{
    enum { N = 1000 };
    guint most = 0, in_view, missing;

    viewer_pictures(viewer, N);
    viewer_open(viewer);
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    for (guint i = 0; i < N; i += 10) {
        viewer_grid_reveal(grid, i);
        viewer_settle(5);
        UNTIL(viewer_is_complete(viewer));
        most = MAX(most, viewer_n_mapped());
    }
    viewer_grid_count(grid, &in_view, &missing);
    g_assert_cmpuint(viewer_n_cached(), >, N / 2);
    g_assert_cmpuint(most, <=, 4 * in_view + 20);
}

/* As many tiles as GTK wants for the columns there are: more take time, and memory. */
static void test_tiles(struct viewer *viewer)
{
    enum { N = 500, ROWS = 30, SLACK = 2 };
    guint in_view, missing, tiles = 0;

    viewer_pictures(viewer, N);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    viewer_settle(100);
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    viewer_grid_count(grid, &in_view, &missing);
    g_assert_true(viewer_grid_is_at_top(grid));
    for (guint i = 0; i < N; i++) {
        g_autofree char *name = g_strdup_printf("%06u.png", i);
        tiles += viewer_grid_find_tile(grid, name) != NULL;
    }
    int columns = gtk_widget_get_width(GTK_WIDGET(grid)) / 168;
    g_test_message("%u tiles, %u in view, at most %d columns", tiles, in_view, columns);
    g_assert_cmpuint(tiles, <=, (guint)(columns + SLACK) * ROWS);
}

/* One is a worker, not workers. */
static void test_one_worker(struct viewer *viewer)
{
    g_setenv("AFORK_CPUS", "1", TRUE);
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_shows(viewer, "1 picture"));
    UNTIL(viewer_shows(viewer, "1 worker · idle"));
}

/* --- The status bar --- */

/* "2 workers · 18 in queue · 25/s", as the pool has it at this moment. */
static gboolean shows_activity(struct viewer *viewer, const char *rate)
{
    g_autoptr(GAforkPoolStats) stats = viewer_stats(viewer);
    g_autofree char *pattern = g_strdup_printf("2 workers · %u in queue · %s/s",
                                               (guint)stats->queued, rate);

    return viewer_shows_match(viewer, pattern);
}

/* How many workers there are, how many calls wait, and how many were done in a second. */
static void test_activity(struct viewer *viewer)
{
    enum { N = 60 };
    struct viewer_module module;

    g_setenv("AFORK_CPUS", "2", TRUE);
    viewer_module_begin(&module, "gate() if $_[0] =~ /0000[345]/");
    viewer_pictures(viewer, N);
    viewer_open(viewer);
    viewer_act(viewer, "make-all");
    UNTIL(viewer_n_queued(viewer) > 20 && shows_activity(viewer, "[1-9][0-9]*"));
    UNTIL(shows_activity(viewer, "0")); /* both wait */
    g_assert_cmpuint(viewer_n_queued(viewer), >, 20);
    viewer_module_release(&module);
    UNTIL(viewer_shows(viewer, "2 workers · idle"));
    g_assert_cmpuint(viewer_n_cached(), ==, N);
    viewer_module_end(&module);
}

/* --- A picture in full --- */

static gboolean makes_thumbnails(struct viewer *viewer, int pid)
{
    ViewerWorkers *workers = viewer_thumbnailer_get_workers(viewer->thumbnailer);
    GListModel *all = gafork_pool_get_workers(viewer_workers_get_pool(workers));

    for (guint i = 0; i < g_list_model_get_n_items(all); i++) {
        g_autoptr(GAforkWorker) worker = g_list_model_get_item(all, i);
        if (gafork_worker_get_pid(worker) == pid)
            return TRUE;
    }
    return FALSE;
}

/* A worker of its own, who is gone after the answer, and at once when nobody wants that any more. */
static void test_single(struct viewer *viewer)
{
    struct viewer_module module;
    struct viewer_module_call first, second, third;

    viewer_module_begin(&module, "gate() if $_[0] =~ /c.png/ && $_[1] > 1000");
    viewer_picture(viewer, "a.png", 400, 300, 0xff0000);
    viewer_picture(viewer, "b.png", 400, 300, 0xff0000);
    viewer_picture(viewer, "c.png", 400, 300, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    ViewerPage *page = viewer_window_get_page(viewer->window);
    guint n = 0;
    while (viewer_module_call(&module, n, &first))
        n++; /* those of thumbnails */
    viewer_view(viewer, 0);
    UNTIL(viewer_page_get_texture(page));
    g_assert_true(viewer_module_call(&module, n, &first));
    g_assert_cmpint(first.box, ==, VIEWER_SIDE_MAX);
    g_assert_false(makes_thumbnails(viewer, first.pid));
    UNTIL(kill(first.pid, 0) < 0);
    viewer_act(viewer, "next");
    UNTIL(viewer_page_get_texture(page));
    g_assert_true(viewer_module_call(&module, n + 1, &second));
    g_assert_cmpint(second.pid, !=, first.pid);
    UNTIL(kill(second.pid, 0) < 0);
    viewer_act(viewer, "next");
    UNTIL(viewer_module_call(&module, n + 2, &third));
    viewer_act(viewer, "previous");
    UNTIL(kill(third.pid, 0) < 0); /* it does not wait for the gate */
    UNTIL(viewer_page_get_texture(page));
    viewer_module_end(&module);
}

static void test_picture(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 1400, 1300, 0xff0000);
    viewer_file(viewer, "b.png", "no picture");
    viewer_picture(viewer, "c.jpg", 300, 200, 0x0000ff);
    viewer_open(viewer);
    ViewerPage *page = viewer_window_get_page(viewer->window);
    viewer_view(viewer, 0);
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmpstr(viewer_window_get_visible(viewer->window), ==, "picture");
    g_assert_cmpint(gdk_texture_get_width(viewer_page_get_texture(page)), ==, 1400);
    g_assert_cmphex(viewer_colour(viewer_page_get_texture(page)), ==, 0xff0000);
    viewer_act(viewer, "zoom-original");
    viewer_act(viewer, "zoom-in");
    viewer_act(viewer, "zoom-fit");
    viewer_act(viewer, "next");
    UNTIL(viewer_page_get_reason(page));
    viewer_act(viewer, "next");
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmpint(gdk_texture_get_height(viewer_page_get_texture(page)), ==, 200);
    GActionGroup *actions = G_ACTION_GROUP(viewer->window);
    g_assert_false(g_action_group_get_action_enabled(actions, "next")); /* there is none */
    g_assert_true(g_action_group_get_action_enabled(actions, "previous"));
    viewer_act(viewer, "next");
    g_assert_cmpint(gdk_texture_get_height(viewer_page_get_texture(page)), ==, 200);
    viewer_act(viewer, "back");
    g_assert_cmpstr(viewer_window_get_visible(viewer->window), ==, "grid");
    g_assert_null(viewer_page_get_texture(page));
}

static double middle(GtkAdjustment *adjustment)
{
    return (gtk_adjustment_get_value(adjustment) + gtk_adjustment_get_page_size(adjustment) / 2) /
           gtk_adjustment_get_upper(adjustment);
}

/* What is in the middle stays there. */
static void test_zoom(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 1400, 1300, 0xff0000);
    viewer_open(viewer);
    ViewerPage *page = viewer_window_get_page(viewer->window);
    viewer_view(viewer, 0);
    UNTIL(viewer_page_get_texture(page));
    GtkWidget *scrolled = viewer_find(GTK_WIDGET(page), GTK_TYPE_SCROLLED_WINDOW);
    GtkAdjustment *x = gtk_scrolled_window_get_hadjustment(GTK_SCROLLED_WINDOW(scrolled));
    GtkAdjustment *y = gtk_scrolled_window_get_vadjustment(GTK_SCROLLED_WINDOW(scrolled));
    viewer_act(viewer, "zoom-original");
    UNTIL(gtk_adjustment_get_upper(x) == 1400 && gtk_adjustment_get_upper(y) == 1300);
    g_assert_cmpfloat_with_epsilon(middle(x), 0.5, 0.01);
    g_assert_cmpfloat_with_epsilon(middle(y), 0.5, 0.01);
    gtk_adjustment_set_value(y, 300);
    double there = middle(y);
    for (int i = 0; i < 3; i++)
        viewer_act(viewer, "zoom-in");
    viewer_settle(100); /* the layout has the last word */
    g_assert_cmpfloat(gtk_adjustment_get_upper(y), >, 2500);
    g_assert_cmpfloat_with_epsilon(middle(x), 0.5, 0.01);
    g_assert_cmpfloat_with_epsilon(middle(y), there, 0.01);
    viewer_act(viewer, "zoom-fit");
    UNTIL(gtk_adjustment_get_upper(y) <= gtk_adjustment_get_page_size(y));
}

/* A picture is selected until another is, also when the folder is read again. */
static void test_selected(struct viewer *viewer)
{
    viewer_pictures(viewer, 5);
    viewer_open(viewer);
    GtkWidget *view = viewer_find(GTK_WIDGET(viewer_window_get_grid(viewer->window)),
                                  GTK_TYPE_GRID_VIEW);
    GtkSelectionModel *model = gtk_grid_view_get_model(GTK_GRID_VIEW(view));
    g_assert_true(gtk_selection_model_is_selected(model, 0));
    viewer_view(viewer, 3);
    viewer_act(viewer, "back");
    viewer_picture(viewer, "000001a.png", 40, 30, 0); /* comes before it */
    viewer_act(viewer, "reload");
    UNTIL(viewer_is_read(viewer) && viewer_n_items(viewer) == 6);
    g_assert_true(gtk_selection_model_is_selected(model, 4));
    UNTIL(viewer_is_complete(viewer));
}

/* Who goes on with the keys before the list is drawn again is not called back to the picture. */
static void test_quick(struct viewer *viewer)
{
    viewer_pictures(viewer, 5);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    GtkWidget *view = viewer_find(GTK_WIDGET(grid), GTK_TYPE_GRID_VIEW);
    viewer_view(viewer, 0);
    UNTIL(viewer_page_get_texture(viewer_window_get_page(viewer->window)));
    viewer_act(viewer, "back");
    GtkWidget *next = gtk_widget_get_parent(GTK_WIDGET(viewer_grid_find_tile(grid, "000001.png")));
    g_assert_true(gtk_widget_grab_focus(next));
    gtk_selection_model_select_item(gtk_grid_view_get_model(GTK_GRID_VIEW(view)), 1, TRUE);
    viewer_settle(100);
    g_assert_true(gtk_window_get_focus(GTK_WINDOW(viewer->window)) == next);
}

/* Someone who holds the key down does not have every picture decoded. */
static void test_hurry(struct viewer *viewer)
{
    for (guint i = 0; i < 30; i++) {
        g_autofree char *name = g_strdup_printf("%02u.png", i);
        viewer_picture(viewer, name, 600, 600, i);
    }
    viewer_open(viewer);
    ViewerPage *page = viewer_window_get_page(viewer->window);
    viewer_view(viewer, 0);
    for (guint i = 1; i < 30; i++) {
        viewer_act(viewer, "next");
        viewer_turn();
    }
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmphex(viewer_colour(viewer_page_get_texture(page)), ==, 29);
}

/* A picture that is named is shown, in its folder. */
static void test_open_picture(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    viewer_picture(viewer, "b.png", 50, 30, 0x00ff00);
    g_autofree char *path = viewer_path(viewer, "b.png");
    g_autoptr(GFile) file = g_file_new_for_path(path);
    viewer_window_open(viewer->window, file);
    ViewerPage *page = viewer_window_get_page(viewer->window);
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmpint(gdk_texture_get_width(viewer_page_get_texture(page)), ==, 50);
    viewer_act(viewer, "previous");
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmpint(gdk_texture_get_width(viewer_page_get_texture(page)), ==, 40);
}

/* The last that was opened is shown, whatever is known first; and none if the window is closed. */
static void test_opened_twice(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    viewer_picture(viewer, "b.png", 50, 30, 0x00ff00);
    g_autoptr(GFile) folder = g_file_new_for_path(viewer->folder);
    g_autoptr(GFile) a = g_file_get_child(folder, "a.png"), b = g_file_get_child(folder, "b.png");
    ViewerPage *page = viewer_window_get_page(viewer->window);
    viewer_window_open(viewer->window, folder);
    viewer_window_open(viewer->window, a);
    viewer_window_open(viewer->window, b);
    g_assert_null(viewer_window_get_folder(viewer->window));
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmpint(gdk_texture_get_width(viewer_page_get_texture(page)), ==, 50);
    viewer_window_open(viewer->window, a);
    viewer_close(viewer);
    viewer_settle(100);
}

int main(int argc, char **argv)
{
    viewer_test_init(&argc, &argv);
    viewer_test_add("/viewer/grid/thumbnails", test_thumbnails);
    viewer_test_add("/viewer/grid/cached", test_cached);
    viewer_test_add("/viewer/grid/broken", test_broken);
    viewer_test_add("/viewer/grid/visible-first", test_visible_first);
    viewer_test_add("/viewer/grid/dropped", test_dropped);
    viewer_test_add("/viewer/grid/finished", test_finished);
    viewer_test_add("/viewer/grid/memory", test_memory);
    viewer_test_add("/viewer/grid/tiles", test_tiles);
    viewer_test_add("/viewer/grid/one-worker", test_one_worker);
    viewer_test_add("/viewer/grid/activity", test_activity);
    viewer_test_add("/viewer/picture/single", test_single);
    viewer_test_add("/viewer/picture/shown", test_picture);
    viewer_test_add("/viewer/picture/zoom", test_zoom);
    viewer_test_add("/viewer/picture/selected", test_selected);
    viewer_test_add("/viewer/grid/quick", test_quick);
    viewer_test_add("/viewer/picture/hurry", test_hurry);
    viewer_test_add("/viewer/picture/opened", test_open_picture);
    viewer_test_add("/viewer/picture/opened-twice", test_opened_twice);
    return g_test_run();
}
