/* SPDX-License-Identifier: MIT */
#include "viewer-pixels.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

static GBytes *fail(GError **error, const char *what)
{
    int code = errno;

    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(code), "%s: %s", what,
                g_strerror(code));
    return NULL;
}

static GBytes *map(int fd, gsize len, GError **error)
{
    void *data = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);

    if (data == MAP_FAILED)
        return fail(error, "cannot map the pixels");
    struct mapping *mapping = g_new(struct mapping, 1);
    *mapping = (struct mapping){data, len};
    return g_bytes_new_with_free_func(data, len, unmap, mapping);
}

static GBytes *copy(int fd, gsize len, GError **error)
{
    g_autofree char *data = g_try_malloc(len);
    gsize done = 0;

    if (!data) {
        errno = ENOMEM;
        return fail(error, "cannot copy the pixels");
    }
    while (done < len) {
        ssize_t got = pread(fd, data + done, len - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (!got)
            errno = EPIPE;
        if (got <= 0)
            return fail(error, "cannot read the pixels");
        done += (gsize)got;
    }
    return g_bytes_new_take(g_steal_pointer(&data), len);
}

static gboolean parse(const char *const *numbers, guint64 *values, GError **error)
{
    const guint64 max[] = {SIDE_MAX, SIDE_MAX, 4 * SIDE_MAX + 4, 4};

    for (gsize i = 0; i < G_N_ELEMENTS(max); i++)
        if (!numbers[i] || !g_ascii_string_to_unsigned(numbers[i], 10, i == 3 ? 3 : 1, max[i],
                                                       &values[i], error)) {
            if (error && !*error)
                g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "numbers are missing");
            return FALSE;
        }
    return TRUE;
}

GdkTexture *viewer_pixels_to_texture(const char *const *numbers, int fd, GError **error)
{
    const int wanted = F_SEAL_SHRINK | F_SEAL_WRITE;
    guint64 values[4];
    struct stat info;

    if (!parse(numbers, values, error))
        return NULL;
    guint64 width = values[0], height = values[1], stride = values[2], channels = values[3];
    guint64 len = stride * (height - 1) + width * channels;
    if (stride < width * channels || fstat(fd, &info) < 0 || (guint64)info.st_size < len) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "pixels are missing");
        return NULL;
    }
    int seals = fcntl(fd, F_GET_SEALS);
    g_autoptr(GBytes) bytes = seals >= 0 && (seals & wanted) == wanted ? map(fd, len, error)
                                                                       : copy(fd, len, error);
    if (!bytes)
        return NULL;
    return gdk_memory_texture_new((int)width, (int)height,
                                  channels == 4 ? GDK_MEMORY_R8G8B8A8 : GDK_MEMORY_R8G8B8, bytes,
                                  stride);
}
