/* SPDX-License-Identifier: MIT
 *
 * afork-viewer: workers that are hostile, or cannot start; windows that share them; the keys.
 */
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "viewer-application.h"
#include "viewer-lib.h"

static void activate(struct viewer *viewer, const char *action)
{
    g_action_group_activate_action(G_ACTION_GROUP(viewer->window), action, NULL);
}

static void view(struct viewer *viewer, guint position)
{
    g_action_group_activate_action(G_ACTION_GROUP(viewer->window), "view",
                                   g_variant_new_uint32(position));
}

static const char *reason(struct viewer *viewer, const char *name)
{
    return viewer_tile_get_reason(
        viewer_grid_find_tile(viewer_window_get_grid(viewer->window), name));
}

/* The first of this type below `widget`; NULL: there is none. */
static GtkWidget *find(GtkWidget *widget, GType type)
{
    GtkWidget *found = G_TYPE_CHECK_INSTANCE_TYPE(widget, type) ? widget : NULL;

    for (GtkWidget *child = gtk_widget_get_first_child(widget); child && !found;
         child = gtk_widget_get_next_sibling(child))
        found = find(child, type);
    return found;
}

/* --- What workers say --- */

struct module {
    char *real, *lib, *folder, *file;
};

/* AFork::Thumbnail with more code at its end. */
static void module_begin(struct module *module, const char *code)
{
    module->real = g_strdup(g_getenv("AFORK_THUMBNAILS_LIB"));
    module->lib = g_dir_make_tmp("afork-viewer-lib-XXXXXX", NULL);
    module->folder = g_build_filename(module->lib, "AFork", NULL);
    module->file = g_build_filename(module->folder, "Thumbnail.pm", NULL);
    g_autofree char *text = g_strdup_printf("do '%s/AFork/Thumbnail.pm' or die $@;"
                                            "package AFork::Thumbnail; no warnings; %s; 1",
                                            module->real, code);
    g_assert_cmpint(g_mkdir(module->folder, 0700), ==, 0);
    g_assert_true(g_file_set_contents(module->file, text, -1, NULL));
    g_setenv("AFORK_THUMBNAILS_LIB", module->lib, TRUE);
}

static void module_end(struct module *module)
{
    g_setenv("AFORK_THUMBNAILS_LIB", module->real, TRUE);
    g_unlink(module->file);
    g_rmdir(module->folder);
    g_rmdir(module->lib);
    g_free(module->real);
    g_free(module->lib);
    g_free(module->folder);
    g_free(module->file);
}

/* More pixels than were asked for, and such as a worker could still change: neither is shown. */
static void test_pixels(struct viewer *viewer)
{
    struct module module;

    module_begin(&module,
                 "my $init = \\&init; *init = sub { $init->(@_);"
                 "  my $pixels = \\&Viewer::pixels; *Viewer::pixels = sub {"
                 "    my $width = $_[0]->get_width;"
                 "    return (1000, 900, 3000, 3, AFork::memfd('x' x 2_700_000)) if $width == 40;"
                 "    open my $file, '+>', undef or die $!; syswrite $file, 'x' x 3690;"
                 "    return $width == 41 ? (41, 30, 123, 3, $file) : $pixels->(@_) } }");
    viewer_picture(viewer, "large.png", 40, 30, 0xff0000);
    viewer_picture(viewer, "open.png", 41, 30, 0xff0000);
    viewer_picture(viewer, "good.png", 42, 30, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpstr(reason(viewer, "large.png"), ==, "there are more pixels than were asked for");
    g_assert_cmpstr(reason(viewer, "open.png"), ==, "the pixels are not sealed");
    g_assert_cmpint(viewer_state(viewer, "good.png"), ==, VIEWER_TILE_SHOWN);
    module_end(&module);
}

/* Octets that are no UTF-8 are told as well as it goes, be they an answer or an exception. */
static void test_octets(struct viewer *viewer)
{
    struct module module;

    module_begin(&module, "*reduce = sub { die \"\\xff\\xfe died\\n\" if $_[0] =~ /b.png/;"
                          "  return \"failed \\xff\\xfe failed\" }");
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    viewer_picture(viewer, "b.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpstr(reason(viewer, "a.png"), ==, "\u00ff\u00fe failed");
    g_assert_true(g_utf8_validate(reason(viewer, "b.png"), -1, NULL));
    g_assert_nonnull(strstr(reason(viewer, "b.png"), "died"));
    module_end(&module);
}

/* Whether all of it can be confined here: by Landlock of Linux 6.12, and by filters. */
static gboolean can_confine(void)
{
    enum { CREATE_RULESET = 444, ASK_VERSION = 1, VERSION = 6 };

#ifdef ENABLE_SECCOMP
    return syscall(CREATE_RULESET, NULL, 0, ASK_VERSION) >= VERSION;
#else
    return FALSE;
#endif
}

/* A worker that was taken over, be it of a tile or of a picture in full, does little harm. */
static void test_confined(struct viewer *viewer)
{
    struct module module;
    const char expected[] = "write: Permission denied, fork: Operation not permitted, "
                            "socket: Operation not permitted, kill: Operation not permitted";

    if (!can_confine()) {
        g_test_skip("this kernel, or this afork-perl, confines less");
        return;
    }
    module_begin(&module, "*reduce = sub { my @no;"
                          "  open my $f, '>', '/proc/self/comm' or push @no, \"write: $!\";"
                          "  my $pid = fork // push @no, \"fork: $!\"; CORE::exit if !$pid;"
                          "  socket my $s, 2, 1, 0 or push @no, \"socket: $!\";"
                          "  kill 0, getppid or push @no, \"kill: $!\";"
                          "  return 'failed ' . join ', ', @no }");
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpstr(reason(viewer, "a.png"), ==, expected);
    view(viewer, 0);
    UNTIL(viewer_page_get_reason(viewer_window_get_page(viewer->window)));
    g_assert_cmpstr(viewer_page_get_reason(viewer_window_get_page(viewer->window)), ==, expected);
    module_end(&module);
}

/* --- Workers that cannot start --- */

/* The module cannot be found until it is repaired. */
static char *break_module(void)
{
    char *real = g_strdup(g_getenv("AFORK_THUMBNAILS_LIB"));

    g_setenv("AFORK_THUMBNAILS_LIB", "/nonexistent", TRUE);
    return real;
}

static void repair_module(char *real)
{
    g_setenv("AFORK_THUMBNAILS_LIB", real, TRUE);
    g_free(real);
}

/* A window that comes later tells of it, too. */
static void test_second_window(struct viewer *viewer)
{
    char *real = break_module();

    viewer_pictures(viewer, 3);
    viewer_open(viewer);
    UNTIL(viewer_window_get_notice(viewer->window));
    GtkWindow *second = viewer_window_new(NULL, viewer->thumbnailer);
    g_assert_cmpstr(viewer_window_get_notice(VIEWER_WINDOW(second)), ==,
                    viewer_window_get_notice(viewer->window));
    repair_module(real);
    activate(viewer, "retry");
    g_assert_null(viewer_window_get_notice(VIEWER_WINDOW(second)));
    gtk_window_destroy(second);
    UNTIL(viewer_is_complete(viewer));
}

/* All thumbnails are asked for: nothing goes on for ever, and everything when it can. */
static void test_progress(struct viewer *viewer)
{
    enum { N = 200 };
    char *real = break_module();
    GtkWidget *bar = find(GTK_WIDGET(viewer->window), GTK_TYPE_PROGRESS_BAR);

    viewer_pictures(viewer, N);
    viewer_open(viewer);
    activate(viewer, "make-all");
    g_assert_true(gtk_widget_get_visible(bar));
    UNTIL(viewer_window_get_notice(viewer->window) && !gtk_widget_get_visible(bar));
    repair_module(real);
    activate(viewer, "retry");
    g_assert_true(gtk_widget_get_visible(bar));
    UNTIL(viewer_n_cached() == N && !gtk_widget_get_visible(bar));
    activate(viewer, "make-all"); /* there is nothing to do for workers */
    g_assert_true(gtk_widget_get_visible(bar));
    UNTIL(!gtk_widget_get_visible(bar));
    g_assert_cmpuint(viewer_batch_get_done(viewer_window_get_batch(viewer->window)), ==, N);
}

/* A picture in full is tried again, too. */
static void test_page(struct viewer *viewer)
{
    char *real = break_module();
    ViewerPage *page = viewer_window_get_page(viewer->window);

    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    view(viewer, 0);
    UNTIL(viewer_page_get_reason(page));
    repair_module(real);
    activate(viewer, "retry");
    UNTIL(viewer_page_get_texture(page));
    g_assert_null(viewer_page_get_reason(page));
}

/* --- Workers that are no more --- */

/* Kills all that were forked from `pid`, the oldest first. */
static void kill_children(int pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", pid, pid);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) children = g_strsplit(g_strchomp(text), " ", 0);
    for (guint i = 0; children[i]; i++) {
        g_assert_cmpint(kill(atoi(children[i]), SIGSTOP), ==, 0);
        kill_children(atoi(children[i]));
        g_assert_cmpint(kill(atoi(children[i]), SIGKILL), ==, 0);
    }
}

/* All of Perl is killed, and what it forks from: there are others without anybody's doing. Where those
 * cannot be had, there is a sentence. */
static void test_all_killed(struct viewer *viewer)
{
    ViewerPage *page = viewer_window_get_page(viewer->window);

    viewer_pictures(viewer, 3);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    kill_children(getpid());
    viewer_picture(viewer, "a.png", 40, 30, 0);
    UNTIL(viewer_n_items(viewer) == 4 && viewer_is_complete(viewer));
    g_assert_cmpint(viewer_state(viewer, "a.png"), ==, VIEWER_TILE_SHOWN);
    kill_children(getpid());
    view(viewer, 0);
    UNTIL(viewer_page_get_texture(page));
    g_assert_null(viewer_window_get_notice(viewer->window));
}

/* What is under way when all is started anew is not lost. */
static void test_restart(struct viewer *viewer)
{
    enum { N = 500 };

    viewer_pictures(viewer, N);
    viewer_open(viewer);
    activate(viewer, "make-all");
    UNTIL(viewer_n_cached() > 10 && viewer_n_queued(viewer) > 100);
    kill_children(getpid());
    UNTIL(viewer_n_cached() > N / 2);
    activate(viewer, "retry");
    UNTIL(viewer_n_cached() == N && viewer_is_complete(viewer));
    g_assert_null(viewer_window_get_notice(viewer->window));
    for (guint i = 0; i < 10; i++) {
        g_autofree char *name = g_strdup_printf("%06u.png", i);
        g_assert_cmpint(viewer_state(viewer, name), ==, VIEWER_TILE_SHOWN);
    }
}

/* --- Files that are opened --- */

/* What a picture is does not depend on what else is there, in whatever order it is read. */
static void test_suffixes(struct viewer *viewer)
{
    enum { N = 20 };

    for (guint i = 0; i < N; i++) {
        g_autofree char *picture = g_strdup_printf("a%u.svg.gz", i);
        g_autofree char *archive = g_strdup_printf("b%u.tar.gz", i);
        viewer_file(viewer, picture, "");
        viewer_file(viewer, archive, "");
    }
    viewer_open(viewer);
    g_assert_cmpuint(viewer_n_items(viewer), ==, N);
}

static GtkWindow *nth_window(gpointer application, guint n)
{
    return g_list_nth_data(gtk_application_get_windows(application), n);
}

/* Ends the program when there are windows for both folders, and a moment later no more. */
static gboolean on_look(gpointer application)
{
    static guint looks;
    GtkWindow *last = nth_window(application, 0), *first = nth_window(application, 1);

    if (!first || !viewer_page_get_texture(viewer_window_get_page(VIEWER_WINDOW(first))) ||
        !viewer_window_get_folder(VIEWER_WINDOW(last)) || ++looks < 5)
        return G_SOURCE_CONTINUE;
    g_assert_cmpstr(gtk_window_get_title(first), ==, "a.png");
    g_assert_cmpstr(gtk_window_get_title(last), ==, "sub");
    g_assert_null(nth_window(application, 2));
    gtk_window_destroy(first);
    gtk_window_destroy(last);
    return G_SOURCE_REMOVE;
}

/* A selection of a file manager is one window for each folder. */
static void test_selection(struct viewer *viewer)
{
    g_autoptr(GtkApplication) application = viewer_application_new();
    g_autofree char *sub = viewer_path(viewer, "sub"), *a = viewer_path(viewer, "a.png");
    g_autofree char *b = viewer_path(viewer, "b.png"), *c = viewer_path(viewer, "sub/c.png");
    char *arguments[] = {(char *)"afork-viewer", a, b, sub, c, b, NULL};

    g_setenv("DBUS_SESSION_BUS_ADDRESS", "disabled:", TRUE);
    g_assert_cmpint(g_mkdir(sub, 0700), ==, 0);
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    viewer_picture(viewer, "b.png", 40, 30, 0xff0000);
    viewer_picture(viewer, "sub/c.png", 40, 30, 0xff0000);
    g_timeout_add(100, on_look, application);
    g_assert_cmpint(g_application_run(G_APPLICATION(application), 6, arguments), ==, 0);
}

/* --- The picture in full --- */

static gboolean is_enabled(struct viewer *viewer, const char *action)
{
    return g_action_group_get_action_enabled(G_ACTION_GROUP(viewer->window), action);
}

static void press(struct viewer *viewer, const char *key)
{
    g_autofree char *name = g_strdup_printf("^%s$",
                                            gtk_window_get_title(GTK_WINDOW(viewer->window)));
    const char *command[] = {"xdotool", "search", "--name", name, "windowfocus",
                             "--sync",  "key",    key,      NULL};

    g_assert_true(
        g_spawn_async(NULL, (char **)command, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL));
}

/* Arrows move a picture that is larger than the view, and else go to another. There is nothing to
 * enlarge where there is no picture. */
static void test_keys(struct viewer *viewer)
{
    ViewerPage *page = viewer_window_get_page(viewer->window);
    g_autofree char *xdotool = g_find_program_in_path("xdotool");

    viewer_picture(viewer, "a.png", 2000, 1500, 0xff0000);
    viewer_file(viewer, "b.png", "no picture");
    viewer_open(viewer);
    view(viewer, 1);
    UNTIL(viewer_page_get_reason(page));
    g_assert_false(is_enabled(viewer, "zoom-in"));
    view(viewer, 0);
    UNTIL(viewer_page_get_texture(page));
    g_assert_true(is_enabled(viewer, "zoom-in"));
    if (!xdotool)
        return;
    GtkScrolledWindow *scrolled = GTK_SCROLLED_WINDOW(
        find(GTK_WIDGET(page), GTK_TYPE_SCROLLED_WINDOW));
    GtkAdjustment *x = gtk_scrolled_window_get_hadjustment(scrolled);
    GtkAdjustment *y = gtk_scrolled_window_get_vadjustment(scrolled);
    activate(viewer, "zoom-original");
    viewer_settle(100);
    double left = gtk_adjustment_get_value(x), above = gtk_adjustment_get_value(y);
    press(viewer, "Down");
    UNTIL(gtk_adjustment_get_value(y) > above);
    press(viewer, "Right");
    UNTIL(gtk_adjustment_get_value(x) > left);
    press(viewer, "Left");
    UNTIL(gtk_adjustment_get_value(x) <= left);
    g_assert_nonnull(viewer_page_get_texture(page));
    press(viewer, "KP_0");
    UNTIL(gtk_adjustment_get_upper(x) <= gtk_adjustment_get_page_size(x));
    press(viewer, "Right");
    UNTIL(viewer_page_get_reason(page));
    gtk_widget_set_direction(GTK_WIDGET(page), GTK_TEXT_DIR_RTL);
    press(viewer, "Right");
    UNTIL(viewer_page_get_texture(page));
}

static gboolean is_busy(GtkAccessible *accessible)
{
    g_autofree char *other = gtk_test_accessible_check_state(accessible, GTK_ACCESSIBLE_STATE_BUSY,
                                                             TRUE);

    return !other;
}

/* Who cannot see it is told what it is, that it is on its way, and why it cannot be shown. */
static void test_accessible(struct viewer *viewer)
{
    GtkAccessible *page = GTK_ACCESSIBLE(viewer_window_get_page(viewer->window));
    struct module module;

    module_begin(&module, "my $reduce = \\&reduce;"
                          "*reduce = sub { select undef, undef, undef, 1; $reduce->(@_) }");
    viewer_file(viewer, "a.png", "no picture");
    viewer_open(viewer);
    view(viewer, 0);
    gtk_test_accessible_assert_role(page, GTK_ACCESSIBLE_ROLE_GROUP);
    gtk_test_accessible_assert_property(page, GTK_ACCESSIBLE_PROPERTY_LABEL, "a.png");
    UNTIL(is_busy(page));
    UNTIL(viewer_page_get_reason(VIEWER_PAGE(page)));
    gtk_test_accessible_assert_state(page, GTK_ACCESSIBLE_STATE_BUSY, FALSE);
    gtk_test_accessible_assert_property(page, GTK_ACCESSIBLE_PROPERTY_DESCRIPTION,
                                        viewer_page_get_reason(VIEWER_PAGE(page)));
    module_end(&module);
}

/* --- Where the viewer runs --- */

/* Under nice(1) pictures are decoded as everywhere. What comes after it is as nice. */
static void test_nice(struct viewer *viewer)
{
    enum { NICE = 10 };

    if (getpriority(PRIO_PROCESS, 0) < NICE)
        g_assert_cmpint(setpriority(PRIO_PROCESS, 0, NICE), ==, 0);
    viewer_picture(viewer, "a.png", 40, 30, 0xff0000);
    viewer_open(viewer);
    UNTIL(viewer_is_complete(viewer));
    g_assert_cmpint(viewer_state(viewer, "a.png"), ==, VIEWER_TILE_SHOWN);
    g_assert_null(viewer_window_get_notice(viewer->window));
}

int main(int argc, char **argv)
{
    viewer_test_init(&argc, &argv);
    viewer_test_add("/viewer/faults/pixels", test_pixels);
    viewer_test_add("/viewer/faults/octets", test_octets);
    viewer_test_add("/viewer/faults/confined", test_confined);
    viewer_test_add("/viewer/faults/second-window", test_second_window);
    viewer_test_add("/viewer/faults/progress", test_progress);
    viewer_test_add("/viewer/faults/page", test_page);
    viewer_test_add("/viewer/faults/all-killed", test_all_killed);
    viewer_test_add("/viewer/faults/restart", test_restart);
    viewer_test_add("/viewer/faults/suffixes", test_suffixes);
    viewer_test_add("/viewer/faults/selection", test_selection);
    viewer_test_add("/viewer/faults/keys", test_keys);
    viewer_test_add("/viewer/faults/accessible", test_accessible);
    viewer_test_add("/viewer/faults/nice", test_nice);
    return g_test_run();
}
