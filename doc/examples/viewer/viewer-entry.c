/* SPDX-License-Identifier: MIT */
#include "viewer-entry.h"

struct _ViewerEntry {
    GObject parent_instance;

    char *folder, *name, *display_name;
    guint generation;
    GdkTexture *thumbnail; /* weak: it lives as long as a tile shows it */
};

G_DEFINE_TYPE(ViewerEntry, viewer_entry, G_TYPE_OBJECT)

static guint changed_signal;

static void viewer_entry_finalize(GObject *object)
{
    ViewerEntry *self = VIEWER_ENTRY(object);

    g_clear_weak_pointer(&self->thumbnail);
    g_clear_pointer(&self->folder, g_ref_string_release);
    g_free(self->name);
    g_free(self->display_name);
    G_OBJECT_CLASS(viewer_entry_parent_class)->finalize(object);
}

static void viewer_entry_class_init(ViewerEntryClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = viewer_entry_finalize;
    changed_signal = g_signal_new("changed", VIEWER_TYPE_ENTRY, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                  NULL, G_TYPE_NONE, 0);
}

static void viewer_entry_init(ViewerEntry *self)
{
}

ViewerEntry *viewer_entry_new(const char *folder, const char *name)
{
    ViewerEntry *self = g_object_new(VIEWER_TYPE_ENTRY, NULL);

    self->folder = g_ref_string_new_intern(folder);
    self->name = g_strdup(name);
    return self;
}

const char *viewer_entry_get_name(ViewerEntry *self)
{
    return self->name;
}

const char *viewer_entry_get_display_name(ViewerEntry *self)
{
    if (!self->display_name) {
        self->display_name = g_filename_display_name(self->name);
        for (char *c = self->display_name; *c; c++)
            if (g_ascii_iscntrl(*c))
                *c = ' '; /* a name may have several lines; a label here has one */
    }
    return self->display_name;
}

char *viewer_entry_dup_path(ViewerEntry *self)
{
    return g_build_filename(self->folder, self->name, NULL);
}

void viewer_entry_changed(ViewerEntry *self)
{
    self->generation++;
    g_signal_emit(self, changed_signal, 0);
}

guint viewer_entry_get_generation(ViewerEntry *self)
{
    return self->generation;
}

GdkTexture *viewer_entry_get_thumbnail(ViewerEntry *self)
{
    return self->thumbnail;
}

void viewer_entry_set_thumbnail(ViewerEntry *self, GdkTexture *thumbnail)
{
    g_set_weak_pointer(&self->thumbnail, thumbnail);
}
