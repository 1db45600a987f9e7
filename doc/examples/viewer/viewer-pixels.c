/* SPDX-License-Identifier: MIT */
#include "viewer-pixels.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* A worker is what a picture may have taken over: nothing that it says is believed. */
enum { SIDE_MAX = 1 << 20 };

struct mapping {
    void *data;
    gsize len;
};

static void unmap(gpointer data)
{
    struct mapping *mapping = data;

    munmap(mapping->data, mapping->len);
    g_free(mapping);
}

static gboolean fail(GError **error, const char *what)
{
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, what);
    return FALSE;
}

/* Only memory that cannot change any more, so that nothing has to be copied. */
static GBytes *map(int fd, gsize len, GError **error)
{
    const int wanted = F_SEAL_SHRINK | F_SEAL_WRITE;
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat info;

    if (seals < 0 || (seals & wanted) != wanted) {
        fail(error, "the pixels are not sealed");
        return NULL;
    }
    if (fstat(fd, &info) < 0 || (guint64)info.st_size < len) {
        fail(error, "pixels are missing");
        return NULL;
    }
    void *data = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        int code = errno;
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(code),
                    "cannot map the pixels: %s", g_strerror(code));
        return NULL;
    }
    struct mapping *mapping = g_new(struct mapping, 1);
    *mapping = (struct mapping){data, len};
    return g_bytes_new_with_free_func(data, len, unmap, mapping);
}

static gboolean parse(const char *const *numbers, guint box, guint64 *values, GError **error)
{
    const guint64 max[] = {SIDE_MAX, SIDE_MAX, 4 * SIDE_MAX + 4, 4};

    for (gsize i = 0; i < G_N_ELEMENTS(max); i++) {
        if (!numbers[i])
            return fail(error, "numbers are missing");
        if (!g_ascii_string_to_unsigned(numbers[i], 10, i == 3 ? 3 : 1, max[i], &values[i], error))
            return FALSE;
    }
    if (values[0] > box || values[1] > box)
        return fail(error, "there are more pixels than were asked for");
    if (values[2] < values[0] * values[3])
        return fail(error, "pixels are missing");
    return TRUE;
}

GdkTexture *viewer_pixels_to_texture(const char *const *numbers, int fd, guint box, GError **error)
{
    guint64 values[4];

    if (!parse(numbers, box, values, error))
        return NULL;
    guint64 width = values[0], height = values[1], stride = values[2], channels = values[3];
    g_autoptr(GBytes) bytes = map(fd, stride * (height - 1) + width * channels, error);
    if (!bytes)
        return NULL;
    return gdk_memory_texture_new((int)width, (int)height,
                                  channels == 4 ? GDK_MEMORY_R8G8B8A8 : GDK_MEMORY_R8G8B8, bytes,
                                  stride);
}
