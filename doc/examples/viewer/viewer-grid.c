/* SPDX-License-Identifier: MIT
 *
 * GtkGridView has tiles for more than is in view: so many rows as it thinks could be, and in each
 * as many tiles as there may be columns. It is allowed as many columns as fit, since each tile
 * costs time when a folder is opened, and when it is scrolled. This file also tells tiles how far
 * from view they are, after the layout: they then ask for thumbnails, or let go of them.
 */
#include "viewer-grid.h"

enum { COLUMNS = 5 }; /* before anything is laid out */

struct _ViewerGrid {
    GtkWidget parent_instance;

    ViewerThumbnailer *thumbnailer;
    GtkWidget *scrolled, *view;
    GHashTable *tiles; /* that have an entry -> their GtkListItem; borrowed */
    guint idle;
    guint revealed; /* position that gets the focus once it is there; GTK_INVALID_LIST_POSITION: none */
    guint selected; /* when that was asked for: who went on with the keys since then is not called back */
};

G_DEFINE_TYPE(ViewerGrid, viewer_grid, GTK_TYPE_WIDGET)

static guint activate_signal;

/* --- What is in view --- */

/* Tiles that are out of view are not mapped. */
static void find_view(ViewerGrid *self, guint *first, guint *last)
{
    GHashTableIter i;
    gpointer tile, item;

    *first = G_MAXUINT;
    *last = 0;
    g_hash_table_iter_init(&i, self->tiles);
    while (g_hash_table_iter_next(&i, &tile, &item)) {
        guint position = gtk_list_item_get_position(item);
        if (!gtk_widget_get_mapped(tile))
            continue;
        *first = MIN(*first, position);
        *last = MAX(*last, position);
    }
}

/* One more than what fits, so that a window that is made wider has no gaps until the next frame. */
static void allow_columns(ViewerGrid *self, GtkWidget *tile)
{
    int least;

    gtk_widget_measure(gtk_widget_get_parent(tile), GTK_ORIENTATION_HORIZONTAL, -1, &least, NULL, NULL,
                       NULL);
    guint columns = (guint)(gtk_widget_get_width(self->view) / MAX(least, 1)) + 1;
    if (columns != gtk_grid_view_get_max_columns(GTK_GRID_VIEW(self->view)))
        gtk_grid_view_set_max_columns(GTK_GRID_VIEW(self->view), columns);
}

static guint selected(ViewerGrid *self)
{
    GtkSelectionModel *model = gtk_grid_view_get_model(GTK_GRID_VIEW(self->view));

    return model ? gtk_single_selection_get_selected(GTK_SINGLE_SELECTION(model))
                 : GTK_INVALID_LIST_POSITION;
}

/* The keys go on from where the picture is, not from where they were before. */
static void focus(ViewerGrid *self, GtkWidget *tile)
{
    self->revealed = GTK_INVALID_LIST_POSITION;
    if (selected(self) == self->selected)
        gtk_widget_grab_focus(gtk_widget_get_parent(tile));
}

static gboolean on_idle(gpointer data)
{
    ViewerGrid *self = data;
    guint first, last;
    GHashTableIter i;
    gpointer tile, item, revealed = NULL, any = NULL;

    self->idle = 0;
    find_view(self, &first, &last);
    g_hash_table_iter_init(&i, self->tiles);
    while (g_hash_table_iter_next(&i, &tile, &item)) {
        guint position = gtk_list_item_get_position(item);
        guint away = position < first ? first - position : position > last ? position - last : 0;
        /* With nothing in view, first is behind all. */
        viewer_tile_set_distance(tile, first > last ? 1 : (double)away / (last - first + 1));
        if (position == self->revealed && gtk_widget_get_mapped(tile))
            revealed = tile;
        any = tile;
    }
    if (revealed)
        focus(self, revealed); /* which may scroll, and change what is in the table */
    else if (any)
        allow_columns(self, any); /* the same */
    return G_SOURCE_REMOVE;
}

/* After the layout, which comes just before what is drawn. */
static void look_soon(ViewerGrid *self)
{
    if (!self->idle)
        self->idle = g_idle_add_full(GDK_PRIORITY_REDRAW + 1, on_idle, self, NULL);
}

/* --- Tiles --- */

static void on_setup(GtkListItemFactory *factory, GtkListItem *item, gpointer data)
{
    ViewerGrid *self = data;

    gtk_list_item_set_child(item, viewer_tile_new(self->thumbnailer));
}

static void on_bind(GtkListItemFactory *factory, GtkListItem *item, gpointer data)
{
    ViewerGrid *self = data;
    ViewerTile *tile = VIEWER_TILE(gtk_list_item_get_child(item));

    viewer_tile_set_entry(tile, gtk_list_item_get_item(item));
    g_hash_table_insert(self->tiles, tile, item);
    look_soon(self);
}

static void on_unbind(GtkListItemFactory *factory, GtkListItem *item, gpointer data)
{
    ViewerGrid *self = data;
    ViewerTile *tile = VIEWER_TILE(gtk_list_item_get_child(item));

    g_hash_table_remove(self->tiles, tile);
    viewer_tile_set_entry(tile, NULL);
}

void viewer_grid_refresh(ViewerGrid *self)
{
    look_soon(self);
}

gboolean viewer_grid_is_at_top(ViewerGrid *self)
{
    return gtk_adjustment_get_value(gtk_scrolled_window_get_vadjustment(
               GTK_SCROLLED_WINDOW(self->scrolled))) <= 0;
}

void viewer_grid_count(ViewerGrid *self, guint *in_view, guint *missing)
{
    GHashTableIter i;
    gpointer tile;

    *in_view = *missing = 0;
    g_hash_table_iter_init(&i, self->tiles);
    while (g_hash_table_iter_next(&i, &tile, NULL)) {
        if (!gtk_widget_get_mapped(tile))
            continue;
        ++*in_view;
        *missing += viewer_tile_get_state(tile) == VIEWER_TILE_EMPTY;
    }
}

ViewerTile *viewer_grid_find_tile(ViewerGrid *self, const char *name)
{
    GHashTableIter i;
    gpointer tile;

    g_hash_table_iter_init(&i, self->tiles);
    while (g_hash_table_iter_next(&i, &tile, NULL))
        if (g_str_equal(viewer_entry_get_name(viewer_tile_get_entry(tile)), name))
            return tile;
    return NULL;
}

/* --- The widget --- */

static void on_activate(GtkGridView *view, guint position, gpointer data)
{
    g_signal_emit(data, activate_signal, 0, position);
}

static void viewer_grid_map(GtkWidget *widget)
{
    GTK_WIDGET_CLASS(viewer_grid_parent_class)->map(widget);
    look_soon(VIEWER_GRID(widget));
}

static void viewer_grid_measure(GtkWidget *widget, GtkOrientation orientation, int for_size,
                                int *minimum, int *natural, int *minimum_baseline,
                                int *natural_baseline)
{
    gtk_widget_measure(VIEWER_GRID(widget)->scrolled, orientation, for_size, minimum, natural, NULL, NULL);
}

static void viewer_grid_size_allocate(GtkWidget *widget, int width, int height, int baseline)
{
    gtk_widget_allocate(VIEWER_GRID(widget)->scrolled, width, height, baseline, NULL);
    look_soon(VIEWER_GRID(widget));
}

static gboolean viewer_grid_grab_focus(GtkWidget *widget)
{
    return gtk_widget_grab_focus(VIEWER_GRID(widget)->view);
}

static void viewer_grid_dispose(GObject *object)
{
    ViewerGrid *self = VIEWER_GRID(object);

    g_clear_handle_id(&self->idle, g_source_remove);
    if (self->view)
        gtk_grid_view_set_model(GTK_GRID_VIEW(self->view), NULL);
    self->view = NULL;
    g_clear_pointer(&self->scrolled, gtk_widget_unparent);
    g_clear_object(&self->thumbnailer);
    G_OBJECT_CLASS(viewer_grid_parent_class)->dispose(object);
}

static void viewer_grid_finalize(GObject *object)
{
    g_hash_table_unref(VIEWER_GRID(object)->tiles);
    G_OBJECT_CLASS(viewer_grid_parent_class)->finalize(object);
}

static void viewer_grid_class_init(ViewerGridClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = viewer_grid_dispose;
    G_OBJECT_CLASS(klass)->finalize = viewer_grid_finalize;
    widget_class->map = viewer_grid_map;
    widget_class->grab_focus = viewer_grid_grab_focus;
    widget_class->measure = viewer_grid_measure;
    widget_class->size_allocate = viewer_grid_size_allocate;
    activate_signal = g_signal_new("activate", VIEWER_TYPE_GRID, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                   NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
}

static void viewer_grid_init(ViewerGrid *self)
{
    self->tiles = g_hash_table_new(NULL, NULL);
    self->revealed = GTK_INVALID_LIST_POSITION;
}

GtkWidget *viewer_grid_new(ViewerThumbnailer *thumbnailer)
{
    ViewerGrid *self = g_object_new(VIEWER_TYPE_GRID, NULL);
    GtkListItemFactory *factory = gtk_signal_list_item_factory_new();

    self->thumbnailer = g_object_ref(thumbnailer);
    g_signal_connect(factory, "setup", G_CALLBACK(on_setup), self);
    g_signal_connect(factory, "bind", G_CALLBACK(on_bind), self);
    g_signal_connect(factory, "unbind", G_CALLBACK(on_unbind), self);
    self->view = gtk_grid_view_new(NULL, factory);
    gtk_grid_view_set_max_columns(GTK_GRID_VIEW(self->view), COLUMNS);
    g_signal_connect(self->view, "activate", G_CALLBACK(on_activate), self);
    self->scrolled = gtk_scrolled_window_new();
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(self->scrolled), GTK_POLICY_NEVER,
                                   GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(self->scrolled), self->view);
    gtk_widget_set_parent(self->scrolled, GTK_WIDGET(self));
    GtkAdjustment *adjustment = gtk_scrolled_window_get_vadjustment(
        GTK_SCROLLED_WINDOW(self->scrolled));
    g_signal_connect_object(adjustment, "value-changed", G_CALLBACK(look_soon), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(adjustment, "changed", G_CALLBACK(look_soon), self, G_CONNECT_SWAPPED);
    return GTK_WIDGET(self);
}

void viewer_grid_set_model(ViewerGrid *self, GtkSingleSelection *model)
{
    gtk_grid_view_set_model(GTK_GRID_VIEW(self->view), GTK_SELECTION_MODEL(model));
}

void viewer_grid_reveal(ViewerGrid *self, guint position)
{
    gtk_widget_activate_action(self->view, "list.scroll-to-item", "u", position);
    if (gtk_widget_get_focus_child(GTK_WIDGET(self)))
        self->revealed = position;
    self->selected = selected(self);
    look_soon(self);
}
