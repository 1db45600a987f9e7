/* SPDX-License-Identifier: MIT
 *
 * A limit for thumbnails: gdk-pixbuf in the host itself, in two threads, for hosts that may crash
 * with a bad picture. `peer-gthreadpool SIZE DIRECTORY` writes the same files as afork-thumbnails to
 * $XDG_CACHE_HOME/thumbnails/normal, which must exist.
 */
#include <gdk-pixbuf/gdk-pixbuf.h>
#include <gio/gio.h>
#include <glib/gstdio.h>

#include "bench.h"

#define THREADS 2

static int box;

struct picture {
    GdkPixbuf *thumbnail;
    int width, height; /* of the original */
};

static void on_size(GdkPixbufLoader *loader, int width, int height, gpointer data)
{
    struct picture *picture = data;
    double scale = MIN(1.0, (double)box / MAX(width, height));

    picture->width = width;
    picture->height = height;
    gdk_pixbuf_loader_set_size(loader, MAX(1, width * scale + 0.5), MAX(1, height * scale + 0.5));
}

static struct picture decode(const char *path)
{
    struct picture picture = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(GMappedFile) file = g_mapped_file_new(path, FALSE, &error);
    if (!file)
        bench_fail(error->message, 0);

    g_autoptr(GdkPixbufLoader) loader = gdk_pixbuf_loader_new();
    g_signal_connect(loader, "size-prepared", G_CALLBACK(on_size), &picture);
    const guchar *data = (const guchar *)g_mapped_file_get_contents(file);
    if (!gdk_pixbuf_loader_write(loader, data, g_mapped_file_get_length(file), &error) ||
        !gdk_pixbuf_loader_close(loader, &error))
        bench_fail(error->message, 0);
    picture.thumbnail =
        gdk_pixbuf_apply_embedded_orientation(gdk_pixbuf_loader_get_pixbuf(loader));
    return picture;
}

static void save(const struct picture *picture, const char *path, const char *uri)
{
    GStatBuf info;
    if (g_stat(path, &info) < 0)
        bench_fail(path, errno);

    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_MD5, uri, -1);
    g_autofree char *name =
        g_strdup_printf("%s/thumbnails/normal/%s.png", g_get_user_cache_dir(), hash);
    g_autofree char *temporary = g_strconcat(name, ".new", NULL);
    g_autofree char *mtime = g_strdup_printf("%" G_GINT64_FORMAT, (gint64)info.st_mtime);
    g_autofree char *size = g_strdup_printf("%" G_GINT64_FORMAT, (gint64)info.st_size);
    g_autofree char *width = g_strdup_printf("%d", picture->width);
    g_autofree char *height = g_strdup_printf("%d", picture->height);
    g_autoptr(GError) error = NULL;

    if (!gdk_pixbuf_save(picture->thumbnail, temporary, "png", &error, "tEXt::Thumb::URI", uri,
                         "tEXt::Thumb::MTime", mtime, "tEXt::Thumb::Size", size,
                         "tEXt::Thumb::Mimetype", "image/jpeg", "tEXt::Thumb::Image::Width", width,
                         "tEXt::Thumb::Image::Height", height, "tEXt::Software", "peer-gthreadpool",
                         NULL))
        bench_fail(error->message, 0);
    if (g_chmod(temporary, 0600) < 0 || g_rename(temporary, name) < 0)
        bench_fail(name, errno);
}

static void work(gpointer data, gpointer unused)
{
    g_autofree char *path = data;
    g_autofree char *uri = g_filename_to_uri(path, NULL, NULL);
    struct picture picture = decode(path);

    save(&picture, path, uri);
    g_object_unref(picture.thumbnail);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        bench_fail("arguments: SIZE DIRECTORY", 0);
    box = bench_number(argv[1]);

    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) directory = g_dir_open(argv[2], 0, &error);
    if (!directory)
        bench_fail(error->message, 0);
    GThreadPool *threads = g_thread_pool_new(work, NULL, THREADS, TRUE, NULL);
    for (const char *name; (name = g_dir_read_name(directory));)
        g_thread_pool_push(threads, g_build_filename(argv[2], name, NULL), NULL);
    g_thread_pool_free(threads, FALSE, TRUE);
    return 0;
}
