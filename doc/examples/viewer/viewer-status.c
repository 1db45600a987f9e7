/* SPDX-License-Identifier: MIT
 *
 * It looks at the pool a few times a second while there is something to do, and not at all when there
 * is not: an idle program does not wake up.
 */
#include "viewer-status.h"

#include <glib/gi18n.h>

enum { PERIOD = 250 };

struct _ViewerStatus {
    GtkWidget parent_instance;

    ViewerThumbnailer *thumbnailer;
    ViewerFolder *folder;
    ViewerBatch *batch;
    GAforkPool *pool;
    GtkWidget *box, *pictures, *progress, *trouble, *activity;

    guint timer;
    guint64 completed; /* calls, at the last look */
    gint64 looked;     /* at that time */
    double rate;       /* calls a second, levelled */
};

G_DEFINE_TYPE(ViewerStatus, viewer_status, GTK_TYPE_WIDGET)

static void set_text(GtkWidget *label, char *text)
{
    gtk_label_set_text(GTK_LABEL(label), text ? text : "");
    g_free(text);
}

/* --- Pictures --- */

static void show_pictures(ViewerStatus *self)
{
    guint n = self->folder ? g_list_model_get_n_items(G_LIST_MODEL(self->folder)) : 0;

    if (!self->folder || viewer_folder_get_message(self->folder))
        set_text(self->pictures, NULL);
    else if (viewer_folder_get_loading(self->folder))
        set_text(self->pictures,
                 g_strdup_printf(n == 1 ? "%'u picture so far…" : "%'u pictures so far…", n));
    else
        set_text(self->pictures, g_strdup_printf(n == 1 ? "%'u picture" : "%'u pictures", n));
}

static gboolean show_batch(ViewerStatus *self)
{
    gboolean running = self->batch && viewer_batch_is_running(self->batch);

    gtk_widget_set_visible(self->progress, running);
    if (running)
        gtk_progress_bar_set_fraction(GTK_PROGRESS_BAR(self->progress),
                                      (double)viewer_batch_get_done(self->batch) /
                                          viewer_batch_get_total(self->batch));
    return running;
}

/* --- Workers --- */

static gboolean show_activity(ViewerStatus *self)
{
    g_autoptr(GAforkPoolStats) stats = self->pool ? gafork_pool_get_stats(self->pool, NULL) : NULL;
    gint64 now = g_get_monotonic_time();

    if (!stats || !stats->workers) {
        set_text(self->activity, NULL);
        return FALSE;
    }
    double seconds = (double)(now - self->looked) / G_USEC_PER_SEC;
    if (seconds > 0)
        self->rate = 0.5 * self->rate + 0.5 * (double)(stats->completed - self->completed) / seconds;
    self->completed = stats->completed;
    self->looked = now;
    guint64 calls = stats->queued + stats->running;
    const char *workers = stats->workers == 1 ? "worker" : "workers";
    if (calls)
        set_text(self->activity,
                 g_strdup_printf("%u %s · %'" G_GUINT64_FORMAT " in queue · %.0f/s", stats->workers,
                                 workers, stats->queued, self->rate));
    else
        set_text(self->activity, g_strdup_printf("%u %s · idle", stats->workers, workers));
    return calls > 0;
}

static gboolean on_timer(gpointer data)
{
    ViewerStatus *self = data;

    gboolean batch = show_batch(self);

    if (show_activity(self) || batch) /* of what the cache has, workers see nothing */
        return G_SOURCE_CONTINUE;
    self->timer = 0;
    self->rate = 0;
    return G_SOURCE_REMOVE;
}

static void wake(ViewerStatus *self)
{
    if (self->timer)
        return;
    self->looked = g_get_monotonic_time();
    self->timer = g_timeout_add(PERIOD, on_timer, self);
}

static void on_pool(ViewerStatus *self)
{
    ViewerWorkers *workers = viewer_thumbnailer_get_workers(self->thumbnailer);

    if (self->pool)
        g_signal_handlers_disconnect_by_data(self->pool, self);
    g_set_object(&self->pool, viewer_workers_get_pool(workers));
    self->completed = 0;
    self->rate = 0;
    if (self->pool) {
        g_signal_connect_swapped(self->pool, "notify::n-running", G_CALLBACK(wake), self);
        g_signal_connect_swapped(self->pool, "notify::n-workers", G_CALLBACK(wake), self);
    }
    show_activity(self);
}

static void on_trouble(ViewerStatus *self)
{
    const char *message = viewer_thumbnailer_get_message(self->thumbnailer);

    gtk_widget_set_visible(self->trouble, message != NULL);
    set_text(self->trouble, message ? g_strdup_printf("Thumbnails are not kept: %s", message) : NULL);
    gtk_widget_set_tooltip_text(self->trouble, message);
}

/* --- The widget --- */

static GtkWidget *add_label(ViewerStatus *self, float xalign)
{
    GtkWidget *label = g_object_new(GTK_TYPE_LABEL, "xalign", xalign, "ellipsize",
                                    PANGO_ELLIPSIZE_END, NULL);

    gtk_widget_add_css_class(label, "numeric");
    gtk_box_append(GTK_BOX(self->box), label);
    return label;
}

static void viewer_status_dispose(GObject *object)
{
    ViewerStatus *self = VIEWER_STATUS(object);

    g_clear_handle_id(&self->timer, g_source_remove);
    viewer_status_set_folder(self, NULL);
    g_clear_object(&self->batch);
    if (self->pool)
        g_signal_handlers_disconnect_by_data(self->pool, self);
    g_clear_object(&self->pool);
    g_clear_object(&self->thumbnailer);
    g_clear_pointer(&self->box, gtk_widget_unparent);
    G_OBJECT_CLASS(viewer_status_parent_class)->dispose(object);
}

static void viewer_status_class_init(ViewerStatusClass *klass)
{
    G_OBJECT_CLASS(klass)->dispose = viewer_status_dispose;
    gtk_widget_class_set_layout_manager_type(GTK_WIDGET_CLASS(klass), GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_css_name(GTK_WIDGET_CLASS(klass), "statusbar");
}

static void viewer_status_init(ViewerStatus *self)
{
    self->box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 12);
    gtk_widget_set_parent(self->box, GTK_WIDGET(self));
    self->pictures = add_label(self, 0);
    self->progress = g_object_new(GTK_TYPE_PROGRESS_BAR, "valign", GTK_ALIGN_CENTER, "visible", FALSE,
                                  "tooltip-text", "Thumbnails of the whole folder are being made",
                                  NULL);
    gtk_box_append(GTK_BOX(self->box), self->progress);
    self->trouble = add_label(self, 0.5f);
    gtk_widget_add_css_class(self->trouble, "warning");
    gtk_widget_set_hexpand(self->trouble, TRUE);
    self->activity = add_label(self, 1);
    gtk_widget_set_hexpand(self->activity, TRUE);
}

GtkWidget *viewer_status_new(ViewerThumbnailer *thumbnailer)
{
    ViewerStatus *self = g_object_new(VIEWER_TYPE_STATUS, NULL);

    self->thumbnailer = g_object_ref(thumbnailer);
    g_signal_connect_object(thumbnailer, "notify::message", G_CALLBACK(on_trouble), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(viewer_thumbnailer_get_workers(thumbnailer), "notify::pool",
                            G_CALLBACK(on_pool), self, G_CONNECT_SWAPPED);
    on_trouble(self);
    on_pool(self);
    return GTK_WIDGET(self);
}

void viewer_status_set_folder(ViewerStatus *self, ViewerFolder *folder)
{
    if (self->folder)
        g_signal_handlers_disconnect_by_data(self->folder, self);
    g_set_object(&self->folder, folder);
    if (folder)
        g_signal_connect_swapped(folder, "notify", G_CALLBACK(show_pictures), self);
    show_pictures(self);
}

void viewer_status_set_batch(ViewerStatus *self, ViewerBatch *batch)
{
    g_set_object(&self->batch, batch);
    show_batch(self);
    wake(self);
}
