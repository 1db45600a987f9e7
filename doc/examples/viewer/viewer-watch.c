/* SPDX-License-Identifier: MIT */
#include "viewer-watch.h"

#include <sys/stat.h>

#include "viewer-scan.h"

/* Milliseconds between looks; the second, while there is no folder. */
enum { PAUSE = 200, PAUSE_GONE = 1000 };

struct _ViewerWatch {
    GObject parent_instance;

    char *folder;
    GFileMonitor *monitor;
    GHashTable *names; /* that something happened to; char * */
    guint pause, timer;
    gboolean busy, gone;
    GCancellable *cancellable;
};

/* What a thread looks at. */
struct look {
    char *folder;
    GHashTable *names;
    gboolean gone;
};

G_DEFINE_TYPE(ViewerWatch, viewer_watch, G_TYPE_OBJECT)

enum { CHANGED, GONE, BACK, N_SIGNALS };

static guint signals[N_SIGNALS];

static void wake(ViewerWatch *self);
static gboolean monitor(ViewerWatch *self, GError **error);

static GHashTable *names_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

static void look_free(gpointer data)
{
    struct look *look = data;

    g_free(look->folder);
    g_hash_table_unref(look->names);
    g_free(look);
}

/* In a thread: the folder may be at the other end of a network. */
static void look(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    struct look *look = data;
    struct stat info;
    GHashTableIter i;
    gpointer name;

    look->gone = stat(look->folder, &info) < 0 || !S_ISDIR(info.st_mode);
    g_hash_table_iter_init(&i, look->names);
    while (g_hash_table_iter_next(&i, &name, NULL)) {
        g_autofree char *path = g_build_filename(look->folder, name, NULL);
        gboolean there = stat(path, &info) == 0 && S_ISREG(info.st_mode);
        g_hash_table_iter_replace(&i, there ? name : NULL);
    }
    g_task_return_boolean(task, TRUE);
}

static void on_looked(GObject *object, GAsyncResult *result, gpointer data)
{
    ViewerWatch *self = VIEWER_WATCH(object);
    struct look *look = g_task_get_task_data(G_TASK(result));

    self->busy = FALSE;
    if (!g_task_propagate_boolean(G_TASK(result), NULL))
        return;
    if (look->gone && !self->gone) {
        self->gone = TRUE;
        g_signal_emit(self, signals[GONE], 0);
    } else if (self->gone && !look->gone && monitor(self, NULL)) {
        self->gone = FALSE;
        g_signal_emit(self, signals[BACK], 0);
    } else if (!look->gone && g_hash_table_size(look->names)) {
        g_signal_emit(self, signals[CHANGED], 0, look->names);
    }
    if (self->monitor && (g_hash_table_size(self->names) || self->gone))
        wake(self);
}

static gboolean on_timer(gpointer data)
{
    ViewerWatch *self = data;
    g_autoptr(GTask) task = g_task_new(self, self->cancellable, on_looked, NULL);
    struct look *task_data = g_new0(struct look, 1);

    self->timer = 0;
    self->busy = TRUE;
    task_data->folder = g_strdup(self->folder);
    task_data->names = g_steal_pointer(&self->names);
    self->names = names_new();
    g_task_set_task_data(task, task_data, look_free);
    g_task_run_in_thread(task, look);
    return G_SOURCE_REMOVE;
}

static void wake(ViewerWatch *self)
{
    if (!self->timer && !self->busy)
        self->timer = g_timeout_add(self->gone ? PAUSE_GONE : self->pause, on_timer, self);
}

static void note(ViewerWatch *self, GFile *file)
{
    g_autofree char *name = file ? g_file_get_basename(file) : NULL;

    if (name && viewer_name_is_picture(name))
        g_hash_table_add(self->names, g_steal_pointer(&name));
}

/* The kind of the event does not matter: who looks later knows better. */
static void on_event(GFileMonitor *monitor, GFile *file, GFile *other, GFileMonitorEvent event,
                     gpointer data)
{
    ViewerWatch *self = data;
    g_autofree char *path = file ? g_file_get_path(file) : NULL;

    if (g_strcmp0(path, self->folder) != 0) {
        note(self, file);
        note(self, other);
        if (!g_hash_table_size(self->names))
            return;
    }
    wake(self);
}

static void unmonitor(ViewerWatch *self)
{
    if (!self->monitor)
        return;
    g_signal_handlers_disconnect_by_data(self->monitor, self);
    g_file_monitor_cancel(self->monitor);
    g_clear_object(&self->monitor);
}

/* A new one each time that the folder is back: it may be another, and the old one finds out later than
 * we do. */
static gboolean monitor(ViewerWatch *self, GError **error)
{
    g_autoptr(GFile) file = g_file_new_for_path(self->folder);
    GFileMonitor *new = g_file_monitor_directory(file, G_FILE_MONITOR_WATCH_MOVES, NULL, error);

    if (!new)
        return FALSE;
    unmonitor(self);
    self->monitor = new;
    g_file_monitor_set_rate_limit(new, PAUSE);
    g_signal_connect(new, "changed", G_CALLBACK(on_event), self);
    return TRUE;
}

static void viewer_watch_dispose(GObject *object)
{
    viewer_watch_stop(VIEWER_WATCH(object));
    G_OBJECT_CLASS(viewer_watch_parent_class)->dispose(object);
}

static void viewer_watch_finalize(GObject *object)
{
    ViewerWatch *self = VIEWER_WATCH(object);

    g_free(self->folder);
    g_hash_table_unref(self->names);
    g_object_unref(self->cancellable);
    G_OBJECT_CLASS(viewer_watch_parent_class)->finalize(object);
}

static guint add_signal(const char *name, guint n, ...)
{
    va_list types;

    va_start(types, n);
    guint signal = g_signal_new_valist(name, VIEWER_TYPE_WATCH, G_SIGNAL_RUN_LAST, NULL, NULL, NULL,
                                       NULL, G_TYPE_NONE, n, types);
    va_end(types);
    return signal;
}

static void viewer_watch_class_init(ViewerWatchClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->dispose = viewer_watch_dispose;
    object_class->finalize = viewer_watch_finalize;
    signals[CHANGED] = add_signal("changed", 1, G_TYPE_HASH_TABLE);
    signals[GONE] = add_signal("gone", 0);
    signals[BACK] = add_signal("back", 0);
}

static void viewer_watch_init(ViewerWatch *self)
{
    self->names = names_new();
    self->pause = PAUSE;
    self->cancellable = g_cancellable_new();
}

ViewerWatch *viewer_watch_new(const char *folder, GError **error)
{
    g_autoptr(ViewerWatch) self = g_object_new(VIEWER_TYPE_WATCH, NULL);

    self->folder = g_strdup(folder);
    return monitor(self, error) ? g_steal_pointer(&self) : NULL;
}

void viewer_watch_set_pause(ViewerWatch *self, guint milliseconds)
{
    self->pause = MAX(milliseconds, PAUSE);
}

void viewer_watch_set_gone(ViewerWatch *self)
{
    self->gone = TRUE;
    wake(self);
}

void viewer_watch_stop(ViewerWatch *self)
{
    g_cancellable_cancel(self->cancellable);
    g_clear_handle_id(&self->timer, g_source_remove);
    unmonitor(self);
}
