/* SPDX-License-Identifier: MIT
 *
 * afork-viewer, measured from inside, with whatever workers it is linked with:
 *
 * bench-viewer stall MEGABYTES N: makes the thumbnails of N pictures in a host that holds so much,
 *     while it is scrolled, and prints the longest time that the main loop did not turn, the 99th
 *     percentile of such times, the longest processor time of the main thread between two turns, and
 *     by how much the host's memory has grown: ms, ms, ms, MB.
 * bench-viewer first N: opens a folder of N files, and prints when the first of them are on the screen,
 *     when all are read, and when all in view have thumbnails: ms.
 * bench-viewer close N: closes the window with N calls queued, and prints how long that took: ms.
 *
 * It takes a display, and $XDG_CACHE_HOME for itself.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "viewer-application.h"
#include "viewer-window.h"

enum { WIDTH = 1024, HEIGHT = 768, KINDS = 8, SCROLL = 250 };

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

/* --- Stalls --- */

static struct {
    GArray *gaps; /* double: ms */
    double last, last_cpu, longest_cpu;
    size_t position, n;
} stalls;

static double main_cpu(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* Each millisecond, before everything else. */
static gboolean on_tick(gpointer data)
{
    double now = bench_now() / 1e3, cpu = main_cpu(), gap = now - stalls.last;

    g_array_append_val(stalls.gaps, gap);
    stalls.longest_cpu = MAX(stalls.longest_cpu, cpu - stalls.last_cpu);
    stalls.last = now;
    stalls.last_cpu = cpu;
    return G_SOURCE_CONTINUE;
}

/* A row of pictures further, four times a second. */
static gboolean on_scroll(gpointer data)
{
    stalls.position = (stalls.position + 5) % stalls.n;
    viewer_grid_reveal(viewer_window_get_grid(window), (guint)stalls.position);
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

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void stall(size_t megabytes, size_t n)
{
    make_pictures(n);
    bench_hold(megabytes);
    start();
    open_window();
    UNTIL(is_complete() && !viewer_folder_get_loading(viewer_window_get_folder(window)));
    double before = memory();
    stalls.gaps = g_array_new(FALSE, FALSE, sizeof(double));
    stalls.n = n;
    stalls.last = bench_now() / 1e3;
    stalls.last_cpu = main_cpu();
    g_timeout_add_full(G_PRIORITY_HIGH, 1, on_tick, NULL, NULL);
    if (!g_getenv("BENCH_VIEWER_STILL"))
        g_timeout_add(SCROLL, on_scroll, NULL);
    g_action_group_activate_action(G_ACTION_GROUP(window), "make-all", NULL);
    ViewerBatch *batch = viewer_window_get_batch(window);
    UNTIL(viewer_batch_get_done(batch) == n);
    double *gaps = (double *)(void *)stalls.gaps->data;
    qsort(gaps, stalls.gaps->len, sizeof *gaps, compare);
    if (viewer_batch_get_failed(batch))
        bench_fail("some thumbnails failed", 0);
    printf("%.2f %.2f %.2f %.2f\n", gaps[stalls.gaps->len - 1], gaps[stalls.gaps->len * 99 / 100],
           stalls.longest_cpu, memory() - before);
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
    double begun = bench_now();
    open_window();
    UNTIL(frames);
    double seen = bench_now();
    UNTIL(!viewer_folder_get_loading(viewer_window_get_folder(window)));
    double read = bench_now();
    UNTIL(is_complete());
    printf("%.2f %.2f %.2f\n", (seen - begun) / 1e3, (read - begun) / 1e3,
           (bench_now() - begun) / 1e3);
}

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
    if (argc < 3 || !g_getenv("XDG_CACHE_HOME") || !gtk_init_check())
        bench_fail("arguments: stall MEGABYTES N | first N | close N, with a display and a cache",
                   0);
    if (strcmp(argv[1], "stall") == 0 && argc == 4)
        stall(bench_number(argv[2]), bench_number(argv[3]));
    else if (strcmp(argv[1], "first") == 0)
        first(bench_number(argv[2]));
    else
        close_with(bench_number(argv[2]));
    viewer_workers_close(viewer_thumbnailer_get_workers(thumbnailer));
    fflush(stdout);
    _exit(0);
}
