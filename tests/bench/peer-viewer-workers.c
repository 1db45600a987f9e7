/* SPDX-License-Identifier: MIT
 *
 * In the place of afork-viewer's viewer-workers.c: the same viewer whose pictures are decoded in the
 * host, by threads, or with PEER_FORK by a process that is forked from the host for each.
 */
#include "viewer-workers.h"

#include <afork/afork.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "viewer-pixels.h"

struct _ViewerWorkers {
    GObject parent_instance;

    char *directory;
    GThreadPool *threads;
    GQueue queue; /* of tasks, to be forked for */
    guint running;
    gboolean closed;
};

struct call {
    char **arguments;
    char *directory;
    int fd;
    guint box;
};

G_DEFINE_TYPE(ViewerWorkers, viewer_workers, G_TYPE_OBJECT)

G_DEFINE_QUARK(viewer - error, viewer_error)

enum { PROP_MESSAGE = 1, PROP_POOL, N_PROPS };

static void call_free(gpointer data)
{
    struct call *call = data;

    g_strfreev(call->arguments);
    g_free(call->directory);
    if (call->fd >= 0)
        close(call->fd);
    g_free(call);
}

/* As decode.pl: "show" URI, or "thumbnail" URI TYPE MTIME SIZE NAME. */
static GdkPixbuf *decode(const struct call *call, GError **error)
{
    char **argument = call->arguments;
    gboolean thumbnail = strcmp(argument[0], "thumbnail") == 0;
    int box = thumbnail ? 256 : (int)call->box, width = 0, height = 0;
    g_autofree char *path = g_filename_from_uri(argument[1], NULL, error);

    if (!path || !gdk_pixbuf_get_file_info(path, &width, &height))
        width = height = 0;
    g_autoptr(GdkPixbuf) pixbuf = width <= box && height <= box
                                      ? gdk_pixbuf_new_from_file(path, error)
                                      : gdk_pixbuf_new_from_file_at_size(path, box, box, error);
    if (!pixbuf)
        return NULL;
    GdkPixbuf *upright = gdk_pixbuf_apply_embedded_orientation(pixbuf);
    if (!thumbnail)
        return upright;
    g_autofree char *name = g_build_filename(call->directory, argument[5], NULL);
    g_autofree char *temporary = g_strconcat(name, ".new", NULL);
    if (gdk_pixbuf_save(upright, temporary, "png", NULL, "compression", "1", "tEXt::Software",
                        "peer", "tEXt::Thumb::URI", argument[1], "tEXt::Thumb::MTime", argument[3],
                        "tEXt::Thumb::Size", argument[4], NULL))
        g_rename(temporary, name);
    double scale = MIN(1.0, call->box * 1.0 /
                                MAX(gdk_pixbuf_get_width(upright), gdk_pixbuf_get_height(upright)));
    GdkPixbuf *shown = gdk_pixbuf_scale_simple(
        upright, MAX(1, (int)(scale * gdk_pixbuf_get_width(upright))),
        MAX(1, (int)(scale * gdk_pixbuf_get_height(upright))), GDK_INTERP_BILINEAR);
    g_object_unref(upright);
    return shown;
}

#ifdef PEER_FORK

static void start_more(ViewerWorkers *self);

static void work(const struct call *call)
{
    alarm(20); /* a lock that another thread of the host held is never released here */
    GdkPixbuf *pixbuf = decode(call, NULL);
    if (!pixbuf)
        _exit(1);
    gint32 head[4] = {gdk_pixbuf_get_width(pixbuf), gdk_pixbuf_get_height(pixbuf),
                      gdk_pixbuf_get_rowstride(pixbuf), gdk_pixbuf_get_n_channels(pixbuf)};
    gsize len = gdk_pixbuf_get_byte_length(pixbuf);
    if (write(call->fd, gdk_pixbuf_read_pixels(pixbuf), len) != (ssize_t)len ||
        pwrite(call->fd, head, sizeof head, (off_t)(len + 3) / 4 * 4) != sizeof head)
        _exit(1);
    _exit(0);
}

static GdkTexture *take(int fd, guint box)
{
    gint32 head[4];
    off_t size = lseek(fd, 0, SEEK_END);

    if (size < (off_t)sizeof head || pread(fd, head, sizeof head, size - (off_t)sizeof head) < 0)
        return NULL;
    g_autofree char *text = g_strdup_printf("%d %d %d %d", head[0], head[1], head[2], head[3]);
    g_auto(GStrv) numbers = g_strsplit(text, " ", 0);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE) < 0)
        return NULL;
    return viewer_pixels_to_texture((const char *const *)numbers, fd, box, NULL);
}

static void on_exit_of(GPid pid, int status, gpointer data)
{
    g_autoptr(GTask) task = data;
    ViewerWorkers *self = g_task_get_source_object(task);
    struct call *call = g_task_get_task_data(task);
    GdkTexture *texture = status ? NULL : take(call->fd, call->box);

    self->running--;
    if (texture)
        g_task_return_pointer(task, texture, g_object_unref);
    else
        g_task_return_new_error(task, VIEWER_ERROR, VIEWER_ERROR_OTHER, "it failed");
    start_more(self);
}

static void start_more(ViewerWorkers *self)
{
    while (!self->closed && self->running < afork_cpu_count() && self->queue.head) {
        GTask *task = g_queue_pop_head(&self->queue);
        struct call *call = g_task_get_task_data(task);
        if (g_task_return_error_if_cancelled(task)) {
            g_object_unref(task);
            continue;
        }
        call->fd = memfd_create("picture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        pid_t pid = fork();
        if (!pid)
            work(call);
        self->running++;
        g_child_watch_add(pid, on_exit_of, task);
    }
}

static void submit(ViewerWorkers *self, GTask *task)
{
    g_queue_push_tail(&self->queue, task);
    start_more(self);
}

static void set_up(ViewerWorkers *self)
{
    g_slist_free(gdk_pixbuf_get_formats());
}

#else

static void work(gpointer data, gpointer user_data)
{
    g_autoptr(GTask) task = data;
    GError *error = NULL;

    if (g_task_return_error_if_cancelled(task))
        return;
    g_autoptr(GdkPixbuf) pixbuf = decode(g_task_get_task_data(task), &error);
    if (pixbuf)
        g_task_return_pointer(task, gdk_texture_new_for_pixbuf(pixbuf), g_object_unref);
    else
        g_task_return_error(task, error);
}

static void submit(ViewerWorkers *self, GTask *task)
{
    g_thread_pool_push(self->threads, task, NULL);
}

static void set_up(ViewerWorkers *self)
{
    self->threads = g_thread_pool_new(work, NULL, (int)afork_cpu_count(), TRUE, NULL);
}

#endif

static void viewer_workers_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
}

static void viewer_workers_class_init(ViewerWorkersClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->get_property = viewer_workers_get_property;
    g_object_class_install_property(
        object_class, PROP_MESSAGE,
        g_param_spec_string("message", NULL, NULL, NULL, G_PARAM_READABLE));
    g_object_class_install_property(
        object_class, PROP_POOL,
        g_param_spec_object("pool", NULL, NULL, GAFORK_TYPE_POOL, G_PARAM_READABLE));
}

static void viewer_workers_init(ViewerWorkers *self)
{
    g_queue_init(&self->queue);
}

ViewerWorkers *viewer_workers_new(const char *directory, guint box)
{
    ViewerWorkers *self = g_object_new(VIEWER_TYPE_WORKERS, NULL);

    self->directory = g_strdup(directory);
    set_up(self);
    return self;
}

void viewer_workers_call_async(ViewerWorkers *self, gboolean single, const char *const *arguments,
                               guint box, GAforkCallOptions *options, GCancellable *cancellable,
                               GAsyncReadyCallback callback, gpointer user_data)
{
    GTask *task = g_task_new(self, cancellable, callback, user_data);
    struct call *call = g_new(struct call, 1);

    *call = (struct call){g_strdupv((char **)arguments), g_strdup(self->directory), -1, box};
    g_task_set_priority(task, GDK_PRIORITY_REDRAW + 5);
    g_task_set_task_data(task, call, call_free);
    submit(self, task);
}

GdkTexture *viewer_workers_finish(ViewerWorkers *self, GAsyncResult *result, char **trouble,
                                  GError **error)
{
    if (trouble)
        *trouble = NULL;
    return g_task_propagate_pointer(G_TASK(result), error);
}

void viewer_workers_set_timeout(ViewerWorkers *self, guint seconds)
{
}

const char *viewer_workers_get_message(ViewerWorkers *self)
{
    return NULL;
}

GAforkPool *viewer_workers_get_pool(ViewerWorkers *self)
{
    return NULL;
}

void viewer_workers_retry(ViewerWorkers *self)
{
}

void viewer_workers_close(ViewerWorkers *self)
{
    self->closed = TRUE;
    if (self->threads)
        g_thread_pool_free(g_steal_pointer(&self->threads), TRUE, TRUE);
}
