/* SPDX-License-Identifier: MIT */
#include "viewer-window.h"

#include "viewer-status.h"
#include "viewer-window-actions.h"

struct _ViewerWindow {
    GtkApplicationWindow parent_instance;

    ViewerThumbnailer *thumbnailer;
    ViewerFolder *folder;
    GtkSingleSelection *selection;
    ViewerBatch *batch;
    GCancellable *opening; /* while it is looked what a file is, or NULL */
    char *pending; /* name of the picture that is to be shown once it is in the list */
    gboolean settled;      /* the folder was read once */

    GtkWidget *back_button, *open_button, *title_label, *subtitle_label;
    GtkWidget *notice, *notice_label, *stack;
    GtkWidget *placeholder_title, *placeholder_text, *placeholder_button;
    GtkWidget *grid_place, *picture_place, *status_place;
    GtkWidget *grid, *page, *status;
};

G_DEFINE_TYPE(ViewerWindow, viewer_window, GTK_TYPE_APPLICATION_WINDOW)

/* --- What is to be seen --- */

static void set_title(ViewerWindow *self)
{
    g_autofree char *folder = self->folder
                                  ? g_filename_display_basename(viewer_folder_get_path(self->folder))
                                  : NULL;
    ViewerEntry *entry = self->selection ? gtk_single_selection_get_selected_item(self->selection)
                                         : NULL;
    g_autofree char *place = NULL;
    const char *title = folder ? folder : "Pictures";

    if (viewer_window_shows_picture(self) && entry) {
        title = viewer_entry_get_display_name(entry);
        place = g_strdup_printf("%'u of %'u", gtk_single_selection_get_selected(self->selection) + 1,
                                g_list_model_get_n_items(G_LIST_MODEL(self->selection)));
    }
    gtk_label_set_text(GTK_LABEL(self->title_label), title);
    gtk_label_set_text(GTK_LABEL(self->subtitle_label), place ? place : "");
    gtk_widget_set_visible(self->subtitle_label, place != NULL);
    gtk_window_set_title(GTK_WINDOW(self), title);
    viewer_window_update_actions(self);
}

static void show(ViewerWindow *self, const char *name)
{
    gboolean picture = g_str_equal(name, "picture");

    gtk_stack_set_visible_child_name(GTK_STACK(self->stack), name);
    gtk_widget_set_visible(self->back_button, picture);
    set_title(self);
    if (picture)
        gtk_widget_grab_focus(self->page);
    else
        viewer_page_set_entry(VIEWER_PAGE(self->page), NULL);
}

static void show_placeholder(ViewerWindow *self, const char *title, const char *text)
{
    gtk_label_set_text(GTK_LABEL(self->placeholder_title), title);
    gtk_label_set_text(GTK_LABEL(self->placeholder_text), text);
    /* Where the only thing to do is to open a folder, it is offered in the middle. */
    gtk_widget_set_visible(self->placeholder_button, !self->folder && !self->opening);
    gtk_widget_set_visible(self->open_button, self->folder || self->opening);
    show(self, "placeholder");
}

static void show_reading(ViewerWindow *self, const char *path)
{
    g_autofree char *name = g_filename_display_name(path);

    show_placeholder(self, "Reading…", name);
}

/* What is read later may belong before the first; who has not begun to look around stays at the top. */
static void stay_at_top(ViewerWindow *self)
{
    if (!self->settled && !viewer_window_shows_picture(self) &&
        viewer_grid_is_at_top(VIEWER_GRID(self->grid)) &&
        gtk_single_selection_get_selected(self->selection)) {
        gtk_single_selection_set_selected(self->selection, 0);
        viewer_grid_reveal(VIEWER_GRID(self->grid), 0);
    }
    self->settled |= !viewer_folder_get_loading(self->folder);
}

/* The state of the folder decides, as long as no picture is shown in full. */
static void on_folder_changed(ViewerWindow *self)
{
    guint n = g_list_model_get_n_items(G_LIST_MODEL(self->folder)), position;
    const char *message = viewer_folder_get_message(self->folder);
    gboolean loading = viewer_folder_get_loading(self->folder);

    stay_at_top(self);
    if (self->pending && viewer_folder_find(self->folder, self->pending, &position)) {
        g_clear_pointer(&self->pending, g_free);
        viewer_window_show_picture(self, position);
    } else if (message) {
        show_placeholder(self, "Folder Cannot Be Shown", message);
    } else if (!n && loading) {
        show_reading(self, viewer_folder_get_path(self->folder));
    } else if (!n) {
        show_placeholder(self, "No Pictures", "There are no pictures in this folder.");
    } else if (!viewer_window_shows_picture(self) &&
               !g_str_equal(viewer_window_get_visible(self), "grid")) {
        show(self, "grid");
        gtk_widget_grab_focus(self->grid);
    } else {
        set_title(self);
    }
    if (!loading)
        g_clear_pointer(&self->pending, g_free);
}

static void on_selected(ViewerWindow *self)
{
    if (viewer_window_shows_picture(self))
        viewer_page_set_entry(VIEWER_PAGE(self->page),
                              gtk_single_selection_get_selected_item(self->selection));
    set_title(self);
}

static void on_workers_message(ViewerWindow *self)
{
    const char *message = viewer_workers_get_message(
        viewer_thumbnailer_get_workers(self->thumbnailer));
    g_autofree char *text = message ? g_strconcat("Pictures cannot be decoded: ", message, NULL)
                                    : g_strdup("");

    gtk_label_set_text(GTK_LABEL(self->notice_label), text);
    gtk_info_bar_set_revealed(GTK_INFO_BAR(self->notice), message != NULL);
    if (message)
        return;
    viewer_grid_refresh(VIEWER_GRID(self->grid));
    viewer_page_retry(VIEWER_PAGE(self->page));
    if (self->batch && viewer_batch_get_done(self->batch) < viewer_batch_get_total(self->batch))
        viewer_window_make_all(self); /* what there is by now is only looked at */
}

/* --- Pictures --- */

gboolean viewer_window_can_step(ViewerWindow *self, int by)
{
    if (!viewer_window_shows_picture(self))
        return FALSE;
    guint selected = gtk_single_selection_get_selected(self->selection);

    return by < 0 ? selected > 0
                  : selected + 1 < g_list_model_get_n_items(G_LIST_MODEL(self->selection));
}

gboolean viewer_window_shows_picture(ViewerWindow *self)
{
    return g_strcmp0(viewer_window_get_visible(self), "picture") == 0;
}

void viewer_window_show_picture(ViewerWindow *self, guint position)
{
    gtk_single_selection_set_selected(self->selection, position);
    viewer_page_set_entry(VIEWER_PAGE(self->page),
                          gtk_single_selection_get_selected_item(self->selection));
    show(self, "picture");
}

void viewer_window_show_grid(ViewerWindow *self)
{
    show(self, "grid");
    gtk_widget_grab_focus(self->grid);
    viewer_grid_reveal(VIEWER_GRID(self->grid), gtk_single_selection_get_selected(self->selection));
    on_folder_changed(self);
}

void viewer_window_step(ViewerWindow *self, int by)
{
    guint n = g_list_model_get_n_items(G_LIST_MODEL(self->selection));
    gint64 position = (gint64)gtk_single_selection_get_selected(self->selection) + by;

    if (n)
        gtk_single_selection_set_selected(self->selection, (guint)CLAMP(position, 0, n - 1));
}

static void on_activate(ViewerWindow *self, guint position)
{
    viewer_window_show_picture(self, position);
}

/* --- Folders --- */

void viewer_window_make_all(ViewerWindow *self)
{
    if (self->batch)
        viewer_batch_stop(self->batch);
    g_clear_object(&self->batch);
    if (self->folder)
        self->batch = viewer_batch_new(self->thumbnailer, self->folder);
    viewer_status_set_batch(VIEWER_STATUS(self->status), self->batch);
}

static void close_folder(ViewerWindow *self)
{
    if (self->opening)
        g_cancellable_cancel(self->opening);
    g_clear_object(&self->opening);
    if (self->batch)
        viewer_batch_stop(self->batch);
    g_clear_object(&self->batch);
    viewer_grid_set_model(VIEWER_GRID(self->grid), NULL);
    viewer_page_set_entry(VIEWER_PAGE(self->page), NULL);
    viewer_status_set_folder(VIEWER_STATUS(self->status), NULL);
    if (self->folder) {
        g_signal_handlers_disconnect_by_data(self->folder, self);
        viewer_folder_close(self->folder);
    }
    if (self->selection)
        g_signal_handlers_disconnect_by_data(self->selection, self);
    g_clear_object(&self->folder);
    g_clear_object(&self->selection);
    g_clear_pointer(&self->pending, g_free);
}

/* `name` is that of a picture in it, or NULL. */
static void open_folder(ViewerWindow *self, GFile *folder, const char *name)
{
    g_autofree char *path = folder ? g_file_get_path(folder) : NULL;

    if (!path) {
        show_placeholder(self, "Folder Cannot Be Shown", "It is not on this computer.");
        return;
    }
    self->pending = g_strdup(name);
    self->settled = FALSE;
    self->folder = viewer_folder_new(path);
    self->selection = gtk_single_selection_new(G_LIST_MODEL(g_object_ref(self->folder)));
    g_signal_connect_swapped(self->selection, "notify::selected-item", G_CALLBACK(on_selected), self);
    viewer_grid_set_model(VIEWER_GRID(self->grid), self->selection);
    viewer_status_set_folder(VIEWER_STATUS(self->status), self->folder);
    g_signal_connect_swapped(self->folder, "notify", G_CALLBACK(on_folder_changed), self);
    show(self, "placeholder");
    on_folder_changed(self);
}

static void on_type(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(ViewerWindow) self = data;
    GFile *file = G_FILE(source);
    g_autoptr(GError) error = NULL;
    g_autoptr(GFileInfo) info = g_file_query_info_finish(file, result, &error);

    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return; /* another was opened, or the window is closed */
    g_clear_object(&self->opening);
    if (!info || g_file_info_get_file_type(info) == G_FILE_TYPE_DIRECTORY) {
        open_folder(self, file, NULL); /* which tells why it cannot be read */
        return;
    }
    g_autoptr(GFile) folder = g_file_get_parent(file);
    g_autofree char *name = g_file_get_basename(file);
    open_folder(self, folder, name);
}

/* It may be at the other end of a network: that is waited for, but not here. */
void viewer_window_open(ViewerWindow *self, GFile *file)
{
    g_autofree char *name = g_file_get_parse_name(file);

    close_folder(self);
    self->opening = g_cancellable_new();
    show_reading(self, name);
    g_file_query_info_async(file, G_FILE_ATTRIBUTE_STANDARD_TYPE, G_FILE_QUERY_INFO_NONE,
                            G_PRIORITY_DEFAULT, self->opening, on_type, g_object_ref(self));
}

static gboolean on_drop(GtkDropTarget *target, const GValue *value, double x, double y,
                        gpointer data)
{
    GSList *files = g_value_get_boxed(value);

    if (files)
        viewer_window_open(data, files->data);
    return files != NULL;
}

/* --- The widget --- */

static void viewer_window_dispose(GObject *object)
{
    ViewerWindow *self = VIEWER_WINDOW(object);

    if (self->thumbnailer)
        close_folder(self);
    g_clear_object(&self->thumbnailer);
    G_OBJECT_CLASS(viewer_window_parent_class)->dispose(object);
}

static void load_style(void)
{
    g_autoptr(GtkCssProvider) style = gtk_css_provider_new();

    gtk_css_provider_load_from_resource(style, "/org/afork/Viewer/style.css");
    gtk_style_context_add_provider_for_display(gdk_display_get_default(), GTK_STYLE_PROVIDER(style),
                                               GTK_STYLE_PROVIDER_PRIORITY_APPLICATION);
}

static void viewer_window_class_init(ViewerWindowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    load_style();
    G_OBJECT_CLASS(klass)->dispose = viewer_window_dispose;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/afork/Viewer/window.ui");
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, back_button);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, open_button);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, title_label);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, subtitle_label);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, notice);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, notice_label);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, stack);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, placeholder_title);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, placeholder_text);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, placeholder_button);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, grid_place);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, picture_place);
    gtk_widget_class_bind_template_child(widget_class, ViewerWindow, status_place);
}

static void viewer_window_init(ViewerWindow *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    viewer_window_add_actions(self);
}

GtkWindow *viewer_window_new(GtkApplication *application, ViewerThumbnailer *thumbnailer)
{
    ViewerWindow *self = g_object_new(VIEWER_TYPE_WINDOW, "application", application, NULL);
    ViewerWorkers *workers = viewer_thumbnailer_get_workers(thumbnailer);
    GtkDropTarget *target = gtk_drop_target_new(GDK_TYPE_FILE_LIST, GDK_ACTION_COPY);

    self->thumbnailer = g_object_ref(thumbnailer);
    self->grid = viewer_grid_new(thumbnailer);
    self->page = viewer_page_new(workers);
    self->status = viewer_status_new(thumbnailer);
    gtk_widget_set_vexpand(self->grid, TRUE);
    gtk_widget_set_vexpand(self->page, TRUE);
    gtk_box_append(GTK_BOX(self->grid_place), self->grid);
    gtk_box_append(GTK_BOX(self->picture_place), self->page);
    gtk_box_append(GTK_BOX(self->status_place), self->status);
    g_signal_connect_object(self->grid, "activate", G_CALLBACK(on_activate), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->page, "notify::reason", G_CALLBACK(viewer_window_update_actions),
                            self, G_CONNECT_SWAPPED);
    g_signal_connect_object(workers, "notify::message", G_CALLBACK(on_workers_message), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect(target, "drop", G_CALLBACK(on_drop), self);
    gtk_widget_add_controller(GTK_WIDGET(self), GTK_EVENT_CONTROLLER(target));
    on_workers_message(self);
    show_placeholder(self, "No Folder", "Open a folder of pictures, or drop one here.");
    return GTK_WINDOW(self);
}

ViewerFolder *viewer_window_get_folder(ViewerWindow *self)
{
    return self->folder;
}

ViewerThumbnailer *viewer_window_get_thumbnailer(ViewerWindow *self)
{
    return self->thumbnailer;
}

ViewerGrid *viewer_window_get_grid(ViewerWindow *self)
{
    return VIEWER_GRID(self->grid);
}

ViewerPage *viewer_window_get_page(ViewerWindow *self)
{
    return VIEWER_PAGE(self->page);
}

void viewer_window_immerse(ViewerWindow *self, gboolean immersed)
{
    gtk_widget_set_visible(self->status_place, !immersed);
}

ViewerBatch *viewer_window_get_batch(ViewerWindow *self)
{
    return self->batch;
}

const char *viewer_window_get_visible(ViewerWindow *self)
{
    return gtk_stack_get_visible_child_name(GTK_STACK(self->stack));
}

const char *viewer_window_get_notice(ViewerWindow *self)
{
    return gtk_info_bar_get_revealed(GTK_INFO_BAR(self->notice))
               ? gtk_label_get_text(GTK_LABEL(self->notice_label))
               : NULL;
}
