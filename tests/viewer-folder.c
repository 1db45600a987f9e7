/* SPDX-License-Identifier: MIT
 *
 * afork-viewer: folders that change, vanish, are large, or have odd names in them.
 */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>

#include "viewer-lib.h"

static ViewerFolder *folder(struct viewer *viewer)
{
    return viewer_window_get_folder(viewer->window);
}

static void unlink_file(struct viewer *viewer, const char *name)
{
    g_autofree char *path = viewer_path(viewer, name);

    g_assert_cmpint(g_unlink(path), ==, 0);
}

static void rename_file(struct viewer *viewer, const char *from, const char *to)
{
    g_autofree char *from_path = viewer_path(viewer, from);
    g_autofree char *to_path = viewer_path(viewer, to);

    g_assert_cmpint(g_rename(from_path, to_path), ==, 0);
}

static gboolean has(struct viewer *viewer, const char *name)
{
    guint position;

    return viewer_folder_find(folder(viewer), name, &position);
}

static void test_empty(struct viewer *viewer)
{
    viewer_open(viewer);
    g_assert_cmpstr(viewer_window_get_visible(viewer->window), ==, "placeholder");
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    UNTIL(g_str_equal(viewer_window_get_visible(viewer->window), "grid"));
    UNTIL(viewer_is_complete(viewer));
}

static void test_changes(struct viewer *viewer)
{
    viewer_picture(viewer, "1.png", 40, 30, 0xff0000);
    viewer_picture(viewer, "10.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    viewer_picture(viewer, "2.png", 40, 30, 0xff0000);
    UNTIL(viewer_n_items(viewer) == 3);
    g_autoptr(ViewerEntry) second = g_list_model_get_item(G_LIST_MODEL(folder(viewer)), 1);
    g_assert_cmpstr(viewer_entry_get_name(second), ==, "2.png"); /* before 10 */
    unlink_file(viewer, "1.png");
    UNTIL(viewer_n_items(viewer) == 2);
    rename_file(viewer, "2.png", "3.png");
    UNTIL(has(viewer, "3.png") && !has(viewer, "2.png"));
    viewer_file(viewer, "notes.txt", "no picture");
    viewer_settle(500);
    g_assert_cmpuint(viewer_n_items(viewer), ==, 2);
    UNTIL(viewer_is_complete(viewer));
}

/* Of many changes at once, none is lost. */
static void test_many_changes(struct viewer *viewer)
{
    viewer_picture(viewer, "kept.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    viewer_pictures(viewer, 3000);
    UNTIL(viewer_n_items(viewer) == 3001);
    for (guint i = 0; i < 3000; i++) {
        g_autofree char *name = g_strdup_printf("%06u.png", i);
        unlink_file(viewer, name);
    }
    UNTIL(viewer_n_items(viewer) == 1);
    g_assert_true(has(viewer, "kept.png"));
    UNTIL(viewer_is_complete(viewer));
}

static guint32 shown_colour(struct viewer *viewer, const char *name)
{
    ViewerTile *tile = viewer_grid_find_tile(viewer_window_get_grid(viewer->window), name);
    GdkTexture *texture = viewer_entry_get_thumbnail(viewer_tile_get_entry(tile));

    return texture ? viewer_colour(texture) : G_MAXUINT32;
}

static gboolean replace(gpointer data)
{
    static guint32 n;

    viewer_picture(data, "a.png", 64, 64, n++);
    return G_SOURCE_CONTINUE;
}

/* A file that is replaced every 10 ms is looked at now and then, and at last. */
static void test_replaced(struct viewer *viewer)
{
    enum { REPLACED = 1200 };
    viewer_picture(viewer, "a.png", 64, 64, 0xff0000);
    viewer_picture(viewer, "b.png", 64, 64, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    guint timer = g_timeout_add(10, replace, viewer);
    viewer_settle(REPLACED);
    g_source_remove(timer);
    g_autoptr(GAforkPoolStats) stats = viewer_stats(viewer);
    g_assert_cmpuint(stats->completed + stats->queued + stats->running, >, 2);
    g_assert_cmpuint(stats->completed + stats->queued + stats->running, <, 2 + REPLACED / 100);
    g_assert_cmphex(shown_colour(viewer, "b.png"), ==, 0xff0000);
    viewer_picture(viewer, "a.png", 64, 64, 0x00ff00);
    UNTIL(shown_colour(viewer, "a.png") == 0x00ff00);
    g_assert_cmpuint(viewer_n_cached(), ==, 2);
}

/* The one that is shown in full is followed, too. */
static void test_replaced_picture(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 64, 64, 0xff0000);
    viewer_open(viewer);
    ViewerPage *page = viewer_window_get_page(viewer->window);
    viewer_view(viewer, 0);
    UNTIL(viewer_page_get_texture(page));
    viewer_picture(viewer, "a.png", 65, 64, 0x00ff00);
    UNTIL(viewer_page_get_texture(page) &&
          gdk_texture_get_width(viewer_page_get_texture(page)) == 65);
    unlink_file(viewer, "a.png");
    UNTIL(g_str_equal(viewer_window_get_visible(viewer->window), "placeholder"));
}

static gint64 cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * G_USEC_PER_SEC +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void test_vanishes(struct viewer *viewer)
{
    g_autofree char *away = g_strconcat(viewer->folder, ".away", NULL);

    viewer_pictures(viewer, 100);
    viewer_open(viewer);
    g_assert_cmpint(g_rename(viewer->folder, away), ==, 0);
    UNTIL(viewer_folder_get_message(folder(viewer)));
    g_assert_cmpstr(viewer_window_get_visible(viewer->window), ==, "placeholder");
    g_assert_cmpuint(viewer_n_items(viewer), ==, 0);
    gint64 before = cpu();
    viewer_settle(1500); /* it is looked for now and then, no more */
    g_assert_cmpint(cpu() - before, <, G_USEC_PER_SEC / 4);
    g_assert_cmpint(g_rename(away, viewer->folder), ==, 0);
    UNTIL(viewer_n_items(viewer) == 100);
    g_assert_null(viewer_folder_get_message(folder(viewer)));
    UNTIL(viewer_is_complete(viewer));
    viewer_picture(viewer, "new.png", 40, 30, 0); /* it is followed again */
    UNTIL(viewer_n_items(viewer) == 101);
}

static void test_removed(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 64, 64, 0xff0000);
    viewer_open(viewer);
    unlink_file(viewer, "a.png");
    g_assert_cmpint(g_rmdir(viewer->folder), ==, 0);
    UNTIL(viewer_folder_get_message(folder(viewer)));
    g_assert_cmpint(g_mkdir(viewer->folder, 0700), ==, 0);
    viewer_picture(viewer, "b.png", 64, 64, 0xff0000);
    UNTIL(viewer_n_items(viewer) == 1);
}

static void test_never_there(struct viewer *viewer)
{
    g_autofree char *path = viewer_path(viewer, "missing");
    g_autoptr(GFile) file = g_file_new_for_path(path);

    viewer_window_open(viewer->window, file);
    UNTIL(viewer_is_read(viewer));
    UNTIL(viewer_folder_get_message(folder(viewer)));
    g_assert_nonnull(strstr(viewer_folder_get_message(folder(viewer)), "No such file"));
    g_assert_cmpint(g_mkdir(path, 0700), ==, 0); /* it comes late */
    viewer_picture(viewer, "missing/a.png", 40, 30, 0xff0000);
    UNTIL(viewer_n_items(viewer) == 1);
    g_assert_null(viewer_folder_get_message(folder(viewer)));
    UNTIL(viewer_is_complete(viewer));
    viewer_picture(viewer, "missing/b.png", 40, 30, 0xff0000);
    UNTIL(viewer_n_items(viewer) == 2);
}

static void test_odd_names(struct viewer *viewer)
{
    char longest[256];
    const char *names[] = {
        "new\nline.png", "\xff\xfe invalid.png",   "per%cent %41.png", "-dash.png",
        "q?u#e.png",     "gr\xc3\xbc\xc3\x9f.png", "back\\slash.png",  longest};

    memset(longest, 'x', 255);
    strcpy(longest + 251, ".png");
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        viewer_picture(viewer, names[i], 40, 30, (guint32)i);
    viewer_open(viewer);
    g_assert_cmpuint(viewer_n_items(viewer), ==, G_N_ELEMENTS(names));
    UNTIL(viewer_is_complete(viewer));
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpint(viewer_state(viewer, names[i]), ==, VIEWER_TILE_SHOWN);
        g_assert_cmphex(shown_colour(viewer, names[i]), ==, i);
        ViewerTile *tile = viewer_grid_find_tile(viewer_window_get_grid(viewer->window), names[i]);
        const char *shown = viewer_entry_get_display_name(viewer_tile_get_entry(tile));
        g_assert_true(g_utf8_validate(shown, -1, NULL));
        g_assert_null(strchr(shown, '\n'));
    }
    viewer_picture(viewer, names[1], 40, 30, 0x00ff00);
    UNTIL(shown_colour(viewer, names[1]) == 0x00ff00);
    unlink_file(viewer, names[0]);
    UNTIL(!has(viewer, names[0]));
}

/* Names of folders, too, are octets. */
static void test_odd_folder(struct viewer *viewer)
{
    char *plain = viewer->folder;

    viewer->folder = g_strconcat(plain, "-\xff\n<b>", NULL);
    g_assert_cmpint(g_mkdir(viewer->folder, 0700), ==, 0);
    viewer_open(viewer);
    UNTIL(g_str_equal(viewer_window_get_visible(viewer->window), "placeholder"));
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    UNTIL(viewer_n_items(viewer) == 1 && viewer_is_complete(viewer));
    g_assert_cmphex(shown_colour(viewer, "a.png"), ==, 0xff0000);
    g_assert_true(g_utf8_validate(gtk_window_get_title(GTK_WINDOW(viewer->window)), -1, NULL));
    g_assert_cmpint(g_rmdir(plain), ==, 0);
    g_free(plain);
}

/* --- The list --- */

/* What somebody has who knows the list only from what he is told. */
static void on_items_changed(GListModel *model, guint position, guint removed, guint added,
                             GPtrArray *copy)
{
    g_assert_cmpuint(position + removed, <=, copy->len);
    if (removed)
        g_ptr_array_remove_range(copy, position, removed);
    for (guint i = position; i < position + added; i++) {
        g_autoptr(ViewerEntry) entry = g_list_model_get_item(model, i);
        g_ptr_array_insert(copy, (int)i, g_strdup(viewer_entry_get_name(entry)));
    }
    g_assert_cmpuint(copy->len, ==, g_list_model_get_n_items(model));
}

static void check_list(GListModel *model, GPtrArray *copy)
{
    g_assert_cmpuint(copy->len, ==, g_list_model_get_n_items(model));
    g_assert_null(g_list_model_get_item(model, copy->len));
    for (guint i = 0; i < copy->len; i++) {
        g_autoptr(ViewerEntry) entry = g_list_model_get_item(model, i);
        g_assert_cmpstr(viewer_entry_get_name(entry), ==, copy->pdata[i]);
        guint position;
        g_assert_true(viewer_folder_find(VIEWER_FOLDER(model), copy->pdata[i], &position));
        g_assert_cmpuint(position, ==, i);
    }
}

/* The list is replaced, again and again; at random some names stay. A selection is of a file, wherever
 * that is, and goes to another only with it. */
static void test_list(struct viewer *viewer)
{
    enum { N = 400, ROUNDS = 12 };
    g_autoptr(GPtrArray) copy = g_ptr_array_new_with_free_func(g_free);
    gboolean there[N] = {FALSE};

    viewer_picture(viewer, "200.png", 4, 3, 0xff0000);
    viewer_open(viewer);
    there[200] = TRUE;
    g_autoptr(ViewerEntry) kept = g_list_model_get_item(G_LIST_MODEL(folder(viewer)), 0);
    g_autoptr(GtkSingleSelection)
        selection = gtk_single_selection_new(G_LIST_MODEL(g_object_ref(folder(viewer))));
    g_ptr_array_add(copy, g_strdup("200.png"));
    g_signal_connect(folder(viewer), "items-changed", G_CALLBACK(on_items_changed), copy);
    for (int round = 0; round < ROUNDS; round++) {
        for (guint i = 0; i < N; i++) {
            g_autofree char *name = g_strdup_printf("%u.png", i);
            gboolean wanted = i == 200 || g_test_rand_int_range(0, ROUNDS) > round;
            if (wanted && !there[i])
                viewer_file(viewer, name, "");
            else if (!wanted && there[i])
                unlink_file(viewer, name);
            there[i] = wanted;
        }
        viewer_folder_reload(folder(viewer));
        UNTIL(viewer_is_read(viewer));
        check_list(G_LIST_MODEL(folder(viewer)), copy);
        g_assert_true(gtk_single_selection_get_selected_item(selection) == kept);
        guint position;
        g_assert_true(viewer_folder_find(folder(viewer), "200.png", &position));
        g_assert_cmpuint(gtk_single_selection_get_selected(selection), ==, position);
    }
    g_signal_handlers_disconnect_by_data(folder(viewer), copy);
}

/* What is no file, or cannot be read. */
static void test_no_files(struct viewer *viewer)
{
    g_autofree char *directory = viewer_path(viewer, "directory.png");
    g_autofree char *pipe = viewer_path(viewer, "pipe.png");
    g_autofree char *dangling = viewer_path(viewer, "dangling.png");

    g_assert_cmpint(g_mkdir(directory, 0700), ==, 0);
    g_assert_cmpint(mkfifo(pipe, 0700), ==, 0);
    g_assert_cmpint(symlink("nowhere", dangling), ==, 0);
    viewer_picture(viewer, "good.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_false(has(viewer, "directory.png"));
    g_assert_false(has(viewer, "pipe.png"));
    g_assert_cmpint(viewer_state(viewer, "dangling.png"), ==, VIEWER_TILE_BROKEN);
    g_assert_cmpint(viewer_state(viewer, "good.png"), ==, VIEWER_TILE_SHOWN);
}

int main(int argc, char **argv)
{
    viewer_test_init(&argc, &argv);
    viewer_test_add("/viewer/folder/empty", test_empty);
    viewer_test_add("/viewer/folder/changes", test_changes);
    viewer_test_add("/viewer/folder/many-changes", test_many_changes);
    viewer_test_add("/viewer/folder/replaced", test_replaced);
    viewer_test_add("/viewer/folder/replaced-picture", test_replaced_picture);
    viewer_test_add("/viewer/folder/vanishes", test_vanishes);
    viewer_test_add("/viewer/folder/removed", test_removed);
    viewer_test_add("/viewer/folder/never-there", test_never_there);
    viewer_test_add("/viewer/folder/odd-names", test_odd_names);
    viewer_test_add("/viewer/folder/odd-folder", test_odd_folder);
    viewer_test_add("/viewer/folder/list", test_list);
    viewer_test_add("/viewer/folder/no-files", test_no_files);
    return g_test_run();
}
