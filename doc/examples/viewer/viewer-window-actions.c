/* SPDX-License-Identifier: MIT */
#include "viewer-window-actions.h"

#include <limits.h>

static void on_chosen(GtkNativeDialog *dialog, int response, gpointer data)
{
    g_autoptr(GFile) folder = response == GTK_RESPONSE_ACCEPT
                                  ? gtk_file_chooser_get_file(GTK_FILE_CHOOSER(dialog))
                                  : NULL;

    if (folder)
        viewer_window_open(data, folder);
    gtk_native_dialog_destroy(dialog);
    g_object_unref(dialog);
}

static void open_folder(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    GtkFileChooserNative *dialog = gtk_file_chooser_native_new(
        "Open Folder", data, GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER, NULL, NULL);

    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_chosen), data, 0);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

static void reload(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    ViewerFolder *folder = viewer_window_get_folder(data);

    if (folder)
        viewer_folder_reload(folder);
}

static void make_all(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    viewer_window_make_all(data);
}

static void retry(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    viewer_workers_retry(viewer_thumbnailer_get_workers(viewer_window_get_thumbnailer(data)));
}

/* A picture by its position, as a D-Bus client or a script may ask for. */
static void view(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    ViewerFolder *folder = viewer_window_get_folder(data);
    guint position = g_variant_get_uint32(parameter);

    if (folder && position < g_list_model_get_n_items(G_LIST_MODEL(folder)))
        viewer_window_show_picture(data, position);
}

static void back(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    if (gtk_window_is_fullscreen(data))
        gtk_window_unfullscreen(data);
    else if (viewer_window_shows_picture(data))
        viewer_window_show_grid(data);
}

static void next(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    viewer_window_step(data, 1);
}

static void previous(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    viewer_window_step(data, -1);
}

static void first(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    viewer_window_step(data, INT_MIN);
}

static void last(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    viewer_window_step(data, INT_MAX);
}

static void zoom_in(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    viewer_page_zoom(viewer_window_get_page(data), 1.25);
}

static void zoom_out(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    viewer_page_zoom(viewer_window_get_page(data), 1 / 1.25);
}

static void zoom_fit(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    viewer_page_zoom(viewer_window_get_page(data), 0);
}

static void zoom_original(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    viewer_page_zoom(viewer_window_get_page(data), -1);
}

static void fullscreen(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    if (gtk_window_is_fullscreen(data))
        gtk_window_unfullscreen(data);
    else
        gtk_window_fullscreen(data);
}

static void on_fullscreened(ViewerWindow *self)
{
    viewer_window_immerse(self, gtk_window_is_fullscreen(GTK_WINDOW(self)));
    viewer_window_update_actions(self);
}

void viewer_window_add_actions(ViewerWindow *self)
{
    const GActionEntry entries[] = {
        {"open", open_folder},
        {"reload", reload},
        {"make-all", make_all},
        {"retry", retry},
        {"view", view, "u"},
        {"back", back},
        {"next", next},
        {"previous", previous},
        {"first", first},
        {"last", last},
        {"zoom-in", zoom_in},
        {"zoom-out", zoom_out},
        {"zoom-fit", zoom_fit},
        {"zoom-original", zoom_original},
        {"fullscreen", fullscreen},
    };

    g_action_map_add_action_entries(G_ACTION_MAP(self), entries, G_N_ELEMENTS(entries), self);
    g_signal_connect(self, "notify::fullscreened", G_CALLBACK(on_fullscreened), NULL);
}

static void enable(ViewerWindow *self, const char *name, gboolean enabled)
{
    GAction *action = g_action_map_lookup_action(G_ACTION_MAP(self), name);

    g_simple_action_set_enabled(G_SIMPLE_ACTION(action), enabled);
}

void viewer_window_update_actions(ViewerWindow *self)
{
    const char *zoom_actions[] = {"zoom-in", "zoom-out", "zoom-fit", "zoom-original"};
    const char *forward[] = {"next", "last"}, *backward[] = {"previous", "first"};
    gboolean picture = viewer_window_shows_picture(self);
    gboolean zoom = picture && !viewer_page_get_reason(viewer_window_get_page(self));
    gboolean folder = viewer_window_get_folder(self) != NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(zoom_actions); i++)
        enable(self, zoom_actions[i], zoom);
    for (gsize i = 0; i < G_N_ELEMENTS(forward); i++) {
        enable(self, forward[i], viewer_window_can_step(self, 1));
        enable(self, backward[i], viewer_window_can_step(self, -1));
    }
    enable(self, "back", picture || gtk_window_is_fullscreen(GTK_WINDOW(self)));
    enable(self, "reload", folder);
    enable(self, "make-all", folder);
}
