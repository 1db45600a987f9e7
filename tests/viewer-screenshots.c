/* SPDX-License-Identifier: MIT
 *
 * viewer-screenshots PICTURES DIRECTORY: brings afork-viewer into view, and has ImageMagick take the
 * screen.
 */
#include <stdlib.h>

#include "viewer-lib.h"

enum { BROKEN = 7 }; /* its position */

static const char *directory;

static void take(const char *name)
{
    g_autofree char *path = g_strdup_printf("%s/viewer-%s.png", directory, name);
    const char *command[] = {"import", "-window", "root", path, NULL};
    g_autoptr(GError) error = NULL;

    viewer_settle(700); /* animations, and the tooltip */
    if (!g_spawn_sync(NULL, (char **)command, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                      NULL, &error))
        g_error("%s", error->message);
}

static void activate(struct viewer *viewer, const char *action, GVariant *parameter)
{
    g_action_group_activate_action(G_ACTION_GROUP(viewer->window), action, parameter);
}

static void test(struct viewer *viewer)
{
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    take("grid"); /* the pointer is on a broken picture */
    activate(viewer, "view", g_variant_new_uint32(2));
    UNTIL(viewer_page_get_texture(viewer_window_get_page(viewer->window)));
    take("picture");
    activate(viewer, "view", g_variant_new_uint32(BROKEN));
    UNTIL(viewer_page_get_reason(viewer_window_get_page(viewer->window)));
    take("reason");
    g_setenv("AFORK_THUMBNAILS_LIB", "/nonexistent", TRUE);
    activate(viewer, "retry", NULL);
    activate(viewer, "back", NULL);
    activate(viewer, "reload", NULL);
    viewer_picture(viewer, "new.png", 10, 10, 0);
    UNTIL(viewer_window_get_notice(viewer->window));
    take("no-module");
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return EXIT_FAILURE;
    directory = argv[2];
    g_setenv("VIEWER_TEST_FOLDER", argv[1], TRUE);
    viewer_test_init(&argc, &argv);
    viewer_test_add("/viewer/screenshots", test);
    return g_test_run();
}
