/* SPDX-License-Identifier: MIT */
#include "viewer-batch.h"

#include "viewer-scan.h"

enum { STEP = 8 }; /* requests between other events */

struct _ViewerBatch {
    GObject parent_instance;

    ViewerThumbnailer *thumbnailer;
    char *folder;
    GPtrArray *names;
    guint next, under_way, done, failed;
    guint idle;
    GCancellable *cancellable;
};

G_DEFINE_TYPE(ViewerBatch, viewer_batch, G_TYPE_OBJECT)

enum { PROP_DONE = 1, N_PROPS };

static GParamSpec *props[N_PROPS];

static void feed(ViewerBatch *self);

static void on_made(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(ViewerBatch) self = data;
    g_autoptr(GError) error = NULL;

    gboolean made = viewer_thumbnailer_make_finish(VIEWER_THUMBNAILER(source), result, &error);
    self->under_way--;
    if (g_error_matches(error, VIEWER_ERROR, VIEWER_ERROR_WORKERS))
        viewer_batch_stop(self);
    if (g_cancellable_is_cancelled(self->cancellable))
        return; /* it is for another time */
    if (!made) {
        self->failed++;
        g_debug("a thumbnail was not made: %s", error->message);
    }
    self->done++;
    feed(self);
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_DONE]);
}

static gboolean on_idle(gpointer data)
{
    ViewerBatch *self = data;

    for (int i = 0; i < STEP; i++) {
        if (self->next == self->names->len || self->under_way == VIEWER_BATCH_AHEAD) {
            self->idle = 0;
            return G_SOURCE_REMOVE;
        }
        g_autoptr(ViewerEntry) entry = viewer_entry_new(self->folder,
                                                        self->names->pdata[self->next++]);
        self->under_way++;
        viewer_thumbnailer_make_async(self->thumbnailer, entry, self->cancellable, on_made,
                                      g_object_ref(self));
    }
    return G_SOURCE_CONTINUE;
}

static void feed(ViewerBatch *self)
{
    if (!self->idle && self->next < self->names->len)
        self->idle = g_idle_add_full(G_PRIORITY_LOW, on_idle, self, NULL);
}

static void viewer_batch_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    g_value_set_uint(value, VIEWER_BATCH(object)->done);
}

static void viewer_batch_finalize(GObject *object)
{
    ViewerBatch *self = VIEWER_BATCH(object);

    g_clear_handle_id(&self->idle, g_source_remove);
    g_object_unref(self->thumbnailer);
    g_object_unref(self->cancellable);
    g_free(self->folder);
    viewer_names_release(self->names);
    G_OBJECT_CLASS(viewer_batch_parent_class)->finalize(object);
}

static void viewer_batch_class_init(ViewerBatchClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->get_property = viewer_batch_get_property;
    object_class->finalize = viewer_batch_finalize;
    props[PROP_DONE] = g_param_spec_uint("done", NULL, NULL, 0, G_MAXUINT, 0,
                                         G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object_class, N_PROPS, props);
}

static void viewer_batch_init(ViewerBatch *self)
{
    self->cancellable = g_cancellable_new();
}

ViewerBatch *viewer_batch_new(ViewerThumbnailer *thumbnailer, ViewerFolder *folder)
{
    ViewerBatch *self = g_object_new(VIEWER_TYPE_BATCH, NULL);

    self->thumbnailer = g_object_ref(thumbnailer);
    self->folder = g_strdup(viewer_folder_get_path(folder));
    self->names = viewer_folder_dup_names(folder);
    feed(self);
    return self;
}

guint viewer_batch_get_done(ViewerBatch *self)
{
    return self->done;
}

guint viewer_batch_get_failed(ViewerBatch *self)
{
    return self->failed;
}

guint viewer_batch_get_total(ViewerBatch *self)
{
    return self->names->len;
}

gboolean viewer_batch_is_running(ViewerBatch *self)
{
    return self->done < self->names->len && !g_cancellable_is_cancelled(self->cancellable);
}

void viewer_batch_stop(ViewerBatch *self)
{
    g_clear_handle_id(&self->idle, g_source_remove);
    g_cancellable_cancel(self->cancellable);
}
