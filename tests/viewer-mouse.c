/* SPDX-License-Identifier: MIT
 *
 * afork-viewer, by mouse. The events are the display's own, made by xdotool.
 */
#include <math.h>
#include <string.h>

#include "viewer-lib.h"

enum { MIDDLE = -1 };

/* Runs xdotool with these arguments; returns what it says. */
G_GNUC_PRINTF(1, 2) static char *xdotool(const char *format, ...)
{
    g_autofree char *arguments = NULL;
    g_autofree char *command = NULL;
    char *said = NULL;
    va_list list;

    va_start(list, format);
    arguments = g_strdup_vprintf(format, list);
    va_end(list);
    command = g_strconcat("xdotool ", arguments, NULL);
    g_assert_true(g_spawn_command_line_sync(command, &said, NULL, NULL, NULL));
    return said;
}

static void does(const char *what)
{
    g_free(xdotool("%s", what));
}

/* Moves the pointer there: a place in a widget, or its middle. */
static void point(GtkWidget *widget, int x, int y)
{
    GtkWindow *window = GTK_WINDOW(gtk_widget_get_root(widget));
    double in_window_x, in_window_y, edge_x, edge_y;
    g_autofree char *id = NULL;

    x = x == MIDDLE ? gtk_widget_get_width(widget) / 2 : x;
    y = y == MIDDLE ? gtk_widget_get_height(widget) / 2 : y;
    g_assert_true(gtk_widget_translate_coordinates(widget, GTK_WIDGET(window), x, y, &in_window_x,
                                                   &in_window_y));
    gtk_native_get_surface_transform(GTK_NATIVE(window), &edge_x, &edge_y);
    UNTIL((g_free(id),
           id = xdotool("search --onlyvisible --name '^%s$'", gtk_window_get_title(window))) &&
          *id);
    id[strcspn(id, "\n")] = '\0';
    g_free(xdotool("mousemove --window %s %d %d", id, (int)(in_window_x + edge_x),
                   (int)(in_window_y + edge_y)));
}

static GtkWidget *tile(struct viewer *viewer, const char *name)
{
    return GTK_WIDGET(viewer_grid_find_tile(viewer_window_get_grid(viewer->window), name));
}

static GtkAdjustment *adjustment(struct viewer *viewer, GtkOrientation orientation)
{
    GtkWidget *page = GTK_WIDGET(viewer_window_get_page(viewer->window));
    GtkScrolledWindow *scrolled = GTK_SCROLLED_WINDOW(viewer_find(page, GTK_TYPE_SCROLLED_WINDOW));

    return orientation == GTK_ORIENTATION_HORIZONTAL
               ? gtk_scrolled_window_get_hadjustment(scrolled)
               : gtk_scrolled_window_get_vadjustment(scrolled);
}

static void show_picture(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 1400, 1300, 0xff0000);
    viewer_open(viewer);
    viewer_view(viewer, 0);
    UNTIL(viewer_page_get_texture(viewer_window_get_page(viewer->window)));
    viewer_act(viewer, "zoom-original");
    UNTIL(gtk_adjustment_get_upper(adjustment(viewer, GTK_ORIENTATION_HORIZONTAL)) == 1400);
}

/* A double click on a tile shows its picture; a single one does not. */
static void test_double_click(struct viewer *viewer)
{
    viewer_pictures(viewer, 4);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    ViewerPage *page = viewer_window_get_page(viewer->window);
    GtkWidget *view = viewer_find(GTK_WIDGET(viewer_window_get_grid(viewer->window)),
                                  GTK_TYPE_GRID_VIEW);
    GtkSelectionModel *model = gtk_grid_view_get_model(GTK_GRID_VIEW(view));
    point(tile(viewer, "000001.png"), MIDDLE, MIDDLE);
    does("click 1");
    UNTIL(gtk_selection_model_is_selected(model, 1));
    g_assert_cmpstr(viewer_window_get_visible(viewer->window), ==, "grid");
    point(tile(viewer, "000002.png"), MIDDLE, MIDDLE);
    does("click --repeat 2 --delay 20 1");
    UNTIL(viewer_page_get_texture(page));
    g_assert_cmpstr(viewer_window_get_visible(viewer->window), ==, "picture");
    g_assert_cmpstr(gtk_window_get_title(GTK_WINDOW(viewer->window)), ==, "000002.png");
}

/* With Ctrl the wheel zooms, and what is under the pointer stays there; without, it scrolls. */
static void test_wheel(struct viewer *viewer)
{
    show_picture(viewer);
    ViewerPage *page = viewer_window_get_page(viewer->window);
    GtkAdjustment *x = adjustment(viewer, GTK_ORIENTATION_HORIZONTAL);
    GtkAdjustment *y = adjustment(viewer, GTK_ORIENTATION_VERTICAL);
    const int at = 200;

    point(GTK_WIDGET(page), at, at);
    double there = (gtk_adjustment_get_value(y) + at) / gtk_adjustment_get_upper(y);
    does("keydown ctrl click 4 click 4 keyup ctrl");
    UNTIL(gtk_adjustment_get_upper(x) > 1650);
    g_assert_cmpfloat_with_epsilon(gtk_adjustment_get_upper(x), 1400 * 1.1 * 1.1, 2);
    g_assert_cmpfloat_with_epsilon((gtk_adjustment_get_value(y) + at) / gtk_adjustment_get_upper(y),
                                   there, 0.01);
    does("keydown ctrl click 5 click 5 keyup ctrl");
    UNTIL(gtk_adjustment_get_upper(x) < 1402);

    double before = gtk_adjustment_get_value(y);
    does("click 5");
    UNTIL(gtk_adjustment_get_value(y) > before);
    g_assert_cmpfloat_with_epsilon(gtk_adjustment_get_upper(x), 1400, 2);
}

/* The picture follows the pointer. */
static void test_drag(struct viewer *viewer)
{
    show_picture(viewer);
    GtkWidget *page = GTK_WIDGET(viewer_window_get_page(viewer->window));
    GtkAdjustment *x = adjustment(viewer, GTK_ORIENTATION_HORIZONTAL);
    GtkAdjustment *y = adjustment(viewer, GTK_ORIENTATION_VERTICAL);
    double before_x = gtk_adjustment_get_value(x), before_y = gtk_adjustment_get_value(y);

    g_assert_cmpfloat(before_x, >, 60);
    point(page, 300, 300);
    does("mousedown 1");
    point(page, 330, 270);
    point(page, 360, 250);
    does("mouseup 1");
    UNTIL(fabs(gtk_adjustment_get_value(x) - (before_x - 60)) < 1 &&
          fabs(gtk_adjustment_get_value(y) - (before_y + 50)) < 1);
}

/* Why a picture is broken is told to who asks with the pointer. */
static void test_tooltip(struct viewer *viewer)
{
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    viewer_file(viewer, "broken.jpg", "\xff\xd8\xff\xe0 this is no picture");
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    GtkWidget *broken = tile(viewer, "broken.jpg");
    const char *reason = viewer_tile_get_reason(VIEWER_TILE(broken));
    g_assert_nonnull(strstr(reason, "JPEG"));
    g_autofree char *text = g_strdup_printf("broken.jpg\n%s", reason);
    g_assert_false(viewer_shows(viewer, text));
    point(broken, MIDDLE, MIDDLE);
    UNTIL(viewer_shows(viewer, text));
}

static GdkContentProvider *on_prepare(GtkDragSource *source, double x, double y, const char *folder)
{
    g_autoptr(GFile) file = g_file_new_for_path(folder);
    GSList files = {.data = file};

    return gdk_content_provider_new_typed(GDK_TYPE_FILE_LIST, &files);
}

/* A folder that is dropped is opened. */
static void test_drop(struct viewer *viewer)
{
    GtkWidget *from = g_object_new(GTK_TYPE_WINDOW, "title", "from", "decorated", FALSE,
                                   "default-width", 60, "default-height", 60, NULL);
    GtkDragSource *source = gtk_drag_source_new();

    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    g_signal_connect(source, "prepare", G_CALLBACK(on_prepare), viewer->folder);
    gtk_widget_add_controller(from, GTK_EVENT_CONTROLLER(source));
    gtk_window_present(GTK_WINDOW(from));
    UNTIL(gtk_widget_get_mapped(from));
    point(from, 30, 30);
    does("mousedown 1");
    GtkWidget *window = GTK_WIDGET(viewer->window);
    for (int i = 0; i < 5; i++) {
        point(window, 200 + 40 * i, 200 + 20 * i);
        viewer_settle(20);
    }
    does("mouseup 1");
    UNTIL(viewer_is_read(viewer));
    g_assert_cmpstr(viewer_folder_get_path(viewer_window_get_folder(viewer->window)), ==,
                    viewer->folder);
    g_assert_cmpuint(viewer_n_items(viewer), ==, 1);
    gtk_window_destroy(GTK_WINDOW(from));
}

int main(int argc, char **argv)
{
    viewer_test_init(&argc, &argv);
    viewer_test_add("/viewer/mouse/double-click", test_double_click);
    viewer_test_add("/viewer/mouse/wheel", test_wheel);
    viewer_test_add("/viewer/mouse/drag", test_drag);
    viewer_test_add("/viewer/mouse/tooltip", test_tooltip);
    viewer_test_add("/viewer/mouse/drop", test_drop);
    return g_test_run();
}
