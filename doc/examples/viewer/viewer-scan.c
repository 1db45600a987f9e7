/* SPDX-License-Identifier: MIT
 *
 * A folder of a million files, or one at the far end of a slow network, must not stop the program:
 * a thread reads it. It hands over what it has after 0.1, 0.3, 0.7, ... seconds: there is something
 * to see soon, and sorting does not dominate.
 */
#include "viewer-scan.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

enum { FIRST_USEC = 100 * 1000 };

struct scan {
    char *folder;
    ViewerScanFunc partial;
    GPtrArray *names;  /* as they come */
    GHashTable *types; /* all suffixes -> whether they are those of pictures */
};

/* What was found so far, on its way to the main context. */
struct news {
    GTask *task;
    ViewerScanFunc partial;
    GPtrArray *names;
};

static void scan_free(gpointer data)
{
    struct scan *scan = data;

    g_free(scan->folder);
    g_ptr_array_unref(scan->names);
    g_hash_table_unref(scan->types);
    g_free(scan);
}

/* --- Names --- */

GPtrArray *viewer_names_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)g_ref_string_release);
}

static void release(gpointer names, gpointer data)
{
    g_ptr_array_unref(names);
}

void viewer_names_release(GPtrArray *names)
{
    enum { SHORT = 1000 };
    static GThreadPool *thread;

    if (!thread)
        thread = g_thread_pool_new(release, NULL, 1, FALSE, NULL);
    if (names->len > SHORT)
        g_thread_pool_push(thread, names, NULL);
    else
        g_ptr_array_unref(names);
}

gboolean viewer_name_is_picture(const char *name)
{
    if (*name == '.')
        return FALSE;
    g_autofree char *type = g_content_type_guess(name, NULL, 0, NULL);
    return g_str_has_prefix(type, "image/");
}

static char *make_key(const char *name)
{
    g_autofree char *display = g_filename_display_name(name);

    return g_utf8_collate_key_for_filename(display, -1);
}

/* The key lies behind the name: making it anew for each comparison would take ten times as long. */
char *viewer_name_new(const char *name)
{
    g_autofree char *key = make_key(name);
    g_autofree char *both = g_strconcat(name, "/", key, NULL);
    gsize len = strlen(name);

    both[len] = '\0';
    return g_ref_string_new_len(both, (gssize)(len + 1 + strlen(key)));
}

static const char *key_of(const char *name)
{
    return name + strlen(name) + 1;
}

static int compare(const char *a, const char *b)
{
    int result = strcmp(key_of(a), key_of(b));

    return result ? result : strcmp(a, b);
}

static int compare_items(gconstpointer a, gconstpointer b)
{
    return compare(*(char *const *)a, *(char *const *)b);
}

gboolean viewer_names_find(GPtrArray *names, const char *name, guint *position)
{
    char *wanted = viewer_name_new(name);
    guint low = 0, high = names->len;
    int result = 1;

    while (low < high && result) {
        guint middle = (low + high) / 2;
        result = compare(wanted, names->pdata[middle]);
        if (result > 0)
            low = middle + 1;
        else
            high = middle; /* where it is, if they are equal */
    }
    g_ref_string_release(wanted);
    *position = result ? low : high;
    return !result;
}

/* --- In the thread --- */

/* The same as viewer_name_is_picture(), for many names of few types. The last suffix alone is not enough:
 * a .svg.gz is a picture, a .tar.gz is none. */
static gboolean is_picture(struct scan *scan, const char *name)
{
    const char *suffix = strchr(name, '.');
    gpointer known;

    if (*name == '.' || !suffix)
        return FALSE;
    if (g_hash_table_lookup_extended(scan->types, suffix, NULL, &known))
        return GPOINTER_TO_INT(known);
    gboolean result = viewer_name_is_picture(name);
    g_hash_table_insert(scan->types, g_strdup(suffix), GINT_TO_POINTER(result));
    return result;
}

static void take(struct scan *scan, const struct dirent *found)
{
    /* Links are followed when the picture is read; for now it matters only how they are called. */
    if (found->d_type != DT_REG && found->d_type != DT_LNK && found->d_type != DT_UNKNOWN)
        return;
    if (!is_picture(scan, found->d_name))
        return;
    g_ptr_array_add(scan->names, viewer_name_new(found->d_name));
}

static GPtrArray *sorted(struct scan *scan)
{
    GPtrArray *names = viewer_names_new();

    g_ptr_array_sort(scan->names, compare_items);
    for (guint i = 0; i < scan->names->len; i++)
        g_ptr_array_add(names, g_ref_string_acquire(scan->names->pdata[i]));
    return names;
}

static gboolean give_news(gpointer data)
{
    struct news *news = data;

    if (!g_cancellable_is_cancelled(g_task_get_cancellable(news->task)))
        news->partial(news->names, g_task_get_source_object(news->task));
    return G_SOURCE_REMOVE;
}

static void news_free(gpointer data)
{
    struct news *news = data;

    g_object_unref(news->task);
    g_ptr_array_unref(news->names);
    g_free(news);
}

static void send_news(GTask *task, struct scan *scan)
{
    g_autoptr(GSource) source = g_idle_source_new();
    struct news *news = g_new(struct news, 1);

    *news = (struct news){g_object_ref(task), scan->partial, sorted(scan)};
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, give_news, news, news_free);
    g_source_attach(source, g_task_get_context(task));
}

static void give_result(GTask *task, struct scan *scan, int code)
{
    GPtrArray *names = code ? NULL : sorted(scan);

    /* Here, where it stops nobody: who asked would have to do it, else. */
    g_ptr_array_set_size(scan->names, 0);
    if (names)
        g_task_return_pointer(task, names, (GDestroyNotify)g_ptr_array_unref);
    else
        g_task_return_new_error(task, G_IO_ERROR, (int)g_io_error_from_errno(code), "%s",
                                g_strerror(code));
}

static void run(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    struct scan *scan = data;
    gint64 begun = g_get_monotonic_time(), pause = FIRST_USEC;
    struct dirent *found;
    DIR *directory = opendir(scan->folder);

    while (directory && !g_cancellable_is_cancelled(cancellable) &&
           (errno = 0, found = readdir(directory))) {
        take(scan, found);
        if (g_get_monotonic_time() - begun < pause)
            continue;
        send_news(task, scan);
        pause = 2 * pause + FIRST_USEC;
    }
    int code = errno;
    if (directory)
        closedir(directory);
    give_result(task, scan, code);
}

void viewer_scan_async(GObject *source, const char *folder, ViewerScanFunc partial,
                       GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
    g_autoptr(GTask) task = g_task_new(source, cancellable, callback, user_data);
    struct scan *scan = g_new(struct scan, 1);

    *scan = (struct scan){
        .folder = g_strdup(folder),
        .partial = partial,
        .names = viewer_names_new(),
        .types = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
    };
    g_task_set_task_data(task, scan, scan_free);
    g_task_run_in_thread(task, run);
}

GPtrArray *viewer_scan_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}
