/* SPDX-License-Identifier: MIT */
#include "viewer-page.h"

enum { PATIENCE = 120 }; /* milliseconds after which there is a spinner, and the thumbnail */

static const double zoom_min = 0.02, zoom_max = 20;

struct _ViewerPage {
    GtkWidget parent_instance;

    ViewerWorkers *workers;
    GtkWidget *overlay, *stack, *scrolled, *picture, *reason_label, *spinner;
    ViewerEntry *entry;
    GdkTexture *texture;
    char *reason;
    double zoom; /* 0: to fit */
    double pointer_x, pointer_y;
    double grip_x, grip_y; /* where the picture was when it was gripped */
    guint timer;
    GCancellable *cancellable; /* of the call under way, or NULL */
};

enum { PROP_REASON = 1, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_TYPE(ViewerPage, viewer_page, GTK_TYPE_WIDGET)

/* --- Decoding --- */

static void set_busy(ViewerPage *self, gboolean busy)
{
    gtk_spinner_set_spinning(GTK_SPINNER(self->spinner), busy);
    gtk_accessible_update_state(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_STATE_BUSY, busy, -1);
}

static void drop_call(ViewerPage *self)
{
    g_clear_handle_id(&self->timer, g_source_remove);
    set_busy(self, FALSE);
    if (self->cancellable)
        g_cancellable_cancel(self->cancellable);
    g_clear_object(&self->cancellable);
}

static void set_zoom(ViewerPage *self, double zoom)
{
    double scale = gtk_widget_get_scale_factor(GTK_WIDGET(self));
    int width = -1, height = -1;

    self->zoom = zoom;
    if (zoom > 0 && self->texture) {
        width = MAX(1, (int)(zoom * gdk_texture_get_width(self->texture) / scale));
        height = MAX(1, (int)(zoom * gdk_texture_get_height(self->texture) / scale));
    }
    gtk_widget_set_size_request(self->picture, width, height);
    gtk_picture_set_content_fit(GTK_PICTURE(self->picture),
                                zoom > 0 ? GTK_CONTENT_FIT_FILL : GTK_CONTENT_FIT_SCALE_DOWN);
    gtk_widget_set_halign(self->picture, zoom > 0 ? GTK_ALIGN_CENTER : GTK_ALIGN_FILL);
    gtk_widget_set_valign(self->picture, zoom > 0 ? GTK_ALIGN_CENTER : GTK_ALIGN_FILL);
}

static void set_result(ViewerPage *self, GdkTexture *texture, const char *reason)
{
    gboolean same = g_strcmp0(self->reason, reason) == 0;

    g_set_object(&self->texture, texture);
    g_free(self->reason);
    self->reason = g_strdup(reason);
    gtk_picture_set_paintable(GTK_PICTURE(self->picture), GDK_PAINTABLE(texture));
    gtk_label_set_text(GTK_LABEL(self->reason_label), reason ? reason : "");
    gtk_stack_set_visible_child_name(GTK_STACK(self->stack), reason ? "reason" : "picture");
    if (same)
        return;
    gtk_accessible_update_property(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_DESCRIPTION,
                                   reason ? reason : "", -1);
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_REASON]);
}

static void on_decoded(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(ViewerPage) self = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GdkTexture) texture = viewer_workers_finish(VIEWER_WORKERS(source), result, NULL,
                                                          &error);

    if (g_task_get_cancellable(G_TASK(result)) != self->cancellable)
        return; /* it shows another by now */
    drop_call(self);
    set_result(self, texture, texture ? NULL : error->message);
    set_zoom(self, self->zoom);
}

static gboolean on_timer(gpointer data)
{
    ViewerPage *self = data;
    GdkTexture *thumbnail = viewer_entry_get_thumbnail(self->entry);

    self->timer = 0;
    set_busy(self, TRUE);
    if (!self->texture && thumbnail) {
        gtk_picture_set_content_fit(GTK_PICTURE(self->picture), GTK_CONTENT_FIT_CONTAIN);
        gtk_picture_set_paintable(GTK_PICTURE(self->picture), GDK_PAINTABLE(thumbnail));
    }
    return G_SOURCE_REMOVE;
}

static void decode(ViewerPage *self)
{
    g_autofree char *path = viewer_entry_dup_path(self->entry);
    g_autofree char *uri = g_filename_to_uri(path, NULL, NULL);
    const char *arguments[] = {"show", uri, NULL};
    g_autoptr(GAforkCallOptions) options = gafork_call_options_new();

    self->timer = g_timeout_add(PATIENCE, on_timer, self);
    self->cancellable = g_cancellable_new();
    viewer_workers_call_async(self->workers, TRUE, arguments, VIEWER_SIDE_MAX, options,
                              self->cancellable, on_decoded, g_object_ref(self));
}

/* What is shown stays until the new one is there. */
static void on_entry_changed(ViewerPage *self)
{
    if (!self->cancellable)
        decode(self);
}

void viewer_page_set_entry(ViewerPage *self, ViewerEntry *entry)
{
    if (self->entry == entry)
        return;
    drop_call(self);
    if (self->entry)
        g_signal_handlers_disconnect_by_data(self->entry, self);
    g_set_object(&self->entry, entry);
    set_result(self, NULL, NULL);
    set_zoom(self, 0);
    if (!entry)
        return;
    const char *name = viewer_entry_get_display_name(entry);
    gtk_picture_set_alternative_text(GTK_PICTURE(self->picture), name);
    gtk_accessible_update_property(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_LABEL, name, -1);
    g_signal_connect_swapped(entry, "changed", G_CALLBACK(on_entry_changed), self);
    decode(self);
}

void viewer_page_retry(ViewerPage *self)
{
    if (self->reason && !self->cancellable)
        decode(self);
}

/* --- Enlargement --- */

/* What it is now, also if it is shown to fit. */
static double current_zoom(ViewerPage *self)
{
    double scale = gtk_widget_get_scale_factor(GTK_WIDGET(self));
    double x = scale * gtk_widget_get_width(self->stack) / gdk_texture_get_width(self->texture);
    double y = scale * gtk_widget_get_height(self->stack) / gdk_texture_get_height(self->texture);

    return self->zoom > 0 ? self->zoom : MIN(MIN(x, y), 1);
}

static GtkAdjustment *adjustment(ViewerPage *self, GtkOrientation orientation)
{
    GtkScrolledWindow *scrolled = GTK_SCROLLED_WINDOW(self->scrolled);

    return orientation == GTK_ORIENTATION_HORIZONTAL ? gtk_scrolled_window_get_hadjustment(scrolled)
                                                     : gtk_scrolled_window_get_vadjustment(scrolled);
}

/* What was `at` so many pixels from the edge of the view stays there; it is told before the layout. */
static void keep_place(GtkAdjustment *adjustment, double at, double size)
{
    double page = gtk_adjustment_get_page_size(adjustment);
    double old = gtk_adjustment_get_upper(adjustment), upper = MAX(page, size);
    double value = gtk_adjustment_get_value(adjustment);

    if (old > 0)
        gtk_adjustment_configure(adjustment, (value + at) * upper / old - at, 0, upper, page / 10,
                                 page, page);
}

static void zoom_at(ViewerPage *self, double factor, double x, double y)
{
    if (!self->texture)
        return;
    double scale = gtk_widget_get_scale_factor(GTK_WIDGET(self));
    double zoom = factor < 0 ? 1 : factor * current_zoom(self);
    set_zoom(self, zoom > 0 ? CLAMP(zoom, zoom_min, zoom_max) : 0);
    keep_place(adjustment(self, GTK_ORIENTATION_HORIZONTAL), x,
               self->zoom * gdk_texture_get_width(self->texture) / scale);
    keep_place(adjustment(self, GTK_ORIENTATION_VERTICAL), y,
               self->zoom * gdk_texture_get_height(self->texture) / scale);
}

void viewer_page_zoom(ViewerPage *self, double factor)
{
    zoom_at(self, factor, gtk_widget_get_width(self->scrolled) / 2.0,
            gtk_widget_get_height(self->scrolled) / 2.0);
}

static void on_motion(GtkEventControllerMotion *controller, double x, double y, gpointer data)
{
    ViewerPage *self = data;

    self->pointer_x = x;
    self->pointer_y = y;
}

static gboolean on_scroll(GtkEventController *controller, double x, double y, gpointer data)
{
    ViewerPage *self = data;

    if (!(gtk_event_controller_get_current_event_state(controller) & GDK_CONTROL_MASK))
        return FALSE;
    zoom_at(self, y < 0 ? 1.1 : 1 / 1.1, self->pointer_x, self->pointer_y);
    return TRUE;
}

/* --- The picture follows the pointer --- */

static void on_drag_begin(GtkGestureDrag *gesture, double x, double y, gpointer data)
{
    ViewerPage *self = data;

    self->grip_x = gtk_adjustment_get_value(adjustment(self, GTK_ORIENTATION_HORIZONTAL));
    self->grip_y = gtk_adjustment_get_value(adjustment(self, GTK_ORIENTATION_VERTICAL));
}

static void on_drag_update(GtkGestureDrag *gesture, double x, double y, gpointer data)
{
    ViewerPage *self = data;

    gtk_adjustment_set_value(adjustment(self, GTK_ORIENTATION_HORIZONTAL), self->grip_x - x);
    gtk_adjustment_set_value(adjustment(self, GTK_ORIENTATION_VERTICAL), self->grip_y - y);
}

/* --- Keys --- */

static gboolean on_arrow(GtkWidget *widget, GVariant *direction, gpointer data)
{
    ViewerPage *self = VIEWER_PAGE(widget);
    gboolean horizontal;
    int by;

    g_variant_get(direction, "(bi)", &horizontal, &by);
    GtkAdjustment *along = adjustment(self, horizontal ? GTK_ORIENTATION_HORIZONTAL
                                                       : GTK_ORIENTATION_VERTICAL);
    if (self->zoom > 0 && gtk_adjustment_get_upper(along) > gtk_adjustment_get_page_size(along)) {
        gtk_adjustment_set_value(along, gtk_adjustment_get_value(along) +
                                            by * gtk_adjustment_get_step_increment(along));
        return TRUE;
    }
    if (gtk_widget_get_direction(widget) == GTK_TEXT_DIR_RTL)
        by = -by;
    if (horizontal)
        gtk_widget_activate_action(widget, by > 0 ? "win.next" : "win.previous", NULL);
    return horizontal;
}

/* Where the picture is larger than the view they move it; else left and right are other pictures. */
static void add_arrows(GtkWidgetClass *widget_class)
{
    static const struct {
        guint key, keypad;
        gboolean horizontal;
        int by;
    } all[] = {
        {GDK_KEY_Left, GDK_KEY_KP_Left, TRUE, -1},
        {GDK_KEY_Right, GDK_KEY_KP_Right, TRUE, 1},
        {GDK_KEY_Up, GDK_KEY_KP_Up, FALSE, -1},
        {GDK_KEY_Down, GDK_KEY_KP_Down, FALSE, 1},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
        gtk_widget_class_add_binding(widget_class, all[i].key, 0, on_arrow, "(bi)",
                                     all[i].horizontal, all[i].by);
        gtk_widget_class_add_binding(widget_class, all[i].keypad, 0, on_arrow, "(bi)",
                                     all[i].horizontal, all[i].by);
    }
}

/* --- The widget --- */

static void viewer_page_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    g_value_set_string(value, VIEWER_PAGE(object)->reason);
}

static void viewer_page_dispose(GObject *object)
{
    ViewerPage *self = VIEWER_PAGE(object);

    if (self->overlay)
        viewer_page_set_entry(self, NULL);
    g_clear_pointer(&self->overlay, gtk_widget_unparent);
    g_clear_pointer(&self->reason, g_free);
    g_clear_object(&self->workers);
    G_OBJECT_CLASS(viewer_page_parent_class)->dispose(object);
}

static void viewer_page_class_init(ViewerPageClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = viewer_page_dispose;
    G_OBJECT_CLASS(klass)->get_property = viewer_page_get_property;
    props[PROP_REASON] = g_param_spec_string("reason", NULL, NULL, NULL,
                                             G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(G_OBJECT_CLASS(klass), N_PROPS, props);
    add_arrows(widget_class);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/afork/Viewer/page.ui");
    gtk_widget_class_bind_template_child(widget_class, ViewerPage, overlay);
    gtk_widget_class_bind_template_child(widget_class, ViewerPage, stack);
    gtk_widget_class_bind_template_child(widget_class, ViewerPage, scrolled);
    gtk_widget_class_bind_template_child(widget_class, ViewerPage, picture);
    gtk_widget_class_bind_template_child(widget_class, ViewerPage, reason_label);
    gtk_widget_class_bind_template_child(widget_class, ViewerPage, spinner);
    gtk_widget_class_bind_template_callback(widget_class, on_motion);
    gtk_widget_class_bind_template_callback(widget_class, on_scroll);
    gtk_widget_class_bind_template_callback(widget_class, on_drag_begin);
    gtk_widget_class_bind_template_callback(widget_class, on_drag_update);
    gtk_widget_class_set_layout_manager_type(widget_class, GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_accessible_role(widget_class, GTK_ACCESSIBLE_ROLE_GROUP);
}

static void viewer_page_init(ViewerPage *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    gtk_widget_set_focusable(GTK_WIDGET(self), TRUE); /* keys are meant for it, not for what it holds */
}

GtkWidget *viewer_page_new(ViewerWorkers *workers)
{
    ViewerPage *self = g_object_new(VIEWER_TYPE_PAGE, NULL);

    self->workers = g_object_ref(workers);
    return GTK_WIDGET(self);
}

GdkTexture *viewer_page_get_texture(ViewerPage *self)
{
    return self->texture;
}

const char *viewer_page_get_reason(ViewerPage *self)
{
    return self->reason;
}
