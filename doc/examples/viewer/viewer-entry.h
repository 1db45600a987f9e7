/* SPDX-License-Identifier: MIT
 *
 * A picture in a folder: what an item of the list is. It is a name and little else, and is made when
 * a view asks for it.
 */
#ifndef VIEWER_ENTRY_H
#define VIEWER_ENTRY_H

#include <gtk/gtk.h>

#define VIEWER_TYPE_ENTRY (viewer_entry_get_type())

G_DECLARE_FINAL_TYPE(ViewerEntry, viewer_entry, VIEWER, ENTRY, GObject)

/* Both are copied: the folder's path and the file's name, octets. */
ViewerEntry *viewer_entry_new(const char *folder, const char *name);

const char *viewer_entry_get_name(ViewerEntry *self);         /* octets */
const char *viewer_entry_get_display_name(ViewerEntry *self); /* to be shown: UTF-8, one line */
char *viewer_entry_dup_path(ViewerEntry *self);

/* The file has changed: its thumbnail has to be made anew, whatever the times say. Emits "changed". */
void viewer_entry_changed(ViewerEntry *self);

/* How often it has changed. */
guint viewer_entry_get_generation(ViewerEntry *self);

/* The thumbnail that a tile shows at the moment; borrowed, may be NULL. The entry does not keep it. */
GdkTexture *viewer_entry_get_thumbnail(ViewerEntry *self);
void viewer_entry_set_thumbnail(ViewerEntry *self, GdkTexture *thumbnail);

#endif
