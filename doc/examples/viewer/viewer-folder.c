/* SPDX-License-Identifier: MIT */
#include "viewer-folder.h"

#include <string.h>

#include "viewer-scan.h"
#include "viewer-watch.h"

enum {
    FEW = 64,  /* changes that are told one by one; with more, the folder is read again */
    SHARE = 4, /* of the time, at most one part in so many is spent reading it again */
};

/* While a list is replaced, from its end to its beginning, it consists of the first of the old names
 * and the last of the new ones. */
struct change {
    GPtrArray *old; /* NULL: there are `names`, and no more */
    guint n_old;    /* that are left */
    guint first;    /* of the new ones */
};

struct _ViewerFolder {
    GObject parent_instance;

    char *path;
    GPtrArray *names;  /* GRefString, sorted */
    struct change change;
    GHashTable *alive; /* name -> entry that somebody has; the name is the entry's */
    ViewerWatch *watch;
    GCancellable *cancellable; /* of the reading that goes on, or NULL */
    gboolean again;            /* something has changed meanwhile */
    gint64 begun;
    char *message;
};

static void list_model_init(GListModelInterface *iface);

G_DEFINE_TYPE_WITH_CODE(ViewerFolder, viewer_folder, G_TYPE_OBJECT,
                        G_IMPLEMENT_INTERFACE(G_TYPE_LIST_MODEL, list_model_init))

enum { PROP_LOADING = 1, PROP_MESSAGE, PROP_N_ITEMS, N_PROPS };

static GParamSpec *props[N_PROPS];

/* --- The list --- */

static GType get_item_type(GListModel *model)
{
    return VIEWER_TYPE_ENTRY;
}

static guint get_n_items(GListModel *model)
{
    ViewerFolder *self = VIEWER_FOLDER(model);

    return self->change.n_old + self->names->len - self->change.first;
}

static void on_entry_gone(gpointer data, GObject *entry)
{
    ViewerFolder *self = data;

    g_hash_table_remove(self->alive, viewer_entry_get_name((ViewerEntry *)entry));
}

static const char *get_name(ViewerFolder *self, guint position)
{
    if (position < self->change.n_old)
        return self->change.old->pdata[position];
    position = position - self->change.n_old + self->change.first;
    return position < self->names->len ? self->names->pdata[position] : NULL;
}

static gpointer get_item(GListModel *model, guint position)
{
    ViewerFolder *self = VIEWER_FOLDER(model);

    const char *name = get_name(self, position);
    if (!name)
        return NULL;
    ViewerEntry *entry = g_hash_table_lookup(self->alive, name);
    if (entry)
        return g_object_ref(entry);
    entry = viewer_entry_new(self->path, name);
    g_hash_table_insert(self->alive, (char *)viewer_entry_get_name(entry), entry);
    g_object_weak_ref(G_OBJECT(entry), on_entry_gone, self);
    return entry;
}

static void list_model_init(GListModelInterface *iface)
{
    iface->get_item_type = get_item_type;
    iface->get_n_items = get_n_items;
    iface->get_item = get_item;
}

static void tell(ViewerFolder *self, guint position, guint removed, guint added)
{
    g_list_model_items_changed(G_LIST_MODEL(self), position, removed, added);
    if (removed != added && !self->change.old)
        g_object_notify_by_pspec(G_OBJECT(self), props[PROP_N_ITEMS]);
}

/* A name that is in both lists, and that somebody looks at. */
struct fixed {
    guint old, new;
};

static int compare_fixed(gconstpointer a, gconstpointer b)
{
    const struct fixed *x = a, *y = b;

    return (x->old < y->old) - (x->old > y->old); /* the last comes first */
}

static GArray *find_fixed(ViewerFolder *self, GPtrArray *old)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(struct fixed));
    GHashTableIter i;
    gpointer name;

    g_hash_table_iter_init(&i, self->alive);
    while (g_hash_table_iter_next(&i, &name, NULL)) {
        struct fixed fixed;
        if (viewer_names_find(old, name, &fixed.old) &&
            viewer_names_find(self->names, name, &fixed.new))
            g_array_append_val(all, fixed);
    }
    g_array_sort(all, compare_fixed);
    return all;
}

/* Names of one reading are the same strings. */
static gboolean is_equal(const char *a, const char *b)
{
    return a == b || strcmp(a, b) == 0;
}

/* Goes on to what is behind these. In two steps: who is told that something was replaced looks for it
 * among what is new, and has all those entries made. */
static void change(ViewerFolder *self, guint old, guint new)
{
    guint removed = self->change.n_old - old, added = self->change.first - new;

    self->change.n_old = old;
    if (removed)
        tell(self, old, removed, 0);
    self->change.first = new;
    if (added)
        tell(self, old, 0, added);
}

/* Replaces the list. What is the same at both ends is not told; what somebody looks at is not touched if it
 * is in the new list, too: views stay where they are. */
static void take_names(ViewerFolder *self, GPtrArray *names)
{
    GPtrArray *old = self->names;
    guint n = MIN(old->len, names->len), before = 0, behind = 0;

    self->names = g_ptr_array_ref(names);
    while (before < n && is_equal(old->pdata[before], names->pdata[before]))
        before++;
    while (behind < n - before &&
           is_equal(old->pdata[old->len - 1 - behind], names->pdata[names->len - 1 - behind]))
        behind++;
    self->change = (struct change){old, old->len - behind, names->len - behind};
    g_autoptr(GArray) all = find_fixed(self, old);
    for (guint i = 0; i < all->len; i++) {
        struct fixed fixed = g_array_index(all, struct fixed, i);
        if (fixed.old >= self->change.n_old || fixed.old < before)
            continue;
        change(self, fixed.old + 1, fixed.new + 1);
        self->change.n_old = fixed.old;
        self->change.first = fixed.new;
    }
    change(self, before, before);
    self->change = (struct change){0};
    if (old->len != names->len)
        g_object_notify_by_pspec(G_OBJECT(self), props[PROP_N_ITEMS]);
    viewer_names_release(old);
}

/* --- Reading --- */

static void set_message(ViewerFolder *self, const char *message)
{
    if (g_strcmp0(self->message, message) == 0)
        return;
    g_free(self->message);
    self->message = g_strdup(message);
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_MESSAGE]);
}

static void empty(ViewerFolder *self)
{
    g_autoptr(GPtrArray) none = viewer_names_new();

    take_names(self, none);
}

static void on_partial(GPtrArray *names, gpointer source)
{
    ViewerFolder *self = source;

    if (names->len > self->names->len) /* when it is read again, what is known is better */
        take_names(self, names);
}

static void on_read(GObject *source, GAsyncResult *result, gpointer data)
{
    ViewerFolder *self = VIEWER_FOLDER(source);
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) names = viewer_scan_finish(result, &error);

    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return; /* by another reading, or the end */
    g_clear_object(&self->cancellable);
    if (self->watch)
        viewer_watch_set_pause(
            self->watch, (guint)(SHARE * (g_get_monotonic_time() - self->begun) / 1000));
    if (names)
        take_names(self, names);
    else
        empty(self);
    set_message(self, error ? error->message : NULL);
    if (self->watch && g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
        viewer_watch_set_gone(self->watch);
    if (self->again && names)
        viewer_folder_reload(self);
    else
        g_object_notify_by_pspec(G_OBJECT(self), props[PROP_LOADING]);
}

static void stop_reading(ViewerFolder *self)
{
    if (self->cancellable)
        g_cancellable_cancel(self->cancellable);
    g_clear_object(&self->cancellable);
}

void viewer_folder_reload(ViewerFolder *self)
{
    stop_reading(self);
    self->again = FALSE;
    self->begun = g_get_monotonic_time();
    self->cancellable = g_cancellable_new();
    viewer_scan_async(G_OBJECT(self), self->path, on_partial, self->cancellable, on_read, NULL);
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_LOADING]);
}

/* --- Changes --- */

static void insert(ViewerFolder *self, const char *name)
{
    guint position;

    if (viewer_names_find(self->names, name, &position))
        return;
    g_ptr_array_insert(self->names, (int)position, viewer_name_new(name));
    tell(self, position, 0, 1);
}

static void delete(ViewerFolder *self, const char *name)
{
    guint position;

    if (!viewer_names_find(self->names, name, &position))
        return;
    g_ptr_array_remove_index(self->names, position);
    tell(self, position, 1, 0);
}

static void on_changed(ViewerWatch *watch, GHashTable *names, gpointer data)
{
    ViewerFolder *self = data;
    gboolean few = g_hash_table_size(names) <= FEW && !self->cancellable;
    GHashTableIter i;
    gpointer name, there;

    g_hash_table_iter_init(&i, names);
    while (g_hash_table_iter_next(&i, &name, &there)) {
        ViewerEntry *entry = g_hash_table_lookup(self->alive, name);
        if (entry && there)
            viewer_entry_changed(entry);
        if (few && there)
            insert(self, name);
        else if (few)
            delete (self, name);
    }
    if (self->cancellable)
        self->again = TRUE;
    else if (!few)
        viewer_folder_reload(self);
}

static void on_gone(ViewerWatch *watch, gpointer data)
{
    ViewerFolder *self = data;

    stop_reading(self);
    empty(self);
    set_message(self, "The folder is not there any more. It will be shown when it is back.");
    g_object_notify_by_pspec(G_OBJECT(self), props[PROP_LOADING]);
}

static void on_back(ViewerWatch *watch, gpointer data)
{
    viewer_folder_reload(data);
}

static void follow(ViewerFolder *self)
{
    g_autoptr(GError) error = NULL;

    self->watch = viewer_watch_new(self->path, &error);
    if (!self->watch) {
        g_message("changes of %s are not followed: %s", self->path, error->message);
        return;
    }
    g_signal_connect(self->watch, "changed", G_CALLBACK(on_changed), self);
    g_signal_connect(self->watch, "gone", G_CALLBACK(on_gone), self);
    g_signal_connect(self->watch, "back", G_CALLBACK(on_back), self);
}

/* --- GObject --- */

static void viewer_folder_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    ViewerFolder *self = VIEWER_FOLDER(object);

    if (id == PROP_LOADING)
        g_value_set_boolean(value, viewer_folder_get_loading(self));
    else if (id == PROP_MESSAGE)
        g_value_set_string(value, self->message);
    else
        g_value_set_uint(value, self->names->len);
}

static void viewer_folder_dispose(GObject *object)
{
    ViewerFolder *self = VIEWER_FOLDER(object);
    GHashTableIter i;
    gpointer entry;

    viewer_folder_close(self);
    g_hash_table_iter_init(&i, self->alive);
    while (g_hash_table_iter_next(&i, NULL, &entry)) {
        g_object_weak_unref(entry, on_entry_gone, self);
        g_hash_table_iter_remove(&i);
    }
    G_OBJECT_CLASS(viewer_folder_parent_class)->dispose(object);
}

static void viewer_folder_finalize(GObject *object)
{
    ViewerFolder *self = VIEWER_FOLDER(object);

    g_free(self->path);
    viewer_names_release(self->names);
    g_hash_table_unref(self->alive);
    g_free(self->message);
    G_OBJECT_CLASS(viewer_folder_parent_class)->finalize(object);
}

static void viewer_folder_class_init(ViewerFolderClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

    object_class->get_property = viewer_folder_get_property;
    object_class->dispose = viewer_folder_dispose;
    object_class->finalize = viewer_folder_finalize;
    props[PROP_LOADING] = g_param_spec_boolean("loading", NULL, NULL, FALSE, flags);
    props[PROP_MESSAGE] = g_param_spec_string("message", NULL, NULL, NULL, flags);
    props[PROP_N_ITEMS] = g_param_spec_uint("n-items", NULL, NULL, 0, G_MAXUINT, 0, flags);
    g_object_class_install_properties(object_class, N_PROPS, props);
}

static void viewer_folder_init(ViewerFolder *self)
{
    self->names = viewer_names_new();
    self->alive = g_hash_table_new(g_str_hash, g_str_equal);
}

ViewerFolder *viewer_folder_new(const char *path)
{
    ViewerFolder *self = g_object_new(VIEWER_TYPE_FOLDER, NULL);

    self->path = g_canonicalize_filename(path, NULL);
    follow(self); /* first, so that nothing is missed */
    viewer_folder_reload(self);
    return self;
}

void viewer_folder_close(ViewerFolder *self)
{
    stop_reading(self);
    if (self->watch)
        viewer_watch_stop(self->watch);
    g_clear_object(&self->watch);
}

const char *viewer_folder_get_path(ViewerFolder *self)
{
    return self->path;
}

gboolean viewer_folder_get_loading(ViewerFolder *self)
{
    return self->cancellable != NULL;
}

const char *viewer_folder_get_message(ViewerFolder *self)
{
    return self->message;
}

gboolean viewer_folder_find(ViewerFolder *self, const char *name, guint *position)
{
    return viewer_names_find(self->names, name, position);
}

GPtrArray *viewer_folder_dup_names(ViewerFolder *self)
{
    GPtrArray *names = viewer_names_new();

    for (guint i = 0; i < self->names->len; i++)
        g_ptr_array_add(names, g_ref_string_acquire(self->names->pdata[i]));
    return names;
}
