/* SPDX-License-Identifier: MIT
 *
 * A limit for thumbnails: gdk-pixbuf in the host itself, in two threads, for hosts that may end
 * with a bad picture. `peer-gthreadpool SIZE DIRECTORY` makes the same calls and the same files as
 * afork-thumbnails, in $XDG_CACHE_HOME/thumbnails/large, which must exist.
 */
#include <gdk-pixbuf/gdk-pixbuf.h>
#include <gio/gio.h>
#include <glib/gstdio.h>

#include "bench.h"

#define THREADS 2

static int box;

static char *number(gint64 value)
{
    return g_strdup_printf("%" G_GINT64_FORMAT, value);
}

static GdkPixbuf *reduce(const char *path, int *width, int *height)
{
    g_autoptr(GError) error = NULL;

    gdk_pixbuf_get_file_info(path, width, height);
    g_autoptr(GdkPixbuf) reduced = gdk_pixbuf_new_from_file_at_size(path, box, box, &error);
    if (!reduced)
        bench_fail(error->message, 0);
    return gdk_pixbuf_apply_embedded_orientation(reduced);
}

static void make(const char *path, const char *uri)
{
    GStatBuf info;
    if (g_stat(path, &info) < 0)
        bench_fail(path, errno);

    int original_width, original_height;
    g_autoptr(GdkPixbuf) thumbnail = reduce(path, &original_width, &original_height);
    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_MD5, uri, -1);
    g_autofree char *name = g_strdup_printf("%s/thumbnails/large/%s.png", g_get_user_cache_dir(),
                                            hash);
    g_autofree char *temporary = g_strconcat(name, ".new", NULL);
    g_autofree char *mtime = number(info.st_mtime);
    g_autofree char *size = number(info.st_size);
    g_autofree char *width = number(original_width);
    g_autofree char *height = number(original_height);
    g_autoptr(GError) error = NULL;

    if (!gdk_pixbuf_save(thumbnail, temporary, "png", &error, "compression", "1", "tEXt::Software",
                         "peer-gthreadpool", "tEXt::Thumb::URI", uri, "tEXt::Thumb::MTime", mtime,
                         "tEXt::Thumb::Size", size, "tEXt::Thumb::Mimetype", "image/jpeg",
                         "tEXt::Thumb::Image::Width", width, "tEXt::Thumb::Image::Height", height,
                         NULL))
        bench_fail(error->message, 0);
    if (g_chmod(temporary, 0600) < 0 || g_rename(temporary, name) < 0)
        bench_fail(name, errno);
}

static void work(gpointer data, gpointer unused)
{
    g_autofree char *path = data;
    g_autofree char *uri = g_filename_to_uri(path, NULL, NULL);
    make(path, uri);
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
