/* SPDX-License-Identifier: MIT
 *
 * The thumbnail is drawn here, not by a GtkPicture: that would have the whole grid laid out again
 * for each one that comes, as a picture asks for its own size.
 */
#include "viewer-tile.h"

#include <afork/afork.h>
#include <math.h>

enum {
    SIDE = 168, /* pixels that the thumbnail gets */
    ICON = 48,
    SPACE = 6,
};

struct _ViewerTile {
    GtkWidget parent_instance;

    ViewerThumbnailer *thumbnailer;
    GtkWidget *label;
    ViewerEntry *entry;
    double distance;

    ViewerTileState state;
    GdkTexture *texture;
    GtkIconPaintable *icon; /* of a broken picture, while it is one */
    char *reason;

    GCancellable *cancellable;  /* of the request under way, or NULL */
    GAforkCallOptions *options; /* the same */
    guint generation;           /* of the entry, when it was made */
};

G_DEFINE_TYPE(ViewerTile, viewer_tile, GTK_TYPE_WIDGET)

static void request(ViewerTile *self);

/* --- What it shows --- */

static void set_state(ViewerTile *self, ViewerTileState state, GdkTexture *texture,
                      const char *reason)
{
    /* Whoever cannot see that it is broken is told so. */
    if (g_strcmp0(self->reason, reason) != 0)
        gtk_accessible_update_property(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_DESCRIPTION,
                                       reason ? reason : "", -1);
    if (self->entry)
        viewer_entry_set_thumbnail(self->entry, texture);
    self->state = state;
    g_set_object(&self->texture, texture);
    g_free(self->reason);
    self->reason = g_strdup(reason);
    g_clear_object(&self->icon);
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

static gboolean on_query_tooltip(GtkWidget *widget, int x, int y, gboolean keyboard,
                                 GtkTooltip *tooltip, gpointer data)
{
    ViewerTile *self = VIEWER_TILE(widget);

    if (!self->entry)
        return FALSE;
    const char *name = viewer_entry_get_display_name(self->entry);
    g_autofree char *text = self->reason ? g_strdup_printf("%s\n%s", name, self->reason)
                                         : g_strdup(name);
    GtkWidget *label = g_object_new(GTK_TYPE_LABEL, "label", text, "wrap", TRUE, "max-width-chars", 40,
                                    NULL);
    gtk_tooltip_set_custom(tooltip, label);
    gtk_tooltip_set_tip_area(tooltip, &(GdkRectangle){0, 0, gtk_widget_get_width(widget),
                                                      gtk_widget_get_height(widget)});
    return TRUE;
}

/* --- The request --- */

static void drop_request(ViewerTile *self)
{
    if (self->cancellable)
        g_cancellable_cancel(self->cancellable);
    g_clear_object(&self->cancellable);
    g_clear_object(&self->options);
}

static void on_thumbnail(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(ViewerTile) self = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GdkTexture) texture = viewer_thumbnailer_get_finish(VIEWER_THUMBNAILER(source), result,
                                                                  &error);

    if (g_task_get_cancellable(G_TASK(result)) != self->cancellable || !self->entry)
        return; /* it shows something else by now */
    g_clear_object(&self->cancellable);
    g_clear_object(&self->options);
    if (texture)
        set_state(self, VIEWER_TILE_SHOWN, texture, NULL);
    else if (g_error_matches(error, VIEWER_ERROR, VIEWER_ERROR_WORKERS))
        set_state(self, VIEWER_TILE_EMPTY, NULL, NULL); /* the window tells */
    else
        set_state(self, VIEWER_TILE_BROKEN, NULL, error->message);
    if (self->generation != viewer_entry_get_generation(self->entry))
        request(self); /* it has changed meanwhile */
}

/* In the queue of the pool: what is in view comes first, then what is near. */
static int priority(ViewerTile *self)
{
    return self->distance > 0 ? -1 - (int)(10 * self->distance) : 0;
}

static void request(ViewerTile *self)
{
    self->cancellable = g_cancellable_new();
    self->options = g_object_new(GAFORK_TYPE_CALL_OPTIONS, "priority", priority(self), NULL);
    self->generation = viewer_entry_get_generation(self->entry);
    viewer_thumbnailer_get_async(self->thumbnailer, self->entry,
                                 SIDE * gtk_widget_get_scale_factor(GTK_WIDGET(self)),
                                 self->options, self->cancellable, on_thumbnail, g_object_ref(self));
}

/* A file that changes all the time has one request at a time, and shows the last that went well. */
static void on_entry_changed(ViewerEntry *entry, gpointer data)
{
    ViewerTile *self = data;

    if (self->distance < 1 && !self->cancellable)
        request(self);
}

void viewer_tile_set_distance(ViewerTile *self, double distance)
{
    self->distance = distance;
    if (!self->entry)
        return;
    if (distance >= 1) {
        drop_request(self);
        if (self->state != VIEWER_TILE_EMPTY)
            set_state(self, VIEWER_TILE_EMPTY, NULL, NULL);
    } else if (self->options) {
        g_object_set(self->options, "priority", priority(self), NULL);
    } else if (self->state == VIEWER_TILE_EMPTY) {
        request(self);
    }
}

void viewer_tile_set_entry(ViewerTile *self, ViewerEntry *entry)
{
    if (self->entry == entry)
        return;
    drop_request(self);
    set_state(self, VIEWER_TILE_EMPTY, NULL, NULL);
    if (self->entry)
        g_signal_handlers_disconnect_by_data(self->entry, self);
    g_set_object(&self->entry, entry);
    self->distance = 1;
    if (!entry)
        return;
    const char *name = viewer_entry_get_display_name(entry);
    gtk_inscription_set_text(GTK_INSCRIPTION(self->label), name);
    gtk_accessible_update_property(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_LABEL, name, -1);
    g_signal_connect(entry, "changed", G_CALLBACK(on_entry_changed), self);
}

/* The window went to another monitor: what was made for the old one stays until there is a better. */
static void on_scale_factor(ViewerTile *self)
{
    if (self->entry && self->distance < 1) {
        drop_request(self);
        request(self);
    }
}

/* --- The widget --- */

static void viewer_tile_measure(GtkWidget *widget, GtkOrientation orientation, int for_size,
                                int *minimum, int *natural, int *minimum_baseline,
                                int *natural_baseline)
{
    int label = 0;

    if (orientation == GTK_ORIENTATION_VERTICAL) {
        gtk_widget_measure(VIEWER_TILE(widget)->label, orientation, SIDE, &label, NULL, NULL, NULL);
        label += SPACE;
    }
    *minimum = *natural = SIDE + label;
}

static void viewer_tile_size_allocate(GtkWidget *widget, int width, int height, int baseline)
{
    GtkAllocation below = {0, SIDE + SPACE, width, height - SIDE - SPACE};

    gtk_widget_size_allocate(VIEWER_TILE(widget)->label, &below, -1);
}

/* Pixel for pixel: workers make it as large as it is shown. One that was made for another monitor is
 * kept within its place until there is a better. */
static void draw_texture(ViewerTile *self, GtkSnapshot *snapshot, int width)
{
    float larger = (float)MAX(gdk_texture_get_width(self->texture),
                              gdk_texture_get_height(self->texture));
    float scale = MAX((float)gtk_widget_get_scale_factor(GTK_WIDGET(self)), larger / SIDE);
    float texture_width = (float)gdk_texture_get_width(self->texture) / scale;
    float texture_height = (float)gdk_texture_get_height(self->texture) / scale;

    gtk_snapshot_append_texture(snapshot, self->texture,
                                &GRAPHENE_RECT_INIT(floorf(((float)width - texture_width) / 2),
                                                    floorf((SIDE - texture_height) / 2),
                                                    texture_width, texture_height));
}

/* A frame in the place of the picture, with an icon if it is broken. */
static void draw_frame(ViewerTile *self, GtkSnapshot *snapshot, double width)
{
    GskRoundedRect frame;
    GdkRGBA colour;

    gtk_style_context_get_color(gtk_widget_get_style_context(GTK_WIDGET(self)), &colour);
    colour.alpha *= 0.06f;
    gsk_rounded_rect_init_from_rect(
        &frame, &GRAPHENE_RECT_INIT((float)(width - SIDE) / 2, SIDE / 8, SIDE, SIDE * 3 / 4), 8);
    gtk_snapshot_push_rounded_clip(snapshot, &frame);
    gtk_snapshot_append_color(snapshot, &colour, &frame.bounds);
    gtk_snapshot_pop(snapshot);
    if (self->state != VIEWER_TILE_BROKEN)
        return;
    if (!self->icon)
        self->icon = gtk_icon_theme_lookup_icon(
            gtk_icon_theme_get_for_display(gtk_widget_get_display(GTK_WIDGET(self))),
            "image-missing-symbolic", NULL, ICON, gtk_widget_get_scale_factor(GTK_WIDGET(self)),
            gtk_widget_get_direction(GTK_WIDGET(self)), GTK_ICON_LOOKUP_FORCE_SYMBOLIC);
    gtk_style_context_get_color(gtk_widget_get_style_context(GTK_WIDGET(self)), &colour);
    colour.alpha *= 0.75f;
    gtk_snapshot_save(snapshot);
    gtk_snapshot_translate(snapshot,
                           &GRAPHENE_POINT_INIT((float)(width - ICON) / 2, (SIDE - ICON) / 2));
    gtk_symbolic_paintable_snapshot_symbolic(GTK_SYMBOLIC_PAINTABLE(self->icon), snapshot, ICON,
                                             ICON, &colour, 1);
    gtk_snapshot_restore(snapshot);
}

static void viewer_tile_snapshot(GtkWidget *widget, GtkSnapshot *snapshot)
{
    ViewerTile *self = VIEWER_TILE(widget);

    if (self->texture)
        draw_texture(self, snapshot, gtk_widget_get_width(widget));
    else
        draw_frame(self, snapshot, gtk_widget_get_width(widget));
    gtk_widget_snapshot_child(widget, self->label, snapshot);
}

static void viewer_tile_dispose(GObject *object)
{
    ViewerTile *self = VIEWER_TILE(object);

    viewer_tile_set_entry(self, NULL);
    g_clear_pointer(&self->label, gtk_widget_unparent);
    g_clear_object(&self->thumbnailer);
    g_clear_pointer(&self->reason, g_free);
    G_OBJECT_CLASS(viewer_tile_parent_class)->dispose(object);
}

static void viewer_tile_class_init(ViewerTileClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = viewer_tile_dispose;
    widget_class->measure = viewer_tile_measure;
    widget_class->size_allocate = viewer_tile_size_allocate;
    widget_class->snapshot = viewer_tile_snapshot;
    gtk_widget_class_set_css_name(widget_class, "tile");
    gtk_widget_class_set_accessible_role(widget_class, GTK_ACCESSIBLE_ROLE_IMG);
}

static void viewer_tile_init(ViewerTile *self)
{
    self->label = g_object_new(GTK_TYPE_INSCRIPTION, "xalign", 0.5f, "text-overflow",
                               GTK_INSCRIPTION_OVERFLOW_ELLIPSIZE_MIDDLE, NULL);
    gtk_widget_set_parent(self->label, GTK_WIDGET(self));
    gtk_widget_set_has_tooltip(GTK_WIDGET(self), TRUE);
    g_signal_connect(self, "query-tooltip", G_CALLBACK(on_query_tooltip), NULL);
    g_signal_connect(self, "notify::scale-factor", G_CALLBACK(on_scale_factor), NULL);
}

GtkWidget *viewer_tile_new(ViewerThumbnailer *thumbnailer)
{
    ViewerTile *self = g_object_new(VIEWER_TYPE_TILE, NULL);

    self->thumbnailer = g_object_ref(thumbnailer);
    return GTK_WIDGET(self);
}

ViewerEntry *viewer_tile_get_entry(ViewerTile *self)
{
    return self->entry;
}

ViewerTileState viewer_tile_get_state(ViewerTile *self)
{
    return self->state;
}

const char *viewer_tile_get_reason(ViewerTile *self)
{
    return self->reason;
}
