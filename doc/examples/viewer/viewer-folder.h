/* SPDX-License-Identifier: MIT
 *
 * The pictures of a folder, as a GListModel of ViewerEntry. It keeps names; an entry is made when
 * somebody asks for it, and is the same one as long as somebody has it. So 100,000 pictures are
 * some megabytes.
 */
#ifndef VIEWER_FOLDER_H
#define VIEWER_FOLDER_H

#include "viewer-entry.h"

#define VIEWER_TYPE_FOLDER (viewer_folder_get_type())

G_DECLARE_FINAL_TYPE(ViewerFolder, viewer_folder, VIEWER, FOLDER, GObject)

/* Begins to read the folder, and then follows it until viewer_folder_close(). Properties, for
 * "notify":
 *   "loading"  it is being read
 *   "message"  why there is nothing to see: it cannot be read, or is gone; NULL: no reason
 *   "n-items"  as of the list */
ViewerFolder *viewer_folder_new(const char *path);
void viewer_folder_close(ViewerFolder *self);
void viewer_folder_reload(ViewerFolder *self);

const char *viewer_folder_get_path(ViewerFolder *self);
gboolean viewer_folder_get_loading(ViewerFolder *self);
const char *viewer_folder_get_message(ViewerFolder *self);

/* Where a file is in the list. */
gboolean viewer_folder_find(ViewerFolder *self, const char *name, guint *position);

/* A copy of the list: a GPtrArray of GRefStrings. */
GPtrArray *viewer_folder_dup_names(ViewerFolder *self);

#endif
