/* SPDX-License-Identifier: MIT
 *
 * afork-viewer: a folder as a grid, a picture in full.
 */
#include "viewer-lib.h"

/* --- The grid --- */

static void test_thumbnails(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 400, 300, 0xff0000);
    viewer_picture(viewer, "b.jpg", 300, 400, 0x0000ff);
    viewer_file(viewer, "c.txt", "no picture");
    viewer_picture(viewer, ".hidden.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    g_assert_cmpuint(viewer_n_items(viewer), ==, 2);
    UNTIL(viewer_is_complete(viewer));
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    ViewerTile *tile = viewer_grid_find_tile(grid, "a.png");
    GdkTexture *texture = viewer_entry_get_thumbnail(viewer_tile_get_entry(tile));
    g_assert_cmphex(viewer_colour(texture), ==, 0xff0000);
    g_assert_cmpint(gdk_texture_get_width(texture), ==, 168); /* as large as it is shown */
    g_assert_cmpuint(viewer_n_cached(), ==, 2);
    g_assert_cmpuint(viewer_n_mapped(), ==, 2); /* there is no copy */
}

/* What the cache has is not decoded again; what it has and cannot be read is. */
static void test_cached(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 400, 300, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpint(viewer_state(viewer, "a.png"), ==, VIEWER_TILE_SHOWN);
    g_assert_cmpuint(viewer_n_cached(), ==, 1);
}

static void test_broken(struct viewer *viewer)
{
    viewer_file(viewer, "broken.jpg", "\xff\xd8\xff\xe0 this is no picture");
    viewer_file(viewer, "empty.png", "");
    viewer_picture(viewer, "good.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    ViewerTile *tile = viewer_grid_find_tile(grid, "broken.jpg");
    g_assert_cmpint(viewer_tile_get_state(tile), ==, VIEWER_TILE_BROKEN);
    g_assert_nonnull(strstr(viewer_tile_get_reason(tile), "broken.jpg"));
    g_assert_nonnull(strstr(viewer_tile_get_reason(tile), "JPEG"));
    g_assert_cmpint(viewer_state(viewer, "empty.png"), ==, VIEWER_TILE_BROKEN);
    g_assert_cmpint(viewer_state(viewer, "good.png"), ==, VIEWER_TILE_SHOWN);

    viewer_open(viewer); /* it is remembered */
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpint(viewer_state(viewer, "broken.jpg"), ==, VIEWER_TILE_BROKEN);
    tile = viewer_grid_find_tile(grid, "broken.jpg");
    g_assert_nonnull(strstr(viewer_tile_get_reason(tile), "before"));
    g_assert_nonnull(strstr(viewer_tile_get_reason(tile), "JPEG"));
}

/* What is in view comes first, what has left it is dropped. */
static void test_visible_first(struct viewer *viewer)
{
    enum { N = 1000 };
    viewer_pictures(viewer, N);
    viewer_open(viewer);
    GAction *make_all = g_action_map_lookup_action(G_ACTION_MAP(viewer->window), "make-all");
    g_action_activate(make_all, NULL);
    UNTIL(viewer_n_cached() >= 20);

    viewer_grid_reveal(viewer_window_get_grid(viewer->window), N - 1);
    UNTIL(viewer_grid_find_tile(viewer_window_get_grid(viewer->window), "000999.png"));
    g_autoptr(GAforkPoolStats) before = viewer_stats(viewer);
    UNTIL(viewer_is_complete(viewer) && viewer_state(viewer, "000999.png") == VIEWER_TILE_SHOWN);
    g_autoptr(GAforkPoolStats) after = viewer_stats(viewer);
    guint in_view, missing;
    viewer_grid_count(viewer_window_get_grid(viewer->window), &in_view, &missing);
    /* Nothing else was done meanwhile than what the workers had, and what is near. */
    g_assert_cmpuint(after->completed - before->completed, <=, 3 * in_view + 20);
    g_assert_cmpuint(viewer_batch_get_done(viewer_window_get_batch(viewer->window)), <, N / 2);
}

static void test_dropped(struct viewer *viewer)
{
    enum { N = 400 };
    for (guint i = 0; i < N; i++) {
        g_autofree char *name = g_strdup_printf("%03u.png", i);
        viewer_picture(viewer, name, 900, 900, i);
    }
    viewer_open(viewer);
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    for (guint i = 0; i < N; i += 40) {
        viewer_grid_reveal(grid, i);
        viewer_settle(20);
    }
    viewer_grid_reveal(grid, N - 1);
    UNTIL(viewer_grid_find_tile(grid, "399.png") &&
          viewer_state(viewer, "399.png") == VIEWER_TILE_SHOWN && viewer_is_complete(viewer));
    g_autoptr(GAforkPoolStats) stats = viewer_stats(viewer);
    g_assert_cmpuint(stats->cancelled, >, 0);
    g_assert_cmpuint(stats->completed, <, N / 2);
}

/* Memory is that of what is in view. */
static void test_memory(struct viewer *viewer)
{
    enum { N = 1000 };
    guint most = 0, in_view, missing;

    viewer_pictures(viewer, N);
    viewer_open(viewer);
    ViewerGrid *grid = viewer_window_get_grid(viewer->window);
    for (guint i = 0; i < N; i += 10) {
        viewer_grid_reveal(grid, i);
        viewer_settle(5);
        UNTIL(viewer_is_complete(viewer));
        most = MAX(most, viewer_n_mapped());
    }
    viewer_grid_count(grid, &in_view, &missing);
    g_assert_cmpuint(viewer_n_cached(), >, N / 2);
    g_assert_cmpuint(most, <=, 4 * in_view + 20);
}

/* --- A picture in full --- */

static void activate(struct viewer *viewer, const char *action)
{
    g_action_group_activate_action(G_ACTION_GROUP(viewer->window), action, NULL);
}

static void test_picture(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 1400, 1300, 0xff0000);
    viewer_file(viewer, "b.png", "no picture");
    viewer_picture(viewer, "c.jpg", 300, 200, 0x0000ff);
    viewer_open(viewer);
    ViewerPage *page = viewer_window_get_page(viewer->window);
    g_action_group_activate_action(G_ACTION_GROUP(viewer->window), "view", g_variant_new_uint32(0));
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmpstr(viewer_window_get_visible(viewer->window), ==, "picture");
    g_assert_cmpint(gdk_texture_get_width(viewer_page_get_texture(page)), ==, 1400);
    g_assert_cmphex(viewer_colour(viewer_page_get_texture(page)), ==, 0xff0000);
    activate(viewer, "zoom-original");
    activate(viewer, "zoom-in");
    activate(viewer, "zoom-fit");
    activate(viewer, "next");
    UNTIL(viewer_page_get_reason(page));
    activate(viewer, "next");
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmpint(gdk_texture_get_height(viewer_page_get_texture(page)), ==, 200);
    activate(viewer, "next"); /* there is none */
    g_assert_cmpint(gdk_texture_get_height(viewer_page_get_texture(page)), ==, 200);
    activate(viewer, "back");
    g_assert_cmpstr(viewer_window_get_visible(viewer->window), ==, "grid");
    g_assert_null(viewer_page_get_texture(page));
}

/* Someone who holds the key down does not have every picture decoded. */
static void test_hurry(struct viewer *viewer)
{
    for (guint i = 0; i < 30; i++) {
        g_autofree char *name = g_strdup_printf("%02u.png", i);
        viewer_picture(viewer, name, 600, 600, i);
    }
    viewer_open(viewer);
    ViewerPage *page = viewer_window_get_page(viewer->window);
    g_action_group_activate_action(G_ACTION_GROUP(viewer->window), "view", g_variant_new_uint32(0));
    for (guint i = 1; i < 30; i++) {
        activate(viewer, "next");
        viewer_turn();
    }
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmphex(viewer_colour(viewer_page_get_texture(page)), ==, 29);
}

/* A picture that is named is shown, in its folder. */
static void test_open_picture(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    viewer_picture(viewer, "b.png", 50, 30, 0x00ff00);
    g_autofree char *path = viewer_path(viewer, "b.png");
    g_autoptr(GFile) file = g_file_new_for_path(path);
    viewer_window_open(viewer->window, file);
    ViewerPage *page = viewer_window_get_page(viewer->window);
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmpint(gdk_texture_get_width(viewer_page_get_texture(page)), ==, 50);
    activate(viewer, "previous");
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmpint(gdk_texture_get_width(viewer_page_get_texture(page)), ==, 40);
}

int main(int argc, char **argv)
{
    viewer_test_init(&argc, &argv);
    viewer_test_add("/viewer/grid/thumbnails", test_thumbnails);
    viewer_test_add("/viewer/grid/cached", test_cached);
    viewer_test_add("/viewer/grid/broken", test_broken);
    viewer_test_add("/viewer/grid/visible-first", test_visible_first);
    viewer_test_add("/viewer/grid/dropped", test_dropped);
    viewer_test_add("/viewer/grid/memory", test_memory);
    viewer_test_add("/viewer/picture/shown", test_picture);
    viewer_test_add("/viewer/picture/hurry", test_hurry);
    viewer_test_add("/viewer/picture/opened", test_open_picture);
    return g_test_run();
}
