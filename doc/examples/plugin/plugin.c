/* SPDX-License-Identifier: MIT
 *
 * A plugin of gedit that reviews the document in front, in Perl workers, and lists what they find
 * in the bottom panel. A row takes the cursor to its line. One object for each window.
 */
#include <gedit/gedit-app.h>
#include <gedit/gedit-document.h>
#include <gedit/gedit-tab.h>
#include <gedit/gedit-view.h>
#include <gedit/gedit-window-activatable.h>
#include <gedit/gedit-window.h>
#include <libpeas/peas.h>
#include <stdlib.h>
#include <string.h>

#include "reviewer.h"

enum { PROP_WINDOW = 1 };
enum { QUIET = 300 }; /* milliseconds without a change, then the text is reviewed */

struct _AforkReviewPlugin {
    PeasExtensionBase parent_instance;

    GeditWindow *window;
    struct reviewer *reviewer; /* NULL: not active; then all below is NULL or 0 */
    GtkWidget *panel;          /* owned by the window, as are the two below */
    GtkLabel *status;
    GtkListBox *findings;
    GeditDocument *document;   /* the one in front */
    GCancellable *cancellable; /* of the review under way */
    guint timer;
};

#define AFORK_TYPE_REVIEW_PLUGIN (afork_review_plugin_get_type())

G_DECLARE_FINAL_TYPE(AforkReviewPlugin, afork_review_plugin, AFORK, REVIEW_PLUGIN,
                     PeasExtensionBase)

static void window_activatable_init(GeditWindowActivatableInterface *interface);

G_DEFINE_DYNAMIC_TYPE_EXTENDED(AforkReviewPlugin, afork_review_plugin, PEAS_TYPE_EXTENSION_BASE, 0,
                               G_IMPLEMENT_INTERFACE_DYNAMIC(GEDIT_TYPE_WINDOW_ACTIVATABLE,
                                                             window_activatable_init))

/* --- What is shown --- */

static void destroy_row(GtkWidget *row, G_GNUC_UNUSED gpointer data)
{
    gtk_widget_destroy(row);
}

static void clear(AforkReviewPlugin *self, const char *status)
{
    g_autofree char *text = g_utf8_make_valid(status, -1);

    gtk_container_foreach(GTK_CONTAINER(self->findings), destroy_row, NULL);
    gtk_label_set_text(self->status, text);
}

/* A finding: line, a tab, text. */
static void add_finding(AforkReviewPlugin *self, const char *finding)
{
    const char *tab = strchr(finding, '\t');

    if (!tab)
        return;
    int line = atoi(finding);
    g_autofree char *valid = g_utf8_make_valid(tab + 1, -1);
    g_autofree char *text = g_strdup_printf("Line %d: %s", line, valid);
    GtkWidget *label = gtk_label_new(text);

    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_ellipsize(GTK_LABEL(label), PANGO_ELLIPSIZE_END);
    g_object_set_data(G_OBJECT(label), "line", GINT_TO_POINTER(line));
    gtk_list_box_insert(self->findings, label, -1);
    gtk_widget_show(label);
}

static void on_row_activated(G_GNUC_UNUSED GtkListBox *box, GtkListBoxRow *row, gpointer data)
{
    AforkReviewPlugin *self = data;
    GtkWidget *label = gtk_bin_get_child(GTK_BIN(row));
    GeditView *view = gedit_window_get_active_view(self->window);
    int line = GPOINTER_TO_INT(g_object_get_data(G_OBJECT(label), "line"));

    if (!view || !line)
        return;
    tepl_view_goto_line(TEPL_VIEW(view), line - 1);
    gtk_widget_grab_focus(GTK_WIDGET(view));
}

static GtkWidget *new_panel(AforkReviewPlugin *self)
{
    GtkWidget *panel = gtk_box_new(GTK_ORIENTATION_VERTICAL, 6);
    GtkWidget *scrolled = gtk_scrolled_window_new(NULL, NULL);

    self->status = GTK_LABEL(gtk_label_new(NULL));
    gtk_label_set_xalign(self->status, 0);
    gtk_label_set_line_wrap(self->status, TRUE);
    gtk_label_set_selectable(self->status, TRUE);
    self->findings = GTK_LIST_BOX(gtk_list_box_new());
    gtk_list_box_set_selection_mode(self->findings, GTK_SELECTION_NONE);
    g_signal_connect(self->findings, "row-activated", G_CALLBACK(on_row_activated), self);

    gtk_widget_set_vexpand(scrolled, TRUE);
    gtk_container_add(GTK_CONTAINER(scrolled), GTK_WIDGET(self->findings));
    gtk_container_add(GTK_CONTAINER(panel), GTK_WIDGET(self->status));
    gtk_container_add(GTK_CONTAINER(panel), scrolled);
    gtk_container_set_border_width(GTK_CONTAINER(panel), 6);
    atk_object_set_name(gtk_widget_get_accessible(panel), "Document review");
    gtk_widget_show_all(panel);
    return panel;
}

/* --- Reviews --- */

/* Comes once for each review, whatever became of window and plugin meanwhile: a review that was
 * cancelled is not looked at. */
static void on_reviewed(G_GNUC_UNUSED GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(AforkReviewPlugin) self = data;
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) strings = reviewer_review_finish(result, &error);

    if (g_cancellable_is_cancelled(g_task_get_cancellable(G_TASK(result))) || !self->reviewer)
        return;
    g_clear_object(&self->cancellable);
    if (!strings || !strings[0]) {
        clear(self, error ? error->message : "The worker gave a senseless answer");
        return;
    }
    clear(self, strings[0]);
    for (char **finding = strings + 1; *finding; finding++)
        add_finding(self, *finding);
}

static void cancel(AforkReviewPlugin *self)
{
    if (self->timer)
        g_source_remove(self->timer);
    self->timer = 0;
    if (self->cancellable)
        g_cancellable_cancel(self->cancellable);
    g_clear_object(&self->cancellable);
}

static gboolean on_quiet(gpointer data)
{
    AforkReviewPlugin *self = data;
    GtkTextBuffer *buffer = GTK_TEXT_BUFFER(self->document);
    GtkSourceLanguage *language = gtk_source_buffer_get_language(GTK_SOURCE_BUFFER(buffer));
    const char *id = language ? gtk_source_language_get_id(language) : "";
    GtkTextIter start, end;

    self->timer = 0;
    gtk_text_buffer_get_bounds(buffer, &start, &end);
    g_autofree char *text = gtk_text_buffer_get_text(buffer, &start, &end, TRUE);
    self->cancellable = g_cancellable_new();
    reviewer_review_async(self->reviewer, text, id, self->cancellable, on_reviewed,
                          g_object_ref(self));
    return G_SOURCE_REMOVE;
}

/* The text that is reviewed is not the text in front any more. */
static void review_again(AforkReviewPlugin *self)
{
    GeditTab *tab = gedit_window_get_active_tab(self->window);
    GeditTabState state = tab ? gedit_tab_get_state(tab) : GEDIT_TAB_STATE_CLOSING;

    cancel(self);
    if (!self->document || state == GEDIT_TAB_STATE_CLOSING) {
        clear(self, "No document");
        return;
    }
    gtk_label_set_text(self->status, "Reviewing…");
    if (state != GEDIT_TAB_STATE_LOADING && state != GEDIT_TAB_STATE_REVERTING)
        self->timer = g_timeout_add(QUIET, on_quiet, self);
}

static void forget_document(AforkReviewPlugin *self)
{
    if (self->document)
        g_signal_handlers_disconnect_by_data(self->document, self);
    g_clear_object(&self->document);
}

static void on_front_changed(AforkReviewPlugin *self)
{
    if (!self->reviewer)
        return;
    GeditDocument *document = gedit_window_get_active_document(self->window);

    if (document != self->document) {
        forget_document(self);
        clear(self, "");
        if (document) {
            self->document = g_object_ref(document);
            g_signal_connect_swapped(document, "changed", G_CALLBACK(review_again), self);
            g_signal_connect_swapped(document, "notify::language", G_CALLBACK(review_again), self);
        }
    }
    review_again(self);
}

/* --- The life of the plugin in a window --- */

static void activate(GeditWindowActivatable *activatable)
{
    AforkReviewPlugin *self = AFORK_REVIEW_PLUGIN(activatable);
    g_autofree char *directory = peas_extension_base_get_data_dir(PEAS_EXTENSION_BASE(self));

    self->reviewer = reviewer_get(directory);
    self->panel = new_panel(self);
    gtk_stack_add_titled(GTK_STACK(gedit_window_get_bottom_panel(self->window)), self->panel,
                         "AforkReview", "Review");
    g_signal_connect_swapped(self->window, "active-tab-changed", G_CALLBACK(on_front_changed),
                             self);
    g_signal_connect_swapped(self->window, "active-tab-state-changed",
                             G_CALLBACK(on_front_changed), self);
    on_front_changed(self);
}

static void deactivate(GeditWindowActivatable *activatable)
{
    AforkReviewPlugin *self = AFORK_REVIEW_PLUGIN(activatable);

    /* Taking the panel away has the editor call update_state(): nothing may begin any more. */
    struct reviewer *reviewer = g_steal_pointer(&self->reviewer);

    cancel(self);
    forget_document(self);
    g_signal_handlers_disconnect_by_data(self->window, self);
    gtk_widget_destroy(self->panel);
    self->panel = NULL;
    self->status = NULL;
    self->findings = NULL;
    reviewer_unref(reviewer);
}

/* Also comes when the last document is closed. */
static void update_state(GeditWindowActivatable *activatable)
{
    AforkReviewPlugin *self = AFORK_REVIEW_PLUGIN(activatable);

    if (self->document != gedit_window_get_active_document(self->window))
        on_front_changed(self);
}

static void window_activatable_init(GeditWindowActivatableInterface *interface)
{
    interface->update_state = update_state;
    interface->activate = activate;
    interface->deactivate = deactivate;
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
    if (id == PROP_WINDOW)
        AFORK_REVIEW_PLUGIN(object)->window = g_value_dup_object(value);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    if (id == PROP_WINDOW)
        g_value_set_object(value, AFORK_REVIEW_PLUGIN(object)->window);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
}

static void dispose(GObject *object)
{
    g_clear_object(&AFORK_REVIEW_PLUGIN(object)->window);
    G_OBJECT_CLASS(afork_review_plugin_parent_class)->dispose(object);
}

static void afork_review_plugin_init(G_GNUC_UNUSED AforkReviewPlugin *self)
{
}

static void afork_review_plugin_class_init(AforkReviewPluginClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->set_property = set_property;
    object_class->get_property = get_property;
    object_class->dispose = dispose;
    g_object_class_override_property(object_class, PROP_WINDOW, "window");
}

static void afork_review_plugin_class_finalize(G_GNUC_UNUSED AforkReviewPluginClass *klass)
{
}

/* The one symbol that libpeas looks for. */
G_MODULE_EXPORT void peas_register_types(PeasObjectModule *module);

void peas_register_types(PeasObjectModule *module)
{
    afork_review_plugin_register_type(G_TYPE_MODULE(module));
    peas_object_module_register_extension_type(module, GEDIT_TYPE_WINDOW_ACTIVATABLE,
                                               AFORK_TYPE_REVIEW_PLUGIN);
}
