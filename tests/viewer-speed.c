/* SPDX-License-Identifier: MIT
 *
 * afork-viewer: what a user would feel. Figures are of viewer_clock_now().
 */
#include "viewer-lib.h"

/* --- A large folder --- */

enum { LARGE = 100000 };

static guint painted; /* frames with pictures in them */

static void on_after_paint(GdkFrameClock *clock, struct viewer *viewer)
{
    guint in_view, missing;

    viewer_grid_count(viewer_window_get_grid(viewer->window), &in_view, &missing);
    painted += in_view > 0;
}

static double first_screen(struct viewer *viewer)
{
    g_autoptr(GFile) file = g_file_new_for_path(viewer->folder);
    GdkFrameClock *frames = gtk_widget_get_frame_clock(GTK_WIDGET(viewer->window));
    gulong handler = g_signal_connect(frames, "after-paint", G_CALLBACK(on_after_paint), viewer);

    gint64 begun = viewer_clock_now();
    viewer_window_open(viewer->window, file);
    painted = 0;
    UNTIL(painted);
    gint64 seen = viewer_clock_now();
    UNTIL(viewer_is_complete(viewer) && viewer_is_read(viewer));
    g_signal_handler_disconnect(frames, handler);
    g_assert_cmpuint(viewer_n_items(viewer), ==, LARGE);
    g_assert_true(viewer_grid_is_at_top(viewer_window_get_grid(viewer->window)));
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpint(viewer_state(viewer, "000000.png"), ==, VIEWER_TILE_SHOWN);
    return (double)(seen - begun) / 1e3;
}

static struct {
    GtkAdjustment *adjustment;
    guint frames;
} scrolling;

enum { STEPS = 60, JUMPS = 20, PIXELS = 40 };

/* As a wheel or a touchpad does it: some pixels in each frame; then by the scroll bar, to anywhere. */
static gboolean on_frame(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    double upper = gtk_adjustment_get_upper(scrolling.adjustment);
    double value = gtk_adjustment_get_value(scrolling.adjustment);

    if (scrolling.frames++ >= STEPS)
        value = g_test_rand_double_range(0, upper);
    gtk_adjustment_set_value(scrolling.adjustment, value + PIXELS);
    return G_SOURCE_CONTINUE;
}

static double scroll(struct viewer *viewer)
{
    GtkWidget *scrolled = viewer_find(GTK_WIDGET(viewer_window_get_grid(viewer->window)),
                                      GTK_TYPE_SCROLLED_WINDOW);

    viewer_grid_reveal(viewer_window_get_grid(viewer->window), 0);
    UNTIL(viewer_is_complete(viewer));
    scrolling.adjustment = gtk_scrolled_window_get_vadjustment(GTK_SCROLLED_WINDOW(scrolled));
    scrolling.frames = 0;
    viewer_stalls_begin();
    guint callback = gtk_widget_add_tick_callback(scrolled, on_frame, NULL, NULL);
    UNTIL(scrolling.frames >= STEPS + JUMPS);
    gtk_widget_remove_tick_callback(scrolled, callback);
    UNTIL(viewer_is_complete(viewer));
    return viewer_stalls_end().longest_own;
}

static void test_large(struct viewer *viewer)
{
    viewer_pictures(viewer, LARGE);
    viewer_check_time(viewer, "first screen of 100,000 files", 1000, first_screen);
    viewer_check_time(viewer, "longest stall while they are scrolled", 16, scroll);
}

/* --- Thumbnails --- */

enum { MANY = 500, REVEAL = 100 };

/* A row further, ten times a second. */
static gboolean on_reveal(gpointer data)
{
    static guint position;

    position = (position + 5) % MANY;
    viewer_grid_reveal(viewer_window_get_grid(((struct viewer *)data)->window), position);
    return G_SOURCE_CONTINUE;
}

static double make_many(struct viewer *viewer)
{
    viewer_empty_cache();
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    guint timer = g_timeout_add(REVEAL, on_reveal, viewer);
    viewer_stalls_begin();
    viewer_act(viewer, "make-all");
    ViewerBatch *batch = viewer_window_get_batch(viewer->window);
    UNTIL(viewer_batch_get_done(batch) == MANY);
    struct viewer_stalls stalls = viewer_stalls_end();
    g_source_remove(timer);
    g_assert_cmpuint(viewer_batch_get_failed(batch), ==, 0);
    g_assert_cmpuint(viewer_n_cached(), ==, MANY);
    return stalls.longest_own;
}

static void test_make(struct viewer *viewer)
{
    viewer_pictures(viewer, MANY);
    viewer_check_time(viewer, "longest stall while thumbnails are made", 16, make_many);
}

/* --- The end --- */

/* Closing does not wait, however much there is to do. */
static double close_window(struct viewer *viewer)
{
    enum { QUEUED = 5000 };

    if (!viewer->window)
        viewer_reopen(viewer);
    viewer_empty_cache();
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    viewer_act(viewer, "make-all");
    UNTIL(viewer_n_queued(viewer) > QUEUED - 100);
    guint queued = viewer_n_queued(viewer);
    double taken = (double)viewer_close(viewer) / 1e3;
    g_test_message("with %u calls queued", queued);
    return taken;
}

static void test_close(struct viewer *viewer)
{
    viewer_pictures(viewer, 7000);
    viewer_check_time(viewer, "closing", 200, close_window);
}

int main(int argc, char **argv)
{
    viewer_test_init(&argc, &argv);
    viewer_test_add("/viewer/speed/large", test_large);
    viewer_test_add("/viewer/speed/make", test_make);
    viewer_test_add("/viewer/speed/close", test_close);
    return g_test_run();
}
