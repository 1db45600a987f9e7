/* SPDX-License-Identifier: MIT
 *
 * afork-viewer, measured from inside, with whatever workers it is linked with:
 *
 * bench-viewer stall MEGABYTES N: makes the thumbnails of N pictures in a host that holds so much,
 *     while it is scrolled, and prints stalls and by how much the host's memory has grown: ms, MB.
 * bench-viewer first N: opens a folder of N files, and prints when the first of them are on the screen,
 *     when all are read, when all in view have thumbnails, and the stalls until then: ms.
 * bench-viewer scroll N: scrolls a folder of N files, by a little in each frame and then to anywhere in
 *     it, and prints the stalls: ms.
 * bench-viewer close N: closes the window with N calls queued, and prints how long that took: ms.
 *
 * Stalls are four numbers: the longest time that the main loop did not turn, and the 99th percentile
 * of such times; the longest without the time that the main thread was ready, and others had the
 * processors; and the longest processor time of the main thread from one turn to the next. On a machine
 * that has nothing else to do, the first is what a user sees; on a busy one the third is what the
 * viewer and the display answer for, and the fourth is its own work.
 *
 * It takes a display, and $XDG_CACHE_HOME for itself.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "viewer-application.h"
#include "viewer-clock.h"
#include "viewer-window.h"

enum { WIDTH = 640, HEIGHT = 480, KINDS = 8, REVEAL = 250, STEPS = 300, JUMPS = 60, PIXELS = 40 };

static ViewerThumbnailer *thumbnailer;
static ViewerWindow *window;
static char *folder;

/* --- The folder --- */

/* A picture that is neither empty nor noise. */
static GdkPixbuf *paint(int kind)
{
    GdkPixbuf *pixbuf = gdk_pixbuf_new(GDK_COLORSPACE_RGB, FALSE, 8, WIDTH, HEIGHT);
    int stride = gdk_pixbuf_get_rowstride(pixbuf);
    guchar *pixels = gdk_pixbuf_get_pixels(pixbuf);

    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            guchar *pixel = pixels + y * stride + 3 * x;
            pixel[0] = (guchar)(x / 4 + 30 * kind);
            pixel[1] = (guchar)(y / 3);
            pixel[2] = (guchar)(((x * x + y * y) >> 10) + rand() % 8);
        }
    return pixbuf;
}

static char *name_of(size_t i)
{
    return g_strdup_printf("%s/%06zu.jpg", folder, i);
}

static void make_pictures(size_t n)
{
    folder = g_build_filename(g_get_user_cache_dir(), "pictures", NULL);
    g_mkdir_with_parents(folder, 0700);
    for (size_t i = 0; i < n; i++) {
        g_autofree char *name = name_of(i);
        g_autofree char *model = name_of(i % KINDS);
        g_autoptr(GdkPixbuf) pixbuf = i < KINDS ? paint((int)i) : NULL;
        g_autoptr(GError) error = NULL;
        if (pixbuf ? !gdk_pixbuf_save(pixbuf, name, "jpeg", &error, NULL) : link(model, name) < 0)
            bench_fail(name, errno);
    }
}

/* --- The loop --- */

#define UNTIL(condition)                                                                           \
    while (!(condition))                                                                           \
    g_main_context_iteration(NULL, TRUE)

static gboolean on_keep_turning(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

static gboolean is_read(void)
{
    ViewerFolder *model = viewer_window_get_folder(window);

    return model && !viewer_folder_get_loading(model);
}

static void open_window(void)
{
    g_autoptr(GFile) file = g_file_new_for_path(folder);

    viewer_window_open(window, file);
}

static gboolean is_complete(void)
{
    const char *message = viewer_workers_get_message(viewer_thumbnailer_get_workers(thumbnailer));
    guint in_view, missing;

    if (message)
        bench_fail(message, 0);
    viewer_grid_count(viewer_window_get_grid(window), &in_view, &missing);
    return in_view && !missing;
}

static void start(void)
{
    g_type_class_ref(VIEWER_TYPE_APPLICATION);
    thumbnailer = viewer_thumbnailer_new();
    window = VIEWER_WINDOW(viewer_window_new(NULL, thumbnailer));
    gtk_window_present(GTK_WINDOW(window));
    g_timeout_add(5, on_keep_turning, NULL);
    UNTIL(gtk_widget_get_mapped(GTK_WIDGET(window)));
}

static void stalls_print(const char *behind)
{
    struct viewer_stalls stalls = viewer_stalls_end();

    printf("%.2f %.2f %.2f %.2f%s", stalls.longest, stalls.percentile, stalls.longest_own,
           stalls.longest_cpu, behind);
}

/* --- Thumbnails --- */

/* A row of pictures further, four times a second. */
static gboolean on_reveal(gpointer data)
{
    static size_t position;

    position = (position + 5) % *(size_t *)data;
    viewer_grid_reveal(viewer_window_get_grid(window), (guint)position);
    return G_SOURCE_CONTINUE;
}

static double memory(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        bench_fail("/proc/self/statm", errno);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static void stall(size_t megabytes, size_t n)
{
    make_pictures(n);
    bench_hold(megabytes);
    start();
    open_window();
    UNTIL(is_read() && is_complete());
    double before = memory();
    viewer_stalls_begin();
    g_timeout_add(REVEAL, on_reveal, &n);
    g_action_group_activate_action(G_ACTION_GROUP(window), "make-all", NULL);
    ViewerBatch *batch = viewer_window_get_batch(window);
    UNTIL(viewer_batch_get_done(batch) == n);
    if (viewer_batch_get_failed(batch))
        bench_fail("some thumbnails failed", 0);
    stalls_print(" ");
    printf("%.2f\n", memory() - before);
}

/* --- The rest --- */

static guint frames;

static void on_after_paint(GdkFrameClock *clock, gpointer data)
{
    guint in_view, missing;

    viewer_grid_count(viewer_window_get_grid(window), &in_view, &missing);
    if (in_view)
        frames++;
}

static void first(size_t n)
{
    make_pictures(n);
    start();
    g_signal_connect(gtk_widget_get_frame_clock(GTK_WIDGET(window)), "after-paint",
                     G_CALLBACK(on_after_paint), NULL);
    viewer_stalls_begin();
    double begun = bench_now();
    open_window();
    UNTIL(frames);
    double seen = bench_now();
    UNTIL(is_read());
    double read = bench_now();
    UNTIL(is_complete());
    printf("%.2f %.2f %.2f ", (seen - begun) / 1e3, (read - begun) / 1e3,
           (bench_now() - begun) / 1e3);
    stalls_print("\n");
}

/* --- Scrolling --- */

static struct {
    GtkAdjustment *adjustment;
    guint frames;
} scrolling;

/* As a wheel or a touchpad does it: some pixels in each frame; then by the scroll bar. */
static gboolean on_frame(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    double upper = gtk_adjustment_get_upper(scrolling.adjustment);
    double value = gtk_adjustment_get_value(scrolling.adjustment);

    if (scrolling.frames++ >= STEPS)
        value = upper * rand() / RAND_MAX;
    gtk_adjustment_set_value(scrolling.adjustment, value + PIXELS);
    return G_SOURCE_CONTINUE;
}

static void scroll(size_t n)
{
    make_pictures(n);
    start();
    open_window();
    UNTIL(is_read() && is_complete());
    GtkWidget *scrolled = gtk_widget_get_first_child(GTK_WIDGET(viewer_window_get_grid(window)));
    scrolling.adjustment = gtk_scrolled_window_get_vadjustment(GTK_SCROLLED_WINDOW(scrolled));
    viewer_stalls_begin();
    gtk_widget_add_tick_callback(scrolled, on_frame, NULL, NULL);
    UNTIL(scrolling.frames == STEPS + JUMPS);
    stalls_print("\n");
}

/* --- The end --- */

static size_t n_queued(void)
{
    GAforkPool *pool = viewer_workers_get_pool(viewer_thumbnailer_get_workers(thumbnailer));
    g_autoptr(GAforkPoolStats) stats = pool ? gafork_pool_get_stats(pool, NULL) : NULL;

    return stats ? stats->queued : 0;
}

static void close_with(size_t n)
{
    make_pictures(n + n / 5 + 20);
    start();
    open_window();
    UNTIL(is_complete());
    if (n)
        g_action_group_activate_action(G_ACTION_GROUP(window), "make-all", NULL);
    UNTIL(n_queued() >= n * 95 / 100);
    double begun = bench_now();
    gtk_window_destroy(GTK_WINDOW(window));
    viewer_workers_close(viewer_thumbnailer_get_workers(thumbnailer));
    printf("%.2f\n", (bench_now() - begun) / 1e3);
}

int main(int argc, char **argv)
{
    viewer_stand_in();
    if (argc < 3 || !g_getenv("XDG_CACHE_HOME") || !gtk_init_check())
        bench_fail(
            "arguments: stall MEGABYTES N | first N | scroll N | close N, with a display and a "
            "cache",
            0);
    if (strcmp(argv[1], "stall") == 0 && argc == 4)
        stall(bench_number(argv[2]), bench_number(argv[3]));
    else if (strcmp(argv[1], "first") == 0)
        first(bench_number(argv[2]));
    else if (strcmp(argv[1], "scroll") == 0)
        scroll(bench_number(argv[2]));
    else
        close_with(bench_number(argv[2]));
    viewer_workers_close(viewer_thumbnailer_get_workers(thumbnailer));
    fflush(stdout);
    _exit(0);
}
