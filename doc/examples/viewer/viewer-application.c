/* SPDX-License-Identifier: MIT */
#include "viewer-application.h"

#include <afork/afork.h>

#include "viewer-window.h"

struct _ViewerApplication {
    GtkApplication parent_instance;

    ViewerThumbnailer *thumbnailer;
};

/* In resource.c, which glib-compile-resources makes of viewer.gresource.xml. */
void viewer_register_resource(void);

G_DEFINE_TYPE(ViewerApplication, viewer_application, GTK_TYPE_APPLICATION)

static void about(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    gtk_show_about_dialog(gtk_application_get_active_window(data), "program-name", "Pictures",
                          "logo-icon-name", "org.afork.Viewer", "version", AFORK_VERSION, "comments",
                          "Looks at folders of pictures. They are decoded by Perl workers.",
                          "license-type", GTK_LICENSE_MIT_X11, NULL);
}

static GtkWindow *new_window(ViewerApplication *self)
{
    GtkWindow *window = viewer_window_new(GTK_APPLICATION(self), self->thumbnailer);

    gtk_window_present(window);
    return window;
}

static void new_empty_window(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    new_window(data);
}

/* No questions: there is nothing to save. */
static void quit(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    g_application_quit(data);
}

static void add_accels(GtkApplication *self)
{
    static const struct {
        const char *action;
        const char *accels[4];
    } all[] = {
        {"app.new-window", {"<Control>n"}},
        {"app.quit", {"<Control>q"}},
        {"win.open", {"<Control>o"}},
        {"win.reload", {"F5", "<Control>r"}},
        {"window.close", {"<Control>w"}},
        {"win.back", {"Escape", "<Alt>Left"}},
        {"win.fullscreen", {"F11"}},
        {"win.zoom-in", {"<Control>plus", "<Control>equal", "<Control>KP_Add"}},
        {"win.zoom-out", {"<Control>minus", "<Control>KP_Subtract"}},
        {"win.zoom-fit", {"<Control>0", "<Control>KP_0"}},
        {"win.zoom-original", {"<Control>1", "<Control>KP_1"}},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(all); i++)
        gtk_application_set_accels_for_action(self, all[i].action, all[i].accels);
}

static void viewer_application_startup(GApplication *application)
{
    const GActionEntry entries[] = {
        {"about", about}, {"new-window", new_empty_window}, {"quit", quit}};
    ViewerApplication *self = VIEWER_APPLICATION(application);

    G_APPLICATION_CLASS(viewer_application_parent_class)->startup(application);
    g_action_map_add_action_entries(G_ACTION_MAP(self), entries, G_N_ELEMENTS(entries), self);
    add_accels(GTK_APPLICATION(self));
    gtk_window_set_default_icon_name("org.afork.Viewer");
    self->thumbnailer = viewer_thumbnailer_new();
}

static void viewer_application_activate(GApplication *application)
{
    GtkWindow *window = gtk_application_get_active_window(GTK_APPLICATION(application));

    if (window)
        gtk_window_present(window);
    else
        new_window(VIEWER_APPLICATION(application));
}

/* In a thread: the first file of each folder, but for the first of all. */
static void find_folders(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    GPtrArray *files = data, *found = g_ptr_array_new_with_free_func(g_object_unref);
    g_autoptr(GHashTable) folders = g_hash_table_new_full(g_file_hash, (GEqualFunc)g_file_equal,
                                                          g_object_unref, NULL);

    for (guint i = 0; i < files->len; i++) {
        GFile *file = files->pdata[i];
        GFileType type = g_file_query_file_type(file, G_FILE_QUERY_INFO_NONE, NULL);
        gboolean itself = type == G_FILE_TYPE_DIRECTORY || type == G_FILE_TYPE_UNKNOWN;
        GFile *parent = itself ? NULL : g_file_get_parent(file);
        if (g_hash_table_add(folders, parent ? parent : g_object_ref(file)) && i > 0)
            g_ptr_array_add(found, g_object_ref(file));
    }
    g_task_return_pointer(task, found, (GDestroyNotify)g_ptr_array_unref);
}

static void on_folders(GObject *source, GAsyncResult *result, gpointer data)
{
    ViewerApplication *self = VIEWER_APPLICATION(source);
    g_autoptr(GPtrArray) files = g_task_propagate_pointer(G_TASK(result), NULL);

    for (guint i = 0; i < files->len; i++)
        viewer_window_open(VIEWER_WINDOW(new_window(self)), files->pdata[i]);
    g_application_release(G_APPLICATION(self));
}

/* Files of one folder share a window, which shows the first of them. That of the first file is there at
 * once; which of the others have another folder may take a network to find out. */
static void viewer_application_open(GApplication *application, GFile **files, int n,
                                    const char *hint)
{
    viewer_window_open(VIEWER_WINDOW(new_window(VIEWER_APPLICATION(application))), files[0]);
    if (n < 2)
        return;
    g_autoptr(GTask) task = g_task_new(application, NULL, on_folders, NULL);
    GPtrArray *all = g_ptr_array_new_with_free_func(g_object_unref);
    for (int i = 0; i < n; i++)
        g_ptr_array_add(all, g_object_ref(files[i]));
    g_task_set_task_data(task, all, (GDestroyNotify)g_ptr_array_unref);
    g_application_hold(application);
    g_task_run_in_thread(task, find_folders);
}

/* Workers are not waited for. */
static void viewer_application_shutdown(GApplication *application)
{
    ViewerApplication *self = VIEWER_APPLICATION(application);

    viewer_workers_close(viewer_thumbnailer_get_workers(self->thumbnailer));
    G_APPLICATION_CLASS(viewer_application_parent_class)->shutdown(application);
    g_clear_object(&self->thumbnailer);
}

/* Also where there is no screen. */
static int viewer_application_handle_local_options(GApplication *application, GVariantDict *options)
{
    if (!g_variant_dict_contains(options, "version"))
        return -1; /* goes on */
    g_print("afork-viewer %s\n", AFORK_VERSION);
    return 0;
}

static void viewer_application_class_init(ViewerApplicationClass *klass)
{
    GApplicationClass *application_class = G_APPLICATION_CLASS(klass);

    viewer_register_resource();
    application_class->startup = viewer_application_startup;
    application_class->activate = viewer_application_activate;
    application_class->open = viewer_application_open;
    application_class->shutdown = viewer_application_shutdown;
    application_class->handle_local_options = viewer_application_handle_local_options;
}

static void viewer_application_init(ViewerApplication *self)
{
    GApplication *application = G_APPLICATION(self);

    g_application_add_main_option(application, "version", 0, 0, G_OPTION_ARG_NONE,
                                  "Show the version", NULL);
    g_application_set_option_context_parameter_string(application, "[FOLDER|PICTURE]...");
    g_application_set_option_context_summary(application, "Shows the pictures of folders.");
}

GtkApplication *viewer_application_new(void)
{
    return g_object_new(VIEWER_TYPE_APPLICATION, "application-id", "org.afork.Viewer", "flags",
                        G_APPLICATION_HANDLES_OPEN, NULL);
}

ViewerThumbnailer *viewer_application_get_thumbnailer(ViewerApplication *self)
{
    return self->thumbnailer;
}
