/* SPDX-License-Identifier: MIT
 *
 * Makes pictures for the benchmark: `pictures DIRECTORY COUNT` writes JPEG files of about 2000x1500
 * with what makes photographs work for a decoder: soft gradients, shapes of every size, some grain.
 * They are windows of one large canvas, so that many of them are made quickly, and the same each
 * time.
 */
#include <gdk-pixbuf/gdk-pixbuf.h>
#include <math.h>
#include <stdint.h>

#include "bench.h"

#define CANVAS_WIDTH 3200
#define CANVAS_HEIGHT 2400
#define OCTAVES 7
#define GRAIN 6

/* A number from -1 to 1 that looks random and depends on the arguments only. */
static double scatter(uint32_t x, uint32_t y, uint32_t seed)
{
    uint32_t hash = x * 0x9e3779b1u ^ y * 0x85ebca77u ^ seed * 0xc2b2ae3du;
    hash = (hash ^ hash >> 15) * 0x2c1b3c6du;
    hash = (hash ^ hash >> 12) * 0x297a2d39u;
    return (hash ^ hash >> 15) / 2147483647.5 - 1;
}

static double smooth(double from, double to, double t)
{
    return from + (to - from) * t * t * (3 - 2 * t);
}

/* Noise with features of `size` pixels. */
static double noise(int x, int y, int size, uint32_t seed)
{
    int column = x / size, row = y / size;
    double tx = (double)(x % size) / size, ty = (double)(y % size) / size;
    double top = smooth(scatter(column, row, seed), scatter(column + 1, row, seed), tx);
    double bottom = smooth(scatter(column, row + 1, seed), scatter(column + 1, row + 1, seed), tx);
    return smooth(top, bottom, ty);
}

static void paint_row(guchar *row, int y)
{
    for (int x = 0; x < CANVAS_WIDTH; x++) {
        double light = 0, size = 800, weight = 56;
        for (int octave = 0; octave < OCTAVES; octave++, size /= 2.6, weight /= 1.7)
            light += weight * noise(x, y, fmax(size, 2), octave);
        double warmth = 40 * noise(x, y, 500, OCTAVES);
        double grain = GRAIN * scatter(x, y, OCTAVES + 1);
        const double colour[3] = {light + warmth, light, light - warmth};
        for (int i = 0; i < 3; i++)
            row[3 * x + i] = CLAMP(128 + colour[i] + grain, 0, 255);
    }
}

static GdkPixbuf *paint(void)
{
    GdkPixbuf *canvas = gdk_pixbuf_new(GDK_COLORSPACE_RGB, FALSE, 8, CANVAS_WIDTH, CANVAS_HEIGHT);
    if (!canvas)
        bench_fail("no memory for the canvas", 0);
    for (int y = 0; y < CANVAS_HEIGHT; y++)
        paint_row(gdk_pixbuf_get_pixels(canvas) + y * gdk_pixbuf_get_rowstride(canvas), y);
    return canvas;
}

static void write_window(GdkPixbuf *canvas, const char *directory, size_t number)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = g_strdup_printf("%s/picture-%04zu.jpg", directory, number);
    int width = 2000 + 16 * (number % 5), height = 1500 + 12 * (number % 7);
    int x = number * 7919 % (CANVAS_WIDTH - width), y = number * 6547 % (CANVAS_HEIGHT - height);
    g_autoptr(GdkPixbuf) window = gdk_pixbuf_new_subpixbuf(canvas, x, y, width, height);

    if (!gdk_pixbuf_save(window, name, "jpeg", &error, "quality", "88", NULL))
        bench_fail(error->message, 0);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("arguments: DIRECTORY COUNT", 0);
    g_autoptr(GdkPixbuf) canvas = paint();
    size_t count = bench_number(argv[2]);
    for (size_t i = 0; i < count; i++)
        write_window(canvas, argv[1], i);
    return 0;
}
