/* SPDX-License-Identifier: MIT */
#include "viewer-lib.h"

#include <dirent.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "viewer-application.h"

enum { SECONDS = 20 };

static char *top; /* of the cache and all folders */

/* --- Time --- */

gint64 viewer_deadline(void)
{
    return g_get_monotonic_time() + SECONDS * G_USEC_PER_SEC;
}

static gboolean on_tick(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_CONTINUE;
}

void viewer_turn(void)
{
    gboolean ticked = FALSE;
    guint timer = g_timeout_add(10, on_tick, &ticked);

    g_main_context_iteration(NULL, TRUE);
    g_source_remove(timer);
}

void viewer_settle(guint milliseconds)
{
    gboolean ticked = FALSE;
    guint timer = g_timeout_add(milliseconds, on_tick, &ticked);

    while (!ticked)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(timer);
}

gboolean viewer_is_sanitized(void)
{
    const char *flags = g_getenv("AFORK_TEST_SANITIZERS");

    return flags && *flags;
}

gint64 viewer_patience(gint64 milliseconds)
{
    return viewer_is_sanitized() ? 3 * milliseconds : milliseconds;
}

void viewer_check_time(struct viewer *viewer, const char *what, gint64 limit,
                       double (*measure)(struct viewer *viewer))
{
    enum { TRIES = 6 };
    double taken = 0;

    for (int i = 0; i < TRIES; i++) {
        taken = measure(viewer);
        g_test_message("%s: %.1f ms", what, taken);
        if (taken < (double)viewer_patience(limit))
            return;
    }
    g_error("%s takes %.1f ms, at most %d are good", what, taken, (int)viewer_patience(limit));
}

/* --- Files --- */

static void remove_all(const char *path)
{
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        g_autofree char *below = g_build_filename(path, name, NULL);
        if (g_unlink(below) < 0)
            remove_all(below);
    }
    g_rmdir(path);
}

/* Not the folders. */
static void remove_files(const char *path)
{
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        g_autofree char *below = g_build_filename(path, name, NULL);
        if (g_unlink(below) < 0)
            remove_files(below);
    }
}

char *viewer_path(struct viewer *viewer, const char *name)
{
    return g_build_filename(viewer->folder, name, NULL);
}

void viewer_file(struct viewer *viewer, const char *name, const char *content)
{
    g_autofree char *path = viewer_path(viewer, name);

    g_assert_true(g_file_set_contents(path, content, -1, NULL));
}

void viewer_picture(struct viewer *viewer, const char *name, int width, int height, guint32 colour)
{
    g_autofree char *path = viewer_path(viewer, name);
    g_autofree char *temporary = g_build_filename(top, "new", NULL);
    g_autoptr(GdkPixbuf) pixbuf = gdk_pixbuf_new(GDK_COLORSPACE_RGB, FALSE, 8, width, height);
    const char *type = g_str_has_suffix(name, ".jpg") ? "jpeg" : "png";

    gdk_pixbuf_fill(pixbuf, colour << 8 | 0xff);
    g_assert_true(gdk_pixbuf_save(pixbuf, temporary, type, NULL, NULL));
    g_assert_cmpint(g_rename(temporary, path), ==, 0);
}

void viewer_pictures(struct viewer *viewer, guint n)
{
    viewer_pictures_of(viewer, n, 64, 48);
}

void viewer_pictures_of(struct viewer *viewer, guint n, int width, int height)
{
    enum { LINKS_MAX = 20000 };
    g_autofree char *first = NULL;

    for (guint i = 0; i < n; i++) {
        char name[32];
        g_snprintf(name, sizeof name, "%06u.png", i);
        g_autofree char *path = viewer_path(viewer, name);
        if (i % LINKS_MAX == 0) {
            viewer_picture(viewer, name, width, height, 0x3584e4);
            g_free(first);
            first = g_steal_pointer(&path);
        } else {
            g_assert_cmpint(link(first, path), ==, 0);
        }
    }
}

static guint count(const char *path)
{
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    guint n = 0;

    while (directory && g_dir_read_name(directory))
        n++;
    return n;
}

static char *cache_path(void)
{
    gboolean fine = g_strcmp0(g_getenv("GDK_SCALE"), "2") == 0;

    return g_build_filename(top, "cache", "thumbnails", fine ? "x-large" : "large", NULL);
}

guint viewer_n_cached(void)
{
    g_autofree char *path = cache_path();

    return count(path);
}

char *viewer_cached_path(struct viewer *viewer, const char *name)
{
    g_autofree char *path = viewer_path(viewer, name);
    g_autofree char *uri = g_filename_to_uri(path, NULL, NULL);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_MD5, uri, -1);
    g_autofree char *cached = g_strconcat(sum, ".png", NULL);
    g_autofree char *folder = cache_path();

    return g_build_filename(folder, cached, NULL);
}

void viewer_empty_cache(void)
{
    g_autofree char *path = cache_path();
    g_autofree char *all = g_path_get_dirname(path);
    g_autofree char *failed = g_build_filename(all, "fail", NULL);
    const char *folders[] = {path, failed};

    for (gsize i = 0; i < G_N_ELEMENTS(folders); i++)
        remove_files(folders[i]);
}

guint viewer_n_mapped(void)
{
    g_autofree char *maps = NULL;
    guint n = 0;

    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    for (const char *line = maps; (line = strstr(line, "memfd:AFork")); line++)
        n++;
    return n;
}

static gboolean has_temporary(void)
{
    g_autofree char *path = cache_path();
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory)))
        if (g_str_has_suffix(name, ".tmp"))
            return TRUE;
    return FALSE;
}

/* --- Looking --- */

guint32 viewer_colour(GdkTexture *texture)
{
    int width = gdk_texture_get_width(texture), height = gdk_texture_get_height(texture);
    g_autofree guint32 *pixels = g_new(guint32, (gsize)width * (gsize)height);

    gdk_texture_download(texture, (guchar *)pixels, 4 * (gsize)width);
    return pixels[(height / 2) * width + width / 2] & 0xffffff;
}

static gboolean has_label(GtkWidget *widget, const char *pattern)
{
    if (GTK_IS_LABEL(widget) && gtk_widget_get_mapped(widget) &&
        g_regex_match_simple(pattern, gtk_label_get_text(GTK_LABEL(widget)), 0, 0))
        return TRUE;
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child;
         child = gtk_widget_get_next_sibling(child))
        if (has_label(child, pattern))
            return TRUE;
    return FALSE;
}

gboolean viewer_shows_match(struct viewer *viewer, const char *pattern)
{
    g_autofree char *all = g_strdup_printf("^(?:%s)$", pattern);

    return has_label(GTK_WIDGET(viewer->window), all);
}

gboolean viewer_shows(struct viewer *viewer, const char *text)
{
    g_autofree char *pattern = g_regex_escape_string(text, -1);

    return viewer_shows_match(viewer, pattern);
}

gboolean viewer_is_complete(struct viewer *viewer)
{
    guint in_view, missing;

    viewer_grid_count(viewer_window_get_grid(viewer->window), &in_view, &missing);
    return in_view && !missing;
}

ViewerTileState viewer_state(struct viewer *viewer, const char *name)
{
    ViewerTile *tile = viewer_grid_find_tile(viewer_window_get_grid(viewer->window), name);

    g_assert_nonnull(tile);
    return viewer_tile_get_state(tile);
}

gboolean viewer_is_read(struct viewer *viewer)
{
    ViewerFolder *folder = viewer_window_get_folder(viewer->window);

    return folder && !viewer_folder_get_loading(folder);
}

guint viewer_n_items(struct viewer *viewer)
{
    return g_list_model_get_n_items(G_LIST_MODEL(viewer_window_get_folder(viewer->window)));
}

GtkWidget *viewer_find(GtkWidget *widget, GType type)
{
    GtkWidget *found = G_TYPE_CHECK_INSTANCE_TYPE(widget, type) ? widget : NULL;

    for (GtkWidget *child = gtk_widget_get_first_child(widget); child && !found;
         child = gtk_widget_get_next_sibling(child))
        found = viewer_find(child, type);
    return found;
}

void viewer_act(struct viewer *viewer, const char *action)
{
    g_action_group_activate_action(G_ACTION_GROUP(viewer->window), action, NULL);
}

void viewer_view(struct viewer *viewer, guint position)
{
    g_action_group_activate_action(G_ACTION_GROUP(viewer->window), "view",
                                   g_variant_new_uint32(position));
}

GAforkPoolStats *viewer_stats(struct viewer *viewer)
{
    ViewerWorkers *workers = viewer_thumbnailer_get_workers(viewer->thumbnailer);
    GAforkPool *pool = viewer_workers_get_pool(workers);

    return pool ? gafork_pool_get_stats(pool, NULL) : NULL;
}

guint viewer_n_queued(struct viewer *viewer)
{
    g_autoptr(GAforkPoolStats) stats = viewer_stats(viewer);

    return stats ? (guint)stats->queued : 0;
}

/* --- What workers do --- */

void viewer_module_begin(struct viewer_module *module, const char *code)
{
    module->real = g_strdup(g_getenv("AFORK_THUMBNAILS_LIB"));
    module->lib = g_dir_make_tmp("afork-viewer-lib-XXXXXX", NULL);
    module->folder = g_build_filename(module->lib, "AFork", NULL);
    module->file = g_build_filename(module->folder, "Thumbnail.pm", NULL);
    module->log = g_build_filename(module->lib, "log", NULL);
    module->gate = g_build_filename(module->lib, "gate", NULL);
    /* The template opens both: workers may do less. */
    g_autofree char *text = g_strdup_printf(
        "do '%s/AFork/Thumbnail.pm' or die $@; package AFork::Thumbnail; no warnings;"
        "open my $log, '>>', '%s' or die $!; open my $gate, '+<', '%s' or die $!;"
        "sub gate { sysread $gate, my $octet, 1 }"
        "my $reduce = \\&reduce;"
        "*reduce = sub { syswrite $log, \"$$ $_[1] $_[0]\\n\"; %s; $reduce->(@_) }; 1",
        module->real, module->log, module->gate, code);
    g_assert_cmpint(g_mkdir(module->folder, 0700), ==, 0);
    g_assert_cmpint(mkfifo(module->gate, 0700), ==, 0);
    g_assert_true(g_file_set_contents(module->file, text, -1, NULL));
    g_assert_true(g_file_set_contents(module->log, "", 0, NULL));
    module->fd = open(module->gate, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    g_assert_cmpint(module->fd, >=, 0);
    g_setenv("AFORK_THUMBNAILS_LIB", module->lib, TRUE);
}

void viewer_module_release(struct viewer_module *module)
{
    const char octets[8000] = {0};

    g_assert_cmpint(write(module->fd, octets, sizeof octets), ==, sizeof octets);
}

gboolean viewer_module_call(struct viewer_module *module, guint n, struct viewer_module_call *call)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(module->log, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
    if (g_strv_length(lines) <= n + 1) /* the last is empty, or not complete */
        return FALSE;
    g_auto(GStrv) words = g_strsplit(lines[n], " ", 3);
    g_autofree char *path = g_filename_from_uri(words[2], NULL, NULL);
    call->pid = atoi(words[0]);
    call->box = atoi(words[1]);
    g_strlcpy(call->path, path ? path : "", sizeof call->path);
    return TRUE;
}

void viewer_module_end(struct viewer_module *module)
{
    close(module->fd);
    g_setenv("AFORK_THUMBNAILS_LIB", module->real, TRUE);
    remove_all(module->lib);
    g_free(module->real);
    g_free(module->lib);
    g_free(module->folder);
    g_free(module->file);
    g_free(module->log);
    g_free(module->gate);
}

/* --- Cases --- */

/* The descriptors, as text for who looks for one that was left. */
static void print_fds(void)
{
    g_autoptr(GDir) directory = g_dir_open("/proc/self/fd", 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(directory))) {
        g_autofree char *path = g_build_filename("/proc/self/fd", name, NULL);
        g_autofree char *target = g_file_read_link(path, NULL);
        g_test_message("%s %s", name, target);
    }
}

static void check_fds(guint expected)
{
    gint64 deadline = viewer_deadline();

    while (count("/proc/self/fd") > expected) {
        if (g_get_monotonic_time() > deadline) {
            print_fds();
            g_error("descriptors are left");
        }
        viewer_turn();
    }
}

void viewer_open(struct viewer *viewer)
{
    g_autoptr(GFile) file = g_file_new_for_path(viewer->folder);

    viewer_window_open(viewer->window, file);
    UNTIL(viewer_is_read(viewer));
    if (viewer_n_items(viewer))
        UNTIL(g_str_equal(viewer_window_get_visible(viewer->window), "grid"));
}

gint64 viewer_close(struct viewer *viewer)
{
    gint64 begun = viewer_clock_now();

    if (viewer->window)
        gtk_window_destroy(GTK_WINDOW(viewer->window));
    viewer->window = NULL;
    if (viewer->thumbnailer)
        viewer_workers_close(viewer_thumbnailer_get_workers(viewer->thumbnailer));
    return viewer_clock_now() - begun;
}

void viewer_reopen(struct viewer *viewer)
{
    if (viewer->thumbnailer) {
        while (G_OBJECT(viewer->thumbnailer)->ref_count > 1)
            viewer_turn(); /* threads that look at a file hold it */
        g_object_unref(viewer->thumbnailer);
    }
    viewer->thumbnailer = viewer_thumbnailer_new();
    viewer->window = VIEWER_WINDOW(viewer_window_new(NULL, viewer->thumbnailer));
    gtk_window_present(GTK_WINDOW(viewer->window));
    UNTIL(gtk_widget_get_mapped(GTK_WIDGET(viewer->window)));
}

static void run(gconstpointer data)
{
    void (*test)(struct viewer *) = (void (*)(struct viewer *))data;
    const char *given = g_getenv("VIEWER_TEST_FOLDER");
    g_auto(GStrv) environment = g_get_environ();
    struct viewer viewer = {.folder = given ? g_strdup(given)
                                            : g_build_filename(top, "pictures", NULL)};
    g_autofree char *cache = g_build_filename(top, "cache", NULL);

    if (!g_getenv("VIEWER_TEST_KEEP_CACHE"))
        remove_all(cache);
    g_mkdir(viewer.folder, 0700);
    viewer_reopen(&viewer);
    if (given)
        gtk_window_maximize(GTK_WINDOW(viewer.window));
    guint fds = count("/proc/self/fd");

    test(&viewer);

    const char *cpus = g_environ_getenv(environment, "AFORK_CPUS");
    if (cpus)
        g_setenv("AFORK_CPUS", cpus, TRUE);
    else if (g_getenv("AFORK_CPUS"))
        g_unsetenv("AFORK_CPUS");
    viewer_close(&viewer);
    while (G_OBJECT(viewer.thumbnailer)->ref_count > 1)
        viewer_turn(); /* threads that look at a file hold it */
    g_object_unref(viewer.thumbnailer);
    UNTIL(!viewer_n_mapped());
    check_fds(fds);
    g_assert_false(has_temporary());
    remove_all(viewer.folder);
    g_free(viewer.folder);
}

void viewer_test_add(const char *path, void (*test)(struct viewer *viewer))
{
    g_test_add_data_func(path, (gconstpointer)test, run);
}

static void clean_up(void)
{
    remove_all(top);
}

void viewer_test_init(int *argc, char ***argv)
{
    g_autoptr(GError) error = NULL;

    top = g_dir_make_tmp("afork-viewer-XXXXXX", &error);
    g_assert_no_error(error);
    atexit(clean_up);
    g_autofree char *cache = g_build_filename(top, "cache", NULL);
    g_setenv("XDG_CACHE_HOME", cache, FALSE);
    g_test_init(argc, argv, NULL);
    if (!gtk_init_check()) {
        g_print("1..0 # SKIP there is no display\n");
        exit(0);
    }
    viewer_stand_in();
    viewer_clock_now();                                            /* opens a file once */
    g_type_class_unref(g_type_class_ref(VIEWER_TYPE_APPLICATION)); /* brings its resources */

    /* What GLib opens once. */
    g_autoptr(GFile) file = g_file_new_for_path(top);
    g_object_unref(g_file_monitor_directory(file, 0, NULL, NULL));
}
