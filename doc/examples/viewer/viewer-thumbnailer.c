/* SPDX-License-Identifier: MIT
 *
 * The way of a request: a thread looks at the file and into the cache; what has to be decoded goes
 * to a worker, be it the picture or a valid thumbnail. The cache is afork-thumbnails' own.
 */
#include "viewer-thumbnailer.h"

#include <afork/afork.h>
#include <errno.h>
#include <sys/stat.h>

#include "cache.h"

/* Thumbnails of the desktop, and where tiles have more than one pixel for each of their own. */
enum { BOX = 256, BOX_FINE = 512 };

struct _ViewerThumbnailer {
    GObject parent_instance;

    struct cache *cache; /* NULL: there is none */
    ViewerWorkers *workers;
    char *message;
};

/* What is asked for, on its way through thread and worker. */
struct request {
    struct cache *cache;
    char *path;
    struct job *job; /* set by the thread, or NULL and `error`, an errno */
    int error;
    int side;        /* pixels that are wanted; 0: none are */
    GAforkCallOptions *options;
    gboolean force; /* whatever is in the cache */
};

G_DEFINE_TYPE(ViewerThumbnailer, viewer_thumbnailer, G_TYPE_OBJECT)

enum { PROP_MESSAGE = 1, N_PROPS };

static GParamSpec *props[N_PROPS];

static void request_free(gpointer data)
{
    struct request *request = data;

    g_clear_pointer(&request->job, job_free);
    g_object_unref(request->options);
    g_free(request->path);
    g_free(request);
}

static void set_message(ViewerThumbnailer *self, const char *message)
{
    if (g_strcmp0(self->message, message) == 0)
        return;
    g_free(self->message);
    self->message = g_strdup(message);
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_MESSAGE]);
}

/* --- After the worker --- */

static void on_answer(GObject *source, GAsyncResult *result, gpointer data);

static void send(GTask *task, gboolean cached)
{
    ViewerThumbnailer *self = g_task_get_source_object(task);
    struct request *request = g_task_get_task_data(task);
    struct job *job = request->job;
    g_autofree char *cached_path = cached ? cache_thumbnail_path(self->cache, job) : NULL;
    g_autofree char *cached_uri = cached ? g_filename_to_uri(cached_path, NULL, NULL) : NULL;
    g_autofree char *mtime = g_strdup_printf("%" G_GINT64_FORMAT, job->mtime);
    g_autofree char *size = g_strdup_printf("%" G_GINT64_FORMAT, job->size);
    const char *make[] = {"thumbnail", job->uri, job->type, mtime, size, job->name, NULL};
    const char *show[] = {"show", cached ? cached_uri : job->uri, NULL};

    viewer_workers_call_async(self->workers, FALSE, cached || !self->cache ? show : make,
                              (guint)MAX(request->side, 1), request->options,
                              g_task_get_cancellable(task), on_answer, g_object_ref(task));
}

/* In a thread, as all that touches the cache. */
static void remember(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    struct request *request = data;

    cache_finish(request->cache, request->job);
    g_task_return_boolean(task, TRUE);
}

static void on_remembered(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    struct request *request = g_task_get_task_data(task);

    g_task_return_new_error(task, VIEWER_ERROR, VIEWER_ERROR_PICTURE, "%s", request->job->reason);
}

/* Who asks again finds it in the cache. */
static void return_failure(GTask *task, const char *reason)
{
    struct request *request = g_task_get_task_data(task);
    g_autoptr(GTask) inner = g_task_new(g_task_get_source_object(task), NULL, on_remembered,
                                        g_object_ref(task));

    job_settle(request->job, JOB_FAILED, "%s", reason);
    cache_begin(request->cache, request->job);
    g_task_set_task_data(inner, request, NULL); /* the outer one lives longer */
    g_task_run_in_thread(inner, remember);
}

static void on_answer(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    ViewerThumbnailer *self = g_task_get_source_object(task);
    struct request *request = g_task_get_task_data(task);
    g_autofree char *trouble = NULL;
    g_autoptr(GError) error = NULL;
    GdkTexture *texture = viewer_workers_finish(VIEWER_WORKERS(source), result, &trouble, &error);
    gboolean cached = request->job->state == JOB_VALID;

    if (cached && error && error->domain == VIEWER_ERROR && error->code != VIEWER_ERROR_WORKERS) {
        request->job->state = JOB_WAITING; /* the thumbnail is broken, not the picture */
        send(task, FALSE);
        return;
    }
    if (texture && !cached && self->cache)
        set_message(self, trouble);
    if (g_error_matches(error, VIEWER_ERROR, VIEWER_ERROR_PICTURE) && self->cache)
        return_failure(task, error->message);
    else if (texture)
        g_task_return_pointer(task, texture, g_object_unref);
    else
        g_task_return_error(task, g_steal_pointer(&error));
}

/* --- Before --- */

static void examine(struct request *request)
{
    struct stat info;

    if (stat(request->path, &info) < 0 || (!S_ISREG(info.st_mode) && (errno = EINVAL))) {
        request->error = errno;
        return;
    }
    request->job = job_new(request->path, &info, FALSE);
    request->job->type = g_content_type_guess(request->path, NULL, 0, NULL);
    if (request->cache)
        cache_examine(request->cache, request->job, request->force);
}

static gboolean on_looked(gpointer data);

/* In a thread, since disks and networks can be slow. Threads of GTask take locks of GObject that the
 * main loop needs all the time, and may lose the processor while they have them; this one does not. */
static void look(gpointer data, gpointer user_data)
{
    GTask *task = data;
    struct request *request = g_task_get_task_data(task);

    if (!g_cancellable_is_cancelled(g_task_get_cancellable(task)))
        examine(request);
    g_autoptr(GSource) source = g_idle_source_new();
    g_source_set_priority(source, request->side ? G_PRIORITY_DEFAULT_IDLE : G_PRIORITY_LOW);
    g_source_set_callback(source, on_looked, task, NULL);
    g_source_attach(source, g_task_get_context(task));
}

/* It may come from the cache, to which others write. */
static void return_reason(GTask *task, const char *reason)
{
    g_autofree char *text = g_utf8_make_valid(reason, -1);

    g_task_return_new_error(task, VIEWER_ERROR, VIEWER_ERROR_OTHER, "%s", text);
}

static gboolean on_looked(gpointer data)
{
    g_autoptr(GTask) task = data;
    struct request *request = g_task_get_task_data(task);

    if (g_task_return_error_if_cancelled(task))
        return G_SOURCE_REMOVE;
    if (!request->job)
        return_reason(task, g_strerror(request->error));
    else if (request->job->state == JOB_VALID && !request->side)
        g_task_return_pointer(task, NULL, NULL);
    else if (request->job->state == JOB_VALID || request->job->state == JOB_WAITING)
        send(task, request->job->state == JOB_VALID);
    else
        return_reason(task, request->job->reason);
    return G_SOURCE_REMOVE;
}

/* Those that somebody waits for do not stand behind the others. */
static GThreadPool *threads(gboolean urgent)
{
    enum { THREADS = 4 };
    static GThreadPool *pools[2];

    if (!pools[urgent])
        pools[urgent] = g_thread_pool_new(look, NULL, THREADS, FALSE, NULL);
    return pools[urgent];
}

static void begin(GTask *task, ViewerEntry *entry, GAforkCallOptions *options, int side)
{
    ViewerThumbnailer *self = g_task_get_source_object(task);
    struct request *request = g_new0(struct request, 1);

    *request = (struct request){
        .cache = self->cache,
        .path = viewer_entry_dup_path(entry),
        .options = g_object_ref(options),
        .force = viewer_entry_get_generation(entry) > 0,
        .side = side,
    };
    g_task_set_task_data(task, request, request_free);
    g_thread_pool_push(threads(side > 0), task, NULL);
}

void viewer_thumbnailer_get_async(ViewerThumbnailer *self, ViewerEntry *entry, int side,
                                  GAforkCallOptions *options, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data)
{
    begin(g_task_new(self, cancellable, callback, user_data), entry, options, side);
}

GdkTexture *viewer_thumbnailer_get_finish(ViewerThumbnailer *self, GAsyncResult *result,
                                          GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}

void viewer_thumbnailer_make_async(ViewerThumbnailer *self, ViewerEntry *entry,
                                   GCancellable *cancellable, GAsyncReadyCallback callback,
                                   gpointer user_data)
{
    g_autoptr(GAforkCallOptions) options = g_object_new(GAFORK_TYPE_CALL_OPTIONS, "priority",
                                                        AFORK_PRIORITY_MIN, NULL);

    begin(g_task_new(self, cancellable, callback, user_data), entry, options, 0);
}

gboolean viewer_thumbnailer_make_finish(ViewerThumbnailer *self, GAsyncResult *result,
                                        GError **error)
{
    GError *failure = NULL;
    GdkTexture *texture = g_task_propagate_pointer(G_TASK(result), &failure);

    g_clear_object(&texture); /* there is one where something was made */
    if (!failure)
        return TRUE;
    g_propagate_error(error, failure);
    return FALSE;
}

/* --- GObject --- */

static void viewer_thumbnailer_get_property(GObject *object, guint id, GValue *value,
                                            GParamSpec *pspec)
{
    g_value_set_string(value, VIEWER_THUMBNAILER(object)->message);
}

static void viewer_thumbnailer_finalize(GObject *object)
{
    ViewerThumbnailer *self = VIEWER_THUMBNAILER(object);

    viewer_workers_close(self->workers);
    g_object_unref(self->workers);
    g_clear_pointer(&self->cache, cache_free);
    g_free(self->message);
    G_OBJECT_CLASS(viewer_thumbnailer_parent_class)->finalize(object);
}

static void viewer_thumbnailer_class_init(ViewerThumbnailerClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->get_property = viewer_thumbnailer_get_property;
    object_class->finalize = viewer_thumbnailer_finalize;
    props[PROP_MESSAGE] = g_param_spec_string("message", NULL, NULL, NULL,
                                              G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object_class, N_PROPS, props);
}

/* Whether any of the monitors has more than one pixel for each of a widget's. */
static gboolean is_fine(void)
{
    GListModel *monitors = gdk_display_get_monitors(gdk_display_get_default());
    gboolean fine = FALSE;

    for (guint i = 0; i < g_list_model_get_n_items(monitors); i++) {
        g_autoptr(GdkMonitor) monitor = g_list_model_get_item(monitors, i);
        fine |= gdk_monitor_get_scale_factor(monitor) > 1;
    }
    return fine;
}

static void viewer_thumbnailer_init(ViewerThumbnailer *self)
{
    guint box = is_fine() ? BOX_FINE : BOX;
    g_autofree char *size = g_strdup_printf("%u", box);
    g_autoptr(GError) error = NULL;

    self->cache = cache_open(size, &error);
    if (error)
        self->message = g_strdup(error->message);
    self->workers = viewer_workers_new(self->cache ? self->cache->directory : g_get_tmp_dir(), box);
}

ViewerThumbnailer *viewer_thumbnailer_new(void)
{
    return g_object_new(VIEWER_TYPE_THUMBNAILER, NULL);
}

ViewerWorkers *viewer_thumbnailer_get_workers(ViewerThumbnailer *self)
{
    return self->workers;
}

const char *viewer_thumbnailer_get_message(ViewerThumbnailer *self)
{
    return self->message;
}
